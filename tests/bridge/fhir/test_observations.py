"""One measurement, one Observation: kinds, statuses, precision."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.fhir import Untranslatable
from bridge.fhir.codes import ABSENT, ASN1, LOINC, MDC, MEASUREMENT_STATUS, PHD, UCUM
from bridge.fhir.observations import INTERPRETATION, Frame, observation
from tests.phd import vital_signs_profile
from wire.measurement import Measurement, MeasurementStatus, Samples, Special

TABLE = json.loads((Path(__file__).parents[2] / "vectors" / "fhir_measurement_status.json").read_text())
FRAME = Frame(patient="Patient/17", phd="urn:uuid:phd", phg="urn:uuid:phg")

SPO2, PULSE, PRESSURE, SYSTOLIC, DIASTOLIC, MEAN = 150456, 149530, 150020, 150021, 150022, 150023
BMI, HEIGHT, SENSOR, POWER = 188752, 188740, 150604, 67846
FAST, SPOT = 150580, 150588


def made(measurement: Measurement, *, vital_signs_first: bool = True) -> dict[str, Any]:
    resource = observation(
        measurement,
        FRAME,
        identifier="0" * 32,
        effective="2026-11-21T10:30:15+01:00",
        coincident=None,
        vital_signs_first=vital_signs_first,
    )
    assert resource is not None
    return resource


def spo2(value: Decimal | Special | None = Decimal("97.0"), **rest: Any) -> dict[str, Any]:
    return made(Measurement(code=SPO2, value=value, unit="%" if isinstance(value, Decimal) else None, **rest))


def pressure(*parts: tuple[int, str], unit: str = "mm[Hg]", **rest: Any) -> dict[str, Any]:
    components = tuple(Measurement(code=code, value=Decimal(value), unit=unit) for code, value in parts)
    return made(Measurement(code=PRESSURE, components=components, **rest))


def codes(concept: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["system"], one["code"]) for one in concept["coding"]]


def reason(resource: dict[str, Any]) -> str | None:
    concept = resource.get("dataAbsentReason")
    if concept is None:
        return None
    ((system, code),) = codes(concept)
    assert system == ABSENT
    return code


def interpretations(resource: dict[str, Any]) -> list[str]:
    found = [codes(one) for one in resource.get("interpretation", [])]
    assert all(len(one) == 1 and one[0][0] == MEASUREMENT_STATUS for one in found)
    return [one[0][1] for one in found]


def test_a_number_is_a_quantity_with_its_own_digits_and_a_ucum_unit() -> None:
    resource = spo2(Decimal("97.0"))
    assert resource["valueQuantity"] == {"value": Decimal("97.0"), "unit": "%", "system": UCUM, "code": "%"}
    assert str(resource["valueQuantity"]["value"]) == "97.0"
    assert resource["meta"]["profile"][0] == PHD + "PhdNumericObservation"


def test_the_mdc_code_stands_first_as_a_decimal_string_of_32_bits() -> None:
    assert codes(spo2()["code"]) == [(MDC, "150456"), (LOINC, "2708-6")]


def test_an_unknown_code_passes_through_untouched() -> None:
    resource = made(Measurement(code=0x8000_1234, value=Decimal(5), unit="kPa"))
    assert codes(resource["code"]) == [(MDC, "2147488308")]
    assert "display" not in resource["code"]["coding"][0]
    assert vital_signs_profile(resource) is None


def test_a_number_without_unit_has_the_unit_one() -> None:
    assert made(Measurement(code=5, value=Decimal("0.97")))["valueQuantity"]["code"] == "1"


@pytest.mark.parametrize(
    ("special", "expected"),
    [
        (Special.NAN, "not-a-number"),
        (Special.POSITIVE_INFINITY, "positive-infinity"),
        (Special.NEGATIVE_INFINITY, "negative-infinity"),
        (Special.NRES, "error"),
        (Special.RESERVED, "error"),
    ],
)
def test_a_special_value_is_no_value_and_the_reason_why(special: Special, expected: str) -> None:
    resource = spo2(special)
    assert reason(resource) == expected
    assert "valueQuantity" not in resource
    assert vital_signs_profile(resource) is not None


@pytest.mark.parametrize("special", Special)
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (MeasurementStatus.INVALID, "error"),
        (MeasurementStatus.NOT_AVAILABLE, "not-performed"),
        (MeasurementStatus.ONGOING, "temp-unknown"),
    ],
)
def test_a_status_outranks_a_special_value(special: Special, status: MeasurementStatus, expected: str) -> None:
    assert reason(spo2(special, status=(status,))) == expected


def test_an_ongoing_measurement_that_has_a_value_keeps_it() -> None:
    resource = spo2(status=(MeasurementStatus.ONGOING,))
    assert resource["valueQuantity"]["value"] == Decimal("97.0")
    assert interpretations(resource) == ["msmt-ongoing"]
    assert interpretations(spo2(Special.NAN, status=(MeasurementStatus.ONGOING,))) == []


@pytest.mark.parametrize("line", TABLE["rows"], ids=[line["status"] for line in TABLE["rows"]])
def test_a_measurement_status_has_the_effect_that_the_guides_table_gives_it(line: dict[str, Any]) -> None:
    resource = spo2(status=(MeasurementStatus(line["status"]),))
    assert reason(resource) == line.get("dataAbsentReason")
    assert ("valueQuantity" in resource) == ("dataAbsentReason" not in line)
    assert resource["status"] == line.get("Observation.status", "final")
    assert interpretations(resource) == [line[key] for key in ("interpretation",) if key in line]
    labels = [one["code"] for one in resource["meta"].get("security", [])]
    assert labels == [line[key] for key in ("meta.security",) if key in line]
    noted = line.get("note", False) or line["status"].startswith("threshold")
    assert ("note" in resource) == noted
    assert resource["subject"]["reference"] == (FRAME.phd if line.get("subject") == "PhdDevice" else FRAME.patient)


def test_every_status_is_in_a_table_or_means_nothing_to_fhir() -> None:
    listed = {line["status"] for line in TABLE["rows"]} | set(INTERPRETATION) | {"demo-data"}
    assert {"stored", "fully-qualified"} == set(MeasurementStatus) - listed


def test_demonstration_data_is_test_data() -> None:
    assert spo2(status=(MeasurementStatus.DEMO_DATA,))["meta"]["security"][0]["code"] == "HTEST"


def test_a_setting_is_about_the_device_and_no_vital_sign() -> None:
    resource = spo2(status=(MeasurementStatus.SETTING,))
    assert vital_signs_profile(resource) is None
    assert len(resource["category"]) == 1
    assert codes(resource["code"]) == [(MDC, "150456")]


def test_several_statuses_all_show() -> None:
    status = (MeasurementStatus.QUESTIONABLE, MeasurementStatus.EARLY_ESTIMATE, MeasurementStatus.QUESTIONABLE)
    resource = spo2(status=status)
    assert interpretations(resource) == ["questionable", "early-indication"]
    assert resource["status"] == "preliminary"


def test_blood_pressure_is_one_compound_with_the_loinc_codes_of_the_panel() -> None:
    resource = pressure((SYSTOLIC, "138"), (DIASTOLIC, "88"), (MEAN, "120"))
    assert resource["meta"]["profile"][0] == PHD + "PhdCompoundNumericObservation"
    assert codes(resource["code"]) == [(MDC, "150020"), (LOINC, "85354-9")]
    assert [codes(one["code"]) for one in resource["component"]] == [
        [(MDC, "150021"), (LOINC, "8480-6")],
        [(MDC, "150022"), (LOINC, "8462-4")],
        [(MDC, "150023"), (LOINC, "8478-0")],
    ]
    assert [str(one["valueQuantity"]["value"]) for one in resource["component"]] == ["138", "88", "120"]
    assert "valueQuantity" not in resource


def test_an_invalid_blood_pressure_has_no_value_anywhere() -> None:
    resource = pressure((SYSTOLIC, "138"), (DIASTOLIC, "88"), status=(MeasurementStatus.INVALID,))
    assert resource["status"] == "entered-in-error"
    assert reason(resource) == "error"
    assert [reason(one) for one in resource["component"]] == ["error", "error"]
    assert not any("valueQuantity" in one for one in resource["component"])


def test_a_component_without_value_says_why_and_the_others_stay() -> None:
    components = (
        Measurement(code=SYSTOLIC, value=Decimal(138), unit="mm[Hg]"),
        Measurement(code=DIASTOLIC, value=Special.NAN),
        Measurement(code=MEAN, value=Decimal(99), unit="mm[Hg]", status=(MeasurementStatus.QUESTIONABLE,)),
    )
    resource = made(Measurement(code=PRESSURE, components=components))
    assert [reason(one) for one in resource["component"]] == [None, "not-a-number", None]
    assert interpretations(resource["component"][2]) == ["questionable"]
    assert vital_signs_profile(resource) is not None


@pytest.mark.parametrize(
    "resource",
    [
        pressure((SYSTOLIC, "18.4"), (DIASTOLIC, "11.7"), unit="kPa"),
        pressure((SYSTOLIC, "138")),
        pressure((SYSTOLIC, "138"), (DIASTOLIC, "88"), (SYSTOLIC, "139")),
        made(Measurement(code=PRESSURE, value=Decimal(138), unit="mm[Hg]")),
        made(Measurement(code=PULSE, value=Decimal(1), unit="Hz")),
        made(Measurement(code=HEIGHT, value=Decimal("1.750"), unit="m")),
        made(Measurement(code=BMI, value=Special.NAN)),
    ],
    ids=["kPa", "systolic alone", "systolic twice", "one number", "hertz", "metres", "BMI without value"],
)
def test_a_vital_sign_that_does_not_fit_its_profile_does_not_claim_it(resource: dict[str, Any]) -> None:
    assert vital_signs_profile(resource) is None
    assert len(resource["category"]) == 2


def test_a_compound_with_codes_in_it_is_no_compound_numeric() -> None:
    components = (Measurement(code=1, value=Decimal(1), unit="%"), Measurement(code=2, coded=3))
    resource = made(Measurement(code=9, components=components))
    assert resource["meta"]["profile"] == [PHD + "PhdCompoundObservation"]
    assert codes(resource["component"][1]["valueCodeableConcept"]) == [(MDC, "3")]


def test_a_coded_value_is_an_mdc_concept() -> None:
    resource = made(Measurement(code=8410000, coded=8410001))
    assert resource["meta"]["profile"] == [PHD + "PhdCodedEnumerationObservation"]
    assert codes(resource["valueCodeableConcept"]) == [(MDC, "8410001")]


def test_of_event_bits_only_those_that_are_set_are_reported() -> None:
    resource = made(Measurement(code=SENSOR, bits={10: True, 4: False, 0: True}))
    assert resource["meta"]["profile"] == [PHD + "PhdBitsEnumerationObservation"]
    assert [(codes(one["code"]), one["valueBoolean"]) for one in resource["component"]] == [
        ([(ASN1, "150604.0")], True),
        ([(ASN1, "150604.10")], True),
    ]
    assert resource["component"][1]["code"]["coding"][0]["display"] == "signal-low-perfusion"


def test_of_state_bits_and_of_bits_nobody_knows_both_values_are_reported() -> None:
    for code in (POWER, 8_400_000):
        resource = made(Measurement(code=code, bits={1: False, 0: True}))
        assert [one["valueBoolean"] for one in resource["component"]] == [True, False]


def test_events_of_which_none_is_set_are_no_observation() -> None:
    nothing = observation(
        Measurement(code=SENSOR, bits={0: False}),
        FRAME,
        identifier="",
        effective="",
        coincident=None,
        vital_signs_first=True,
    )
    assert nothing is None


@pytest.mark.parametrize(
    "content",
    [
        {"bits": {0: True}},
        {"coded": 5},
        {"samples": Samples(origin=Decimal(0), unit="%", period_ms=Decimal(8), data=())},
    ],
)
def test_of_an_invalid_enumeration_or_waveform_only_the_reason_is_reported(content: dict[str, Any]) -> None:
    resource = made(Measurement(code=SENSOR, status=(MeasurementStatus.INVALID,), **content))
    assert reason(resource) == "error"
    assert not {"component", "valueCodeableConcept", "valueSampledData"} & set(resource)


def test_samples_are_sampled_data_without_exponents_and_with_letters_for_what_is_no_number() -> None:
    samples = Samples(
        origin=Decimal("0.0"),
        unit="%",
        period_ms=Decimal(8),
        factor=Decimal("0.10"),
        lower=Decimal(0),
        upper=Decimal(100),
        data=(
            Decimal("1E+2"),
            Decimal("0.50"),
            Decimal(-3),
            Special.NAN,
            Special.POSITIVE_INFINITY,
            Special.NEGATIVE_INFINITY,
        ),
    )
    sampled = made(Measurement(code=150452, samples=samples))["valueSampledData"]
    assert sampled["data"] == "100 0.50 -3 E U L"
    assert str(sampled["factor"]) == "0.10"
    assert sampled["dimensions"] == 1


def test_the_supplemental_types_of_what_is_no_vital_sign_are_components() -> None:
    resource = made(Measurement(code=150320, value=Decimal("8.9"), unit="%", supplemental=(FAST, SPOT)))
    assert [(codes(one["code"]), codes(one["valueCodeableConcept"])) for one in resource["component"]] == [
        ([(MDC, "68193")], [(MDC, "150580")]),
        ([(MDC, "68193")], [(MDC, "150588")]),
    ]
    assert "method" not in resource


def test_the_supplemental_type_of_a_vital_sign_is_its_method_because_its_profile_has_no_room_for_the_component() -> (
    None
):
    resource = spo2(supplemental=(SPOT,))
    assert codes(resource["method"]) == [(MDC, "150588")]
    assert "component" not in resource
    assert vital_signs_profile(resource) is not None


@pytest.mark.parametrize(("supplemental", "vital_signs_first"), [((SPOT, FAST), True), ((SPOT,), False)])
def test_two_supplemental_types_or_the_guide_first_cost_the_vital_signs_profile(
    supplemental: tuple[int, ...], *, vital_signs_first: bool
) -> None:
    measurement = Measurement(code=SPO2, value=Decimal(97), unit="%", supplemental=supplemental)
    resource = made(measurement, vital_signs_first=vital_signs_first)
    assert len(resource["component"]) == len(supplemental)
    assert vital_signs_profile(resource) is None
    assert codes(resource["code"]) == [(MDC, "150456"), (LOINC, "2708-6")]


@pytest.mark.parametrize(
    "measurement",
    [
        Measurement(code=1, value=Decimal("1E+200"), unit="%"),
        Measurement(code=1, value=Decimal("NaN"), unit="%"),
        Measurement(code=1, absent="because"),
        Measurement(code=1, components=(Measurement(code=2, bits={0: True}),)),
        Measurement(
            code=1,
            components=(
                Measurement(code=2, samples=Samples(origin=Decimal(0), unit="%", period_ms=Decimal(8), data=())),
            ),
        ),
    ],
    ids=["beyond FLOAT", "Decimal NaN", "no such reason", "bits in a compound", "samples without limits in a compound"],
)
def test_what_the_profiles_have_no_place_for_is_quarantined(measurement: Measurement) -> None:
    with pytest.raises(Untranslatable) as refusal:
        made(measurement)
    assert refusal.value.reason == "unrepresentable"
