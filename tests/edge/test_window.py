"""What the hub sends next, and what an answer settles, in virtual time and over networks that lose everything."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.window import (
    ACKNOWLEDGEMENT_TIMEOUT_S,
    FIRST_PAUSE_S,
    GAPS_IN_A_ROW,
    LONGEST_TIMEOUT_S,
    LONGEST_WITHOUT_BRIDGE_S,
    RECEIPT_TIMEOUT_S,
    Sent,
    Verdict,
    Window,
)
from wire.errors import Refusal
from wire.receipt import VerifiedReceipt
from wire.verified import vouch

EPOCH = b"epoch001"
PER_BATCH = 4


def receipt_with(
    *,
    next_seq: int | None = None,
    digest: bytes | None = None,
    refused: Refusal | None = None,
    epoch: bytes | None = EPOCH,
) -> VerifiedReceipt:
    """As `open_receipt` makes it; its parts are those that wire's rules allow."""
    return vouch(
        VerifiedReceipt,
        hub="hub-0001",
        time_us=0,
        epoch=epoch if next_seq is not None or refused in (Refusal.BROKEN_CHAIN, Refusal.SEQUENCE_REUSED) else None,
        next=next_seq,
        chain=None if next_seq is None else bytes(32),
        refused=refused,
        digest=digest,
        kid=bytes(32),
    )


class Hub:
    """A window with a store of numbers beside it, as the uplink uses the two."""

    def __init__(self, *, readings: int = 0, limit: int = 20) -> None:
        self.now = 0.0
        self.oldest = 1
        self.next = readings + 1
        self.window = Window(EPOCH)
        self.window.connected(limit)
        self.limit = limit
        self._numbers = itertools.count(1)

    def send(self) -> list[Sent]:
        """Everything that is due now."""
        out = []
        while (due := self.window.due(self.now, oldest=self.oldest, next_seq=self.next)) is not None:
            number = next(self._numbers)
            first = due.first
            last = min(first + min(PER_BATCH, due.at_most), self.next) - 1
            digest = sha256(f"{first} {last} {self.now} {number}".encode()).digest()
            out.append(Sent(number=number, first=first, last=last, digest=digest, at=self.now, mono_us=0))
            self.window.sent(out[-1])
        return out

    def firsts(self) -> list[int]:
        return [batch.first for batch in self.send()]

    def hear(self, receipt: VerifiedReceipt) -> Verdict:
        confirmed = 0
        if receipt.next is not None and receipt.epoch == self.window.epoch and receipt.next > self.oldest:
            assert receipt.next <= self.next
            confirmed, self.oldest = receipt.next - self.oldest, receipt.next
        return self.window.receipt(receipt, self.now, confirmed=confirmed).verdict

    def accept(self, batch: Sent) -> Verdict:
        return self.hear(receipt_with(next_seq=batch.last + 1, digest=batch.digest))

    def wait(self) -> float:
        """Let time pass until the machine wants to act; how long that was."""
        deadline = self.window.deadline()
        assert deadline is not None
        waited, self.now = deadline - self.now, deadline
        assert self.window.expire(self.now)
        return waited


@pytest.fixture
def hub() -> Hub:
    return Hub(readings=100)


def open_window(hub: Hub) -> list[Sent]:
    """The first batch is answered, so the rest of the window is out."""
    (first,) = hub.send()
    for number in (first.number,):
        hub.window.acknowledged(number)
    assert hub.accept(first) is Verdict.ANSWERED
    batches = hub.send()
    assert len(batches) > 1
    return batches


def test_the_first_batch_goes_at_once_and_alone_and_its_receipt_opens_the_window(hub: Hub) -> None:
    (first,) = hub.send()
    assert (first.first, first.last) == (1, 4)
    assert hub.send() == []
    hub.accept(first)
    assert hub.firsts() == [5 + 4 * index for index in range(20 - 1)]  # one PUBLISH is not acknowledged yet
    hub.window.acknowledged(first.number)
    assert hub.firsts() == [81]
    assert hub.firsts() == []


def test_a_reading_that_comes_alone_is_sent_at_once() -> None:
    hub = Hub(readings=1)
    hub.accept(hub.send()[0])
    for seq in range(2, 50):
        hub.window.acknowledged(seq - 1)
        hub.next += 1
        (batch,) = hub.send()
        assert (batch.first, batch.last) == (seq, seq)
        hub.accept(batch)
    assert hub.window.counters.resent == 0


