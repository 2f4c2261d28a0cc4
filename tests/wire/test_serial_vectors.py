"""The serial decoders against frames and meanings that they did not make themselves."""

from typing import Any

import pytest

from tests.wire.vectors import Vector, load
from wire.errors import DecodeError
from wire.measurement import Measurement, MeasurementStatus, Special
from wire.measurement_json import dumps, loads
from wire.serial import (
    ALIASES,
    FORMAT_NUMBERS,
    NAMES,
    LungMonitorStream,
    SerialFormat,
    decode,
    describe,
    format_name,
    format_of,
)

VECTORS = load("serial.json")
GOOD = [vector for vector in VECTORS if "invalid" not in vector.expected]

NUMBERS = {
    "spo2": (150456, "%"),
    "pulse": (149530, "/min"),
    "fev1_l": (152586, "L"),
    "fev6_l": (152587, "L"),
    "fev1_fev6": (188936, "%"),
    "fef2575": (188960, "L/s"),
}
# The sources' words for flags, and ours.
FLAGS = {
    "artifact": "artifact",
    "low_battery": "low battery",
    "low_perfusion": "low perfusion",
    "marginal_perfusion": "marginal perfusion",
    "out_of_track": "out of track",
    "sensor_alarm": "sensor alarm",
    "smartpoint": "SmartPoint",
    "from_memory": "from memory",
    "good_test": "good test",
}


def spoken(vector: Vector) -> SerialFormat:
    assert vector.kind.startswith("serial:")
    return SerialFormat(vector.kind.removeprefix("serial:"))


FRAMED = [vector for vector in GOOD if spoken(vector) is not SerialFormat.NONIN_MEMORY]
"""Not a piece of a playback: a shorter one is one too, and its place has no checksum."""


def by_code(measurements: tuple[Measurement, ...], code: int) -> Measurement:
    (found,) = (measurement for measurement in measurements if measurement.code == code)
    return found


def check(vector: Vector, word: str, stated: Any) -> None:
    """One word of a copied vector's expectation."""
    measurements = decode(spoken(vector), vector.value)
    described = describe(spoken(vector), vector.value)
    if word in NUMBERS:
        code, unit = NUMBERS[word]
        if word == "fev1_fev6":
            stated = stated.scaleb(2)  # the source has the ratio, we have it in percent
        found = by_code(measurements, code)
        assert (str(stated), unit) == (str(found.value), found.unit)
    elif word in FLAGS:
        assert stated == described[FLAGS[word]]
        if word == "from_memory":
            assert {stated} == {MeasurementStatus.STORED in part.status for part in measurements}
    elif word == "missing":
        assert stated == any(part.absent == "not-performed" for part in measurements)
    elif word == "timestamp":
        assert {stated} == {part.device_time.isoformat() for part in measurements if part.device_time}
    elif word == "status":
        flags = (("low battery", 1), ("from memory", 0x10), ("no measurement", 0x100), ("SmartPoint", 0x200))
        assert stated == sum(bit for name, bit in flags if described[name])
    elif word == "samples":
        told = {
            str(part.code): ["NaN" if value is Special.NAN else str(value) for value in part.samples.data]
            for part in measurements
            if part.samples
        }
        assert stated == told
    elif word == "period_ms":
        assert {stated} == {str(part.samples.period_ms) for part in measurements if part.samples}
    elif word == "serial":
        assert stated == described["serial number"]
    elif word == "device_id":
        assert stated == described["device"]
    elif word == "software":
        assert f"{stated:03}" == described["software version"]
    elif word == "checksum":
        assert stated == vector.value[-2]
    elif word == "reply":
        stream = LungMonitorStream()
        (frame,) = stream.receive(vector.value, 0.0)
        stream.acknowledge(frame)
        assert {"ACK": b"\x06"}[stated] == stream.to_send()
    else:
        assert word == "checksum_ok", f"no check for {word}"


@pytest.mark.parametrize("vector", GOOD, ids=str)
def test_a_frame_of_another_implementation_means_what_its_source_states(vector: Vector) -> None:
    for word, stated in vector.expected.items():
        check(vector, word, stated)


@pytest.mark.parametrize("vector", [v for v in VECTORS if "invalid" in v.expected], ids=str)
def test_a_frame_that_its_source_refuses_is_refused_at_its_byte(vector: Vector) -> None:
    for read in (decode, describe):
        with pytest.raises(DecodeError) as refused:
            read(spoken(vector), vector.value)
        assert 0 < refused.value.offset < len(vector.value)
        assert str(refused.value).endswith(f"at byte {refused.value.offset}")


@pytest.mark.parametrize("vector", GOOD, ids=str)
def test_a_frame_is_printed_and_read_back(vector: Vector) -> None:
    measurements = decode(spoken(vector), vector.value)
    assert measurements == loads(dumps(measurements))
    assert bool(measurements) == (spoken(vector) is not SerialFormat.NONIN_REPLY)


@pytest.mark.parametrize("vector", FRAMED, ids=str)
def test_a_frame_cut_anywhere_is_refused_at_its_end_and_one_byte_too_many_after_it(vector: Vector) -> None:
    for length in range(len(vector.value)):
        for read in (decode, describe):
            with pytest.raises(DecodeError) as refused:
                read(spoken(vector), vector.value[:length])
            assert refused.value.offset <= length
    with pytest.raises(DecodeError) as refused:
        decode(spoken(vector), vector.value + b"\x01")
    assert refused.value.offset == len(vector.value)


@pytest.mark.parametrize("vector", GOOD, ids=str)
def test_the_null_byte_belongs_to_a_spot_check_and_to_nothing_else(vector: Vector) -> None:
    if spoken(vector) is SerialFormat.NONIN_DF13:
        assert decode(spoken(vector), b"\0" + vector.value) == decode(spoken(vector), vector.value)
    else:
        with pytest.raises(DecodeError):
            decode(spoken(vector), b"\0" + vector.value)


@pytest.mark.parametrize("vector", [v for v in FRAMED if spoken(v) is not SerialFormat.NONIN_DF8], ids=str)
def test_any_single_bit_that_is_flipped_is_noticed_by_the_checksum(vector: Vector) -> None:
    for bit in range(8 * len(vector.value)):
        flipped = bytearray(vector.value)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            decode(spoken(vector), bytes(flipped))


def test_a_blow_keeps_the_hundredths_of_the_device() -> None:
    (vector,) = (vector for vector in GOOD if "fev1_l" in vector.expected)
    values = [part.value for part in decode(spoken(vector), vector.value)]
    assert [str(value) for value in values] == ["3.63", "3.99", "91", "4.04"], "hundredths of one are whole percent"


def test_every_vector_names_its_source_and_licence_and_every_format_has_one() -> None:
    assert all(vector.source and vector.licence for vector in VECTORS)
    assert {spoken(vector) for vector in GOOD} == set(SerialFormat)


def test_every_format_has_a_name_and_every_alias_a_format() -> None:
    assert set(NAMES) == {*SerialFormat, *ALIASES}
    assert len({format_name(format_) for format_ in SerialFormat}) == len(SerialFormat)


def test_a_format_is_named_by_its_number_in_evidence_and_no_other_number_is_one() -> None:
    assert {number: format_of(number).value for number in range(1, 6)} == {
        1: "nonin-df8",
        2: "nonin-df13",
        3: "nonin-reply",
        4: "vitalograph-lung-monitor",
        5: "nonin-memory",
    }
    assert set(FORMAT_NUMBERS) == set(SerialFormat)
    for number in (0, 6, -1, 1 << 53):
        with pytest.raises(DecodeError):
            format_of(number)
