"""SFLOAT and FLOAT (IEEE 11073-20601 annex F), to exact decimals and back.

Both are `exponent | mantissa`, each part two's complement: 4 + 12 bits and 8 + 24 bits. The exponent is precision, so
0xE0C8 is 2.00 and not 2. Five mantissas with exponent 0 are no numbers; they become `Special`, never an error and
never a float. Nothing here depends on the caller's decimal context.
"""

from collections.abc import Mapping
from decimal import Context, Decimal
from types import MappingProxyType

from wire.errors import WireError
from wire.measurement import Special

# The longest product is a 24-bit mantissa (8 digits) times a power of ten: 28 digits never round.
_EXACT = Context(prec=28)
_POWERS: Mapping[int, Decimal] = {exponent: Decimal((0, (1,), exponent)) for exponent in range(-128, 128)}

SFLOAT_SPECIAL: Mapping[int, Special] = MappingProxyType(
    {
        0x07FF: Special.NAN,
        0x07FE: Special.POSITIVE_INFINITY,
        0x0802: Special.NEGATIVE_INFINITY,
        0x0800: Special.NRES,
        0x0801: Special.RESERVED,
    }
)
FLOAT_SPECIAL: Mapping[int, Special] = MappingProxyType(
    {
        0x007FFFFF: Special.NAN,
        0x007FFFFE: Special.POSITIVE_INFINITY,
        0x00800002: Special.NEGATIVE_INFINITY,
        0x00800000: Special.NRES,
        0x00800001: Special.RESERVED,
    }
)
_SFLOAT_RAW: Mapping[Special, int] = {special: raw for raw, special in SFLOAT_SPECIAL.items()}
_FLOAT_RAW: Mapping[Special, int] = {special: raw for raw, special in FLOAT_SPECIAL.items()}


def scaled(mantissa: int, exponent: int) -> Decimal:
    """`mantissa * 10**exponent` with exactly that exponent: `scaled(70000, -3)` is 70.000."""
    return _EXACT.multiply(mantissa, _POWERS[exponent])


def shifted(value: Decimal, places: int) -> Decimal:
    """The value times a power of ten with its digits untouched: `shifted(0.00120, 5)` is 120, of kg/L in mg/dL."""
    return _EXACT.multiply(value, _POWERS[places])


def ratio(numerator: int, denominator: int) -> Decimal:
    """The exact quotient in the fewest digits, for denominators that have a finite decimal (1024: RR intervals)."""
    return _EXACT.divide(numerator, denominator)


def decode_sfloat(raw: int) -> Decimal | Special:
    """The value of a 16-bit SFLOAT."""
    special = SFLOAT_SPECIAL.get(raw)
    if special is not None:
        return special
    if not 0 <= raw <= 0xFFFF:
        raise WireError(f"{raw} is not a 16-bit SFLOAT")
    exponent, mantissa = raw >> 12, raw & 0x0FFF
    return _EXACT.multiply(
        mantissa - 0x1000 if mantissa & 0x0800 else mantissa, _POWERS[exponent - 16 if exponent & 8 else exponent]
    )


def decode_float(raw: int) -> Decimal | Special:
    """The value of a 32-bit FLOAT."""
    special = FLOAT_SPECIAL.get(raw)
    if special is not None:
        return special
    if not 0 <= raw <= 0xFFFFFFFF:
        raise WireError(f"{raw} is not a 32-bit FLOAT")
    exponent, mantissa = raw >> 24, raw & 0x00FFFFFF
    return _EXACT.multiply(
        mantissa - 0x01000000 if mantissa & 0x00800000 else mantissa,
        _POWERS[exponent - 256 if exponent & 0x80 else exponent],
    )


def encode_sfloat(value: Decimal | Special) -> int:
    """The SFLOAT of exactly this value and precision; WireError where 12 + 4 bits do not hold it."""
    if isinstance(value, Special):
        return _SFLOAT_RAW[value]
    return _encode(value, mantissa_bits=12, exponent_bits=4, taken=SFLOAT_SPECIAL)


def encode_float(value: Decimal | Special) -> int:
    """The FLOAT of exactly this value and precision; WireError where 24 + 8 bits do not hold it."""
    if isinstance(value, Special):
        return _FLOAT_RAW[value]
    return _encode(value, mantissa_bits=24, exponent_bits=8, taken=FLOAT_SPECIAL)


def _encode(value: Decimal, *, mantissa_bits: int, exponent_bits: int, taken: Mapping[int, Special]) -> int:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise WireError(f"{value} is no number: use Special")
    # A Decimal may hold a million digits; no mantissa here has more than 8.
    mantissa = int("".join(map(str, digits[:9]))) if len(digits) <= 9 else 1 << mantissa_bits
    mantissa = -mantissa if sign else mantissa
    limit = 1 << (mantissa_bits - 1)
    if not -limit <= mantissa < limit or not -(1 << exponent_bits) // 2 <= exponent < (1 << exponent_bits) // 2:
        raise WireError(f"{value} does not fit {mantissa_bits} bits of mantissa and {exponent_bits} of exponent")
    raw = (exponent & ((1 << exponent_bits) - 1)) << mantissa_bits | mantissa & ((1 << mantissa_bits) - 1)
    if raw in taken:
        raise WireError(f"{value} with exponent 0 would read as {taken[raw]}: write it with another exponent")
    return raw
