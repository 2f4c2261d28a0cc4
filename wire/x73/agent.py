"""The agent's side of an association (ISO/IEEE 11073-20601 clause 8), sans I/O: strict in what it sends.

It offers its configurations in order. A manager may not know even a standard one (LibreSoft's never does) and asks for
it; then the report is sent like an extended one. When all are refused it releases with `no-more-configurations`.
Confirmed reports go out one at a time: the next one when the manager has answered.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from wire.errors import DecodeError
from wire.x73.apdu import (
    PROTOCOL_20601,
    SYSTEM_TYPE_AGENT,
    Aare,
    Aarq,
    AbortReason,
    Act,
    ActResult,
    Apdu,
    AssociateResult,
    Attribute,
    DataProto,
    ErrorValue,
    EventReport,
    EventReportResult,
    Get,
    GetResult,
    Message,
    PhdAssociation,
    Prst,
    RejectProblem,
    ReleaseReason,
    Rose,
    Set,
    SetResult,
)
from wire.x73.codes import (
    AGENT_INITIATED,
    MDS_HANDLE,
    NO_RELATIVE_TIME,
    Action,
    Attr,
    DataReqMode,
    FunctionalUnits,
    Noti,
    SegmentStatus,
)
from wire.x73.dim import SCANNERS, Configuration, read_all
from wire.x73.events import (
    Associated,
    ConfigRefused,
    Configured,
    DataRequested,
    Happening,
    Rejected,
    ReportConfirmed,
    ScannerSwitched,
    SegmentCleared,
    SegmentTransferred,
    TimeSet,
)
from wire.x73.mder import U16
from wire.x73.mds import identity
from wire.x73.reports import ConfigReportResult, ConfigResult, PersonScan, ScanReport, decode_info, encode_report
from wire.x73.services import (
    DataReqResult,
    DataRequest,
    DataResponse,
    InstanceList,
    SegmentDataDescr,
    SegmentDataEvent,
    SegmentInfoList,
    SegmentSelection,
    Selection,
    SetBoTime,
    SetTime,
    TransferRequest,
    TransferResponse,
    TransferResult,
)
from wire.x73.session import Session, SessionError, Waits
from wire.x73.states import Do, Event, Role, State
from wire.x73.store import Store
from wire.x73.times import decode_absolute, decode_base_offset

_PROTO_INFO_AT: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProfile:
    """What an agent is: its identity, its configurations in the order of preference, and its MDS."""

    system_id: bytes
    configurations: tuple[Configuration, ...]
    mds: tuple[Attribute, ...] = ()
    data_req_mode_flags: int = 0x0001
    data_req_init_agent_count: int = 1
    data_req_init_manager_count: int = 0
    test: bool = False
    """Ask for a test association."""
    event_time: int = NO_RELATIVE_TIME
    first_invoke_id: int = 0


class Agent(Session):
    """One association with one manager."""

    role: ClassVar[Role] = Role.AGENT

    def __init__(self, profile: AgentProfile, *, stores: tuple[Store, ...] = (), waits: Waits | None = None) -> None:
        super().__init__(waits or Waits(), first_invoke_id=profile.first_invoke_id)
        self.profile = profile
        self.mds = profile.mds or identity(profile.system_id, profile.configurations[0].config_id)
        """What a GET returns; the caller may renew it (the clock) at any time."""
        self.stores = {store.handle: store for store in stores}
        self.enabled: set[int] = set()
        """The scanners that the manager has enabled."""
        self.snapshot: ScanReport | None = None
        """What a manager-initiated request for one response is answered with, under the request's number."""
        self._offered = 0
        self._tries = 0
        self._config_under_way = False
        self._numbers: dict[int, int] = {}
        self._doers |= {
            Do.REQUEST: self._request_association,
            Do.REJECT_PERMANENT: self._reject_association,
            Do.ACCEPTED: self._accepted,
            Do.REJECTED: self._rejected,
            Do.SEND_CONFIG: self._send_config,
            Do.CONFIG_REFUSED: self._config_refused,
            Do.SERVE_GET: self._serve_get,
            Do.SERVE: self._serve,
            Do.SEND: self._nothing,
        }

    @property
    def configuration(self) -> Configuration:
        """The configuration that is offered now."""
        return self.profile.configurations[self._offered]

    # What the caller asks for

    def connected(self, now: float) -> list[Happening]:
        """The transport is there; the agent associates at once."""
        events = super().connected(now)
        return events + self.associate(now)

    def associate(self, now: float) -> list[Happening]:
        """Send the association request (again, after the association before it has ended)."""
        self._need_transport()
        self._tries = 0
        self._fire(Event.REQ_ASSOC, now)
        return self._happened()

    def report(
        self,
        scans: tuple[PersonScan, ...],
        now: float,
        *,
        event_type: int = Noti.SCAN_REPORT_FIXED,
        handle: int = MDS_HANDLE,
        data_req_id: int = AGENT_INITIATED,
        confirmed: bool = True,
    ) -> list[Happening]:
        """Send a scan report, from the MDS or from an enabled scanner."""
        if self.state is not State.OPERATING:
            raise SessionError(f"no reports in state {self.state.value}")
        if handle != MDS_HANDLE and handle not in self.enabled:
            raise SessionError(f"scanner {handle} is not enabled")
        number = self._numbers.get(handle, 0)
        info = encode_report(
            ScanReport(event_type=event_type, handle=handle, data_req_id=data_req_id, number=number, scans=scans)
        )
        self._numbers[handle] = (number + 1) & 0xFFFF
        self._fire(Event.REQ_SEND_EVENT, now)
        self._event_report("event-report", handle, event_type, info, now, confirmed=confirmed)
        return self._happened()

    @property
    def idle(self) -> bool:
        """Nothing is queued or awaited: everything sent has been answered."""
        return self._pending is None and not self._queue

    def _event_report(
        self,
        name: str,
        handle: int,
        event_type: int,
        info: bytes,
        now: float,
        *,
        confirmed: bool = True,
        answered: Callable[[Message, float], None] | None = None,
        wait_s: float | None = None,
    ) -> None:
        message = EventReport(handle=handle, event_time=self.profile.event_time, event_type=event_type, info=info)
        rose = Rose.ROIV_CONFIRMED_EVENT_REPORT if confirmed else Rose.ROIV_EVENT_REPORT
        request = self._request(name, rose, message, now, wait_s=wait_s, answered=None)
        request.answered = answered or (lambda _message, _now: self._tell(ReportConfirmed(invoke_id=request.invoke_id)))

    # Association

    def _request_association(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        self._tries += 1
        profile = self.profile
        offer = PhdAssociation(
            functional_units=int(FunctionalUnits.CREATE_TEST_ASSOC) if profile.test else 0,
            system_type=SYSTEM_TYPE_AGENT,
            system_id=profile.system_id,
            config_id=self.configuration.config_id,
            data_req_mode_flags=profile.data_req_mode_flags,
            data_req_init_agent_count=profile.data_req_init_agent_count,
            data_req_init_manager_count=profile.data_req_init_manager_count,
        )
        self._send(Aarq(protocols=(DataProto(id=PROTOCOL_20601, info=offer.encode()),)))
        self._deadline = now + self.waits.association_s

    def _expired(self, now: float) -> None:
        if self.state is State.ASSOCIATING and self._tries <= self.waits.association_retries:
            self._request_association(None, now)
            return
        super()._expired(now)

    def _timeout_reason(self) -> tuple[AbortReason, str]:
        if self.state is State.ASSOCIATING:
            return AbortReason.RESPONSE_TIMEOUT, f"no AARE after {self._tries} requests"
        if self.state in (State.WAITING_APPROVAL, State.CONFIG_SENDING):
            return AbortReason.CONFIGURATION_TIMEOUT, "no answer to the configuration in time"
        return super()._timeout_reason()

    def _event_of_aare(self, apdu: Aare) -> Event:
        if apdu.result == AssociateResult.ACCEPTED:
            return Event.RX_AARE_KNOWN
        if apdu.result == AssociateResult.ACCEPTED_UNKNOWN_CONFIG:
            return Event.RX_AARE_UNKNOWN
        return Event.RX_AARE_REJECTED

    def _accepted(self, apdu: Apdu | None, now: float) -> None:
        """AARE accepted, or the manager's acceptance of a configuration."""
        if isinstance(apdu, Aare):
            try:
                peer = PhdAssociation.decode(apdu.protocol.info, offset=_PROTO_INFO_AT)
            except DecodeError as error:
                self._break(AbortReason.UNDEFINED, str(error), now)
                return
            self._deadline = None
            self._numbers.clear()
            known = self.state is State.OPERATING
            test = bool(peer.functional_units & FunctionalUnits.CREATE_TEST_ASSOC)
            self._tell(Associated(peer=peer, known=known, test=test))
            if not known:
                self._fire(Event.REQ_SEND_CONFIG, now)
                return
        else:
            self._pending = None
            self._config_under_way = False
            self._rest(now)
        self._tell(
            Configured(
                system_id=self.profile.system_id,
                configuration=self.configuration,
                reported=apdu is not None and not isinstance(apdu, Aare),
            )
        )

    def _rejected(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        self._tell(Rejected(result=apdu.result if isinstance(apdu, Aare) else 0, by_peer=True))

    def _reject_association(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        self._send(Aare(result=int(AssociateResult.REJECTED_PERMANENT), protocol=DataProto(id=0, info=b"")))
        self._tell(Rejected(result=int(AssociateResult.REJECTED_PERMANENT), by_peer=False))

    def _end(self) -> None:
        super()._end()
        self._config_under_way = False
        self._offered = 0
        self.enabled.clear()

    # Configuration

    def _send_config(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        if self._config_under_way:
            return
        self._config_under_way = True
        info = self.configuration.encode()
        self._event_report("configuration", MDS_HANDLE, Noti.CONFIG, info, now, wait_s=self.waits.config_s)

    def _config_refused(self, apdu: Apdu | None, now: float) -> None:
        self._pending = None
        self._config_under_way = False
        reply = _config_reply(apdu)
        self._tell(ConfigRefused(config_id=self.configuration.config_id, result=reply.result if reply else 0))
        if self._offered + 1 < len(self.profile.configurations):
            self._offered += 1
            self._fire(Event.REQ_SEND_CONFIG, now)
            return
        self.state = State.DISASSOCIATING
        self._release_with(ReleaseReason.NO_MORE_CONFIGURATIONS, now)

    def _event_of_prst(self, apdu: Prst) -> Event:
        event = super()._event_of_prst(apdu)
        if event is not Event.RX_EVENT_RESULT or self.state is not State.WAITING_APPROVAL:
            return event
        if self._pending is None or self._pending.invoke_id != apdu.invoke_id:
            return event
        reply = _config_reply(apdu)
        if reply is None:
            return event
        return Event.RX_CONFIG_KNOWN if reply.result == ConfigResult.ACCEPTED else Event.RX_CONFIG_UNKNOWN

    # Serving

    def _error(self, apdu: Apdu | None, now: float) -> None:
        super()._error(apdu, now)
        self._resume_config(now)

    def _resume_config(self, now: float) -> None:
        """Rows 5.22 and 5.23 fall back to sending; the configuration that is under way stays so."""
        if self.state is State.CONFIG_SENDING:
            self._fire(Event.REQ_SEND_CONFIG, now)

    def _serve_get(self, apdu: Apdu | None, now: float) -> None:
        if isinstance(apdu, Prst) and isinstance(apdu.message, Get):
            asked = apdu.message
            attributes = self._attributes(asked.handle)
            if attributes is None:
                self._refuse(apdu, ErrorValue.NO_SUCH_OBJECT_INSTANCE)
            else:
                wanted = asked.attributes
                chosen = tuple(each for each in attributes if not wanted or each.id in wanted)
                self._answer(apdu, Rose.RORS_GET, GetResult(handle=asked.handle, attributes=chosen))
        self._resume_config(now)

    def _attributes(self, handle: int) -> tuple[Attribute, ...] | None:
        if handle == MDS_HANDLE:
            # After a refusal another configuration is offered than the one that the caller wrote the MDS for.
            config = Attribute(id=int(Attr.DEV_CONFIG_ID), value=self.configuration.config_id.to_bytes(2, "big"))
            return tuple(config if each.id == Attr.DEV_CONFIG_ID else each for each in self.mds)
        if self.state is not State.OPERATING or handle not in self.stores:
            return None
        declared = self.configuration.by_handle.get(handle)
        return self.stores[handle].described({} if declared is None else declared.attributes)

    def _serve(self, apdu: Apdu | None, now: float) -> None:
        if not isinstance(apdu, Prst):
            return
        try:
            if isinstance(apdu.message, Set):
                self._serve_set(apdu, apdu.message)
            elif isinstance(apdu.message, Act):
                self._serve_action(apdu, apdu.message, now)
        except DecodeError:
            self._reject(apdu, RejectProblem.BADLY_STRUCTURED_APDU)

    def _serve_set(self, apdu: Prst, asked: Set) -> None:
        declared = self.configuration.by_handle.get(asked.handle)
        if declared is None:
            self._refuse(apdu, ErrorValue.NO_SUCH_OBJECT_INSTANCE)
            return
        if declared.object_class not in SCANNERS:
            self._refuse(apdu, ErrorValue.INVALID_OBJECT_INSTANCE)
            return
        for modification in asked.modifications:
            if modification.attribute.id != Attr.OP_STAT or modification.operator != 0:
                self._refuse(apdu, ErrorValue.NOT_ALLOWED_BY_OBJECT)
                return
        for modification in asked.modifications:
            enabled = read_all(U16, modification.attribute.value, Attr.OP_STAT) == 1
            (self.enabled.add if enabled else self.enabled.discard)(asked.handle)
            self._tell(ScannerSwitched(handle=asked.handle, enabled=enabled))
        if apdu.rose is Rose.ROIV_CONFIRMED_SET:
            attributes = tuple(modification.attribute for modification in asked.modifications)
            self._answer(apdu, Rose.RORS_CONFIRMED_SET, SetResult(handle=asked.handle, attributes=attributes))

    def _serve_action(self, apdu: Prst, asked: Act, now: float) -> None:
        serve: Mapping[int, Callable[[Prst, Act, float], bytes | None]] = (
            {
                Action.SET_TIME: self._set_time,
                Action.SET_BO_TIME: self._set_time,
                Action.DATA_REQUEST: self._data_request,
            }
            if asked.handle == MDS_HANDLE
            else {
                Action.SEG_GET_INFO: self._segment_info,
                Action.SEG_TRIG_XFER: self._transfer,
                Action.SEG_CLR: self._clear,
            }
        )
        if asked.handle != MDS_HANDLE and asked.handle not in self.stores:
            self._refuse(apdu, ErrorValue.NO_SUCH_OBJECT_INSTANCE)
            return
        act = serve.get(asked.action_type)
        if act is None:
            self._refuse(apdu, ErrorValue.NO_SUCH_ACTION)
            return
        answer = act(apdu, asked, now)
        if answer is not None and apdu.rose is Rose.ROIV_CONFIRMED_ACTION:
            result = ActResult(handle=asked.handle, action_type=asked.action_type, args=answer)
            self._answer(apdu, Rose.RORS_CONFIRMED_ACTION, result)
        if asked.action_type == Action.SEG_TRIG_XFER and answer is not None:
            self._send_segment(asked.handle, TransferResponse.decode(answer), now)

    def _set_time(self, apdu: Prst, asked: Act, now: float) -> bytes:  # noqa: ARG002 - all actions look alike
        if asked.action_type == Action.SET_TIME:
            time = decode_absolute(SetTime.decode(asked.args).time)
        else:
            time = decode_base_offset(SetBoTime.decode(asked.args).time)
        self._tell(TimeSet(time=time))
        return b""

    def _data_request(self, apdu: Prst, asked: Act, now: float) -> bytes:  # noqa: ARG002 - all actions look alike
        request = decode_info(DataRequest, asked.args)
        event_type, info, result = 0, b"", DataReqResult.NO_ERROR
        if not self.profile.data_req_init_manager_count:
            result = DataReqResult.INIT_MANAGER_OVERFLOW
        elif request.mode & DataReqMode.MODE_SINGLE_RSP and self.snapshot is not None:
            event_type = self.snapshot.event_type
            info = encode_report(replace(self.snapshot, data_req_id=request.data_req_id))
        if result is DataReqResult.NO_ERROR:
            self._tell(DataRequested(request=request))
        return DataResponse(
            rel_time_stamp=self.profile.event_time, result=int(result), event_type=event_type, info=info
        ).encode()

    # PM-store

    def _selected(self, store: Store, args: bytes) -> list[int]:
        selection = SegmentSelection.decode(args)
        if selection.choice == Selection.ALL_SEGMENTS:
            return sorted(store.segments)
        if selection.choice == Selection.SEGM_ID_LIST:
            wanted = InstanceList.decode(selection.value).instances
            return [instance for instance in wanted if instance in store.segments]
        raise DecodeError(f"selection {selection.choice} is not supported", 0)

    def _segment_info(self, apdu: Prst, asked: Act, now: float) -> bytes:  # noqa: ARG002 - all actions look alike
        store = self.stores[asked.handle]
        infos = tuple(store.segments[each].info() for each in self._selected(store, asked.args))
        return SegmentInfoList(segments=infos).encode()

    def _transfer(self, apdu: Prst, asked: Act, now: float) -> bytes:  # noqa: ARG002 - all actions look alike
        instance = TransferRequest.decode(asked.args).instance
        segment = self.stores[asked.handle].segments.get(instance)
        if segment is None:
            result = TransferResult.FAIL_NO_SUCH_SEGMENT
        elif not segment.entries:
            result = TransferResult.FAIL_SEGMENT_EMPTY
        else:
            result = TransferResult.SUCCESSFUL
        return TransferResponse(instance=instance, result=int(result)).encode()

    def _send_segment(self, handle: int, started: TransferResponse, now: float) -> None:
        if started.result == TransferResult.SUCCESSFUL:
            portions = list(self.stores[handle].segments[started.instance].portions())
            self._send_portion(handle, portions, now)

    def _send_portion(self, handle: int, portions: list[SegmentDataEvent], now: float) -> None:
        """One portion at a time: the next when the manager has confirmed that this one is durable."""
        portion = portions[0]

        def answered(message: Message, now: float) -> None:
            if not isinstance(message, EventReportResult):
                return
            descr = SegmentDataDescr.decode(message.info)
            if not descr.status & SegmentStatus.MANAGER_CONFIRM or descr.status & SegmentStatus.MANAGER_ABORT:
                return
            if len(portions) > 1:
                self._send_portion(handle, portions[1:], now)
            else:
                self._tell(SegmentTransferred(handle=handle, instance=descr.instance))

        self._event_report("segment-data", handle, Noti.SEGMENT_DATA, portion.encode(), now, answered=answered)

    def _clear(self, apdu: Prst, asked: Act, now: float) -> bytes:  # noqa: ARG002 - all actions look alike
        store = self.stores[asked.handle]
        for instance in self._selected(store, asked.args):
            del store.segments[instance]
            self._tell(SegmentCleared(handle=asked.handle, instance=instance))
        return b""


def _config_reply(apdu: Apdu | None) -> ConfigReportResult | None:
    """The manager's answer to a configuration report, if this is one."""
    if not isinstance(apdu, Prst) or not isinstance(apdu.message, EventReportResult):
        return None
    if apdu.message.event_type != Noti.CONFIG:
        return None
    try:
        return ConfigReportResult.decode(apdu.message.info)
    except DecodeError:
        return None
