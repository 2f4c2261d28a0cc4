"""Digits are evidence too."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.fhir import json as fhir_json

texts = st.text() | st.text(alphabet='\x01\x02\\"u0123456789, :[]{}')
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | texts
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9)
)
documents = st.dictionaries(
    texts,
    st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)),
    max_size=5,
)


@pytest.mark.parametrize(
    "digits", ["36.50", "2.0", "2.00", "0.000", "-0.50", "2E+2", "1E-7", "120", "1.2345678901234567890123", "0E+3"]
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_number_keeps_the_digits_that_the_device_sent(digits: str, indent: int | None) -> None:
    written = fhir_json.dumps({"value": Decimal(digits), "list": [Decimal(digits)]}, indent=indent)
    assert written.decode().count(digits) == 2
    assert json.loads(written) == {"value": float(digits), "list": [float(digits)]}
    read = fhir_json.loads(written)
    assert str(read["value"]) == digits


def test_json_is_tight_and_ascii() -> None:
    assert fhir_json.dumps({"name": "Ølmåler", "on": True}) == rb'{"name":"\u00d8lm\u00e5ler","on":true}'


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), float("nan"), object(), b""])
def test_what_is_no_fhir_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"FHIR JSON|Out of range float"):
        fhir_json.dumps({"value": value})


def test_no_string_passes_for_a_number() -> None:
    with pytest.raises(ValueError, match="control character"):
        fhir_json.dumps({"value": Decimal(1), "text": "\x0142\x02"})


@given(document=documents)
def test_whatever_is_written_reads_back_the_same_or_is_refused_for_a_control_character(
    document: dict[str, object],
) -> None:
    try:
        written = fhir_json.dumps(document)
    except ValueError:
        assert "\\x01" in repr(document)
    else:
        assert fhir_json.loads(written) == document
