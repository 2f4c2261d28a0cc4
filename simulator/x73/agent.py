"""A simulated 20601 agent over TCP or a serial line: it associates at once, reports, releases, and says how it went.

The machine is `wire.x73.agent.Agent`, its pump `Link`; here is the story: what the device holds, shows, and does wrong.
What it believes to have delivered is in the measured file: a line is written when its report has left, or when the
manager has confirmed a segment's last entry.
"""

import asyncio
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TextIO

from simulator.command import FAILED, OK, UNAVAILABLE, Outcome
from simulator.measured import Record
from simulator.people import nth_moment, person
from simulator.x73.devices import Now, Shown, absolute, configuration_of, metrics, observe, show, stored
from simulator.x73.line import Streams, open_pty, open_serial
from simulator.x73.link import Link
from simulator.x73.options import NONE, Fault
from wire.x73.agent import Agent, AgentProfile
from wire.x73.apdu import AbortReason, AssociateResult
from wire.x73.codes import Noti
from wire.x73.events import (
    Aborted,
    Associated,
    ConfigRefused,
    Configured,
    Disconnected,
    Failed,
    Happening,
    Rejected,
    Released,
    ReportConfirmed,
    SegmentCleared,
    SegmentTransferred,
    TimeSet,
)
from wire.x73.mds import mds_attributes
from wire.x73.reports import PersonScan
from wire.x73.session import Waits
from wire.x73.specializations import Specialization
from wire.x73.store import Store

CONNECT_S: Final = 10.0
ASSOCIATE_S: Final = 90.0
"""Longer than the machine's own retries and its wait for the configuration."""
CLEAR_S: Final = 3.0


def wall_clock() -> datetime:
    return datetime.now(UTC).astimezone()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an agent is to do."""

    host: str = ""
    port: int = 0
    """Where the manager listens; or one of the next two."""
    serial: str = ""
    """A serial port."""
    on_pty: Callable[[str], None] | None = None
    """A pseudo terminal is made; this is told the path of its other end."""
    specialization: Specialization
    standard: bool = True
    count: int = 3
    interval_s: float = 1.0
    seed: int = 1
    confirmed: bool = True
    store: bool = False
    fault: Fault = NONE
    patience_s: float = 30.0
    """How long a silent agent stays, and one with a store waits to be asked."""
    quiet_s: float = 0.5
    """The agent releases when it has no more to say and the manager asked nothing for so long."""
    waits: Waits = field(default_factory=Waits)
    clock: Callable[[], datetime] = field(default=wall_clock)

    def check(self) -> None:
        """ValueError with a sentence for whoever asked, if nobody can do this."""
        configuration_of(self.specialization, standard=self.standard, store=self.store)
        if self.store and not self.fault.stored:
            raise ValueError(f"--fault {self.fault.name} is for readings that are not stored")

    @property
    def system_id(self) -> bytes:
        """An EUI-64 of nobody's: locally administered, one for each kind of device and seed."""
        return b"\x02SIM" + self.specialization.number.to_bytes(2, "big") + (self.seed & 0xFFFF).to_bytes(2, "big")


async def play(plan: Plan, measured: TextIO | None = None, stop: asyncio.Event | None = None) -> Outcome:
    """One connection, one association. ValueError where `Plan.check` has one."""
    plan.check()
    stop = stop or asyncio.Event()
    story = _Story(plan, measured, stop)
    try:
        streams = await _connect(plan, stop)
    except (OSError, TimeoutError) as error:
        why = os.strerror(error.errno) if error.errno else str(error) or "no answer"
        where = plan.serial or f"{plan.host}:{plan.port}"
        return Outcome(status=UNAVAILABLE, line=f"no manager answers at {where}: {why}")
    if streams is None:
        return Outcome(status=FAILED, line="stopped before anybody opened the line")
    return await story.run(*streams)


async def _connect(plan: Plan, stop: asyncio.Event) -> Streams | None:
    if plan.on_pty is not None:
        return await open_pty(plan.on_pty, stop)
    if plan.serial:
        return await open_serial(plan.serial)
    async with asyncio.timeout(CONNECT_S):
        return await asyncio.open_connection(plan.host, plan.port)


