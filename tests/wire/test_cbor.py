"""CBOR: the deterministic subset of RFC 8949 that the contract uses, and nothing else."""

import ast
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.envelopes import outside
from wire import cbor
from wire.errors import EnvelopeError, Refusal

RFC_8949 = outside("cbor_rfc8949.json")
LIMIT = 1 << 16

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64), (1 << 64) - 1) | st.binary() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(-(1 << 64), (1 << 64) - 1) | st.text() | st.binary(), inner, max_size=4)
    ),
    max_leaves=12,
)


def same(one: object, other: object) -> bool:
    """Equal, and of the same types all the way down (True is not 1 here)."""
    return repr(one) == repr(other)


def deep(levels: int) -> bytes:
    return b"\x81" * (levels - 1) + b"\x80"


@pytest.mark.parametrize("example", RFC_8949["accepted"], ids=lambda example: example["hex"])
def test_examples_of_the_standard_in_the_contracts_subset_are_read_and_written_back(example: dict[str, str]) -> None:
    encoded, value = bytes.fromhex(example["hex"]), ast.literal_eval(example["value"])
    assert same(value, cbor.loads(encoded, max_bytes=LIMIT))
    assert encoded == cbor.dumps(value)


@pytest.mark.parametrize("example", RFC_8949["refused"], ids=lambda example: f"{example['why']} {example['hex']}")
def test_examples_of_the_standard_outside_the_subset_are_refused(example: dict[str, str]) -> None:
    with pytest.raises(EnvelopeError) as refused:
        cbor.loads(bytes.fromhex(example["hex"]), max_bytes=LIMIT)
    assert refused.value.reason is Refusal.MALFORMED


@pytest.mark.parametrize(
    ("what", "encoded"),
    [
        ("nothing", ""),
        ("a byte after the item", "0100"),
        ("a long head", "1801"),
        ("a longer head", "1b0000000000000001"),
        ("a long length", "580100"),
        ("keys in the wrong order", "a202000100"),
        ("keys in the order of RFC 7049, by length first", "a220001818" + "00"),
        ("a key twice", "a201000100"),
        ("a key of true", "a1f500"),
        ("a key of null", "a1f600"),
        ("a key that is an array", "a18000"),
        ("a key that is a float", "a1f93c0000"),
        ("text that is no UTF-8", "62c328"),
        ("a surrogate in UTF-8", "63eda080"),
        ("a reserved head", "1c"),
        ("a break without a beginning", "ff"),
        ("a truncated string", "4401"),
        ("a string longer than memory", "5bffffffffffffffff"),
        ("an array longer than memory", "9bffffffffffffffff"),
        ("a map longer than memory", "bbffffffffffffffff"),
        ("a shared reference", "d81d00"),
        ("a regular expression", "d82362282a"),
        ("an unknown tag", "db7fffffffffffffff00"),
        ("self-described CBOR", "d9d9f701"),
    ],
)
def test_what_is_not_deterministic_cbor_is_refused(what: str, encoded: str) -> None:
    with pytest.raises(EnvelopeError):
        cbor.loads(bytes.fromhex(encoded), max_bytes=LIMIT)


def test_keys_are_sorted_by_their_bytes_as_rfc_8949_says() -> None:
    assert bytes.fromhex("a5 0a 00 1864 00 20 00 617a 00 626161 00") == cbor.dumps(
        {"aa": 0, "z": 0, -1: 0, 100: 0, 10: 0}
    )


def test_nesting_has_an_end() -> None:
    assert cbor.loads(deep(cbor.MAX_DEPTH), max_bytes=LIMIT)
    for levels in (cbor.MAX_DEPTH + 1, 1000, 60_000):
        with pytest.raises(EnvelopeError):
            cbor.loads(deep(levels), max_bytes=LIMIT)


def test_size_has_an_end() -> None:
    assert cbor.loads(cbor.bstr(bytes(10)), max_bytes=11) == bytes(10)
    with pytest.raises(EnvelopeError):
        cbor.loads(cbor.bstr(bytes(10)), max_bytes=10)


@pytest.mark.parametrize(
    "value", [1.5, 1 << 64, -(1 << 64) - 1, {1, 2}, object(), {1.5: 0}, {(): 0}, {True: 0}, "\ud800"]
)
def test_what_the_contract_has_no_cbor_for_cannot_be_written(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        cbor.dumps(value)


@given(values)
def test_every_value_survives_writing_and_reading(value: Any) -> None:
    encoded = cbor.dumps(value)
    again = cbor.loads(encoded, max_bytes=LIMIT)
    assert value == again
    assert encoded == cbor.dumps(again)


@given(st.binary(max_size=64))
def test_noise_is_read_as_what_is_written_back_or_refused(noise: bytes) -> None:
    try:
        value = cbor.loads(noise, max_bytes=LIMIT)
    except EnvelopeError:
        return
    assert noise == cbor.dumps(value)


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=300), st.text(max_size=300))
def test_the_small_encoders_agree_with_cbor2(number: int, data: bytes, text: str) -> None:
    assert cbor2.dumps(number) == cbor.uint(number)
    assert cbor2.dumps(data) == cbor.bstr(data)
    assert cbor2.dumps(text) == cbor.tstr(text)
    assert cbor2.dumps([number]) == cbor.array(1) + cbor.uint(number)
    assert cbor2.dumps({number: text}) == cbor.mapping(1) + cbor.uint(number) + cbor.tstr(text)


@pytest.mark.parametrize("number", [0, 23, 24, 255, 256, 65535, 65536, (1 << 32) - 1, 1 << 32, (1 << 64) - 1])
def test_heads_are_the_shortest_at_every_boundary(number: int) -> None:
    assert cbor2.dumps(number) == cbor.uint(number)
