"""An Observation as plain dictionaries costs a fraction of what a FHIR library of models takes for it.

Both sides take turns on the same measurement, and the best of many rounds counts, so that a busy machine slows both or
neither.
"""

from collections.abc import Callable
from time import process_time

from fhir.resources.R4B.observation import Observation

from bridge.fhir import json as fhir_json
from bridge.fhir.observations import Frame, observation
from wire.gatt import decode

SPO2 = decode(0x2A5E, bytes.fromhex("006100 3B00"))[0]
FRAME = Frame(patient="Patient/17", phd="urn:uuid:phd", phg="urn:uuid:phg")
ROUNDS, CALLS = 30, 20


def ours() -> object:
    return observation(
        SPO2,
        FRAME,
        identifier="0" * 32,
        effective="2026-11-21T10:30:15.250+01:00",
        coincident=None,
        vital_signs_first=True,
    )


PRIMITIVE = fhir_json.loads(fhir_json.dumps(ours()))  # type: ignore[arg-type]


def written() -> object:
    return fhir_json.dumps(ours())  # type: ignore[arg-type]


def theirs() -> object:
    return Observation.model_validate(PRIMITIVE)


def theirs_written() -> object:
    return Observation.model_validate(PRIMITIVE).model_dump_json()


def timed(work: Callable[[], object]) -> float:
    start = process_time()
    for _ in range(CALLS):
        work()
    return process_time() - start


def test_building_is_forty_times_and_building_with_writing_twenty_times_as_fast_as_with_models() -> None:
    works = (ours, theirs, written, theirs_written)
    best = [min(rounds) for rounds in zip(*([timed(work) for work in works] for _ in range(ROUNDS)), strict=True)]
    assert best[1] / best[0] >= 40
    assert best[3] / best[2] >= 20
