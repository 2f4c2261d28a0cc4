"""Readings as stored, chained, sealed into batches and opened again (docs/wire.md, ADR 0001).

A reading is encoded once, on the hub, when it is stored; these bytes go unchanged into the chain, the batch and the
bridge's ledger. The chain runs over the readings and not over the batches: however a hub groups what it sends after
a restart, every grouping proves the same chain.

Opening is understanding and encoding again: the payload must be, byte for byte, what `seal_batch` would have made of
the readings found in it. So there is one form, and no second list of what it forbids. The bounds are held where
bytes are made, for both directions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, NoReturn

from wire import cbor, cose
from wire.cose import PublicKey, Signer
from wire.errors import EnvelopeError, Refusal
from wire.evidence import Clock, ClockState, Context, Device, Reading
from wire.topics import is_hub_id
from wire.verified import OnlyOpened, vouch

CONTENT_TYPE: Final = "application/vnd.stafet.batch+cbor"
VERSION: Final = 1
GENESIS: Final = bytes(32)
"""The chain before the first reading of every (hub, epoch). Which hub and epoch, the signed batch says."""

MAX_READINGS: Final = 64
"""Groups of 64 cost a tenth of the flash wear and of the signatures; more would only make a lost message dearer."""
MAX_VALUE_BYTES: Final = 512
"""The longest attribute value (Bluetooth Core, Vol 3, Part F, 3.2.9)."""
MAX_CONTEXT: Final = 32
MAX_NAME_BYTES: Final = 248
"""The longest device name (Bluetooth Core, Vol 3, Part C, 12.1)."""
MAX_READING_BYTES: Final = 20 * 1024
"""No reading within the bounds above is longer."""
MAX_INTEGER: Final = (1 << 53) - 1
"""Every integer is exact in JSON and SQLite. In microseconds it is the year 2255, later than Linux lets a clock be set."""

_KIND_GATT: Final = 1
_BATCH_KEYS: Final = frozenset(range(1, 9))
_READING_KEYS: Final = (frozenset(range(1, 6)), frozenset(range(1, 7)))
_DEVICE_KEYS: Final = tuple(frozenset(keys) for keys in ((1,), (1, 3), (1, 2), (1, 2, 3)))
_BASE_UUID_HEAD: Final = bytes(2)
_BASE_UUID_TAIL: Final = bytes.fromhex("00001000800000805f9b34fb")
_NULL: Final = b"\xf6"
_TRUE: Final = b"\xf5"
_STATES: Final = {state.value: state for state in ClockState}
_BATCH_OVERHEAD_BYTES: Final = 512
"""More than all of an envelope but its readings: 74 of header, 66 of signature, 36 of hub id, 32 of chain, a clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubKey:
    """Whose key it is, as the bridge's registry has it."""

    hub: str
    public_key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class VerifiedReading(OnlyOpened):
    """One reading as its hub signed it; `chain` is the chain's value after it."""

    seq: int
    encoded: bytes
    chain: bytes
    reading: Reading


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class VerifiedBatch(OnlyOpened):
    """What one hub signed, and nothing about how it fits what came before: that is the ledger's question."""

    hub: str
    epoch: bytes
    first: int
    previous: bytes
    """The chain's value before `first`."""
    oldest: int
    """The lowest sequence number that the hub still holds: what is lower will not come again."""
    sealed: Clock
    readings: tuple[VerifiedReading, ...]
    digest: bytes
    """SHA-256 of the envelope."""
    kid: bytes

    @property
    def last(self) -> int:
        return self.first + len(self.readings) - 1


def chain(previous: bytes, encoded_reading: bytes) -> bytes:
    """The running hash: SHA-256(previous || SHA-256(reading)). The inner hash lets a chain be shown without values."""
    return sha256(previous + sha256(encoded_reading).digest()).digest()


def digest(envelope: bytes) -> bytes:
    """How receipts and quarantine name an envelope, opened or not."""
    return sha256(envelope).digest()


def count_that_fit(readings: Sequence[bytes]) -> int:
    """How many of the encoded readings, from the first, go into one batch. At least 1 of any that are not too long."""
    room = cose.MAX_ENVELOPE_BYTES - _BATCH_OVERHEAD_BYTES
    for count, encoded in enumerate(readings[:MAX_READINGS]):
        room -= len(encoded)
        if room < 0:
            return count
    return min(len(readings), MAX_READINGS)


def seal_batch(
    *,
    hub: str,
    epoch: bytes,
    first: int,
    previous: bytes,
    oldest: int,
    readings: Sequence[bytes],
    sealed: Clock,
    signer: Signer,
) -> bytes:
    """Sign encoded readings `first`, `first` + 1, ... as one envelope.

    The readings are taken as `encode_reading` made them and not looked into; a damaged store shows at the bridge.
    """
    payload = _encode_batch(
        hub=hub, epoch=epoch, first=first, previous=previous, oldest=oldest, readings=readings, sealed=sealed
    )
    return cose.seal(payload, CONTENT_TYPE, signer)