def test_no_more_unacknowledged_messages_than_the_broker_takes() -> None:
    hub = Hub(readings=100, limit=3)
    batches = open_window(hub)
    assert len(batches) == 3
    for batch in batches:
        hub.accept(batch)
    assert hub.send() == []  # answered by the bridge, but not yet acknowledged by the broker
    hub.window.acknowledged(batches[0].number)
    assert len(hub.send()) == 1


def test_one_receipt_may_cover_many_batches(hub: Hub) -> None:
    batches = open_window(hub)
    assert hub.accept(batches[9]) is Verdict.ANSWERED
    assert hub.oldest == batches[9].last + 1
    assert hub.window.on_their_way == len(batches) - 10


def test_without_a_receipt_the_oldest_reading_goes_again_after_20_s_then_40_up_to_300(hub: Hub) -> None:
    open_window(hub)
    for number in range(1, 100):
        hub.window.acknowledged(number)
    waits = []
    for _ in range(7):
        waits.append(hub.wait())
        (probe,) = hub.send()
        assert probe.first == 5
        hub.window.acknowledged(probe.number)
    assert waits == [20, 40, 80, 160, 300, 300, 300]
    assert hub.window.counters.timeouts == 7


def test_a_lost_receipt_costs_one_reading_and_no_more(hub: Hub) -> None:
    batches = open_window(hub)
    for batch in batches:
        hub.window.acknowledged(batch.number)
    hub.wait()
    (probe,) = hub.send()
    assert hub.hear(receipt_with(next_seq=batches[-1].last + 1, digest=probe.digest, refused=Refusal.REPLAYED)) is (
        Verdict.ANSWERED
    )
    assert hub.oldest == batches[-1].last + 1
    assert hub.firsts()[0] == hub.oldest
    assert hub.window.counters.resent == 1


def test_if_the_broker_lost_the_batches_the_answer_to_the_probe_brings_them_all_again(hub: Hub) -> None:
    batches = open_window(hub)
    for batch in batches:
        hub.window.acknowledged(batch.number)
    hub.wait()
    (probe,) = hub.send()
    hub.accept(probe)
    hub.window.acknowledged(probe.number)
    assert hub.firsts()[:3] == [6, 10, 14]


def test_if_the_bridge_was_only_away_its_answers_to_the_first_batches_save_the_rest(hub: Hub) -> None:
    batches = open_window(hub)
    for batch in batches:
        hub.window.acknowledged(batch.number)
    hub.wait()
    (probe,) = hub.send()
    for batch in batches:
        hub.accept(batch)
    assert hub.hear(receipt_with(next_seq=hub.oldest, digest=probe.digest, refused=Refusal.REPLAYED)) is Verdict.IGNORED
    assert hub.window.counters.resent == 1


def test_a_new_connection_sends_one_reading_twice_and_not_a_whole_window(hub: Hub) -> None:
    batches = open_window(hub)
    hub.window.disconnected()
    assert hub.send() == []
    assert hub.window.deadline() is None
    hub.window.connected(20)
    (probe,) = hub.send()
    assert probe.first == 5
    for batch in batches:  # the broker had them all
        hub.accept(batch)
    assert hub.window.counters.resent == 1


def test_after_a_gap_is_reported_everything_from_there_goes_again_at_once(hub: Hub) -> None:
    batches = open_window(hub)
    for batch in batches:
        hub.window.acknowledged(batch.number)
    hub.accept(batches[0])
    gap = receipt_with(next_seq=batches[1].first, digest=batches[2].digest, refused=Refusal.GAP)
    assert hub.hear(gap) is Verdict.ANSWERED
    again = hub.send()
    assert again[0].first == batches[1].first
    # The batches after the lost one were refused for the same gap: that is no news.
    late = receipt_with(next_seq=batches[1].first, digest=batches[3].digest, refused=Refusal.GAP)
    assert hub.hear(late) is Verdict.IGNORED
    assert hub.send() == []
    assert hub.window.counters.gaps == 1


