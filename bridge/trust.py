"""What a batch must prove before its readings count. No I/O, no clock: the ledger's facts come in as a `History`.

The checks, in this order; the first that fails decides:

1. The envelope opens with a key of the registry (`wire.batch.open_batch`): malformed, unknown-key, bad-signature,
   wrong-hub.
2. It came on its own hub's topic: wrong-hub.
3. It continues what was accepted of its (hub, epoch): `TABLE`, by where the batch lies against the next expected
   sequence number and by how far it agrees with what is known there.

What the caller owes: the history must be that of the batch's hub and epoch, and still be so when it is written down
(the ledger compares and swaps).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from wire.batch import GENESIS, HubKey, VerifiedBatch, VerifiedReading, open_batch
from wire.errors import EnvelopeError, Refusal
from wire.topics import hub_of


class Position(Enum):
    """Where the batch lies; `expected` is the lowest sequence number of its epoch not yet accounted for."""

    CONTINUES = auto()
    """It begins at `expected`."""
    OVERLAPS = auto()
    """It begins before `expected` and brings something new."""
    COVERED = auto()
    """All of it lies before `expected`."""
    BEYOND = auto()
    """It begins after `expected`."""


class Agreement(Enum):
    """How the batch fits what is known."""

    SAME = auto()
    """Every known reading that it repeats is the same, after the same history."""
    OTHER_READINGS = auto()
    """It has another reading under a known sequence number."""
    OTHER_HISTORY = auto()
    """The same readings, or none to compare, after another history than ours."""
    LATE = auto()
    """Same, and it brings readings that were counted as lost in a gap."""
    HELD = auto()
    """The readings between are unknown here, and the hub still holds some of them."""
    LOST = auto()
    """The readings between are unknown here, and the hub holds none of them any more."""


class Verdict(Enum):
    """What becomes of a batch that its hub did sign."""

    ACCEPT = auto()
    ACCEPT_WITH_GAP = auto()
    REPLAYED = auto()
    GAP = auto()
    BROKEN_CHAIN = auto()
    SEQUENCE_REUSED = auto()
    IMPOSSIBLE = auto()
    """`classify` cannot say this; the tests hold it."""


TABLE: Final[Mapping[tuple[Position, Agreement], Verdict]] = MappingProxyType(
    {
        (Position.CONTINUES, Agreement.SAME): Verdict.ACCEPT,
        (Position.CONTINUES, Agreement.OTHER_READINGS): Verdict.IMPOSSIBLE,
        (Position.CONTINUES, Agreement.OTHER_HISTORY): Verdict.BROKEN_CHAIN,
        (Position.CONTINUES, Agreement.LATE): Verdict.IMPOSSIBLE,
        (Position.CONTINUES, Agreement.HELD): Verdict.IMPOSSIBLE,
        (Position.CONTINUES, Agreement.LOST): Verdict.IMPOSSIBLE,
        (Position.OVERLAPS, Agreement.SAME): Verdict.ACCEPT,
        (Position.OVERLAPS, Agreement.OTHER_READINGS): Verdict.SEQUENCE_REUSED,
        (Position.OVERLAPS, Agreement.OTHER_HISTORY): Verdict.BROKEN_CHAIN,
        (Position.OVERLAPS, Agreement.LATE): Verdict.ACCEPT,
        (Position.OVERLAPS, Agreement.HELD): Verdict.IMPOSSIBLE,
        (Position.OVERLAPS, Agreement.LOST): Verdict.IMPOSSIBLE,
        (Position.COVERED, Agreement.SAME): Verdict.REPLAYED,
        (Position.COVERED, Agreement.OTHER_READINGS): Verdict.SEQUENCE_REUSED,
        (Position.COVERED, Agreement.OTHER_HISTORY): Verdict.BROKEN_CHAIN,
        (Position.COVERED, Agreement.LATE): Verdict.ACCEPT,
        (Position.COVERED, Agreement.HELD): Verdict.IMPOSSIBLE,
        (Position.COVERED, Agreement.LOST): Verdict.IMPOSSIBLE,
        (Position.BEYOND, Agreement.SAME): Verdict.IMPOSSIBLE,
        (Position.BEYOND, Agreement.OTHER_READINGS): Verdict.IMPOSSIBLE,
        (Position.BEYOND, Agreement.OTHER_HISTORY): Verdict.IMPOSSIBLE,
        (Position.BEYOND, Agreement.LATE): Verdict.IMPOSSIBLE,
        (Position.BEYOND, Agreement.HELD): Verdict.GAP,
        (Position.BEYOND, Agreement.LOST): Verdict.ACCEPT_WITH_GAP,
    }
)

_REFUSALS: Final = MappingProxyType(
    {
        Verdict.REPLAYED: Refusal.REPLAYED,
        Verdict.GAP: Refusal.GAP,
        Verdict.BROKEN_CHAIN: Refusal.BROKEN_CHAIN,
        Verdict.SEQUENCE_REUSED: Refusal.SEQUENCE_REUSED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An accepted reading: SHA-256 of its bytes, and the chain's value after it."""

    digest: bytes
    chain: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the ledger knows of one epoch of one hub, around one batch.

    `known` holds the accepted readings among the batch's sequence numbers. `after_gap` says, for the last sequence
    number of a gap, which chain value the hub named there when it began again after the gap. `before` is the chain's
    value just before the batch, where that is known.
    """

    expected: int = 1
    head: bytes = GENESIS
    before: bytes | None = None
    known: Mapping[int, Known] = field(default_factory=dict)
    after_gap: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Sequence numbers that the hub no longer holds and that nobody has seen: an alarm."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """These readings are new; readings of the batch that are not among them are known and the same."""

    readings: tuple[VerifiedReading, ...]
    gap: Gap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Nothing of this batch counts. A gap is an ordinary event of a bad link; all else is kept for a person to see."""

    reason: Refusal
    message: str

    @property
    def quarantine(self) -> bool:
        return self.reason is not Refusal.GAP


