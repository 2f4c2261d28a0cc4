"""Waiting: full jitter, bounded, and over at once when the far side answers anyone."""

import asyncio

import looptime
import pytest

from bridge.backoff import Backoff


def longest(_low: float, high: float) -> float:
    return high


def test_each_try_may_wait_twice_as_long_up_to_half_a_minute() -> None:
    backoff = Backoff(uniform=longest)
    assert [backoff.delay_s(attempt) for attempt in range(9)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]
    assert backoff.delay_s(10_000) == 30.0


def test_two_that_failed_together_do_not_come_back_together() -> None:
    backoff = Backoff()
    assert len({backoff.delay_s(10) for _ in range(100)}) == 100


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_an_answer_to_anyone_wakes_everyone_but_those_who_were_asked_to_wait(
    looptime: looptime.LoopTimeProxy,
) -> None:
    backoff = Backoff(uniform=longest)
    polite = asyncio.create_task(backoff.wait(0, at_least_s=40))
    others = [asyncio.create_task(backoff.wait(8)) for _ in range(3)]
    await asyncio.sleep(5)
    assert backoff.failing.is_set()
    backoff.answered()
    await asyncio.gather(*others)
    assert looptime == 5
    assert not backoff.failing.is_set()
    await polite
    assert looptime == pytest.approx(40.2)


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_a_server_cannot_ask_for_a_day(looptime: looptime.LoopTimeProxy) -> None:
    await Backoff(uniform=longest).wait(0, at_least_s=86_400)
    assert looptime == pytest.approx(300.2)
