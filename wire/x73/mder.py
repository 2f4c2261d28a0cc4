"""MDER (ISO/IEEE 11073-20601 annex F): typed, declarative, big-endian.

A structure is a frozen dataclass derived from `Struct`; each field carries its wire type in `Annotated`. Lengths are
exact: a list or an octet string that is longer or shorter than it says, or bytes after the last field, is a
`DecodeError` with the offset in the whole APDU. No message repeats what the peer wrote, for that may be a value: in a
report whose lengths are wrong anything may stand where a length belongs, and messages end up in logs. The few places where real peers are known to be wrong are read
leniently only if the caller hands in a list for what was tolerated; without the list everything is strict.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, Generic, Protocol, Self, TypeVar, cast, get_type_hints

from wire.errors import DecodeError, WireError
from wire.measurement import Special
from wire.numbers import decode_float, decode_sfloat, encode_float, encode_sfloat

T = TypeVar("T")
S = TypeVar("S", bound="Struct")


class Tolerance(StrEnum):
    """What a robust manager or agent lets pass; each time it is named, so that it can be logged and counted."""

    TRAILING_EVENT_INFO = "trailing-event-info"
    """Bytes after the event-info's last field, all outer lengths agreeing."""
    UNDECLARED_HANDLE = "undeclared-handle"
    """A handle that the configuration does not declare, in a report that describes itself."""
    CONFIG_AGAIN = "config-report-again"
    """A configuration report when none was awaited any more."""
    REPLY_LENGTH = "event-reply-info-length"
    """An event-reply-info whose stated length is not that of its bytes."""
    VALUE_MAP_VARIANT = "value-map-variant"
    """An observation of a standard configuration laid out in another way that agents in the field are known to use."""
    TIME_STAMP = "time-stamp"
    """An absolute time that no clock shows, as of agents that write hours or seconds in binary: the time is unknown."""
    INVOKE_ID = "invoke-id"
    """An answer with another invoke-id than its request's, or an answer to no request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerated:
    """One thing that was let pass, and where."""

    tolerance: Tolerance
    offset: int
    detail: str


class Reader:
    """A window on the bytes of one APDU. The one place that owns length errors."""

    __slots__ = ("data", "end", "offset", "tolerated")

    def __init__(
        self, data: bytes, offset: int = 0, end: int | None = None, tolerated: list[Tolerated] | None = None
    ) -> None:
        self.data = data
        self.offset = offset
        self.end = len(data) if end is None else end
        self.tolerated = tolerated

    @property
    def remaining(self) -> int:
        """How many bytes are left in the window."""
        return self.end - self.offset

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes as they are."""
        start = self.offset
        if size > self.end - start:
            raise DecodeError(f"{what} needs more than the {self.end - start} bytes that are left", start)
        self.offset = start + size
        return self.data[start : self.offset]

    def u8(self, what: str) -> int:
        """An INT-U8."""
        start = self.offset
        if start >= self.end:
            raise DecodeError(f"{what} needs 1 byte, 0 left", start)
        self.offset = start + 1
        return self.data[start]

    def u16(self, what: str) -> int:
        """An INT-U16."""
        start = self.offset
        if self.end - start < 2:
            raise DecodeError(f"{what} needs 2 bytes, {self.end - start} left", start)
        self.offset = start + 2
        return self.data[start] << 8 | self.data[start + 1]

    def u32(self, what: str) -> int:
        """An INT-U32."""
        return int.from_bytes(self.take(4, what), "big")

    def window(self, size: int, what: str) -> "Reader":
        """The next `size` bytes as a window of their own; this reader goes on after them."""
        start = self.offset
        if size > self.end - start:
            raise DecodeError(f"{what} says more than the {self.end - start} bytes that are left", start)
        self.offset = start + size
        return Reader(self.data, start, start + size, self.tolerated)

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.end - self.offset, "rest")

    def finish(self, what: str) -> None:
        """Refuse bytes after the last field: lengths and content disagree."""
        if self.offset != self.end:
            raise DecodeError(f"{self.end - self.offset} bytes after {what}", self.offset)

    def let_pass(self, tolerance: Tolerance, detail: str) -> None:
        """Note a tolerated fault at this offset, or raise it where nobody tolerates."""
        if self.tolerated is None:
            raise DecodeError(detail, self.offset)
        self.tolerated.append(Tolerated(tolerance=tolerance, offset=self.offset, detail=detail))


