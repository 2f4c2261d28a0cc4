"""What event reports carry: the configuration and the scan reports (20601 A.11.5).

There are twelve scan reports on unbuffered and buffered scanners and four on the MDS; they are the six layouts of
{fixed, variable, grouped} x {one person, several}. `decode_report` brings all of them into one form, `ScanReport`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Annotated, Final, TypeVar

from wire.errors import DecodeError
from wire.x73.apdu import AttributeList
from wire.x73.codes import UNKNOWN_PERSON, Noti
from wire.x73.mder import (
    OCTETS,
    ListOf,
    OctetString,
    Reader,
    Struct,
    Tolerance,
    Tolerated,
    Unsigned16,
    maker,
)

_S = TypeVar("_S", bound=Struct)


class ConfigResult(IntEnum):
    """ConfigResult (A.11.5)."""

    ACCEPTED = 0
    UNSUPPORTED = 1
    STANDARD_CONFIG_UNKNOWN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Type(Struct):
    """TYPE (A.2.5)."""

    partition: Unsigned16
    code: Unsigned16

    @property
    def code32(self) -> int:
        """The 32-bit code."""
        return self.partition << 16 | self.code


@dataclass(frozen=True, slots=True, kw_only=True)
class MapEntry(Struct):
    """AttrValMapEntry (A.11.1)."""

    attribute: Unsigned16
    size: Unsigned16


ValueMap = Annotated[tuple[MapEntry, ...], ListOf(MapEntry)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleMap(Struct):
    """HandleAttrValMapEntry (A.11.4)."""

    handle: Unsigned16
    value_map: ValueMap


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigObject(Struct):
    """ConfigObject (A.11.5)."""

    object_class: Unsigned16
    handle: Unsigned16
    attributes: AttributeList


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport(Struct):
    """ConfigReport (A.11.5)."""

    config_id: Unsigned16
    objects: Annotated[tuple[ConfigObject, ...], ListOf(ConfigObject)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReportResult(Struct):
    """ConfigReportRsp (A.11.5)."""

    config_id: Unsigned16
    result: Unsigned16


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationVar(Struct):
    """ObservationScan (A.5)."""

    handle: Unsigned16
    attributes: AttributeList


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationFixed(Struct):
    """ObservationScanFixed (A.11.5)."""

    handle: Unsigned16
    data: OctetString


ObservationsVar = Annotated[tuple[ObservationVar, ...], ListOf(ObservationVar)]
ObservationsFixed = Annotated[tuple[ObservationFixed, ...], ListOf(ObservationFixed)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportVar(Struct):
    """ScanReportInfoVar (A.11.5)."""

    data_req_id: Unsigned16
    number: Unsigned16
    observations: ObservationsVar


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFixed(Struct):
    """ScanReportInfoFixed (A.11.5)."""

    data_req_id: Unsigned16
    number: Unsigned16
    observations: ObservationsFixed


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportGrouped(Struct):
    """ScanReportInfoGrouped (A.11.5)."""

    data_req_id: Unsigned16
    number: Unsigned16
    observations: Annotated[tuple[bytes, ...], ListOf(OCTETS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonVar(Struct):
    """ScanReportPerVar (A.11.5)."""

    person: Unsigned16
    observations: ObservationsVar


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonFixed(Struct):
    """ScanReportPerFixed (A.11.5)."""

    person: Unsigned16
    observations: ObservationsFixed


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonGrouped(Struct):
    """ScanReportPerGrouped (A.11.5)."""

    person: Unsigned16
    observation: OctetString


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportMpVar(Struct):
    """ScanReportInfoMPVar (A.11.5)."""

    data_req_id: Unsigned16
    number: Unsigned16
    persons: Annotated[tuple[PersonVar, ...], ListOf(PersonVar)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportMpFixed(Struct):
    """ScanReportInfoMPFixed (A.11.5)."""

    data_req_id: Unsigned16
    number: Unsigned16
    persons: Annotated[tuple[PersonFixed, ...], ListOf(PersonFixed)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportMpGrouped(Struct):
    """ScanReportInfoMPGrouped (A.11.5)."""

    data_req_id: Unsigned16
    number: Unsigned16
    persons: Annotated[tuple[PersonGrouped, ...], ListOf(PersonGrouped)]


class Layout(StrEnum):
    """How the observations of a report are laid out."""

    FIXED = "fixed"
    VARIABLE = "variable"
    GROUPED = "grouped"


AnyReport = ReportVar | ReportFixed | ReportGrouped | ReportMpVar | ReportMpFixed | ReportMpGrouped


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportKind:
    """One of the event types that report observations."""

    layout: Layout
    persons: bool
    buffered: bool | None
    """None: from the MDS and not from a scanner."""
    type: type[AnyReport]


def _kinds() -> dict[int, ReportKind]:
    types: dict[tuple[Layout, bool], type[AnyReport]] = {
        (Layout.FIXED, False): ReportFixed,
        (Layout.VARIABLE, False): ReportVar,
        (Layout.GROUPED, False): ReportGrouped,
        (Layout.FIXED, True): ReportMpFixed,
        (Layout.VARIABLE, True): ReportMpVar,
        (Layout.GROUPED, True): ReportMpGrouped,
    }
    words = {"FIXED": Layout.FIXED, "VAR": Layout.VARIABLE, "GROUPED": Layout.GROUPED}
    kinds: dict[int, ReportKind] = {}
    for noti in Noti:
        head, scan, tail = noti.name.partition("SCAN_REPORT_")
        if scan:
            persons, layout = tail.startswith("MP_"), words[tail.removeprefix("MP_")]
            buffered = {"": None, "UNBUF_": False, "BUF_": True}[head]
            kinds[noti] = ReportKind(layout=layout, persons=persons, buffered=buffered, type=types[layout, persons])
    return kinds


REPORT_KINDS: Final[Mapping[int, ReportKind]] = MappingProxyType(_kinds())
"""By event type: four from the MDS, twelve from scanners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonScan:
    """The observations of one person (None: the agent knows only one, or not whose they are), each as it was sent."""

    person: int | None
    fixed: tuple[ObservationFixed, ...] = ()
    variable: tuple[ObservationVar, ...] = ()
    grouped: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """Any scan report, from the MDS (handle 0) or from a scanner."""

    event_type: int
    handle: int
    data_req_id: int
    number: int
    scans: tuple[PersonScan, ...]


