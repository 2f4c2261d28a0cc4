"""The manager's side of an association (ISO/IEEE 11073-20601 clause 8), sans I/O.

Rules of this file.
1. A confirmed report is answered only when the caller says that its bytes are durable (`confirm`). The agent then
   forgets it. The same holds for segment data, and a segment is cleared only after its last entry was confirmed.
2. A configuration is known if it is one of the standard's, or if the caller's `known` has it; else it is asked for.
3. What was let pass is told (`Warned`); what cannot be followed is aborted, with the standard's reason.
4. Test associations and test data never come out as `measurements`.

What is deliberately absent: time (an argument), storage (the caller's), and any judgement on a value.
"""

from collections.abc import Callable, Mapping
from typing import Final

from wire.errors import DecodeError
from wire.x73.apdu import (
    EVENT_INFO_AT,
    PROTOCOL_20601,
    PROTOCOL_EMPTY,
    PROTOCOL_VERSIONS,
    SYSTEM_TYPE_AGENT,
    SYSTEM_TYPE_MANAGER,
    VERSION1,
    Aare,
    Aarq,
    AbortReason,
    Apdu,
    AssociateResult,
    DataProto,
    EncodingRules,
    ErrorValue,
    EventReport,
    PhdAssociation,
    Prst,
    RejectProblem,
    Rose,
    association_of,
)
from wire.x73.codes import MDS_HANDLE, FunctionalUnits, Noti, SegmentStatus
from wire.x73.dim import LAST_EXTENDED, Configuration
from wire.x73.events import (
    Associated,
    ConfigRefused,
    Configured,
    Happening,
    Malformed,
    Rejected,
    Reported,
    SegmentData,
    SegmentTransferred,
    Warned,
)
from wire.x73.mder import Tolerance, Tolerated
from wire.x73.reports import (
    REPORT_KINDS,
    ConfigReport,
    ConfigReportResult,
    ConfigResult,
    decode_info,
)
from wire.x73.requests import Requester
from wire.x73.services import (
    SegmentDataDescr,
    SegmentDataEvent,
)
from wire.x73.session import Waits
from wire.x73.specializations import STANDARD
from wire.x73.states import Do, Event, State

SYSTEM_ID_BYTES: Final = 8
"""An EUI-64."""
MAX_UNCONFIRMED: Final = 64
"""Confirmed reports that may wait for the caller's disk; an agent has one under way."""
MAX_CONFIGS: Final = 16
"""Configurations that an agent may offer in one association before we stop listening."""

Known = Callable[[bytes, int], Configuration | None]
Admit = Callable[[PhdAssociation], AssociateResult | None]


def _unknown(system_id: bytes, config_id: int) -> Configuration | None:  # noqa: ARG001 - a cache that is empty
    return None


def _anyone(association: PhdAssociation) -> AssociateResult | None:  # noqa: ARG001 - nobody is refused
    return None


