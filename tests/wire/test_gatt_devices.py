"""Values of devices that do otherwise than their standard says, each decoded as a reading of that device."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.wire.envelopes import READING
from tests.wire.test_gatt_vectors import NUMBERS, check
from tests.wire.vectors import Vector, load
from wire.errors import DecodeError
from wire.evidence import Context, Device, Reading
from wire.gatt import decode_reading
from wire.measurement import Measurement, MeasurementStatus, Special
from wire.measurement_json import dumps
from wire.quirks import quirk_for

VECTORS = load("devices.json")
GOOD = [vector for vector in VECTORS if "invalid" not in vector.expected]


def reading_of(uuid: int | bytes, value: bytes, *, name: str = "", **context: bytes) -> Reading:
    """A reading of a device of that name; context as `x2AAA=...`."""
    parts = tuple(Context(characteristic=int(key[1:], 16), mono_us=0, value=each) for key, each in context.items())
    device = Device(address=b"\x00\x1c\x05\xff\xe8\x74", name=name)
    return replace(READING, device=device, characteristic=uuid, value=value, context=parts)


def measured(vector: Vector) -> tuple[Measurement, ...]:
    return decode_reading(reading_of(vector.uuid, vector.value, name=vector.name))


def coded(measurements: tuple[Measurement, ...], word: str) -> list[Measurement]:
    codes = NUMBERS[word][0]
    wanted = codes if isinstance(codes, tuple) else (codes,)
    return [part for part in measurements if part.code in wanted]


@pytest.mark.parametrize("vector", GOOD, ids=str)
def test_a_value_of_a_device_with_its_own_ways_means_what_its_source_states(vector: Vector) -> None:
    measurements = measured(vector)
    for word, stated in vector.expected.items():
        if word == "missing":
            assert {"not-performed"} == {part.absent for each in stated for part in coded(measurements, each)}
        elif word == "questionable":
            assert stated == (MeasurementStatus.QUESTIONABLE in measurements[0].status)
        elif word == "smartpoint":
            assert stated == (MeasurementStatus.FULLY_QUALIFIED in measurements[0].status)
        else:
            check(measurements, word, stated)
    assert {READING.received.wall_us} == {
        round(part.received.timestamp() * 1e6) for part in measurements if part.received
    }


@pytest.mark.parametrize("vector", [v for v in VECTORS if "invalid" in v.expected], ids=str)
def test_a_value_of_such_a_device_against_its_format_is_refused(vector: Vector) -> None:
    with pytest.raises(DecodeError):
        measured(vector)


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_such_a_vector_names_its_device_as_the_table_does(vector: Vector) -> None:
    assert vector.device in quirk_for(name=vector.name).name
    assert vector.source
    assert vector.licence


@pytest.mark.parametrize("vector", [v for v in GOOD if v.device == "Beurer BM85"], ids=str)
def test_the_same_bytes_of_any_other_cuff_are_refused(vector: Vector) -> None:
    with pytest.raises(DecodeError):
        decode_reading(reading_of(0x2A35, vector.value, name="Cuff"))
    by_model = decode_reading(reading_of(0x2A35, vector.value, x2A29=b"Beurer GmbH", x2A24=b"BM85"))
    assert by_model == measured(vector)


def test_a_beurer_has_no_mean_pressure_and_an_honest_cuff_keeps_its_zero() -> None:
    (vector,) = (vector for vector in GOOD if vector.id == "derdilla/bm85_1")
    assert measured(vector)[0].components[2].absent == "not-performed"
    plain = bytes.fromhex("006a0047000000")
    assert decode_reading(reading_of(0x2A35, plain, name="Cuff"))[0].components[2].value == 0


@pytest.mark.parametrize("vector", GOOD, ids=str)
def test_a_value_of_such_a_device_cut_anywhere_is_refused(vector: Vector) -> None:
    for length in range(len(vector.value)):
        with pytest.raises(DecodeError) as refused:
            decode_reading(reading_of(vector.uuid, vector.value[:length], name=vector.name))
        assert refused.value.offset <= length


def test_the_last_numbers_of_a_choicemmed_without_a_finger_are_questionable_and_nothing_is_not() -> None:
    spo2, *_, status = decode_reading(reading_of(0x2A5F, bytes.fromhex("1c6100400020002008000000"), name="e-Oximeter"))
    assert (Decimal(97), (MeasurementStatus.ONGOING, MeasurementStatus.QUESTIONABLE)) == (spo2.value, spo2.status)
    assert status.bits == {10: True, 4: True}
    nothing = bytes.fromhex("1cff07ff0720002008000000")
    for part in decode_reading(reading_of(0x2A5F, nothing, name="e-Oximeter"))[:2]:
        assert (part.value, part.status) == (Special.NAN, (MeasurementStatus.ONGOING,))


def test_the_time_of_a_clock_that_counts_from_the_factory_is_evidence_only() -> None:
    spot = "0162004800{}0a0112302a"
    factory, set_by_someone = (bytes.fromhex(spot.format(year)) for year in ("d707", "ea07"))
    for value, told in ((factory, False), (set_by_someone, True)):
        reading = reading_of(0x2A5E, value, x2A29=b"Nonin Medical, Inc.", x2A24=b"Model 9560")
        assert {told} == {part.clock_set for part in decode_reading(reading)}
    assert decode_reading(reading_of(0x2A5E, factory, name="Oximeter"))[0].clock_set


SESSION = bytes.fromhex("ea0702110800000400")
INTERSTITIAL = bytes.fromhex("00000059ffff")


def test_a_sensors_glucose_has_the_time_and_kind_that_its_session_tells() -> None:
    value = bytes.fromhex("060078001e00")
    (glucose,) = decode_reading(reading_of(0x2AA7, value, x2AAA=SESSION, x2AA8=INTERSTITIAL))
    assert (160212, Decimal(120), "mg/dL") == (glucose.code, glucose.value, glucose.unit)
    assert glucose.device_time is not None
    assert glucose.device_time.isoformat() == "2026-02-17T08:30:00+01:00"


def test_a_context_that_does_not_decode_costs_what_it_would_have_told_and_not_the_glucose() -> None:
    value = bytes.fromhex("060078001e00")
    (glucose,) = decode_reading(reading_of(0x2AA7, value, x2AAA=b"\xff", x2AA8=b""))
    assert (160020, Decimal(120), None) == (glucose.code, glucose.value, glucose.device_time)


def test_what_was_asked_for_from_a_store_is_marked_stored_and_a_live_value_is_not() -> None:
    live = bytes.fromhex("00480051004000")
    asked = decode_reading(reading_of(0x2A35, live, x2A52=b"\x01\x01"))
    assert {(MeasurementStatus.QUESTIONABLE, MeasurementStatus.STORED)} == {part.status for part in asked}
    for request in (b"", b"\x04\x01"):
        plain = decode_reading(reading_of(0x2A35, live, x2A52=request))
        assert {(MeasurementStatus.QUESTIONABLE,)} == {part.status for part in plain}
    already = bytes.fromhex("026200480000 02".replace(" ", ""))
    assert decode_reading(reading_of(0x2A5E, already, x2A52=b"\x07\x01"))[0].status == (MeasurementStatus.STORED,)


def test_a_glucose_record_with_a_time_fault_keeps_its_time_as_evidence() -> None:
    # Base time 08:00, offset +90 min, 4.90 mmol/L, sensor status bit 11: time fault.
    value = bytes.fromhex("0f2a00ea0702110800005a00eab1110008")
    glucose, *_ = decode_reading(reading_of(0x2A18, value))
    assert glucose.device_time is not None
    assert (glucose.clock_set, glucose.device_time.isoformat()) == (False, "2026-02-17T09:30:00")
    assert (str(glucose.value), glucose.unit) == ("4.90", "mmol/L")


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        ("420e00fe", {"value": "36.50", "unit": "Cel"}),
        ("6d0100ff", {"value": "36.5", "unit": "Cel"}),
        ("24000000", {"value": "36", "unit": "Cel"}),
        ("04000001", {"value": "4E+1", "unit": "Cel"}),
        ("ffff7f00", {"absent": "not-a-number"}),
        ("feff7f00", {"absent": "positive-infinity"}),
        ("02008000", {"absent": "negative-infinity"}),
        ("00008000", {"absent": "error", "special": "nres"}),
        ("01008000", {"absent": "error", "special": "reserved"}),
    ],
)
def test_a_number_keeps_its_digits_or_its_meaning_from_the_bytes_to_the_json(raw: str, written: dict[str, Any]) -> None:
    (temperature,) = decode_reading(reading_of(0x2A1C, b"\0" + bytes.fromhex(raw)))
    (item,) = json.loads(dumps([temperature]))
    assert written == {key: item[key] for key in ("value", "unit", "absent", "special") if key in item}
    assert isinstance(temperature.value, Decimal | Special)
