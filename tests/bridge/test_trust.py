"""The trust rules: every row of the table, every refusal, and any order in which a network can deliver."""

import itertools
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.trust import (
    TABLE,
    Accept,
    Agreement,
    Gap,
    History,
    Known,
    Position,
    Refuse,
    Verdict,
    classify,
    judge,
    open_message,
)
from tests.bridge.hub import Hub, weight
from wire.batch import GENESIS, HubKey, VerifiedBatch, chain, encode_reading
from wire.errors import EnvelopeError, Refusal

HUB = Hub(epoch=bytes(8))
HUB.weigh(12)
OTHER = Hub(epoch=bytes(8), key=HUB.key)
OTHER.take(*[weight(90_000, after_us=each) for each in range(12)])


def keys(kid: bytes) -> HubKey | None:
    return HubKey(hub=HUB.name, public_key=HUB.key.public_key()) if kid == HUB.kid else None


def opened(envelope: bytes) -> VerifiedBatch:
    return open_message("hub/hub-0001/batch", envelope, keys)


def accepted(last: int, hub: Hub = HUB) -> History:
    """Readings 1 to `last` were accepted."""
    return History(
        expected=last + 1,
        head=hub.chain_before(last + 1),
        known={
            seq: Known(digest=sha256(encoded).digest(), chain=hub.chain_before(seq + 1))
            for seq, encoded in enumerate(hub.readings[:last], 1)
        },
    )


def with_gap(first: int, last: int, until: int) -> History:
    """Readings 1 to `until` were accepted, but for `first` to `last`, which the hub had lost."""
    whole = accepted(until)
    return History(
        expected=whole.expected,
        head=whole.head,
        before=HUB.chain_before(first),
        known={seq: known for seq, known in whole.known.items() if not first <= seq <= last},
        after_gap={last: HUB.chain_before(last + 1)},
    )


def same_readings_after_another_history(last: int) -> History:
    value, known = b"\x01" * 32, {}
    for seq, encoded in enumerate(HUB.readings[:last], 1):
        value = chain(value, encoded)
        known[seq] = Known(digest=sha256(encoded).digest(), chain=value)
    return History(expected=last + 1, head=value, known=known)


ROWS: dict[tuple[Position, Agreement], tuple[Callable[[], bytes], History]] = {
    (Position.CONTINUES, Agreement.SAME): (lambda: HUB.batch(4, 6), accepted(3)),
    (Position.CONTINUES, Agreement.OTHER_HISTORY): (lambda: HUB.batch(4, 6), accepted(3, OTHER)),
    (Position.OVERLAPS, Agreement.SAME): (lambda: HUB.batch(2, 6), accepted(3)),
    (Position.OVERLAPS, Agreement.OTHER_READINGS): (lambda: HUB.batch(2, 6), accepted(3, OTHER)),
    (Position.OVERLAPS, Agreement.OTHER_HISTORY): (lambda: HUB.batch(2, 6), same_readings_after_another_history(3)),
    (Position.OVERLAPS, Agreement.LATE): (lambda: HUB.batch(3, 8), with_gap(3, 4, 6)),
    (Position.COVERED, Agreement.SAME): (lambda: HUB.batch(2, 3), accepted(3)),
    (Position.COVERED, Agreement.OTHER_READINGS): (lambda: HUB.batch(2, 3), accepted(3, OTHER)),
    (Position.COVERED, Agreement.OTHER_HISTORY): (lambda: HUB.batch(2, 3), same_readings_after_another_history(3)),
    (Position.COVERED, Agreement.LATE): (lambda: HUB.batch(3, 4), with_gap(3, 4, 6)),
    (Position.BEYOND, Agreement.HELD): (lambda: HUB.batch(6, 7, oldest=2), accepted(3)),
    (Position.BEYOND, Agreement.LOST): (lambda: HUB.batch(6, 7, oldest=6), accepted(3)),
}
VERDICTS = {
    Verdict.REPLAYED: Refusal.REPLAYED,
    Verdict.GAP: Refusal.GAP,
    Verdict.BROKEN_CHAIN: Refusal.BROKEN_CHAIN,
    Verdict.SEQUENCE_REUSED: Refusal.SEQUENCE_REUSED,
}


def test_the_table_has_a_row_for_every_case_and_a_case_for_every_possible_row() -> None:
    assert set(TABLE) == set(itertools.product(Position, Agreement))
    assert {row for row, verdict in TABLE.items() if verdict is not Verdict.IMPOSSIBLE} == set(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0].name}-{row[1].name}")
