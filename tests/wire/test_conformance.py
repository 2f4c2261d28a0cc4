"""Every device vector that the project was given stands in tests/vectors, as given; each kind has a decoder that is held to it."""

import json
import os
from pathlib import Path

import pytest

from tests.wire import test_gatt_vectors, test_numbers, test_records, test_serial_vectors
from tests.wire.vectors import Vector, load

SHARED = Path(os.environ.get("STAFET_SHARED", "/work/shared")) / "data" / "device_vectors.json"
FILES = ("gatt.json", "numbers.json", "records.json", "serial.json")
OURS = {vector.id: vector for file in FILES for vector in load(file)}
# Which test reads each kind, word for word or refused.
HELD = (
    *test_gatt_vectors.VECTORS,
    *test_numbers.VECTORS,
    *test_records.VECTORS,
    *test_serial_vectors.VECTORS,
)
# Where we do otherwise than the source states, and why.
OTHERWISE = {"nordic/cgm_crc_error": "a value whose CRC is wrong is refused, not shown with a flag"}
FAMILIES = {"gatt": 16, "serial": 4, "sfloat": 2, "float": 2, "omron": 1, "service": 1}


def family(kind: str) -> str:
    return kind.partition(":")[0].partition("-")[0]


def test_every_kind_of_vector_is_held_to_by_a_test() -> None:
    assert {vector.id for vector in HELD} >= OURS.keys()
    kinds = {vector.kind for vector in HELD}
    assert {
        name: count for name in FAMILIES if (count := sum(family(kind) == name for kind in kinds)) < FAMILIES[name]
    } == {}


@pytest.mark.skipif(not SHARED.exists(), reason="the given vectors are not part of the repository: set STAFET_SHARED")
def test_the_given_vectors_are_all_here_with_their_source_and_meaning() -> None:
    given = [Vector(**item) for item in json.loads(SHARED.read_text("utf-8"))]
    assert len(given) == 88
    for vector in given:
        ours = OURS[vector.id]
        assert (vector.source, vector.licence, vector.kind) == (ours.source, ours.licence, ours.kind), vector.id
        assert vector.value == ours.value, vector.id
        if vector.id in OTHERWISE:
            assert ours.note
            continue
        assert json.dumps(vector.expected, sort_keys=True) == json.dumps(ours.expected, sort_keys=True, default=float)
    assert {vector.kind for vector in given} <= {vector.kind for vector in HELD}
