"""A device's Record Access Control Point (GLS 1.0.1, 3.4; CGMS, PLXS and BLS are the same): what is asked, and the end.

It does no I/O: a request comes in by `write`, and then it says which records to report and what to indicate. Records
are known by a number that rises (GLS, PLXS: sequence number; CGMS: minutes since the session began).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Generic, TypeVar

from simulator.ble.gatt import AttError

Stored = TypeVar("Stored")

IN_PROGRESS: Final = 0x80
"""ATT error: a procedure runs already (GLS 1.6)."""
NOT_CONFIGURED: Final = 0x81
"""ATT error: its indications, or the notifications that it would lead to, are not switched on (GLS 1.6)."""

REPORT, DELETE, ABORT, COUNT, COUNT_IS, RESPONSE, COMBINED, COMBINED_IS = range(1, 9)
_NULL, _ALL, _AT_MOST, _AT_LEAST, _WITHIN, _FIRST, _LAST = range(7)
_NUMBER_FILTER: Final = 1


class Result(IntEnum):
    """How a procedure ended."""

    SUCCESS = 1
    OPCODE_NOT_SUPPORTED = 2
    INVALID_OPERATOR = 3
    OPERATOR_NOT_SUPPORTED = 4
    INVALID_OPERAND = 5
    NO_RECORDS = 6
    ABORT_UNSUCCESSFUL = 7
    NOT_COMPLETED = 8
    OPERAND_NOT_SUPPORTED = 9
    SERVER_BUSY = 10


class _RefusedError(Exception):
    def __init__(self, result: Result) -> None:
        super().__init__(result.name)
        self.result = result


@dataclass(frozen=True, slots=True)
class Reported(Generic[Stored]):
    """The records to send, and then the value to indicate."""

    records: Sequence[Stored]
    then: bytes


class RecordAccess(Generic[Stored]):
    """The records of one device and its control point."""

    def __init__(self, *, wide: bool = False) -> None:
        """`wide`: as GHSS has it, with numbers and counts of 32 bits, and a report that is answered with its count."""
        self._bytes = 4 if wide else 2
        self._opcodes = (REPORT, DELETE, COUNT, COMBINED) if wide else (REPORT, DELETE, COUNT)
        self._numbers: list[int] = []
        self._records: list[Stored] = []
        self.running = False
        """A procedure has begun, and `finished` was not called yet."""

    def __len__(self) -> int:
        return len(self._records)

    def store(self, number: int, record: Stored) -> None:
        """Keep a record; its number is above all before."""
        self._numbers.append(number)
        self._records.append(record)

    def write(self, request: bytes, *, configured: bool, busy: bool = False) -> Reported[Stored]:
        """What a request asks for; AttError if it cannot even begin. A `busy` device answers that it is.

        An abort comes back at once, too: whoever sends the records drops what is left of them.
        """
        if len(request) < 2:
            raise AttError(AttError.INVALID_LENGTH)
        if not configured:
            raise AttError(NOT_CONFIGURED)
        opcode, operator, operand = request[0], request[1], request[2:]
        if self.running and opcode != ABORT:
            raise AttError(IN_PROGRESS)
        self.running = True
        if busy:
            return Reported((), response(opcode, Result.SERVER_BUSY))
        try:
            return self._answer(opcode, operator, operand)
        except _RefusedError as refused:
            return Reported((), response(opcode, refused.result))

    def finished(self) -> None:
        """The end was indicated, or the link is down."""
        self.running = False

    def _answer(self, opcode: int, operator: int, operand: bytes) -> Reported[Stored]:
        if opcode == ABORT:
            return Reported((), response(ABORT, Result.SUCCESS if operator == _NULL else Result.INVALID_OPERATOR))
        if opcode not in self._opcodes:
            raise _RefusedError(Result.OPCODE_NOT_SUPPORTED)
        begin, end = self._range(operator, operand)
        if opcode == COUNT:
            return Reported((), self._count(COUNT_IS, end - begin))
        if begin == end:
            raise _RefusedError(Result.NO_RECORDS)
        chosen = self._records[begin:end]
        if opcode == DELETE:
            del self._records[begin:end], self._numbers[begin:end]
            chosen = []
        if opcode == COMBINED:
            return Reported(chosen, self._count(COMBINED_IS, end - begin))
        return Reported(chosen, response(opcode, Result.SUCCESS))

    def _count(self, opcode: int, records: int) -> bytes:
        return bytes([opcode, _NULL]) + records.to_bytes(self._bytes, "little")

    def _range(self, operator: int, operand: bytes) -> tuple[int, int]:
        """From which record to before which."""
        count = len(self._records)
        if operator in (_ALL, _FIRST, _LAST):
            if operand:
                raise _RefusedError(Result.INVALID_OPERAND)
            return (
                (0, min(count, 1))
                if operator == _FIRST
                else (max(0, count - 1), count)
                if operator == _LAST
                else (0, count)
            )
        if operator == _NULL:
            raise _RefusedError(Result.INVALID_OPERATOR)
        if operator > _LAST:
            raise _RefusedError(Result.OPERATOR_NOT_SUPPORTED)
        if operand and operand[0] != _NUMBER_FILTER:
            raise _RefusedError(Result.OPERAND_NOT_SUPPORTED)
        size = self._bytes
        if len(operand) != 1 + (2 if operator == _WITHIN else 1) * size:
            raise _RefusedError(Result.INVALID_OPERAND)
        low = int.from_bytes(operand[1 : 1 + size], "little")
        high = int.from_bytes(operand[1 + size :], "little") if operator == _WITHIN else low
        if low > high:
            raise _RefusedError(Result.INVALID_OPERAND)
        begin = 0 if operator == _AT_MOST else bisect_left(self._numbers, low)
        return begin, count if operator == _AT_LEAST else bisect_right(self._numbers, high)


def response(opcode: int, result: Result) -> bytes:
    """The end of a procedure."""
    return bytes([RESPONSE, _NULL, opcode, result])
