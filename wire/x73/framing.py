"""A byte stream to APDUs: over TCP they stand back to back, with nothing between them (20601 8.1, transport type 1).

A stream cannot be resynchronised: an APDU has no start mark, so a wrong outer length makes every later byte
meaningless. The first fault therefore ends the stream for good: `FramingError` now and on every later call.
"""

from typing import Final

from wire.errors import DecodeError
from wire.x73.apdu import MAX_APDU, Choice

_HEAD: Final = 4
_CHOICES: Final = frozenset(int(choice) for choice in Choice)


class FramingError(DecodeError):
    """The stream is lost; `overflow` says that the announced APDU was too long, which has its own abort reason."""

    def __init__(self, message: str, offset: int, *, overflow: bool = False) -> None:
        super().__init__(message, offset)
        self.overflow = overflow


class Framer:
    """Collects bytes and hands out whole APDUs. It never holds more than one unfinished APDU."""

    __slots__ = ("_buffer", "_limit", "_lost", "_passed")

    def __init__(self, limit: int = MAX_APDU) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._lost: FramingError | None = None
        self._passed = 0

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished APDU are held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> tuple[list[bytes], FramingError | None]:
        """The APDUs that are whole now, and the fault after them, if the stream is lost."""
        if (lost := self._lost) is not None:
            return [], lost
        buffer = self._buffer
        buffer += data
        apdus: list[bytes] = []
        start = 0
        while len(buffer) - start >= 2:
            choice = buffer[start] << 8 | buffer[start + 1]
            if choice not in _CHOICES:
                self._lose(FramingError("no APDU begins with these bytes", self._passed + start))
                break
            if len(buffer) - start < _HEAD:
                break
            size = _HEAD + (buffer[start + 2] << 8 | buffer[start + 3])
            if size > self._limit:
                self._lose(
                    FramingError(f"an APDU of more than {self._limit} bytes", self._passed + start, overflow=True)
                )
                break
            if choice == Choice.PRST and len(buffer) - start >= min(size, _HEAD + 2):
                # The presentation APDU says its length twice. If the two differ, one of them is wrong.
                inner = buffer[start + 4] << 8 | buffer[start + 5] if size >= _HEAD + 2 else 0
                if size != _HEAD + 2 + inner:
                    self._lose(FramingError("an APDU whose two lengths disagree", self._passed + start + 2))
                    break
            if len(buffer) - start < size:
                break
            apdus.append(bytes(buffer[start : start + size]))
            start += size
        self._passed += start
        del buffer[:start]
        if (lost := self._lost) is not None:
            buffer.clear()
        return apdus, lost

    def _lose(self, error: FramingError) -> None:
        self._lost = error