class Wire(Protocol[T]):
    """How one field is written."""

    def read(self, reader: Reader, what: str) -> T: ...

    def write(self, value: T, out: bytearray) -> None: ...


class Fixed(Generic[T]):
    """A field of a fixed size, as a `struct` format; `load` and `dump` translate what is no plain integer."""

    __slots__ = ("dump", "format", "load", "packing")

    def __init__(
        self, format_: str, load: Callable[[int], T] | None = None, dump: Callable[[T], int] | None = None
    ) -> None:
        self.format = format_
        self.packing = struct.Struct(">" + format_)
        self.load = load
        self.dump = dump

    def read(self, reader: Reader, what: str) -> T:
        start = reader.offset
        if reader.end - start < self.packing.size:
            raise DecodeError(f"{what} needs {self.packing.size} bytes, {reader.end - start} left", start)
        reader.offset = start + self.packing.size
        (raw,) = self.packing.unpack_from(reader.data, start)
        return cast("T", raw) if self.load is None else self.load(raw)

    def write(self, value: T, out: bytearray) -> None:
        raw = value if self.dump is None else self.dump(value)
        try:
            out += self.packing.pack(raw)
        except struct.error as error:
            raise WireError(f"a number does not fit {self.packing.size} bytes") from error


U8: Final = Fixed[int]("B")
U16: Final = Fixed[int]("H")
U32: Final = Fixed[int]("I")
SFLOAT: Final = Fixed[Decimal | Special]("H", decode_sfloat, encode_sfloat)
FLOAT: Final = Fixed[Decimal | Special]("I", decode_float, encode_float)


class Bytes:
    """Bytes of a length that the type fixes."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def read(self, reader: Reader, what: str) -> bytes:
        return reader.take(self.size, what)

    def write(self, value: bytes, out: bytearray) -> None:
        if len(value) != self.size:
            raise WireError(f"{len(value)} bytes where {self.size} belong")
        out += value


class Octets:
    """OCTET STRING and ANY: a length and that many bytes."""

    __slots__ = ()

    def read(self, reader: Reader, what: str) -> bytes:
        data, start = reader.data, reader.offset + 2
        if start > reader.end:
            reader.u16(f"length of {what}")
        end = start + (data[start - 2] << 8 | data[start - 1])
        if end > reader.end:
            raise DecodeError(f"{what} needs more than the {reader.end - start} bytes that are left", start)
        reader.offset = end
        return data[start:end]

    def write(self, value: bytes, out: bytearray) -> None:
        write_octets(value, out)


class ReplyInfo:
    """The event-reply-info, whose length independent managers get wrong: the window decides where it is tolerated."""

    __slots__ = ()

    def read(self, reader: Reader, what: str) -> bytes:
        stated = reader.u16(f"length of {what}")
        if stated != reader.remaining:
            reader.let_pass(Tolerance.REPLY_LENGTH, f"{what} has {reader.remaining} bytes and says otherwise")
        return reader.rest()

    def write(self, value: bytes, out: bytearray) -> None:
        write_octets(value, out)


class ListOf(Generic[T]):
    """SEQUENCE OF: count, length in bytes, items."""

    __slots__ = ("item",)

    def __init__(self, item: "Wire[T] | type[Struct]") -> None:
        self.item: Wire[T] = cast("Wire[T]", Nested(item) if isinstance(item, type) else item)

    def read(self, reader: Reader, what: str) -> tuple[T, ...]:
        data, start = reader.data, reader.offset + 4
        if start > reader.end:
            reader.u16(what)
            reader.u16(what)
        count = data[start - 4] << 8 | data[start - 3]
        end = start + (data[start - 2] << 8 | data[start - 1])
        if end > reader.end:
            raise DecodeError(f"{what} says more than the {reader.end - start} bytes that are left", start)
        reader.offset = end
        item = self.item
        values: list[T] = []
        at = start
        if isinstance(item, Nested):
            plan = _plan(item.type)
            at = plan.read_pairs(data, start, end, count, values)
            if at != end:
                items = Reader(data, at, end, reader.tolerated)
                while items.offset < end and len(values) < count:
                    values.append(cast("T", plan.read(items)))
                at = items.offset
        else:
            items = Reader(data, start, end, reader.tolerated)
            # No item is empty: a count that promises more than the bytes hold ends here and not in memory.
            while items.offset < end and len(values) < count:
                values.append(item.read(items, what))
            at = items.offset
        if len(values) != count or at != end:
            raise DecodeError(f"{what} has {len(values)} items in {end - start} bytes and says otherwise", at)
        return tuple(values)

    def write(self, value: tuple[T, ...], out: bytearray) -> None:
        body = bytearray()
        for item in value:
            self.item.write(item, body)
        out += _u16(len(value), "items") + _u16(len(body), "bytes")
        out += body


class Nested(Generic[S]):
    """A structure inside a structure."""

    __slots__ = ("type",)

    def __init__(self, type_: type[S]) -> None:
        self.type = type_

    def read(self, reader: Reader, what: str) -> S:  # noqa: ARG002 - the fields name themselves
        return self.type.read(reader)

    def write(self, value: S, out: bytearray) -> None:
        value.write(out)


OCTETS: Final = Octets()
REPLY_INFO: Final = ReplyInfo()

Unsigned8 = Annotated[int, U8]
Unsigned16 = Annotated[int, U16]
Unsigned32 = Annotated[int, U32]
OctetString = Annotated[bytes, OCTETS]


def write_octets(value: bytes, out: bytearray) -> None:
    """A length and that many bytes."""
    out += _u16(len(value), "bytes")
    out += value


class Struct:
    """Base of every structure: a dataclass whose fields are its bytes, in order."""

    __slots__ = ()

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """The structure at the reader's place."""
        return cast("Self", _plan(cls).read(reader))

    @classmethod
    def decode(cls, data: bytes, tolerated: list[Tolerated] | None = None, offset: int = 0) -> Self:
        """The structure that these bytes are, and nothing after it; `offset` is where they lie in the APDU."""
        reader = Reader(data, tolerated=tolerated)
        try:
            value = cls.read(reader)
            reader.finish(cls.__name__)
        except DecodeError as error:
            if not offset:
                raise
            raise DecodeError(error.message, error.offset + offset) from None
        return value

    def write(self, out: bytearray) -> None:
        """Append the structure's bytes."""
        for name, wire in _plan(type(self)).wires:
            wire.write(getattr(self, name), out)

    def encode(self) -> bytes:
        """The structure's bytes; WireError where a value does not fit its field."""
        out = bytearray()
        self.write(out)
        return bytes(out)


