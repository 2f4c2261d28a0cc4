"""What devices keep or advertise in a form of their own, against meanings of others."""

from decimal import Decimal

import pytest

from tests.wire.vectors import Vector, load
from wire.advertisement import decode_mi_scale
from wire.errors import DecodeError
from wire.measurement import Measurement, MeasurementStatus
from wire.measurement_json import dumps, loads
from wire.omron import decode_record14

VECTORS = load("records.json")
GOOD = [vector for vector in VECTORS if "invalid" not in vector.expected]
DECODERS = {"omron-record14": decode_record14, "service-data:181D": decode_mi_scale}
NUMBERS = {
    "systolic": (150021, "mm[Hg]"),
    "diastolic": (150022, "mm[Hg]"),
    "pulse": (149546, "/min"),
    "weight_kg": (188736, "kg"),
    "weight_lb": (188736, "[lb_av]"),
}
BITS = {"irregular": 2, "moving": 0}


def parts(measurements: tuple[Measurement, ...]) -> list[Measurement]:
    return [part for measurement in measurements for part in (measurement, *measurement.components)]


@pytest.mark.parametrize("vector", GOOD, ids=str)
def test_a_record_means_what_its_source_states(vector: Vector) -> None:
    measurements = DECODERS[vector.kind](vector.value)
    for word, stated in vector.expected.items():
        if word in NUMBERS:
            code, unit = NUMBERS[word]
            (found,) = (part for part in parts(measurements) if part.code == code)
            assert (Decimal(stated), unit) == (found.value, found.unit)
        elif word == "timestamp":
            assert {stated} == {part.device_time.isoformat() for part in measurements if part.device_time}
        elif word in BITS:
            assert stated == any(BITS[word] in part.bits for part in measurements if part.code == 8410608)
        else:
            assert word == "ongoing", f"no check for {word}"
            assert stated == (MeasurementStatus.ONGOING in measurements[0].status)
    assert measurements == loads(dumps(measurements))


@pytest.mark.parametrize("vector", [v for v in VECTORS if "invalid" in v.expected], ids=str)
def test_a_record_that_is_none_is_refused(vector: Vector) -> None:
    with pytest.raises(DecodeError) as refused:
        DECODERS[vector.kind](vector.value)
    assert 0 <= refused.value.offset <= len(vector.value)


@pytest.mark.parametrize("vector", GOOD, ids=str)
def test_a_record_cut_anywhere_or_a_byte_too_long_is_refused(vector: Vector) -> None:
    for value in (*(vector.value[:length] for length in range(len(vector.value))), vector.value + b"\x01"):
        with pytest.raises(DecodeError) as refused:
            DECODERS[vector.kind](value)
        assert refused.value.offset <= len(value)


def test_a_record_whose_pressures_contradict_each_other_is_questionable() -> None:
    (vector,) = (vector for vector in GOOD if vector.id == "omron/hem7142t2_b")
    swapped = bytes((vector.value[1] - 25, vector.value[0] + 25, *vector.value[2:]))
    assert decode_record14(swapped)[0].status == (MeasurementStatus.QUESTIONABLE,)