def test_a_batch_is_judged_by_its_row(row: tuple[Position, Agreement]) -> None:
    seal, history = ROWS[row]
    batch = opened(seal())
    assert classify(batch, history) == row
    verdict, judged = TABLE[row], judge(batch, history)
    if verdict in VERDICTS:
        assert isinstance(judged, Refuse)
        assert judged.reason is VERDICTS[verdict]
        assert judged.quarantine is (verdict is not Verdict.GAP)
        assert judged.message
    else:
        assert isinstance(judged, Accept)
        new = [seq for seq in range(batch.first, batch.last + 1) if seq not in history.known]
        assert [reading.seq for reading in judged.readings] == new
        expected_gap = Gap(first=history.expected, last=batch.first - 1)
        assert judged.gap == (expected_gap if verdict is Verdict.ACCEPT_WITH_GAP else None)


def test_late_readings_must_fit_what_came_before_and_after_the_gap() -> None:
    history = with_gap(3, 4, 6)
    alien = OTHER.batch(3, 4)
    assert classify(opened(alien), history) == (Position.COVERED, Agreement.OTHER_HISTORY)
    before_only = History(expected=7, head=history.head, before=b"\x07" * 32, known=history.known)
    assert classify(opened(HUB.batch(3, 3)), before_only) == (Position.COVERED, Agreement.OTHER_HISTORY)
    assert classify(opened(HUB.batch(3, 3)), history) == (Position.COVERED, Agreement.LATE)


def test_the_first_batch_of_an_epoch_begins_at_one_with_genesis() -> None:
    assert isinstance(judge(opened(HUB.batch(1, 2)), History()), Accept)
    judged = judge(opened(HUB.batch(2, 3, oldest=1)), History())
    assert isinstance(judged, Refuse)
    assert judged.reason is Refusal.GAP
    assert History().head == GENESIS


@pytest.mark.parametrize(
    ("topic", "seal", "reason"),
    [
        ("hub/hub-0002/batch", HUB.batch, Refusal.WRONG_HUB),
        ("hub/hub-0001", HUB.batch, Refusal.WRONG_HUB),
        ("hub/hub-0001/batch", lambda: HUB.batch(name="hub-0002"), Refusal.WRONG_HUB),
        ("hub/hub-0001/batch", lambda: Hub(readings=HUB.readings).batch(), Refusal.UNKNOWN_KEY),
        ("hub/hub-0001/batch", lambda: HUB.batch()[:-1], Refusal.MALFORMED),
        ("hub/hub-0001/batch", lambda: HUB.batch() + b"\x00", Refusal.MALFORMED),
        ("hub/hub-0001/batch", lambda: HUB.batch()[:-1] + bytes([HUB.batch()[-1] ^ 1]), Refusal.BAD_SIGNATURE),
    ],
)
def test_what_does_not_open_on_its_own_topic_is_refused(topic: str, seal: Callable[[], bytes], reason: Refusal) -> None:
    with pytest.raises(EnvelopeError) as refused:
        open_message(topic, seal(), keys)
    assert refused.value.reason is reason


SPANS = st.tuples(st.integers(1, 12), st.integers(1, 12)).map(sorted)


@settings(deadline=None)
@given(st.lists(SPANS, max_size=30))
def test_whatever_a_network_repeats_regroups_and_reorders_every_reading_is_accepted_at_most_once_and_in_order(
    spans: list[list[int]],
) -> None:
    history = History()
    seen: list[int] = []
    for first, last in spans:
        judged = judge(opened(sealed(first, last)), history)
        if isinstance(judged, Accept):
            seen += [reading.seq for reading in judged.readings]
            history = accepted(len(seen))
        else:
            assert judged.reason in (Refusal.REPLAYED, Refusal.GAP)
    assert seen == list(range(1, len(seen) + 1))


_SEALED: dict[tuple[int, int], bytes] = {}


def sealed(first: int, last: int) -> bytes:
    """Each span once: signing is most of the time of this test."""
    if (first, last) not in _SEALED:
        _SEALED[first, last] = HUB.batch(first, last, oldest=1)
    return _SEALED[first, last]


def test_a_reading_is_known_by_its_bytes() -> None:
    assert accepted(1).known[1].digest == sha256(encode_reading(weight(60_000))).digest()
