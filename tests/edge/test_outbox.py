"""The outbox keeps what it accepted, in order, under numbers that are never used twice."""

import contextlib
import itertools
import shutil
import sqlite3
import tempfile
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.outbox import Outbox, OutboxBusy, OutboxFailed, OutboxFull, WentBack
from edge.store import Mark, Recalled
from tests.edge.readings import HUB, clock, encoded, number_of
from wire import batch
from wire.batch import GENESIS, HubKey
from wire.cose import KeySigner

KEY = ec.generate_private_key(ec.SECP256R1())
SIGNER = KeySigner(KEY)


def stored(outbox: Outbox) -> list[int]:
    """The numbers of every reading held, in order, as they would be sent."""
    numbers: list[int] = []
    first = outbox.oldest
    while (pending := outbox.pending(first)) is not None:
        assert pending.first == first
        numbers += [number_of(each) for each in pending.readings]
        first += len(pending.readings)
    return numbers


def chain_up_to(outbox: Outbox, next_seq: int) -> bytes:
    """What an honest bridge that accepted everything below `next_seq` has as its chain."""
    pending = outbox.pending(next_seq - 1)
    assert pending is not None
    return batch.chain(pending.previous, pending.readings[0])


def fill(outbox: Outbox) -> int:
    """Put until the store refuses; how many it took."""
    for number in itertools.count():
        try:
            outbox.put(encoded(number))
        except OutboxFull:
            return number
    raise AssertionError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def test_readings_are_numbered_from_one_and_come_back_in_order(path: Path) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        assert [outbox.put(encoded(number)) for number in (10, 20, 30)] == [1, 2, 3]
        assert outbox.put_many([encoded(40), encoded(50)]) == range(4, 6)
        assert outbox.put_many([]) == range(6, 6)
        assert stored(outbox) == [10, 20, 30, 40, 50]
        assert (outbox.oldest, outbox.next) == (1, 6)


def test_every_commit_of_a_reading_is_synced_to_the_disk(path: Path) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.put(encoded(1))
        outbox.confirm(outbox.epoch, 2, chain_up_to(outbox, 2))
        ask = outbox._connection.execute
        assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ask("PRAGMA synchronous").fetchone() == (2,)
        assert ask("PRAGMA page_size").fetchone() == (1024,)
        tables = ask("SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite%'")
        assert dict(tables.fetchall()) == {"reading": 1, "state": 1, "alarm": 1, "note": 1, "mark": 1}


def test_only_this_user_can_read_the_store(path: Path) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.put(encoded(1))
        modes = {part.name: part.stat().st_mode & 0o777 for part in path.parent.iterdir()}
    assert modes == dict.fromkeys(("outbox.db", "outbox.db-wal", "outbox.db-shm", "outbox.db.lock"), 0o600)


def test_numbers_go_on_where_they_were_after_everything_was_confirmed_and_the_hub_restarted(path: Path) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.put_many([encoded(1), encoded(2)])
        chain = chain_up_to(outbox, 3)
        assert outbox.confirm(outbox.epoch, 3, chain) == 2
        epoch = outbox.epoch
    with Outbox.open(path, hub=HUB) as outbox:
        assert outbox.epoch == epoch
        assert outbox.pending(1) is None
        assert outbox.put(encoded(3)) == 3
        pending = outbox.pending(1)
        assert pending is not None
        assert (pending.first, pending.previous, pending.oldest) == (3, chain, 3)


def test_a_receipt_of_another_epoch_or_an_old_receipt_deletes_nothing(path: Path) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.put_many([encoded(1), encoded(2), encoded(3)])
        first, second = chain_up_to(outbox, 2), chain_up_to(outbox, 3)
        assert outbox.confirm(b"another!", 3, second) == 0
        assert outbox.confirm(outbox.epoch, 3, second) == 2
        assert outbox.confirm(outbox.epoch, 3, second) == 0
        assert outbox.confirm(outbox.epoch, 2, first) == 0
        assert outbox.confirm(outbox.epoch, 1, GENESIS) == 0
        assert stored(outbox) == [3]


def test_a_receipt_for_readings_that_the_store_does_not_know_says_that_the_store_went_back(path: Path) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.put_many([encoded(1), encoded(2)])
        with pytest.raises(WentBack):
            outbox.confirm(outbox.epoch, 4, bytes(32))
        with pytest.raises(WentBack):  # the numbers fit, but other readings were accepted under them
            outbox.confirm(outbox.epoch, 3, batch.chain(batch.chain(GENESIS, encoded(1)), encoded(99)))
        assert stored(outbox) == [1, 2]


