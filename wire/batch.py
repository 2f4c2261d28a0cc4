"""Batches opened: what a hub has sealed (`wire.sealing`), verified and read (docs/wire.md, ADR 0001).

Opening is understanding and encoding again: the payload must be, byte for byte, what `seal_batch` would have made of
the readings found in it. So there is one form, and no second list of what it forbids. The bounds are held where
bytes are made, for both directions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wire import cbor, cose
from wire.cose import PublicKey
from wire.errors import EnvelopeError, Refusal
from wire.evidence import Clock, Evidence
from wire.items import MAX_INTEGER, MAX_READING_BYTES, decode_clock, integer, malformed, need, octets, text
from wire.reading import decode_item, encode_reading, parse_reading
from wire.sealing import (
    CONTENT_TYPE,
    GENESIS,
    MAX_READINGS,
    VERSION,
    chain,
    count_that_fit,
    digest,
    encode_batch,
    seal_batch,
)
from wire.verified import OnlyOpened, vouch

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

_BATCH_KEYS: Final = frozenset(range(1, 9))


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
    again = encode_batch(
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