_person_scan: Final = maker(PersonScan)
_scan_report: Final = maker(ScanReport)


def decode_info(type_: type[_S], info: bytes, tolerated: list[Tolerated] | None = None, offset: int = 0) -> _S:
    """The structure in an event-info or in an action's arguments; bytes after it pass if `tolerated` is given."""
    reader = Reader(info, tolerated=tolerated)
    try:
        value = type_.read(reader)
        if reader.remaining:
            reader.let_pass(Tolerance.TRAILING_EVENT_INFO, f"{reader.remaining} bytes after {type_.__name__}")
    except DecodeError as error:
        raise DecodeError(error.message, error.offset + offset) from None
    return value


def decode_report(
    event_type: int, handle: int, info: bytes, tolerated: list[Tolerated] | None = None, offset: int = 0
) -> ScanReport:
    """The scan report in an event-info; DecodeError for event types that report no observations."""
    kind = REPORT_KINDS.get(event_type)
    if kind is None:
        raise DecodeError(f"event type {event_type} is no scan report", offset)
    report = decode_info(kind.type, info, tolerated, offset)
    return _scan_report(event_type, handle, report.data_req_id, report.number, _scans(report))


def _scans(report: AnyReport) -> tuple[PersonScan, ...]:
    if isinstance(report, ReportFixed):
        return (_person_scan(None, report.observations, (), ()),)
    if isinstance(report, ReportVar):
        return (PersonScan(person=None, variable=report.observations),)
    if isinstance(report, ReportGrouped):
        return (PersonScan(person=None, grouped=report.observations),)
    if isinstance(report, ReportMpFixed):
        return tuple(PersonScan(person=_known(each.person), fixed=each.observations) for each in report.persons)
    if isinstance(report, ReportMpVar):
        return tuple(PersonScan(person=_known(each.person), variable=each.observations) for each in report.persons)
    return tuple(PersonScan(person=_known(each.person), grouped=(each.observation,)) for each in report.persons)


def _known(person: int) -> int | None:
    return None if person == UNKNOWN_PERSON else person


def encode_report(report: ScanReport) -> bytes:
    """The event-info of a scan report."""
    kind = REPORT_KINDS[report.event_type]
    head = {"data_req_id": report.data_req_id, "number": report.number}
    if not kind.persons:
        (scan,) = report.scans
        if kind.layout is Layout.FIXED:
            return ReportFixed(**head, observations=scan.fixed).encode()
        if kind.layout is Layout.VARIABLE:
            return ReportVar(**head, observations=scan.variable).encode()
        return ReportGrouped(**head, observations=scan.grouped).encode()
    if kind.layout is Layout.FIXED:
        fixed = tuple(PersonFixed(person=_raw(scan.person), observations=scan.fixed) for scan in report.scans)
        return ReportMpFixed(**head, persons=fixed).encode()
    if kind.layout is Layout.VARIABLE:
        variable = tuple(PersonVar(person=_raw(scan.person), observations=scan.variable) for scan in report.scans)
        return ReportMpVar(**head, persons=variable).encode()
    grouped = tuple(
        PersonGrouped(person=_raw(scan.person), observation=each) for scan in report.scans for each in scan.grouped
    )
    return ReportMpGrouped(**head, persons=grouped).encode()


def _raw(person: int | None) -> int:
    return UNKNOWN_PERSON if person is None else person
