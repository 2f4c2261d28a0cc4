"""The GATT decoders against bytes and meanings that they did not make themselves."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.wire.vectors import Vector, load
from wire.errors import DecodeError
from wire.gatt import MEASUREMENTS, STORED, decode, decode_current_time, decode_date_time, describe
from wire.measurement import Measurement, MeasurementStatus, Special
from wire.measurement_json import dumps

VECTORS = load("gatt.json")

# Where the copied vectors' words are found: MDC code and modality; in BLE's own bit order for the status words.
NUMBERS = {
    "spo2": (150456, ((), (150588,))),
    "pulse": ((149530, 149546), ((), (150588,))),
    "spo2_fast": (150456, ((150580,),)),
    "pulse_fast": (149530, ((150580,),)),
    "spo2_slow": (150456, ((150584,),)),
    "pulse_slow": (149530, ((150584,),)),
    "pai": (150320, ((),)),
    "systolic": (150021, ((),)),
    "diastolic": (150022, ((),)),
    "map": (150023, ((),)),
    "cuff": (150300, ((),)),
    "weight": (188736, ((),)),
    "bmi": (188752, ((),)),
    "height": (188740, ((),)),
    "temperature": (150364, None),
    "heart_rate": (147842, ((),)),
    "energy": (8454263, ((),)),
}
UNITS = {"mmHg": "mm[Hg]", "kPa": "kPa", "kg": "kg", "lb": "[lb_av]", "C": "Cel"}
SITES = {1: 188452}


def numbers(measurements: tuple[Measurement, ...]) -> list[Measurement]:
    parts = [part for measurement in measurements for part in (measurement, *measurement.components)]
    return [part for part in parts if isinstance(part.value, Decimal)]


def number(measurements: tuple[Measurement, ...], word: str) -> Decimal | Special | None:
    codes, modalities = NUMBERS[word]
    codes = codes if isinstance(codes, tuple) else (codes,)
    (found,) = (
        part
        for part in numbers(measurements)
        if part.code in codes and (modalities is None or part.supplemental in modalities)
    )
    return found.value


def plx_status(measurements: tuple[Measurement, ...]) -> int:
    bits = {
        MeasurementStatus.ONGOING: 5,
        MeasurementStatus.EARLY_ESTIMATE: 6,
        MeasurementStatus.VALIDATED: 7,
        MeasurementStatus.FULLY_QUALIFIED: 8,
        MeasurementStatus.QUESTIONABLE: 14,
    }
    return sum(1 << bits[status] for status in measurements[0].status)


def bp_status(measurements: tuple[Measurement, ...]) -> int:
    return sum(1 << bit for part in measurements if part.code == 8410608 for bit in part.bits)


def check(measurements: tuple[Measurement, ...], word: str, stated: Any) -> None:
    """One word of a copied vector's expectation."""
    if word in NUMBERS:
        assert Decimal(stated) == number(measurements, word)
    elif word == "unit":
        # A blood pressure is in the cuff's unit, the pulse beside it never is.
        assert UNITS[stated] == numbers(measurements)[0].unit
    elif word == "timestamp":
        assert {stated} == {part.device_time.isoformat() for part in measurements if part.device_time}
    elif word == "user_id":
        assert {stated} == {part.user for part in measurements}
    elif word == "status":
        # BLE bits 3 and 4 are one number whose value 3 is reserved; no vector has it.
        assert stated == bp_status(measurements)
    elif word == "measurement_status":
        assert stated == plx_status(measurements)
    elif word == "sensor_status":
        assert stated == sum(1 << (15 - bit) for part in measurements for bit in part.bits)
    elif word == "contact":
        assert stated == (MeasurementStatus.QUESTIONABLE not in measurements[0].status)
    elif word == "rr_1_1024s":
        assert [Decimal(raw) * 1000 / 1024 for raw in stated] == [p.value for p in measurements if p.code == 147240]
    elif word == "type":
        assert (SITES[stated],) == measurements[0].supplemental
    else:
        raise AssertionError(f"no check for {word}")


# What these say is more than measurements: tests/wire/test_gatt_records.py reads them.
RECORDS = {0x2A18, 0x2A34, 0x2A52, 0x2A9C, 0x2AA7, 0x2AA8, 0x2AA9, 0x2AAA, 0x2AAB}


def copied(vector: Vector) -> bool:
    whole = {"invalid", "measurements", "described"}
    return not vector.id.startswith("ours/") and not whole & vector.expected.keys()


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if copied(v) and v.characteristic not in {0x2A08, 0x2A2B, *RECORDS}], ids=str
)
def test_a_value_of_another_implementation_means_what_its_source_states(vector: Vector) -> None:
    measurements = decode(vector.characteristic, vector.value)
    assert measurements
    for word, stated in vector.expected.items():
        check(measurements, word, stated)


@pytest.mark.parametrize("vector", [v for v in VECTORS if "measurements" in v.expected], ids=str)
def test_a_value_derived_from_the_specification_decodes_to_exactly_these_measurements(vector: Vector) -> None:
    assert vector.expected["measurements"] == json.loads(dumps(decode(vector.characteristic, vector.value)))


