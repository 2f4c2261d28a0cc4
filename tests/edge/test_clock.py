"""Each moment says how far its wall time can be trusted, and a receipt's time mends a clock that nothing else sets."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import clock as clock_module
from edge.clock import BUILD_US, DRIFT_PPM, LONGEST_ROUND_TRIP_US, RECEIPT_LASTS_S, SystemClock, SystemTime
from wire.evidence import ClockState

BOOT = bytes(range(16))
TODAY_US = BUILD_US + 30 * 86_400_000_000
HOUR_US = 3_600_000_000


class Machine:
    """A computer whose clocks a test sets. A real one runs true, and the wall may be wrong by `wrong_us`."""

    def __init__(self) -> None:
        self.true_us = TODAY_US
        self.mono_us = 1_000_000
        self.wrong_us = 0
        self.max_error_us: int | None = None

    def __call__(self) -> SystemTime:
        return SystemTime(self.true_us + self.wrong_us, self.mono_us, self.max_error_us)

    def run(self, microseconds: int) -> None:
        self.true_us += microseconds
        self.mono_us += microseconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> SystemClock:
    return SystemClock(boot=BOOT, system=machine)


def receive_receipt(
    machine: Machine, clock: SystemClock, *, round_trip_us: int = 40_000, back_us: int = 20_000
) -> bool:
    sent = machine.mono_us
    machine.run(round_trip_us - back_us)
    stamped = machine.true_us
    machine.run(back_us)
    return clock.trust(stamped, sent_mono_us=sent, received_mono_us=machine.mono_us)


def test_a_clock_from_before_this_program_was_written_is_unset(machine: Machine, clock: SystemClock) -> None:
    machine.wrong_us = -machine.true_us
    assert clock.now().state is ClockState.UNSET
    assert clock.now().wall_us == 0
    machine.max_error_us = 1000  # a kernel that says it is disciplined, in 1970, is mistaken
    assert clock.now().state is ClockState.UNSET


def test_a_clock_that_nothing_disciplines_is_unsynchronised(machine: Machine, clock: SystemClock) -> None:
    now = clock.now()
    assert (now.state, now.uncertainty_ms) == (ClockState.UNSYNCHRONISED, None)
    assert (now.wall_us, now.mono_us, now.boot) == (machine.true_us, machine.mono_us, BOOT)


def test_a_disciplined_clock_says_how_wrong_it_may_be(machine: Machine, clock: SystemClock) -> None:
    machine.max_error_us = 12_001
    now = clock.now()
    assert (now.state, now.uncertainty_ms) == (ClockState.SYNCHRONISED, 13)


def test_a_receipt_sets_the_clock_of_a_hub_that_believes_it_is_1970(machine: Machine, clock: SystemClock) -> None:
    machine.wrong_us = -machine.true_us
    assert receive_receipt(machine, clock)
    now = clock.now()
    assert now.state is ClockState.SYNCHRONISED
    assert abs(now.wall_us - machine.true_us) <= 20_001
    assert now.uncertainty_ms == 21


def test_a_receipts_time_grows_uncertain_and_ends(machine: Machine, clock: SystemClock) -> None:
    receive_receipt(machine, clock)
    machine.run(10 * HOUR_US)
    uncertainty_ms = clock.now().uncertainty_ms
    assert uncertainty_ms is not None
    assert uncertainty_ms >= 10 * HOUR_US * DRIFT_PPM // 1_000_000 // 1000
    machine.run((RECEIPT_LASTS_S - 9 * 3600) * 1_000_000)
    assert clock.now().state is ClockState.UNSYNCHRONISED


def test_a_worse_receipt_does_not_spoil_a_better_one_until_that_has_aged(machine: Machine, clock: SystemClock) -> None:
    assert receive_receipt(machine, clock, round_trip_us=10_000, back_us=5_000)
    assert not receive_receipt(machine, clock, round_trip_us=2_000_000, back_us=1_000_000)
    machine.run(5 * HOUR_US)
    assert receive_receipt(machine, clock, round_trip_us=2_000_000, back_us=1_000_000)


@pytest.mark.parametrize("round_trip_us", [-1, LONGEST_ROUND_TRIP_US + 1])
def test_a_receipt_that_took_too_long_sets_nothing(clock: SystemClock, round_trip_us: int) -> None:
    assert not clock.trust(TODAY_US, sent_mono_us=5_000_000, received_mono_us=5_000_000 + round_trip_us)
    assert clock.now().state is ClockState.UNSYNCHRONISED


@given(
    trips=st.lists(st.tuples(st.integers(0, 20 * HOUR_US), st.integers(0, 30_000_000), st.floats(0, 1)), max_size=8),
    wait_us=st.integers(0, 20 * HOUR_US),
)
def test_the_true_time_is_always_within_what_the_clock_admits(
    trips: list[tuple[int, int, float]], wait_us: int
) -> None:
    machine = Machine()
    machine.wrong_us = -machine.true_us
    clock = SystemClock(boot=BOOT, system=machine)
    for pause_us, round_trip_us, part in trips:
        machine.run(pause_us)
        receive_receipt(machine, clock, round_trip_us=round_trip_us, back_us=int(round_trip_us * part))
    machine.run(wait_us)
    now = clock.now()
    if now.state is ClockState.SYNCHRONISED:
        assert now.uncertainty_ms is not None
        assert abs(now.wall_us - machine.true_us) <= now.uncertainty_ms * 1000


def test_the_real_clock_of_this_machine() -> None:
    clock = SystemClock()
    before, now, after = time.time_ns() // 1000, clock.now(), time.time_ns() // 1000
    assert before <= now.wall_us <= after
    assert len(now.boot) == 16
    assert now.boot == SystemClock().boot
    assert clock.now().mono_us >= now.mono_us
    error_us = clock_module.kernel_max_error_us()
    assert (error_us is None) == (now.state is not ClockState.SYNCHRONISED)
