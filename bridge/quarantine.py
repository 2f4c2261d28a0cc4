"""What was refused, and what could not be written: kept with its reason, counted, shown, and sent again after a mend.

Anybody who reaches the broker can cause refusals. So each reason has a bound in rows and in bytes of its own, and a
flood of one leaves the room of the others alone; what no longer fits is counted under `not_kept`. A *reading* in
quarantine is evidence that a known hub signed: it is never bounded away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from bridge.database import Database, Row
from wire.errors import Refusal

DETAIL_CHARACTERS: Final = 500
"""A FHIR server's explanation may be a page; the beginning says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How much is kept of the batches refused for one reason; `newest`: older rows make way for new ones."""

    rows: int = 1_000
    octets: int = 8 * 1024 * 1024
    newest: bool = False


BOUNDS: Final[Mapping[Refusal, Bound]] = MappingProxyType(
    {
        Refusal.MALFORMED: Bound(),
        Refusal.UNKNOWN_KEY: Bound(),
        Refusal.BAD_SIGNATURE: Bound(),
        Refusal.WRONG_HUB: Bound(),
        # Honest hubs cause these whenever a receipt was lost, and every reading in them is in the ledger already.
        Refusal.REPLAYED: Bound(octets=0, newest=True),
        Refusal.BROKEN_CHAIN: Bound(),
        Refusal.SEQUENCE_REUSED: Bound(),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One row. `seq` and `epoch` are those of a reading; `octets` the envelope of a batch, if it was kept."""

    id: int
    kind: str
    reason: str
    detail: str
    hub: str | None
    digest: bytes
    size: int | None
    count: int
    first_us: int
    last_us: int
    resolved_us: int | None
    reading_id: int | None
    epoch: bytes | None
    seq: int | None
    octets: bytes | None


class Quarantine:
    """The quarantine table of the ledger's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def refuse_batch(
        self, reason: Refusal, detail: str, *, hub: str | None, digest: bytes, envelope: bytes, now_us: int
    ) -> bool:
        """Keep a refused envelope, once per digest and reason; False if it was only counted."""
        bound = BOUNDS[reason]
        with self._database.transaction():
            if self._database.change(
                "UPDATE quarantine SET count = count + 1, last_us = ?"
                " WHERE kind = 'batch' AND digest = ? AND reason = ?",
                now_us,
                digest,
                reason.value,
            ):
                return True
            held = self._database.row(
                "SELECT COUNT(*) AS rows, COALESCE(SUM(length(bytes)), 0) AS octets, MIN(id) AS oldest"
                " FROM quarantine WHERE kind = 'batch' AND reason = ?",
                reason.value,
            )
            if held is not None and held["rows"] >= bound.rows:
                if not bound.newest:
                    self._count_not_kept(reason)
                    return False
                self._database.change("DELETE FROM quarantine WHERE id = ?", held["oldest"])
                self._count_not_kept(reason)
            fits = held is not None and held["octets"] + len(envelope) <= bound.octets
            self._database.insert(
                "INSERT INTO quarantine (kind, reason, detail, hub, digest, bytes, size, first_us, last_us)"
                " VALUES ('batch', ?, ?, ?, ?, ?, ?, ?, ?)",
                reason.value,
                detail[:DETAIL_CHARACTERS],
                hub,
                digest,
                envelope if fits else None,
                len(envelope),
                now_us,
                now_us,
            )
        return True

    def put_reading(self, reading_id: int, reason: str, detail: str, *, hub: str, digest: bytes, now_us: int) -> None:
        """Part of the ledger's transaction that sets the reading's state; again for the same reading: the new reason."""
        self._database.insert(
            "INSERT INTO quarantine (kind, reason, detail, hub, digest, reading_id, first_us, last_us)"
            " VALUES ('reading', ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (reading_id) DO UPDATE SET reason = excluded.reason, detail = excluded.detail,"
            " count = count + 1, last_us = excluded.last_us, resolved_us = NULL",
            reason,
            detail[:DETAIL_CHARACTERS],
            hub,
            digest,
            reading_id,
            now_us,
            now_us,
        )

    def resolve_reading(self, reading_id: int, *, now_us: int) -> None:
        """Part of the ledger's transaction that marks the reading written."""
        self._database.change(
            "UPDATE quarantine SET resolved_us = ? WHERE reading_id = ? AND resolved_us IS NULL", now_us, reading_id
        )

    def items(self, *, reason: str | None = None, resolved: bool = False, limit: int = 1_000) -> tuple[Item, ...]:
        """Newest first, without the envelopes' bytes."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS}, NULL AS octets FROM {_JOINED}"  # noqa: S608 - literals below
            " WHERE (? IS NULL OR q.reason = ?) AND (q.resolved_us IS NULL OR ?) ORDER BY q.id DESC LIMIT ?",
            reason,
            reason,
            int(resolved),
            limit,
        )
        return tuple([_item(row) for row in rows])

    def item(self, item_id: int) -> Item | None:
        row = self._database.row(
            f"SELECT {_COLUMNS}, q.bytes AS octets FROM {_JOINED} WHERE q.id = ?",  # noqa: S608 - literals below
            item_id,
        )
        return _item(row) if row else None

    def counts(self) -> dict[str, int]:
        """How many unresolved rows there are, by reason."""
        rows = self._database.rows(
            "SELECT reason, COUNT(*) AS rows FROM quarantine WHERE resolved_us IS NULL GROUP BY reason ORDER BY reason"
        )
        return {row["reason"]: row["rows"] for row in rows}

    def not_kept(self) -> dict[str, int]:
        """How many refused batches were counted only, by reason."""
        rows = self._database.rows("SELECT reason, count FROM quarantine_not_kept ORDER BY reason")
        return {row["reason"]: row["count"] for row in rows}

    def _count_not_kept(self, reason: Refusal) -> None:
        self._database.insert(
            "INSERT INTO quarantine_not_kept (reason, count) VALUES (?, 1)"
            " ON CONFLICT (reason) DO UPDATE SET count = count + 1",
            reason.value,
        )


_COLUMNS: Final = (
    "q.id, q.kind, q.reason, q.detail, q.hub, q.digest, q.size, q.count, q.first_us, q.last_us, q.resolved_us,"
    " q.reading_id, e.epoch, r.seq"
)
_JOINED: Final = "quarantine q LEFT JOIN reading r ON r.id = q.reading_id LEFT JOIN epoch e ON e.id = r.epoch_id"


def _item(row: Row) -> Item:
    return Item(**{name: row[name] for name in Item.__slots__})