def test_a_gap_that_is_reported_over_and_over_is_answered_ever_more_slowly(hub: Hub) -> None:
    batches = open_window(hub)
    waits = []
    for _ in range(GAPS_IN_A_ROW + 7):
        for batch in batches:
            hub.window.acknowledged(batch.number)
        hub.hear(receipt_with(next_seq=5, digest=batches[0].digest, refused=Refusal.GAP))
        batches = hub.send()
        waits.append(0.0 if batches else hub.wait())
        batches = batches or hub.send()
    assert waits == [0, 0, 0, 5, 10, 20, 40, 80, 160, 300]


def test_a_receipt_that_comes_twice_acts_once(hub: Hub) -> None:
    batches = open_window(hub)
    again = receipt_with(next_seq=batches[0].last + 1, digest=batches[0].digest)
    assert hub.hear(again) is Verdict.ANSWERED
    assert hub.hear(again) is Verdict.IGNORED
    assert hub.window.counters.ignored == 1


def test_receipts_out_of_order_act_as_the_newest(hub: Hub) -> None:
    batches = open_window(hub)
    assert hub.accept(batches[2]) is Verdict.ANSWERED
    for old in (batches[0], batches[1]):
        assert hub.hear(receipt_with(next_seq=old.last + 1, digest=old.digest)) is Verdict.IGNORED
    assert hub.oldest == batches[2].last + 1


@pytest.mark.parametrize("reason", [Refusal.MALFORMED, Refusal.UNKNOWN_KEY, Refusal.BAD_SIGNATURE, Refusal.WRONG_HUB])
def test_a_refused_batch_is_kept_and_tried_again_after_a_pause_that_doubles(hub: Hub, reason: Refusal) -> None:
    waits = []
    for _ in range(8):
        (batch,) = hub.send()
        hub.window.acknowledged(batch.number)
        assert hub.hear(receipt_with(digest=batch.digest, refused=reason)) is Verdict.REFUSED
        assert hub.send() == []
        waits.append(hub.wait())
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]
    (batch,) = hub.send()
    assert batch.first == 1
    assert hub.accept(batch) is Verdict.ANSWERED
    assert hub.firsts()[0] == 2


@pytest.mark.parametrize("reason", [Refusal.MALFORMED, Refusal.UNKNOWN_KEY, Refusal.BAD_SIGNATURE])
def test_a_refusal_of_something_that_is_not_on_its_way_does_nothing(hub: Hub, reason: Refusal) -> None:
    batches = open_window(hub)
    assert hub.hear(receipt_with(digest=bytes(32), refused=reason)) is Verdict.IGNORED
    assert hub.accept(batches[0]) is Verdict.ANSWERED
    # and what was answered once is not on its way any more
    assert hub.hear(receipt_with(digest=batches[0].digest, refused=reason)) is Verdict.IGNORED
    assert hub.window.counters.refusals == 0


@pytest.mark.parametrize("reason", [Refusal.SEQUENCE_REUSED, Refusal.BROKEN_CHAIN])
def test_a_bridge_that_knows_other_readings_asks_for_a_new_epoch(hub: Hub, reason: Refusal) -> None:
    batches = open_window(hub)
    assert hub.hear(receipt_with(digest=bytes(32), refused=reason)) is Verdict.IGNORED
    assert hub.hear(receipt_with(digest=batches[0].digest, refused=reason, epoch=b"epoch000")) is Verdict.IGNORED
    assert hub.hear(receipt_with(digest=batches[0].digest, refused=reason)) is Verdict.RENEW
    hub.oldest, hub.next = 1, 50
    hub.window.renewed(b"epoch002")
    for batch in batches:
        hub.window.acknowledged(batch.number)
    assert hub.hear(receipt_with(digest=batches[1].digest, refused=reason)) is Verdict.IGNORED
    assert hub.firsts() == [1]


def test_the_receipts_of_an_earlier_epoch_do_nothing(hub: Hub) -> None:
    batches = open_window(hub)
    old = receipt_with(next_seq=batches[3].last + 1, digest=batches[3].digest, epoch=b"epoch000")
    assert hub.hear(old) is Verdict.IGNORED
    assert hub.oldest == 5


def test_a_bridge_that_says_unasked_where_it_stands_gets_the_rest_at_once(hub: Hub) -> None:
    batches = open_window(hub)
    for batch in batches:
        hub.window.acknowledged(batch.number)
    hub.now += 10
    assert hub.hear(receipt_with(next_seq=5)) is Verdict.ANSWERED
    assert hub.firsts()[:2] == [5, 9]
    hub.now += 0.5
    assert hub.hear(receipt_with(next_seq=5)) is Verdict.IGNORED  # not more often than once a second
    assert hub.firsts() == []


