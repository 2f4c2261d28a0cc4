"""Everything the bridge covers, from the device's bytes to the profiles."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.fhir import json as fhir_json
from bridge.fhir.translate import (
    Gateway,
    Phd,
    Untranslatable,
    translate_measurements,
)
from tests import phd
from tests.bridge.fhir import golden
from tests.bridge.fhir.corpus import CASES, COPENHAGEN, HUB, PATIENT, RECEIVED, Case
from tests.bridge.fhir.translated import read_back, translate
from tests.wire.measurements import measurements
from wire.measurement import Measurement

each_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
needs_profiles = pytest.mark.skipif(not phd.available(), reason=phd.NOT_SHARED)


def translated(case: Case) -> dict[str, Any]:
    return read_back(translate(case.reading))


@each_case
def test_a_reading_becomes_the_observations_that_it_holds_with_the_digits_that_the_device_sent(case: Case) -> None:
    sent = translated(case)
    found = tuple(
        (
            phd.mdc_code(one["code"]),
            (phd.vital_signs_profile(one) or "").rpartition("/")[2] or None,
            str(one["valueQuantity"]["value"]) if "valueQuantity" in one else None,
        )
        for one in phd.observations(sent)
    )
    assert case.becomes == found
    assert case.time_stamp == bool(phd.time_stamps(sent))


@each_case
def test_what_leaves_the_bridge_has_the_right_slices_and_references(case: Case) -> None:
    assert phd.lint(translated(case)) == []


@each_case
def test_a_fhir_library_that_is_not_ours_takes_every_resource(case: Case) -> None:
    assert phd.structure(translated(case)) == []


@pytest.mark.parametrize("name", golden.NAMES)
def test_what_leaves_the_bridge_is_what_was_agreed_byte_for_byte(name: str) -> None:
    agreed = golden.path(name).read_bytes()
    assert agreed == fhir_json.dumps(golden.document(golden.case(name)), indent=1) + b"\n"


@needs_profiles
@each_case
def test_every_resource_conforms_to_the_profiles_that_it_claims(case: Case) -> None:
    assert phd.validate(translated(case)) == []


@needs_profiles
@given(measurement=measurements, vital_signs_first=st.booleans())
@settings(max_examples=30, deadline=None)
def test_any_measurement_conforms_or_is_refused(measurement: Measurement, *, vital_signs_first: bool) -> None:
    try:
        made = translate_measurements(
            [measurement],
            phd=Phd(address=bytes(6)),
            gateway=Gateway(hub=HUB),
            patient=PATIENT,
            timezone=COPENHAGEN,
            received=RECEIVED,
            vital_signs_first=vital_signs_first,
        )
    except Untranslatable:
        return
    assert phd.validate(fhir_json.loads(fhir_json.dumps(made))) == []


@needs_profiles
def test_the_judge_sees_a_fault() -> None:
    sent = translated(CASES[0])
    device, _, observation, _ = (entry["resource"] for entry in sent["entry"])
    del device["version"]
    observation["valueQuantity"]["code"] = "bpm"
    faults = "\n".join(phd.validate(sent))
    assert "Device.version" in faults
    assert "Observation.valueQuantity.code" in faults


def test_the_example_in_the_documentation_is_what_leaves_the_bridge() -> None:
    text = (Path(__file__).parents[3] / "docs" / "fhir.md").read_text()
    _, _, example = text.partition("```json\n")
    agreed = fhir_json.dumps(golden.document(golden.case("temperature"))["bundle"], indent=1).decode()
    assert example == agreed + "\n```\n"
