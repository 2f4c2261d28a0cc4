"""The reading codec: each kind of evidence as it is stored, chained and sent (docs/wire.md, `reading`).

A reading is encoded once, on the hub, when it is stored; these bytes go unchanged into the chain, the batch and the
bridge's ledger. There is one form: what was understood is encoded again and must give the same bytes, and the bounds
are held where bytes are made, for both directions. Nothing here looks into what a device said.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from wire import cbor
from wire.evidence import (
    AgentContext,
    AgentContextKind,
    AgentReport,
    Context,
    Device,
    Evidence,
    Reading,
    SerialContext,
    SerialFrame,
)
from wire.items import (
    MAX_READING_BYTES,
    decode_clock,
    encode_clock,
    integer,
    malformed,
    need,
    octets,
    text,
    uint,
)

MAX_VALUE_BYTES: Final = 32 * 1024
"""A health observation that came in segments: 30 s of an ECG at 512 samples of two bytes a second. It fits with any context."""
MAX_ATTRIBUTE_BYTES: Final = 512
"""The longest attribute value (Bluetooth Core, Vol 3, Part F, 3.2.9)."""
MAX_CONTEXT: Final = 32
MAX_NAME_BYTES: Final = 248
"""The longest device name (Bluetooth Core, Vol 3, Part C, 12.1)."""
MAX_APDU_BYTES: Final = 64_512
"""The longest APDU of an agent (IEEE 11073-20601, 8.4.1)."""
MAX_CONFIGURATION_BYTES: Final = 8 * 1024
"""Ten times the longest configuration report of a specialization."""
MAX_AGENT_CONTEXT: Final = 8
MAX_AGENT_CONTEXT_BYTES: Final = 4 * 1024
MAX_STANDARD_CONFIGURATION: Final = 0x3FFF
MAX_FORMAT: Final = 255
MAX_FRAME_BYTES: Final = 512
"""A serial device's longest frame is under 100 bytes; no format yet to come needs more than an attribute value."""
MAX_SERIAL_CONTEXT: Final = 4

_KEYS: Final = frozenset(range(1, 6))
_KEYS_WITH_CONTEXT: Final = frozenset(range(1, 7))
_DEVICE_KEYS: Final = tuple(frozenset(keys) for keys in ((1,), (1, 3), (1, 2), (1, 2, 3)))
_BASE_UUID_HEAD: Final = bytes(2)
_BASE_UUID_TAIL: Final = bytes.fromhex("00001000800000805f9b34fb")
_TRUE: Final = b"\xf5"
_AGENT_CONTEXT_KINDS: Final = {kind.value: kind for kind in AgentContextKind}


def encode_reading(evidence: Evidence) -> bytes:
    """A reading as it is stored, chained and sent; EnvelopeError(MALFORMED) if it is out of bounds."""
    if isinstance(evidence, Reading):
        return _encode_gatt(evidence)
    encoded = _encode_agent(evidence) if isinstance(evidence, AgentReport) else _encode_serial(evidence)
    need(len(encoded) <= MAX_READING_BYTES, "a reading is at most 65,024 bytes")
    return encoded


def parse_reading(encoded: bytes) -> Evidence:
    """The reading that `encode_reading` made these bytes of, or EnvelopeError(MALFORMED)."""
    need(len(encoded) <= MAX_READING_BYTES, "a reading is at most 65,024 bytes")
    reading = decode_item(cbor.decode(encoded))
    need(encode_reading(reading) == encoded, "a reading is not in its one form, or bytes follow it")
    return reading


def decode_item(item: object) -> Evidence:
    """A reading of decoded CBOR in any form: the caller must encode what it got and compare."""
    if type(item) is not dict or item.keys() not in (_KEYS, _KEYS_WITH_CONTEXT):
        malformed("a reading is a map with the keys 1 to 5, and 6 if it has context")
    decoder = _DECODERS.get(integer(item[1], "kind"))
    return malformed("a reading of another kind than 1, 2, 3") if decoder is None else decoder(item)


