"""A second 20601 manager and agent, from bytes alone: nothing of `wire` or `simulator` is imported here, ever.

Our manager and our agent share one codec, so a mistake in it would be the same on both sides and nobody would see it.
These two are written from the reference (protocol.md) and from what signove/antidote, LibreSoft OpenHealth,
Tidepool's uploader and signove/hdpy do, read as facts. They are strict on every length. All numbers are by hand.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

MANAGER_ID = bytes.fromhex("8877665544332211")
AGENT_ID = bytes.fromhex("001c050100002885")
TEN_PAST = bytes.fromhex("2009061212100000")
"""2009-06-12T12:10:00 in BCD."""

NUMERIC, ENUMERATION, WAVEFORM, STORE = 6, 5, 9, 61
TYPE, SUPPLEMENTAL, SPEC, STRUCTURE, PARTS, PARTITION, UNIT, MAP = (
    0x092F, 0x0A61, 0x0A46, 0x0A73, 0x0A76, 0x0A60, 0x0996, 0x0A55,
)  # fmt: skip
BASIC, SIMPLE, COMPOUND, CODED, BITS16, BITS32, SAMPLES = 0x0A4C, 0x0A56, 0x0A75, 0x0A49, 0x0A66, 0x0A65, 0x0A48
ABSOLUTE, BASE_OFFSET = 0x0990, 0x0A82
CONFIG, FIXED, VARIABLE, SEGMENT_DATA = 0x0D1C, 0x0D1D, 0x0D1E, 0x0D21


# Writing


def u16(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}H", *numbers)


def octets(data: bytes) -> bytes:
    return u16(len(data)) + data


def listed(items: Iterable[bytes]) -> bytes:
    """SEQUENCE OF: count, length, items."""
    items = list(items)
    return u16(len(items)) + octets(b"".join(items))


def attribute(id_: int, value: bytes) -> bytes:
    return u16(id_) + octets(value)


def apdu(choice: int, body: bytes) -> bytes:
    return u16(choice) + octets(body)


def prst(invoke_id: int, choice: int, body: bytes) -> bytes:
    return apdu(0xE700, octets(u16(invoke_id, choice) + octets(body)))


def event(
    invoke_id: int, event_type: int, info: bytes, *, confirmed: bool = True, handle: int = 0, time: int = 0xFFFFFFFF
) -> bytes:
    return prst(
        invoke_id, 0x0101 if confirmed else 0x0100, struct.pack(">HIH", handle, time, event_type) + octets(info)
    )


def association(config_id: int, *, system_id: bytes = AGENT_ID, version: int = 0x80000000) -> bytes:
    """AARQ."""
    info = struct.pack(">IHIII", version, 0x8000, 0x80000000, 0, 0x00800000) + octets(system_id)
    info += struct.pack(">HHBB", config_id, 1, 1, 0) + listed(())
    return apdu(0xE200, struct.pack(">I", 0x80000000) + listed([u16(20601) + octets(info)]))


def declared(
    handle: int,
    class_: int,
    code: int,
    layout: Iterable[tuple[int, int]],
    *,
    unit: int = 0,
    more: bytes = b"",
    n: int = 0,
) -> bytes:
    """A configuration object; `more` has `n` further attributes."""
    attributes = [attribute(TYPE, struct.pack(">I", code)), attribute(SPEC, u16(0xF040))]
    if unit:
        attributes.append(attribute(UNIT, u16(unit)))
    attributes.append(attribute(MAP, listed(u16(*entry) for entry in layout)))
    body = b"".join(attributes) + more
    return u16(class_, handle, len(attributes) + n) + octets(body)


def configuration(config_id: int, objects: Iterable[bytes], *, invoke_id: int = 2, trailing: bytes = b"") -> bytes:
    return event(invoke_id, CONFIG, u16(config_id) + listed(objects) + trailing)


def fixed(
    observations: Iterable[tuple[int, bytes]], *, invoke_id: int = 3, confirmed: bool = True, trailing: bytes = b""
) -> bytes:
    seen = listed(u16(handle) + octets(data) for handle, data in observations)
    return event(invoke_id, FIXED, u16(0xF000, 0) + seen + trailing, confirmed=confirmed, time=0)


def variable(
    observations: Iterable[tuple[int, Iterable[tuple[int, bytes]]]], *, invoke_id: int = 3, confirmed: bool = True
) -> bytes:
    seen = listed(u16(handle) + listed(attribute(*each) for each in told) for handle, told in observations)
    return event(invoke_id, VARIABLE, u16(0xF000, 0) + seen, confirmed=confirmed)


def get_answer(invoke_id: int, config_id: int, *, time: bytes = TEN_PAST) -> bytes:
    told = [
        attribute(0x0984, octets(AGENT_ID)),
        attribute(0x0A44, u16(config_id)),
        attribute(0x0928, octets(b"Peer") + octets(b"P1")),
        attribute(0x0A5A, listed([u16(4100, 1)])),
        attribute(0x0987, time),
    ]
    return prst(invoke_id, 0x0203, u16(0) + listed(told))


# Reading: every length must be right


class Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        assert self.at + size <= len(self.data), f"{size} bytes wanted, {len(self.data) - self.at} left"
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int = 2) -> int:
        return int.from_bytes(self.take(size), "big")

    def octets(self) -> bytes:
        return self.take(self.number())

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def end(self) -> None:
        assert self.at == len(self.data), f"{len(self.data) - self.at} bytes left"

    def items(self, read: Callable[["Cursor"], tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        count = self.number()
        inner = Cursor(self.octets())
        found = [read(inner) for _ in range(count)]
        inner.end()
        return found


def entry(cursor: Cursor) -> tuple[int, bytes]:
    """A number and an octet string: an attribute, an observation."""
    return cursor.number(), cursor.octets()


def apdus(data: bytes) -> list[bytes]:
    cursor, found = Cursor(data), []
    while cursor.at < len(data):
        head = cursor.take(2)
        found.append(head + octets(cursor.octets()))
    return found


def sfloat(raw: bytes) -> Decimal:
    """FFF exponents: 4 bits and 12 bits, both two's complement."""
    number = int.from_bytes(raw, "big")
    exponent, mantissa = number >> 12, number & 0xFFF
    return Decimal(mantissa - (mantissa > 0x7FF) * 0x1000).scaleb(exponent - (exponent > 7) * 16)


