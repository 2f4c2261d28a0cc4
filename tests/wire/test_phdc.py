"""USB PHDC: descriptors of real devices, and the preamble."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.vectors import Vector, load
from wire.errors import DecodeError
from wire.phdc import PREAMBLE_SIGNATURE, DataCode, Function, Preamble, Qos

VECTORS = load("phdc.json")


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_an_interface_says_what_it_carries_and_what_it_is(vector: Vector) -> None:
    function = Function.of(vector.value)
    assert vector.expected == {
        "data_code": function.data_code,
        "preambles": function.preambles,
        "specializations": list(function.specializations),
    }
    assert function.data_code == DataCode.IEEE_11073_20601


@pytest.mark.parametrize(
    "descriptors", ["", "0421", "042002", "0021", "0320", "04200200 0630000211", "03200200", "0220"]
)
def test_descriptors_that_are_not_of_the_class_are_refused(descriptors: str) -> None:
    with pytest.raises(DecodeError):
        Function.of(bytes.fromhex(descriptors))


def test_a_preamble_stands_before_the_transfers_it_speaks_of() -> None:
    preamble = Preamble(transfers=3, qos=Qos.HIGH_BEST, opaque=b"\x01\x02")
    assert preamble.encode().hex() == b"PhdcQoSSignature".hex() + "03" + "01" + "10" + "02" + "0102"
    assert preamble == Preamble.of(preamble.encode())
    assert Preamble.of(bytes.fromhex("e40000020000")) is None


@pytest.mark.parametrize("rest", ["", "000110 00", "010210 00", "010130 00", "010140 00", "010110 01", "010110 00ff"])
def test_a_preamble_that_is_wrong_is_refused(rest: str) -> None:
    with pytest.raises(DecodeError):
        Preamble.of(PREAMBLE_SIGNATURE + bytes.fromhex(rest))


@given(st.binary(max_size=40))
def test_whatever_a_device_says_only_the_declared_error_comes_of_it(noise: bytes) -> None:
    for decode in (Function.of, lambda data: Preamble.of(PREAMBLE_SIGNATURE + data)):
        with contextlib.suppress(DecodeError):
            decode(noise)
