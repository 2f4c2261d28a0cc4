"""A D-Bus system bus of our own, and BlueZoo as BlueZ on it: started, killed and started again."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import eventually, stop


class SystemBus:
    """A dbus-daemon at an address of its own, and on it BlueZoo if wanted. Whoever makes one stops it."""

    def __init__(self, directory: Path) -> None:
        self.address = f"unix:path={directory / 'bus'}"
        self.log = directory / "bluezoo.log"
        self._socket = directory / "bus"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._bluezoo: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the bus."""
        daemon = shutil.which("dbus-daemon")
        if daemon is None:
            pytest.fail("dbus-daemon is not there: apt-get install dbus")
        self._socket.unlink(missing_ok=True)  # of one that was killed
        arguments = ["--session", "--nofork", "--nopidfile", f"--address={self.address}", "--print-address=1"]
        self._daemon = subprocess.Popen([daemon, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._daemon.stdout is not None
        printed = self._daemon.stdout.readline().decode().strip()
        assert printed.startswith("unix:path="), f"dbus-daemon did not start: {printed!r}"

    def start_bluez(self, adapters: tuple[str, ...]) -> None:
        """Start BlueZoo with these adapters; DBUS_SYSTEM_BUS_ADDRESS must be ours."""
        program = Path(sys.executable).with_name("bluezoo")
        if not program.exists():
            pytest.fail("bluezoo is not in this environment: make setup")
        arguments = [str(program), "--auto-enable", "--scan-interval", "1"]
        for adapter in adapters:
            arguments += ["-a", adapter]
        with self.log.open("wb") as output:
            self._bluezoo = subprocess.Popen(arguments, stdout=output, stderr=output)
        last = f"adapter[{len(adapters) - 1}]"
        eventually(lambda: last in self.log.read_text(), what="bluezoo exports its adapters")

    def kill_bluez(self) -> None:
        """End BlueZ as a crash does."""
        assert self._bluezoo is not None
        self._bluezoo.kill()
        self._bluezoo.wait()

    def signal_bluez(self, number: int) -> None:
        """Stop it in its tracks, or let it go on."""
        assert self._bluezoo is not None
        self._bluezoo.send_signal(number)

    def kill(self) -> None:
        """End the bus as a crash does, and BlueZ with it."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()
        if self._daemon.stdout is not None:
            self._daemon.stdout.close()
        if self._bluezoo is not None:
            stop(self._bluezoo)

    def stop(self) -> None:
        """End everything."""
        for process in (self._bluezoo, self._daemon):
            if process is not None:
                stop(process)
