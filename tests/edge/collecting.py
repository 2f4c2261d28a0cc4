"""Collecting from scripted devices on a clock that costs no time: an outbox in memory, and a collector that must end well."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager

from edge.ble.collect import Collector
from edge.ble.fake_radio import FakeRadio
from edge.intake import Intake
from edge.outbox import OutboxFull
from edge.store import Mark, Recalled
from edge.x73.pump import Associations
from wire.batch import parse_reading
from wire.evidence import Clock, ClockState, Reading

WALL_US = 1_764_000_000_000_000
"""2025-11-24T16:00:00Z."""


class Store:
    """An outbox in memory that may refuse; with what `edge.ble.records` remembers, as durable as the readings."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.refuses = False
        self.woken = 0
        self.when_put: Callable[[], None] = lambda: None
        self.notes: dict[bytes, set[bytes]] = {}
        self.marks: dict[bytes, Mark | None] = {}

    def put(self, encoded: bytes) -> int:
        if self.refuses:
            raise OutboxFull("no room")
        self.when_put()
        reading = parse_reading(encoded)
        assert isinstance(reading, Reading)
        self.readings.append(reading)
        return len(self.readings)

    def put_noted(self, encoded: bytes, *, source: bytes, notes: Sequence[bytes]) -> int:
        seq = self.put(encoded)
        self.notes.setdefault(source, set()).update(notes)
        return seq

    def recall(self, source: bytes) -> Recalled:
        return Recalled(self.marks.get(source), frozenset(self.notes.get(source, ())))

    def mark(self, source: bytes, mark: Mark | None) -> None:
        self.marks[source] = mark  # a full disk may have room for so little

    def wake(self) -> None:
        self.woken += 1

    @property
    def values(self) -> list[tuple[int | bytes, bytes]]:
        return [(reading.characteristic, reading.value) for reading in self.readings]


def clock_that_is(state: ClockState) -> Callable[[], Clock]:
    """The hub's clock, running with the loop's."""

    def now() -> Clock:
        mono_us = int(asyncio.get_running_loop().time() * 1e6)
        return Clock(wall_us=WALL_US + mono_us, mono_us=mono_us, boot=bytes(16), state=state)

    return now


@asynccontextmanager
async def running(loop: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Something that runs until it is cancelled, and must not end by itself."""
    task = asyncio.create_task(loop)
    try:
        yield
        assert not task.done(), "it ended by itself"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def serving_agents(associations: Associations, transport: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """20601 agents, by one transport; what is waited for here comes within 20 s."""
    try:
        async with running(transport), asyncio.timeout(20):
            yield
    finally:
        await associations.close()


@asynccontextmanager
async def collecting(
    radio: FakeRadio,
    store: Store,
    *,
    listed: tuple[bytes, ...],
    connections: int = 4,
    now: Callable[[], Clock] | None = None,
) -> AsyncIterator[Collector]:
    collector = Collector(
        radio=radio,
        devices=[(address, "") for address in listed],
        intake=Intake(put=store.put, stored=store.wake),
        memory=store,
        now=now or clock_that_is(ClockState.UNSYNCHRONISED),
        connections=connections,
    )
    try:
        async with running(collector.intake.run()), running(collector.run()):
            await asyncio.sleep(0.01)
            yield collector
    finally:
        collector.intake.close()
    assert not radio.open, "a connection was left open"
    assert all(link.closed for link in radio.links), "a link was not closed"
