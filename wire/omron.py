"""Omron's own blood pressure record of 14 bytes, as its app reads it from a cuff's memory (HEM-7142T2 and its family).

Pressures and pulse, a date in bit fields, then bytes that no public source explains. The systolic pressure is counted
from 25 mmHg; more than 0xE1 there is an empty slot, which is no reading. There is no mean pressure and no user.

Source: eigger/hass-omron record_parsers.py, parse_classic_vital_14 (MIT). It moves seconds above 59 to 59; here such a
time is refused, like any other that no clock shows. Two more flags, cuff and battery, are in no agreed sense.
"""

from typing import Final

from wire.errors import DecodeError, WireError
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, numeric
from wire.nomenclature import Mdc
from wire.numbers import scaled

RECORD_BYTES: Final = 14
_SYSTOLIC_FROM: Final = 25
_EMPTY: Final = 0xE1

# Bits of MDC_BLOOD_PRESSURE_MEASUREMENT_STATUS, as in `wire.gatt.blood_pressure`.
_BODY_MOVEMENT: Final = 0
_IRREGULAR_PULSE: Final = 2


def decode_record14(value: bytes) -> tuple[Measurement, ...]:
    """The measurements in one record."""
    if len(value) != RECORD_BYTES:
        raise DecodeError(f"{len(value)} bytes, a record has {RECORD_BYTES}", min(len(value), RECORD_BYTES))
    if value[0] > _EMPTY or not any(value[1:8]):
        raise DecodeError("an empty slot", 0)
    systolic, diastolic, pulse = value[0] + _SYSTOLIC_FROM, value[1], value[2]
    day = value[4] | value[5] << 8
    minute = value[6] | value[7] << 8
    try:
        time = DeviceTime(
            year=2000 + (value[3] & 0x3F),
            month=day >> 10 & 0x0F,
            day=day >> 5 & 0x1F,
            hour=day & 0x1F,
            minute=minute >> 6 & 0x3F,
            second=minute & 0x3F,
        )
    except WireError as error:
        raise DecodeError(str(error), 3) from None
    found = [
        Measurement(
            code=Mdc.PRESS_BLD_NONINV,
            components=(
                numeric(Mdc.PRESS_BLD_NONINV_SYS, scaled(systolic, 0), "mm[Hg]"),
                numeric(Mdc.PRESS_BLD_NONINV_DIA, scaled(diastolic, 0), "mm[Hg]"),
            ),
            device_time=time,
            status=() if systolic > diastolic else (MeasurementStatus.QUESTIONABLE,),
        ),
        numeric(Mdc.PULS_RATE_NON_INV, scaled(pulse, 0), "/min", device_time=time),
    ]
    bits = {bit: True for flag, bit in ((14, _IRREGULAR_PULSE), (15, _BODY_MOVEMENT)) if day >> flag & 1}
    if bits:
        found.append(Measurement(code=Mdc.BLOOD_PRESSURE_MEASUREMENT_STATUS, bits=bits, device_time=time))
    return tuple(found)
