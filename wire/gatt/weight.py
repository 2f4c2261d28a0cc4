"""Weight scale: Measurement (2A9D) and Feature (2A9E), Bluetooth WSS 1.0.1.

Weight and height are integers times the resolution of the unit system, so 14000 is 70.000 kg and not 70 kg.
"""

from typing import Final

from wire.gatt.date_time import read_date_time
from wire.gatt.reader import Reader
from wire.measurement import Measurement, numeric
from wire.nomenclature import Mdc
from wire.numbers import scaled

_IMPERIAL: Final = 0x01
_TIME_STAMP: Final = 0x02
_USER: Final = 0x04
_BMI_AND_HEIGHT: Final = 0x08

_UNSUCCESSFUL: Final = 0xFFFF
_USER_UNKNOWN: Final = 0xFF

WEIGHT_RESOLUTIONS: Final = (
    "not specified",
    "0.5 kg or 1 lb",
    "0.2 kg or 0.5 lb",
    "0.1 kg or 0.2 lb",
    "0.05 kg or 0.1 lb",
    "0.02 kg or 0.05 lb",
    "0.01 kg or 0.02 lb",
    "0.005 kg or 0.01 lb",
)
"""WSS 3.1.1.4, bits 3 to 6; higher values are reserved."""
HEIGHT_RESOLUTIONS: Final = ("not specified", "0.01 m or 1 in", "0.005 m or 0.5 in", "0.001 m or 0.1 in")
"""WSS 3.1.1.5, bits 7 to 9; higher values are reserved."""


def decode_weight(value: bytes) -> tuple[Measurement, ...]:
    """Weight Measurement (2A9D, WSS 3.2): weight, and BMI with height where the scale knows its user."""
    reader = Reader(value)
    flags = reader.u8("flags")
    raw = reader.u16("weight")
    time = read_date_time(reader) if flags & _TIME_STAMP else None
    index = reader.u8("user index") if flags & _USER else _USER_UNKNOWN
    user = None if index == _USER_UNKNOWN else index
    imperial = flags & _IMPERIAL
    if raw == _UNSUCCESSFUL:
        weight = Measurement(code=Mdc.MASS_BODY_ACTUAL, absent="error", device_time=time, user=user)
    elif imperial:
        weight = numeric(Mdc.MASS_BODY_ACTUAL, scaled(raw, -2), "[lb_av]", device_time=time, user=user)
    else:
        weight = numeric(Mdc.MASS_BODY_ACTUAL, scaled(raw * 5, -3), "kg", device_time=time, user=user)
    if not flags & _BMI_AND_HEIGHT:
        reader.end()
        return (weight,)
    bmi = scaled(reader.u16("BMI"), -1)
    height = reader.u16("height")
    reader.end()
    tall, unit = (scaled(height, -1), "[in_i]") if imperial else (scaled(height, -3), "m")
    return (
        weight,
        numeric(Mdc.RATIO_MASS_BODY_LEN_SQ, bmi, "kg/m2", device_time=time, user=user),
        numeric(Mdc.LEN_BODY_ACTUAL, tall, unit, device_time=time, user=user),
    )


def decode_and_weight(value: bytes) -> tuple[Measurement, ...]:
    """A&D's own measurement of before there was a Weight Scale Service: 0.1 kg or 0.1 lb, and the same first flags."""
    reader = Reader(value)
    flags = reader.u8("flags")
    raw = reader.u16("weight")
    time = read_date_time(reader) if flags & _TIME_STAMP else None
    index = reader.u8("user index") if flags & _USER else _USER_UNKNOWN
    reader.end()
    unit = "[lb_av]" if flags & _IMPERIAL else "kg"
    user = None if index == _USER_UNKNOWN else index
    return (numeric(Mdc.MASS_BODY_ACTUAL, scaled(raw, -1), unit, device_time=time, user=user),)


def describe_feature(value: bytes) -> dict[str, str | bool]:
    """Weight Scale Feature (2A9E, WSS 3.1): what the scale can say, and how finely."""
    reader = Reader(value)
    supported = reader.u32("feature")
    reader.end()
    weight, height = supported >> 3 & 0x0F, supported >> 7 & 0x07
    return {
        "time stamp": bool(supported & 1),
        "multiple users": bool(supported & 2),
        "BMI": bool(supported & 4),
        "weight resolution": WEIGHT_RESOLUTIONS[weight] if weight < len(WEIGHT_RESOLUTIONS) else "reserved",
        "height resolution": HEIGHT_RESOLUTIONS[height] if height < len(HEIGHT_RESOLUTIONS) else "reserved",
    }
