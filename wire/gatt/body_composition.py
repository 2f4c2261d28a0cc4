"""Body composition analyser: Measurement (2A9C) and Feature (2A9B), Bluetooth BCS 1.0.

Masses are integers times the resolution of the unit system, as in `weight`. A measurement that does not fit one
indication comes in two consecutive ones, both with the multiple-packet flag; each is whole in itself (flags and body
fat are in both), so each is decoded for itself. Body fat 0xFFFF is "measurement unsuccessful"; in a packet of several
that brings other fields it is only what that packet does not say, and is left out.

Muscle, basal metabolism and impedance have no MDC code that the open tables agree on: one table has four, and another
gives the first of them to something else. They are read into the `BodyComposition` and are no measurements: a wrong
code would be worse than none, and the evidence keeps the bytes for the day the codes are known.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from wire.errors import DecodeError
from wire.gatt.date_time import read_date_time
from wire.gatt.reader import Reader
from wire.gatt.weight import HEIGHT_RESOLUTIONS, WEIGHT_RESOLUTIONS
from wire.measurement import DeviceTime, Measurement, numeric
from wire.nomenclature import Mdc
from wire.numbers import scaled

_IMPERIAL: Final = 0x0001
_TIME_STAMP: Final = 0x0002
_USER: Final = 0x0004
_BASAL_METABOLISM: Final = 0x0008
_MUSCLE_PERCENTAGE: Final = 0x0010
_MUSCLE_MASS: Final = 0x0020
_FAT_FREE_MASS: Final = 0x0040
_SOFT_LEAN_MASS: Final = 0x0080
_BODY_WATER_MASS: Final = 0x0100
_IMPEDANCE: Final = 0x0200
_WEIGHT: Final = 0x0400
_HEIGHT: Final = 0x0800
_MULTIPLE_PACKETS: Final = 0x1000

_UNSUCCESSFUL: Final = 0xFFFF
_ALL_FAT: Final = 1000
_USER_UNKNOWN: Final = 0xFF

FEATURES: Final = (
    "time stamp",
    "multiple users",
    "basal metabolism",
    "muscle percentage",
    "muscle mass",
    "fat free mass",
    "soft lean mass",
    "body water mass",
    "impedance",
    "weight",
    "height",
)
"""BCS 3.1, by bit; bits 11 to 14 are the mass resolution, bits 15 to 17 the height resolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyComposition:
    """One Body Composition Measurement; masses are in `mass_unit`, the height in `height_unit` (UCUM)."""

    fat_percent: Decimal | None
    imperial: bool
    multiple_packets: bool
    time: DeviceTime | None = None
    user: int | None = None
    basal_metabolism_kj: Decimal | None = None
    muscle_percent: Decimal | None = None
    muscle_mass: Decimal | None = None
    fat_free_mass: Decimal | None = None
    soft_lean_mass: Decimal | None = None
    body_water_mass: Decimal | None = None
    impedance_ohm: Decimal | None = None
    weight: Decimal | None = None
    height: Decimal | None = None

    @property
    def mass_unit(self) -> str:
        """Pounds or kilograms."""
        return "[lb_av]" if self.imperial else "kg"

    @property
    def height_unit(self) -> str:
        """Inches or metres."""
        return "[in_i]" if self.imperial else "m"


def read_body_composition(value: bytes) -> BodyComposition:
    """Body Composition Measurement (2A9C, BCS 3.2), all its fields."""
    reader = Reader(value)
    flags = reader.u16("flags")
    fat = reader.u16("body fat percentage")
    if _ALL_FAT < fat != _UNSUCCESSFUL:
        # A Mi Body Composition Scale 2 sends bytes of its own here, which pass for a fat of 202 % in the year 5131.
        raise DecodeError(f"{fat // 10} % of body fat", reader.offset - 2)
    time = read_date_time(reader) if flags & _TIME_STAMP else None
    index = reader.u8("user index") if flags & _USER else _USER_UNKNOWN
    step, mass = (1, -2) if flags & _IMPERIAL else (5, -3)
    length = -1 if flags & _IMPERIAL else -3

    def field(flag: int, name: str, step: int, exponent: int) -> Decimal | None:
        return scaled(reader.u16(name) * step, exponent) if flags & flag else None

    # The fields are read in the order in which they stand here, which is theirs on the wire.
    found = BodyComposition(
        fat_percent=None if fat == _UNSUCCESSFUL else scaled(fat, -1),
        imperial=bool(flags & _IMPERIAL),
        multiple_packets=bool(flags & _MULTIPLE_PACKETS),
        time=time,
        user=None if index == _USER_UNKNOWN else index,
        basal_metabolism_kj=field(_BASAL_METABOLISM, "basal metabolism", 1, 0),
        muscle_percent=field(_MUSCLE_PERCENTAGE, "muscle percentage", 1, -1),
        muscle_mass=field(_MUSCLE_MASS, "muscle mass", step, mass),
        fat_free_mass=field(_FAT_FREE_MASS, "fat free mass", step, mass),
        soft_lean_mass=field(_SOFT_LEAN_MASS, "soft lean mass", step, mass),
        body_water_mass=field(_BODY_WATER_MASS, "body water mass", step, mass),
        impedance_ohm=field(_IMPEDANCE, "impedance", 1, -1),
        weight=field(_WEIGHT, "weight", step, mass),
        height=field(_HEIGHT, "height", 1, length),
    )
    reader.end()
    return found


def decode_body_composition(value: bytes) -> tuple[Measurement, ...]:
    """The measurements in a Body Composition Measurement (2A9C): body fat, and the fields that have an MDC code."""
    found = read_body_composition(value)
    fields = (
        (Mdc.BODY_FAT, found.fat_percent, "%"),
        (Mdc.MASS_BODY_FAT_FREE, found.fat_free_mass, found.mass_unit),
        (Mdc.MASS_BODY_SOFT_LEAN, found.soft_lean_mass, found.mass_unit),
        (Mdc.BODY_WATER, found.body_water_mass, found.mass_unit),
        (Mdc.MASS_BODY_ACTUAL, found.weight, found.mass_unit),
        (Mdc.LEN_BODY_ACTUAL, found.height, found.height_unit),
    )
    measurements = [
        numeric(code, number, unit, device_time=found.time, user=found.user)
        for code, number, unit in fields
        if number is not None
    ]
    if found.fat_percent is None and not (found.multiple_packets and measurements):
        absent = Measurement(code=Mdc.BODY_FAT, absent="error", device_time=found.time, user=found.user)
        measurements.insert(0, absent)
    return tuple(measurements)


def describe_feature(value: bytes) -> dict[str, str | bool]:
    """Body Composition Feature (2A9B, BCS 3.1): what the analyser can say, and how finely."""
    reader = Reader(value)
    supported = reader.u32("feature")
    reader.end()
    mass, height = supported >> 11 & 0x0F, supported >> 15 & 0x07
    return {
        **{name: bool(supported >> bit & 1) for bit, name in enumerate(FEATURES)},
        "mass resolution": WEIGHT_RESOLUTIONS[mass] if mass < len(WEIGHT_RESOLUTIONS) else "reserved",
        "height resolution": HEIGHT_RESOLUTIONS[height] if height < len(HEIGHT_RESOLUTIONS) else "reserved",
    }
