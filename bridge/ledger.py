"""The ledger: which readings were accepted, and which Observation each became. The bridge's memory of its promises.

A reading is written ahead as `pending`, with its patient and the identifiers of its Observations, before the FHIR
server hears of it; then it becomes `written` or `quarantined`, and only then may a receipt cover it. Whatever dies in
between, the next life finds the pending rows, asks the server for those identifiers, and goes on.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from bridge.database import Database, Row
from bridge.quarantine import Quarantine
from bridge.registry import Registry
from bridge.trust import Accept, History, Known
from wire.batch import GENESIS, VerifiedBatch, VerifiedReading


def now_us() -> int:
    """The bridge's clock: microseconds since 1970, UTC."""
    return time.time_ns() // 1_000


class HistoryChangedError(Exception):
    """Another bridge process wrote to this epoch since it was judged: judge again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A reading that can be written: whose it is, and the identifiers of all its Observations."""

    reading: VerifiedReading
    patient: str
    identifiers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """A reading that cannot be written as it is: quarantined with this reason."""

    reading: VerifiedReading
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An accepted reading that is not in FHIR (pending or quarantined). `found` holds what is known to be there."""

    id: int
    hub: str
    epoch: bytes
    seq: int
    batch: bytes
    """Digest of the envelope that holds the evidence."""
    patient: str | None
    identifiers: tuple[str, ...]
    found: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a (hub, epoch) is settled: what a receipt says."""

    epoch: bytes
    next: int
    chain: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The ledger in numbers, for `status`."""

    hubs: int
    batches: int
    pending: int
    oldest_pending_us: int | None
    written: int
    quarantined: int
    observations: int
    missing: int
    last_written_us: int | None


class Ledger:
    """Batches, readings, observations and gaps; with the registry and the quarantine of the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.registry = Registry(database)
        self.quarantine = Quarantine(database)

    # Judging and writing ahead

    def history(self, batch: VerifiedBatch) -> History:
        """What `trust.judge` needs to know for this batch."""
        epoch = self._epoch(batch.hub, batch.epoch)
        if epoch is None:
            return History()
        known = {
            int(row["seq"]): Known(digest=row["digest"], chain=row["chain"])
            for row in self._database.rows(
                "SELECT seq, digest, chain FROM reading WHERE epoch_id = ? AND seq BETWEEN ? AND ?",
                epoch["id"],
                batch.first - 1,
                batch.last,
            )
        }
        before = known.pop(batch.first - 1, None)
        gaps = self._database.rows(
            "SELECT last, after FROM gap WHERE epoch_id = ? AND last BETWEEN ? AND ?",
            epoch["id"],
            batch.first,
            batch.last,
        )
        return History(
            expected=epoch["expected"],
            head=epoch["head"],
            before=before.chain if before else None,
            known=known,
            after_gap={int(row["last"]): bytes(row["after"]) for row in gaps},
        )

    def admit(
        self,
        batch: VerifiedBatch,
        envelope: bytes,
        accept: Accept,
        plans: Sequence[Ready | Unfit],
        *,
        history: History,
        now_us: int,
    ) -> None:
        """Write ahead: the evidence, and each new reading with its plan. All or nothing.

        A reading whose Observations were all written before (a device sent a stored measurement again) is written
        already. HistoryChangedError if `history` is not the present any more.
        """
        with self._database.transaction():
            epoch_id = self._advance(batch, history, now_us)
            batch_id = self._database.insert(
                "INSERT INTO batch (digest, epoch_id, first, last, envelope, accepted_us) VALUES (?, ?, ?, ?, ?, ?)",
                batch.digest,
                epoch_id,
                batch.first,
                batch.last,
                envelope,
                now_us,
            )
            self._fill_gaps(epoch_id, batch)
            if accept.gap is not None:
                self._add_gap(epoch_id, accept.gap.first, accept.gap.last, batch.previous, now_us)
            for plan in plans:
                self._admit_reading(batch.hub, epoch_id, batch_id, plan, now_us)

    def _advance(self, batch: VerifiedBatch, history: History, now_us: int) -> int:
        """Move the epoch's head over the batch, if it still stands where `history` saw it."""
        expected = max(history.expected, batch.last + 1)
        head = batch.readings[-1].chain if expected > history.expected else history.head
        epoch = self._epoch(batch.hub, batch.epoch)
        if epoch is None:
            if history.expected != 1:
                raise HistoryChangedError
            return self._database.insert(
                "INSERT INTO epoch (hub_id, epoch, expected, head, begun_us, heard_us)"
                " VALUES ((SELECT id FROM hub WHERE name = ?), ?, ?, ?, ?, ?)",
                batch.hub,
                batch.epoch,
                expected,
                head,
                now_us,
                now_us,
            )
        if (epoch["expected"], epoch["head"]) != (history.expected, history.head):
            raise HistoryChangedError
        self._database.change(
            "UPDATE epoch SET expected = ?, head = ?, heard_us = ? WHERE id = ?", expected, head, now_us, epoch["id"]
        )
        return int(epoch["id"])

    def _fill_gaps(self, epoch_id: int, batch: VerifiedBatch) -> None:
        """What a late batch leaves of the gaps that it reaches into."""
        reached = self._database.rows(
            "SELECT * FROM gap WHERE epoch_id = ? AND first <= ? AND last >= ?", epoch_id, batch.last, batch.first
        )
        for gap in reached:
            self._database.change("DELETE FROM gap WHERE id = ?", gap["id"])
            if gap["first"] < batch.first:
                self._add_gap(epoch_id, gap["first"], batch.first - 1, batch.previous, gap["found_us"])
            if gap["last"] > batch.last:
                self._add_gap(epoch_id, batch.last + 1, gap["last"], gap["after"], gap["found_us"])

    def _add_gap(self, epoch_id: int, first: int, last: int, after: bytes, found_us: int) -> None:
        self._database.insert(
            "INSERT INTO gap (epoch_id, first, last, after, found_us) VALUES (?, ?, ?, ?, ?)",
            epoch_id,
            first,
            last,
            after,
            found_us,
        )

    def _admit_reading(self, hub: str, epoch_id: int, batch_id: int, plan: Ready | Unfit, now_us: int) -> None:
        reading = plan.reading
        digest = sha256(reading.encoded).digest()
        ready = isinstance(plan, Ready)
        reading_id = self._database.insert(
            "INSERT INTO reading (epoch_id, seq, batch_id, digest, chain, state, patient, received_us, accepted_us,"
            " settled_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            epoch_id,
            reading.seq,
            batch_id,
            digest,
            reading.chain,
            "pending" if ready else "quarantined",
            plan.patient if isinstance(plan, Ready) else None,
            reading.reading.received.wall_us,
            now_us,
            None if ready else now_us,
        )
        if isinstance(plan, Ready):
            self._link(reading_id, plan.identifiers)
            self._settle_if_found(reading_id, now_us)
        else:
            self.quarantine.put_reading(reading_id, plan.reason, plan.detail, hub=hub, digest=digest, now_us=now_us)

    # Settling

    def pending(self, hub: str, *, limit: int) -> tuple[Entry, ...]:
        """Readings of a hub that are owed to the FHIR server, in order."""
        return self._entries("h.name = ? AND r.state = 'pending' ORDER BY r.epoch_id, r.seq LIMIT ?", hub, limit)

    def quarantined(self, reading_ids: Iterable[int]) -> tuple[Entry, ...]:
        """These readings, as far as they are in quarantine, for a redrive."""
        return tuple(
            [
                entry
                for reading_id in reading_ids
                for entry in self._entries("r.id = ? AND r.state = 'quarantined'", reading_id)
            ]
        )

    def entry(self, reading_id: int) -> Entry:
        """One accepted reading, as it stands now."""
        (entry,) = self._entries("r.id = ?", reading_id)
        return entry

    def hubs_with_pending(self) -> tuple[str, ...]:
        rows = self._database.rows(
            "SELECT DISTINCT h.name FROM reading r JOIN epoch e ON e.id = r.epoch_id JOIN hub h ON h.id = e.hub_id"
            " WHERE r.state = 'pending' ORDER BY h.name"
        )
        return tuple([row["name"] for row in rows])

    def hubs_heard_since(self, since_us: int) -> tuple[str, ...]:
        """Hubs that sent something new since then, the latest first."""
        rows = self._database.rows(
            "SELECT h.name FROM epoch e JOIN hub h ON h.id = e.hub_id WHERE e.heard_us >= ?"
            " GROUP BY h.id ORDER BY MAX(e.heard_us) DESC",
            since_us,
        )
        return tuple([row["name"] for row in rows])

    def envelope(self, digest: bytes) -> bytes:
        """The evidence, as signed, of an accepted batch."""
        row = self._database.row("SELECT envelope FROM batch WHERE digest = ?", digest)
        if row is None:
            raise KeyError(digest.hex())
        return bytes(row["envelope"])

    def replan(self, reading_id: int, patient: str, identifiers: Sequence[str]) -> None:
        """Write ahead what a reading will now become, after its old identifiers were found not to be in FHIR."""
        with self._database.transaction():
            self._database.change("DELETE FROM reading_observation WHERE reading_id = ?", reading_id)
            self._database.change("UPDATE reading SET patient = ? WHERE id = ?", patient, reading_id)
            self._link(reading_id, identifiers)

    def written(self, reading_ids: Iterable[int], urls: Mapping[str, str], *, now_us: int) -> None:
        """The FHIR server has these Observations; readings of which it has all are settled."""
        with self._database.transaction():
            self._database.change_many(
                "UPDATE observation SET url = ?, written_us = ? WHERE identifier = ? AND url IS NULL",
                [(url, now_us, identifier) for identifier, url in urls.items()],
            )
            for reading_id in reading_ids:
                self._settle_if_found(reading_id, now_us)

    def unwritable(self, entry: Entry, reason: str, detail: str, *, now_us: int) -> None:
        """Quarantine one reading: it is settled, and waits for a redrive."""
        with self._database.transaction():
            row = self._database.row("SELECT digest FROM reading WHERE id = ?", entry.id)
            self._database.change(
                "UPDATE reading SET state = 'quarantined', settled_us = ? WHERE id = ?", now_us, entry.id
            )
            digest = bytes(row["digest"]) if row else b""
            self.quarantine.put_reading(entry.id, reason, detail, hub=entry.hub, digest=digest, now_us=now_us)

    def standing(self, hub: str, epoch: bytes) -> Standing:
        """How far this epoch is settled; the beginning, if nothing of it was accepted."""
        row = self._epoch(hub, epoch)
        if row is None:
            return Standing(epoch=epoch, next=1, chain=GENESIS)
        pending = self._database.row(
            "SELECT MIN(seq) AS seq FROM reading WHERE epoch_id = ? AND state = 'pending'", row["id"]
        )
        if pending is None or pending["seq"] is None:
            return Standing(epoch=epoch, next=row["expected"], chain=row["head"])
        return Standing(epoch=epoch, next=pending["seq"], chain=self._chain_before(row["id"], pending["seq"]))

    def latest_epoch(self, hub: str) -> bytes | None:
        """The epoch of a hub that was heard of last."""
        row = self._database.row(
            "SELECT e.epoch FROM epoch e JOIN hub h ON h.id = e.hub_id WHERE h.name = ?"
            " ORDER BY e.heard_us DESC, e.id DESC LIMIT 1",
            hub,
        )
        return bytes(row["epoch"]) if row else None

    def summary(self) -> Summary:
        row = self._database.row(
            "SELECT (SELECT COUNT(*) FROM hub) AS hubs, (SELECT COUNT(*) FROM batch) AS batches,"
            " (SELECT COUNT(*) FROM reading WHERE state = 'pending') AS pending,"
            " (SELECT MIN(accepted_us) FROM reading WHERE state = 'pending') AS oldest_pending_us,"
            " (SELECT COUNT(*) FROM reading WHERE state = 'written') AS written,"
            " (SELECT COUNT(*) FROM reading WHERE state = 'quarantined') AS quarantined,"
            " (SELECT COUNT(*) FROM observation WHERE url IS NOT NULL) AS observations,"
            " (SELECT COALESCE(SUM(last - first + 1), 0) FROM gap) AS missing,"
            " (SELECT MAX(written_us) FROM observation) AS last_written_us"
        )
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        return Summary(**{name: row[name] for name in Summary.__slots__})

    # Helpers

    def _epoch(self, hub: str, epoch: bytes) -> Row | None:
        return self._database.row(
            "SELECT e.* FROM epoch e JOIN hub h ON h.id = e.hub_id WHERE h.name = ? AND e.epoch = ?", hub, epoch
        )

    def _chain_before(self, epoch_id: int, seq: int) -> bytes:
        row = self._database.row(
            "SELECT chain FROM reading WHERE epoch_id = ? AND seq = ?"
            " UNION ALL SELECT after FROM gap WHERE epoch_id = ? AND last = ? LIMIT 1",
            epoch_id,
            seq - 1,
            epoch_id,
            seq - 1,
        )
        return bytes(row["chain"]) if row else GENESIS

    def _entries(self, condition: str, *cells: str | int) -> tuple[Entry, ...]:
        rows = self._database.rows(
            "SELECT r.id, h.name AS hub, e.epoch, r.seq, b.digest AS batch, r.patient FROM reading r"  # noqa: S608 - literals above
            " JOIN epoch e ON e.id = r.epoch_id JOIN hub h ON h.id = e.hub_id JOIN batch b ON b.id = r.batch_id"
            f" WHERE {condition}",
            *cells,
        )
        return tuple([self._entry(row) for row in rows])

    def _entry(self, row: Row) -> Entry:
        observations = self._database.rows(
            "SELECT o.identifier, o.url FROM reading_observation ro JOIN observation o ON o.id = ro.observation_id"
            " WHERE ro.reading_id = ? ORDER BY o.id",
            row["id"],
        )
        return Entry(
            id=row["id"],
            hub=row["hub"],
            epoch=row["epoch"],
            seq=row["seq"],
            batch=row["batch"],
            patient=row["patient"],
            identifiers=tuple([each["identifier"] for each in observations]),
            found={each["identifier"]: each["url"] for each in observations if each["url"] is not None},
        )

    def _link(self, reading_id: int, identifiers: Iterable[str]) -> None:
        for identifier in identifiers:
            self._database.change("INSERT INTO observation (identifier) VALUES (?) ON CONFLICT DO NOTHING", identifier)
            self._database.change(
                "INSERT INTO reading_observation (reading_id, observation_id)"
                " SELECT ?, id FROM observation WHERE identifier = ? ON CONFLICT DO NOTHING",
                reading_id,
                identifier,
            )

    def _settle_if_found(self, reading_id: int, now_us: int) -> None:
        settled = self._database.change(
            "UPDATE reading SET state = 'written', settled_us = ? WHERE id = ? AND state != 'written'"
            " AND EXISTS (SELECT 1 FROM reading_observation WHERE reading_id = reading.id)"
            " AND NOT EXISTS (SELECT 1 FROM reading_observation ro JOIN observation o ON o.id = ro.observation_id"
            " WHERE ro.reading_id = reading.id AND o.url IS NULL)",
            now_us,
            reading_id,
        )
        if settled:
            self.quarantine.resolve_reading(reading_id, now_us=now_us)
