"""The right person: whose a reading is, and when it is nobody's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.assignment import Assignment, Doubt, needs_user, patient_for, received_at
from tests.bridge.hub import BOOT, START_US, clock
from wire.evidence import Clock, ClockState

CUFF, SCALE = bytes(6), bytes(5) + b"\x01"
A, B, C = "Patient/a", "Patient/b", "Patient/c"


def of(
    patient: str, device: bytes | None = None, user: int | None = None, begin: int | None = None, end: int | None = None
) -> Assignment:
    return Assignment(patient=patient, device=device, user=user, from_us=begin, until_us=end)


NOBODY, ONE = frozenset[int | None](), frozenset[int | None]({1})


@pytest.mark.parametrize(
    ("assignments", "device", "users", "at", "expected"),
    [
        pytest.param([], CUFF, NOBODY, 5, None, id="nobody is assigned"),
        pytest.param([of(A)], CUFF, NOBODY, 5, A, id="the hub's default"),
        pytest.param([of(A), of(B, CUFF)], CUFF, NOBODY, 5, B, id="the device's own before the default"),
        pytest.param([of(A), of(B, CUFF)], SCALE, NOBODY, 5, A, id="another device has the default"),
        pytest.param([of(B, CUFF)], SCALE, NOBODY, 5, None, id="another device without a default"),
        pytest.param([of(A), of(B, CUFF, end=4)], CUFF, NOBODY, 5, None, id="an ended device never falls back"),
        pytest.param([of(A, end=4), of(B, begin=4)], CUFF, NOBODY, 4, B, id="the boundary belongs to the later"),
        pytest.param([of(A, end=4), of(B, begin=4)], CUFF, NOBODY, 3, A, id="a late reading has the earlier person"),
        pytest.param([of(A, end=4), of(B, begin=4)], CUFF, NOBODY, None, None, id="time unknown, person changed"),
        pytest.param([of(A, end=4), of(A, begin=7)], CUFF, NOBODY, None, A, id="time unknown, person did not change"),
        pytest.param([of(A), of(B, begin=4)], CUFF, NOBODY, 5, None, id="two at one time"),
        pytest.param([of(A, CUFF, 1), of(B, CUFF, 2)], CUFF, ONE, 5, A, id="user 1"),
        pytest.param([of(A, CUFF, 1), of(B, CUFF, 2)], CUFF, frozenset({3}), 5, None, id="a user nobody has"),
        pytest.param([of(C, CUFF), of(A, CUFF, 1)], CUFF, frozenset({2}), 5, None, id="nor the device's general one"),
        pytest.param([of(A), of(A, CUFF, 1)], CUFF, frozenset({None}), 5, None, id="no user said"),
        pytest.param([of(A), of(A, CUFF, 1)], CUFF, frozenset({255}), 5, None, id="user unknown to the device"),
        pytest.param([of(A, CUFF, 1)], CUFF, frozenset({1, 2}), 5, None, id="two users in one reading"),
        pytest.param([of(A, CUFF)], CUFF, frozenset({7}), 5, A, id="a device of one person, whatever user it says"),
    ],
)
def test_a_reading_is_given_to_one_person_or_to_nobody(
    assignments: list[Assignment], device: bytes, users: frozenset[int | None], at: int | None, expected: str | None
) -> None:
    found = patient_for(assignments, device, users, at)
    if expected is None:
        assert isinstance(found, Doubt)
        assert found.message
        assert "Patient" not in found.message
    else:
        assert found == expected


def test_a_reading_is_decoded_for_its_user_only_where_users_are_told_apart() -> None:
    assert needs_user([of(A, CUFF, 1)], CUFF)
    assert not needs_user([of(A, CUFF, 1)], SCALE)
    assert not needs_user([of(A, CUFF), of(A)], CUFF)


def test_the_time_of_reception_is_corrected_if_the_clock_was_set_before_sealing() -> None:
    received = Clock(wall_us=17, mono_us=1_000, boot=BOOT, state=ClockState.UNSET)
    assert received_at(received, clock()) == START_US - 10_000_000 + 1_000
    assert received_at(received, clock(boot=bytes(16))) is None
    assert received_at(received, received) is None
    assert received_at(clock(5), received) == START_US + 5


PEOPLE = st.sampled_from([A, B, C])
TIMES = st.none() | st.integers(0, 20)
ASSIGNMENTS = st.lists(
    st.builds(
        lambda patient, device, user, begin, end: of(patient, device, user if device else None, begin, end),
        PEOPLE,
        st.sampled_from([None, CUFF, SCALE]),
        st.sampled_from([None, 1, 2]),
        TIMES,
        TIMES,
    ),
    max_size=6,
)


@settings(deadline=None)
@given(
    ASSIGNMENTS, st.sampled_from([CUFF, SCALE]), st.frozensets(st.sampled_from([None, 1, 2, 255]), max_size=2), TIMES
)
def test_nobody_gets_a_reading_that_no_assignment_gives_them(
    assignments: list[Assignment], device: bytes, users: frozenset[int | None], at: int | None
) -> None:
    found = patient_for(assignments, device, users, at)
    if isinstance(found, Doubt):
        return
    theirs = [
        each
        for each in assignments
        if each.device in (None, device) and each.user in (None, *users) and (at is None or each.covers(at))
    ]
    assert found in {each.patient for each in theirs}
    specific = [each for each in assignments if each.device == device]
    if specific:
        assert found in {each.patient for each in specific}
