"""Date Time (2A08) and Current Time (2A2B), as in the GATT Specification Supplement.

Year, month or day 0 means "not known" and is kept as such. A month 13 or 30 February is no time: the value is refused,
because a reading with a wrong time is worse than one in quarantine.
"""

from dataclasses import replace
from typing import Final

from wire.errors import DecodeError, WireError
from wire.gatt.reader import Reader
from wire.measurement import DeviceTime, calendar_fault

_FIELD_AT: Final = {"year": 0, "month": 2, "day": 3, "hour": 4, "minute": 5, "second": 6}

DAYS: Final = ("unknown", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ADJUST_REASONS: Final = ("manual", "external reference", "time zone change", "daylight saving change")


def read_date_time(reader: Reader) -> DeviceTime:
    """The seven bytes of a Date Time field inside another characteristic."""
    at = reader.offset
    raw = reader.take(7, "date time")
    year, month, day, hour, minute, second = raw[0] | raw[1] << 8, *raw[2:7]
    try:
        return DeviceTime(year=year, month=month, day=day, hour=hour, minute=minute, second=second)
    except WireError as error:
        fault = calendar_fault(year=year, month=month, day=day, hour=hour, minute=minute, second=second)
        raise DecodeError(str(error), at + _FIELD_AT[fault or "year"]) from None


def decode_date_time(value: bytes) -> DeviceTime:
    """Date Time (2A08)."""
    reader = Reader(value)
    time = read_date_time(reader)
    reader.end()
    return time


def decode_current_time(value: bytes) -> DeviceTime:
    """Current Time (2A2B): a Date Time with 1/256 s; the day of the week and the reason are only checked."""
    reader = Reader(value)
    time = read_date_time(reader)
    if reader.u8("day of week") >= len(DAYS):
        raise DecodeError("no such day of the week", reader.offset - 1)
    fractions = reader.u8("fractions of a second")
    reader.u8("adjust reason")
    reader.end()
    return replace(time, microsecond=fractions * 1_000_000 // 256)


def describe_date_time(value: bytes) -> dict[str, str | bool]:
    """Date Time for a technician."""
    return {"time": decode_date_time(value).isoformat()}


def describe_current_time(value: bytes) -> dict[str, str | bool]:
    """Current Time for a technician, with the day of the week and why the clock was last set."""
    time = decode_current_time(value)
    reasons = [reason for bit, reason in enumerate(ADJUST_REASONS) if value[9] >> bit & 1]
    return {"time": time.isoformat(), "day of week": DAYS[value[7]], "adjusted": ", ".join(reasons) or "no"}
