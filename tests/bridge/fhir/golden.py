"""Golden Bundles in tests/vectors/fhir_*.json: what leaves the bridge, so that every change of it is seen and meant.

`python -m tests.bridge.fhir.golden` writes them anew; the difference is for a reviewer.
"""

from pathlib import Path
from typing import Any

from bridge.fhir import json as fhir_json
from bridge.fhir.translate import bundle, translate_reading
from tests.bridge.fhir.corpus import CASES, COPENHAGEN, HUB, KEY, PATIENT, Case
from wire.batch import encode_reading

VECTORS = Path(__file__).parents[2] / "vectors"
GOLDEN = {
    "spot_check": "spot check, clock readable and nineteen years behind",
    "continuous": "continuous, with fast and slow, ongoing",
    "blood_pressure": "blood pressure, all fields",
    "weight": "weight with time, user, BMI and height",
    "heart_rate": "heart rate, energy and intervals",
    "temperature": "temperature in the mouth, hundredths kept",
    "no_finger": "spot check without a finger",
}
"""Vector by name: the case of the corpus that it is."""


def document(case: Case) -> dict[str, Any]:
    made = translate_reading(
        case.reading,
        sealed=case.reading.received,
        hub=HUB,
        patient=PATIENT,
        timezone=COPENHAGEN,
        identifier_key=KEY,
    )
    return {
        "source": "made by tests/bridge/fhir/golden.py from the reading, which tests/bridge/fhir/corpus.py wrote by hand",
        "case": case.name,
        "reading": encode_reading(case.reading).hex(),
        "hub": HUB,
        "patient": PATIENT,
        "timezone": COPENHAGEN.key,
        "identifier_key": KEY.hex(),
        "bundle": bundle([made]),
    }


def case(name: str) -> Case:
    (found,) = (one for one in CASES if one.name == GOLDEN[name])
    return found


def path(name: str) -> Path:
    return VECTORS / f"fhir_{name}.json"


if __name__ == "__main__":
    for name in GOLDEN:
        path(name).write_bytes(fhir_json.dumps(document(case(name)), indent=1) + b"\n")
