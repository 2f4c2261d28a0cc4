"""The APDUs: association, release, abort, and the presentation APDU with one ROSE message (20601 A.7 to A.10).

`decode_apdu` takes exactly one APDU. Whatever does not agree with its lengths, or names a choice that the standard
does not have, is a `DecodeError`: nothing is guessed. `encode_apdu` writes what `decode_apdu` reads, byte for byte.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Annotated, Final

from wire.errors import DecodeError, WireError
from wire.x73.mder import (
    OCTETS,
    REPLY_INFO,
    U16,
    ListOf,
    Nested,
    OctetString,
    Reader,
    Struct,
    Tolerated,
    Unsigned8,
    Unsigned16,
    Unsigned32,
    maker,
    write_octets,
)

MAX_APDU: Final = 64_512
"""20601 8.4.1: no APDU from an agent is longer (63 KiB); one to an agent is at most 8 KiB."""

VERSION1: Final = 0x8000_0000
"""The first bit of AssociationVersion, ProtocolVersion and NomenclatureVersion."""
PROTOCOL_VERSIONS: Final = (0x8000_0000, 0x4000_0000, 0x2000_0000)
"""The bits of protocol version 1 (2008), 2 (2010, 2014) and 3 (2016), which differ in what attributes there are."""
PROTOCOL_20601: Final = 20601
PROTOCOL_EMPTY: Final = 0
"""Only in a rejecting AARE, with nothing in it."""
SYSTEM_TYPE_MANAGER: Final = 0x8000_0000
SYSTEM_TYPE_AGENT: Final = 0x0080_0000


class Choice(IntEnum):
    """ApduType (A.7)."""

    AARQ = 0xE200
    AARE = 0xE300
    RLRQ = 0xE400
    RLRE = 0xE500
    ABRT = 0xE600
    PRST = 0xE700


class Rose(IntEnum):
    """The choice of a DataApdu (A.10.2)."""

    ROIV_EVENT_REPORT = 0x0100
    ROIV_CONFIRMED_EVENT_REPORT = 0x0101
    ROIV_GET = 0x0103
    ROIV_SET = 0x0104
    ROIV_CONFIRMED_SET = 0x0105
    ROIV_ACTION = 0x0106
    ROIV_CONFIRMED_ACTION = 0x0107
    RORS_CONFIRMED_EVENT_REPORT = 0x0201
    RORS_GET = 0x0203
    RORS_CONFIRMED_SET = 0x0205
    RORS_CONFIRMED_ACTION = 0x0207
    ROER = 0x0300
    RORJ = 0x0400


class EncodingRules(IntEnum):
    """EncodingRules (A.8); both sides shall always support MDER."""

    MDER = 0x8000
    XER = 0x4000
    PER = 0x2000


class AssociateResult(IntEnum):
    """AssociateResult (A.8)."""

    ACCEPTED = 0
    REJECTED_PERMANENT = 1
    REJECTED_TRANSIENT = 2
    ACCEPTED_UNKNOWN_CONFIG = 3
    REJECTED_NO_COMMON_PROTOCOL = 4
    REJECTED_NO_COMMON_PARAMETER = 5
    REJECTED_UNKNOWN = 6
    REJECTED_UNAUTHORIZED = 7
    REJECTED_UNSUPPORTED_ASSOC_VERSION = 8


class AbortReason(IntEnum):
    """Abort-reason (A.8)."""

    UNDEFINED = 0
    BUFFER_OVERFLOW = 1
    RESPONSE_TIMEOUT = 2
    CONFIGURATION_TIMEOUT = 3


class ReleaseReason(IntEnum):
    """ReleaseRequestReason (A.8)."""

    NORMAL = 0
    NO_MORE_CONFIGURATIONS = 1
    CONFIGURATION_CHANGED = 2


class ErrorValue(IntEnum):
    """RoerErrorValue (A.10.2)."""

    NO_SUCH_OBJECT_INSTANCE = 1
    ACCESS_DENIED = 2
    NO_SUCH_ACTION = 9
    INVALID_OBJECT_INSTANCE = 17
    PROTOCOL_VIOLATION = 23
    NOT_ALLOWED_BY_OBJECT = 24
    ACTION_TIMED_OUT = 25
    ACTION_ABORTED = 26


class RejectProblem(IntEnum):
    """RorjProblem (A.10.2)."""

    UNRECOGNIZED_APDU = 0
    BADLY_STRUCTURED_APDU = 2
    UNRECOGNIZED_OPERATION = 101
    RESOURCE_LIMITATION = 103
    UNEXPECTED_ERROR = 303


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute(Struct):
    """AVA-Type (A.2.6)."""

    id: Unsigned16
    value: OctetString


AttributeList = Annotated[tuple[Attribute, ...], ListOf(Attribute)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataProto(Struct):
    """DataProto (A.8)."""

    id: Unsigned16
    info: OctetString


@dataclass(frozen=True, slots=True, kw_only=True)
class PhdAssociation(Struct):
    """PhdAssociationInformation (A.8)."""

    protocol_version: Unsigned32 = VERSION1
    encoding_rules: Unsigned16 = int(EncodingRules.MDER)
    nomenclature_version: Unsigned32 = VERSION1
    functional_units: Unsigned32 = 0
    system_type: Unsigned32
    system_id: OctetString
    config_id: Unsigned16
    data_req_mode_flags: Unsigned16 = 0
    data_req_init_agent_count: Unsigned8 = 0
    data_req_init_manager_count: Unsigned8 = 0
    options: AttributeList = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Aarq(Struct):
    """Association request (A.8)."""

    assoc_version: Unsigned32 = VERSION1
    protocols: Annotated[tuple[DataProto, ...], ListOf(DataProto)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aare(Struct):
    """Association response (A.8)."""

    result: Unsigned16
    protocol: Annotated[DataProto, Nested(DataProto)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rlrq(Struct):
    """Association release request (A.8)."""

    reason: Unsigned16 = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rlre(Struct):
    """Association release response (A.8)."""

    reason: Unsigned16 = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Abrt(Struct):
    """Abort (A.8)."""

    reason: Unsigned16 = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReport(Struct):
    """EventReportArgumentSimple (A.10.3)."""

    handle: Unsigned16 = 0
    event_time: Unsigned32 = 0
    event_type: Unsigned16
    info: OctetString


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReportResult(Struct):
    """EventReportResultSimple (A.10.3)."""

    handle: Unsigned16 = 0
    current_time: Unsigned32 = 0
    event_type: Unsigned16
    info: Annotated[bytes, REPLY_INFO] = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Get(Struct):
    """GetArgumentSimple (A.10.4); no attribute means all."""

    handle: Unsigned16 = 0
    attributes: Annotated[tuple[int, ...], ListOf(U16)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GetResult(Struct):
    """GetResultSimple (A.10.4)."""

    handle: Unsigned16 = 0
    attributes: AttributeList


@dataclass(frozen=True, slots=True, kw_only=True)
class Modification(Struct):
    """AttributeModEntry (A.10.5); operator 0 replaces."""

    operator: Unsigned16 = 0
    attribute: Annotated[Attribute, Nested(Attribute)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Set(Struct):
    """SetArgumentSimple (A.10.5)."""

    handle: Unsigned16
    modifications: Annotated[tuple[Modification, ...], ListOf(Modification)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetResult(Struct):
    """SetResultSimple (A.10.5)."""

    handle: Unsigned16
    attributes: AttributeList


@dataclass(frozen=True, slots=True, kw_only=True)
class Act(Struct):
    """ActionArgumentSimple (A.10.6)."""

    handle: Unsigned16 = 0
    action_type: Unsigned16
    args: Annotated[bytes, OCTETS]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActResult(Struct):
    """ActionResultSimple (A.10.6)."""

    handle: Unsigned16 = 0
    action_type: Unsigned16
    args: Annotated[bytes, OCTETS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Error(Struct):
    """ErrorResult (A.10.2)."""

    error: Unsigned16
    parameter: OctetString = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject(Struct):
    """RejectResult (A.10.2)."""

    problem: Unsigned16


Message = EventReport | EventReportResult | Get | GetResult | Set | SetResult | Act | ActResult | Error | Reject

MESSAGES: Final[Mapping[int, type[Message]]] = MappingProxyType(
    {
        Rose.ROIV_EVENT_REPORT: EventReport,
        Rose.ROIV_CONFIRMED_EVENT_REPORT: EventReport,
        Rose.ROIV_GET: Get,
        Rose.ROIV_SET: Set,
        Rose.ROIV_CONFIRMED_SET: Set,
        Rose.ROIV_ACTION: Act,
        Rose.ROIV_CONFIRMED_ACTION: Act,
        Rose.RORS_CONFIRMED_EVENT_REPORT: EventReportResult,
        Rose.RORS_GET: GetResult,
        Rose.RORS_CONFIRMED_SET: SetResult,
        Rose.RORS_CONFIRMED_ACTION: ActResult,
        Rose.ROER: Error,
        Rose.RORJ: Reject,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prst:
    """Presentation APDU with its DataApdu (A.9, A.10.2)."""

    invoke_id: int
    rose: Rose
    message: Message


Apdu = Aarq | Aare | Rlrq | Rlre | Abrt | Prst

_ASSOCIATION: Final[Mapping[int, type[Aarq | Aare | Rlrq | Rlre | Abrt]]] = MappingProxyType(
    {Choice.AARQ: Aarq, Choice.AARE: Aare, Choice.RLRQ: Rlrq, Choice.RLRE: Rlre, Choice.ABRT: Abrt}
)
_CHOICES: Final = {type_: int(choice) for choice, type_ in _ASSOCIATION.items()}
_ROSE: Final = {int(rose): rose for rose in Rose}

_PRST_HEAD: Final = struct.Struct(">HHHHHH")
"""Choice, length, length of the data, invoke-id, choice, length of the message: whole in almost every APDU."""
INVOKE_ID_AT: Final = 6
EVENT_INFO_AT: Final = 20
"""Where the event-info begins in a presentation APDU with an event report."""


def decode_apdu(data: bytes, tolerated: list[Tolerated] | None = None) -> Apdu:
    """One whole APDU; see `Tolerance` for what passes if `tolerated` is given."""
    if len(data) > MAX_APDU:
        raise DecodeError(f"an APDU of {len(data)} bytes, {MAX_APDU} are allowed", MAX_APDU)
    if len(data) >= _PRST_HEAD.size:
        choice, size, inner, invoke_id, rose_choice, message_size = _PRST_HEAD.unpack_from(data)
        rose = _ROSE.get(rose_choice)
        whole = size + 4 == inner + 6 == message_size + 12 == len(data)
        if choice == Choice.PRST and whole and rose is not None:
            return _message(invoke_id, rose, Reader(data, _PRST_HEAD.size, tolerated=tolerated))
    reader = Reader(data, tolerated=tolerated)
    choice = reader.u16("choice")
    body = reader.window(reader.u16("length of the APDU"), "the APDU")
    reader.finish("the APDU")
    if choice == Choice.PRST:
        return _decode_prst(body)
    type_ = _ASSOCIATION.get(choice)
    if type_ is None:
        raise DecodeError("no APDU has this choice", 0)
    apdu = type_.read(body)
    body.finish(type_.__name__)
    return apdu


def _decode_prst(body: Reader) -> Prst:
    data = body.window(body.u16("length of the data APDU"), "the data APDU")
    body.finish("the data APDU")
    invoke_id = data.u16("invoke-id")
    at = data.offset
    choice = data.u16("choice of the data APDU")
    message = data.window(data.u16("length of the message"), "the message")
    data.finish("the message")
    rose = _ROSE.get(choice)
    if rose is None:
        raise DecodeError("no data APDU has this choice", at)
    return _message(invoke_id, rose, message)


_prst: Final = maker(Prst)


def _message(invoke_id: int, rose: Rose, message: Reader) -> Prst:
    value = MESSAGES[rose].read(message)
    message.finish("the message")
    return _prst(invoke_id, rose, value)


def encode_apdu(apdu: Apdu) -> bytes:
    """The bytes of an APDU; WireError where a value does not fit its field."""
    out = bytearray()
    if isinstance(apdu, Prst):
        data = bytearray()
        U16.write(apdu.invoke_id, data)
        U16.write(int(apdu.rose), data)
        write_octets(apdu.message.encode(), data)
        body = bytearray()
        write_octets(bytes(data), body)
        U16.write(int(Choice.PRST), out)
        write_octets(bytes(body), out)
    else:
        U16.write(_CHOICES[type(apdu)], out)
        write_octets(apdu.encode(), out)
    if len(out) > MAX_APDU:
        raise WireError(f"an APDU of {len(out)} bytes, {MAX_APDU} are allowed")
    return bytes(out)


def association_of(aarq: Aarq) -> PhdAssociation | None:
    """The 20601 association that a request offers; None if it offers only other protocols."""
    at = 12
    for protocol in aarq.protocols:
        if protocol.id == PROTOCOL_20601:
            return PhdAssociation.decode(protocol.info, offset=at + 4)
        at += 4 + len(protocol.info)
    return None
