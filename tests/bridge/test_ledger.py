"""The ledger: durable, honest about how far an epoch is settled, and safe with two bridges on it."""

import contextlib
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.database import Database, DatabaseError, NewerLedgerError, schema
from bridge.ledger import HistoryChangedError, Ledger, Ready, Standing, Unfit
from bridge.quarantine import BOUNDS, Bound
from bridge.trust import Accept, judge, open_message
from tests.bridge.hub import START_US, Hub
from wire.batch import GENESIS, VerifiedBatch
from wire.errors import Refusal

HUB = Hub(epoch=bytes(8))
HUB.weigh(10)
NOW = START_US


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with opened(tmp_path) as ledger:
        yield ledger


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[Ledger]:
    with Database.open(directory / "bridge.db") as database:
        ledger = Ledger(database)
        ledger.registry.add_hub(HUB.name, HUB.public_pem, patient="Patient/abc", now_us=NOW)
        yield ledger


def batch(ledger: Ledger, first: int, last: int, *, oldest: int | None = None) -> VerifiedBatch:
    return open_message("hub/hub-0001/batch", HUB.batch(first, last, oldest=oldest), ledger.registry.key)


def plans(accept: Accept, *, unfit: int | None = None) -> list[Ready | Unfit]:
    return [
        Unfit(reading=reading, reason="undecodable", detail="too short")
        if reading.seq == unfit
        else Ready(reading=reading, patient="Patient/abc", identifiers=(f"o{reading.seq}",))
        for reading in accept.readings
    ]


def admit(ledger: Ledger, verified: VerifiedBatch, *, unfit: int | None = None) -> Accept:
    history = ledger.history(verified)
    accept = judge(verified, history)
    assert isinstance(accept, Accept)
    ledger.admit(verified, b"envelope", accept, plans(accept, unfit=unfit), history=history, now_us=NOW)
    return accept


def settle(ledger: Ledger, *seqs: int) -> None:
    entries = [entry for entry in ledger.pending(HUB.name, limit=64) if entry.seq in seqs]
    urls = {identifier: f"Observation/{identifier}" for entry in entries for identifier in entry.identifiers}
    ledger.written([entry.id for entry in entries], urls, now_us=NOW)


def standing(ledger: Ledger) -> Standing:
    return ledger.standing(HUB.name, HUB.epoch)


def test_what_a_commit_promised_is_on_the_disk(tmp_path: Path) -> None:
    with Database.open(tmp_path / "bridge.db") as database:
        modes = [database.row(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "foreign_keys")]
        assert [tuple(mode or ()) for mode in modes] == [("wal",), (2,), (1,)]


def test_nobody_else_may_read_the_ledger(tmp_path: Path) -> None:
    with Database.open(tmp_path / "bridge.db") as database:
        database.change("CREATE TABLE t (x)")
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_ledger_of_a_newer_stafet_is_left_alone(tmp_path: Path) -> None:
    with Database.open(tmp_path / "bridge.db") as database:
        database.change(f"PRAGMA user_version={len(schema()) + 1}")
    with pytest.raises(NewerLedgerError, match="install the newer one"):
        Database.open(tmp_path / "bridge.db")


def test_a_file_that_is_no_ledger_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "bridge.db").write_bytes(b"not a database, and long enough to be looked at" * 100)
    with pytest.raises(DatabaseError, match=r"bridge\.db"):
        Database.open(tmp_path / "bridge.db")
    with pytest.raises(DatabaseError, match="nowhere"):
        Database.open(tmp_path / "nowhere" / "bridge.db")


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with Database.open(tmp_path / "bridge.db") as database:
        insert = "INSERT INTO hub (name, added_us) VALUES ('h', 1)"
        with pytest.raises(sqlite3.IntegrityError), database.transaction():  # noqa: PT012 - the second statement fails
            database.insert(insert)
            database.insert(insert)
        assert database.rows("SELECT * FROM hub") == []


def test_a_ledger_that_is_written_by_another_process_is_waited_for_and_then_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.database.BUSY_TIMEOUT_S", 0.05)
    with Database.open(tmp_path / "bridge.db") as one, Database.open(tmp_path / "bridge.db") as two:
        with one.transaction(), pytest.raises(DatabaseError, match="locked"), two.transaction():
            pass
        with two.transaction():
            two.insert("INSERT INTO hub (name, added_us) VALUES ('h', 1)")


