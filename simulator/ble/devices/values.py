"""What every device needs to say a value: numbers, times and check sums as GATT has them, and the values themselves.

Written from the Bluetooth SIG's definitions alone; nothing here is shared with the decoders in `wire`, so that a fault
on one side cannot hide on the other.
"""

import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from simulator.people import Further, Person, Vitals


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value as the device shows it: MDC code, number with its precision, UCUM unit."""

    code: int
    refid: str
    value: Decimal
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """What a device reports that is no number: one of a code, the bits that are set, and samples."""

    code: int
    refid: str
    coded: int | None = None
    bits: tuple[int, ...] = ()
    samples: tuple[Decimal, ...] = ()
    unit: str = ""

    def document(self) -> dict[str, Any]:
        """Only what it has."""
        document: dict[str, Any] = {"code": self.code, "refid": self.refid}
        if self.coded is not None:
            document["coded"] = self.coded
        if self.bits:
            document["bits"] = list(self.bits)
        if self.samples:
            document |= {"samples": [str(each) for each in self.samples], "unit": self.unit}
        return document

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Other":
        return cls(
            code=document["code"],
            refid=document["refid"],
            coded=document.get("coded"),
            bits=tuple(document.get("bits", ())),
            samples=tuple(Decimal(each) for each in document.get("samples", ())),
            unit=document.get("unit", ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One value of a characteristic, and what it says."""

    characteristic: int
    data: bytes
    values: tuple[Value, ...]
    device_time: datetime | None = None
    """Local time on the device's own clock, whole seconds; None where the value carries none."""
    others: tuple[Other, ...] = ()
    expected: bool = True
    """Whether it is a result that shall arrive; a pressure while the cuff inflates is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When and of whom a device measures: the person, the device's clock, and which measurement it is."""

    who: Person
    vitals: Vitals
    further: Further
    at: datetime
    """What the device's clock shows, whole seconds."""
    number: int = 1
    """Which measurement of this device it is, from 1."""
    user: int | None = None
    """The device's user, where it has been told to say one."""
    clock_set: bool = True
    session: datetime | None = None
    """When the sensor's session began, by its clock."""

    @property
    def user_octet(self) -> bytes:
        """The user as cuffs and scales send it; nothing where none is said."""
        return b"" if self.user is None else bytes([self.user])

    @property
    def minutes(self) -> int:
        """Whole minutes since the session began."""
        return 0 if self.session is None else (self.at - self.session) // timedelta(minutes=1)


def sfloat(value: Decimal) -> bytes:
    """IEEE 11073 SFLOAT, little-endian: four bits of exponent, twelve of mantissa, both two's complement."""
    return struct.pack("<H", _float_bits(value, mantissa_bits=12, exponent_bits=4))


def float32(value: Decimal) -> bytes:
    """IEEE 11073 FLOAT, little-endian: eight bits of exponent, twenty-four of mantissa."""
    return struct.pack("<I", _float_bits(value, mantissa_bits=24, exponent_bits=8))


NAN: Final = b"\xff\x07"
"""SFLOAT: not a number."""


def _float_bits(value: Decimal, *, mantissa_bits: int, exponent_bits: int) -> int:
    exponent = int(value.as_tuple().exponent)
    mantissa = int(value.scaleb(-exponent))
    # The five highest magnitudes are kept for NaN, infinities, NRes and reserved.
    if abs(mantissa) > (1 << (mantissa_bits - 1)) - 3 or abs(exponent) >= 1 << (exponent_bits - 1):
        raise ValueError(f"{value} fits no {mantissa_bits}-bit mantissa")
    return (exponent % (1 << exponent_bits)) << mantissa_bits | mantissa % (1 << mantissa_bits)


def date_time(at: datetime) -> bytes:
    """GATT Date Time, 2A08: year, month, day, hours, minutes, seconds."""
    return struct.pack("<HBBBBB", at.year, at.month, at.day, at.hour, at.minute, at.second)


def current_time(at: datetime) -> bytes:
    """GATT Current Time, 2A2B: date time, day of week (Monday is 1), 1/256 s, adjust reason (none)."""
    return date_time(at) + bytes([at.isoweekday(), at.microsecond * 256 // 1_000_000, 0])


def read_date_time(data: bytes) -> datetime:
    """The Date Time that somebody wrote, without a zone; ValueError if it is none, or not known in full."""
    return datetime(*struct.unpack("<HBBBBB", data[:7]))  # noqa: DTZ001 - the device's own clock has no zone


def rounded(number: float, step: str) -> Decimal:
    """A number as a display with this step shows it: `rounded(72.31, "0.005")` is 72.310."""
    size = Decimal(step)
    # No display shows -0, and no SFLOAT has one: adding 0 makes it 0.
    return (Decimal(repr(number)) / size).quantize(Decimal(1), rounding=ROUND_HALF_EVEN) * size + 0


def crc(data: bytes) -> bytes:
    """E2E-CRC of CGMS 1.0.2, 3.11: D = x^16 + x^12 + x^5 + 1, seed 0xFFFF, least significant bit first; little-endian."""
    register = 0xFFFF
    for octet in data:
        for bit in range(8):
            feedback = (register ^ octet >> bit) & 1
            register = register >> 1 ^ (0x8408 if feedback else 0)
    return struct.pack("<H", register)
