"""What a manager asks of an agent: GET, SET, ACTION and their answers (ISO/IEEE 11073-20601 clause 7).

The half of `Manager` that its caller drives; the half that the agent drives is in `manager`. Requests wait in a queue
and are sent one at a time. The rule about segments stands here: `clear` is refused until every entry is confirmed.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import ClassVar, Final

from wire.errors import DecodeError
from wire.x73.apdu import (
    INVOKE_ID_AT,
    Act,
    ActResult,
    Attribute,
    Error,
    Get,
    GetResult,
    Message,
    Modification,
    PhdAssociation,
    Prst,
    Reject,
    Rose,
    Set,
    SetResult,
)
from wire.x73.codes import MDS_HANDLE, Action, Attr, FunctionalUnits
from wire.x73.dim import ATTRIBUTES, Configuration, encoded, read_all
from wire.x73.events import (
    AttributesRead,
    DataRequested,
    Happening,
    Reported,
    ScannerSwitched,
    SegmentCleared,
    Segments,
    TimeSet,
    TransferStarted,
    Warned,
    by_id,
)
from wire.x73.mder import U32, Tolerance, Tolerated
from wire.x73.reports import (
    REPORT_KINDS,
    ScanReport,
    decode_report,
)
from wire.x73.services import (
    DataRequest,
    DataResponse,
    SegmentInfoList,
    SegmentSelection,
    SetBoTime,
    SetTime,
    TransferRequest,
    TransferResponse,
    TransferResult,
)
from wire.x73.session import Request, Session, SessionError, Waits
from wire.x73.states import Role, State
from wire.x73.times import RELATIVE_TICK_US, encode_absolute, encode_base_offset
from wire.x73.understanding import Understanding

MAX_STORE_WAIT_S: Final = 300.0
"""However long a PM-store says that it needs: a citizen's evening is not endless."""