def open_batch(envelope: bytes, keys: Callable[[bytes], HubKey | None]) -> VerifiedBatch:
    """Verify and read a batch, or raise EnvelopeError and nothing else.

    `keys` finds the hub key with this thumbprint, None if there is none or it is revoked. What the caller owes: that
    the topic is this hub's, and that the sequence and the chain continue what was accepted before.
    """
    owner: HubKey | None = None

    def find(kid: bytes) -> PublicKey | None:
        nonlocal owner
        owner = keys(kid)
        return owner.public_key if owner else None

    opened = cose.open_(envelope, CONTENT_TYPE, find)
    batch = _decode_batch(opened, digest(envelope))
    if owner is None or batch.hub != owner.hub:
        raise EnvelopeError(Refusal.WRONG_HUB, f"signed with another hub's key than that of {batch.hub}")
    return batch


def encode_reading(reading: Reading) -> bytes:
    """A reading as it is stored, chained and sent; EnvelopeError(MALFORMED) if it is out of bounds."""
    value = reading.value
    _need(len(value) <= MAX_VALUE_BYTES, "a value is at most 512 bytes")
    parts = [
        b"\xa6\x01\x01\x02" if reading.context else b"\xa5\x01\x01\x02",
        _encode_device(reading.device),
        b"\x03",
        _encode_clock(reading.received),
        b"\x04",
        _encode_characteristic(reading.characteristic),
        b"\x05",
        cbor.bstr(value),
    ]
    if reading.context:
        _need(len(reading.context) <= MAX_CONTEXT, "a reading has at most 32 context items")
        parts += b"\x06", cbor.array(len(reading.context))
        for item in reading.context:
            _need(len(item.value) <= MAX_VALUE_BYTES, "a value is at most 512 bytes")
            parts += b"\x83", _encode_characteristic(item.characteristic), _uint(item.mono_us), cbor.bstr(item.value)
    return b"".join(parts)


def parse_reading(encoded: bytes) -> Reading:
    """The reading that `encode_reading` made these bytes of, or EnvelopeError(MALFORMED)."""
    _need(len(encoded) <= MAX_READING_BYTES, "a reading is at most 20 KiB")
    reading = _decode_reading(cbor.decode(encoded))
    _need(encode_reading(reading) == encoded, "a reading is not in its one form, or bytes follow it")
    return reading


def _encode_batch(
    *, hub: str, epoch: bytes, first: int, previous: bytes, oldest: int, readings: Sequence[bytes], sealed: Clock
) -> bytes:
    _need(is_hub_id(hub), "a hub id is 1 to 36 of a-z, 0-9 and hyphen")
    _need(len(epoch) == 8, "an epoch is 8 bytes")
    _need(len(previous) == 32, "a chain value is 32 bytes")
    _need(1 <= len(readings) <= MAX_READINGS, "a batch has 1 to 64 readings")
    _need(1 <= oldest <= first, "1 <= oldest <= first")
    _need(first + len(readings) <= MAX_INTEGER, "a sequence number is below 2^53 - 1")
    _need(first > 1 or previous == GENESIS, "nothing comes before the first reading of an epoch")
    return b"".join(
        (
            b"\xa8\x01\x01\x02",
            cbor.tstr(hub),
            b"\x03",
            cbor.bstr(epoch),
            b"\x04",
            _uint(first),
            b"\x05",
            cbor.bstr(previous),
            b"\x06",
            _uint(oldest),
            b"\x07",
            cbor.array(len(readings)),
            *readings,
            b"\x08",
            _encode_clock(sealed),
        )
    )


def _decode_batch(opened: cose.Opened, envelope_digest: bytes) -> VerifiedBatch:
    item = cbor.decode(opened.payload)
    if type(item) is not dict or item.keys() != _BATCH_KEYS:
        _malformed("a batch is a map with the keys 1 to 8")
    if item[1] != VERSION:
        _malformed(f"a batch of another version than {VERSION}")
    hub, first = _text(item[2], "hub"), _int(item[4], "first")
    epoch, previous, oldest = _bytes(item[3], "epoch"), _bytes(item[5], "previous"), _int(item[6], "oldest")
    sealed = _decode_clock(item[8])
    if type(item[7]) is not list:
        _malformed("readings is not an array")
    readings: list[VerifiedReading] = []
    encoded_readings: list[bytes] = []
    running = previous
    for seq, each in enumerate(item[7][: MAX_READINGS + 1], first):
        reading = _decode_reading(each)
        encoded = encode_reading(reading)
        running = chain(running, encoded)
        encoded_readings.append(encoded)
        readings.append(vouch(VerifiedReading, seq=seq, encoded=encoded, chain=running, reading=reading))
    again = _encode_batch(
        hub=hub,
        epoch=epoch,
        first=first,
        previous=previous,
        oldest=oldest,
        readings=encoded_readings,
        sealed=sealed,
    )
    _need(again == opened.payload, "a batch is not in its one form, or bytes follow it")
    return vouch(
        VerifiedBatch,
        hub=hub,
        epoch=epoch,
        first=first,
        previous=previous,
        oldest=oldest,
        sealed=sealed,
        readings=tuple(readings),
        digest=envelope_digest,
        kid=opened.kid,
    )


