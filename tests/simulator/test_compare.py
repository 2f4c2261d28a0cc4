"""The comparison catches every way in which the FHIR server may differ from what was measured."""

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from simulator import measured
from simulator.ble.devices import PLAIN
from simulator.compare import Comparison, Outcome, compare
from simulator.measured import Record
from tests.simulator.moments import measured as measured_by

COPENHAGEN = ZoneInfo("Europe/Copenhagen")
SENT = datetime(2026, 3, 2, 11, 0, 0, 250_000, tzinfo=UTC)


def record(kind: str, *, who: str = "p1", after_s: int = 0) -> Record:
    sent = SENT + timedelta(seconds=after_s)
    stamp = sent.astimezone(COPENHAGEN).replace(microsecond=0)
    (reading,) = measured_by(kind, at=stamp, who=who)
    return Record(
        person=who,
        device="02:57:AF:E7:00:01",
        label=f"{who} {kind}",
        kind=kind,
        characteristic=reading.characteristic,
        data=reading.data,
        values=reading.values,
        device_time=reading.device_time,
        sent=sent,
    )


def quantity(value: Decimal, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}


def code(number: int) -> dict[str, Any]:
    loinc = {"system": "http://loinc.org", "code": "59408-5"}
    return {"coding": [loinc, {"system": "urn:iso:std:iso:11073:10101", "code": str(number)}]}


def observations(one: Record) -> list[dict[str, Any]]:
    """As a server would hold them: pressures as components of one Observation, everything else on its own."""
    common: dict[str, Any] = {
        "resourceType": "Observation",
        "subject": {"reference": f"Patient/{one.person}"},
        "effectiveDateTime": one.sent.astimezone(COPENHAGEN).replace(microsecond=0).isoformat(),
        "meta": {"lastUpdated": (one.sent + timedelta(milliseconds=40)).isoformat()},
    }
    parts = [{"code": code(value.code), "valueQuantity": quantity(value.value, value.unit)} for value in one.values]
    if one.kind == "cuff":
        held = [common | {"code": code(150020), "component": parts[:3]}, common | parts[3]]
    else:
        held = [common | part for part in parts]
    return [resource | {"id": f"{one.label}-{one.sent:%S}-{n}".replace(" ", "-")} for n, resource in enumerate(held)]


RECORDS = [record(kind, who=who, after_s=after_s) for who in ("p1", "p2") for after_s in (0, 10) for kind in PLAIN]


@pytest.fixture
def held() -> list[dict[str, Any]]:
    return [copy.deepcopy(resource) for one in RECORDS for resource in observations(one)]


def result(held: list[dict[str, Any]]) -> Comparison:
    return compare(RECORDS, held, timezone=COPENHAGEN)


def outcomes(comparison: Comparison) -> dict[Outcome, int]:
    return {outcome: count for outcome in Outcome if (count := comparison.count(outcome))}


def test_what_was_measured_and_arrived_is_equal(held: list[dict[str, Any]]) -> None:
    comparison = result(held)
    assert comparison.all_equal
    assert outcomes(comparison) == {Outcome.EQUAL: 2 * 2 * 9}
    assert comparison.readings_arrived == 20
    assert {one.delay for one in comparison.values} == {timedelta(milliseconds=40)}


def test_a_server_may_write_36_50_as_36_5(held: list[dict[str, Any]]) -> None:
    for resource in held:
        if "valueQuantity" in resource:
            resource["valueQuantity"]["value"] = resource["valueQuantity"]["value"].normalize()
    assert result(held).all_equal


def first_with(held: list[dict[str, Any]], number: int) -> dict[str, Any]:
    return next(one for one in held if any(c["code"] == str(number) for c in one["code"]["coding"]))


def test_a_value_that_differs_in_the_last_digit_is_wrong(held: list[dict[str, Any]]) -> None:
    first_with(held, 188736)["valueQuantity"]["value"] += Decimal("0.005")
    comparison = result(held)
    assert not comparison.all_equal
    assert comparison.count(Outcome.WRONG) == 1
    assert comparison.readings_arrived == 19


