"""People are fictional, plausible, and the same for the same seed."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest

from simulator.people import Condition, Further, Person, Vitals, further, person, vitals

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def day(someone: Person) -> list[Vitals]:
    return [vitals(someone, NOON + timedelta(minutes=10 * step)) for step in range(144)]


def test_the_same_seed_gives_the_same_people_and_readings() -> None:
    first, second = (person(7, 0, id_="p1") for _ in range(2))
    assert first == second
    assert day(first) == day(second)


def test_another_seed_or_number_gives_somebody_else() -> None:
    baselines = {
        (one.spo2, one.pulse, one.weight_kg) for one in (person(s, n, id_="p") for s in range(5) for n in range(5))
    }
    assert len(baselines) == 25


def test_a_reading_does_not_depend_on_what_was_measured_before() -> None:
    someone = person(7, 0, id_="p1")
    alone = vitals(someone, NOON)
    day(someone)
    assert vitals(someone, NOON) == alone


@pytest.mark.parametrize("number", range(10))
def test_a_person_with_copd_rests_at_88_to_94_percent(number: int) -> None:
    someone = person(1, number, id_="p", condition=Condition.COPD)
    assert all(88 <= one.spo2 <= 94 for one in day(someone))


@pytest.mark.parametrize("number", range(10))
def test_vitals_stay_within_what_a_nurse_would_believe(number: int) -> None:
    for one in day(person(2, number, id_="p")):
        assert 45 <= one.pulse <= 115
        assert one.diastolic + 20 <= one.systolic <= 175
        assert one.diastolic < one.mean_pressure < one.systolic
        assert 35 <= one.temperature_cel <= 38
        assert 40 <= one.weight_kg <= 120


def test_people_are_warmer_in_the_afternoon_than_before_dawn() -> None:
    someone = person(3, 0, id_="p")
    days = range(20)
    late = [vitals(someone, NOON.replace(hour=17) + timedelta(days=n)).temperature_cel for n in days]
    early = [vitals(someone, NOON.replace(hour=5) + timedelta(days=n)).temperature_cel for n in days]
    assert sum(late) / len(late) > sum(early) / len(early) + 0.4


def test_every_vital_sign_moves_from_one_reading_to_the_next() -> None:
    first, second = day(person(4, 0, id_="p"))[:2]
    assert all(getattr(first, field.name) != getattr(second, field.name) for field in fields(Vitals))


@pytest.mark.parametrize("number", range(10))
def test_what_else_is_measured_is_believable_too(number: int) -> None:
    someone = person(5, number, id_="p", condition=Condition.COPD)
    well = person(5, number, id_="p", condition=Condition.HEALTHY)
    moments = [NOON + timedelta(hours=step) for step in range(48)]
    for one in (further(someone, at) for at in moments):
        assert one.fev1_l < one.fev6_l < one.fvc_l < 5
        assert one.fev1_l / one.fvc_l < 0.7
        assert 40 < one.peak_flow_l_min <= one.best_peak_flow_l_min < 400
        assert 65 <= one.glucose_mg_dl <= 240
        assert 1.5 <= one.inr <= 4.5
        assert 15 < one.body_water_kg < someone.weight_kg
    assert all(one.fev1_l / one.fvc_l > 0.7 for one in (further(well, at) for at in moments))
    assert further(someone, NOON) == further(someone, NOON)
    first, second = (further(someone, at) for at in moments[:2])
    steady = {
        "glucose_mg_dl",
        "hba1c_percent",
        "best_peak_flow_l_min",
        "repetitions",
        "resistance_kg",
        "tablets",
        "dose_mg",
    }
    moving = {field.name for field in fields(Further)} - steady
    assert all(getattr(first, name) != getattr(second, name) for name in moving)
