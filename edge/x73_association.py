"""What the hub does in a 20601 association, whatever the transport, and without any: a `Manager` and its caller in one.

Configurations are kept by (system-id, config-id). Once an agent is configured its MDS is read and its scanners are
enabled (the manager does both), its clock is set if it asks for that, and its PM-stores are transferred one segment at
a time. A confirmed report is answered when the `Sink` has taken its measurements. A confirmed report that cannot be
understood is not answered: the association is aborted, and the agent keeps what it measured.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from edge.log import address_hash, event
from wire.measurement import Measurement
from wire.x73.apdu import AbortReason
from wire.x73.codes import Attr
from wire.x73.dim import Configuration
from wire.x73.events import (
    Aborted,
    Associated,
    AttributesRead,
    ConfigRefused,
    Configured,
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
from wire.x73.session import SessionError, Waits
from wire.x73.states import State

SYSTEM_ID: Final = bytes.fromhex("fe53746166657400")
"""The manager's EUI-64: locally administered, the same for every bench, so that a recording tells nothing by it."""
MAX_CONFIGURATIONS: Final = 256
"""Kept in the life of a process; the oldest goes first, and is asked for again."""


class SinkFailed(Exception):  # noqa: N818  it has failed, and with it the listening
    """Measurements cannot be kept, or not be recorded; the cause is the `OSError`."""


class Sink(Protocol):
    """Where measurements go."""

    def take(self, measurements: tuple[Measurement, ...]) -> None:
        """Keep them; when this returns they are safe. OSError if they cannot be kept."""


@dataclass(slots=True, kw_only=True)
class Habits:
    """What all associations of a process share."""

    sink: Sink
    local_time: Callable[[], datetime]
    waits: Waits = field(default_factory=Waits)
    clear_store: bool = False
    """Clear a segment from the agent's store once all of it is in the sink."""
    remember: bool = True
    """Keep configurations; without it each association tells its own."""
    configurations: dict[tuple[bytes, int], Configuration] = field(default_factory=dict)

    def known(self, system_id: bytes, config_id: int) -> Configuration | None:
        return self.configurations.get((system_id, config_id))

    def keep(self, system_id: bytes, configuration: Configuration) -> None:
        if self.remember and not configuration.standard:
            self.configurations.pop((system_id, configuration.config_id), None)
            self.configurations[system_id, configuration.config_id] = configuration
            while len(self.configurations) > MAX_CONFIGURATIONS:
                del self.configurations[next(iter(self.configurations))]


class Association:
    """One transport's associations, one after the other, with an agent."""

    def __init__(self, habits: Habits) -> None:
        self._habits = habits
        self.manager = Manager(SYSTEM_ID, known=habits.known, waits=habits.waits)
        self._device: str | None = None
        self._stores: deque[int] = deque()
        self._segments: deque[tuple[int, int]] = deque()
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
        own = self._own_deadline()
        of_manager = self.manager.deadline()
        return own if of_manager is None else of_manager if own is None else min(own, of_manager)

    def _own_deadline(self) -> float | None:
        """A transport without an association is not kept, and an APDU that has begun must go on."""
        wait_s = self._habits.waits.association_s
        if not self.associated:
            return self._alone_since + wait_s
        return self._heard_at + wait_s if self.manager.unfinished else None

    def expire(self, now: float) -> None:
        """Time has passed."""
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
        self.manager.disconnected(now)

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
            return self._take(happened, now)
        if self.manager.state is State.OPERATING:
            try:
                return self._go_on(happened, now)
            except SessionError as error:
                event("request_refused", logging.WARNING, device=self._device, detail=str(error))
        self._note(happened)
        return []

    def _take(self, reported: Reported | SegmentData, now: float) -> list[Happening]:
        if reported.fault is not None:
            event("report_not_understood", logging.WARNING, device=self._device, detail=str(reported.fault))
            if reported.confirmed and self.manager.state is State.OPERATING:
                return self.manager.abort(now, why=f"a report that cannot be understood: {reported.fault}")
            return []
        measurements = reported.measurements + reported.test_measurements
        if measurements:
            try:
                self._habits.sink.take(measurements)
            except OSError as error:
                raise SinkFailed from error
        return self.manager.confirm(reported, now) if reported.confirmed else []

    def _go_on(self, happened: Happening, now: float) -> list[Happening]:
        manager = self.manager
        self._note(happened)
        if isinstance(happened, Configured):
            self._habits.keep(happened.system_id, happened.configuration)
            self._stores = deque(store.handle for store in happened.configuration.stores)
            self._segments.clear()
            self._clock_set = False
        elif isinstance(happened, AttributesRead):
            if happened.handle == 0 and happened.wants_time and not self._clock_set:
                self._clock_set = True
                local = self._habits.local_time()
                based = Attr.TIME_BO in happened.attributes
                return manager.set_base_offset_time(local, now) if based else manager.set_time(local, now)
            return self._next_segment(now)
        elif isinstance(happened, Segments):
            self._segments += ((happened.handle, segment.instance) for segment in happened.segments)
            return self._next_segment(now)
        elif isinstance(happened, TransferStarted):
            return self._next_segment(now) if happened.result else []
        elif isinstance(happened, SegmentTransferred):
            if self._habits.clear_store:
                return manager.clear(happened.handle, happened.instance, now)
            return self._next_segment(now)
        elif isinstance(happened, SegmentCleared) or (isinstance(happened, Failed) and happened.handle):
            return self._next_segment(now)
        return []

    def _next_segment(self, now: float) -> list[Happening]:
        """Stores are listed, and segments transferred, one at a time."""
        if self._segments:
            return self.manager.transfer(*self._segments.popleft(), now)
        if self._stores:
            return self.manager.list_segments(self._stores.popleft(), now)
        return []

    def _note(self, happened: Happening) -> None:
        device = self._device
        if isinstance(happened, Associated):
            self._device = address_hash(happened.system_id)
            state = "test" if happened.test else "operating" if happened.known else "configuring"
            event("agent_associated", device=self._device, code=f"{happened.config_id:04x}", state=state)
        elif isinstance(happened, Configured):
            event("agent_configured", device=device, code=f"{happened.configuration.config_id:04x}")
        elif isinstance(happened, ConfigRefused):
            event("configuration_refused", logging.WARNING, device=device, detail=str(happened.fault or "empty"))
        elif isinstance(happened, Malformed):
            event("report_not_understood", logging.WARNING, device=device, detail=str(happened.fault))
        elif isinstance(happened, Warned):
            tolerated = happened.tolerated
            event("fault_tolerated", logging.WARNING, device=device, reason=tolerated.tolerance.name.lower())
        elif isinstance(happened, Failed):
            event(
                "request_refused",
                logging.WARNING,
                device=device,
                detail=f"{happened.request} of {happened.handle}",
                code=happened.error if happened.error is not None else happened.problem,
            )
        elif isinstance(happened, Rejected):
            event("agent_rejected", logging.WARNING, code=happened.result)
        elif isinstance(happened, Released):
            event("association_ended", ended="released", device=device, code=happened.reason)
        elif isinstance(happened, Aborted):
            ended = "aborted by the agent" if happened.by_peer else "aborted"
            level = logging.WARNING
            event("association_ended", level, ended=ended, device=device, code=happened.reason, detail=happened.why)
        elif isinstance(happened, StreamLost):
            event("stream_lost", logging.WARNING, device=device, detail=str(happened.fault))