def test_a_reading_is_pending_until_all_its_observations_are_known_to_be_there(ledger: Ledger) -> None:
    admit(ledger, batch(ledger, 1, 3))
    assert standing(ledger) == Standing(epoch=HUB.epoch, next=1, chain=GENESIS)
    settle(ledger, 2)
    assert standing(ledger).next == 1
    settle(ledger, 1)
    assert standing(ledger) == Standing(epoch=HUB.epoch, next=3, chain=HUB.chain_before(3))
    settle(ledger, 3)
    assert standing(ledger) == Standing(epoch=HUB.epoch, next=4, chain=HUB.chain_before(4))
    assert ledger.summary().observations == 3


def test_a_reading_in_quarantine_is_settled(ledger: Ledger) -> None:
    admit(ledger, batch(ledger, 1, 2), unfit=1)
    assert standing(ledger).next == 2
    (entry,) = ledger.pending(HUB.name, limit=10)
    ledger.unwritable(entry, "fhir-refused", "HTTP 422: no", now_us=NOW)
    assert standing(ledger).next == 3
    assert ledger.quarantine.counts() == {"fhir-refused": 1, "undecodable": 1}
    (again,) = ledger.quarantined([entry.id])
    ledger.written([again.id], {"o2": "Observation/o2"}, now_us=NOW)
    assert ledger.quarantine.counts() == {"undecodable": 1}


def test_after_a_gap_the_position_stands_on_the_chain_that_the_hub_named(ledger: Ledger) -> None:
    admit(ledger, batch(ledger, 4, 5, oldest=4))
    assert standing(ledger) == Standing(epoch=HUB.epoch, next=4, chain=HUB.chain_before(4))
    settle(ledger, 4, 5)
    assert standing(ledger).next == 6
    assert ledger.summary().missing == 3
    admit(ledger, batch(ledger, 2, 3, oldest=1))
    assert (standing(ledger).next, ledger.summary().missing) == (2, 1)
    settle(ledger, 2, 3)
    assert standing(ledger) == Standing(epoch=HUB.epoch, next=6, chain=HUB.chain_before(6))


def test_two_readings_of_one_observation_are_both_written_when_it_is(ledger: Ledger) -> None:
    verified = batch(ledger, 1, 2)
    history = ledger.history(verified)
    accept = judge(verified, history)
    assert isinstance(accept, Accept)
    same = [Ready(reading=reading, patient="Patient/abc", identifiers=("one",)) for reading in accept.readings]
    ledger.admit(verified, b"envelope", accept, same, history=history, now_us=NOW)
    ledger.written([entry.id for entry in ledger.pending(HUB.name, limit=9)], {"one": "Observation/1"}, now_us=NOW)
    third = batch(ledger, 3, 3)
    history = ledger.history(third)
    accept = judge(third, history)
    assert isinstance(accept, Accept)
    again = [Ready(reading=accept.readings[0], patient="Patient/abc", identifiers=("one",))]
    ledger.admit(third, b"envelope", accept, again, history=history, now_us=NOW)
    summary = ledger.summary()
    assert (summary.written, summary.pending, summary.observations) == (3, 0, 1)


def test_a_batch_judged_by_a_past_history_is_not_written(tmp_path: Path) -> None:
    with opened(tmp_path) as one, opened(tmp_path) as two:
        verified = batch(one, 1, 2)
        stale = two.history(verified)
        admit(one, verified)
        accept = judge(verified, stale)
        assert isinstance(accept, Accept)
        with pytest.raises(HistoryChangedError):
            two.admit(verified, b"envelope", accept, plans(accept), history=stale, now_us=NOW)
        assert two.summary().batches == 1


def test_evidence_stays_as_it_was_signed(ledger: Ledger) -> None:
    envelope = HUB.batch(1, 2)
    verified = open_message("hub/hub-0001/batch", envelope, ledger.registry.key)
    history = ledger.history(verified)
    accept = judge(verified, history)
    assert isinstance(accept, Accept)
    ledger.admit(verified, envelope, accept, plans(accept), history=history, now_us=NOW)
    assert ledger.envelope(sha256(envelope).digest()) == envelope
    with pytest.raises(KeyError):
        ledger.envelope(bytes(32))


