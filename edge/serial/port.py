"""A serial port in a home: a USB cable, or Bluetooth SPP as /dev/rfcomm0. The only file that knows pyserial.

What is pyserial's or Linux's own way, and therefore handled here:

- pyserial throws away, when it opens a port, what has come in already. A Nonin sends what it has stored the moment it is
  connected, so nothing is thrown away.
- A port that went away reads as ready and empty, or as an error; both are its end.
- pyserial's write waits in a circle while the port takes nothing. What is said here are a few bytes, so a port that does
  not take them at once is broken.
- One program at a time has a port (flock, as other programs that know pyserial do).

There is no thread: the event loop watches the port.
"""

import asyncio
import errno
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import serial

READ_BYTES: Final = 512
"""Taken at a time, so that a port which never stops leaves room for the others."""

_REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        errno.ENOENT: "not-there",
        errno.ENODEV: "not-there",
        errno.ENXIO: "not-there",
        errno.EACCES: "not-permitted",
        errno.EPERM: "not-permitted",
        errno.EBUSY: "busy",
        errno.EAGAIN: "busy",
        errno.EHOSTDOWN: "not-reached",
        errno.EHOSTUNREACH: "not-reached",
        errno.ETIMEDOUT: "not-reached",
        errno.ECONNREFUSED: "not-reached",
    }
)


class Framing(NamedTuple):
    """How a line is spoken: bits per second, data bits, parity (N, E, O) and stop bits. Over SPP it means nothing."""

    baud: int = 9600
    bits: int = 8
    parity: str = "N"
    stop: int = 1


class PortError(Exception):
    """A port cannot be used; `reason` is `not-there`, `not-permitted`, `busy`, `not-reached` or `fault`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class _Serial(serial.Serial):
    def _reset_input_buffer(self) -> None:
        """Keep what came in before the port was open."""


class SerialPort:
    """An open port. `received` is called with what comes, and `gone` once when the port has ended by itself."""

    def __init__(
        self, path: str, framing: Framing, *, received: Callable[[bytes], None], gone: Callable[[], None]
    ) -> None:
        """Open the port, for this program alone; PortError if it cannot be."""
        try:
            self._port = _Serial(
                path,
                baudrate=framing.baud,
                bytesize=framing.bits,
                parity=framing.parity,
                stopbits=framing.stop,
                timeout=0,
                exclusive=True,
            )
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise _port_error(error) from error
        self._received = received
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._fileno = self._port.fileno()
        self._ended = False
        self._loop.add_reader(self._fileno, self._readable)

    def write(self, data: bytes) -> None:
        """Say something, all of it; PortError if the port does not take it now."""
        try:
            written = os.write(self._fileno, data)
        except OSError as error:
            raise _port_error(error) from error
        if written < len(data):
            raise PortError("fault", "the port takes no more")

    def read(self, on: bool) -> None:
        """Stop reading, or go on: what is not read waits in the kernel, and then in the device."""
        if self._ended:
            return
        if on:
            self._loop.add_reader(self._fileno, self._readable)
        else:
            self._loop.remove_reader(self._fileno)

    def close(self) -> None:
        """Let go of the port; may be called again."""
        if not self._port.is_open:  # its number may be another file's by now
            return
        self._ended = True
        self._loop.remove_reader(self._fileno)
        self._port.close()

    def _readable(self) -> None:
        try:
            data = os.read(self._fileno, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._received(data)
        else:
            self._ended = True
            self._loop.remove_reader(self._fileno)
            self._gone()


def _port_error(error: OSError | ValueError) -> PortError:
    number = error.errno if isinstance(error, OSError) else None
    return PortError(_REASONS.get(number or 0, "fault"), os.strerror(number) if number else type(error).__name__)