def float32(raw: bytes) -> Decimal:
    exponent, mantissa = struct.unpack(">b", raw[:1])[0], int.from_bytes(raw[1:], "big", signed=True)
    return Decimal(mantissa).scaleb(exponent)


@dataclass(frozen=True)
class Declared:
    """What a manager keeps of an object."""

    class_: int
    code: int
    unit: int
    parts: tuple[int, ...]
    layout: tuple[tuple[int, int], ...]
    attributes: dict[int, bytes] = field(default_factory=dict)


def read_object(cursor: Cursor) -> tuple[int, Declared]:
    class_, handle = cursor.number(), cursor.number()
    told = dict(cursor.items(entry))
    unit, parts = told.get(UNIT, b""), b""
    if PARTS in told:
        inner = Cursor(told[PARTS])
        inner.number()
        parts = inner.octets()
        inner.end()
    layout: tuple[tuple[int, int], ...] = ()
    if MAP in told:
        inner = Cursor(told[MAP])
        count = inner.number()
        pairs = inner.octets()
        inner.end()
        numbers = struct.unpack(f">{2 * count}H", pairs)
        layout = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    code = int.from_bytes(told.get(TYPE, b""), "big")
    terms = tuple(struct.unpack(f">{len(parts) // 2}H", parts))
    return handle, Declared(class_, code, int.from_bytes(unit, "big"), terms, layout, told)


def read_configuration(info: bytes) -> tuple[int, dict[int, Declared]]:
    cursor = Cursor(info)
    config_id, count = cursor.number(), cursor.number()
    inner = Cursor(cursor.octets())
    found = dict(read_object(inner) for _ in range(count))
    inner.end()
    cursor.end()
    assert len(found) == count, "a handle twice"
    return config_id, found


Said = tuple[int, object, int, bytes]
"""Code, value, unit term, time stamp."""


def value_of(kind: int, raw: bytes, seen: Declared) -> object:
    if kind == BASIC:
        return str(sfloat(raw))
    if kind == SIMPLE:
        return str(float32(raw))
    if kind == COMPOUND:
        inner = Cursor(raw)
        count = inner.number()
        values = inner.octets()
        inner.end()
        assert len(values) == 2 * count == 2 * len(seen.parts)
        return tuple(str(sfloat(values[at : at + 2])) for at in range(0, len(values), 2))
    if kind == CODED:
        return ("code", seen.code >> 16 << 16 | int.from_bytes(raw, "big"))
    if kind in (BITS16, BITS32):
        return ("bits", int.from_bytes(raw, "big"))
    assert kind == SAMPLES
    inner = Cursor(raw)
    samples = inner.octets()
    inner.end()
    return ("samples", struct.unpack(f">{len(samples) // 2}H", samples))