SPANS = st.lists(st.tuples(st.integers(1, 10), st.integers(1, 10), st.booleans()), max_size=20)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SPANS, st.data())
def test_the_ledger_agrees_with_a_simple_model_of_it(
    memory_path: Path, spans: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    with opened(Path(mkdtemp(dir=memory_path))) as ledger:
        accepted: set[int] = set()
        settled: set[int] = set()
        for one, two, lost in spans:
            first, last = sorted((one, two))
            verified = batch(ledger, first, last, oldest=first if lost else 1)
            history = ledger.history(verified)
            assert history.expected == max(accepted, default=0) + 1
            assert set(history.known) == accepted & set(range(first, last + 1))
            judged = judge(verified, history)
            if isinstance(judged, Accept):
                ledger.admit(verified, b"e", judged, plans(judged), history=history, now_us=NOW)
                accepted |= set(range(first, last + 1))
            else:
                assert judged.reason in (Refusal.GAP, Refusal.REPLAYED)
            done = data.draw(st.sets(st.sampled_from(sorted(accepted)))) if accepted else set()
            settle(ledger, *done)
            settled |= done & accepted
            pending = accepted - settled
            assert {entry.seq for entry in ledger.pending(HUB.name, limit=64)} == pending
            expected = min(pending, default=max(accepted, default=0) + 1)
            assert standing(ledger) == Standing(epoch=HUB.epoch, next=expected, chain=HUB.chain_before(expected))
            assert ledger.summary().missing == len(set(range(1, max(accepted, default=0) + 1)) - accepted)


def test_a_flood_of_strangers_fills_neither_the_disk_nor_the_room_of_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = dict(BOUNDS) | {Refusal.UNKNOWN_KEY: Bound(rows=10, octets=4_000)}
    bounds[Refusal.REPLAYED] = Bound(rows=3, octets=0, newest=True)
    monkeypatch.setattr("bridge.quarantine.BOUNDS", bounds)

    def refuse(reason: Refusal, number: int) -> bool:
        envelope = number.to_bytes(2) * 500
        digest = sha256(envelope).digest()
        return ledger.quarantine.refuse_batch(
            reason, "no", hub=None, digest=digest, envelope=envelope, now_us=NOW + number
        )

    assert [refuse(Refusal.UNKNOWN_KEY, number) for number in range(100)] == [True] * 10 + [False] * 90
    assert refuse(Refusal.UNKNOWN_KEY, 3), "a known one is still counted"
    assert refuse(Refusal.MALFORMED, 1)
    assert all(refuse(Refusal.REPLAYED, number) for number in range(5))
    assert ledger.quarantine.counts() == {"malformed": 1, "replayed": 3, "unknown-key": 10}
    assert ledger.quarantine.not_kept() == {"replayed": 2, "unknown-key": 90}
    strangers = ledger.quarantine.items(reason="unknown-key")
    whole = [ledger.quarantine.item(item.id) for item in strangers]
    assert sum(len(item.octets) for item in whole if item and item.octets is not None) == 4_000
    assert {item.count for item in strangers} == {1, 2}
    assert {item.size for item in strangers} == {1_000}


def test_processes_that_open_and_write_one_new_ledger_at_once_accept_each_reading_once(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        (tmp_path / "batches").write_text("\n".join(HUB.batch(seq, seq, oldest=1).hex() for seq in range(1, 11)))
        writers = [
            subprocess.Popen([sys.executable, "-m", "tests.bridge.ledger_writer", str(tmp_path)], stdin=subprocess.PIPE)
            for _ in range(3)
        ]
        for writer in writers:
            writer.communicate(timeout=60)
            assert writer.returncode == 0
        summary = ledger.summary()
        assert (summary.batches, summary.written, summary.pending, summary.observations) == (10, 10, 0, 10)


def test_two_processes_that_make_the_ledger_at_the_same_moment_make_one(tmp_path: Path) -> None:
    script = "import sys, pathlib; from bridge.database import Database; sys.stdin.read(); Database.open(pathlib.Path(sys.argv[1])).close()"
    makers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "bridge.db")], stdin=subprocess.PIPE)
        for _ in range(3)
    ]
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.close()
    for maker in makers:
        assert maker.wait(60) == 0
    with Database.open(tmp_path / "bridge.db") as database:
        assert database.row("SELECT COUNT(*) FROM hub") is not None
