"""Go-back-N over batches, without I/O: what to send next, what an answer settles, and how long to wait for one.

1. At most `limit` batches are unanswered, and at most `limit` PUBLISH unacknowledged by the broker.
2. The bridge's position (`next`) settles everything below it. A PUBACK settles nothing; it only says that the broker
   has the batch now, or that it will not take it, or that it has nobody to give it to.
3. After a (re)connection and after a silence nothing is assumed: the oldest reading is sent once more, as a *probe*,
   and nothing else until something is answered. So a bridge that is away for a day costs the broker one reading per
   `LONGEST_TIMEOUT_S`, and a reconnection costs one reading twice, not a whole window.
4. Batches keep their order on their way. So the answer to one of them settles all that went before it: what it does
   not cover was lost, and sending goes back to `next`. That holds for a probe as for any other batch.
5. If nothing is on its way, whatever is held is sent, from the oldest on. So nothing is ever forgotten.
6. A refusal, and the time in a receipt, count only if they answer a batch on its way, and once: both could be copies
   of what the bridge said last year. A position needs no such care, since the outbox checks its chain.

Times are seconds of one monotonic clock. Sequence numbers are those of one epoch; a new one is a new start.
"""

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from wire.errors import Refusal
from wire.sealing import MAX_READINGS

if TYPE_CHECKING:
    from wire.receipt import VerifiedReceipt

RECEIPT_TIMEOUT_S: Final = 20.0
"""More than a bridge needs for a full window on a slow FHIR server."""
LONGEST_TIMEOUT_S: Final = 300.0
"""How late a hub may notice that a bridge is back. 10,000 hubs then send 33 probes a second."""
ACKNOWLEDGEMENT_TIMEOUT_S: Final = 30.0
"""A broker that has not acknowledged a batch by then is not there."""
FIRST_PAUSE_S: Final = 5.0
"""After a refusal, or when nobody is subscribed; doubles. Someone may be enrolling the hub, or starting the bridge."""
LONGEST_WITHOUT_BRIDGE_S: Final = 60.0
"""A bridge that comes back says so to the hubs it knows; this is for those it does not. 10,000 hubs: 167 probes/s."""
GAPS_IN_A_ROW: Final = 3
"""Reports of one and the same gap that are answered at once. More, and something is wrong that haste will not mend."""
NUDGE_EVERY_S: Final = 1.0
"""An unasked position is acted upon no more often."""

_ANSWERS: Final = frozenset({None, Refusal.REPLAYED, Refusal.GAP})
"""With these the bridge says where it stands."""
_NEEDS_A_NEW_EPOCH: Final = frozenset({Refusal.SEQUENCE_REUSED, Refusal.BROKEN_CHAIN})


class Due(NamedTuple):
    """What to send: the readings from `first` on, as many as fit but no more than `at_most`."""

    first: int
    at_most: int


class Sent(NamedTuple):
    """A batch on its way. `number` is the PUBLISH's, `mono_us` the hub's clock when it was sealed."""

    number: int
    first: int
    last: int
    digest: bytes
    at: float
    mono_us: int
    probe: bool = False


class Verdict(Enum):
    """What a receipt means for the uplink."""

    ANSWERED = auto()
    """It answered a batch on its way, or moved the position."""
    IGNORED = auto()
    """Of another epoch, or an answer to nothing that is on its way, with nothing new in it."""
    REFUSED = auto()
    """A batch was refused, for a reason that a person must see to; sending pauses."""
    RENEW = auto()
    """The bridge knows other readings under our numbers: a new epoch is needed."""


class Answer(NamedTuple):
    """A verdict, and the batch that was answered if one on its way was."""

    verdict: Verdict
    batch: Sent | None = None


class Counters:
    """What has happened, in readings and in events, since the start."""

    def __init__(self) -> None:
        self.sent = 0
        self.resent = 0
        self.batches = 0
        self.timeouts = 0
        self.gaps = 0
        self.refusals = 0
        self.nobody = 0
        self.ignored = 0


