"""What the hub does in a 20601 association, whatever the transport, and without any: a `Manager` and its caller in one.

Once an agent is configured its MDS is read and its scanners are enabled (the manager does both), its clock is set if it
asks for that and ours is right, reports are started where it sends none by itself, and its PM-stores are transferred
one segment at a time. Every report goes to the `Sink` with what it is understood by. A confirmed report is answered
when the sink has it; else the association is aborted, and the agent keeps what it measured.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from edge.clock import system_time
from edge.log import address_hash, event
from edge.x73.asking import CONTINUE_S, continued, first_request
from edge.x73.said import Said
from wire.evidence import AgentContext
from wire.x73.apdu import AbortReason, AssociateResult, PhdAssociation
from wire.x73.codes import MDS_HANDLE, Attr, FunctionalUnits, SegmentStatus
from wire.x73.dim import Configuration
from wire.x73.events import (
    Aborted,
    Associated,
    AttributesRead,
    ConfigRefused,
    Configured,
    DataRequested,
    Disconnected,
    Failed,
    Happening,
    Malformed,
    Rejected,
    Released,
    Reported,
    SegmentCleared,
    SegmentData,
    Segments,
    SegmentTransferred,
    StreamLost,
    TransferStarted,
    Warned,
)
from wire.x73.manager import Manager
from wire.x73.services import DataRequest, TransferResult
from wire.x73.session import SessionError, Waits
from wire.x73.states import State

SYSTEM_ID: Final = bytes.fromhex("fe53746166657400")
"""The manager's EUI-64: locally administered, the same for every hub, so that a recording tells nothing by it."""
MAX_CONFIGURATIONS: Final = 256
"""Kept; the oldest goes first, and is asked for again."""
MDS_WAIT_S: Final = 1.0
"""A report that comes before the MDS has been read waits so long for it: less than an agent waits for its answer."""
MAX_EARLY: Final = 16
"""Reports that wait for it: an agent that sends more in a second gets no more memory."""


class SinkFailed(Exception):  # noqa: N818  it has failed, and with it the listening
    """Measurements cannot be kept, or not be recorded; the cause is the `OSError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A report, and what the agent had said by then that it is understood by (the fields of `AgentReport`)."""

    system_id: bytes
    test: bool
    """Of a test association: no patient data."""
    report: Reported | SegmentData
    configuration: int | bytes
    context: tuple[AgentContext, ...]


class Sink(Protocol):
    """Where reports go."""

    def take(self, told: Told) -> bool:
        """Keep it; True if it is safe when this returns, False if the agent should keep it. OSError ends everything."""


class Configurations(Protocol):
    """The configurations that agents have told, by (system-id, config-id)."""

    def get(self, key: tuple[bytes, int], /) -> Configuration | None: ...

    def keep(self, key: tuple[bytes, int], configuration: Configuration, /) -> None:
        """Keep the newest; for each key the last."""


class InMemory(dict[tuple[bytes, int], Configuration]):
    """Configurations for the life of a process."""

    def keep(self, key: tuple[bytes, int], configuration: Configuration) -> None:
        self.pop(key, None)
        self[key] = configuration
        while len(self) > MAX_CONFIGURATIONS:
            del self[next(iter(self))]


def _anyone(association: PhdAssociation) -> AssociateResult | None:  # noqa: ARG001  nobody is refused
    return None


def _of_mds(happened: Happening) -> bool:
    return isinstance(happened, AttributesRead) and happened.handle == MDS_HANDLE


def _nobody(system_id: bytes, associated: bool) -> None:
    """Nobody looks."""