def test_a_bridge_that_says_unasked_that_it_has_everything_costs_nothing() -> None:
    hub = Hub(readings=4)
    hub.send()
    assert hub.hear(receipt_with(next_seq=5)) is Verdict.ANSWERED
    assert hub.send() == []
    assert hub.window.deadline() == ACKNOWLEDGEMENT_TIMEOUT_S
    hub.next = 6
    assert hub.firsts() == [5]


def test_the_time_alone_unasked_is_no_answer(hub: Hub) -> None:
    hub.send()
    assert hub.hear(receipt_with()) is Verdict.IGNORED
    assert hub.send() == []


def test_where_no_bridge_is_subscribed_the_hub_asks_at_least_every_minute(hub: Hub) -> None:
    waits = []
    for _ in range(6):
        (batch,) = hub.send()
        hub.window.undelivered(batch.number, hub.now)
        waits.append(hub.wait())
    assert waits == [FIRST_PAUSE_S, 10, 20, 40, LONGEST_WITHOUT_BRIDGE_S, LONGEST_WITHOUT_BRIDGE_S]
    hub.accept(hub.send()[0])
    assert hub.firsts()[0] == 2


def test_a_broker_that_stops_acknowledging_is_given_up(hub: Hub) -> None:
    hub.send()
    assert hub.window.deadline() == RECEIPT_TIMEOUT_S
    hub.now = ACKNOWLEDGEMENT_TIMEOUT_S - 0.1
    assert hub.window.expire(hub.now)
    hub.now = ACKNOWLEDGEMENT_TIMEOUT_S
    assert not hub.window.expire(hub.now)


def test_a_slow_bridge_that_answers_now_and_then_is_not_sent_anything_twice(hub: Hub) -> None:
    batches = open_window(hub)
    for batch in batches:
        hub.window.acknowledged(batch.number)
    for batch in batches:
        hub.now += RECEIPT_TIMEOUT_S - 1
        assert hub.window.expire(hub.now)
        hub.accept(batch)
    assert hub.window.counters.resent == 0


def test_when_everything_on_its_way_was_given_up_the_rest_is_still_sent() -> None:
    hub = Hub(readings=12)
    batches = open_window(hub)
    for batch in batches:
        hub.window.acknowledged(batch.number)
    hub.hear(receipt_with(digest=batches[1].digest, refused=Refusal.MALFORMED))
    hub.hear(receipt_with(next_seq=9, digest=batches[0].digest))  # comes late, and is good
    assert hub.firsts() == [9]


# --- any network ---


@dataclass
class Chances:
    """What happens to each message and each connection."""

    lose: float = 0.0
    twice: float = 0.0
    late: float = 0.0
    cut: float = 0.0
    broker_forgets: float = 0.0
    bridge_away: float = 0.0
    refused: float = 0.0
    nobody: float = 0.0