def test_a_new_epoch_holds_the_unconfirmed_readings_unchanged_under_numbers_from_one(path: Path) -> None:
    with Outbox.open(path, hub=HUB, wall_us=lambda: 77) as outbox:
        outbox.put_many([encoded(number) for number in range(10)])
        outbox.confirm(outbox.epoch, 5, chain_up_to(outbox, 5))
        old = outbox.epoch
        outbox.renew_epoch("sequence-reused", "as a test")
        assert outbox.epoch != old
        assert outbox.born == "sequence-reused"
        pending = outbox.pending(1)
        assert pending is not None
        assert pending.previous == GENESIS
        assert list(pending.readings) == [encoded(number) for number in range(4, 10)]
        (alarm,) = outbox.alarms()
        assert (alarm.at_us, alarm.cause) == (77, "sequence-reused")
        assert "6 readings" in alarm.detail
        assert outbox.confirm(old, 6, bytes(32)) == 0
    with Outbox.open(path, hub=HUB) as outbox:
        assert stored(outbox) == [4, 5, 6, 7, 8, 9]
        assert outbox.put(encoded(10)) == 7


def test_a_hub_that_gets_another_name_begins_a_new_epoch(path: Path) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.put(encoded(1))
        old = outbox.epoch
    with Outbox.open(path, hub="hub-0002") as outbox:
        assert outbox.epoch != old
        assert outbox.born == "hub-renamed"
        assert stored(outbox) == [1]


def test_a_second_hub_process_on_the_same_store_is_refused(path: Path) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.put(encoded(1))
        with pytest.raises(OutboxBusy, match="another process"):
            Outbox.open(path, hub=HUB)
    Outbox.open(path, hub=HUB).close()


def test_another_process_may_look_without_disturbing(path: Path, tmp_path: Path) -> None:
    assert Outbox.peek(path) is None
    assert list(tmp_path.iterdir()) == []
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.put_many([encoded(1), encoded(2), encoded(3)])
        outbox.confirm(outbox.epoch, 2, chain_up_to(outbox, 2))
        outbox.alarm("test", "look at me")
        stats = Outbox.peek(path)
        assert stats is not None
        assert stats == outbox.stats()
        assert (stats.pending, stats.oldest, stats.next, stats.oldest_reading) == (2, 2, 4, encoded(2))
        assert [alarm.cause for alarm in stats.alarms] == ["test"]
        assert outbox.put(encoded(4)) == 4
    closed = Outbox.peek(path)
    assert closed is not None
    assert closed.pending == 3
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(OutboxFailed):
        Outbox.peek(path)


def test_a_full_store_refuses_aloud_keeps_what_it_has_and_takes_readings_again_when_some_are_confirmed(
    path: Path,
) -> None:
    with Outbox.open(path, hub=HUB, max_bytes=64 * 1024) as outbox:
        accepted = fill(outbox)
        assert accepted > 100
        with pytest.raises(OutboxFull):
            outbox.put_many([encoded(accepted), encoded(accepted + 1)])
        assert stored(outbox) == list(range(accepted))
        half = accepted // 2
        assert outbox.confirm(outbox.epoch, half + 1, chain_up_to(outbox, half + 1)) == half
        assert outbox.put(encoded(accepted)) == accepted + 1
        assert stored(outbox) == list(range(half, accepted + 1))
    assert path.stat().st_size <= 64 * 1024


def test_ninety_days_of_readings_fit_in_16_mb(path: Path) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        for start in range(0, 18_000, 500):
            outbox.put_many([encoded(number) for number in range(start, start + 500)])
        assert outbox.stats().bytes_used <= 16_000_000
        assert path.stat().st_size + path.with_name("outbox.db-wal").stat().st_size <= 16_000_000


def test_the_log_beside_the_store_stays_small(path: Path) -> None:
    log = path.with_name("outbox.db-wal")
    with Outbox.open(path, hub=HUB) as outbox:
        for start in range(0, 6_000, 60):
            outbox.put_many([encoded(number) for number in range(start, start + 60)])
            outbox.confirm(outbox.epoch, outbox.next, chain_up_to(outbox, outbox.next))
        assert log.stat().st_size <= 1_200_000
        assert path.stat().st_size <= 200_000


