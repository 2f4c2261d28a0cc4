"""Blood pressure: Measurement (2A35), Intermediate Cuff Pressure (2A36) and Feature (2A49), Bluetooth BLS 1.1.1.

Systolic, diastolic and mean are one compound value, as in IEEE 11073-10407; pulse rate is its own measurement. Where
the device reports a systolic pressure that is not above the diastolic, the value set is marked questionable: the
numbers stay as they came, and nobody downstream takes them for a good reading.
"""

from decimal import Decimal
from typing import Final, TypeAlias

from wire.gatt.date_time import read_date_time
from wire.gatt.reader import Reader
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, Special, numeric
from wire.nomenclature import Mdc
from wire.numbers import decode_sfloat
from wire.quirks import Quirk

KILOPASCAL: Final = 0x01
TIME_STAMP: Final = 0x02
PULSE_RATE: Final = 0x04
USER: Final = 0x08
STATUS_FIELD: Final = 0x10

USER_UNKNOWN: Final = 0xFF

# BLS 3.1.1.6: bits 3 and 4 are one number, the pulse rate range; its value 3 is reserved and says nothing.
_PULSE_RANGE: Final = 0x18
STATUS: Final = (
    "body movement",
    "cuff too loose",
    "irregular pulse",
    "pulse above the range",
    "pulse below the range",
    "improper position",
)
"""Measurement status; HL7 PHD ASN1ToHL7 numbers the MDC bits (from the most significant) in the same order."""

FEATURES: Final = (
    "body movement detection",
    "cuff fit detection",
    "irregular pulse detection",
    "pulse rate range detection",
    "measurement position detection",
    "multiple bonds",
    "E2E-CRC",
    "user data",
    "user facing time",
)
"""BLS 3.3, by bit."""

Tail: TypeAlias = tuple[DeviceTime | None, Decimal | Special | None, int | None, dict[int, bool]]
"""What follows the pressures: time stamp, pulse rate, user and measurement status (as MDC bits)."""

_QUESTIONABLE: Final = (MeasurementStatus.QUESTIONABLE,)
_ONGOING: Final = (MeasurementStatus.ONGOING,)


def decode_blood_pressure(value: bytes, quirk: Quirk | None = None) -> tuple[Measurement, ...]:
    """Blood Pressure Measurement (2A35, BLS 3.1), or what a device with this quirk means by one."""
    reader = Reader(value)
    flags = reader.u8("flags")
    unit = "kPa" if flags & KILOPASCAL else "mm[Hg]"
    systolic = reader.sfloat("systolic pressure")
    diastolic = reader.sfloat("diastolic pressure")
    mean = reader.sfloat("mean arterial pressure")
    tail = _tail(reader, flags) if quirk is None else _quirky_tail(reader, flags, quirk)
    return pressures((systolic, diastolic, mean), unit, tail)


def pressures(
    three: tuple[Decimal | Special, Decimal | Special, Decimal | Special], unit: str, tail: Tail
) -> tuple[Measurement, ...]:
    """Systolic, diastolic and mean as one compound value, then pulse rate and measurement status where there are any."""
    time, pulse, user, bits = tail
    systolic, diastolic, mean = three
    pressure = Measurement(
        code=Mdc.PRESS_BLD_NONINV,
        components=(
            numeric(Mdc.PRESS_BLD_NONINV_SYS, systolic, unit),
            numeric(Mdc.PRESS_BLD_NONINV_DIA, diastolic, unit),
            numeric(Mdc.PRESS_BLD_NONINV_MEAN, mean, unit),
        ),
        device_time=time,
        status=() if _plausible(systolic, diastolic) else _QUESTIONABLE,
        user=user,
    )
    return (pressure, *_pulse_and_status(pulse, bits, time, user, ()))


def decode_intermediate_cuff_pressure(value: bytes) -> tuple[Measurement, ...]:
    """Intermediate Cuff Pressure (2A36, BLS 3.2): shown while the cuff inflates, never a result, hence `ongoing`."""
    reader = Reader(value)
    flags = reader.u8("flags")
    cuff = reader.sfloat("cuff pressure")
    reader.take(4, "unused pressures")
    return cuff_pressure(cuff, "kPa" if flags & KILOPASCAL else "mm[Hg]", _tail(reader, flags))


def cuff_pressure(cuff: Decimal | Special, unit: str, tail: Tail) -> tuple[Measurement, ...]:
    """The pressure in a cuff while it inflates, and what the value says beside it; all of it is `ongoing`."""
    time, pulse, user, bits = tail
    pressure = numeric(Mdc.PRESS_CUFF, cuff, unit, device_time=time, status=_ONGOING, user=user)
    return (pressure, *_pulse_and_status(pulse, bits, time, user, _ONGOING))


def describe_feature(value: bytes) -> dict[str, str | bool]:
    """Blood Pressure Feature (2A49, BLS 3.3): what the cuff can detect."""
    reader = Reader(value)
    supported = reader.u16("feature")
    reader.end()
    return {name: bool(supported >> bit & 1) for bit, name in enumerate(FEATURES)}


def _tail(reader: Reader, flags: int) -> Tail:
    """The fields that both characteristics share: time stamp, pulse rate, user and measurement status."""
    time = read_date_time(reader) if flags & TIME_STAMP else None
    pulse = reader.sfloat("pulse rate") if flags & PULSE_RATE else None
    user = reader.u8("user index") if flags & USER else USER_UNKNOWN
    word = reader.u16("measurement status") if flags & STATUS_FIELD else 0
    reader.end()
    return time, pulse, None if user == USER_UNKNOWN else user, status_bits(word)


def _quirky_tail(reader: Reader, flags: int, quirk: Quirk) -> Tail:
    """The same from a device that sends some of it most significant byte first, or a field without its flag."""
    time = read_date_time(reader) if flags & TIME_STAMP else None
    pulse = word = None
    if flags & PULSE_RATE:
        raw = reader.u16("pulse rate")
        pulse = decode_sfloat(_swapped(raw) if "pulse" in quirk.big_endian else raw)
    user = reader.u8("user index") if flags & USER or "user" in quirk.unflagged else USER_UNKNOWN
    if flags & STATUS_FIELD:
        raw = reader.u16("measurement status")
        word = _swapped(raw) if "status" in quirk.big_endian else raw
    reader.end()
    return time, pulse, None if user == USER_UNKNOWN else user, status_bits(word or 0)


def _swapped(word: int) -> int:
    return word >> 8 | (word & 0xFF) << 8


def status_bits(word: int) -> dict[int, bool]:
    """Measurement status (BLS 3.1.1.6) as MDC bits."""
    if word & _PULSE_RANGE == _PULSE_RANGE:
        word &= ~_PULSE_RANGE
    return {bit: True for bit in range(len(STATUS)) if word >> bit & 1} if word else {}


def _pulse_and_status(
    pulse: Decimal | Special | None,
    bits: dict[int, bool],
    time: DeviceTime | None,
    user: int | None,
    status: tuple[MeasurementStatus, ...],
) -> list[Measurement]:
    found: list[Measurement] = []
    if pulse is not None:
        found.append(numeric(Mdc.PULS_RATE_NON_INV, pulse, "/min", device_time=time, status=status, user=user))
    if bits:
        code = Mdc.BLOOD_PRESSURE_MEASUREMENT_STATUS
        found.append(Measurement(code=code, bits=bits, device_time=time, status=status, user=user))
    return found


def _plausible(systolic: Decimal | Special, diastolic: Decimal | Special) -> bool:
    if isinstance(systolic, Special) or isinstance(diastolic, Special):
        return True
    return systolic > diastolic
