"""Receipts: what the bridge tells one hub (docs/wire.md, "Receipt").

A receipt with a *position* (epoch, next, chain) says: every reading of this epoch below `next` is in FHIR or in
quarantine, and `chain` is the chain's value up to there. It confirms a reading only to a hub whose own chain has the
same value at the same place; a hub whose store went back in time finds that it has not, and deletes nothing.

A refusal names the envelope by its digest. What it may say about the position depends on why (`_RULES`): of a batch
that nobody verified the bridge knows no epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

from wire import cbor, cose
from wire.cose import PublicKey, Signer
from wire.errors import Refusal
from wire.items import MAX_INTEGER, malformed, need
from wire.topics import is_hub_id
from wire.verified import vouch

CONTENT_TYPE: Final = "application/vnd.stafet.receipt+cbor"
VERSION: Final = 1
MAX_RECEIPT_BYTES: Final = 512
"""A receipt has no part without a bound; the longest is about 200 bytes."""

_POSITION: Final = frozenset({"epoch", "next", "chain"})
_EPOCH: Final = frozenset({"epoch"})
_NOTHING: Final = frozenset[str]()
_RULES: Final = {
    None: _POSITION,
    Refusal.REPLAYED: _POSITION,
    Refusal.GAP: _POSITION,
    Refusal.BROKEN_CHAIN: _EPOCH,
    Refusal.SEQUENCE_REUSED: _EPOCH,
    Refusal.MALFORMED: _NOTHING,
    Refusal.UNKNOWN_KEY: _NOTHING,
    Refusal.BAD_SIGNATURE: _NOTHING,
    Refusal.WRONG_HUB: _NOTHING,
}
"""What an answer to a batch says of the position, by the reason of its refusal (None: accepted)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One answer to one batch; or, without `digest`, the time and perhaps the position, unasked.

    `time_us` is the bridge's clock, in microseconds since 1970. EnvelopeError(MALFORMED) if the parts do not fit
    together, so no other receipt exists.
    """

    hub: str
    time_us: int
    epoch: bytes | None = None
    next: int | None = None
    chain: bytes | None = None
    """The chain's value after `next` - 1; GENESIS if nothing of this epoch was accepted."""
    refused: Refusal | None = None
    digest: bytes | None = None

    def __post_init__(self) -> None:
        need(is_hub_id(self.hub), "a hub id is 1 to 36 of a-z, 0-9 and hyphen")
        need(0 <= self.time_us <= MAX_INTEGER, "a time is from 0 to 2^53 - 1 microseconds")
        need(self.epoch is None or len(self.epoch) == 8, "an epoch is 8 bytes")
        need(self.next is None or 1 <= self.next <= MAX_INTEGER, "next is from 1 to 2^53 - 1")
        need(self.chain is None or len(self.chain) == 32, "a chain value is 32 bytes")
        need(self.digest is None or len(self.digest) == 32, "a digest is 32 bytes")
        present = frozenset(name for name in _POSITION if getattr(self, name) is not None)
        if self.digest is None:
            need(self.refused is None, "a refusal names what it refuses by digest")
            need(present in (_POSITION, _NOTHING), "epoch, next and chain come together")
        else:
            need(present == _RULES[self.refused], f"epoch, next and chain do not fit {self.refused or 'acceptance'}")


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class VerifiedReceipt(Receipt):
    """A receipt as the owner of `kid` signed it. What the hub owes: that `hub` is its own id."""

    kid: bytes

    def __init__(self) -> None:
        raise TypeError("only open_receipt makes a VerifiedReceipt")


def seal_receipt(receipt: Receipt, signer: Signer) -> bytes:
    parts = {
        1: VERSION,
        2: receipt.hub,
        3: receipt.time_us,
        4: receipt.epoch,
        5: receipt.next,
        6: receipt.chain,
        7: None if receipt.refused is None else receipt.refused.value,
        8: receipt.digest,
    }
    payload = cbor.dumps({key: part for key, part in parts.items() if part is not None})
    return cose.seal(payload, CONTENT_TYPE, signer)


def open_receipt(envelope: bytes, keys: Callable[[bytes], PublicKey | None]) -> VerifiedReceipt:
    """Verify and read a receipt, or raise EnvelopeError and nothing else. `keys` knows the bridge's keys, no others."""
    opened = cose.open_(envelope, CONTENT_TYPE, keys)
    receipt = _decode(cbor.loads(opened.payload, max_bytes=MAX_RECEIPT_BYTES))
    return vouch(
        VerifiedReceipt, kid=opened.kid, **{field.name: getattr(receipt, field.name) for field in fields(Receipt)}
    )


def _decode(item: object) -> Receipt:
    if type(item) is not dict or not {1, 2, 3} <= item.keys() <= set(range(1, 9)):
        malformed("a receipt is a map with the keys 1 to 3, and 4 to 8 as it needs them")
    for key, (name, kind) in _FIELDS.items():
        if key in item and type(item[key]) is not kind:
            malformed(f"{name} is not of its type")
    if item[1] != VERSION:
        malformed(f"a receipt of another version than {VERSION}")
    if 7 in item and item[7] not in _REFUSALS:
        malformed("an unknown word of refusal")
    return Receipt(
        hub=item[2],
        time_us=item[3],
        epoch=item.get(4),
        next=item.get(5),
        chain=item.get(6),
        refused=Refusal(item[7]) if 7 in item else None,
        digest=item.get(8),
    )


_FIELDS: Final = {
    1: ("version", int),
    2: ("hub", str),
    3: ("time", int),
    4: ("epoch", bytes),
    5: ("next", int),
    6: ("chain", bytes),
    7: ("refusal", str),
    8: ("digest", bytes),
}
_REFUSALS: Final = frozenset(Refusal)
