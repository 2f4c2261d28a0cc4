"""IEEE 11073-20601 agents, on all transports: each of their reports is evidence in the outbox before it is confirmed.

1. Only listed agents are let in, by their system-id; another one is refused (rejected-unauthorized) and logged once.
2. A report is stored as it came, whatever stands in it, with what it is understood by: the bridge decodes it, and keeps
   what it cannot decode in quarantine. So a report is confirmed when it is durable, and not when it makes sense here.
3. If the outbox takes nothing, no report is confirmed: the association is aborted, and agents are turned away for a
   while (rejected-transient). They keep what they have.
4. A test association is served, and nothing of it is stored.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.clock import citizens_time
from edge.collects import DeviceState, age_s
from edge.intake import Intake
from edge.log import address_hash, event
from edge.outbox import OutboxError
from edge.x73.association import Habits, Told
from edge.x73.known import KnownConfigurations
from edge.x73.pump import Associations
from edge.x73.segments import Memory, Portions
from wire.errors import EnvelopeError
from wire.evidence import AgentReport, Clock, ClockState, Device
from wire.reading import encode_reading
from wire.x73.apdu import AssociateResult, PhdAssociation
from wire.x73.events import SegmentData
from wire.x73.session import Waits

if TYPE_CHECKING:
    from edge.config import Agents

REFUSED_S: Final = 30.0
"""An outbox that took nothing is not tried again for so long: each try costs an agent an association."""
BEAT_S: Final = 5.0
RETRY_FROM_S: Final = 1.0
RETRY_TO_S: Final = 30.0
MAX_STRANGERS: Final = 1000
"""Unlisted agents remembered, so that each is logged once; the first of these if there are more."""
_SEGMENT_DATA: Final = "0d21"


@dataclass(slots=True, kw_only=True)
class _Listed:
    """A listed agent, and how it went since the start."""

    system_id: bytes
    label: str
    associations: int = 0
    """That stand now."""
    sessions: int = 0
    readings: int = 0
    seen_at: float | None = None
    read_at: float | None = None

    @property
    def hash(self) -> str:
        return address_hash(self.system_id)

    def state(self, now: float) -> DeviceState:
        return DeviceState(
            device=self.hash,
            label=self.label,
            connected=self.associations > 0,
            readings=self.readings,
            sessions=self.sessions,
            seen_s=age_s(self.seen_at, now),
            read_s=age_s(self.read_at, now),
        )


class AgentCollector:
    """`edge.collects.Collects` of all 20601 agents."""

    def __init__(
        self,
        *,
        agents: Iterable[tuple[bytes, str]],
        ways: "Agents",
        ports: Sequence[str],
        intake: Intake,
        now: Callable[[], Clock],
        known: Path,
        memory: Memory | None = None,
        waits: Waits | None = None,
    ) -> None:
        """`agents` are system-ids and labels, `ports` serial ports; `known` is the file of configurations.

        `memory` remembers which stored portions the outbox has had; without it they are taken each time.
        """
        self._agents = {system_id: _Listed(system_id=system_id, label=label) for system_id, label in agents}
        self._ways = ways
        self._ports = ports
        self._intake = intake
        self._now = now
        self._portions = None if memory is None else Portions(memory)
        self._refused_at: float | None = None
        self._strangers: set[bytes] = set()
        self.progress = 0
        self.habits = Habits(
            sink=self,
            local_time=self._local_time,
            waits=waits or Waits(),
            admit=self._admit,
            watch=self._watch,
            understand=False,
            clear_store=ways.clear_store,
            configurations=KnownConfigurations(known, self._agents.keys()),
            mono_us=lambda: now().mono_us,
        )

    def states(self) -> tuple[DeviceState, ...]:
        now = asyncio.get_running_loop().time()
        return tuple(listed.state(now) for listed in self._agents.values())

    async def run(self) -> None:
        associations = Associations(self.habits)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(), name="agents")
                for name, transport in self._transports(associations):
                    group.create_task(transport, name=name)
        finally:
            await associations.close()

    def _transports(self, associations: Associations) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
        """What is configured; each is imported for who has it."""
        if self._ways.tcp is not None:
            yield "agents over TCP", _listening(associations, *self._ways.tcp)
        if self._ports:
            from edge.x73.serial import serve  # noqa: PLC0415  as said

            for port in self._ports:
                yield f"agents at {port}", serve(associations, port)
        if self._ways.usb:
            from edge.x73 import usb as x73_usb  # noqa: PLC0415  as said

            yield "agents over USB", x73_usb.serve(associations)
        if self._ways.hdp:
            from edge.x73 import hdp as x73_hdp  # noqa: PLC0415  as said

            yield "agents over HDP", x73_hdp.serve(associations)

    async def _beat(self) -> None:
        while True:
            self.progress += 1
            await asyncio.sleep(BEAT_S)

    # What associations ask and tell

    def take(self, told: Told) -> bool:
        """Commit a report; whether it may be confirmed (`edge.x73.association.Sink`)."""
        listed = self._agents[told.system_id]
        report = told.report
        kind = _SEGMENT_DATA if isinstance(report, SegmentData) else f"{report.report.event_type:04x}"
        if told.test:
            event("test_report_ignored", logging.WARNING, device=listed.hash, code=kind, bytes=len(report.apdu))
            return True
        if self._is_known(told):
            event("portion_known", device=listed.hash, code=kind, bytes=len(report.apdu))
            return True
        try:
            encoded = encode_reading(
                AgentReport(
                    device=Device(address=told.system_id),
                    received=self._now(),
                    configuration=told.configuration,
                    apdu=report.apdu,
                    context=told.context,
                )
            )
        except EnvelopeError as error:
            event("report_not_stored", logging.ERROR, device=listed.hash, bytes=len(report.apdu), detail=str(error))
            return False
        # What is confirmed must be on disk; what is not, nobody has but us.
        put = None if self._portions is None else self._portions.put(told)
        seq = self._intake.take(encoded, hold=not report.confirmed, put=put)
        now = asyncio.get_running_loop().time()
        listed.seen_at = now
        if seq is None:
            self._refused_at = now
            return False
        listed.readings += 1
        listed.read_at = now
        event("reading_stored", device=listed.hash, code=kind, bytes=len(report.apdu), seq=seq)
        return True

    def _is_known(self, told: Told) -> bool:
        with contextlib.suppress(OutboxError):  # the outbox says so itself when it is to take something
            return self._portions is not None and self._portions.known(told)
        return False

    def _admit(self, peer: PhdAssociation) -> AssociateResult | None:
        if peer.system_id not in self._agents:
            if peer.system_id not in self._strangers and len(self._strangers) < MAX_STRANGERS:
                self._strangers.add(peer.system_id)
                event("agent_not_listed", logging.WARNING, device=address_hash(peer.system_id))
            return AssociateResult.REJECTED_UNAUTHORIZED
        now = asyncio.get_running_loop().time()
        if self._refused_at is not None and now - self._refused_at < REFUSED_S:
            return AssociateResult.REJECTED_TRANSIENT
        return None

    def _watch(self, system_id: bytes, associated: bool) -> None:
        listed = self._agents[system_id]
        listed.seen_at = asyncio.get_running_loop().time()
        listed.associations += 1 if associated else -1
        listed.sessions += associated
        if associated and self._portions is not None:
            self._portions.forget(system_id)

    def _local_time(self) -> datetime | None:
        clock = self._now()
        if clock.state is not ClockState.SYNCHRONISED:
            return None
        return citizens_time(clock)


async def _listening(associations: Associations, host: str, port: int) -> None:
    """TCP, for ever; an address that cannot be had is tried again."""
    from edge.x73.tcp import listen  # noqa: PLC0415  only where agents come over TCP

    delay_s = RETRY_FROM_S
    while True:
        try:
            server = await listen(associations, host, port)
        except OSError as error:
            event("listen_failed", logging.ERROR, detail=error.strerror or str(error), delay_s=delay_s)
        else:
            event("listening", at=f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            # Not serve_forever: from Python 3.12 on its end waits for connections, which end after it.
            with contextlib.closing(server):
                await associations.ended.wait()
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, RETRY_TO_S)