@dataclass(slots=True, kw_only=True)
class Habits:
    """What all associations of a process share."""

    sink: Sink
    local_time: Callable[[], datetime | None]
    """What an agent's clock is set to; None while ours is not right."""
    waits: Waits = field(default_factory=Waits)
    admit: Callable[[PhdAssociation], AssociateResult | None] = _anyone
    """Why an agent is refused; it says so itself in the log. None lets it in."""
    watch: Callable[[bytes, bool], None] = _nobody
    """Told of each admitted agent when its association stands, and when it is over."""
    understand: bool = True
    """Reports are decoded, and one that cannot be is aborted. Else they are evidence, whatever stands in them."""
    clear_store: bool = False
    """Clear a segment from the agent's store once all of it is in the sink."""
    remember: bool = True
    """Keep configurations; without it each association tells its own."""
    configurations: Configurations = field(default_factory=InMemory)
    mono_us: Callable[[], int] = lambda: system_time().mono_us

    def known(self, system_id: bytes, config_id: int) -> Configuration | None:
        return self.configurations.get((system_id, config_id))

    def keep(self, system_id: bytes, configuration: Configuration) -> None:
        if self.remember and not configuration.standard:
            self.configurations.keep((system_id, configuration.config_id), configuration)


class Association:
    """One transport's associations, one after the other, with an agent.

    A `patient` one is kept while nobody is associated: a cable is there all day, a connection is made to associate.
    """

    def __init__(self, habits: Habits, *, patient: bool = False) -> None:
        self._habits = habits
        self._patient = patient
        self.manager = Manager(
            SYSTEM_ID, known=habits.known, admit=habits.admit, waits=habits.waits, understand=habits.understand
        )
        self._device: str | None = None
        self._peer: PhdAssociation | None = None
        self._standing = False
        self._said = Said(habits.mono_us)
        self._early: deque[Reported | SegmentData] = deque()
        """Reports that wait for the MDS, until `_early_until`."""
        self._early_until = 0.0
        self._stores: deque[int] = deque()
        self._segments: deque[tuple[int, int]] = deque()
        self._asked: DataRequest | None = None
        self._ask_again_at: float | None = None
        self._clock_set = False
        self._heard_at = self._alone_since = 0.0
        self.over = False
        """The transport is of no more use."""

    @property
    def associated(self) -> bool:
        return self.manager.state not in (State.UNASSOCIATED, State.DISCONNECTED)

    def connected(self, now: float) -> None:
        self._heard_at = self._alone_since = now
        self._react(self.manager.connected(now), now)

    def receive(self, data: bytes, now: float) -> None:
        self._heard_at = now
        self._react(self.manager.receive(data, now), now)
        self.over = self.manager.lost

    def deadline(self) -> float | None:
        """When `expire` is to be called, if nothing is received before."""
        early = self._early_until if self._early else None
        waits = (self._own_deadline(), self.manager.deadline(), early, self._ask_again_at)
        return min((each for each in waits if each is not None), default=None)

    def _own_deadline(self) -> float | None:
        """A transport without an association is not kept, and an APDU that has begun must go on."""
        wait_s = self._habits.waits.association_s
        if not self.associated and not self._patient:
            return self._alone_since + wait_s
        return self._heard_at + wait_s if self.manager.unfinished else None

    def expire(self, now: float) -> None:
        """Time has passed."""
        if self._early and now >= self._early_until:
            self._react(self._take_early(now), now)
        if self._asked is not None and self._ask_again_at is not None and now >= self._ask_again_at:
            self._ask_again_at = now + CONTINUE_S
            if self.manager.state is State.OPERATING:
                self._react(self.manager.request_data(continued(self._asked), now), now)
        self._react(self.manager.expire(now), now)
        own = self._own_deadline()
        if own is not None and now >= own:
            if self.associated:
                reason = AbortReason.RESPONSE_TIMEOUT
                self._react(self.manager.abort(now, reason, "an APDU stopped half way"), now)
            self.over = True

    def disconnected(self, now: float) -> None:
        if self.associated:
            event("association_ended", logging.WARNING, ended="disconnected", device=self._device)
        self._react(self.manager.disconnected(now), now)

    def release(self, now: float) -> None:
        """End the association in order: the answer is still to come."""
        if self.associated:
            self._react(self.manager.release(now), now)

    def _react(self, happenings: Iterable[Happening], now: float) -> None:
        waiting = deque(happenings)
        while waiting:
            waiting += self._follow(waiting.popleft(), now)
        if self.associated:
            self._alone_since = now

    def _follow(self, happened: Happening, now: float) -> list[Happening]:
        """What one happening makes the hub do, and what happens then."""
        if isinstance(happened, Reported | SegmentData):
            return self._hear(happened, now)
        if isinstance(happened, Associated):
            self._begin(happened)
        elif isinstance(happened, Aborted | Released | Disconnected):
            self._end(now)
        # What is learnt is learnt for the reports that follow, even if the same bytes ended the association.
        learnt = isinstance(happened, Configured) or _of_mds(happened)
        if learnt or self.manager.state is State.OPERATING:
            try:
                return self._go_on(happened, now)
            except SessionError as error:
                event("request_refused", logging.WARNING, device=self._device, detail=str(error))
        self._note(happened)
        return []

    def _begin(self, associated: Associated) -> None:
        self._peer, self._device, self._standing = associated.peer, address_hash(associated.system_id), True
        self._habits.watch(associated.system_id, True)

    def _end(self, now: float) -> None:
        self._take_early(now)
        self._forget()
        if self._standing and self._peer is not None:
            self._standing = False
            self._habits.watch(self._peer.system_id, False)

    def _forget(self) -> None:
        """Forget what an association says; another one says it again."""
        self._said.forget()
        self._asked = self._ask_again_at = None
        self._stores.clear()
        self._segments.clear()
        self._clock_set = False

    # Reports

    def _hear(self, reported: Reported | SegmentData, now: float) -> list[Happening]:
        if self._said.mds is not None:
            return self._take(reported, now)
        if not self._early:
            self._early_until = now + MDS_WAIT_S
        self._early.append(reported)
        return self._take_early(now) if len(self._early) >= MAX_EARLY else []

    def _take_early(self, now: float) -> list[Happening]:
        happened: list[Happening] = []
        while self._early:
            happened += self._take(self._early.popleft(), now)
        return happened

    def _take(self, reported: Reported | SegmentData, now: float) -> list[Happening]:
        manager = self.manager
        answered = reported.confirmed and manager.state is State.OPERATING
        if reported.fault is not None:
            event("report_not_understood", logging.WARNING, device=self._device, detail=str(reported.fault))
            if self._habits.understand:
                why = f"a report that cannot be understood: {reported.fault}"
                return manager.abort(now, why=why) if answered else []
        try:
            kept = self._habits.sink.take(self._told(reported))
        except OSError as error:
            raise SinkFailed from error
        if isinstance(reported, Reported):
            self._said.reported(reported.report)
        if not answered:
            return []
        if not kept:
            return manager.abort(now, AbortReason.BUFFER_OVERFLOW, "nothing can be stored at the moment")
        happened = manager.confirm(reported, now)
        if isinstance(reported, SegmentData) and reported.descr.status & SegmentStatus.AGENT_ABORT:
            happened += self._next_segment(now)
        return happened

    def _told(self, reported: Reported | SegmentData) -> Told:
        # By what was said when the association began: the manager may be in the next one already.
        peer = self._peer
        return Told(
            system_id=peer.system_id if peer is not None else b"",
            test=peer is not None and bool(peer.functional_units & FunctionalUnits.CREATE_TEST_ASSOC),
            report=reported,
            configuration=self._said.configuration,
            context=self._said.context(reported),
        )

    # Requests

    def _go_on(self, happened: Happening, now: float) -> list[Happening]:
        manager = self.manager
        self._note(happened)
        if isinstance(happened, Configured):
            self._configured(happened)
        elif isinstance(happened, AttributesRead):
            if happened.handle == MDS_HANDLE:
                return self._mds_read(happened, now)
            self._said.store_read(happened.handle, happened.encoded)
            return manager.list_segments(happened.handle, now)
        elif isinstance(happened, Segments):
            for segment in happened.segments:
                self._said.segment_listed(happened.handle, segment)
                self._segments.append((happened.handle, segment.instance))
            return self._next_segment(now)
        elif isinstance(happened, TransferStarted):
            return self._next_segment(now) if happened.result else []
        elif isinstance(happened, SegmentTransferred):
            if self._habits.clear_store and not manager.test:
                return manager.clear(happened.handle, happened.instance, now)
            return self._next_segment(now)
        elif isinstance(happened, DataRequested) and happened.result:
            self._asked = self._ask_again_at = None
        elif isinstance(happened, Failed):
            return self._failed(happened, now)
        elif isinstance(happened, SegmentCleared):
            return self._next_segment(now)
        return []

    def _configured(self, happened: Configured) -> None:
        self._forget()
        self._said.configured(happened)
        self._habits.keep(happened.system_id, happened.configuration)
        self._stores.extend(store.handle for store in happened.configuration.stores)

    def _mds_read(self, read: AttributesRead, now: float) -> list[Happening]:
        first = self._said.mds is None
        self._said.mds_read(read.encoded)
        happened = self._take_early(now)
        manager = self.manager
        if manager.state is not State.OPERATING:
            return happened
        if first:
            happened += self._start_reports(now)
        local = self._habits.local_time() if read.wants_time and not self._clock_set else None
        if local is None:
            return happened + self._next_segment(now)
        # The MDS is read again then, and what is stored comes after that: it is dated by the clock as it is now.
        self._clock_set = True
        based = Attr.TIME_BO in read.attributes
        return happened + (manager.set_base_offset_time(local, now) if based else manager.set_time(local, now))

    def _start_reports(self, now: float) -> list[Happening]:
        configuration = self.manager.configuration
        if self._peer is None or configuration is None:
            return []
        self._asked = first_request(self._peer, configuration)
        if self._asked is None:
            return []
        self._ask_again_at = now + CONTINUE_S if self._asked.time else None
        return self.manager.request_data(self._asked, now)

    def _failed(self, failed: Failed, now: float) -> list[Happening]:
        if failed.request == "data-request":
            self._asked = self._ask_again_at = None
        if failed.request == "get-mds":
            return self._take_early(now) + self._next_segment(now)
        if failed.request == "get-pm-store":
            return self.manager.list_segments(failed.handle, now)
        if failed.handle or failed.request.startswith("set-"):
            return self._next_segment(now)
        return []

    def _next_segment(self, now: float) -> list[Happening]:
        """Stores are read and listed, and segments transferred, one at a time."""
        if self.manager.state is not State.OPERATING:
            return []
        if self._segments:
            return self.manager.transfer(*self._segments.popleft(), now)
        if self._stores:
            return self.manager.read_store(self._stores.popleft(), now)
        return []

    # What is said of it

    def _note(self, happened: Happening) -> None:
        device, warning = self._device, logging.WARNING
        if isinstance(happened, Associated):
            state = "test" if happened.test else "operating" if happened.known else "configuring"
            event("agent_associated", device=device, code=f"{happened.config_id:04x}", state=state)
        elif isinstance(happened, Configured):
            event("agent_configured", device=device, code=f"{happened.configuration.config_id:04x}")
        elif isinstance(happened, ConfigRefused):
            event("configuration_refused", warning, device=device, detail=str(happened.fault or "empty"))
        elif isinstance(happened, Malformed):
            event("report_not_understood", warning, device=device, detail=str(happened.fault))
        elif isinstance(happened, Warned):
            tolerated = happened.tolerated
            event("fault_tolerated", warning, device=device, reason=tolerated.tolerance.name.lower())
        elif isinstance(happened, Failed):
            code = happened.error if happened.error is not None else happened.problem
            detail = f"{happened.request} of {happened.handle}"
            event("request_refused", warning, device=device, detail=detail, code=code)
        elif isinstance(happened, DataRequested) and happened.result:
            event("request_refused", warning, device=device, detail="data-request of 0", code=happened.result)
        elif isinstance(happened, TransferStarted) and happened.result not in (0, TransferResult.FAIL_SEGMENT_EMPTY):
            detail = f"segment {happened.instance} of {happened.handle}"
            event("request_refused", warning, device=device, detail=detail, code=happened.result)
        elif isinstance(happened, Rejected) and happened.result != AssociateResult.REJECTED_UNAUTHORIZED:
            event("agent_rejected", warning, code=happened.result)
        elif isinstance(happened, Released):
            event("association_ended", ended="released", device=device, code=happened.reason)
        elif isinstance(happened, Aborted):
            ended = "aborted by the agent" if happened.by_peer else "aborted"
            event("association_ended", warning, ended=ended, device=device, code=happened.reason, detail=happened.why)
        elif isinstance(happened, StreamLost):
            event("stream_lost", warning, device=device, detail=str(happened.fault))
