"""What the envelope tests share: published test keys, one of everything, Hypothesis strategies, and bytes gone wrong."""

import json
import random
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import strategies as st

from wire.batch import GENESIS, MAX_INTEGER, HubKey, VerifiedBatch, encode_reading, open_batch, seal_batch
from wire.cose import KeySigner, PublicKey
from wire.evidence import (
    AgentContext,
    AgentContextKind,
    AgentReport,
    Clock,
    ClockState,
    Context,
    Device,
    Evidence,
    Reading,
    SerialContext,
    SerialFrame,
)

VECTORS = Path(__file__).parent.parent / "vectors"

HUB_KEY = ec.derive_private_key(
    0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1()
)  # RFC 6979, A.2.5
BRIDGE_KEY = ec.derive_private_key(
    0x57C92077664146E876760C9520D054AA93C3AFB04E306705DB6090308507B4D3, ec.SECP256R1()
)  # cose-wg/Examples, key "11"
HUB_SIGNER = KeySigner(HUB_KEY)
BRIDGE_SIGNER = KeySigner(BRIDGE_KEY)
HUB = "hub-0001"
EPOCH = bytes.fromhex("0102030405060708")
BOOT = bytes(range(16))
CLOCK = Clock(
    wall_us=1_767_225_600_000_000, mono_us=5_000_000, boot=BOOT, state=ClockState.SYNCHRONISED, uncertainty_ms=50
)
READING = Reading(
    device=Device(address=bytes.fromhex("aabbccddee01"), name="Oximeter 1"),
    received=CLOCK,
    characteristic=0x2A5E,
    value=bytes.fromhex("0062004800"),
    context=(Context(characteristic=0x2A24, mono_us=4_000_000, value=b"M1"),),
)

AGENT_REPORT = AgentReport(
    device=Device(address=bytes.fromhex("1133557799bbddff"), name="Oximeter 2"),
    received=CLOCK,
    configuration=0x0190,
    apdu=bytes.fromhex("e700000211"),
    context=(AgentContext(kind=AgentContextKind.MDS, mono_us=4_000_000, value=bytes(4)),),
)
SERIAL_FRAME = SerialFrame(
    device=Device(address=bytes.fromhex("001c05000001")), received=CLOCK, format=1, frame=bytes.fromhex("80486220")
)


def outside(name: str) -> Any:
    """One file of vectors that our code did not make."""
    return json.loads((VECTORS / name).read_text("utf-8"))


def hub_keys(kid: bytes) -> HubKey | None:
    """A registry with one hub."""
    return HubKey(hub=HUB, public_key=HUB_KEY.public_key()) if kid == HUB_SIGNER.kid else None


def bridge_keys(kid: bytes) -> PublicKey | None:
    """What a hub trusts: one bridge."""
    return BRIDGE_KEY.public_key() if kid == BRIDGE_SIGNER.kid else None


def sealed_batch(*readings: Evidence, first: int = 1, previous: bytes = GENESIS, **other: Any) -> bytes:
    """A batch of HUB, sound unless `other` makes it otherwise."""
    encoded = [encode_reading(each) for each in readings or (READING,)]
    arguments: dict[str, Any] = {"hub": HUB, "epoch": EPOCH, "oldest": 1, "sealed": CLOCK, "signer": HUB_SIGNER} | other
    return seal_batch(first=first, previous=previous, readings=encoded, **arguments)


def sealed_again(batch: VerifiedBatch) -> bytes:
    """What the hub's signer makes of a batch that was opened."""
    return seal_batch(
        hub=batch.hub,
        epoch=batch.epoch,
        first=batch.first,
        previous=batch.previous,
        oldest=batch.oldest,
        readings=[each.encoded for each in batch.readings],
        sealed=batch.sealed,
        signer=HUB_SIGNER,
    )


def opened_batch(envelope: bytes) -> VerifiedBatch:
    return open_batch(envelope, hub_keys)


numbers = st.integers(0, MAX_INTEGER)
values = st.binary(max_size=512)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=62)
characteristics = st.integers(0, 0xFFFF) | st.binary(min_size=16, max_size=16)
clocks = st.builds(
    Clock,
    wall_us=numbers,
    mono_us=numbers,
    boot=st.binary(min_size=16, max_size=16),
    state=st.sampled_from(ClockState),
    uncertainty_ms=st.none() | numbers,
)
devices = st.builds(Device, address=st.binary(min_size=6, max_size=6), random=st.booleans(), name=names)
contexts = st.builds(Context, characteristic=characteristics, mono_us=numbers, value=values)
readings = st.builds(
    Reading,
    device=devices,
    received=clocks,
    characteristic=characteristics,
    value=values,
    context=st.lists(contexts, max_size=32).map(tuple),
)

