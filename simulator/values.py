"""What every device shows: numbers with the precision of its display, codes, bits and samples; and IEEE 11073 numbers.

Written from the standards alone; nothing here is shared with the decoders in `wire`, so that a fault on one side cannot
hide on the other.
"""

import struct
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any


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


def rounded(number: float, step: str) -> Decimal:
    """A number as a display with this step shows it: `rounded(72.31, "0.005")` is 72.310."""
    size = Decimal(step)
    # No display shows -0, and no SFLOAT has one: adding 0 makes it 0.
    return (Decimal(repr(number)) / size).quantize(Decimal(1), rounding=ROUND_HALF_EVEN) * size + 0


def sfloat(value: Decimal) -> bytes:
    """IEEE 11073 SFLOAT, little-endian: four bits of exponent, twelve of mantissa, both two's complement."""
    return struct.pack("<H", _float_bits(value, mantissa_bits=12, exponent_bits=4))


def float32(value: Decimal) -> bytes:
    """IEEE 11073 FLOAT, little-endian: eight bits of exponent, twenty-four of mantissa."""
    return struct.pack("<I", _float_bits(value, mantissa_bits=24, exponent_bits=8))


def _float_bits(value: Decimal, *, mantissa_bits: int, exponent_bits: int) -> int:
    exponent = int(value.as_tuple().exponent)
    mantissa = int(value.scaleb(-exponent))
    # The five highest magnitudes are kept for NaN, infinities, NRes and reserved.
    if abs(mantissa) > (1 << (mantissa_bits - 1)) - 3 or abs(exponent) >= 1 << (exponent_bits - 1):
        raise ValueError(f"{value} fits no {mantissa_bits}-bit mantissa")
    return (exponent % (1 << exponent_bits)) << mantissa_bits | mantissa % (1 << mantissa_bits)
