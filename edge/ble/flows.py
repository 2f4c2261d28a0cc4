"""What the hub does with each health service, as data. `edge.ble.session` does it, `edge.ble.records` what concerns stored records.

    connect -> read features, information and clock -> subscribe -> pause -> ask for stored records -> begin
    -> take what comes by itself -> set the clock -> disconnect

A flow says which of a service's characteristics tell measurements by themselves, what the service keeps, and what must be
written for it to begin, and to pause. What is read beforehand stands in `wire.services`; what a single device wants
otherwise, in `wire.quirks`.

Nothing here decodes: of a record the hub looks at its number, and at the bytes that make it this record and no other.
The few bytes of the Record Access Control Point (GATT Specification Supplement, 3.178) stand here too, because
`wire.gatt.racp` would bring the decoders with it.
"""

from collections.abc import Collection, Iterator, Mapping
from enum import IntEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Final, NamedTuple


class Opcode(IntEnum):
    """What is asked of a Record Access Control Point, or answered. The hub never deletes."""

    REPORT = 1
    ABORT = 3
    COUNT = 4
    COUNT_ANSWER = 5
    ANSWER = 6
    COMBINED = 7
    """Report, and be answered with the number of records that were sent."""
    COMBINED_ANSWER = 8


class Result(IntEnum):
    """How a procedure ended, as far as it makes a difference here; every other number is a refusal."""

    SUCCESS = 1
    OPCODE_NOT_SUPPORTED = 2
    NO_RECORDS = 6
    NOT_COMPLETED = 8
    BUSY = 10


class Records(NamedTuple):
    """What a service keeps, and how its Record Access Control Point is asked for it."""

    values: tuple[int, ...]
    """The characteristics that it comes by: the record itself, then what may be attached to one."""
    number_at: int = 0
    number_bytes: int = 0
    """Where a record has its number, the least significant byte first; 0 bytes: it has none, and all are asked for."""
    packed: bool = False
    """A value holds several records, each with its size in front (CGMS 3.1)."""
    identity: slice = slice(None)
    """The bytes of a record by which it is known again."""
    dated: int = 0
    """The flag, in the first byte, of a record with a time stamp. Without one two records can be alike; 0: every record
    has one."""
    announced: int = 0
    """The flag, in the first byte of a record, that something attached to it follows."""
    under: int | None = None
    """The context characteristic to which a record is relative: under another value, it is another record."""
    opcodes: tuple[Opcode, ...] = (Opcode.REPORT,)
    """How to ask, the better one first."""


class Flow(NamedTuple):
    """One service: what comes by itself, what is written for that to begin, and what can be asked for."""

    live: tuple[int, ...] = ()
    begin: tuple[tuple[int, bytes], ...] = ()
    pause: tuple[tuple[int, bytes], ...] = ()
    """Written before records are asked for: it may still be sending since the last connection, and then it is busy (ST's
    firmware refuses every request, with 0A)."""
    records: tuple[Records, ...] = ()
    """The first one whose record the device has."""


_AFTER_HEADER: Final = slice(1, None)
"""The segment header has a counter, which goes on from record to record and begins anew with a connection."""

FLOWS: Final[Mapping[int, Flow]] = MappingProxyType(
    {
        0x1822: Flow(
            live=(0x2A5E, 0x2A5F),
            # SpO2, pulse rate and time: that it is stored now, and no longer live, is told behind them.
            records=(Records(values=(0x2A5E,), identity=slice(1, 12), dated=0x01),),
        ),
        0x1810: Flow(
            live=(0x2A35, 0x2B34),
            records=(
                Records(
                    values=(0x2B36,),
                    number_at=1,
                    number_bytes=2,
                    identity=_AFTER_HEADER,
                    opcodes=(Opcode.COMBINED, Opcode.REPORT),
                ),
                Records(values=(0x2A35,), dated=0x02),
            ),
        ),
        0x180D: Flow(live=(0x2A37,)),
        0x1809: Flow(live=(0x2A1C,), records=(Records(values=(0x2A1C,), dated=0x02),)),
        0x181D: Flow(live=(0x2A9D,), records=(Records(values=(0x2A9D,), dated=0x02),)),
        0x181B: Flow(live=(0x2A9C,), records=(Records(values=(0x2A9C,), dated=0x02),)),
        0x1808: Flow(records=(Records(values=(0x2A18, 0x2A34), number_at=1, number_bytes=2, announced=0x10),)),
        0x181F: Flow(
            live=(0x2AA7,),
            records=(Records(values=(0x2AA7,), number_at=4, number_bytes=2, packed=True, under=0x2AAA),),
        ),
        0x1840: Flow(
            live=(0x2B8B,),
            begin=((0x2BF4, b"\x01"),),  # start sending live observations
            pause=((0x2BF4, b"\x02"),),  # stop sending them
            records=(
                Records(
                    values=(0x2BDD,),
                    number_at=1,
                    number_bytes=4,
                    identity=_AFTER_HEADER,
                    opcodes=(Opcode.COMBINED, Opcode.REPORT),
                ),
            ),
        ),
    }
)
"""By service. An intermediate cuff pressure (2A36) or temperature (2A1E) is no result, and is not subscribed to."""

ORDER_DONE: Final = b"\x80"
"""What a GHS control point indicates when it did what it was told; Philips' server says 81 if it is busy, 82 if it cannot."""
LIVE: Final = frozenset(value for flow in FLOWS.values() for value in flow.live)
"""What comes by itself, in whichever service a device has it."""
KEPT: Final = frozenset(value for flow in FLOWS.values() for records in flow.records for value in records.values)
"""What records come by."""
SEGMENTED: Final = frozenset({0x2B36, 0x2B8B, 0x2BDD})
"""What may come in segments, each a value of its own, which `wire.ghs_segments` joins (GHSS, BLS 1.1)."""

