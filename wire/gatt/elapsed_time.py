"""Elapsed Time, as Current Elapsed Time (2BF2) and in health observations carry it: Bluetooth ETS 1.0.

A count of seconds, tenths, milliseconds or tenths of those since the year 2000, or ticks since some moment of the
device's own. Only a time of day becomes a `DeviceTime`: local time with the device's offset from UTC, where it tells
one. A clock that is not synchronised, or a time from before the clock was last set, is evidence only.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from wire.errors import DecodeError, WireError
from wire.gatt.reader import Reader
from wire.measurement import DeviceTime

_TICKS: Final = 0x01
_UTC: Final = 0x02
_RESOLUTION: Final = 0x0C
_OFFSET_USED: Final = 0x10
_CURRENT_TIMELINE: Final = 0x20

_MICROSECONDS: Final = (1_000_000, 100_000, 1_000, 100)
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ElapsedTime:
    """One time stamp; `time` is None for ticks. `clock_set` says whether the time can be trusted as one of today's clock."""

    time: DeviceTime | None
    clock_set: bool
    source: int
    count: int


def read_elapsed_time(reader: Reader) -> ElapsedTime:
    """The nine bytes of an Elapsed Time inside another characteristic."""
    at = reader.offset
    flags = reader.u8("time flags")
    count = int.from_bytes(reader.take(6, "elapsed time"), "little")
    source = reader.u8("time sync source")
    octet = reader.u8("time zone offset")
    current = bool(flags & _CURRENT_TIMELINE) and source != _NOT_SYNCHRONISED
    if flags & _TICKS:
        return ElapsedTime(time=None, clock_set=current, source=source, count=count)
    offset_min = 15 * (octet - 256 if octet > 127 else octet) if flags & _OFFSET_USED else 0
    try:
        moment = _EPOCH + timedelta(microseconds=count * _MICROSECONDS[(flags & _RESOLUTION) >> 2])
        moment += timedelta(minutes=offset_min if flags & _UTC else 0)
        time = DeviceTime(
            year=moment.year,
            month=moment.month,
            day=moment.day,
            hour=moment.hour,
            minute=moment.minute,
            second=moment.second,
            microsecond=moment.microsecond,
            offset_min=offset_min if flags & (_UTC | _OFFSET_USED) else None,
        )
    except (OverflowError, WireError):
        raise DecodeError("an elapsed time off any calendar", at) from None
    return ElapsedTime(time=time, clock_set=current, source=source, count=count)


def describe_current(value: bytes) -> dict[str, str | bool]:
    """Current Elapsed Time (2BF2, ETS 3.1) for a technician; the clock's capabilities are not told."""
    reader = Reader(value)
    elapsed = read_elapsed_time(reader)
    needs_setting = bool(reader.u8("clock status") & 1)
    reader.u8("clock capabilities")
    reader.end()
    return {
        "time": f"{elapsed.count} ticks" if elapsed.time is None else elapsed.time.isoformat(),
        "source": SOURCES[elapsed.source] if elapsed.source < len(SOURCES) else "reserved",
        "on the current timeline": elapsed.clock_set,
        "clock needs setting": needs_setting,
    }
