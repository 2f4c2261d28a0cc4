"""What the other services carry: PM-store segments, set-time, data requests, MDS attributes (20601 A.3, A.4, A.11)."""

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Final

from wire.measurement import Special
from wire.x73.apdu import ActResult, AttributeList
from wire.x73.mder import (
    FLOAT,
    U16,
    Bytes,
    ListOf,
    Nested,
    OctetString,
    Struct,
    Tolerated,
    Unsigned16,
    Unsigned32,
)
from wire.x73.reports import REPORT_KINDS, ScanReport, Type, ValueMap, decode_report


class TransferResult(IntEnum):
    """TrigSegmXferRsp (A.11.7)."""

    SUCCESSFUL = 0
    FAIL_NO_SUCH_SEGMENT = 1
    FAIL_TRY_LATER = 2
    FAIL_SEGMENT_EMPTY = 3
    FAIL_OTHER = 512


class DataReqResult(IntEnum):
    """DataReqResult (A.11.5)."""

    NO_ERROR = 0
    UNSPECIFIC_ERROR = 1
    NO_STOP_SUPPORT = 2
    NO_SCOPE_ALL_SUPPORT = 3
    NO_SCOPE_CLASS_SUPPORT = 4
    NO_SCOPE_HANDLE_SUPPORT = 5
    NO_MODE_SINGLE_RSP_SUPPORT = 6
    NO_MODE_TIME_PERIOD_SUPPORT = 7
    NO_MODE_TIME_NO_LIMIT_SUPPORT = 8
    NO_PERSON_ID_SUPPORT = 9
    UNKNOWN_PERSON_ID = 11
    UNKNOWN_CLASS = 12
    UNKNOWN_HANDLE = 13
    UNSUPP_SCOPE = 14
    UNSUPP_MODE = 15
    INIT_MANAGER_OVERFLOW = 16
    CONTINUATION_NOT_SUPPORTED = 17
    INVALID_REQ_ID = 18


class Selection(IntEnum):
    """The choice of a SegmSelection (A.4)."""

    ALL_SEGMENTS = 1
    SEGM_ID_LIST = 2
    ABS_TIME_RANGE = 3


# PM-store


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDataDescr(Struct):
    """SegmDataEventDescr (A.11.7); also the whole of a SegmentDataResult."""

    instance: Unsigned16
    entry_index: Unsigned32
    entry_count: Unsigned32
    status: Unsigned16


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDataEvent(Struct):
    """SegmentDataEvent (A.11.7)."""

    descr: Annotated[SegmentDataDescr, Nested(SegmentDataDescr)]
    entries: OctetString


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentElement(Struct):
    """SegmEntryElem (A.11.7)."""

    object_class: Unsigned16
    type: Annotated[Type, Nested(Type)]
    handle: Unsigned16
    value_map: ValueMap


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentEntryMap(Struct):
    """PmSegmentEntryMap (A.11.7): times before every entry, then the elements in order."""

    header: Unsigned16
    elements: Annotated[tuple[SegmentElement, ...], ListOf(SegmentElement)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentStatics(Struct):
    """SegmElemStaticAttrEntry (A.11.7): what all values of an element have in common."""

    object_class: Unsigned16
    type: Annotated[Type, Nested(Type)]
    attributes: AttributeList


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentInfo(Struct):
    """SegmentInfo (A.4)."""

    instance: Unsigned16
    attributes: AttributeList


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentInfoList(Struct):
    """SegmentInfoList (A.4)."""

    segments: Annotated[tuple[SegmentInfo, ...], ListOf(SegmentInfo)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSelection(Struct):
    """SegmSelection (A.4): a choice, its length, and what is chosen."""

    choice: Unsigned16
    value: OctetString

    @classmethod
    def every(cls) -> "SegmentSelection":
        """All segments of the store."""
        return cls(choice=int(Selection.ALL_SEGMENTS), value=bytes(2))

    @classmethod
    def of(cls, *instances: int) -> "SegmentSelection":
        """These segments."""
        return cls(choice=int(Selection.SEGM_ID_LIST), value=InstanceList(instances=instances).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceList(Struct):
    """SegmIdList (A.4)."""

    instances: Annotated[tuple[int, ...], ListOf(U16)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequest(Struct):
    """TrigSegmDataXferReq (A.11.7)."""

    instance: Unsigned16


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferResponse(Struct):
    """TrigSegmDataXferRsp (A.11.7)."""

    instance: Unsigned16
    result: Unsigned16


# Actions on the MDS


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTime(Struct):
    """SetTimeInvoke (A.4); the accuracy is inherited and shall be 0."""

    time: Annotated[bytes, Bytes(8)]
    accuracy: Annotated[Decimal | Special, FLOAT] = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBoTime(Struct):
    """SetBOTimeInvoke (20601:2014 A.4): base-offset time."""

    time: Annotated[bytes, Bytes(8)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRequest(Struct):
    """DataRequest (A.11.5)."""

    data_req_id: Unsigned16
    mode: Unsigned16
    time: Unsigned32 = 0
    person: Unsigned16 = 0
    object_class: Unsigned16 = 0
    handles: Annotated[tuple[int, ...], ListOf(U16)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataResponse(Struct):
    """DataResponse (A.11.5)."""

    rel_time_stamp: Unsigned32
    result: Unsigned16
    event_type: Unsigned16
    info: OctetString


_RESPONSE_AT: Final = 18
_RESPONSE_INFO_AT: Final = _RESPONSE_AT + 10
"""Where a data response begins in an APDU, and its event-info in that."""


def decode_response(answer: ActResult, tolerated: list[Tolerated]) -> ScanReport | None:
    """The report in the answer to a data request: a single response comes so. None: the answer has no report."""
    response = DataResponse.decode(answer.args, tolerated, _RESPONSE_AT)
    if response.event_type not in REPORT_KINDS or not response.info:
        return None
    return decode_report(response.event_type, answer.handle, response.info, tolerated, _RESPONSE_INFO_AT)


# MDS attributes that a person may want to read


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemModel(Struct):
    """SystemModel (A.3.1)."""

    manufacturer: OctetString
    model_number: OctetString


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductionEntry(Struct):
    """ProdSpecEntry (A.3.1)."""

    spec_type: Unsigned16
    component: Unsigned16
    spec: OctetString


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductionSpec(Struct):
    """ProductionSpec (A.3.1)."""

    entries: Annotated[tuple[ProductionEntry, ...], ListOf(ProductionEntry)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeVersion(Struct):
    """TypeVer (A.10.4): a specialization, in the partition of infrastructure."""

    type: Unsigned16
    version: Unsigned16


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeVersions(Struct):
    """TypeVerList (A.10.4)."""

    versions: Annotated[tuple[TypeVersion, ...], ListOf(TypeVersion)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MdsTimeInfo(Struct):
    """MdsTimeInfo (A.11.2)."""

    state: Unsigned16
    sync_protocol: Unsigned16
    sync_accuracy: Unsigned32
    resolution_abs: Unsigned16
    resolution_rel: Unsigned16
    resolution_high: Unsigned32