def _decode_reading(item: object) -> Reading:
    if type(item) is not dict or item.keys() not in _READING_KEYS:
        _malformed("a reading is a map with the keys 1 to 5, and 6 if it has context")
    if item[1] != _KIND_GATT:
        _malformed("a reading of another kind than 1, GATT value")
    context = item.get(6, [])
    if type(context) is not list:
        _malformed("context is not an array")
    return Reading(
        device=_decode_device(item[2]),
        received=_decode_clock(item[3]),
        characteristic=_characteristic(item[4]),
        value=_bytes(item[5], "value"),
        context=tuple([_decode_context(each) for each in context[: MAX_CONTEXT + 1]]),
    )


def _decode_context(item: object) -> Context:
    if type(item) is not list or len(item) != 3:
        _malformed("a context item is [characteristic, time, value]")
    return Context(
        characteristic=_characteristic(item[0]), mono_us=_int(item[1], "time"), value=_bytes(item[2], "value")
    )


def _decode_device(item: object) -> Device:
    if type(item) is not dict or item.keys() not in _DEVICE_KEYS:
        _malformed("a device is a map with the key 1, and 2 and 3 if it has them")
    random = item.get(2, False)
    if type(random) is not bool:
        _malformed("random is not true")
    return Device(address=_bytes(item[1], "address"), random=random, name=_text(item.get(3, ""), "name"))


def _decode_clock(item: object) -> Clock:
    if type(item) is not list or len(item) != 5:
        _malformed("a clock is [wall, mono, boot, state, uncertainty]")
    state = _STATES.get(_int(item[3], "state"))
    if state is None:
        _malformed("a clock's state is 0, 1 or 2")
    return Clock(
        wall_us=_int(item[0], "wall"),
        mono_us=_int(item[1], "mono"),
        boot=_bytes(item[2], "boot"),
        state=state,
        uncertainty_ms=None if item[4] is None else _int(item[4], "uncertainty"),
    )


def _encode_device(device: Device) -> bytes:
    _need(len(device.address) == 6, "a Bluetooth address is 6 bytes")
    try:
        name = device.name.encode()
    except UnicodeEncodeError:
        _malformed("a device name is not Unicode text")
    _need(len(name) <= MAX_NAME_BYTES, "a device name is at most 248 bytes")
    return b"".join(
        (
            cbor.mapping(1 + device.random + bool(name)),
            b"\x01\x46",
            device.address,
            b"\x02" + _TRUE if device.random else b"",
            b"\x03" + cbor.tstr(device.name) if name else b"",
        )
    )


def _encode_clock(clock: Clock) -> bytes:
    _need(len(clock.boot) == 16, "a boot id is 16 bytes")
    uncertainty = _NULL if clock.uncertainty_ms is None else _uint(clock.uncertainty_ms)
    return b"".join(
        (b"\x85", _uint(clock.wall_us), _uint(clock.mono_us), b"\x50", clock.boot, _uint(clock.state), uncertainty)
    )


@lru_cache(maxsize=256)
def _encode_characteristic(characteristic: int | bytes) -> bytes:
    if isinstance(characteristic, int):
        _need(0 <= characteristic <= 0xFFFF, "a short UUID is 16 bits")
        return cbor.uint(characteristic)
    _need(len(characteristic) == 16, "a UUID is 16 bytes")
    is_short = characteristic.startswith(_BASE_UUID_HEAD) and characteristic.endswith(_BASE_UUID_TAIL)
    _need(not is_short, "a 16-bit UUID is written as an integer")
    return b"\x50" + characteristic


def _uint(number: int) -> bytes:
    if not 0 <= number <= MAX_INTEGER:
        _malformed("an integer is from 0 to 2^53 - 1")
    return cbor.uint(number)


def _characteristic(item: object) -> int | bytes:
    return item if type(item) is bytes else _int(item, "characteristic")


def _int(item: object, name: str) -> int:
    return item if type(item) is int else _malformed(f"{name} is not an integer")


def _bytes(item: object, name: str) -> bytes:
    return item if type(item) is bytes else _malformed(f"{name} is not a byte string")


def _text(item: object, name: str) -> str:
    return item if type(item) is str else _malformed(f"{name} is not text")


def _need(holds: bool, rule: str) -> None:
    if not holds:
        _malformed(rule)


def _malformed(message: str) -> NoReturn:
    raise EnvelopeError(Refusal.MALFORMED, message)
