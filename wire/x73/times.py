"""The four clocks of 20601: absolute, base-offset, relative and high-resolution relative time.

Absolute time is local BCD without a zone. Base-offset time is UTC seconds since 1900 with the local offset beside it:
the only one that says when something was. The relative clocks count from an origin of the agent's own; what they mean
is only known beside another clock, so they become a `DeviceTime` only through a coincident absolute time.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from wire.errors import DecodeError, WireError
from wire.measurement import DeviceTime
from wire.x73.codes import Attr
from wire.x73.services import MdsTimeInfo

ABSOLUTE_BYTES: Final = 8
BASE_OFFSET_BYTES: Final = 8
RELATIVE_TICK_US: Final = 125
"""RelativeTime counts 1/8 ms (A.2.11)."""
_SECOND_TICKS: Final = 8000
UNSET: Final = bytes(8)
"""Eight zeros: an agent whose clock was never set, as antidote's agent sends it."""
_NO_BCD: Final = 10_000
"""Out of the range of every part of a time, so that a calendar refuses it."""
_BCD: Final = tuple(
    byte // 16 * 10 + byte % 16 if byte // 16 < 10 and byte % 16 < 10 else _NO_BCD for byte in range(256)
)
_EPOCH: Final = datetime(1900, 1, 1, tzinfo=UTC)
_MAX_OFFSET_MIN: Final = 14 * 60


def decode_absolute(raw: bytes, offset: int = 0) -> DeviceTime:
    """AbsoluteTime (A.2.13); `offset` is where it lies in the APDU. All zeros is a time that the agent did not know."""
    if len(raw) != ABSOLUTE_BYTES:
        raise DecodeError(f"an absolute time of {len(raw)} bytes", offset)
    if raw == UNSET:
        return DeviceTime(year=0, month=0, day=0, hour=0, minute=0, second=0)
    bcd = _BCD
    try:
        return DeviceTime(
            year=bcd[raw[0]] * 100 + bcd[raw[1]],
            month=bcd[raw[2]],
            day=bcd[raw[3]],
            hour=bcd[raw[4]],
            minute=bcd[raw[5]],
            second=bcd[raw[6]],
            microsecond=bcd[raw[7]] * 10_000,
        )
    except WireError:
        at = next((at for at, byte in enumerate(raw) if _BCD[byte] == _NO_BCD), None)
        if at is not None:
            raise DecodeError("a time that is not BCD", offset + at) from None
        raise DecodeError("a time on no calendar", offset) from None


def encode_absolute(time: DeviceTime | datetime) -> bytes:
    """AbsoluteTime of a wall clock's reading; the zone is not written, for there is no place for it."""
    digits = (
        f"{time.year:04}{time.month:02}{time.day:02}{time.hour:02}{time.minute:02}{time.second:02}"
        f"{time.microsecond // 10_000:02}"
    )
    return bytes.fromhex(digits)


def decode_base_offset(raw: bytes, offset: int = 0) -> DeviceTime:
    """BaseOffsetTime (20601:2014): u32 seconds since 1900 UTC, u16 fraction, i16 minutes from UTC to local time."""
    if len(raw) != BASE_OFFSET_BYTES:
        raise DecodeError(f"a base-offset time of {len(raw)} bytes", offset)
    seconds = int.from_bytes(raw[0:4], "big")
    fraction = int.from_bytes(raw[4:6], "big")
    minutes = int.from_bytes(raw[6:8], "big", signed=True)
    if not -_MAX_OFFSET_MIN <= minutes <= _MAX_OFFSET_MIN:
        raise DecodeError(f"an offset of more than {_MAX_OFFSET_MIN} minutes from UTC", offset + 6)
    local = (_EPOCH + timedelta(seconds=seconds, microseconds=fraction * 1_000_000 // 65_536)).astimezone(
        timezone(timedelta(minutes=minutes))
    )
    return DeviceTime.of(local, offset_min=minutes)


def encode_base_offset(time: datetime) -> bytes:
    """BaseOffsetTime of an aware time."""
    offset = time.utcoffset()
    if offset is None:
        raise WireError("base-offset time needs a time with its offset from UTC")
    since = time - _EPOCH
    seconds = since.days * 86_400 + since.seconds
    if not 0 <= seconds <= 0xFFFF_FFFF:
        raise WireError(f"{time.isoformat()} is no base-offset time")
    # Rounded up, so that the microsecond read back is the one written.
    fraction = min(-(-since.microseconds * 65_536 // 1_000_000), 0xFFFF)
    minutes = int(offset.total_seconds()) // 60
    return seconds.to_bytes(4, "big") + fraction.to_bytes(2, "big") + minutes.to_bytes(2, "big", signed=True)


def relative_tick_us(mds: Mapping[int, bytes]) -> int:
    """How long one count of an agent's RelativeTime lasts, in microseconds; `mds` is what its MDS shows.

    By the standard 125, and a coarser clock moves on by as many counts as its stated resolution has. A clock of whole
    seconds whose count is no multiple of that counts its own steps: a NovoPen states 1 s, and counts seconds. Of a
    finer one this is not concluded: a count may have been rounded.
    """
    try:
        resolution = MdsTimeInfo.decode(mds.get(Attr.MDS_TIME_INFO, b"")).resolution_rel
    except DecodeError:
        return RELATIVE_TICK_US
    counted_in_steps = resolution >= _SECOND_TICKS and int.from_bytes(mds.get(Attr.TIME_REL, b""), "big") % resolution
    return RELATIVE_TICK_US * resolution if counted_in_steps else RELATIVE_TICK_US