def read_observation(raw: bytes, seen: Declared, *, exact: bool = True) -> Said:
    """By the object's map; antidote's manager ignores what is left after it."""
    cursor, value, time = Cursor(raw), None, b""
    for kind, size in seen.layout:
        part = cursor.take(size)
        if kind in (ABSOLUTE, BASE_OFFSET):
            time = part
        else:
            value = value_of(kind, part, seen)
    if exact:
        cursor.end()
    return seen.code, value, seen.unit, time


# The manager


@dataclass(frozen=True)
class Manner:
    """What managers in the field do each in their own way."""

    name: str
    standard: dict[int, dict[int, Declared]] = field(default_factory=dict)
    """The standard configurations that it knows; one that it does not is answered with 3."""
    version: int = 0x80000000
    reads: str = "accepted"
    """GET MDS when the configuration is `accepted`, `before` it accepts, at `once` after the AARE, or `never`."""
    refused: frozenset[int] = frozenset()
    """Classes that it does not know: their configuration is refused."""
    reply: bytes = octets(b"")
    """The event-reply-info of a report's answer."""
    late: bool = False
    """It accepts a configuration only when told to."""
    deaf: bool = False
    """It answers every APDU of an association as if it were a report."""
    marks: int | None = None
    """The status with which it confirms segment data; None: the agent's, and that it is confirmed."""