class Requester(Session):
    """The requests of a manager in the operating state."""

    role: ClassVar[Role] = Role.MANAGER

    def __init__(self, waits: Waits, *, understand: bool = True) -> None:
        super().__init__(waits, first_invoke_id=0)
        self._understand = understand
        self.peer: PhdAssociation | None = None
        self.mds: Mapping[int, bytes] = {}
        self._understanding = Understanding(decode=understand)
        self._durable: dict[tuple[int, int], int] = {}
        """How many entries of a segment, from its first, are confirmed without a gap."""
        self._complete: set[tuple[int, int]] = set()
        self._transfers: dict[tuple[int, int], float] = {}
        """Until when the next data of a segment must come."""

    @property
    def configuration(self) -> Configuration | None:
        """The configuration that was agreed last."""
        return self._understanding.configuration

    @property
    def test(self) -> bool:
        """Whether this is a test association."""
        return self.peer is not None and bool(self.peer.functional_units & FunctionalUnits.CREATE_TEST_ASSOC)

    def read_mds(self, now: float) -> list[Happening]:
        """GET all attributes of the MDS."""
        return self._get(MDS_HANDLE, now)

    def read_store(self, handle: int, now: float) -> list[Happening]:
        """GET all attributes of a PM-store."""
        return self._get(handle, now)

    def list_segments(self, handle: int, now: float) -> list[Happening]:
        """Ask a PM-store what its segments hold."""
        return self._act("get-segment-info", handle, Action.SEG_GET_INFO, SegmentSelection.every().encode(), now)

    def transfer(self, handle: int, instance: int, now: float) -> list[Happening]:
        """Ask for the data of a segment; they come as `SegmentData`."""
        wait_s = self._transfer_wait(handle, instance)
        self._complete.discard((handle, instance))
        self._durable.pop((handle, instance), None)
        args = TransferRequest(instance=instance).encode()
        return self._act("trigger-segment-data-xfer", handle, Action.SEG_TRIG_XFER, args, now, wait_s=wait_s)

    def clear(self, handle: int, instance: int, now: float) -> list[Happening]:
        """Clear a segment that was transferred and confirmed to its last entry; SessionError for any other."""
        if (handle, instance) not in self._complete:
            raise SessionError(f"segment {instance} of store {handle} is not durable yet")
        wait_s = self._store_wait(handle, Attr.CLEAR_TIMEOUT)
        args = SegmentSelection.of(instance).encode()

        def cleared(message: Message, now: float) -> None:  # noqa: ARG001 - an answer has no more to say
            self._complete.discard((handle, instance))
            self._tell(SegmentCleared(handle=handle, instance=instance))

        return self._act("clear-segments", handle, Action.SEG_CLR, args, now, wait_s=wait_s, answered=cleared)

    def set_time(self, local: datetime, now: float) -> list[Happening]:
        """Set the agent's absolute clock to this local time."""
        args = SetTime(time=encode_absolute(local)).encode()
        return self._act("set-time", MDS_HANDLE, Action.SET_TIME, args, now, answered=self._time_was_set)

    def set_base_offset_time(self, time: datetime, now: float) -> list[Happening]:
        """Set the agent's base-offset clock to this aware time."""
        args = SetBoTime(time=encode_base_offset(time)).encode()
        return self._act("set-base-offset-time", MDS_HANDLE, Action.SET_BO_TIME, args, now, answered=self._time_was_set)

    def request_data(self, request: DataRequest, now: float) -> list[Happening]:
        """Start or stop manager-initiated reports."""
        return self._act("data-request", MDS_HANDLE, Action.DATA_REQUEST, request.encode(), now)

    def switch_scanner(self, handle: int, now: float, *, enabled: bool = True) -> list[Happening]:
        """SET a scanner's operational state."""
        self._need_operating()
        self._switch(handle, now, enabled=enabled)
        return self._happened()

    def _switch(self, handle: int, now: float, *, enabled: bool) -> None:
        state = Attribute(id=Attr.OP_STAT, value=int(enabled).to_bytes(2, "big"))
        message = Set(handle=handle, modifications=(Modification(attribute=state),))
        self._request("set-scanner", Rose.ROIV_CONFIRMED_SET, message, now, answered=self._was_set)

    def _get(self, handle: int, now: float) -> list[Happening]:
        self._need_operating()
        self._ask(handle, now)
        return self._happened()

    def _ask(self, handle: int, now: float) -> None:
        name = "get-mds" if handle == MDS_HANDLE else "get-pm-store"
        self._request(name, Rose.ROIV_GET, Get(handle=handle), now, answered=self._was_read)

    def _act(
        self,
        name: str,
        handle: int,
        action: Action,
        args: bytes,
        now: float,
        *,
        wait_s: float | None = None,
        answered: Callable[[Message, float], None] | None = None,
    ) -> list[Happening]:
        self._need_operating()
        message = Act(handle=handle, action_type=int(action), args=args)
        self._request(
            name, Rose.ROIV_CONFIRMED_ACTION, message, now, answered=answered or self._was_done, wait_s=wait_s
        )
        return self._happened()

    def _need_operating(self) -> None:
        if self.state is not State.OPERATING:
            raise SessionError(f"not possible in state {self.state.value}")

    def _transfer_wait(self, handle: int, instance: int) -> float | None:
        """A segment says in its listing how long its transfer may take; some agents say it of the store instead."""
        listed = self._understanding.listed(handle, instance)
        raw = None if listed is None else by_id(listed.attributes).get(Attr.TRANSFER_TIMEOUT)
        return self._store_wait(handle, Attr.TRANSFER_TIMEOUT) if raw is None else self._stated_wait(raw)

    def _store_wait(self, handle: int, attribute: Attr) -> float | None:
        """A PM-store says itself how long its clearing may take."""
        store = None if self.configuration is None else self.configuration.by_handle.get(handle)
        return self._stated_wait(None if store is None else store.attributes.get(attribute))

    def _stated_wait(self, raw: bytes | None) -> float | None:
        if raw is None:
            return None
        try:
            stated_s = read_all(U32, raw, Attr.TRANSFER_TIMEOUT) * RELATIVE_TICK_US / 1_000_000
            return min(max(stated_s, self.waits.response_s), MAX_STORE_WAIT_S)
        except DecodeError:
            return None

    # Answers

    def _numbered(self, pending: Request, apdu: Prst) -> bool:
        """One request is under way at a time: what answers its kind and its object is its answer under any number."""
        if super()._numbered(pending, apdu):
            return True
        asked, answer = pending.message, apdu.message
        if isinstance(asked, Error | Reject) or isinstance(answer, Error | Reject) or asked.handle != answer.handle:
            return False
        if isinstance(asked, Act) and isinstance(answer, ActResult) and asked.action_type != answer.action_type:
            return False
        self._let_pass_number(f"the answer to {pending.name} has another invoke-id")
        return True

    def _unasked(self, apdu: Prst, now: float) -> None:
        """Ignored: rows 6.26 and 8.26 keep the state, and the agent's reports mean what they meant before."""
        if isinstance(apdu.message, Error | Reject):
            super()._unasked(apdu, now)
        else:
            self._let_pass_number(f"an answer {apdu.rose.name} that nobody asked for")

    def _let_pass_number(self, detail: str) -> None:
        tolerated = Tolerated(tolerance=Tolerance.INVOKE_ID, offset=INVOKE_ID_AT, detail=detail)
        self._tell(Warned(tolerated=tolerated))

    def _was_read(self, message: Message, now: float) -> None:  # noqa: ARG002 - answers come with a time
        if not isinstance(message, GetResult):
            return
        attributes = by_id(message.attributes)
        if message.handle == MDS_HANDLE:
            self.mds = attributes
            self._understanding.read_mds(attributes)
        encoded_list = encoded(ATTRIBUTES, message.attributes)
        self._tell(AttributesRead(handle=message.handle, attributes=attributes, encoded=encoded_list))

    def _was_set(self, message: Message, now: float) -> None:  # noqa: ARG002 - answers come with a time
        if isinstance(message, SetResult):
            raw = by_id(message.attributes).get(Attr.OP_STAT, b"")
            self._tell(ScannerSwitched(handle=message.handle, enabled=raw == b"\x00\x01"))

    def _time_was_set(self, message: Message, now: float) -> None:
        self._tell(TimeSet())
        if isinstance(message, ActResult) and self.state is State.OPERATING:
            # Relative times are understood beside the absolute clock, which has just changed.
            self._ask(MDS_HANDLE, now)

    def _was_done(self, message: Message, now: float) -> None:
        if not isinstance(message, ActResult):
            return
        if message.action_type == Action.SEG_GET_INFO:
            segments = SegmentInfoList.decode(message.args).segments
            self._understanding.list_segments(message.handle, segments)
            self._tell(Segments(handle=message.handle, segments=segments))
        elif message.action_type == Action.SEG_TRIG_XFER:
            answer = TransferResponse.decode(message.args)
            if answer.result == TransferResult.FAIL_SEGMENT_EMPTY:
                self._complete.add((message.handle, answer.instance))
            elif answer.result == TransferResult.SUCCESSFUL and (message.handle, answer.instance) not in self._complete:
                self._expect_data(message.handle, answer.instance, now)
            self._tell(TransferStarted(handle=message.handle, instance=answer.instance, result=answer.result))
        elif message.action_type == Action.DATA_REQUEST:
            response = DataResponse.decode(message.args)
            self._tell(DataRequested(result=response.result))
            if response.event_type in REPORT_KINDS and response.info:
                self._snapshot(response)

    def _expect_data(self, handle: int, instance: int, now: float) -> None:
        """The next entries of a segment must come in the store's own time."""
        wait_s = self._transfer_wait(handle, instance)
        self._transfers[handle, instance] = now + (self.waits.response_s if wait_s is None else wait_s)

    def _snapshot(self, response: DataResponse) -> None:
        """A single response carries its report in the answer; there is nothing to confirm."""
        tolerated: list[Tolerated] = []
        scan, fault = self._read_report(response.event_type, MDS_HANDLE, response.info, tolerated, 0)
        self._tell_report(scan, fault, tolerated, confirmed=False, invoke_id=0)

    def _read_report(
        self, event_type: int, handle: int, info: bytes, tolerated: list[Tolerated], offset: int
    ) -> tuple[ScanReport, DecodeError | None]:
        """A scan report; where only evidence is wanted also one with nothing in it, and why. Else DecodeError."""
        try:
            return decode_report(event_type, handle, info, tolerated, offset), None
        except DecodeError as error:
            if self._understand:
                raise
            return ScanReport(event_type=event_type, handle=handle, data_req_id=0, number=0, scans=()), error

    def _tell_report(
        self,
        scan: ScanReport,
        fault: DecodeError | None,
        tolerated: list[Tolerated],
        *,
        confirmed: bool,
        invoke_id: int,
    ) -> Reported:
        understood = self._understanding.report(scan)
        for each in tolerated + self._understanding.warnings():
            self._tell(Warned(tolerated=each))
        event = Reported(
            apdu=self._raw,
            report=scan,
            confirmed=confirmed,
            invoke_id=invoke_id,
            measurements=understood.measurements,
            test_measurements=understood.test_measurements,
            fault=fault or understood.fault,
        )
        self._tell(event)
        return event