@pytest.mark.parametrize("vector", [v for v in VECTORS if "timestamp" in v.expected and v.kind == "gatt:2A08"], ids=str)
def test_a_date_time_keeps_what_the_device_knew(vector: Vector) -> None:
    assert vector.expected["timestamp"] == decode_date_time(vector.value).isoformat()


@pytest.mark.parametrize("vector", [v for v in VECTORS if "timestamp" in v.expected and v.kind == "gatt:2A2B"], ids=str)
def test_a_current_time_adds_fractions_of_a_second(vector: Vector) -> None:
    time = decode_current_time(vector.value)
    if "fractions256" in vector.expected:
        assert vector.expected["fractions256"] == -(-time.microsecond * 256 // 1_000_000)
        assert vector.expected["timestamp"] == time.isoformat().partition(".")[0]
        assert vector.expected["dow"] == vector.value[7]
    else:
        assert vector.expected["timestamp"] == time.isoformat()


@pytest.mark.parametrize("vector", [v for v in VECTORS if "described" in v.expected], ids=str)
def test_a_value_of_the_context_is_described_and_holds_no_measurement(vector: Vector) -> None:
    assert vector.expected["described"] == describe(vector.characteristic, vector.value)
    assert decode(vector.characteristic, vector.value) == ()


@pytest.mark.parametrize("vector", [v for v in VECTORS if "invalid" in v.expected], ids=str)
def test_a_value_against_its_format_is_refused_at_its_byte(vector: Vector) -> None:
    with pytest.raises(DecodeError) as refused:
        decode(vector.characteristic, vector.value)
    assert vector.expected.get("offset", refused.value.offset) == refused.value.offset
    assert 0 <= refused.value.offset <= len(vector.value)
    assert str(refused.value).endswith(f"at byte {refused.value.offset}")


def test_every_measurement_that_a_hub_collects_has_vectors() -> None:
    assert {vector.characteristic for vector in VECTORS} >= MEASUREMENTS | STORED


def test_every_vector_names_its_source_and_licence() -> None:
    assert all(vector.source and vector.licence for vector in VECTORS + load("numbers.json"))


# A text has no length of its own: a shorter or longer one is a text too. Nor has a RACP operand, or a value with more.
WHOLE = [
    vector
    for vector in VECTORS
    if "invalid" not in vector.expected
    and vector.characteristic not in (0x2A29, 0x2A52)
    and not vector.id.endswith("_trailing")
]
# An E2E-CRC may be there or not: without it the value is whole, only unprotected.
BEFORE_CRC = {0x2AA9: 5, 0x2AAA: 9, 0x2AAB: 2}


@pytest.mark.parametrize("vector", WHOLE, ids=str)
def test_a_value_cut_anywhere_is_refused_with_the_offset_of_the_missing_field(vector: Vector) -> None:
    for length in range(len(vector.value)):
        cut = vector.value[:length]
        if vector.characteristic == 0x2A37 and length >= 2 and whole_intervals(cut):
            assert decode(0x2A37, cut)
            continue
        ends = len(vector.value) - 2 if vector.id.endswith("_crc") and vector.characteristic == 0x2AAC else None
        if length == BEFORE_CRC.get(vector.characteristic, ends):
            assert describe(vector.characteristic, cut)
            continue
        if vector.characteristic == 0x2AA7 and length and length == vector.value[0]:
            assert decode(0x2AA7, cut)
            continue
        with pytest.raises(DecodeError) as refused:
            decode(vector.characteristic, cut)
        assert refused.value.offset <= length


def whole_intervals(value: bytes) -> bool:
    """Whether a cut heart rate ends between two RR intervals: the list has no count, so that is a whole value."""
    before = 1 + (2 if value[0] & 1 else 1) + (2 if value[0] & 8 else 0)
    return bool(value[0] & 16) and len(value) >= before and (len(value) - before) % 2 == 0


# Flag bits that announce a field or say a unit, by the specifications; all others of the first octets are reserved.
SPECIFIED = dict.fromkeys((0x2A18, 0x2A35, 0x2A36, 0x2A37, 0x2A5E, 0x2A5F), 0x1F)
SPECIFIED |= {0x2A1C: 0x07, 0x2A1E: 0x07, 0x2A34: 0xFF, 0x2A9C: 0x1FFF, 0x2A9D: 0x0F, 0x2B34: 0x7F, 0x2B35: 0x7F}


@pytest.mark.parametrize("vector", WHOLE, ids=str)
def test_an_octet_after_the_last_field_costs_the_trust_in_a_value_or_the_value(vector: Vector) -> None:
    size = 2 if vector.characteristic == 0x2A9C else 1
    flags = int.from_bytes(vector.value[:size], "little")
    half_interval = vector.characteristic == 0x2A37 and flags & 0x10
    if flags & ~SPECIFIED.get(vector.characteristic, 0) or vector.characteristic not in SPECIFIED or half_interval:
        with pytest.raises(DecodeError):
            decode(vector.characteristic, vector.value + b"\x01")
        return
    plain, more = decode(vector.characteristic, vector.value), decode(vector.characteristic, vector.value + b"\x01")
    assert [replace(part, status=()) for part in more] == [replace(part, status=()) for part in plain]
    numbers = [part for part in more if isinstance(part.value, Decimal) or part.components]
    assert all(MeasurementStatus.QUESTIONABLE in part.status for part in numbers)