class _Plan:
    """What a structure's annotations say, worked out once.

    Neighbours of fixed size are unpacked in one go, and slots are set directly: a frozen dataclass's own constructor
    costs more than reading its bytes. No structure has a `__post_init__` that this would pass by.
    """

    __slots__ = ("cls", "head", "pair", "read", "runs", "setters", "tail", "wires")

    def __init__(self, cls: type[Struct]) -> None:
        hints = get_type_hints(cls, include_extras=True)
        self.cls = cls
        self.wires: list[tuple[str, Wire[Any]]] = [
            (each.name, hints[each.name].__metadata__[0])
            for each in fields(cls)  # type: ignore[arg-type]  # every Struct is a dataclass
        ]
        self.setters = _setters(cls)
        self.runs: list[_Run] = []
        pending: list[tuple[str, Fixed[Any]]] = []
        for name, wire in self.wires:
            if isinstance(wire, Fixed):
                pending.append((name, wire))
                continue
            self._flush(pending)
            pending = []
            self.runs.append((name, wire, None, None))
        self._flush(pending)
        self.head = self._octets_after_a_head()
        self.tail = self._one_after_a_head()
        self.pair = self.setters if len(self.setters) == 2 else None
        self.read = self._read_runs
        if self.head is not None:
            self.read = self._read_head
        elif self.tail is not None:
            self.read = self._read_tail

    def _octets_after_a_head(self) -> struct.Struct | None:
        """The commonest structure of all, plain numbers and then one octet string, in one unpacking; else None."""
        if len(self.runs) != 2:
            return None
        (_, _, packing, loads), (_, wire, _, _) = self.runs
        if packing is None or loads is not None or wire is not OCTETS:
            return None
        return struct.Struct(packing.format + "H")

    def _one_after_a_head(self) -> tuple[struct.Struct, Wire[Any], str] | None:
        """Plain numbers and then one thing of another kind, mostly a list; else None."""
        if len(self.runs) != 2:
            return None
        (_, _, packing, loads), (name, wire, _, _) = self.runs
        return None if packing is None or loads is not None or wire is None else (packing, wire, name)

    def _flush(self, pending: list[tuple[str, Fixed[Any]]]) -> None:
        if pending:
            packing = struct.Struct(">" + "".join(wire.format for _, wire in pending))
            loads = tuple(wire.load for _, wire in pending)
            self.runs.append((pending[0][0], None, packing, loads if any(loads) else None))

    def _read_head(self, reader: Reader) -> Struct:
        head = self.head
        if head is not None and (start := reader.offset + head.size) <= reader.end:
            *values, size = head.unpack_from(reader.data, reader.offset)
            end = start + size
            if end <= reader.end:
                reader.offset = end
                values.append(reader.data[start:end])
                made = object.__new__(self.cls)
                for set_, value in zip(self.setters, values, strict=True):
                    set_(made, value)
                return made
        return self._read_runs(reader)

    def read_pairs(self, data: bytes, at: int, end: int, count: int, values: list[Any]) -> int:
        """A list of a number and an octet string each (attributes, fixed observations), up to its end or a fault."""
        head, pair = self.head, self.pair
        if head is None or pair is None:
            return at
        new, cls, unpack, size = object.__new__, self.cls, head.unpack_from, head.size
        set_first, set_second = pair
        for _ in range(count):
            start = at + size
            if start > end:
                break
            first, length = unpack(data, at)
            after = start + length
            if after > end:
                break
            made = new(cls)
            set_first(made, first)
            set_second(made, data[start:after])
            values.append(made)
            at = after
        return at

    def _read_tail(self, reader: Reader) -> Struct:
        if self.tail is not None:
            packing, wire, name = self.tail
            start = reader.offset
            end = start + packing.size
            if end <= reader.end:
                reader.offset = end
                made = object.__new__(self.cls)
                for set_, value in zip(self.setters, packing.unpack_from(reader.data, start), strict=False):
                    set_(made, value)
                self.setters[-1](made, wire.read(reader, name))
                return made
        return self._read_runs(reader)

    def _read_runs(self, reader: Reader) -> Struct:
        values: list[Any] = []
        for name, wire, packing, loads in self.runs:
            if packing is None:
                values.append(wire.read(reader, name))  # type: ignore[union-attr]  # a run has a wire or a packing
                continue
            start = reader.offset
            end = start + packing.size
            if end > reader.end:
                self._short(reader, len(values))
            reader.offset = end
            raw = packing.unpack_from(reader.data, start)
            if loads is None:
                values += raw
            else:
                values += [each if load is None else load(each) for each, load in zip(raw, loads, strict=True)]
        made = object.__new__(self.cls)
        for set_, value in zip(self.setters, values, strict=True):
            set_(made, value)
        return made

    def _short(self, reader: Reader, first: int) -> None:
        """Read field by field to say which one is missing."""
        for name, wire in self.wires[first:]:
            wire.read(reader, name)


def maker(cls: type[T]) -> Callable[..., T]:
    """A constructor of a slotted dataclass from all its fields in order, for the few places where each one counts."""
    setters = _setters(cls)
    new = object.__new__

    def make(*values: object) -> T:
        made = new(cls)
        for set_, value in zip(setters, values, strict=True):
            set_(made, value)
        return made

    return make


def _setters(cls: type) -> tuple[Callable[[object, object], None], ...]:
    return tuple(cls.__dict__[each.name].__set__ for each in fields(cls))


_Run = tuple[str, "Wire[Any] | None", "struct.Struct | None", "tuple[Callable[[int], Any] | None, ...] | None"]
_PLANS: Final[dict[type[Struct], _Plan]] = {}


def _plan(cls: type[Struct]) -> _Plan:
    plan = _PLANS.get(cls)
    if plan is None:
        plan = _PLANS[cls] = _Plan(cls)
    return plan


def _u16(number: int, what: str) -> bytes:
    if number > 0xFFFF:
        raise WireError(f"{number} {what} where at most 65535 fit")
    return number.to_bytes(2, "big")