@dataclass
class World:
    """A hub, a broker that may forget, and a bridge that follows the contract, in virtual time."""

    seed: int
    chances: Chances
    readings: int
    now: float = 0.0
    accepted: list[int] = field(default_factory=list)
    written_twice: int = 0
    calm: bool = False

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311  (repeatable)
        self.hub = Hub(readings=self.readings)
        self.up = True
        self.generation = 0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def happens(self, probability: float) -> bool:
        return not self.calm and self.chance.random() < probability

    def at(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay_s, next(self._order), action))

    def carry(self, deliver: Callable[[], None], base_s: float) -> None:
        """One message on its way: lost, doubled, late, or in good order."""
        generation = self.generation
        for _ in range(2 if self.happens(self.chances.twice) else 1):
            if not self.happens(self.chances.lose):
                extra_s = self.chance.uniform(0, 60) if self.happens(self.chances.late) else 0.0
                self.at(base_s + extra_s, lambda: deliver() if generation == self.generation else None)

    def pump(self) -> None:
        self.hub.now = self.now
        if not self.up:
            return
        if not self.hub.window.expire(self.now):
            self.cut()
            return
        for batch in self.hub.send():
            if self.happens(self.chances.nobody):
                self.carry(lambda batch=batch: self.hub.window.undelivered(batch.number, self.now), 0.01)  # type: ignore[misc]
                continue
            self.carry(lambda batch=batch: self.hub.window.acknowledged(batch.number), 0.01)  # type: ignore[misc]
            oldest = self.hub.oldest
            self.carry(lambda batch=batch, oldest=oldest: self.bridge(batch, oldest), 0.05)  # type: ignore[misc]
        if self.happens(self.chances.cut):
            self.cut()

    def cut(self) -> None:
        self.up = False
        self.hub.window.disconnected()
        if self.happens(self.chances.broker_forgets):
            self.generation += 1

        def reconnect() -> None:
            self.up = True
            self.hub.window.connected(20)

        self.at(self.chance.uniform(0, 5), reconnect)

    def bridge(self, batch: Sent, oldest: int) -> None:
        """docs of the contract: GAP, lost for good, replayed, or accepted."""
        if self.happens(self.chances.bridge_away):
            return
        if self.happens(self.chances.refused):
            self.carry(lambda: self.answer(receipt_with(digest=batch.digest, refused=Refusal.UNKNOWN_KEY)), 0.05)
            return
        expected = len(self.accepted) + 1
        if batch.first > expected:
            assert oldest < batch.first, "the hub gave up readings that the bridge never had"
            refused: Refusal | None = Refusal.GAP
        elif batch.last < expected:
            refused = Refusal.REPLAYED
        else:
            refused = None
            self.accepted += range(expected, batch.last + 1)
        receipt = receipt_with(next_seq=len(self.accepted) + 1, digest=batch.digest, refused=refused)
        self.carry(lambda: self.answer(receipt), 0.05)

    def answer(self, receipt: VerifiedReceipt) -> None:
        if self.up:
            self.hub.now = self.now
            self.hub.hear(receipt)

    def run(self, until: float, more_readings: bool) -> None:
        self.pump()
        while self.now < until and self.hub.oldest < self.hub.next:
            deadline = self.hub.window.deadline() if self.up else None
            next_event = self._events[0][0] if self._events else until
            self.now = max(self.now, min(next_event, until, deadline if deadline is not None else until))
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            if more_readings and self.happens(0.05):
                self.hub.next += 1
            self.pump()


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    readings=st.integers(1, 300),
    chances=st.builds(
        Chances,
        lose=st.sampled_from([0.0, 0.05, 0.5]),
        twice=st.sampled_from([0.0, 0.2]),
        late=st.sampled_from([0.0, 0.2]),
        cut=st.sampled_from([0.0, 0.05, 0.3]),
        broker_forgets=st.sampled_from([0.0, 0.5, 1.0]),
        bridge_away=st.sampled_from([0.0, 0.3]),
        refused=st.sampled_from([0.0, 0.1]),
        nobody=st.sampled_from([0.0, 0.1]),
    ),
)
def test_over_any_network_every_reading_arrives_once_in_order_and_is_then_let_go(
    seed: int, readings: int, chances: Chances
) -> None:
    world = World(seed=seed, chances=chances, readings=readings)
    world.run(until=3600, more_readings=True)
    world.calm = True
    if not world.up:
        world.up = True
        world.hub.window.connected(20)
    world.run(until=world.now + 1200, more_readings=False)
    assert world.accepted == list(range(1, world.hub.next))
    assert world.hub.oldest == world.hub.next


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_over_a_good_network_nothing_is_sent_twice(seed: int) -> None:
    world = World(seed=seed, chances=Chances(), readings=3000)
    world.run(until=60, more_readings=True)
    assert world.hub.oldest == world.hub.next > 3000
    assert world.hub.window.counters.resent == 0


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_on_a_link_that_is_cut_often_at_most_a_tenth_is_sent_twice(seed: int) -> None:
    """The broker is well, the radio is not."""
    world = World(seed=seed, chances=Chances(cut=0.02), readings=3000)
    world.run(until=3600, more_readings=False)
    assert world.hub.oldest == world.hub.next
    assert world.hub.window.counters.resent <= 300


def test_a_bridge_that_is_away_for_a_day_costs_the_broker_few_batches() -> None:
    world = World(seed=1, chances=Chances(bridge_away=1.0), readings=3000)
    world.run(until=86_400, more_readings=False)
    assert world.accepted == []
    assert world.hub.window.counters.batches <= 86_400 / LONGEST_TIMEOUT_S + 10