_DATED_BY_BIT_1: Final = (0x2A35, 0x2A9D, 0x2A9C, 0x2A1C)
_DATE_AT: Final[Mapping[int, int]] = MappingProxyType({0x2A5E: 5, 0x2A35: 7, 0x2A1C: 5, 0x2A9D: 3, 0x2A9C: 4})
"""Where a value with a time stamp has its Date Time."""


def elsewhere(values: Collection[int | bytes]) -> Records | None:
    """What a control point gives out that stands in a service of its maker's (Omron's): what the device measures."""
    kept = tuple(value for value in _DATED_BY_BIT_1 if value in values)
    return Records(values=kept, dated=0x02) if kept else None


_ALL: Final = 1
_FROM: Final = 3
_BY_NUMBER: Final = 1


def asked(opcode: Opcode, *, number: int | None = None, number_bytes: int = 0) -> bytes:
    """A request for all records, or for those from `number` on."""
    if number is None:
        return bytes((opcode, _ALL))
    return bytes((opcode, _FROM, _BY_NUMBER)) + number.to_bytes(number_bytes, "little")


ABORT: Final = bytes((Opcode.ABORT, 0))


class Answer(NamedTuple):
    """The end of a procedure; `records` is how many there are, or were sent, where it says that."""

    result: int
    records: int | None = None


def answer_to(opcode: Opcode, value: bytes) -> Answer | None:
    """What an indication of the control point says to a request; None if it is no answer to it."""
    if len(value) == 4 and value[0] == Opcode.ANSWER and value[2] == opcode:
        return Answer(value[3])
    counted = {Opcode.COUNT: Opcode.COUNT_ANSWER, Opcode.COMBINED: Opcode.COMBINED_ANSWER}.get(opcode)
    if counted is not None and value[:1] == bytes((counted,)) and 3 <= len(value) <= 6:
        return Answer(Result.SUCCESS, int.from_bytes(value[2:], "little"))
    return None


class Entry(NamedTuple):
    """A record that has come: its number, if it has one, and what it is known by (nothing, if it cannot be told)."""

    number: int | None
    digest: bytes
    sure: bool = True
    """False: without a time, or by a clock that nobody has set. Another record may look like it."""


_REMEMBERED: Final = 4096
"""Records of one session for what is attached to them: more than any device keeps."""


class Reader:
    """Finds the records in values."""

    def __init__(self, records: Records, relative_to: bytes) -> None:
        """`relative_to`: the value of `records.under`."""
        self._records = records
        self._salt = len(relative_to).to_bytes(2) + relative_to
        self.sure = records.under is None or _is_set(relative_to)
        """Whether it is known to what records are relative."""
        self._came: dict[bytes, bytes] = {}
        self._announced: set[bytes] = set()

    def read(self, characteristic: int, value: bytes) -> list[Entry]:
        """The records in a value. Whatever a device sends is read without an error."""
        records = self._records
        dated = value[:1] and value[0] & records.dated and _is_set(value[_DATE_AT[characteristic] :])
        sure = self.sure and bool(dated or not records.dated)
        if characteristic != records.values[0]:
            if not records.number_bytes:
                return [Entry(None, self._digest(characteristic, value), sure)]
            # It has no time of its own: after a reset, number and value may be those of another record's.
            self._announced.discard(self.number_of(value))
            record = self.record_of(characteristic, value)
            return [Entry(None, self._digest(characteristic, record + value) if record else b"")]
        if len(records.values) > 1:
            self._remember(value)
        if records.packed:
            return [self._entry(characteristic, part, sure) for part in _unpacked(value)]
        return [self._entry(characteristic, value, sure)]

    def number_of(self, value: bytes) -> bytes:
        """The number of a record, or of that to which a value is attached."""
        return value[self._records.number_at :][: self._records.number_bytes]

    def record_of(self, characteristic: int, value: bytes) -> bytes:
        """The record of this session to which a value is attached; empty if it is none, or has not come."""
        return b"" if characteristic == self._records.values[0] else self._came.get(self.number_of(value), b"")

    def is_early(self, characteristic: int, value: bytes) -> bool:
        """Whether it is attached to a record that has not come yet.

        A stack may read each characteristic from a socket of its own, in any order.
        """
        attached = characteristic != self._records.values[0] and self._records.number_bytes
        return bool(attached and not self.record_of(characteristic, value))

    @property
    def awaits(self) -> bool:
        """Whether a record has announced what has not come."""
        return bool(self._announced)

    def _remember(self, record: bytes) -> None:
        number = self.number_of(record)
        if not number:
            return
        self._came[number] = record
        if record[0] & self._records.announced:
            self._announced.add(number)
        if len(self._came) > _REMEMBERED:
            oldest = next(iter(self._came))
            del self._came[oldest]
            self._announced.discard(oldest)

    def _entry(self, characteristic: int, record: bytes, sure: bool) -> Entry:
        at, size = self._records.number_at, self._records.number_bytes
        number = int.from_bytes(record[at : at + size], "little") if 0 < size <= len(record) - at else None
        return Entry(number, self._digest(characteristic, record[self._records.identity]), sure)

    def _digest(self, characteristic: int, known_by: bytes) -> bytes:
        return sha256(self._salt + characteristic.to_bytes(2) + known_by).digest()[:8]


def _is_set(date: bytes) -> bool:
    """Whether year, month and day are known: 0 says that they are not."""
    return len(date) >= 4 and bool((date[0] | date[1]) and date[2] and date[3])


def _unpacked(value: bytes) -> Iterator[bytes]:
    while value:
        size = max(value[0], 1)
        yield value[:size]
        value = value[size:]