def test_a_wrong_component_of_a_blood_pressure_is_wrong(held: list[dict[str, Any]]) -> None:
    first_with(held, 150020)["component"][1]["valueQuantity"]["value"] += 1
    assert result(held).count(Outcome.WRONG) == 1


def test_a_wrong_unit_is_wrong(held: list[dict[str, Any]]) -> None:
    first_with(held, 150364)["valueQuantity"]["code"] = "[degF]"
    assert result(held).count(Outcome.WRONG) == 1


def test_a_unit_that_is_not_ucum_is_wrong(held: list[dict[str, Any]]) -> None:
    first_with(held, 150364)["valueQuantity"]["system"] = "urn:iso:std:iso:11073:10101"
    assert result(held).count(Outcome.WRONG) == 1


def test_a_time_that_is_an_hour_off_is_wrong(held: list[dict[str, Any]]) -> None:
    one = first_with(held, 150364)
    one["effectiveDateTime"] = (datetime.fromisoformat(one["effectiveDateTime"]) + timedelta(hours=1)).isoformat()
    comparison = result(held)
    assert outcomes(comparison)[Outcome.WRONG] == 1
    assert not comparison.all_equal


def test_a_value_that_did_not_arrive_is_missing(held: list[dict[str, Any]]) -> None:
    held.remove(first_with(held, 150456))
    comparison = result(held)
    assert outcomes(comparison) == {Outcome.EQUAL: 35, Outcome.MISSING: 1}
    assert not comparison.all_equal


def test_a_value_that_arrived_twice_is_doubled(held: list[dict[str, Any]]) -> None:
    held.append(first_with(held, 150456) | {"id": "again"})
    comparison = result(held)
    assert [one.observation for one in comparison.doubled] == ["Observation/again"]
    assert not comparison.all_equal


def test_another_persons_value_is_missing_here_and_foreign_there(held: list[dict[str, Any]]) -> None:
    first_with(held, 188736)["subject"] = {"reference": "https://example.org/fhir/Patient/p3"}
    comparison = result(held)
    assert comparison.count(Outcome.MISSING) == 1
    assert [one.patient for one in comparison.foreign] == ["p3"]


def test_nothing_measured_and_nothing_held_is_no_success_of_the_demonstration() -> None:
    comparison = compare([], [], timezone=COPENHAGEN)
    assert comparison.values == ()


def test_observations_of_other_codes_are_left_alone(held: list[dict[str, Any]]) -> None:
    clock = first_with(held, 188736) | {"code": code(67975), "id": "coincident", "valueDateTime": "2026-03-02"}
    assert result([*held, clock]).all_equal


def test_what_is_no_result_is_not_missed_and_is_foreign_where_it_is_found(held: list[dict[str, Any]]) -> None:
    shown = replace(record("thermometer", after_s=60), expected=False)
    assert compare([*RECORDS, shown], held, timezone=COPENHAGEN).all_equal
    comparison = compare([*RECORDS, shown], [*held, *observations(shown)], timezone=COPENHAGEN)
    assert [one.code for one in comparison.foreign] == [150364]


def test_a_reading_of_a_wrong_clock_shall_arrive_with_the_time_at_which_it_was_taken() -> None:
    right = record("scale")
    wrong = replace(right, device_time=datetime(2000, 1, 1), taken=right.sent)  # noqa: DTZ001 - a device's clock
    assert compare([wrong], observations(right), timezone=COPENHAGEN).all_equal


def test_records_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "measured.jsonl"
    path.write_text("".join(one.line() for one in RECORDS) + '{"person": "p1", "dev')
    read = list(measured.read(path))
    assert [one.line() for one in read] == [one.line() for one in RECORDS]
    assert compare(read, [r for one in RECORDS for r in observations(one)], timezone=COPENHAGEN).all_equal