agent_reports = st.builds(
    AgentReport,
    device=st.builds(Device, address=st.binary(min_size=8, max_size=8), name=names),
    received=clocks,
    configuration=st.integers(1, 0x3FFF) | st.binary(min_size=1, max_size=300),
    apdu=st.binary(min_size=1, max_size=600),
    context=st.lists(
        st.builds(AgentContext, kind=st.sampled_from(AgentContextKind), mono_us=numbers, value=values), max_size=8
    ).map(tuple),
)
formats, frames = st.integers(1, 255), st.binary(min_size=1, max_size=512)
serial_frames = st.builds(
    SerialFrame,
    device=devices,
    received=clocks,
    format=formats,
    frame=frames,
    context=st.lists(st.builds(SerialContext, format=formats, mono_us=numbers, frame=frames), max_size=4).map(tuple),
)
evidence = readings | agent_reports | serial_frames


def changed_bytes(data: bytes, chance: random.Random) -> bytes:
    """`data` with bits flipped, bytes cut, added, moved or repeated, or its end cut off."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(7):
            case 0 | 1 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 2 if at < len(changed):
                changed[at] = chance.choice((0x00, 0x17, 0x18, 0x1F, 0x5F, 0x80, 0xC2, 0xF4, 0xF7, 0xFB, 0xFF))
            case 3:
                del changed[at : at + chance.choice((1, 2, 8, 64))]
            case 4:
                changed[at:at] = chance.randbytes(chance.choice((1, 2, 8, 64)))
            case 5:
                changed[at:at] = changed[at : at + chance.choice((1, 4, 32))]
            case 6:
                del changed[chance.randrange(len(changed) + 1) :]
    return bytes(changed)


def changed_value(value: Any, chance: random.Random) -> Any:
    """A decoded payload with one thing changed somewhere inside."""
    if chance.random() < 0.25:
        return stray(chance)
    if isinstance(value, dict) and value:
        key = chance.choice(list(value))
        match chance.randrange(8):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return value | {stray_key(chance): stray(chance)}
            case _:
                return value | {key: changed_value(value[key], chance)}
    if isinstance(value, list) and value:
        at = chance.randrange(len(value))
        match chance.randrange(8):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value[:at], stray(chance), *value[at:]]
            case 2:
                return value * chance.choice((0, 2, 70))
            case _:
                return [*value[:at], changed_value(value[at], chance), *value[at + 1 :]]
    if isinstance(value, bytes):
        return chance.choice((value + b"\0", value[:-1], bytes(len(value)), value * 3, changed_bytes(value, chance)))
    if isinstance(value, int):
        return chance.choice((value + 1, value - 1, -value - 1, value << 40, float(value), not value))
    return stray(chance)


STRAYS: tuple[Any, ...] = (
    *(0, 1, 2, -1, 1 << 53, (1 << 64) - 1, True, False, None, 1.0),
    *(b"", bytes(6), bytes(32), "", "hub-0002", "æ"),
    *([], {}, [[]], {1: {}}, [0] * 5, {1: bytes(6)}, [[[[[[[[[]]]]]]]]]),
)


def stray(chance: random.Random) -> Any:
    """Some value that does not belong."""
    return chance.choice(STRAYS)


def stray_key(chance: random.Random) -> Any:
    return chance.choice((0, 1, 2, 9, 24, -1, "1", b"\1", 1 << 32))


def loose(value: Any, chance: random.Random, faults: float) -> bytes:
    """CBOR of `value`, in which each item is written in some other than the deterministic form with chance `faults`."""

    def head(major: int, argument: int) -> bytes:
        sizes = [size for size in (0, 1, 2, 4, 8) if argument < (24 if size == 0 else 1 << 8 * size)]
        size = chance.choice(sizes) if chance.random() < faults else sizes[0]
        return bytes([major << 5 | (argument if size == 0 else 23 + size.bit_length())]) + (
            argument.to_bytes(size) if size else b""
        )

    fault = chance.random() < faults
    tag = (
        head(6, chance.choice((0, 1, 2, 4, 18, 24, 28, 29, 30, 35, 55799))) if fault and chance.random() < 0.3 else b""
    )
    match value:
        case None | bool():
            return tag + {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
        case float():
            return tag + b"\xfa" + bytes(4)
        case int():
            return (
                tag + (head(0, value) if value >= 0 else head(1, -1 - value)) if abs(value) < 1 << 63 else b"\xc2\x41\1"
            )
        case bytes() | str():
            data, major = (value, 2) if isinstance(value, bytes) else (value.encode(), 3)
            if fault:
                return tag + bytes([major << 5 | 31]) + head(major, len(data)) + data + b"\xff"
            return tag + head(major, len(data)) + data
        case list():
            items = b"".join(loose(item, chance, faults) for item in value)
            return tag + (b"\x9f" + items + b"\xff" if fault else head(4, len(value)) + items)
        case dict():
            pairs = [(loose(k, chance, faults), loose(v, chance, faults)) for k, v in value.items()]
            pairs.sort()
            if fault and pairs:
                pairs.append(chance.choice(pairs))
                chance.shuffle(pairs)
            return tag + head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
        case _:
            raise AssertionError(value)