class _Story:
    """The agent's one association."""

    link: Link

    def __init__(self, plan: Plan, measured: TextIO | None, stop: asyncio.Event) -> None:
        self.plan, self.measured, self.stop = plan, measured, stop
        offered = [configuration_of(plan.specialization, standard=plan.standard, store=plan.store)]
        if plan.standard:
            # A manager that refuses it, as it does not know it, may take one that leaves nothing to know.
            offered.append(plan.specialization.extended)
        self.configuration = offered[0]
        self.people = [person(plan.seed, each, id_=f"p{each + 1}") for each in range(plan.fault.persons)]
        self.unset, self.offset = plan.fault.unset, timedelta()
        self.held: list[tuple[datetime | None, bytes, list[Shown]]] = []
        stores: tuple[Store, ...] = ()
        if plan.store:
            self.held = [self._entry(index) for index in self._order()]
            stores = (stored(self.configuration, tuple(entry for _, entry, _ in self.held)),)
        profile = AgentProfile(
            system_id=plan.system_id,
            configurations=tuple(offered),
            test=plan.fault.test,
        )
        self.agent = Agent(profile, stores=stores, waits=plan.waits)
        self.done: set[str] = set()
        """The steps that lie behind: those of the faults, and `transferred`, `cleared`."""
        self.sent = self.confirmed = self.reported = 0
        self.status, self.why, self.released = FAILED, "", False

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Outcome:
        self.link = Link(self.agent, reader, writer, stop=self.stop, happened=self._take, before=self._renew)
        try:
            await self._story()
        finally:
            await self.link.close()
        if self.reported >= self.plan.count and not self.why:
            return Outcome(status=OK)
        ended = "the manager released the association" if self.released else "the association ended"
        said = self.why or ("stopped" if self.stop.is_set() else ended)
        return Outcome(status=self.status, line=f"{said}; {self.reported} of {self.plan.count} readings reported")

    async def _story(self) -> None:
        fault = self.plan.fault
        self._take(self.agent.connected(self.link.now))
        await self.link.flush()
        self._reach("request")
        await self.link.until(lambda: "configuration" in self.done, ASSOCIATE_S)
        if self.link.over:
            return
        if "configuration" not in self.done:
            self._take(self.agent.abort(self.link.now, why="stopped"))
            await self.link.flush()
            return
        if fault.silent:
            await self.link.until(lambda: False, self.plan.patience_s)
            self._end("said nothing, as the fault wants")
        elif self.plan.store:
            await self._serve()
        else:
            await self._report_all()
        await self._fall_quiet()
        if not self.link.over:
            self._take(self.agent.release(self.link.now))
            await self.link.flush()
            self._reach("release")
            await self.link.until(lambda: self.link.over, self.agent.waits.response_s + 1, stoppable=False)

    async def _report_all(self) -> None:
        for turn, index in enumerate(self._order()):
            await self.link.until(lambda: False, self.plan.interval_s)
            if self.link.over or self.why or self.stop.is_set():
                return
            if turn and self.plan.fault.garbage:
                await self.link.send(b"\0" + random.Random(self.plan.seed).randbytes(63))  # noqa: S311 - noise
                await self.link.until(lambda: self.link.over, self.plan.patience_s)
                self._end("sent garbage, as the fault wants")
                return
            who = self.people[turn % len(self.people)]
            at = self._clock(index)
            now = Now.of(who, nth_moment(index), index)
            seen = [observe(metric, now, at) for metric in metrics(self.configuration)]
            for again in range(2 if self.plan.fault.twice else 1):
                several = self.plan.fault.persons > 1
                number = turn % len(self.people) + 1 if several else None
                scan = PersonScan(person=number, fixed=tuple(observation for observation, _ in seen))
                event_type = Noti.SCAN_REPORT_MP_FIXED if several else Noti.SCAN_REPORT_FIXED
                await self._report(scan, event_type, None if again else (who.id, at, [shown for _, shown in seen]))
            self.reported += self.sent == self.confirmed or not self.plan.confirmed

    async def _report(
        self, scan: PersonScan, event_type: int, said: tuple[str, datetime | None, list[Shown]] | None
    ) -> None:
        if self.link.over:
            return
        self._take(self.agent.report((scan,), self.link.now, event_type=event_type, confirmed=self.plan.confirmed))
        self.sent += 1
        data = await self.link.flush()
        if said is not None:
            self._write(data, said[0], said[1], said[2], event_type)
        self._reach("report")
        if self.plan.confirmed:
            wait_s = self.agent.waits.response_s + 1
            await self.link.until(lambda: self.confirmed == self.sent or bool(self.why), wait_s, stoppable=False)
            if self.confirmed:
                self._reach("confirmation")

    async def _serve(self) -> None:
        """Wait until the manager has fetched what is stored, and give it a moment to clear it."""
        if not await self.link.until(lambda: "transferred" in self.done, self.plan.patience_s) and not self.link.over:
            self.why = "" if self.stop.is_set() else "the manager did not fetch the stored readings"
            return
        await self.link.until(lambda: "cleared" in self.done, CLEAR_S)

    async def _fall_quiet(self) -> None:
        """A manager may have more to ask: what a cleared store holds now, or the time. It cannot once it is released."""
        end = self.link.now + self.plan.patience_s
        heard = -1
        while heard != self.link.heard and not self.why and self.link.now < end:
            heard = self.link.heard
            await self.link.until(lambda: self.link.heard != heard, self.plan.quiet_s)  # noqa: B023 - ends in this turn

    def _order(self) -> list[int]:
        order = list(range(self.plan.count))
        return order[::-1] if self.plan.fault.reversed else order

    def _entry(self, index: int) -> tuple[datetime | None, bytes, list[Shown]]:
        at = self._clock(index)
        now = Now.of(self.people[0], nth_moment(index), index)
        shown = [show(metric, now) for metric in metrics(self.configuration)]
        return at, absolute(at) + b"".join(each.data for each in shown), shown

    def _clock(self, index: int) -> datetime | None:
        """What the device's clock shows, or showed at a reading that is handed over later."""
        if self.unset:
            return None
        now = self.plan.clock() + self.offset
        # AbsoluteTime has hundredths of a second, and so has the device.
        now = now.replace(microsecond=now.microsecond // 10_000 * 10_000)
        late = self.plan.store or self.plan.fault.reversed
        return now - timedelta(minutes=self.plan.count - index) if late else now

    def _renew(self) -> None:
        """The MDS as a GET finds it: with what the clock shows now."""
        self.agent.mds = mds_attributes(
            self.plan.specialization,
            system_id=self.plan.system_id,
            config_id=self.configuration.config_id,
            model=f"Sim {self.plan.specialization.name}",
            serial=f"SIM-{self.plan.seed}",
            clock=None if self.unset else self.plan.clock() + self.offset,
        )

    # What the machine tells

    def _take(self, events: list[Happening]) -> None:
        for event in events:
            if isinstance(event, Associated):
                self._reach("association")
            elif isinstance(event, Configured):
                self.configuration = event.configuration
                if not self.link.over:
                    self.why = ""  # that another one was refused before is no failure any more
                self._reach("configuration")
                self.link.mute = self.link.mute or self.plan.fault.silent
            elif isinstance(event, ReportConfirmed):
                self.confirmed += 1
            elif isinstance(event, SegmentTransferred):
                self._transferred()
            elif isinstance(event, SegmentCleared):
                self.done.add("cleared")
            elif isinstance(event, TimeSet) and event.time is not None and event.time.known:
                set_to = datetime.fromisoformat(event.time.isoformat()).replace(tzinfo=self.plan.clock().tzinfo)
                self.unset, self.offset = False, set_to - self.plan.clock()
            else:
                self._ended(event)

    def _ended(self, event: Happening) -> None:
        if isinstance(event, Rejected):
            self._end(f"the manager rejected the association: {_word(AssociateResult, event.result)}")
        elif isinstance(event, ConfigRefused):
            self.why = f"the manager refused configuration {event.config_id:#06x}"
        elif isinstance(event, Failed):
            self.why = f"the manager refused {event.request}"
        elif isinstance(event, Aborted):
            if not event.by_peer and "association" not in self.done:
                self.status = UNAVAILABLE
            who = "the manager aborted" if event.by_peer else f"aborted, {event.why}"
            self._end(f"{who}: {_word(AbortReason, event.reason)}")
        elif isinstance(event, Released):
            # No fault if it was after the last reading, whose confirmation may have come in the same bytes.
            self.link.over, self.released = True, event.by_peer
        elif isinstance(event, Disconnected) and event.associated and "release" not in self.done:
            if "association" not in self.done:
                self.status = UNAVAILABLE
            self._end("the manager hung up")

    def _transferred(self) -> None:
        if "transferred" in self.done:
            return
        self.done.add("transferred")
        for at, entry, shown in self.held:
            self._write(entry, self.people[0].id, at, shown, Noti.SEGMENT_DATA)
        self.reported = len(self.held)

    def _reach(self, step: str) -> None:
        """A step of the story lies behind; it may be the last."""
        if self.link.over:
            return
        self.done.add(step)
        if step == self.plan.fault.cut_after:
            self.link.mute = self.link.cut = True
            self._end(f"cut the link after the {step}, as the fault wants")

    def _end(self, why: str) -> None:
        self.link.over, self.why = True, self.why or why

    def _write(self, data: bytes, who: str, at: datetime | None, shown: list[Shown], event_type: int) -> None:
        if self.measured is None:
            return
        record = Record(
            person=who,
            device=self.plan.system_id.hex(),
            label=f"{who} {self.plan.specialization.name}",
            kind=self.plan.specialization.name,
            characteristic=int(event_type),
            data=data,
            values=tuple(value for each in shown for value in each.values),
            others=tuple(other for each in shown for other in each.others),
            device_time=at,
            sent=datetime.now(UTC),
        )
        self.measured.write(record.line())
        self.measured.flush()


def _word(names: type[AssociateResult] | type[AbortReason], number: int) -> str:
    try:
        return names(number).name.lower().replace("_", "-")
    except ValueError:
        return str(number)
