"""What tests on real processes share: waiting with an end, and stopping what was started."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ADAPTERS = tuple(f"00:00:00:00:00:{number:02X}" for number in range(1, 9))
"""Addresses of hci0 (the hub's) to hci7 (one per peripheral)."""


def rounds(usual: int, soak: int) -> int:
    """How often something is tried: so often in `make test`, and so often in `make soak`."""
    return soak if "STAFET_SOAK" in os.environ else usual


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
