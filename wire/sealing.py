"""Sealing encoded readings into batches: the hub's half of `wire.batch`, which opens them.

A reading is encoded once, on the hub, when it is stored (`wire.reading`); these bytes go unchanged into the chain, the
batch and the bridge's ledger. The chain runs over the readings and not over the batches: however a hub groups what it
sends after a restart, every grouping proves the same chain.

Nothing here knows what a reading holds, so a hub that has just got its power back sends what waits without it.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from wire import cbor, cose
from wire.clock import Clock
from wire.cose import Signer
from wire.items import MAX_INTEGER, encode_clock, need, uint
from wire.topics import is_hub_id

CONTENT_TYPE: Final = "application/vnd.stafet.batch+cbor"
VERSION: Final = 1
GENESIS: Final = bytes(32)
"""The chain before the first reading of every (hub, epoch). Which hub and epoch, the signed batch says."""
MAX_READINGS: Final = 64
"""Groups of 64 cost a tenth of the flash wear and of the signatures; more would only make a lost message dearer."""

_BATCH_OVERHEAD_BYTES: Final = 512
"""More than all of an envelope but its readings: 74 of header, 66 of signature, 36 of hub id, 32 of chain, a clock."""


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
    payload = encode_batch(
        hub=hub, epoch=epoch, first=first, previous=previous, oldest=oldest, readings=readings, sealed=sealed
    )
    return cose.seal(payload, CONTENT_TYPE, signer)


def encode_batch(
    *, hub: str, epoch: bytes, first: int, previous: bytes, oldest: int, readings: Sequence[bytes], sealed: Clock
) -> bytes:
    """The payload, in its one form; EnvelopeError(MALFORMED) beyond a bound."""
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
