"""The clock of a device: what it shows, how far it is off, and the bytes that set it.

A device shows and takes local time, where the hub stands; so the hub's zone must be the citizen's. Nothing is written
unless the hub's own clock is synchronised: a wrong clock in a device falsifies measurements that are yet to come.
"""

import time
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from edge.clock import citizens_time
from wire.evidence import Clock, ClockState

CURRENT_TIME: Final = 0x2A2B
DATE_TIME: Final = 0x2A08
ELAPSED_TIME: Final = 0x2BF2
CLOCKS: Final = (CURRENT_TIME, DATE_TIME, ELAPSED_TIME)
"""Where a device shows and takes the time, the better one first."""
SESSION_START: Final = 0x2AAA
CGM_FEATURE: Final = 0x2AA8

OFF_S: Final = 60.0
"""How far the clock of a device may be off, unless its quirk says otherwise: as far as a person would leave it."""

_EXTERNAL_REFERENCE: Final = 0x02
"""Adjust reason (CTS 3.1.2.1): set from a reference clock, and neither by hand nor for another zone."""
# Elapsed Time (GATT Specification Supplement 3.87)
_TICKS: Final = 0x01
_UTC: Final = 0x02
_OFFSET_USED: Final = 0x10
_ELAPSED_FORM: Final = 0x1F
_PER_SECOND: Final = (1, 10, 1_000, 10_000)
_EPOCH: Final = datetime(2000, 1, 1)  # noqa: DTZ001  UTC or local, as the flags say
_EPOCH_UTC: Final = datetime(1970, 1, 1)  # noqa: DTZ001  to be compared with the other
_FROM_THE_NETWORK: Final = 1

_DST_ONE_HOUR: Final = 4
_HAS_CRC: Final = 0x1000


class Wish(NamedTuple):
    """What is to be done about a device's clock."""

    first: bool
    """Before anything is subscribed to; else at the end."""
    characteristic: int | None
    """None: whichever there is, the better one first."""
    if_off_by_s: float


def wish(quirk: str) -> Wish | None:
    """By `wire.quirks.Quirk.clock`, or as with any device; None: it is left alone."""
    kind, _colon, seconds = quirk.partition(":")
    if kind == "none":
        return None
    if kind == "write-2a08":
        return Wish(first=True, characteristic=DATE_TIME, if_off_by_s=-1)
    if kind == "write-2a2b":
        return Wish(first=True, characteristic=CURRENT_TIME, if_off_by_s=-1)
    if kind == "write-if-off-by":
        return Wish(first=False, characteristic=CURRENT_TIME, if_off_by_s=float(seconds))
    return Wish(first=False, characteristic=None, if_off_by_s=OFF_S)


def may_set(now: Clock) -> bool:
    """Whether the hub's own clock is good enough."""
    return now.state is ClockState.SYNCHRONISED


def off_s(characteristic: int, value: bytes, now: Clock) -> float | None:
    """How many seconds a clock is ahead of the hub's; None if it shows no time, or says that it has to be set."""
    if characteristic == ELAPSED_TIME:
        if len(value) < 9 or value[0] & _TICKS or value[9:10] == b"\x01":
            return None
        return int.from_bytes(value[1:7], "little") / _per_second(value[0]) - _elapsed_s(value[0], now)
    if len(value) < 7:
        return None
    try:
        shown = datetime(value[0] | value[1] << 8, *value[2:7])  # noqa: DTZ001  local time, as the device has it
        if len(value) >= 9:
            shown += timedelta(seconds=value[8] / 256)
        return (shown - _local(now)).total_seconds()
    except (ValueError, OverflowError, OSError):
        return None


def setting(characteristic: int, now: Clock, shown: bytes) -> bytes | None:
    """What to write for a clock to show the hub's time; None if it counts ticks of its own.

    Current Elapsed Time (9 bytes) is written in the form in which it is `shown`.
    """
    if characteristic != ELAPSED_TIME:
        return encoded(characteristic, now)
    flags = shown[0] & _ELAPSED_FORM if shown else _UTC | _OFFSET_USED
    if flags & _TICKS:
        return None
    count = int(_elapsed_s(flags, now) * _per_second(flags))
    quarters = time.localtime(now.wall_us / 1_000_000).tm_gmtoff // 900 if flags & _OFFSET_USED else 0
    return bytes((flags,)) + count.to_bytes(6, "little") + bytes((_FROM_THE_NETWORK, quarters & 0xFF))


def encoded(characteristic: int, now: Clock) -> bytes:
    """The hub's local time as Date Time (7 bytes) or Current Time (10 bytes)."""
    there = _local(now)
    value = there.year.to_bytes(2, "little") + bytes((there.month, there.day, there.hour, there.minute, there.second))
    if characteristic == DATE_TIME:
        return value
    return value + bytes((there.isoweekday(), there.microsecond * 256 // 1_000_000, _EXTERNAL_REFERENCE))


def shows_no_start(value: bytes) -> bool:
    """Whether a CGM Session Start Time has no date: the sensor has not been told the time since it was started."""
    return len(value) >= 9 and not (value[0] | value[1] and value[2] and value[3])


def session_start(now: Clock, feature: bytes) -> bytes:
    """What to write to CGM Session Start Time (CGMS 3.4): the time now, from which the sensor takes its own age.

    With zone and daylight saving, and with the E2E-CRC if the CGM Feature says that the sensor has it.
    """
    there = time.localtime(now.wall_us / 1_000_000)
    saving_s = 3600 if there.tm_isdst > 0 else 0
    quarters = (there.tm_gmtoff - saving_s) // 900
    value = encoded(DATE_TIME, now) + bytes((quarters & 0xFF, _DST_ONE_HOUR if saving_s else 0))
    if int.from_bytes(feature[:3], "little") & _HAS_CRC:
        value += _crc(value).to_bytes(2, "little")
    return value


def _local(now: Clock) -> datetime:
    return citizens_time(now).replace(tzinfo=None)


def _per_second(flags: int) -> int:
    return _PER_SECOND[flags >> 2 & 3]


def _elapsed_s(flags: int, now: Clock) -> float:
    there = _EPOCH_UTC + timedelta(microseconds=now.wall_us) if flags & _UTC else _local(now)
    return (there - _EPOCH).total_seconds()


def _crc(data: bytes) -> int:
    """E2E-CRC (CGMS 3.11), as `wire.gatt.cgm.crc` has it beside the decoders."""
    register = 0xFFFF
    for octet in data:
        register ^= octet
        for _ in range(8):
            register = register >> 1 ^ (0x8408 if register & 1 else 0)
    return register
