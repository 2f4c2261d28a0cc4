"""What an agent's report says, from stored evidence alone: the APDU, its configuration, and what else the agent said.

The bridge has no association. Everything that a manager learns on the way (configuration, MDS, units that changed,
entry maps of segments, whether it is a test) stands in the `AgentReport`, and is put into an `Understanding` again.

Relative times are the difficulty. Beside an absolute clock they have a date, and `measurements` say it. An agent that
has nothing but counters cannot say when anything was, only how long before or after its MDS was read: that is
`Counted`, and the hub's clock at that moment makes a time of it.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from wire.errors import DecodeError
from wire.evidence import AgentContext, AgentContextKind, AgentReport
from wire.measurement import DeviceTime, Measurement
from wire.x73.apdu import (
    EVENT_INFO_AT,
    Aarq,
    ActResult,
    AttributeList,
    EventReport,
    GetResult,
    Prst,
    association_of,
    decode_apdu,
)
from wire.x73.codes import Action, Attr, FunctionalUnits, MdsTime, Noti
from wire.x73.dim import Configuration
from wire.x73.events import by_id
from wire.x73.mder import Struct, Tolerated
from wire.x73.reports import ObservationVar, PersonScan, ScanReport, decode_info, decode_report
from wire.x73.services import MdsTimeInfo, SegmentDataEvent, SegmentInfo, decode_response
from wire.x73.specializations import STANDARD
from wire.x73.times import decode_absolute, decode_base_offset, encode_absolute, relative_tick_us
from wire.x73.understanding import Understanding, Understood

_COUNTERS: Final = ((Attr.TIME_REL, 4), (Attr.TIME_REL_HI_RES, 8))
_CLOCKS: Final = (Attr.TIME_BO, Attr.TIME_ABS)
_BO_TIME_SYNCED: Final = 0x0004
"""mds-time-state-bo-time-synced: HL7 PHD ASN1ToHL7, 68219.13."""
# Any date will do: counters are decoded as if the MDS had been read then, and what differs from it is the distance.
_READ: Final = datetime(2000, 1, 1)  # noqa: DTZ001  a wall clock without a zone, as absolute time is


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A time by a counter of the agent's: how long after its MDS was read (negative: before).

    `us` is None where the MDS does not show that counter: then nothing gives the time a date.
    """

    us: int | None
    high_resolution: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentMeasurements:
    """What a report says. Beside each measurement stands the counter that dates it, if no clock does."""

    measurements: tuple[Measurement, ...]
    test: tuple[Measurement, ...]
    """Test and demonstration data, and all of a test association."""
    counted: tuple[Counted | None, ...]
    stored: bool
    """From a PM-store: measured at some time, not just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MdsRead:
    """The MDS as GET returned it, and when the hub had it; `attributes` is empty where it was not read."""

    mono_us: int
    attributes: Mapping[int, bytes]

    def clock(self, *, base_offset: bool) -> tuple[DeviceTime, bytes] | None:
        """What the clock showed that makes such stamps, or the other one, and its bytes; None: none that is set."""
        for attribute in _CLOCKS if base_offset else reversed(_CLOCKS):
            raw = self.attributes.get(attribute)
            if raw is None:
                continue
            try:
                shown = decode_base_offset(raw) if attribute == Attr.TIME_BO else decode_absolute(raw)
            except DecodeError:
                continue
            if shown.known:
                return shown, raw
        return None

    def counter(self, *, high_resolution: bool) -> tuple[int, int] | None:
        """What a counter showed: the count as it stood on the wire, and the same in microseconds."""
        attribute, size = _COUNTERS[high_resolution]
        raw = self.attributes.get(attribute, b"")
        if len(raw) != size:
            return None
        count = int.from_bytes(raw, "big")
        return count, count * (1 if high_resolution else relative_tick_us(self.attributes))

    def synchronised(self, *, base_offset: bool) -> bool:
        """Whether the agent says that its clock is kept right by others."""
        try:
            state = MdsTimeInfo.decode(self.attributes.get(Attr.MDS_TIME_INFO, b"")).state
        except DecodeError:
            return False
        return bool(state & (_BO_TIME_SYNCED if base_offset else MdsTime.ABS_TIME_SYNCED))


@lru_cache(maxsize=64)
def mds_reads(context: tuple[AgentContext, ...]) -> tuple[MdsRead, ...]:
    """The MDS in a report's context, each time that the hub read it. A malformed one is none: it costs no reading.

    There are two where the hub set the agent's clock in between. All reports of an association have the same context.
    """
    found: list[MdsRead] = []
    for item in context:
        if item.kind is AgentContextKind.MDS:
            with contextlib.suppress(DecodeError):
                attributes = by_id(_MdsAttributes.decode(item.value).attributes)
                found.append(MdsRead(mono_us=item.mono_us, attributes=attributes))
    return tuple(found)


def mds_of(report: AgentReport) -> MdsRead:
    """The MDS as it was read last."""
    reads = mds_reads(report.context)
    return reads[-1] if reads else MdsRead(mono_us=report.received.mono_us, attributes={})


def decode_agent_report(report: AgentReport) -> AgentMeasurements:
    """The measurements of a report; DecodeError, and nothing else, if it cannot be understood as a whole."""
    context = _Context.of(report)
    mds = mds_of(report).attributes
    understood = context.understood(mds)
    measured = understood.measurements
    counted: list[Counted | None] = [None] * len(measured)
    if any(each.device_time is None for each in measured):
        for high_resolution, (attribute, size) in enumerate(_COUNTERS):
            raw = mds.get(attribute, b"")
            shown = raw if len(raw) == size else None
            counter: dict[int, bytes] = {Attr.TIME_ABS: encode_absolute(_READ), attribute: shown or bytes(size)}
            if Attr.MDS_TIME_INFO in mds:
                counter[Attr.MDS_TIME_INFO] = mds[Attr.MDS_TIME_INFO]
            again = context.understood(counter)
            for at, (one, dated) in enumerate(zip(measured, again.measurements, strict=True)):
                if one.device_time is None and dated.device_time is not None:
                    us = None if shown is None else _distance_us(dated.device_time)
                    counted[at] = Counted(us=us, high_resolution=bool(high_resolution))
    return AgentMeasurements(
        measurements=measured,
        test=understood.test_measurements,
        counted=tuple(counted),
        stored=isinstance(context.event, SegmentDataEvent),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """A report and all that it is understood by, decoded."""

    configuration: Configuration
    handle: int
    event: ScanReport | SegmentDataEvent
    segments: tuple[SegmentInfo, ...]
    objects: tuple[ObservationVar, ...]
    test: bool

    @classmethod
    def of(cls, report: AgentReport) -> "_Context":
        handle, event = _event(report.apdu)
        segments: list[SegmentInfo] = []
        objects: list[ObservationVar] = []
        test = False
        for item in report.context:
            if item.kind is AgentContextKind.SEGMENT:
                segments.append(SegmentInfo.decode(item.value))
            elif item.kind is AgentContextKind.OBJECT:
                described = GetResult.decode(item.value)
                objects.append(ObservationVar(handle=described.handle, attributes=described.attributes))
            elif item.kind is AgentContextKind.ASSOCIATION:
                test = test or _is_test(item.value)
        return cls(
            configuration=_configuration(report.configuration),
            handle=handle,
            event=event,
            segments=tuple(segments),
            objects=tuple(objects),
            test=test,
        )

    def understood(self, mds: Mapping[int, bytes]) -> Understood:
        """What the report means if the MDS has these attributes."""
        understanding = Understanding()
        understanding.configure(self.configuration, test=self.test)
        understanding.read_mds(mds)
        understanding.list_segments(self.handle, self.segments)
        if self.objects:
            scan = PersonScan(person=None, variable=self.objects)
            _checked(
                understanding.report(
                    ScanReport(event_type=int(Noti.SCAN_REPORT_VAR), handle=0, data_req_id=0, number=0, scans=(scan,))
                )
            )
        if isinstance(self.event, ScanReport):
            return _checked(understanding.report(self.event))
        return _checked(understanding.segment(self.handle, self.event))


@dataclass(frozen=True, slots=True, kw_only=True)
class _MdsAttributes(Struct):
    """The attribute list of the MDS (docs/wire.md, agent-context)."""

    attributes: AttributeList


def _configuration(stated: int | bytes) -> Configuration:
    if isinstance(stated, bytes):
        return Configuration.decode(stated)
    found = STANDARD.get(stated)
    if found is None:
        raise DecodeError(f"no standard configuration {stated:#06x} is known", 0)
    return found


def _event(apdu: bytes) -> tuple[int, ScanReport | SegmentDataEvent]:
    """The object that reports, and its report: an event of the agent's own, or its answer to a data request."""
    tolerated: list[Tolerated] = []
    presentation = decode_apdu(apdu, tolerated)
    message = presentation.message if isinstance(presentation, Prst) else None
    if isinstance(message, EventReport):
        if message.event_type == Noti.SEGMENT_DATA:
            return message.handle, decode_info(SegmentDataEvent, message.info, tolerated, EVENT_INFO_AT)
        report = decode_report(message.event_type, message.handle, message.info, tolerated, EVENT_INFO_AT)
        return message.handle, report
    if isinstance(message, ActResult) and message.action_type == Action.DATA_REQUEST:
        answered = decode_response(message, tolerated)
        if answered is not None:
            return message.handle, answered
    raise DecodeError("the APDU carries no report", 0)


def _is_test(aarq: bytes) -> bool:
    """Whether an AARQ asks for a test association. One that cannot be read is no ground to believe that it is none."""
    try:
        request = decode_apdu(aarq)
    except DecodeError:
        return True
    peer = association_of(request) if isinstance(request, Aarq) else None
    return peer is None or bool(peer.functional_units & FunctionalUnits.CREATE_TEST_ASSOC)


def _checked(understood: Understood) -> Understood:
    if understood.fault is not None:
        raise understood.fault
    return understood


def _distance_us(dated: DeviceTime) -> int:
    return (dated.wall - _READ) // timedelta(microseconds=1)