def _encode_gatt(reading: Reading) -> bytes:
    value = reading.value
    need(len(value) <= MAX_VALUE_BYTES, "a value is at most 32,768 bytes")
    parts = [
        b"\xa6\x01\x01\x02" if reading.context else b"\xa5\x01\x01\x02",
        _encode_device(reading.device),
        b"\x03",
        encode_clock(reading.received),
        b"\x04",
        _encode_characteristic(reading.characteristic),
        b"\x05",
        cbor.bstr(value),
    ]
    if reading.context:
        need(len(reading.context) <= MAX_CONTEXT, "a reading has at most 32 context items")
        parts += b"\x06", cbor.array(len(reading.context))
        for item in reading.context:
            need(len(item.value) <= MAX_ATTRIBUTE_BYTES, "a context item is at most 512 bytes")
            parts += b"\x83", _encode_characteristic(item.characteristic), uint(item.mono_us), cbor.bstr(item.value)
    return b"".join(parts)


def _decode_gatt(item: dict[object, object]) -> Reading:
    return Reading(
        device=_decode_device(item[2]),
        received=decode_clock(item[3]),
        characteristic=_characteristic(item[4]),
        value=octets(item[5], "value"),
        context=tuple([_decode_context(each) for each in _context(item, MAX_CONTEXT)]),
    )


def _encode_agent(report: AgentReport) -> bytes:
    need(1 <= len(report.apdu) <= MAX_APDU_BYTES, "an APDU is 1 to 64,512 bytes")
    need(len(report.context) <= MAX_AGENT_CONTEXT, "an agent's report has at most 8 context items")
    parts = [
        b"\xa6\x01\x02\x02" if report.context else b"\xa5\x01\x02\x02",
        _encode_device(report.device, of_agent=True),
        b"\x03",
        encode_clock(report.received),
        b"\x04",
        _encode_configuration(report.configuration),
        b"\x05",
        cbor.bstr(report.apdu),
    ]
    if report.context:
        parts += b"\x06", cbor.array(len(report.context))
        for item in report.context:
            need(len(item.value) <= MAX_AGENT_CONTEXT_BYTES, "a context item of an agent is at most 4 KiB")
            parts += b"\x83", uint(item.kind), uint(item.mono_us), cbor.bstr(item.value)
    return b"".join(parts)


def _decode_agent(item: dict[object, object]) -> AgentReport:
    configuration = item[4]
    return AgentReport(
        device=_decode_device(item[2]),
        received=decode_clock(item[3]),
        configuration=configuration if type(configuration) is bytes else integer(configuration, "configuration"),
        apdu=octets(item[5], "APDU"),
        context=tuple([_decode_agent_context(each) for each in _context(item, MAX_AGENT_CONTEXT)]),
    )


def _encode_serial(frame: SerialFrame) -> bytes:
    need(len(frame.context) <= MAX_SERIAL_CONTEXT, "a frame has at most 4 context items")
    parts = [
        b"\xa6\x01\x03\x02" if frame.context else b"\xa5\x01\x03\x02",
        _encode_device(frame.device),
        b"\x03",
        encode_clock(frame.received),
        b"\x04",
        _encode_frame(frame.format, frame.frame, b"\x05"),
    ]
    if frame.context:
        parts += b"\x06", cbor.array(len(frame.context))
        for item in frame.context:
            parts += b"\x83", _encode_frame(item.format, item.frame, uint(item.mono_us))
    return b"".join(parts)


def _encode_frame(format_: int, frame: bytes, between: bytes) -> bytes:
    need(1 <= format_ <= MAX_FORMAT, "a serial format is 1 to 255")
    need(1 <= len(frame) <= MAX_FRAME_BYTES, "a frame is 1 to 512 bytes")
    return uint(format_) + between + cbor.bstr(frame)