def test_a_batch_takes_only_as_many_readings_as_fit_an_envelope(path: Path) -> None:
    big = [bytes([number]) * (20 * 1024) for number in range(10)]
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.put_many(big)
        pending = outbox.pending(1)
        assert pending is not None
        assert pending.readings == tuple(big[:3])
        outbox.put_many([encoded(number) for number in range(100)])
        pending = outbox.pending(11)
        assert pending is not None
        assert len(pending.readings) == batch.MAX_READINGS
        pending = outbox.pending(11, limit=5)
        assert pending is not None
        assert len(pending.readings) == 5


@pytest.mark.parametrize("size", [0, batch.MAX_READING_BYTES + 1])
def test_what_no_batch_could_carry_is_not_stored(path: Path, size: int) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        with pytest.raises(ValueError, match="an encoded reading of"):
            outbox.put_many([encoded(1), bytes(size)])
        assert outbox.next == 1


def test_threads_may_put_at_the_same_time(path: Path) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        seqs: list[int] = []

        def put_some(start: int) -> None:
            seqs.extend(outbox.put(encoded(number)) for number in range(start, start + 50))

        threads = [threading.Thread(target=put_some, args=(start,)) for start in (0, 1000, 2000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seqs) == list(range(1, 151))
        assert sorted(stored(outbox)) == [*range(50), *range(1000, 1050), *range(2000, 2050)]


def test_a_store_of_a_later_version_is_left_alone_and_the_operator_is_told(path: Path) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.put(encoded(1))
    with sqlite3.connect(path) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(OutboxFailed, match="version 99"):
        Outbox.open(path, hub=HUB)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with Outbox.open(path, hub=HUB) as outbox:
        assert stored(outbox) == [1]


def test_a_store_of_the_first_version_keeps_its_readings_and_learns_to_remember_records(path: Path) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.put_many([encoded(1), encoded(2)])
    with sqlite3.connect(path) as connection:
        connection.executescript("DROP TABLE note; DROP TABLE mark; PRAGMA user_version = 1; VACUUM;")
    connection.close()
    with Outbox.open(path, hub=HUB, max_bytes=path.stat().st_size) as outbox:  # full as it is
        assert stored(outbox) == [1, 2]
    with Outbox.open(path, hub=HUB) as outbox:
        assert outbox.recall(b"meter") == Recalled(None, frozenset())
        outbox.put_noted(encoded(3), source=b"meter", notes=[b"12345678"])
        assert stored(outbox) == [1, 2, 3]


def test_what_is_remembered_of_records_is_there_after_a_restart_and_apart_for_each_device(path: Path) -> None:
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.put_noted(encoded(1), source=b"meter", notes=[b"first..."])
        outbox.put_noted(encoded(2), source=b"meter", notes=[b"second..", b"third..."])
        outbox.put_noted(encoded(3), source=b"oximeter", notes=[b"fourth.."])
        outbox.mark(b"meter", Mark(7, b"third..."))
        outbox.confirm(outbox.epoch, 4, chain_up_to(outbox, 4))
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.renew_epoch("a test")
        notes = frozenset((b"first...", b"second..", b"third..."))
        assert outbox.recall(b"meter") == Recalled(Mark(7, b"third..."), notes)
        assert outbox.recall(b"oximeter") == Recalled(None, frozenset((b"fourth..",)))
        outbox.mark(b"meter", None)
        assert outbox.recall(b"meter") == Recalled(None, notes)


def test_a_record_that_does_not_fit_the_store_is_not_remembered_either(path: Path) -> None:
    with Outbox.open(path, hub=HUB, max_bytes=64 * 1024) as outbox:
        while outbox.next < 1000:
            with contextlib.suppress(OutboxFull):
                outbox.put_noted(encoded(outbox.next), source=b"meter", notes=[outbox.next.to_bytes(8)])
                continue
            break
        assert 10 < outbox.next < 1000
        assert outbox.recall(b"meter").notes == {number.to_bytes(8) for number in range(1, outbox.next)}


def test_only_the_newest_notes_of_a_device_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.store.NOTES", 3)
    monkeypatch.setattr("edge.store.MORE_NOTES", 2)
    with Outbox.open(path, hub=HUB) as outbox:
        for number in range(6):
            outbox.put_noted(encoded(number), source=b"meter", notes=[number.to_bytes(8)])
            outbox.put_noted(encoded(number), source=b"oximeter", notes=[number.to_bytes(8)])
        outbox.put_noted(encoded(6), source=b"meter", notes=[(6).to_bytes(8)])
        assert outbox.recall(b"meter").notes == {number.to_bytes(8) for number in (4, 5, 6)}
        assert len(outbox.recall(b"oximeter").notes) == 4


def test_a_store_that_cannot_be_made_names_the_reason(tmp_path: Path) -> None:
    with pytest.raises(OutboxFailed, match="No such file or directory"):
        Outbox.open(tmp_path / "nowhere" / "outbox.db", hub=HUB)


def test_only_the_newest_alarms_are_kept(path: Path) -> None:
    ticks = iter(range(1000))
    with Outbox.open(path, hub=HUB, wall_us=lambda: next(ticks)) as outbox:
        for number in range(120):
            outbox.alarm("test", str(number))
        assert [alarm.detail for alarm in outbox.alarms()] == [str(number) for number in range(20, 120)]


class AnyUse(RuleBasedStateMachine):
    """Whatever a hub does with its store, and in whatever order, the pair (epoch, seq) names one reading for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="stafet-outbox-"))
        self.outbox = self.open()
        self.held: list[bytes] = []
        self.ever: dict[tuple[bytes, int], bytes] = {}
        self.receipts: list[tuple[bytes, int, bytes]] = []
        self.count = 0

    def open(self) -> Outbox:
        return Outbox.open(self.directory / "outbox.db", hub=HUB)

    def teardown(self) -> None:
        self.outbox.close()
        shutil.rmtree(self.directory)

    def remember(self, seqs: range, readings: list[bytes]) -> None:
        for seq, each in zip(seqs, readings, strict=True):
            assert (self.outbox.epoch, seq) not in self.ever
            self.ever[self.outbox.epoch, seq] = each

    @rule(count=st.integers(1, 5))
    def put(self, count: int) -> None:
        readings = [encoded(self.count + index) for index in range(count)]
        self.count += count
        self.remember(self.outbox.put_many(readings), readings)
        self.held += readings

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.held)))
        receipt = (self.outbox.epoch, self.outbox.oldest + count, chain_up_to(self.outbox, self.outbox.oldest + count))
        self.receipts.append(receipt)
        assert self.outbox.confirm(*receipt) == count
        del self.held[:count]

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def confirm_again(self, data: st.DataObject) -> None:
        assert self.outbox.confirm(*data.draw(st.sampled_from(self.receipts))) == 0

    @rule(beyond=st.integers(1, 1000))
    def confirm_too_much(self, beyond: int) -> None:
        with pytest.raises(WentBack):
            self.outbox.confirm(self.outbox.epoch, self.outbox.next + beyond, bytes(32))

    @rule()
    def restart(self) -> None:
        self.outbox.close()
        self.outbox = self.open()

    @rule()
    def renew(self) -> None:
        self.outbox.renew_epoch("test")
        self.remember(range(1, len(self.held) + 1), self.held)

    @rule(limit=st.integers(1, 64))
    def send(self, limit: int) -> None:
        """Sealed in any grouping and opened by a bridge, the chain holds from the first to the last."""
        outbox = self.outbox
        sent: list[tuple[bytes, int, bytes]] = []
        previous: bytes | None = None
        while (pending := outbox.pending(outbox.oldest + len(sent), limit)) is not None:
            envelope = batch.seal_batch(
                hub=HUB,
                epoch=pending.epoch,
                first=pending.first,
                previous=pending.previous,
                oldest=pending.oldest,
                readings=pending.readings,
                sealed=clock(),
                signer=SIGNER,
            )
            opened = batch.open_batch(envelope, lambda _: HubKey(hub=HUB, public_key=KEY.public_key()))
            assert previous in (None, opened.previous)
            previous = opened.readings[-1].chain
            sent += [(opened.epoch, each.seq, each.encoded) for each in opened.readings]
        assert [each for _, _, each in sent] == self.held
        assert all(self.ever[epoch, seq] == each for epoch, seq, each in sent)

    @invariant()
    def holds_what_is_not_confirmed(self) -> None:
        assert self.outbox.next - self.outbox.oldest == len(self.held)


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
