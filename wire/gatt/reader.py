"""The one place that owns length errors: every GATT decoder reads through a `Reader`.

A read past the end, or bytes left over at the end, is a `DecodeError` with the offset at which it showed; no decoder
ever sees an IndexError or struct.error. GATT is little-endian.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final, TypeVar

from wire.errors import DecodeError
from wire.measurement import Special
from wire.numbers import decode_float, decode_sfloat

ATTRIBUTE_MAX: Final = 512
"""Bluetooth Core 5.4 Vol 3 Part F 3.2.9: no attribute value is longer."""

_T = TypeVar("_T")


class ExtraOctetsError(DecodeError):
    """Octets after the last field that the flags announce; `offset` is where they begin."""


def read_known(read: Callable[[bytes], _T], value: bytes) -> tuple[_T, bool]:
    """What `read` makes of a value up to its last field, and whether octets came after it.

    The profiles ask this of a Collector, so that fields of later versions do no harm (test cases `additional octets
    not comprehended` of HRP, HTP, BLP and GLP). It may also be a device whose flags and fields disagree.
    """
    try:
        return read(value), False
    except ExtraOctetsError as extra:
        return read(value[: extra.offset]), True


class Reader:
    """A cursor over one characteristic value."""

    __slots__ = ("_data", "offset")

    def __init__(self, data: bytes, longest: int = ATTRIBUTE_MAX) -> None:
        if len(data) > longest:
            raise DecodeError(f"{len(data)} bytes, more than such a value can have", longest)
        self._data = data
        self.offset = 0

    @property
    def remaining(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self.offset

    def _unsigned(self, size: int, what: str) -> int:
        start = self.offset
        end = start + size
        if end > len(self._data):
            raise DecodeError(f"{what} needs {size} bytes, {len(self._data) - start} left", start)
        self.offset = end
        return int.from_bytes(self._data[start:end], "little")

    def u8(self, what: str) -> int:
        """An unsigned byte; `what` names the field in the error."""
        start = self.offset
        if start >= len(self._data):
            raise DecodeError(f"{what} needs 1 byte, 0 left", start)
        self.offset = start + 1
        return self._data[start]

    def u16(self, what: str) -> int:
        """An unsigned 16-bit number."""
        return self._unsigned(2, what)

    def u24(self, what: str) -> int:
        """An unsigned 24-bit number."""
        return self._unsigned(3, what)

    def u32(self, what: str) -> int:
        """An unsigned 32-bit number."""
        return self._unsigned(4, what)

    def sfloat(self, what: str) -> Decimal | Special:
        """A 16-bit SFLOAT."""
        return decode_sfloat(self._unsigned(2, what))

    def float32(self, what: str) -> Decimal | Special:
        """A 32-bit FLOAT (IEEE 11073, not IEEE 754)."""
        return decode_float(self._unsigned(4, what))

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes as they are."""
        start = self.offset
        if start + size > len(self._data):
            raise DecodeError(f"{what} needs {size} bytes, {len(self._data) - start} left", start)
        self.offset = start + size
        return self._data[start : self.offset]

    def end(self) -> None:
        """Refuse bytes after the last field: of a later version, or the flags and the fields disagree."""
        left = len(self._data) - self.offset
        if left:
            raise ExtraOctetsError(f"{left} bytes after the last field", self.offset)
