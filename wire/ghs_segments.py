"""Segments of a health observation, joined: the hub's part of Bluetooth GHSS 1.0, which knows no observation.

Each notification begins with a segmentation header: bit 0 first, bit 1 last, bits 2 to 7 a counter that goes on from
segment to segment and from 63 to 0. A whole message becomes one value, as if it had come in one notification: the
first header with both bits, and the bytes of all segments. What is out of turn is dropped and counted, never guessed.
"""

from typing import Final

FIRST: Final = 0x01
LAST: Final = 0x02
MAX_MESSAGE: Final = 32 * 1024
"""As long as a value that is kept as evidence may be (`wire.reading`)."""


class Segments:
    """Joins the segments of one characteristic of one connection."""

    __slots__ = ("_begun", "_counter", "dropped")

    def __init__(self) -> None:
        self._begun: bytearray | None = None
        self._counter = 0
        self.dropped = 0
        """Notifications that belong to no whole message, so far."""

    def receive(self, value: bytes) -> bytes | None:
        """Take one notification; the whole message if this was its last segment."""
        header = value[0] if value else 0
        if header & FIRST:
            self._drop()
            self._begun = bytearray((header | LAST,))
        elif self._begun is None or not value or header >> 2 != (self._counter + 1) & 0x3F:
            self._drop()
            self.dropped += 1
            return None
        begun = self._begun
        if len(begun) + len(value) - 1 > MAX_MESSAGE:
            self._drop()
            return None
        begun += value[1:]
        self._counter = header >> 2
        if not header & LAST:
            return None
        self._begun = None
        return bytes(begun)

    def _drop(self) -> None:
        self.dropped += self._begun is not None
        self._begun = None