def _decode_serial(item: dict[object, object]) -> SerialFrame:
    return SerialFrame(
        device=_decode_device(item[2]),
        received=decode_clock(item[3]),
        format=integer(item[4], "format"),
        frame=octets(item[5], "frame"),
        context=tuple([_decode_serial_context(each) for each in _context(item, MAX_SERIAL_CONTEXT)]),
    )


def _decode_serial_context(item: object) -> SerialContext:
    if type(item) is not list or len(item) != 3:
        malformed("a context item of a frame is [format, time, frame]")
    return SerialContext(
        format=integer(item[0], "format"), mono_us=integer(item[1], "time"), frame=octets(item[2], "frame")
    )


def _context(item: dict[object, object], most: int) -> list[object]:
    """The context items, and no more of too many than shows that they are too many."""
    context = item.get(6, [])
    return context[: most + 1] if type(context) is list else malformed("context is not an array")


def _decode_context(item: object) -> Context:
    if type(item) is not list or len(item) != 3:
        malformed("a context item is [characteristic, time, value]")
    return Context(
        characteristic=_characteristic(item[0]), mono_us=integer(item[1], "time"), value=octets(item[2], "value")
    )


def _decode_agent_context(item: object) -> AgentContext:
    if type(item) is not list or len(item) != 3:
        malformed("a context item is [what, time, value]")
    kind = _AGENT_CONTEXT_KINDS.get(integer(item[0], "what"))
    if kind is None:
        malformed("a context item of an agent is of kind 1 to 5")
    return AgentContext(kind=kind, mono_us=integer(item[1], "time"), value=octets(item[2], "value"))


def _decode_device(item: object) -> Device:
    if type(item) is not dict or item.keys() not in _DEVICE_KEYS:
        malformed("a device is a map with the key 1, and 2 and 3 if it has them")
    random = item.get(2, False)
    if type(random) is not bool:
        malformed("random is not true")
    return Device(address=octets(item[1], "address"), random=random, name=text(item.get(3, ""), "name"))


def _encode_device(device: Device, *, of_agent: bool = False) -> bytes:
    if of_agent:
        need(len(device.address) == 8 and not device.random, "a system-id is 8 bytes, and never random")
    else:
        need(len(device.address) == 6, "a Bluetooth address is 6 bytes")
    try:
        name = device.name.encode()
    except UnicodeEncodeError:
        malformed("a device name is not Unicode text")
    need(len(name) <= MAX_NAME_BYTES, "a device name is at most 248 bytes")
    return b"".join(
        (
            cbor.mapping(1 + device.random + bool(name)),
            b"\x01\x48" if of_agent else b"\x01\x46",
            device.address,
            b"\x02" + _TRUE if device.random else b"",
            b"\x03" + cbor.tstr(device.name) if name else b"",
        )
    )


def _encode_configuration(configuration: int | bytes) -> bytes:
    if isinstance(configuration, int):
        need(1 <= configuration <= MAX_STANDARD_CONFIGURATION, "a standard configuration is 1 to 16,383")
        return cbor.uint(configuration)
    need(1 <= len(configuration) <= MAX_CONFIGURATION_BYTES, "a configuration is 1 byte to 8 KiB")
    return cbor.bstr(configuration)


@lru_cache(maxsize=256)
def _encode_characteristic(characteristic: int | bytes) -> bytes:
    if isinstance(characteristic, int):
        need(0 <= characteristic <= 0xFFFF, "a short UUID is 16 bits")
        return cbor.uint(characteristic)
    need(len(characteristic) == 16, "a UUID is 16 bytes")
    is_short = characteristic.startswith(_BASE_UUID_HEAD) and characteristic.endswith(_BASE_UUID_TAIL)
    need(not is_short, "a 16-bit UUID is written as an integer")
    return b"\x50" + characteristic


def _characteristic(item: object) -> int | bytes:
    return item if type(item) is bytes else integer(item, "characteristic")


_DECODERS: Final[Mapping[int, Callable[[dict[object, object]], Evidence]]] = {
    1: _decode_gatt,
    2: _decode_agent,
    3: _decode_serial,
}
