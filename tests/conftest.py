"""Real parts for every room's tests, each in a process of its own on loopback or on a private bus.

A missing real part fails the test that asked for it, with the Debian package to install; nothing is skipped.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ADAPTERS = tuple(f"00:00:00:00:00:{number:02X}" for number in range(1, 9))
"""Addresses of hci0 (the hub's) to hci7 (one per peripheral)."""


def eventually(condition: Callable[[], object], *, within_s: float = 10.0, what: str = "condition") -> None:
    """Wait for something another process does, with an end; the only wait that tests on real processes need."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {within_s} s")
        time.sleep(0.01)


def stop(process: subprocess.Popen[bytes], *, with_signal: int = signal.SIGTERM, within_s: float = 5.0) -> None:
    """End a process that this test run started; kill it if it does not end by itself."""
    if process.poll() is None:
        process.send_signal(with_signal)
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(within_s)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateBus:
    """A dbus-daemon of our own with BlueZoo as `org.bluez` on it.

    The hub uses hci0; peripherals use hci1 and up, whose Bluetooth addresses are `adapters[1]` and up.
    """

    address: str
    adapters: tuple[str, ...]
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment for a child process that shall use this bus as its system bus."""
        return os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": self.address}


@pytest.fixture
def private_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateBus]:
    """BlueZ's D-Bus API on a private bus, which is also this process's system bus during the test."""
    daemon_path = shutil.which("dbus-daemon")
    if daemon_path is None:
        pytest.fail("dbus-daemon is not there: apt-get install dbus")
    bluezoo_path = Path(sys.executable).with_name("bluezoo")
    if not bluezoo_path.exists():
        pytest.fail("bluezoo is not in this environment: make setup")
    address = f"unix:path={tmp_path / 'bus'}"
    daemon = subprocess.Popen(
        [daemon_path, "--session", "--nofork", "--nopidfile", f"--address={address}", "--print-address=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    log = tmp_path / "bluezoo.log"
    bluezoo: subprocess.Popen[bytes] | None = None
    try:
        assert daemon.stdout is not None
        printed = daemon.stdout.readline().decode().strip()
        assert printed.startswith("unix:path="), f"dbus-daemon did not start: {printed!r}"
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        arguments = [str(bluezoo_path), "--auto-enable", "--scan-interval", "1"]
        for adapter in ADAPTERS:
            arguments += ["-a", adapter]
        with log.open("wb") as output:
            bluezoo = subprocess.Popen(arguments, stdout=output, stderr=output)
        last = f"adapter[{len(ADAPTERS) - 1}]"
        eventually(lambda: last in log.read_text(), what="bluezoo exports its adapters")
        yield PrivateBus(address=address, adapters=ADAPTERS, log=log)
    finally:
        if bluezoo is not None:
            stop(bluezoo)
        stop(daemon)


@pytest.fixture
def free_port() -> int:
    """A TCP port on 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
