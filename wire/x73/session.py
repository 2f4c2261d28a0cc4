"""What manager and agent have in common: bytes, states, requests and waits. No I/O and no clock; `now` is an argument.

Theory of operation. `receive` frames the stream, decodes each APDU, names the table's event for it and hands it to
`_fire`, which takes the row, changes the state and does what the row says. Requests wait in a queue and are sent one
at a time, because many agents handle only one; each has a deadline, and a missed deadline is the table's `ind_timeout`.
What is to be sent is collected and fetched with `to_send`. Nothing else changes a state.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from wire.errors import DecodeError, WireError
from wire.x73.apdu import (
    Aare,
    Aarq,
    AbortReason,
    Abrt,
    Apdu,
    Error,
    ErrorValue,
    EventReportResult,
    Message,
    Prst,
    Reject,
    RejectProblem,
    ReleaseReason,
    Rlre,
    Rlrq,
    Rose,
    decode_apdu,
    encode_apdu,
)
from wire.x73.events import Aborted, Connected, Disconnected, Failed, Happening, Released, StreamLost, Warned
from wire.x73.framing import Framer
from wire.x73.mder import Tolerated
from wire.x73.states import Do, Event, Role, State, transition

MAX_QUEUED: Final = 64
"""Requests or reports that wait for their turn. A caller that has more has lost count of its answers."""


class SessionError(WireError):
    """The caller asked for what the state of the association does not allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long each side waits, in seconds (20601 8.7, 8.9).

    As in signove/antidote (manager and agent; the configuration's ten seconds also measured): three seconds for every
    confirmed request, ten for a configuration and for an AARE, three more requests after the first.
    """

    config_s: float = 10.0
    response_s: float = 3.0
    association_s: float = 10.0
    association_retries: int = 3


@dataclass(slots=True, kw_only=True)
class Request:
    """A confirmed request: waiting for its turn, then for its answer."""

    name: str
    rose: Rose
    message: Message
    answered: Callable[[Message, float], None] | None
    wait_s: float
    invoke_id: int = 0


_ROSE_EVENTS: Final[Mapping[Rose, Event]] = {
    Rose.ROIV_EVENT_REPORT: Event.RX_EVENT_REPORT,
    Rose.ROIV_CONFIRMED_EVENT_REPORT: Event.RX_CONFIRMED_EVENT_REPORT,
    Rose.ROIV_GET: Event.RX_GET,
    Rose.ROIV_SET: Event.RX_SET,
    Rose.ROIV_CONFIRMED_SET: Event.RX_CONFIRMED_SET,
    Rose.ROIV_ACTION: Event.RX_ACTION,
    Rose.ROIV_CONFIRMED_ACTION: Event.RX_CONFIRMED_ACTION,
    Rose.RORS_CONFIRMED_EVENT_REPORT: Event.RX_EVENT_RESULT,
    Rose.RORS_GET: Event.RX_GET_RESULT,
    Rose.RORS_CONFIRMED_SET: Event.RX_SET_RESULT,
    Rose.RORS_CONFIRMED_ACTION: Event.RX_ACTION_RESULT,
    Rose.ROER: Event.RX_ROER,
    Rose.RORJ: Event.RX_RORJ,
}
_ANSWERS: Final[Mapping[Rose, Rose]] = {
    Rose.ROIV_CONFIRMED_EVENT_REPORT: Rose.RORS_CONFIRMED_EVENT_REPORT,
    Rose.ROIV_GET: Rose.RORS_GET,
    Rose.ROIV_CONFIRMED_SET: Rose.RORS_CONFIRMED_SET,
    Rose.ROIV_CONFIRMED_ACTION: Rose.RORS_CONFIRMED_ACTION,
}
_ENDED: Final = frozenset({State.UNASSOCIATED, State.DISCONNECTED})


class Session:
    """One transport's association, seen from one side."""

    role: ClassVar[Role]

    def __init__(self, waits: Waits, first_invoke_id: int) -> None:
        self.state = State.DISCONNECTED
        self.waits = waits
        self.lost = False
        """The stream is beyond repair; the transport should be closed."""
        self._framer = Framer()
        self._out = bytearray()
        self._events: list[Happening] = []
        self._next_invoke_id = first_invoke_id
        self._queue: deque[Request] = deque()
        self._pending: Request | None = None
        self._deadline: float | None = None
        self._abort_reason = AbortReason.UNDEFINED
        self._why = ""
        self._raw = b""
        self._doers: dict[Do, Callable[[Apdu | None, float], None]] = {
            Do.NOTHING: self._nothing,
            Do.CONNECT: self._connect,
            Do.DISCONNECT: self._nothing,
            Do.ABORT: self._send_abort,
            Do.ABORTED: self._note_abort,
            Do.RELEASE: self._send_release,
            Do.RELEASED: self._note_release,
            Do.ANSWER_RELEASE: self._answer_release,
            Do.CROSS_RELEASE: self._cross_release,
            Do.ERROR: self._error,
            Do.RESPONSE: self._response,
        }

    # The public face

    def connected(self, now: float) -> list[Happening]:
        """The transport is there."""
        self._framer = Framer()
        self._out.clear()
        self.lost = False
        self._fire(Event.TRANSPORT_CONNECTION, now)
        return self._happened()

    def disconnected(self, now: float) -> list[Happening]:
        """The transport is gone: that is disassociation, too."""
        if self.state is State.DISCONNECTED:
            return []
        associated = self.state is not State.UNASSOCIATED
        self._fire(Event.TRANSPORT_DISCONNECT, now)
        self._out.clear()
        self._tell(Disconnected(associated=associated))
        return self._happened()

    def receive(self, data: bytes, now: float) -> list[Happening]:
        """Bytes from the peer, in any portions."""
        if self.state is State.DISCONNECTED:
            raise SessionError("bytes received without a transport")
        apdus, fault = self._framer.feed(data)
        for apdu in apdus:
            self._take(apdu, now)
        if fault is not None and not self.lost:
            self.lost = True
            reason = AbortReason.BUFFER_OVERFLOW if fault.overflow else AbortReason.UNDEFINED
            self._break(reason, str(fault), now)
            self._tell(StreamLost(fault=fault))
        return self._happened()

    def to_send(self) -> bytes:
        """What is to be sent now; each byte is handed out once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    @property
    def unfinished(self) -> bool:
        """An APDU has begun and its end has not come."""
        return self._framer.pending > 0

    def deadline(self) -> float | None:
        """When `expire` is to be called, if nothing happens before."""
        return self._deadline

    def expire(self, now: float) -> list[Happening]:
        """Time has passed; harmless if the deadline has not come."""
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._expired(now)
        return self._happened()

    def release(self, now: float) -> list[Happening]:
        """End the association in order."""
        self._need_transport()
        self._fire(Event.REQ_ASSOC_REL, now)
        return self._happened()

    def abort(self, now: float, reason: AbortReason = AbortReason.UNDEFINED, why: str = "requested") -> list[Happening]:
        """End the association at once."""
        self._need_transport()
        self._abort_reason, self._why = reason, why
        self._fire(Event.REQ_ASSOC_ABORT, now)
        return self._happened()

    # Receiving

    def _take(self, raw: bytes, now: float) -> None:
        tolerated: list[Tolerated] = []
        try:
            apdu = decode_apdu(raw, tolerated)
        except DecodeError as error:
            self._break(AbortReason.UNDEFINED, str(error), now)
            return
        self._raw = raw
        self._abort_reason = AbortReason.UNDEFINED
        for each in tolerated:
            self._tell(Warned(tolerated=each))
        try:
            event = self._event_of(apdu)
        except DecodeError as error:
            self._break(AbortReason.UNDEFINED, str(error), now)
            return
        self._why = f"{event.value} in state {self.state.value}"
        self._fire(event, now, apdu)

    def _event_of(self, apdu: Apdu) -> Event:
        """The table's name for an APDU."""
        if isinstance(apdu, Prst):
            return self._event_of_prst(apdu)
        if isinstance(apdu, Aarq):
            return self._event_of_aarq(apdu)
        if isinstance(apdu, Aare):
            return self._event_of_aare(apdu)
        return {Rlrq: Event.RX_RLRQ, Rlre: Event.RX_RLRE, Abrt: Event.RX_ABRT}[type(apdu)]

    def _event_of_prst(self, apdu: Prst) -> Event:
        return _ROSE_EVENTS[apdu.rose]

    def _event_of_aarq(self, apdu: Aarq) -> Event:  # noqa: ARG002 - each role knows its own
        return Event.RX_AARQ_UNACCEPTABLE

    def _event_of_aare(self, apdu: Aare) -> Event:  # noqa: ARG002 - each role knows its own
        return Event.RX_AARE_REJECTED

    # The table

    def _fire(self, event: Event, now: float, apdu: Apdu | None = None) -> None:
        row = transition(self.role, self.state, event)
        if row is None:
            raise SessionError(f"{event.value} is not possible in state {self.state.value}")
        self.state = row.next
        if row.next in _ENDED:
            self._end()
        self._doers[row.do](apdu, now)

    def _end(self) -> None:
        """Forget everything that belongs to the association."""
        self._queue.clear()
        self._pending = None
        self._deadline = None

    def _break(self, reason: AbortReason, why: str, now: float) -> None:
        """The peer sent what nobody can follow: abort, whatever the state, and never silently."""
        self._abort_reason, self._why = reason, why
        if self.state is State.UNASSOCIATED:
            self._send_abort(None, now)
        else:
            self._fire(Event.REQ_ASSOC_ABORT, now)

    def _nothing(self, apdu: Apdu | None, now: float) -> None:
        """The row only changes the state."""

    def _connect(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        self._tell(Connected())

    def _send_abort(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        reason, self._abort_reason = self._abort_reason, AbortReason.UNDEFINED
        self._send(Abrt(reason=int(reason)))
        self._tell(Aborted(by_peer=False, reason=int(reason), why=self._why))

    def _note_abort(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        self._tell(Aborted(by_peer=True, reason=apdu.reason if isinstance(apdu, Abrt) else 0))

    def _send_release(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        self._release_with(ReleaseReason.NORMAL, now)

    def _release_with(self, reason: ReleaseReason, now: float) -> None:
        self._queue.clear()
        self._pending = None
        self._send(Rlrq(reason=int(reason)))
        self._deadline = now + self.waits.response_s

    def _note_release(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        self._tell(Released(by_peer=False))

    def _answer_release(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        self._send(Rlre())
        self._tell(Released(by_peer=True, reason=apdu.reason if isinstance(apdu, Rlrq) else 0))

    def _cross_release(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        self._send(Rlre())

    def _error(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        if isinstance(apdu, Prst):
            self._refuse(apdu, ErrorValue.NO_SUCH_OBJECT_INSTANCE)

    # Requests and answers

    def _request(
        self,
        name: str,
        rose: Rose,
        message: Message,
        now: float,
        *,
        answered: Callable[[Message, float], None] | None = None,
        wait_s: float | None = None,
    ) -> Request:
        """Queue a request; it is sent when those before it are answered."""
        if len(self._queue) >= MAX_QUEUED:
            raise SessionError(f"{MAX_QUEUED} requests wait already")
        wait = self.waits.response_s if wait_s is None else wait_s
        request = Request(name=name, rose=rose, message=message, answered=answered, wait_s=wait)
        request.invoke_id = self._next_invoke_id
        self._next_invoke_id = (self._next_invoke_id + 1) & 0xFFFF
        self._queue.append(request)
        self._send_next(now)
        return request

    def _send_next(self, now: float) -> None:
        while self._pending is None and self._queue:
            request = self._queue.popleft()
            self._send(Prst(invoke_id=request.invoke_id, rose=request.rose, message=request.message))
            if request.rose in _ANSWERS:
                self._pending = request
                self._deadline = now + request.wait_s

    def _response(self, apdu: Apdu | None, now: float) -> None:
        """Match a response to its request; what of one that nobody asked for is for each role to say."""
        pending = self._pending
        if not isinstance(apdu, Prst):
            return
        right = pending is not None and (apdu.rose in (Rose.ROER, Rose.RORJ) or apdu.rose is _ANSWERS.get(pending.rose))
        if pending is None or not right or not self._numbered(pending, apdu):
            self._unasked(apdu, now)
            return
        self._pending = None
        message = apdu.message
        if isinstance(message, Error):
            self._failed(pending, error=message.error)
        elif isinstance(message, Reject):
            self._failed(pending, problem=message.problem)
        elif pending.answered is not None:
            try:
                pending.answered(message, now)
            except DecodeError as error:
                self._break(AbortReason.UNDEFINED, f"the answer to {pending.name}: {error}", now)
                return
        self._rest(now)

    def _numbered(self, pending: Request, apdu: Prst) -> bool:
        """Whether an answer of the right kind belongs to the request that is under way."""
        return pending.invoke_id == apdu.invoke_id

    def _rest(self, now: float) -> None:
        """Nothing is awaited: send what waits, or fall back to the deadline of the state itself."""
        if self._pending is None:
            self._deadline = self._idle_deadline()
            self._send_next(now)

    def _idle_deadline(self) -> float | None:
        """The deadline of the state itself, when no request is under way."""
        return None

    def _unasked(self, apdu: Prst, now: float) -> None:
        message = apdu.message
        if isinstance(message, Error):
            self._tell(Failed(request="unknown", handle=0, error=message.error))
        elif isinstance(message, Reject):
            self._tell(Failed(request="unknown", handle=0, problem=message.problem))
        else:
            self._break(AbortReason.UNDEFINED, f"an answer {apdu.rose.name} that nobody asked for", now)

    def _failed(self, request: Request, *, error: int | None = None, problem: int | None = None) -> None:
        handle = 0 if isinstance(request.message, (Error, Reject)) else request.message.handle
        self._tell(Failed(request=request.name, handle=handle, error=error, problem=problem))

    def _answer(self, asked: Prst, rose: Rose, message: Message) -> None:
        self._send(Prst(invoke_id=asked.invoke_id, rose=rose, message=message))

    def _refuse(self, asked: Prst, error: ErrorValue, parameter: bytes = b"") -> None:
        """roer, if the peer waits for an answer."""
        if asked.rose in _ANSWERS:
            self._answer(asked, Rose.ROER, Error(error=int(error), parameter=parameter))

    def _reject(self, asked: Prst, problem: RejectProblem) -> None:
        """rorj, if the peer waits for an answer."""
        if asked.rose in _ANSWERS:
            self._answer(asked, Rose.RORJ, Reject(problem=int(problem)))

    def _confirm_event(self, invoke_id: int, handle: int, event_type: int, info: bytes = b"") -> None:
        result = EventReportResult(handle=handle, event_type=event_type, info=info)
        self._send(Prst(invoke_id=invoke_id, rose=Rose.RORS_CONFIRMED_EVENT_REPORT, message=result))

    # Waits

    def _expired(self, now: float) -> None:
        """A deadline was missed: what was awaited decides the reason, the table the rest."""
        self._abort_reason, self._why = self._timeout_reason()
        self._fire(Event.TIMEOUT, now)

    def _timeout_reason(self) -> tuple[AbortReason, str]:
        what = f"answer to {self._pending.name}" if self._pending is not None else "RLRE"
        return AbortReason.RESPONSE_TIMEOUT, f"no {what} in time"

    # Plumbing

    def _need_transport(self) -> None:
        if self.state is State.DISCONNECTED:
            raise SessionError("no transport")

    def _send(self, apdu: Apdu) -> None:
        self._out += encode_apdu(apdu)

    def _tell(self, event: Happening) -> None:
        self._events.append(event)

    def _happened(self) -> list[Happening]:
        events, self._events = self._events, []
        return events
