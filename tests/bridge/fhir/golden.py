"""Golden Bundles in tests/vectors/fhir_*.json: what leaves the bridge, so that every change of it is seen and meant.

`python -m tests.bridge.fhir.golden` writes them anew; the difference is for a reviewer.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from bridge.fhir import json as fhir_json
from bridge.fhir.translate import bundle
from tests.bridge.fhir.corpus import CASES, COPENHAGEN, HUB, KEY, PATIENT, Case, clock
from tests.bridge.fhir.translated import translate
from tests.wire.agents import COUNTED, fixed, full_mds, mds, report
from tests.wire.x73.support import SESSION
from wire.batch import encode_reading
from wire.evidence import AgentReport, Device, Evidence, SerialFrame
from wire.x73.codes import Attr

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


def _agent() -> AgentReport:
    """The measured oximeter session's report, with an MDS whose clock agrees."""
    received = clock(datetime(2026, 11, 21, 18, 33, 48, tzinfo=UTC))
    shown = datetime(2026, 11, 21, 19, 33, 47)  # noqa: DTZ001  the agent's wall clock
    mds = full_mds(10404, 0x0190, shown, clock=received)
    return report(SESSION["report"], 0x0190, mds, received=received)


def _counter() -> AgentReport:
    """An agent that has a counter and no clock."""
    shown = mds((Attr.TIME_REL, (816_000).to_bytes(4, "big")), clock=clock())
    apdu = fixed((1, b"\xf3\xc5" + (800_000).to_bytes(4, "big")))
    return report(apdu, COUNTED.encode(), shown, received=clock())


def _cable() -> SerialFrame:
    """A packet of Nonin data format 8, from an oximeter on a cable."""
    device = Device(address=bytes.fromhex("020000000001"))
    return SerialFrame(device=device, received=clock(), format=1, frame=bytes.fromhex("80486220"))


class Other(NamedTuple):
    """Evidence of another kind than a GATT value."""

    name: str
    reading: Evidence


OTHER_KINDS = {
    "agent": Other("a report of the measured oximeter session", _agent()),
    "agent_counter": Other("an agent that has a counter and no clock", _counter()),
    "cable": Other("an oximeter on a cable, Nonin data format 8", _cable()),
}


def document(case: Case | Other) -> dict[str, Any]:
    return {
        "source": "made by tests/bridge/fhir/golden.py from the reading, which tests/bridge/fhir/corpus.py wrote by hand",
        "case": case.name,
        "reading": encode_reading(case.reading).hex(),
        "hub": HUB,
        "patient": PATIENT,
        "timezone": COPENHAGEN.key,
        "identifier_key": KEY.hex(),
        "bundle": bundle([translate(case.reading)]),
    }


def case(name: str) -> Case | Other:
    if name in OTHER_KINDS:
        return OTHER_KINDS[name]
    (found,) = (one for one in CASES if one.name == GOLDEN[name])
    return found


NAMES = (*GOLDEN, *OTHER_KINDS)


def path(name: str) -> Path:
    return VECTORS / f"fhir_{name}.json"


if __name__ == "__main__":
    for name in NAMES:
        path(name).write_bytes(fhir_json.dumps(document(case(name)), indent=1) + b"\n")
