"""A pty as a device's cable: who opened it, what came, and what happens when it is pulled out.

The far side is open while some program has it open; before and after that the device is alone, as without a Bluetooth
connection. Linux tells that only when it is asked, so it is asked fifty times a second.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

from simulator.terminal import is_open, open_terminal

LOOK_S: Final = 0.02


class HungUp(Exception):  # noqa: N818  it is how a connection ends, and no fault
    """Nobody has the port open any more."""


class Pty:
    """One port; `link` is a name for it that stays when it is plugged in again."""

    def __init__(self, link: Path | None) -> None:
        self._link = link
        self._master = -1
        self._unsaid = bytearray()
        """What the line has not taken yet: it holds some 4 KiB."""
        self.path = ""
        """Where it is; another after each `plug`."""

    def plug(self) -> None:
        """Appear. OSError if the link cannot be made."""
        self._master, self.path = open_terminal()
        if self._link is not None:
            new = self._link.with_name(f"{self._link.name}.new")
            new.unlink(missing_ok=True)
            new.symlink_to(self.path)
            new.replace(self._link)

    def unplug(self) -> None:
        """Vanish, as a cable that is pulled out or a device that is out of reach."""
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        if self._master >= 0:
            os.close(self._master)
        self._master = -1
        self._unsaid.clear()

    @property
    def is_open(self) -> bool:
        """Whether some program has the port open."""
        return is_open(self._master)

    async def read(self, until: float) -> bytes:
        """What came by then, as soon as something did; HungUp if the port was closed."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(BlockingIOError):
                try:
                    return os.read(self._master, 4096)
                except OSError as error:
                    if isinstance(error, BlockingIOError):
                        raise
                    raise HungUp from error
            if loop.time() >= until:
                return b""
            if not self.is_open:
                self._unsaid.clear()
                raise HungUp
            self._flush()
            await asyncio.sleep(min(LOOK_S, max(0.0, until - loop.time())))

    def write(self, data: bytes) -> None:
        """Say something; what the line does not take at once goes while the device reads."""
        if not self.is_open:
            raise HungUp
        self._unsaid += data
        self._flush()

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._unsaid:
                del self._unsaid[: os.write(self._master, self._unsaid)]
