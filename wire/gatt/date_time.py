"""Date Time (2A08), Current Time (2A2B), Local and Reference Time Information (2A0F, 2A14): GATT Specification Supplement.

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
TIME_SOURCES: Final = (
    "unknown",
    "NTP",
    "GPS",
    "radio",
    "manual",
    "atomic clock",
    "cellular network",
    "not synchronised",
)
"""Time Source (2A13), by value; all others are reserved."""

DST_MIN: Final = {0: 0, 2: 30, 4: 60, 8: 120}
"""DST Offset (2A0D): minutes by value; 255 is unknown, all others are reserved."""
ZONES: Final = range(-48, 57)
"""Time Zone (2A0E): quarters of an hour from UTC; -128 is unknown."""
_DST_UNKNOWN: Final = 255
_ZONE_UNKNOWN: Final = -128

_ACCURACY_OUT: Final = 254
_UNKNOWN: Final = 255
_DAYS_MANY: Final = 255


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


def read_zone(reader: Reader) -> int | None:
    """A Time Zone (2A0E) field, in quarters of an hour."""
    octet = reader.u8("time zone")
    zone = octet - 256 if octet > 127 else octet
    if zone != _ZONE_UNKNOWN and zone not in ZONES:
        raise DecodeError(f"no time zone {zone}", reader.offset - 1)
    return None if zone == _ZONE_UNKNOWN else zone


def read_dst(reader: Reader) -> int | None:
    """A DST Offset (2A0D) field: a key of `DST_MIN`."""
    dst = reader.u8("DST offset")
    if dst != _DST_UNKNOWN and dst not in DST_MIN:
        raise DecodeError(f"no DST offset {dst}", reader.offset - 1)
    return None if dst == _DST_UNKNOWN else dst


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


def describe_local_time(value: bytes) -> dict[str, str | bool]:
    """Local Time Information (2A0F): the zone, and how far daylight saving time is ahead of it."""
    reader = Reader(value)
    zone, dst = read_zone(reader), read_dst(reader)
    reader.end()
    hours, minutes = divmod(abs(zone or 0) * 15, 60)
    return {
        "time zone": "unknown" if zone is None else f"UTC{'-' if zone < 0 else '+'}{hours:02}:{minutes:02}",
        "daylight saving": "unknown" if dst is None else f"{DST_MIN[dst]} min",
    }


def describe_reference_time(value: bytes) -> dict[str, str | bool]:
    """Reference Time Information (2A14): where the clock's time is from, how exact that was, and how long ago."""
    reader = Reader(value)
    source, accuracy = reader.u8("time source"), reader.u8("accuracy")
    days, hours = reader.u8("days since update"), reader.u8("hours since update")
    if hours > 23 and days != _DAYS_MANY:
        raise DecodeError(f"{hours} hours since update", reader.offset - 1)
    reader.end()
    exact = {_ACCURACY_OUT: "more than 31.625 s", _UNKNOWN: "unknown"}
    return {
        "source": TIME_SOURCES[source] if source < len(TIME_SOURCES) else "reserved",
        "accuracy": exact.get(accuracy, f"{accuracy / 8:g} s"),
        "last update": "255 d ago or more" if days == _DAYS_MANY else f"{days} d {hours} h ago",
    }
