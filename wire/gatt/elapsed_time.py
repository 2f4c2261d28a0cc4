"""Elapsed Time, as Current Elapsed Time (2BF2) and in health observations carry it: Bluetooth ETS 1.0.

A count of seconds, tenths, milliseconds or tenths of those since the year 2000, or ticks since some moment of the
device's own. Only a time of day becomes a `DeviceTime`: local time with the device's offset from UTC, where it tells
one. A clock that is not synchronised, or a time from before the clock was last set, is evidence only.
"""

from datetime import datetime, timedelta
from struct import Struct
from typing import Final, NamedTuple

from wire.errors import DecodeError, WireError
from wire.gatt.reader import Reader
from wire.measurement import DeviceTime

_TICKS: Final = 0x01
_UTC: Final = 0x02
_RESOLUTION: Final = 0x0C
_OFFSET_USED: Final = 0x10
_CURRENT_TIMELINE: Final = 0x20

_LAYOUT: Final = Struct("<BIHBb").unpack
"""Flags, elapsed time in 48 bits, time sync source type, quarters of an hour from UTC."""
_PER_SECOND: Final = (1, 10, 1_000, 10_000)
_EPOCH: Final = datetime(2000, 1, 1)  # noqa: DTZ001  (the offset, if any, stays beside the time)

SOURCES: Final = (
    "unknown",
    "network time protocol",
    "GPS",
    "radio time signal",
    "manual",
    "atomic clock",
    "cellular network",
    "not synchronised",
)
"""Time Sync Source Type (GATT Specification Supplement 3.243); all others are reserved."""
_NOT_SYNCHRONISED: Final = 7


class ElapsedTime(NamedTuple):
    """One time stamp; `time` is None for ticks. `clock_set` says whether the time can be trusted as one of today's clock."""

    time: DeviceTime | None
    clock_set: bool
    source: int
    elapsed: int


def read_elapsed_time(reader: Reader) -> ElapsedTime:
    """The nine bytes of an Elapsed Time inside another characteristic."""
    at = reader.offset
    flags, low, high, source, quarters = _LAYOUT(reader.take(9, "elapsed time"))
    count = low | high << 32
    current = flags & _CURRENT_TIMELINE != 0 and source != _NOT_SYNCHRONISED
    if flags & _TICKS:
        return ElapsedTime(None, current, source, count)
    offset_min = 15 * quarters if flags & _OFFSET_USED else 0
    seconds, rest, scale = count, 0, 1
    if flags & _RESOLUTION:
        scale = _PER_SECOND[(flags & _RESOLUTION) >> 2]
        seconds, rest = divmod(count, scale)
    if flags & _UTC:
        seconds += 60 * offset_min
    try:
        moment = _EPOCH + timedelta(0, seconds, rest * (1_000_000 // scale))
        time = DeviceTime.of(moment, offset_min=offset_min if flags & (_UTC | _OFFSET_USED) else None)
    except (OverflowError, WireError):
        raise DecodeError("an elapsed time off any calendar", at) from None
    return ElapsedTime(time, current, source, count)


def describe_current(value: bytes) -> dict[str, str | bool]:
    """Current Elapsed Time (2BF2, ETS 3.1) for a technician; the clock's capabilities are not told."""
    reader = Reader(value)
    elapsed = read_elapsed_time(reader)
    needs_setting = bool(reader.u8("clock status") & 1)
    reader.u8("clock capabilities")
    reader.end()
    return {
        "time": f"{elapsed.elapsed} ticks" if elapsed.time is None else elapsed.time.isoformat(),
        "source": SOURCES[elapsed.source] if elapsed.source < len(SOURCES) else "reserved",
        "on the current timeline": elapsed.clock_set,
        "clock needs setting": needs_setting,
    }
