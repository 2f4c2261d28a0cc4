"""Real parts for every room's tests, each in a process of its own on loopback or on a private bus.

A missing real part fails the test that asked for it, with the Debian package to install; nothing is skipped.
"""

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import any_broker, iotcore_broker, mosquitto  # noqa: F401  (fixtures)
from tests.support import ADAPTERS, PrivateBus, eventually, stop


def pytest_sessionstart() -> None:
    """Say that there is no event loop outside async tests.

    looptime asks for one at each test, which makes one that nobody closes, unless somebody has said so.
    """
    asyncio.set_event_loop(None)


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
