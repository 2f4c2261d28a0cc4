"""Blood pressure of BLS 1.1: Enhanced Measurement (2B34), Enhanced Intermediate Cuff Pressure (2B35) and Record (2B36).

A record is a stored value of one kind of measurement or the other.

The enhanced one counts seconds since 1900 or 2000, in UTC, and tells beside it the time that the user saw. Both
together are the user's time with its offset from UTC. A record that ends with an E2E-CRC does not say so; it is taken
for one where the value does not end with its fields and the two bytes after them are its CRC.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from wire.errors import DecodeError, WireError
from wire.gatt import blood_pressure as plain
from wire.gatt.cgm import crc
from wire.gatt.reader import Reader
from wire.measurement import DeviceTime, Measurement, MeasurementStatus

_USER_FACING_TIME: Final = 0x20
_SINCE_2000: Final = 0x40
_WHOLE: Final = 0x03
_RECORD_HEADER: Final = 5
_OFFSET_STEP_MIN: Final = 15


def decode_enhanced(value: bytes) -> tuple[Measurement, ...]:
    """Enhanced Blood Pressure Measurement (2B34, BLS 1.1.1 and GATT Specification Supplement)."""
    reader = Reader(value)
    flags = reader.u8("flags")
    unit = "kPa" if flags & plain.KILOPASCAL else "mm[Hg]"
    three = (
        reader.sfloat("systolic pressure"),
        reader.sfloat("diastolic pressure"),
        reader.sfloat("mean arterial pressure"),
    )
    return plain.pressures(three, unit, _tail(reader, flags))


def decode_enhanced_cuff_pressure(value: bytes) -> tuple[Measurement, ...]:
    """Enhanced Intermediate Cuff Pressure (2B35): one pressure, where the one of 2A36 has two empty ones beside it."""
    reader = Reader(value)
    flags = reader.u8("flags")
    cuff = reader.sfloat("cuff pressure")
    return plain.cuff_pressure(cuff, "kPa" if flags & plain.KILOPASCAL else "mm[Hg]", _tail(reader, flags))


def decode_record(value: bytes) -> tuple[Measurement, ...]:
    """Blood Pressure Record (2B36): a whole one, whose sequence number is for the RACP; what is in it was stored."""
    _, _, found = _read(value)
    return tuple(replace(part, status=(*part.status, MeasurementStatus.STORED)) for part in found)


def recorded(record: bytes) -> tuple[int, bytes]:
    """Which characteristic a record holds, and its value: what came live if the measurement did, byte for byte."""
    kind, inner, _ = _read(record)
    return kind, inner


def _read(value: bytes) -> tuple[int, bytes, tuple[Measurement, ...]]:
    reader = Reader(value)
    if reader.u8("segmentation header") & _WHOLE != _WHOLE:
        raise DecodeError("one segment of several: the record is not whole", 0)
    reader.u16("sequence number")
    kind = reader.u16("UUID")
    decode = {0x2A35: plain.decode_blood_pressure, 0x2B34: decode_enhanced}.get(kind)
    if decode is None:
        raise DecodeError(f"a record of {kind:04X}", _RECORD_HEADER - 2)
    inner = value[_RECORD_HEADER:]
    try:
        return kind, inner, decode(inner)
    except DecodeError as fault:
        if len(inner) < 2 or crc(value[:-2]) != int.from_bytes(value[-2:], "little"):
            raise DecodeError(fault.message, fault.offset + _RECORD_HEADER) from None
        return kind, inner[:-2], decode(inner[:-2])


def _tail(reader: Reader, flags: int) -> plain.Tail:
    """The fields that both enhanced characteristics share."""
    at = reader.offset
    stamp = reader.u32("time stamp") if flags & plain.TIME_STAMP else None
    pulse = reader.sfloat("pulse rate") if flags & plain.PULSE_RATE else None
    user = reader.u8("user id") if flags & plain.USER else plain.USER_UNKNOWN
    word = reader.u16("measurement status") if flags & plain.STATUS_FIELD else 0
    facing = reader.u32("user facing time") if flags & _USER_FACING_TIME else None
    reader.end()
    time = _time(stamp, facing, 2000 if flags & _SINCE_2000 else 1900, at)
    return time, pulse, None if user == plain.USER_UNKNOWN else user, plain.status_bits(word)


def _time(stamp: int | None, facing: int | None, since: int, at: int) -> DeviceTime | None:
    seconds = stamp if facing is None else facing
    if seconds is None:
        return None
    offset_min = 0 if facing is None else None
    if stamp is not None and facing is not None and (facing - stamp) % (60 * _OFFSET_STEP_MIN) == 0:
        offset_min = (facing - stamp) // 60
    moment = datetime(since, 1, 1) + timedelta(seconds=seconds)  # noqa: DTZ001  (its zone, if any, stays beside it)
    try:
        return DeviceTime.of(moment, offset_min=offset_min)
    except WireError as error:
        raise DecodeError(str(error), at) from None