def open_message(topic: str, envelope: bytes, keys: Callable[[bytes], HubKey | None]) -> VerifiedBatch:
    """Checks 1 and 2; EnvelopeError says which failed."""
    batch = open_batch(envelope, keys)
    if batch.hub != hub_of(topic):
        raise EnvelopeError(Refusal.WRONG_HUB, f"a batch of {batch.hub} on another hub's topic")
    return batch


def judge(batch: VerifiedBatch, history: History) -> Accept | Refuse:
    """Check 3."""
    position, agreement = classify(batch, history)
    verdict = TABLE[position, agreement]
    if verdict in _REFUSALS:
        return Refuse(reason=_REFUSALS[verdict], message=_explain(verdict, batch, history))
    new = tuple(reading for reading in batch.readings if reading.seq not in history.known)
    if verdict is Verdict.ACCEPT_WITH_GAP:
        return Accept(readings=new, gap=Gap(first=history.expected, last=batch.first - 1))
    return Accept(readings=new)


def classify(batch: VerifiedBatch, history: History) -> tuple[Position, Agreement]:
    """The row of `TABLE` for this batch."""
    if batch.first > history.expected:
        return Position.BEYOND, Agreement.HELD if batch.oldest < batch.first else Agreement.LOST
    if batch.first == history.expected:
        same = batch.previous == history.head
        return Position.CONTINUES, Agreement.SAME if same else Agreement.OTHER_HISTORY
    position = Position.COVERED if batch.last < history.expected else Position.OVERLAPS
    return position, _agreement_below_expected(batch, history)


def _agreement_below_expected(batch: VerifiedBatch, history: History) -> Agreement:
    """Compare reading by reading; equal chain values mean equal readings and equal histories."""
    agreement = Agreement.SAME
    for reading in batch.readings:
        known = history.known.get(reading.seq)
        if known is not None:
            if known.chain != reading.chain:
                same_reading = known.digest == sha256(reading.encoded).digest()
                return Agreement.OTHER_HISTORY if same_reading else Agreement.OTHER_READINGS
        elif reading.seq < history.expected:
            agreement = Agreement.LATE
        if history.after_gap.get(reading.seq, reading.chain) != reading.chain:
            return Agreement.OTHER_HISTORY
    if agreement is Agreement.LATE and history.before not in (None, batch.previous):
        return Agreement.OTHER_HISTORY
    return agreement


def _explain(verdict: Verdict, batch: VerifiedBatch, history: History) -> str:
    span = f"{batch.first}" if batch.first == batch.last else f"{batch.first} to {batch.last}"
    match verdict:
        case Verdict.REPLAYED:
            return f"readings {span} were accepted before"
        case Verdict.GAP:
            return f"readings {span} came while {history.expected} is expected and the hub holds {batch.oldest} on"
        case Verdict.BROKEN_CHAIN:
            return f"what the hub says came before reading {batch.first} is not what was accepted"
        case _:
            return f"other readings were accepted under the sequence numbers {span}"
