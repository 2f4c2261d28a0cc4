"""People are fictional, plausible, and the same for the same seed."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest

from simulator.people import Condition, Person, Vitals, person, vitals

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
