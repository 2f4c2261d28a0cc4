"""SFLOAT and FLOAT: exact decimals with the device's precision, both ways."""

from decimal import ROUND_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.vectors import Vector, load
from wire.errors import WireError
from wire.measurement import Special
from wire.numbers import decode_float, decode_sfloat, encode_float, encode_sfloat, ratio, scaled

VECTORS = load("numbers.json")
# What the sources of the copied vectors call the special values.
NAMES = {
    "NaN": Special.NAN,
    "+INFINITY": Special.POSITIVE_INFINITY,
    "-INFINITY": Special.NEGATIVE_INFINITY,
    "NRes": Special.NRES,
    "Reserved": Special.RESERVED,
}


def decoded(vector: Vector) -> Decimal | Special:
    form, order = vector.kind.split("-")
    raw = int.from_bytes(vector.value, "big" if order == "be" else "little")
    return decode_sfloat(raw) if form == "sfloat" else decode_float(raw)


@pytest.mark.parametrize("vector", [v for v in VECTORS if "value" in v.expected], ids=str)
def test_a_number_of_another_implementation_has_the_value_that_its_source_states(vector: Vector) -> None:
    stated = vector.expected["value"]
    expected = NAMES[stated] if isinstance(stated, str) else Decimal(stated)
    assert expected == decoded(vector)


@pytest.mark.parametrize("vector", [v for v in VECTORS if "exact" in v.expected], ids=str)
def test_a_number_keeps_the_precision_that_its_exponent_states(vector: Vector) -> None:
    stated = vector.expected["exact"]
    value = decoded(vector)
    if isinstance(value, Special):
        assert Special(stated) is value
    else:
        assert Decimal(stated).as_tuple() == value.as_tuple()


def test_every_sfloat_is_a_special_value_or_a_decimal_that_encodes_to_the_same_bits() -> None:
    values = [decode_sfloat(raw) for raw in range(0x10000)]
    assert list(range(0x10000)) == [encode_sfloat(value) for value in values]
    assert len(Special) == sum(isinstance(value, Special) for value in values)


@given(st.integers(0, 0xFFFFFFFF))
def test_every_float_is_a_special_value_or_a_decimal_that_encodes_to_the_same_bits(raw: int) -> None:
    assert raw == encode_float(decode_float(raw))


@given(st.integers(-2048, 2047), st.integers(-8, 7))
def test_a_decimal_that_fits_an_sfloat_survives_with_its_exponent(mantissa: int, exponent: int) -> None:
    value = Decimal(f"{mantissa}E{exponent}")
    if exponent == 0 and not -2046 < mantissa < 2046:
        with pytest.raises(WireError):
            encode_sfloat(value)
    else:
        back = decode_sfloat(encode_sfloat(value))
        assert isinstance(back, Decimal)
        assert value.as_tuple() == back.as_tuple()


@given(st.decimals())
def test_a_decimal_either_survives_exactly_or_is_refused(value: Decimal) -> None:
    for encode, decode in ((encode_sfloat, decode_sfloat), (encode_float, decode_float)):
        try:
            back = decode(encode(value))
        except WireError:
            continue
        assert isinstance(back, Decimal)
        # Two's complement has no minus zero.
        assert value.as_tuple()[1:] == back.as_tuple()[1:]
        assert value == back


@pytest.mark.parametrize(
    "value",
    ["98.65", "2048", "-2049", "2046", "-2046", "1E+8", "1E-9", "NaN", "Infinity", f"1{'0' * 5000}"],
)
def test_what_an_sfloat_cannot_hold_is_refused_and_never_rounded(value: str) -> None:
    with pytest.raises(WireError):
        encode_sfloat(Decimal(value))


@pytest.mark.parametrize("raw", [-1, 0x10000])
def test_more_than_16_bits_are_no_sfloat(raw: int) -> None:
    with pytest.raises(WireError):
        decode_sfloat(raw)


@pytest.mark.parametrize("raw", [-1, 0x100000000])
def test_more_than_32_bits_are_no_float(raw: int) -> None:
    with pytest.raises(WireError):
        decode_float(raw)


def test_a_callers_decimal_context_changes_no_value() -> None:
    with localcontext() as context:
        context.prec = 2
        context.rounding = ROUND_UP
        assert Decimal("838860.7").as_tuple() == decode_float(0xFF7FFFFF).as_tuple()  # type: ignore[union-attr]  # a number by its vector
        assert Decimal("137.6953125").as_tuple() == ratio(141_000, 1024).as_tuple()
        assert Decimal("327.675").as_tuple() == scaled(327_675, -3).as_tuple()


def test_every_rr_interval_has_an_exact_decimal() -> None:
    for raw in range(0x10000):
        milliseconds = ratio(raw * 1000, 1024)
        assert raw * 1000 == milliseconds * 1024