class Window:
    """The state of one hub's sending."""

    def __init__(self, epoch: bytes, receipt_timeout_s: float = RECEIPT_TIMEOUT_S) -> None:
        self.epoch = epoch
        self.limit = 0
        """0: not connected."""
        self.counters = Counters()
        self._receipt_timeout_s = receipt_timeout_s
        self._sent: list[Sent] = []
        self._unacknowledged: dict[int, float] = {}
        """When each PUBLISH was sent that the broker has not acknowledged."""
        self._cursor = 1
        """What comes next, if nothing is lost."""
        self._highest = 0
        """The highest number that was ever sent."""
        self._probing = True
        """Nothing was answered since the last connection, silence or refusal."""
        self._probe_due = True
        self._waiting_since = 0.0
        self._timeout_s = receipt_timeout_s
        self._held_until = 0.0
        """0: sending is not held."""
        self._pause_s = 0.0
        """The last pause; the next is twice as long."""
        self._gap_at = 0
        self._gaps_in_a_row = 0
        self._nudged_at = float("-inf")

    # --- inputs ---

    def connected(self, limit: int) -> None:
        """A connection is there that takes `limit` unacknowledged messages. What was refused before may be tried."""
        self.limit = limit
        self._timeout_s = self._receipt_timeout_s
        self._held_until = 0.0
        self._probe()

    def disconnected(self) -> None:
        """What is on its way stays on its way: the broker may have it."""
        self.limit = 0
        self._unacknowledged.clear()
        self._sent = [each._replace(number=0) for each in self._sent]  # the next connection counts from 1 again

    def renewed(self, epoch: bytes) -> None:
        """The outbox began a new epoch, with numbers from 1. What is on its way belongs to the old one."""
        self.epoch = epoch
        self._sent.clear()
        self._cursor, self._highest = 1, 0
        self._gaps_in_a_row = 0
        self._held_until = 0.0
        self._probe()

    def sent(self, batch: Sent) -> None:
        """The batch that `due` asked for was published."""
        if self._probe_due:
            batch = batch._replace(probe=True)
            self._sent = [each for each in self._sent if not each.probe]
            self._probe_due = False
        if not self._sent or batch.probe:
            self._waiting_since = batch.at
        self._sent.append(batch)
        self._unacknowledged[batch.number] = batch.at
        self._cursor = max(self._cursor, batch.last + 1)
        count = batch.last - batch.first + 1
        again = min(max(self._highest - batch.first + 1, 0), count)
        self._highest = max(self._highest, batch.last)
        self.counters.batches += 1
        self.counters.sent += count
        self.counters.resent += again

    def acknowledged(self, number: int) -> None:
        """The broker has taken this message."""
        self._unacknowledged.pop(number, None)

    def undelivered(self, number: int, now: float) -> None:
        """The broker has acknowledged this message, and given it to nobody: no bridge is subscribed there."""
        self._unacknowledged.pop(number, None)
        for batch in [each for each in self._sent if each.number == number]:
            self._sent.remove(batch)
            self._cursor = min(self._cursor, batch.first)
        self.counters.nobody += 1
        self._hold(now, self._longer_pause(LONGEST_WITHOUT_BRIDGE_S))

    def receipt(self, receipt: "VerifiedReceipt", now: float, *, confirmed: int) -> Answer:
        """A receipt for this hub, after the outbox confirmed `confirmed` readings by it."""
        batch = next((each for each in self._sent if each.digest == receipt.digest), None)
        if receipt.refused not in _ANSWERS and batch is None:
            return self._ignored()
        if receipt.refused in _NEEDS_A_NEW_EPOCH:
            return Answer(verdict=Verdict.RENEW, batch=batch) if receipt.epoch == self.epoch else self._ignored()
        if receipt.refused not in _ANSWERS:
            self.refused(now)
            return Answer(verdict=Verdict.REFUSED, batch=batch)
        if receipt.epoch != self.epoch or receipt.next is None:
            return self._ignored()
        return self._position(receipt.next, now, batch, receipt, confirmed)

    def refused(self, now: float) -> None:
        """Something must be seen to before any batch is accepted: forget what is on its way, pause, then probe."""
        self.counters.refusals += 1
        self._sent.clear()
        self._hold(now, self._longer_pause(LONGEST_TIMEOUT_S))

    # --- outputs ---

    def due(self, now: float, *, oldest: int, next_seq: int) -> Due | None:
        """The batch to send now, if one shall be sent."""
        if now < self._held_until or len(self._unacknowledged) >= self.limit:
            return None
        if not self._probe_due and len(self._sent) >= (1 if self._probing else self.limit):
            return None
        first = oldest if self._probe_due or not self._sent else max(self._cursor, oldest)
        if first >= next_seq:
            return None
        return Due(first=first, at_most=1 if self._probe_due and first <= self._highest else MAX_READINGS)

    def deadline(self) -> float | None:
        """When to call `expire`, or `due` once more."""
        times = []
        if self.limit:
            times += [at + ACKNOWLEDGEMENT_TIMEOUT_S for at in self._unacknowledged.values()]
            if self._held_until:
                times.append(self._held_until)
            elif self._sent and not self._probe_due:
                times.append(self._waiting_since + self._timeout_s)
        return min(times, default=None)

    def expire(self, now: float) -> bool:
        """Act on the deadlines that have passed; False if the broker no longer answers."""
        if any(now >= at + ACKNOWLEDGEMENT_TIMEOUT_S for at in self._unacknowledged.values()):
            return False
        if self._held_until and now >= self._held_until:
            self._held_until = 0.0
        elif self._sent and not self._probe_due and now >= self._waiting_since + self._timeout_s:
            self.counters.timeouts += 1
            self._timeout_s = min(2 * self._timeout_s, max(LONGEST_TIMEOUT_S, self._receipt_timeout_s))
            self._probe()
        return True

    @property
    def on_their_way(self) -> int:
        """Batches that are not answered."""
        return len(self._sent)

    # ---

    def _position(
        self, position: int, now: float, batch: Sent | None, receipt: "VerifiedReceipt", confirmed: int
    ) -> Answer:
        earlier = self._sent[: self._sent.index(batch)] if batch else []
        lost = any(each.last >= position for each in earlier)
        self._sent = [each for each in self._sent if each.last >= position]
        if batch is not None and receipt.refused is Refusal.GAP:
            self._relay_lives(now)
            self._report_gap(position, now)
        elif batch is not None or confirmed:
            self._relay_lives(now)
            if lost:
                self._go_back(position)
        elif receipt.digest is None and now - self._nudged_at >= NUDGE_EVERY_S:
            self._nudged_at = now
            self._relay_lives(now)
            if position < self._cursor:
                self._go_back(position)
        else:
            return self._ignored()
        return Answer(verdict=Verdict.ANSWERED, batch=batch)

    def _relay_lives(self, now: float) -> None:
        self._probing = self._probe_due = False
        self._waiting_since = now
        self._timeout_s = self._receipt_timeout_s
        self._held_until = 0.0
        self._pause_s = 0.0

    def _report_gap(self, position: int, now: float) -> None:
        self.counters.gaps += 1
        self._gaps_in_a_row = self._gaps_in_a_row + 1 if position == self._gap_at else 1
        self._gap_at = position
        self._go_back(position)
        if self._gaps_in_a_row > GAPS_IN_A_ROW:
            doublings = min(self._gaps_in_a_row - GAPS_IN_A_ROW - 1, 10)
            self._hold(now, min(FIRST_PAUSE_S * 2**doublings, LONGEST_TIMEOUT_S))

    def _go_back(self, position: int) -> None:
        self._sent.clear()
        self._cursor = position

    def _hold(self, now: float, pause_s: float) -> None:
        self._held_until = now + pause_s
        self._probe()

    def _longer_pause(self, longest_s: float) -> float:
        self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), longest_s)
        return self._pause_s

    def _probe(self) -> None:
        self._probing = self._probe_due = True

    def _ignored(self) -> Answer:
        self.counters.ignored += 1
        return Answer(verdict=Verdict.IGNORED)
