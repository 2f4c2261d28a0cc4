"""Record Access Control Point (2A52): what a collector asked a device for, of what it has stored, and its answer.

A request is written, the records come as notifications of their own characteristics, and the end is an indication:
a count or a response. GLS 3.4, CGMS 3.6 and PLXS 3.4 use the same bytes; the filter of a record number is type 1 in all
three (GLS and PLXS: sequence number, CGMS: time offset), always 16 bits.

`decode` reads both directions; what a hub writes stands with its flows (`edge.ble.flows`). A number that the specifications reserve in an
answer (an unknown response code) stays a number, because the device has ended the procedure whatever it calls it.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from wire.errors import DecodeError
from wire.gatt.reader import Reader


class Opcode(IntEnum):
    """What is asked or answered (GLS 3.4)."""

    REPORT = 1
    DELETE = 2
    ABORT = 3
    COUNT = 4
    COUNT_RESPONSE = 5
    RESPONSE = 6


class Operator(IntEnum):
    """Which records are meant (GLS 3.4)."""

    NULL = 0
    ALL = 1
    AT_MOST = 2
    AT_LEAST = 3
    WITHIN = 4
    FIRST = 5
    LAST = 6


class Result(IntEnum):
    """How a procedure ended (GLS 3.4)."""

    SUCCESS = 1
    OPCODE_NOT_SUPPORTED = 2
    INVALID_OPERATOR = 3
    OPERATOR_NOT_SUPPORTED = 4
    INVALID_OPERAND = 5
    NO_RECORDS = 6
    ABORT_UNSUCCESSFUL = 7
    NOT_COMPLETED = 8
    OPERAND_NOT_SUPPORTED = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as a device receives it; the operand is checked for its length only."""

    opcode: Opcode
    operator: Operator
    operand: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Number of stored records (opcode 5)."""

    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The end of a procedure (opcode 6): `request` is the opcode that it answers, `result` mostly a `Result`."""

    request: int
    result: int


_FILTERED: Final = frozenset({Operator.AT_MOST, Operator.AT_LEAST, Operator.WITHIN})
_ASKED: Final = frozenset({Opcode.REPORT, Opcode.DELETE, Opcode.COUNT})


def decode(value: bytes) -> Request | Count | Response:
    """What a RACP value says; DecodeError for an opcode, operator or operand that no specification has."""
    reader = Reader(value)
    code = reader.u8("opcode")
    try:
        opcode = Opcode(code)
    except ValueError:
        raise DecodeError(f"no RACP opcode {code}", 0) from None
    number = reader.u8("operator")
    try:
        operator = Operator(number)
    except ValueError:
        raise DecodeError(f"no RACP operator {number}", 1) from None
    if (opcode in _ASKED) == (operator is Operator.NULL):
        raise DecodeError(f"operator {number} does not go with opcode {code}", 1)
    if opcode is Opcode.COUNT_RESPONSE:
        return Count(records=_read_count(reader))
    if opcode is Opcode.RESPONSE:
        request, result = reader.u8("request opcode"), reader.u8("response code")
        reader.end()
        return Response(request=request, result=result)
    if operator not in _FILTERED:
        reader.end()
        return Request(opcode=opcode, operator=operator)
    at = reader.offset
    reader.u8("filter type")
    if not reader.remaining:
        raise DecodeError("the filter has no value", reader.offset)
    reader.offset = at
    return Request(opcode=opcode, operator=operator, operand=reader.take(reader.remaining, "operand"))


def describe(value: bytes) -> dict[str, str | bool]:
    """A RACP value for a technician."""
    found = decode(value)
    if isinstance(found, Count):
        return {"stored records": str(found.records)}
    if isinstance(found, Response):
        return {"answer to": _word(Opcode, found.request), "result": _word(Result, found.result)}
    said: dict[str, str | bool] = {"request": _word(Opcode, found.opcode)}
    if found.operator is not Operator.NULL:
        said["records"] = _word(Operator, found.operator)
    if found.operand:
        said["operand"] = found.operand.hex()
    return said


def _read_count(reader: Reader) -> int:
    """16 bits by the specifications; independent decoders take 8 and 32 bits too, and so do we."""
    if reader.remaining == 1:
        return reader.u8("number of records")
    if reader.remaining == 4:
        return reader.u32("number of records")
    records = reader.u16("number of records")
    reader.end()
    return records


def _word(names: type[IntEnum], number: int) -> str:
    try:
        return names(number).name.lower().replace("_", " ")
    except ValueError:
        return f"reserved {number}"