class Manager(Requester):
    """One association with one agent.

    `known` is the caller's cache of configurations by (system-id, config-id); `admit` may refuse an agent (None
    admits it), which is where only the citizen's own devices are let in. With `understand` False reports have no
    measurements, and one whose inside is wrong is told like any other, with its `fault`: its bytes are evidence.
    """

    def __init__(
        self,
        system_id: bytes,
        *,
        known: Known = _unknown,
        admit: Admit = _anyone,
        standard: Mapping[int, Configuration] = STANDARD,
        enable_scanners: bool = True,
        waits: Waits | None = None,
        understand: bool = True,
    ) -> None:
        super().__init__(waits or Waits(), understand=understand)
        self.system_id = system_id
        self._known = known
        self._admit = admit
        self._standard = standard
        self._enable_scanners = enable_scanners
        self._verdict: tuple[AssociateResult, Configuration | None] = (AssociateResult.REJECTED_UNKNOWN, None)
        self._config_deadline: float | None = None
        self._configs_seen = 0
        self._unconfirmed: dict[int, Reported | SegmentData] = {}
        self._reply = ConfigResult.ACCEPTED
        self._doers |= {
            Do.DISCONNECT: self._nothing,
            Do.ACCEPT: self._accept,
            Do.ACCEPT_UNKNOWN: self._accept,
            Do.REJECT: self._refuse_association,
            Do.CHECK_CONFIG: self._check_config,
            Do.REPLY_CONFIG: self._reply_config,
            Do.REPORT: self._report,
        }

    # What the caller asks for

    def confirm(self, event: Reported | SegmentData, now: float) -> list[Happening]:
        """The event's bytes are durable: tell the agent. Nothing happens if the association is over."""
        if self.state is not State.OPERATING or self._unconfirmed.get(event.invoke_id) is not event:
            return []
        del self._unconfirmed[event.invoke_id]
        if isinstance(event, Reported):
            self._confirm_event(event.invoke_id, event.report.handle, event.report.event_type)
            return self._happened()
        descr = event.descr
        result = SegmentDataDescr(
            instance=descr.instance,
            entry_index=descr.entry_index,
            entry_count=descr.entry_count,
            status=descr.status | SegmentStatus.MANAGER_CONFIRM,
        )
        self._confirm_event(event.invoke_id, event.handle, Noti.SEGMENT_DATA, result.encode())
        key = event.handle, descr.instance
        if descr.entry_index == self._durable.get(key, 0):
            self._durable[key] = descr.entry_index + descr.entry_count
            if descr.status & SegmentStatus.LAST_ENTRY:
                self._complete.add(key)
                self._tell(SegmentTransferred(handle=event.handle, instance=descr.instance))
        if descr.status & (SegmentStatus.LAST_ENTRY | SegmentStatus.AGENT_ABORT):
            # Agents send data ahead of the answer to the trigger, which made them expected.
            self._transfers.pop(key, None)
        else:
            self._expect_data(event.handle, descr.instance, now)
        self._rest(now)
        return self._happened()

    # Association

    def _event_of_aarq(self, apdu: Aarq) -> Event:
        if self.state is not State.UNASSOCIATED:
            return Event.RX_AARQ_UNACCEPTABLE
        peer = association_of(apdu) if apdu.assoc_version & VERSION1 else None
        result = self._judge(apdu, peer)
        self.peer = peer
        if peer is None or result is not None:
            self._verdict = (result or AssociateResult.REJECTED_UNKNOWN, None)
            return Event.RX_AARQ_UNACCEPTABLE
        configuration = self._standard.get(peer.config_id) or self._known(peer.system_id, peer.config_id)
        self._verdict = (
            AssociateResult.ACCEPTED if configuration else AssociateResult.ACCEPTED_UNKNOWN_CONFIG,
            configuration,
        )
        return Event.RX_AARQ_KNOWN if configuration else Event.RX_AARQ_UNKNOWN

    def _judge(self, aarq: Aarq, peer: PhdAssociation | None) -> AssociateResult | None:
        """The reason to refuse an agent, in the order of 8.7.3.2; None to take it."""
        if not aarq.assoc_version & VERSION1:
            return AssociateResult.REJECTED_UNSUPPORTED_ASSOC_VERSION
        if peer is None:
            return AssociateResult.REJECTED_NO_COMMON_PROTOCOL
        common = (
            any(peer.protocol_version & each for each in PROTOCOL_VERSIONS)
            and peer.encoding_rules & EncodingRules.MDER
            and peer.nomenclature_version & VERSION1
        )
        if not common:
            return AssociateResult.REJECTED_NO_COMMON_PARAMETER
        well_formed = (
            peer.system_type & SYSTEM_TYPE_AGENT
            and len(peer.system_id) == SYSTEM_ID_BYTES
            and 0 < peer.config_id <= LAST_EXTENDED
        )
        if not well_formed:
            return AssociateResult.REJECTED_PERMANENT
        return self._admit(peer)

    def _accept(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        peer = self.peer
        if peer is None:
            return
        result, configuration = self._verdict
        answer = PhdAssociation(
            # One version: the first that the agent has, too.
            protocol_version=next(each for each in PROTOCOL_VERSIONS if peer.protocol_version & each),
            functional_units=peer.functional_units & FunctionalUnits.CREATE_TEST_ASSOC,
            system_type=SYSTEM_TYPE_MANAGER,
            system_id=self.system_id,
            config_id=0,
        )
        self._send(Aare(result=int(result), protocol=DataProto(id=PROTOCOL_20601, info=answer.encode())))
        self._configs_seen = 0
        self._tell(Associated(peer=peer, known=configuration is not None, test=self.test))
        if configuration is None:
            self._config_deadline = self._deadline = now + self.waits.config_s
        else:
            self._operate(configuration, now, reported=False)

    def _refuse_association(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        result, _ = self._verdict
        peer, self.peer = self.peer, None
        self._send(Aare(result=int(result), protocol=DataProto(id=PROTOCOL_EMPTY, info=b"")))
        self._tell(Rejected(result=int(result), by_peer=False, peer=peer))

    def _operate(self, configuration: Configuration, now: float, *, reported: bool) -> None:
        self._understanding.configure(configuration, test=self.test)
        self.mds = {}
        self._config_deadline = None
        system_id = self.peer.system_id if self.peer is not None else b""
        self._tell(Configured(system_id=system_id, configuration=configuration, reported=reported))
        if self._pending is None and not self._queue:
            self._deadline = None
        self._ask(MDS_HANDLE, now)
        if self._enable_scanners:
            for scanner in configuration.scanners:
                self._switch(scanner.handle, now, enabled=True)

    def _end(self) -> None:
        super()._end()
        self._config_deadline = None
        self._understanding.end()
        self._unconfirmed.clear()
        self._durable.clear()
        self._complete.clear()
        self._transfers.clear()

    def _idle_deadline(self) -> float | None:
        if self._config_deadline is not None:
            return self._config_deadline
        return min(self._transfers.values(), default=None)

    def _timeout_reason(self) -> tuple[AbortReason, str]:
        if self.state in (State.WAITING_FOR_CONFIG, State.CHECKING_CONFIG) and self._pending is None:
            return AbortReason.CONFIGURATION_TIMEOUT, f"no configuration within {self.waits.config_s:g} s"
        if self._pending is None and self._transfers:
            return AbortReason.RESPONSE_TIMEOUT, "a segment's data stopped"
        return super()._timeout_reason()

    # Configuration

    def _check_config(self, apdu: Apdu | None, now: float) -> None:
        if not isinstance(apdu, Prst) or not isinstance(apdu.message, EventReport):
            return
        report = apdu.message
        if report.event_type != Noti.CONFIG:
            self._refuse(apdu, ErrorValue.NO_SUCH_OBJECT_INSTANCE)
            self._fire(Event.REQ_UNKNOWN_CONFIGURATION, now)
            return
        self._configs_seen += 1
        if self._configs_seen > MAX_CONFIGS:
            self._break(AbortReason.UNDEFINED, f"more than {MAX_CONFIGS} configurations", now)
            return
        tolerated: list[Tolerated] = []
        config_id, fault = self.peer.config_id if self.peer is not None else 0, None
        configuration: Configuration | None = None
        try:
            decoded = decode_info(ConfigReport, report.info, tolerated, EVENT_INFO_AT)
            config_id = decoded.config_id
            configuration = Configuration.of(decoded)
        except DecodeError as error:
            fault = error
        for each in tolerated:
            self._tell(Warned(tolerated=each))
        if configuration is not None and configuration.objects:
            self._reply = ConfigResult.ACCEPTED
            self._fire(Event.REQ_KNOWN_CONFIGURATION, now, apdu)
            self._operate(configuration, now, reported=True)
            return
        standard = configuration is not None and configuration.standard
        self._reply = ConfigResult.STANDARD_CONFIG_UNKNOWN if standard else ConfigResult.UNSUPPORTED
        self._fire(Event.REQ_BAD_CONFIGURATION, now, apdu)
        self._config_deadline = self._deadline = now + self.waits.config_s
        self._tell(ConfigRefused(config_id=config_id, result=int(self._reply), fault=fault))

    def _reply_config(self, apdu: Apdu | None, now: float) -> None:  # noqa: ARG002 - a row's act
        if isinstance(apdu, Prst) and isinstance(apdu.message, EventReport):
            self._send_config_reply(apdu.invoke_id, apdu.message, self._reply)

    def _send_config_reply(self, invoke_id: int, report: EventReport, result: ConfigResult) -> None:
        config_id = int.from_bytes(report.info[:2], "big")
        reply = ConfigReportResult(config_id=config_id, result=int(result))
        self._confirm_event(invoke_id, report.handle, Noti.CONFIG, reply.encode())

    # Reports

    def _report(self, apdu: Apdu | None, now: float) -> None:
        if not isinstance(apdu, Prst) or not isinstance(apdu.message, EventReport):
            return
        report = apdu.message
        if report.event_type == Noti.CONFIG:
            self._config_again(apdu, report)
        elif report.event_type == Noti.SEGMENT_DATA:
            self._segment_data(apdu, report, now)
        elif report.event_type in REPORT_KINDS:
            self._scan_report(apdu, report, now)
        else:
            self._malformed(
                apdu,
                DecodeError(f"no event report has the type {report.event_type}", EVENT_INFO_AT - 4),
                RejectProblem.UNRECOGNIZED_OPERATION,
            )

    def _malformed(self, apdu: Prst, fault: DecodeError, problem: RejectProblem) -> None:
        self._reject(apdu, problem)
        self._tell(Malformed(apdu=self._raw, fault=fault))

    def _config_again(self, apdu: Prst, report: EventReport) -> None:
        """An agent that repeats its configuration gets the same answer, as long as it is the same configuration."""
        detail = "a configuration report after the configuration was agreed"
        self._tell(Warned(tolerated=Tolerated(tolerance=Tolerance.CONFIG_AGAIN, offset=EVENT_INFO_AT, detail=detail)))
        try:
            again = Configuration.of(decode_info(ConfigReport, report.info, [], EVENT_INFO_AT))
        except DecodeError as error:
            self._malformed(apdu, error, RejectProblem.BADLY_STRUCTURED_APDU)
            return
        agreed = self.configuration
        same = (
            agreed is not None
            and again.config_id == agreed.config_id
            and (again.objects == agreed.objects or agreed.standard)
        )
        if apdu.rose is Rose.ROIV_CONFIRMED_EVENT_REPORT:
            self._send_config_reply(apdu.invoke_id, report, ConfigResult.ACCEPTED if same else ConfigResult.UNSUPPORTED)

    def _scan_report(self, apdu: Prst, report: EventReport, now: float) -> None:
        tolerated: list[Tolerated] = []
        try:
            scan, fault = self._read_report(report.event_type, report.handle, report.info, tolerated, EVENT_INFO_AT)
        except DecodeError as error:
            self._malformed(apdu, error, RejectProblem.BADLY_STRUCTURED_APDU)
            return
        confirmed = apdu.rose is Rose.ROIV_CONFIRMED_EVENT_REPORT
        event = self._tell_report(scan, fault, tolerated, confirmed=confirmed, invoke_id=apdu.invoke_id)
        if confirmed:
            self._await_confirmation(event, now)

    def _await_confirmation(self, event: Reported | SegmentData, now: float) -> None:
        if len(self._unconfirmed) >= MAX_UNCONFIRMED:
            self._break(AbortReason.BUFFER_OVERFLOW, f"{MAX_UNCONFIRMED} reports sent without waiting", now)
            return
        self._unconfirmed[event.invoke_id] = event

    # PM-store

    def _segment_data(self, apdu: Prst, report: EventReport, now: float) -> None:
        tolerated: list[Tolerated] = []
        try:
            data = decode_info(SegmentDataEvent, report.info, tolerated, EVENT_INFO_AT)
        except DecodeError as error:
            self._malformed(apdu, error, RejectProblem.BADLY_STRUCTURED_APDU)
            return
        understood = self._understanding.segment(report.handle, data)
        for each in tolerated + self._understanding.warnings():
            self._tell(Warned(tolerated=each))
        event = SegmentData(
            apdu=self._raw,
            handle=report.handle,
            descr=data.descr,
            entries=data.entries,
            invoke_id=apdu.invoke_id,
            confirmed=apdu.rose is Rose.ROIV_CONFIRMED_EVENT_REPORT,
            measurements=understood.measurements,
            test_measurements=understood.test_measurements,
            fault=understood.fault,
            segment=self._understanding.listed(report.handle, data.descr.instance),
        )
        # From here the caller's disk is awaited, not the agent.
        self._transfers.pop((report.handle, data.descr.instance), None)
        self._rest(now)
        if event.confirmed:
            self._await_confirmation(event, now)
        self._tell(event)
