"""Thermometer: Temperature Measurement (2A1C), Intermediate Temperature (2A1E), Type (2A1D), Interval (2A21), HTS 1.0.

The quantity is always body temperature; where it was taken is a supplemental type, one of IEEE 11073-10408's own.
"""

from typing import Final

from wire.gatt.date_time import read_date_time
from wire.gatt.reader import Reader
from wire.measurement import Measurement, MeasurementStatus, numeric
from wire.nomenclature import Mdc

_FAHRENHEIT: Final = 0x01
_TIME_STAMP: Final = 0x02
_TYPE: Final = 0x04

_ONGOING: Final = (MeasurementStatus.ONGOING,)

TYPES: Final[tuple[tuple[str, tuple[int, ...]], ...]] = (
    ("reserved", ()),
    ("armpit", (Mdc.TEMP_AXILLA,)),
    ("body", ()),
    ("ear", (Mdc.TEMP_EAR,)),
    ("finger", (Mdc.TEMP_FINGER,)),
    ("gastro-intestinal tract", (Mdc.TEMP_GIT,)),
    ("mouth", (Mdc.TEMP_ORAL,)),
    ("rectum", (Mdc.TEMP_RECT,)),
    ("toe", (Mdc.TEMP_TOE,)),
    ("eardrum", (Mdc.TEMP_TYMP,)),
)
"""HTS 3.2, by value; `body` is general and adds nothing, higher values are reserved."""


def decode_temperature(value: bytes) -> tuple[Measurement, ...]:
    """Temperature Measurement (2A1C, HTS 3.1)."""
    return _temperature(value, ())


def decode_intermediate_temperature(value: bytes) -> tuple[Measurement, ...]:
    """Intermediate Temperature (2A1E, HTS 3.3): shown while the thermometer still rises, never a result, hence `ongoing`."""
    return _temperature(value, _ONGOING)


def _temperature(value: bytes, status: tuple[MeasurementStatus, ...]) -> tuple[Measurement, ...]:
    reader = Reader(value)
    flags = reader.u8("flags")
    temperature = reader.float32("temperature")
    time = read_date_time(reader) if flags & _TIME_STAMP else None
    site = reader.u8("temperature type") if flags & _TYPE else 0
    reader.end()
    unit = "[degF]" if flags & _FAHRENHEIT else "Cel"
    return (numeric(Mdc.TEMP_BODY, temperature, unit, device_time=time, supplemental=_type(site)[1], status=status),)


def describe_type(value: bytes) -> dict[str, str | bool]:
    """Temperature Type (2A1D, HTS 3.2)."""
    reader = Reader(value)
    site = reader.u8("temperature type")
    reader.end()
    return {"type": _type(site)[0]}


def describe_interval(value: bytes) -> dict[str, str | bool]:
    """Measurement Interval (2A21, HTS 3.4): seconds between measurements, 0 where they do not come by themselves."""
    reader = Reader(value)
    seconds = reader.u16("measurement interval")
    reader.end()
    return {"measurement interval": f"{seconds} s" if seconds else "none"}


def _type(value: int) -> tuple[str, tuple[int, ...]]:
    return TYPES[value] if value < len(TYPES) else TYPES[0]
