"""When a hub connects to a device it sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.ble.attention import FIRST_PAUSE_S, FRESH_S, GONE_S, LONGEST_PAUSE_S, Attention


def session(attention: Attention, begin: float, *, lasts: float = 1.0, readings: int) -> float:
    attention.begun()
    attention.ended(begin + lasts, readings=readings)
    return begin + lasts


def test_a_device_that_was_never_seen_is_left_alone() -> None:
    assert Attention().due(0.0) is None


def test_a_device_that_is_seen_is_connected_to_at_once() -> None:
    attention = Attention()
    attention.seen(100.0)
    assert attention.due(100.0) == 100.0


def test_a_device_that_brought_readings_is_connected_to_at_once_when_seen_again() -> None:
    attention = Attention()
    attention.seen(0.0)
    now = session(attention, 0.0, readings=1)
    assert attention.due(now) is None
    attention.seen(now + 0.1)
    assert attention.due(now + 0.1) == now + 0.1


def test_a_device_that_was_called_in_vain_by_a_broken_radio_is_called_at_once_when_that_works_again() -> None:
    attention = Attention()
    attention.seen(0.0)
    now = session(attention, 0.0, readings=0)
    attention.seen(now + 1)
    assert attention.due(now + 1) == now + FIRST_PAUSE_S
    attention.pardon()
    assert attention.due(now + 1) == now + 1
    now = session(attention, now + 1, readings=0)
    attention.seen(now)
    assert attention.due(now) == now + FIRST_PAUSE_S, "and from then on as any other"


def test_what_is_ignored_after_a_session_that_went_well_stays_ignored() -> None:
    attention = Attention()
    attention.seen(0.0)
    attention.begun()
    attention.ended(1.0, readings=1, ignore_s=40.0)
    attention.pardon()
    attention.seen(2.0)
    assert attention.due(2.0) == 41.0


def test_a_silent_device_that_stays_is_called_ever_more_seldom() -> None:
    attention = Attention()
    attention.seen(0.0)
    now = 0.0
    pauses = []
    for _ in range(9):
        now = session(attention, now, readings=0)
        begin = now
        while (due := attention.due(now)) is None or due > now:
            now += 1.0
            attention.seen(now)
        pauses.append(now - begin)
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert pauses[0] == FIRST_PAUSE_S
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_silent_device_that_had_gone_is_called_at_once_when_it_is_back() -> None:
    attention = Attention()
    attention.seen(0.0)
    now = 0.0
    for _ in range(8):
        now = session(attention, now, readings=0)
    attention.seen(now + GONE_S - 1)
    assert attention.due(now + GONE_S - 1) == now + LONGEST_PAUSE_S
    back = now + GONE_S - 1 + GONE_S
    attention.seen(back)
    assert attention.due(back) == back
    now = session(attention, back, readings=0)
    attention.seen(now + 1)
    assert attention.due(now + 1) == now + FIRST_PAUSE_S


def test_one_reading_forgives_earlier_silence() -> None:
    attention = Attention()
    attention.seen(0.0)
    now = session(attention, session(attention, 0.0, readings=0), readings=0)
    now = session(attention, now, readings=2)
    attention.seen(now)
    assert attention.due(now) == now


def test_what_is_seen_during_a_session_says_nothing() -> None:
    attention = Attention()
    attention.seen(0.0)
    attention.begun()
    attention.seen(1.0)
    assert attention.due(1.0) is None
    attention.ended(2.0, readings=1)
    assert attention.due(2.0) is None


def test_a_sighting_is_not_acted_on_when_it_is_old() -> None:
    attention = Attention()
    attention.seen(0.0)
    assert attention.due(FRESH_S - 0.1) is not None
    assert attention.due(FRESH_S) is None


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from(["seen", "empty", "full"])), max_size=60))
def test_whatever_happens_a_device_is_never_called_twice_within_the_first_pause_without_having_brought_something(
    happenings: list[tuple[float, str]],
) -> None:
    attention = Attention()
    now = 0.0
    calls: list[float] = []
    outcomes: list[bool] = []
    for after, what in happenings:
        now += after
        attention.seen(now)
        due = attention.due(now)
        assert due is None or due >= now
        if what != "seen" and due == now:
            calls.append(now)
            now = session(attention, now, readings=int(what == "full"))
            outcomes.append(what == "full")
    for (one, brought), other in zip(zip(calls, outcomes, strict=True), calls[1:], strict=False):
        assert brought or other - one >= min(FIRST_PAUSE_S, GONE_S)


def test_the_constants_fit_each_other() -> None:
    assert pytest.approx(GONE_S) == FRESH_S, "a device is either fresh or gone"
    assert FIRST_PAUSE_S < FRESH_S, "else the first pause would outlive the sighting that it delays"