class RawManager:
    """One association, strict on every length; `said` is what the reports meant."""

    def __init__(self, manner: Manner) -> None:
        self.manner = manner
        self.objects: dict[int, Declared] = {}
        self.mds: dict[int, bytes] = {}
        self.said: list[Said] = []
        self.reports = 0
        self.segments: dict[int, dict[int, bytes]] = {}
        self.entries = b""
        self.released = self.over = self.complete = False
        self.config_id = 0
        self.failed = 0
        self._invoke_id = 0
        self._held: bytes | None = None
        self._known = False

    def receive(self, data: bytes) -> bytes:
        return b"".join(self._one(raw) for raw in apdus(data))

    def accept(self) -> bytes:
        """The acceptance that was held back."""
        held, self._held = self._held, None
        assert held is not None
        return held

    def ask(self, choice: int, body: bytes) -> bytes:
        self._invoke_id += 1
        return prst(self._invoke_id, choice, body)

    def act(self, action: int, args: bytes, handle: int = 100) -> bytes:
        return self.ask(0x0107, u16(handle, action) + octets(args))

    def _one(self, raw: bytes) -> bytes:
        choice, body = int.from_bytes(raw[:2], "big"), Cursor(raw[4:])
        if choice == 0xE200:
            return self._associate(body)
        if choice == 0xE400:
            body.number()
            body.end()
            self.released = True
            return apdu(0xE500, u16(0))
        if choice == 0xE600:
            self.over = True
            return b""
        assert choice == 0xE700, f"{choice:04x} from an agent"
        inner = Cursor(body.octets())
        body.end()
        invoke_id, rose = inner.number(), inner.number()
        message = Cursor(inner.octets())
        inner.end()
        return self._data(invoke_id, rose, message)

    def _associate(self, body: Cursor) -> bytes:
        assert body.number(4) == 0x80000000
        ((protocol, info),) = body.items(entry)
        body.end()
        assert protocol == 20601
        inner = Cursor(info)
        assert inner.number(4) == 0x80000000, "antidote takes version 1 and nothing beside it"
        assert inner.number() & 0x8000
        assert inner.number(4) & 0x80000000
        assert inner.take(1) == b"\0", "LibreSoft takes no test association"
        inner.take(3)
        assert inner.number(4) == 0x00800000
        assert len(inner.octets()) == 8
        self.config_id = inner.number()
        inner.number()
        assert inner.take(2) in (b"\1\0", b"\0\0", b"\1\1")
        assert inner.items(entry) == []
        inner.end()
        known = self.manner.standard.get(self.config_id)
        self._known = known is not None
        self.objects = known or {}
        answer = struct.pack(">IHIII", self.manner.version, 0x8000, 0x80000000, 0, 0x80000000)
        answer += octets(MANAGER_ID) + struct.pack(">HHBB", 0, 0, 0, 0) + listed(())
        result = 0 if self._known or self.manner.deaf else 3
        out = apdu(0xE300, u16(result, 20601) + octets(answer))
        if self.manner.reads == "once" or (self._known and self.manner.reads != "never"):
            out += self.ask(0x0103, u16(0) + listed(()))
        return out

    def _data(self, invoke_id: int, rose: int, message: Cursor) -> bytes:
        if self.manner.deaf:
            self.reports += rose == 0x0101
            return prst(invoke_id, 0x0201, struct.pack(">HIH", 0, 0, FIXED) + octets(b""))
        if rose in (0x0100, 0x0101):
            return self._event(invoke_id, message, confirmed=rose == 0x0101)
        if rose == 0x0203:
            assert message.number() == 0
            self.mds = dict(message.items(entry))
            message.end()
            return self.accept() if self.manner.reads == "before" and self._held else b""
        if rose == 0x0207:
            self._acted(message)
            return b""
        assert rose in (0x0300, 0x0400), f"{rose:04x} from an agent"
        self.failed += 1
        return b""

    def _event(self, invoke_id: int, message: Cursor, *, confirmed: bool) -> bytes:
        handle, time, event_type = message.number(), message.number(4), message.number()
        info = message.octets()
        message.end()
        reply = self.manner.reply
        if event_type == CONFIG:
            return self._configured(invoke_id, time, info)
        assert self.objects, "a report before a configuration"
        if event_type == SEGMENT_DATA:
            reply = octets(self._segment(info))
        else:
            assert (handle, event_type) == (0, FIXED)
            self._fixed(info)
        self.reports += 1
        answer = struct.pack(">HIH", handle, time, event_type) + reply
        return prst(invoke_id, 0x0201, answer) if confirmed else b""

    def _configured(self, invoke_id: int, time: int, info: bytes) -> bytes:
        assert not self._known, "a configuration report that nobody asked for"
        config_id, objects = read_configuration(info)
        refused = self.manner.refused & {each.class_ for each in objects.values()}
        result = (2 if config_id < 0x4000 else 1) if refused else 0
        if not refused:
            self.objects = objects
        reply = prst(invoke_id, 0x0201, struct.pack(">HIHHHH", 0, time, CONFIG, 4, config_id, result))
        get = (
            self.ask(0x0103, u16(0) + listed(()))
            if self.manner.reads in ("before", "accepted") and result == 0
            else b""
        )
        if self.manner.late or self.manner.reads == "before":
            self._held = reply
            return get
        return reply + get

    def _fixed(self, info: bytes) -> None:
        cursor = Cursor(info)
        assert cursor.number() == 0xF000
        assert cursor.number() == self.reports
        for handle, raw in cursor.items(entry):
            self.said.append(read_observation(raw, self.objects[handle], exact=not self._known))
        cursor.end()

    # PM-store

    def _acted(self, message: Cursor) -> None:
        handle, action = message.number(), message.number()
        assert (handle == 0) is (action == 0x0C17), "the clock is the MDS's, the rest the store's"
        inner = Cursor(message.octets())
        message.end()
        if action == 0x0C0D:
            count = inner.number()
            segments = Cursor(inner.octets())
            for _ in range(count):
                instance = segments.number()
                self.segments[instance] = dict(segments.items(entry))
            segments.end()
        elif action == 0x0C1C:
            assert (inner.number(), inner.number()) == (1, 0)
        inner.end()

    def _segment(self, info: bytes) -> bytes:
        cursor = Cursor(info)
        head = cursor.take(12)
        instance, index, count, status = struct.unpack(">HIIH", head)
        entries = cursor.octets()
        cursor.end()
        assert (instance, bool(status & 0x8000)) == (1, index == 0)
        assert count
        self.entries += entries
        self.complete = bool(status & 0x4000)
        return head[:10] + u16(status | 0x0080 if self.manner.marks is None else self.manner.marks)

    def stored(self) -> list[list[Said]]:
        """The entries by the segment's map, as antidote reads them: an absolute time, then each element."""
        cursor = Cursor(self.segments[1][0x0A4E])
        assert cursor.number() == 0x8000, "antidote knows absolute, relative and high-resolution times"
        count = cursor.number()
        elements = Cursor(cursor.octets())
        cursor.end()
        found: list[tuple[Declared, int, int]] = []
        for _ in range(count):
            class_, code, handle = elements.number(), elements.number(4), elements.number()
            ((kind, size),) = [struct.unpack(">HH", u16(id_) + data) for id_, data in _pairs(elements)]
            seen = self.objects[handle]
            assert (class_, code) == (seen.class_, seen.code)
            found.append((seen, kind, size))
        elements.end()
        entries, read = Cursor(self.entries), []
        while entries.at < len(self.entries):
            time = entries.take(8)
            read.append(
                [(seen.code, value_of(kind, entries.take(size), seen), seen.unit, time) for seen, kind, size in found]
            )
        return read


def _pairs(cursor: Cursor) -> list[tuple[int, bytes]]:
    count = cursor.number()
    inner = Cursor(cursor.octets())
    found = [(inner.number(), inner.take(2)) for _ in range(count)]
    inner.end()
    return found
