"""The outbox: readings wait here, on disk, until a receipt of the bridge says that they may go.

1. `put` returns when the reading would survive the power being cut in that instant (WAL, synchronous=FULL, COMMIT).
2. (epoch, seq) never names two readings. `seq` rises by one from 1; `base`, the highest confirmed one, is kept after
   the readings are gone. An epoch is 8 random bytes; it is new with a new store, and whenever something says that
   this store is not what it was: damage, another hub id, a bridge that knows readings which this store does not.
3. The chain (`wire.sealing.chain`) is kept beside each reading and made again at each use, so that damage which SQLite
   cannot see is seen before it is signed.
4. Only `confirm` deletes, only below what was confirmed, and only if the bridge's chain has the same value as ours at
   that place. A deletion may be forgotten in a power cut (the reading goes twice, and the bridge knows it), so it
   costs no sync. SQLite keeps the order, so a deletion is never remembered without the readings put before it.
5. Damage never stops the hub and is never tidied away: the file is kept aside, whatever is intact in it begins a new
   epoch, and an alarm stays in the store. If the disk refuses even that, each use is OutboxDamaged and tries it again.
6. Nothing makes room by itself. A full store refuses the reading, aloud.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeVar

from edge import files, store
from edge.store import (
    Alarm,
    Damaged,
    Mark,
    OutboxBusy,
    OutboxDamaged,
    OutboxError,
    OutboxFailed,
    OutboxFull,
    Position,
    Recalled,
    WentBack,
)
from wire import sealing
from wire.items import MAX_READING_BYTES

__all__ = [
    "Alarm",
    "Outbox",
    "OutboxBusy",
    "OutboxDamaged",
    "OutboxError",
    "OutboxFailed",
    "OutboxFull",
    "OutboxStats",
    "Pending",
    "WentBack",
]

T = TypeVar("T")

MAX_BYTES: Final = 64 * 1024 * 1024
"""90 days of 200 readings, each with its context, take less than half of it; an SD card does not notice."""
_ALARMS: Final = 100
"""Alarms kept. The newest tell what is wrong now; a hundred are years, or one dying card."""

_INSERT_READING: Final = "INSERT INTO reading (seq, chain, crc, encoded) VALUES (?, ?, ?, ?)"
_INSERT_ALARM: Final = "INSERT INTO alarm (at_us, cause, detail) VALUES (?, ?, ?)"


class Pending(NamedTuple):
    """A run of readings to seal, as one consistent look at the store."""

    epoch: bytes
    first: int
    previous: bytes
    oldest: int
    readings: tuple[bytes, ...]


class OutboxStats(NamedTuple):
    """What `stafet-hub status` shows of the store; `oldest_reading` has waited longest."""

    epoch: bytes
    oldest: int
    next: int
    bytes_used: int
    alarms: tuple[Alarm, ...]
    oldest_reading: bytes | None

    @property
    def pending(self) -> int:
        return self.next - self.oldest


class Outbox:
    """A store of readings in order. Safe to use from several threads; one process at a time."""

    def __init__(
        self, path: Path, *, hub: str, max_bytes: int = MAX_BYTES, wall_us: Callable[[], int] | None = None
    ) -> None:
        """Open the store, make it if there is none, mend it if it is damaged. `wall_us` is for the alarms' stamps."""
        self._path = path
        self._hub = hub
        self._max_bytes = max_bytes
        self._wall_us = wall_us or _wall_us
        self._lock = threading.RLock()
        self._unmended = False
        """There is no connection: the last attempt to mend the store has failed."""
        with store.our_errors():
            self._lock_file = store.take_lock(path)
            try:
                self._connection, self._at = self._settle()
                if self._at.hub != hub:
                    self.renew_epoch("hub-renamed", f"the store was hub {self._at.hub}'s")
            except BaseException:
                os.close(self._lock_file)
                raise

    @classmethod
    def open(
        cls, path: Path, *, hub: str, max_bytes: int = MAX_BYTES, wall_us: Callable[[], int] | None = None
    ) -> Self:
        return cls(path, hub=hub, max_bytes=max_bytes, wall_us=wall_us)

    @staticmethod
    def peek(path: Path) -> OutboxStats | None:
        """Another process's look at a store, which neither makes nor mends anything; None if there is no store."""
        if not path.exists():
            return None
        with store.our_errors(), closing(store.look(path)) as connection:
            try:
                return _stats(connection, store.position(connection))
            except Damaged as error:
                raise OutboxFailed(f"{path} is damaged ({error}); stafet-hub run mends it") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            if self._lock_file >= 0:
                os.close(self._lock_file)
                self._lock_file = -1

    @property
    def epoch(self) -> bytes:
        return self._at.epoch

    @property
    def born(self) -> str:
        """Why this epoch began: `new`, or the cause of the alarm that began it."""
        return self._at.born

    @property
    def oldest(self) -> int:
        """The lowest number still held; `next` if none is."""
        return self._at.base + 1

    @property
    def next(self) -> int:
        """The number that the next reading will have."""
        return self._at.head + 1

    def put(self, encoded: bytes) -> int:
        """Store one reading (`wire.reading.encode_reading`), durably, and give its number."""
        return self.put_many((encoded,))[0]

    def put_many(self, encoded: Sequence[bytes]) -> range:
        """Store readings in order, all or none, with one sync."""
        for each in encoded:
            if not 0 < len(each) <= MAX_READING_BYTES:
                raise ValueError(f"an encoded reading of {len(each)} bytes")
        return self._mending(lambda: self._put_many(encoded))

    def put_noted(self, encoded: bytes, *, source: bytes, notes: Sequence[bytes]) -> int:
        """Store one reading, and with it the notes of the records in it (`edge.ble.records`); its number."""
        return self._mending(lambda: self._put_many((encoded,), source, notes))[0]

    def recall(self, source: bytes) -> Recalled:
        """What is remembered of a device's service."""
        return self._mending(lambda: store.recalled(self._connection, source))

    def mark(self, source: bytes, mark: Mark | None) -> None:
        """Remember the highest record of a device's service that was there when all were."""
        self._mending(lambda: self._mark(source, mark))

    def pending(self, first: int, limit: int = sealing.MAX_READINGS) -> Pending | None:
        """The run of readings from `first`, or the oldest if that is later, that fits one batch; None if there is none."""
        return self._mending(lambda: self._pending(first, limit))

    def confirm(self, epoch: bytes, next_seq: int, chain: bytes) -> int:
        """Delete what lies below `next_seq`, as a receipt says it may; the number deleted.

        Another epoch's receipt, or an old one, deletes nothing. WentBack if it speaks of readings not held here.
        """
        return self._mending(lambda: self._confirm(epoch, next_seq, chain))

    def renew_epoch(self, cause: str, detail: str = "") -> None:
        """Move every unconfirmed reading, its bytes unchanged, into a new epoch with numbers from 1; with an alarm."""
        self._mending(lambda: self._renew_epoch(cause, detail))

    def alarm(self, cause: str, detail: str = "") -> None:
        """Keep an alarm in the store."""
        self._mending(lambda: self._alarm(cause, detail))

    def alarms(self) -> tuple[Alarm, ...]:
        """Oldest first."""
        return self._mending(lambda: store.alarms(self._connection))

    def stats(self) -> OutboxStats:
        return self._mending(lambda: _stats(self._connection, self._at))

    # --- operations, under the lock ---

    def _put_many(self, encoded: Sequence[bytes], source: bytes = b"", notes: Sequence[bytes] = ()) -> range:
        at = self._at
        rows = _rows(at.head + 1, at.head_chain, encoded)
        if not rows:
            return range(at.head + 1, at.head + 1)
        with store.transaction(self._connection):
            self._connection.executemany(_INSERT_READING, rows)
            if notes:
                store.note(self._connection, source, notes)
        head, head_chain, _, _ = rows[-1]
        self._at = at._replace(head=head, head_chain=head_chain)
        return range(at.head + 1, head + 1)

    def _mark(self, source: bytes, mark: Mark | None) -> None:
        with store.transaction(self._connection):
            store.mark(self._connection, source, mark)

    def _pending(self, first: int, limit: int) -> Pending | None:
        at = self._at
        first = max(first, at.base + 1)
        rows = self._connection.execute(
            "SELECT seq, chain, encoded FROM reading WHERE seq >= ? ORDER BY seq LIMIT ?", (first, limit)
        ).fetchall()
        if len(rows) != min(max(at.head - first + 1, 0), limit):
            raise Damaged(f"readings are missing from {first} on")
        if not rows:
            return None
        previous = chain = self._chain_after(first - 1)
        for expected, (seq, stored, encoded) in enumerate(rows, first):
            chain = sealing.chain(chain, encoded) if type(encoded) is bytes else b""
            if (seq, stored) != (expected, chain):
                raise Damaged(f"reading {expected} is not as it was stored")
        readings = [encoded for _, _, encoded in rows]
        count = sealing.count_that_fit(readings)
        return Pending(
            epoch=at.epoch, first=first, previous=previous, oldest=at.base + 1, readings=tuple(readings[:count])
        )

    def _confirm(self, epoch: bytes, next_seq: int, chain: bytes) -> int:
        at = self._at
        last = next_seq - 1
        if epoch != at.epoch or last < at.base:
            return 0
        if last > at.head:
            raise WentBack(f"the bridge has accepted readings up to {last}, this store knows them up to {at.head}")
        if self._chain_after(last) != chain:
            raise WentBack(f"the bridge has accepted other readings up to {last} than this store holds")
        if last > at.base:
            with store.transaction(self._connection, durable=False):
                self._connection.execute("UPDATE state SET base = ?, base_chain = ?", (last, chain))
                self._connection.execute("DELETE FROM reading WHERE seq <= ?", (last,))
            self._at = at._replace(base=last, base_chain=chain)
        return last - at.base

    def _renew_epoch(self, cause: str, detail: str) -> None:
        at = self._at
        count = at.head - at.base
        chain = sealing.GENESIS
        with store.transaction(self._connection):
            for seq, old in zip(range(1, count + 1), range(at.base + 1, at.head + 1), strict=True):
                # Downwards and in ascending order, so a row never lands on one that is still to be moved.
                encoded = store.reading(self._connection, old)
                chain = sealing.chain(chain, encoded)
                self._connection.execute(
                    "UPDATE reading SET seq = ?, chain = ?, crc = ? WHERE seq = ?",
                    (seq, chain, store.crc(seq, encoded), old),
                )
            self._connection.execute(
                "UPDATE state SET hub = ?, epoch = ?, born = ?, base = 0, base_chain = ?",
                (self._hub, _new_epoch(), cause, sealing.GENESIS),
            )
            self._add_alarm(self._connection, cause, f"{count} readings begin a new epoch. {detail}".rstrip())
        self._at = store.position(self._connection)

    def _alarm(self, cause: str, detail: str) -> None:
        with store.transaction(self._connection):
            self._add_alarm(self._connection, cause, detail)

    def _add_alarm(self, connection: store.Connection, cause: str, detail: str) -> None:
        connection.execute(_INSERT_ALARM, (self._wall_us(), cause, detail))
        connection.execute("DELETE FROM alarm WHERE id <= (SELECT max(id) FROM alarm) - ?", (_ALARMS,))

    def _chain_after(self, seq: int) -> bytes:
        if seq == self._at.base:
            return self._at.base_chain
        if seq == self._at.head:
            return self._at.head_chain
        row = self._connection.execute("SELECT chain FROM reading WHERE seq = ?", (seq,)).fetchone()
        if row is None or type(row[0]) is not bytes:
            raise Damaged(f"reading {seq} is not as it was stored")
        chain: bytes = row[0]
        return chain

    # --- one sound store at the path, whatever was there ---

    @property
    def _new_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}.new")

    def _mending(self, operation: Callable[[], T]) -> T:
        """Run under the lock; if the store shows damage, mend it and run once more. OutboxDamaged if it cannot be."""
        with self._lock, store.our_errors():
            if self._unmended:
                self._connection, self._at = self._settle()
                self._unmended = False
            try:
                return operation()
            except store.FAULTS as error:
                if not store.is_damage(error):
                    raise
                self._connection.close()
                self._unmended = True
                self._connection, self._at = self._rescue(str(error))
                self._unmended = False
            return operation()

    def _settle(self) -> tuple[store.Connection, Position]:
        if not self._path.exists():
            # A power cut in a rescue, or the first start. A log whose file is gone would be read into the new one.
            store.put_aside(self._path, self._wall_us())
            if not self._new_is_whole():
                self._build("new", (), ())
            self._take_into_use()
        store.remove(self._new_path)
        try:
            return self._connect(self._path)
        except store.FAULTS as error:
            if not store.is_damage(error):
                raise
            return self._rescue(str(error))

    def _connect(self, path: Path) -> tuple[store.Connection, Position]:
        connection = store.connect(path, self._max_bytes)
        try:
            return connection, store.position(connection)
        except BaseException:
            connection.close()
            raise

    def _rescue(self, damage: str) -> tuple[store.Connection, Position]:
        """Build a whole new store of what is intact, then put the damaged one aside, then take the new one into use.

        Killed between any two of these, or refused one, `_settle` finds either the damaged store or the finished new one.
        """
        readings, alarms = store.salvage(self._path)
        try:
            try:
                self._build("damaged", readings, alarms, f"{damage}; {len(readings)} readings saved")
            except store.FAULTS as error:  # no room for them; they stay where they are, for a person
                self._build("damaged", (), (), f"{damage}; {len(readings)} readings readable but not saved: {error}")
            store.put_aside(self._path, self._wall_us())
            self._take_into_use()
            return self._connect(self._path)
        except (*store.FAULTS, OSError) as error:
            raise OutboxDamaged(f"{self._path} is damaged ({damage}) and cannot be mended ({error})") from error

    def _build(self, cause: str, readings: Sequence[bytes], alarms: Sequence[Alarm], detail: str = "") -> None:
        """A complete store beside the path, closed and on disk as one file."""
        store.remove(self._new_path)
        with closing(store.create(self._new_path, self._max_bytes)) as connection, store.transaction(connection):
            connection.execute(
                "INSERT INTO state (one, hub, epoch, born, base, base_chain) VALUES (1, ?, ?, ?, 0, ?)",
                (self._hub, _new_epoch(), cause, sealing.GENESIS),
            )
            connection.executemany(_INSERT_READING, _rows(1, sealing.GENESIS, readings))
            connection.executemany(_INSERT_ALARM, [(each.at_us, each.cause, each.detail) for each in alarms])
            if detail:
                self._add_alarm(connection, cause, detail)

    def _new_is_whole(self) -> bool:
        if not self._new_path.exists():
            return False
        try:
            connection, _ = self._connect(self._new_path)
        except store.FAULTS:
            return False
        connection.close()
        return True

    def _take_into_use(self) -> None:
        self._new_path.replace(self._path)
        files.sync_directory(self._path.parent)


def _rows(first: int, previous: bytes, readings: Sequence[bytes]) -> list[tuple[int, bytes, int, bytes]]:
    rows = []
    for seq, encoded in enumerate(readings, first):
        previous = sealing.chain(previous, encoded)
        rows.append((seq, previous, store.crc(seq, encoded), encoded))
    return rows


def _stats(connection: store.Connection, at: Position) -> OutboxStats:
    return OutboxStats(
        epoch=at.epoch,
        oldest=at.base + 1,
        next=at.head + 1,
        bytes_used=store.bytes_used(connection),
        alarms=store.alarms(connection),
        oldest_reading=store.reading(connection, at.base + 1) if at.head > at.base else None,
    )


def _wall_us() -> int:
    return time.time_ns() // 1000


def _new_epoch() -> bytes:
    return os.urandom(8)
