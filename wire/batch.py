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
from hashlib import sha256
from typing import Final

from wire import cbor, cose
from wire.cose import PublicKey, Signer
from wire.errors import EnvelopeError, Refusal
from wire.evidence import Clock, Evidence
from wire.items import MAX_INTEGER, decode_clock, encode_clock, integer, malformed, need, octets, text, uint
from wire.reading import MAX_READING_BYTES, decode_item, encode_reading, parse_reading
from wire.topics import is_hub_id
from wire.verified import OnlyOpened, vouch

CONTENT_TYPE: Final = "application/vnd.stafet.batch+cbor"
VERSION: Final = 1
GENESIS: Final = bytes(32)
"""The chain before the first reading of every (hub, epoch). Which hub and epoch, the signed batch says."""

__all__ = [
    "CONTENT_TYPE",
    "GENESIS",
    "MAX_INTEGER",
    "MAX_READINGS",
    "MAX_READING_BYTES",
    "VERSION",
    "HubKey",
    "VerifiedBatch",
    "VerifiedReading",
    "chain",
    "count_that_fit",
    "digest",
    "encode_reading",
    "open_batch",
    "parse_reading",
    "seal_batch",
]

MAX_READINGS: Final = 64
"""Groups of 64 cost a tenth of the flash wear and of the signatures; more would only make a lost message dearer."""

_BATCH_KEYS: Final = frozenset(range(1, 9))
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
    reading: Evidence


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


def _encode_batch(
    *, hub: str, epoch: bytes, first: int, previous: bytes, oldest: int, readings: Sequence[bytes], sealed: Clock
) -> bytes:
    need(is_hub_id(hub), "a hub id is 1 to 36 of a-z, 0-9 and hyphen")
    need(len(epoch) == 8, "an epoch is 8 bytes")
    need(len(previous) == 32, "a chain value is 32 bytes")
    need(1 <= len(readings) <= MAX_READINGS, "a batch has 1 to 64 readings")
    need(1 <= oldest <= first, "1 <= oldest <= first")
    need(first + len(readings) <= MAX_INTEGER, "a sequence number is below 2^53 - 1")
    need(first > 1 or previous == GENESIS, "nothing comes before the first reading of an epoch")
    return b"".join(
        (
            b"\xa8\x01\x01\x02",
            cbor.tstr(hub),
            b"\x03",
            cbor.bstr(epoch),
            b"\x04",
            uint(first),
            b"\x05",
            cbor.bstr(previous),
            b"\x06",
            uint(oldest),
            b"\x07",
            cbor.array(len(readings)),
            *readings,
            b"\x08",
            encode_clock(sealed),
        )
    )


def _decode_batch(opened: cose.Opened, envelope_digest: bytes) -> VerifiedBatch:
    item = cbor.decode(opened.payload)
    if type(item) is not dict or item.keys() != _BATCH_KEYS:
        malformed("a batch is a map with the keys 1 to 8")
    if item[1] != VERSION:
        malformed(f"a batch of another version than {VERSION}")
    hub, first = text(item[2], "hub"), integer(item[4], "first")
    epoch, previous, oldest = octets(item[3], "epoch"), octets(item[5], "previous"), integer(item[6], "oldest")
    sealed = decode_clock(item[8])
    if type(item[7]) is not list:
        malformed("readings is not an array")
    readings: list[VerifiedReading] = []
    encoded_readings: list[bytes] = []
    running = previous
    for seq, each in enumerate(item[7][: MAX_READINGS + 1], first):
        reading = decode_item(each)
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
    need(again == opened.payload, "a batch is not in its one form, or bytes follow it")
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
