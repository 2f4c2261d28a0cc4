"""The outbox's file: its tables, its errors, and what can still be read when it is damaged. What may happen to a
reading is decided in `edge.outbox`; this is the only file of the hub that knows SQLite.

On flash: pages of 1 KiB, because one reading changes one page. Measured writes per reading, put and confirmed, are
3 KB with them and 12 KB with pages of 4 KiB.

OutboxError
|- OutboxFull    the collector: leave the reading on the device if that can be, and try again; raise an alarm
|- OutboxBusy    the operator: another hub process holds this store
|- OutboxFailed  the operator: the disk fails, or the store is of a later version of this program
|- OutboxDamaged the operator: the store is damaged, and the disk does not let it be mended; all of it is still there
`- WentBack      the uplink: this store is older than what the bridge has; renew the epoch
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

from edge import files
from wire.items import MAX_INTEGER

Connection: TypeAlias = sqlite3.Connection

PAGE_BYTES: Final = 1024
_LOG_BYTES: Final = 1024 * 1024
"""When the write-ahead log is copied back, and what is left of it: bounds the disk taken and the time to start."""
_SMALLEST_ROW_BYTES: Final = 100
"""No row is smaller, so a file of n bytes has at most n / 100 of them."""
_APPLICATION_ID: Final = 0x53746166
"""`Staf`: says whose file this is, to file(1) and to us."""

_SCHEMA: Final = (
    # Version 1. A later version appends its own script; `user_version` says how many have run.
    """
    CREATE TABLE reading (
      seq INTEGER PRIMARY KEY,
      chain BLOB NOT NULL CHECK (length(chain) = 32),
      crc INTEGER NOT NULL,
      encoded BLOB NOT NULL
    ) STRICT;
    CREATE TABLE state (
      one INTEGER PRIMARY KEY CHECK (one = 1),
      hub TEXT NOT NULL,
      epoch BLOB NOT NULL CHECK (length(epoch) = 8),
      born TEXT NOT NULL,
      base INTEGER NOT NULL CHECK (base >= 0),
      base_chain BLOB NOT NULL CHECK (length(base_chain) = 32)
    ) STRICT;
    CREATE TABLE alarm (
      id INTEGER PRIMARY KEY,
      at_us INTEGER NOT NULL,
      cause TEXT NOT NULL,
      detail TEXT NOT NULL
    ) STRICT;
    """,
    # Version 2: what `edge.ble.records` remembers of the devices that keep records.
    """
    CREATE TABLE note (
      id INTEGER PRIMARY KEY,
      source BLOB NOT NULL,
      digest BLOB NOT NULL
    ) STRICT;
    CREATE INDEX note_source ON note (source);
    CREATE TABLE mark (
      source BLOB PRIMARY KEY,
      number INTEGER NOT NULL,
      digest BLOB NOT NULL
    ) STRICT;
    """,
)
NOTES: Final = 4096
"""Notes kept of each source: more than any device keeps records, and 200 KB at most."""
MORE_NOTES: Final = 256
"""When there are so many more, they go together: one at a time would be another page to write with each reading."""
_TABLE_PAGES: Final = 16
"""More than empty tables take."""
_TABLES: Final = {"reading", "state", "alarm", "note", "mark"}

_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CONSTRAINT,  # our own writes break no rule of an undamaged store
        sqlite3.SQLITE_IOERR_READ,  # a block that the card cannot read any more
        sqlite3.SQLITE_IOERR_SHORT_READ,
    }
)


class OutboxError(Exception):
    """Root of what an outbox raises."""


class OutboxFull(OutboxError):  # noqa: N818  (an outcome to act upon; "error" would say less)
    """The reading was not stored: the store has reached its size, or the disk has no room."""


class OutboxBusy(OutboxError):  # noqa: N818  (as above)
    """Another process has this store open."""


class OutboxFailed(OutboxError):  # noqa: N818  (as above)
    """The disk or the file system refuses, or the store was written by a later version."""


class OutboxDamaged(OutboxError):  # noqa: N818  (as above)
    """The store is damaged and could not be mended. What is intact in it is saved when it can be: at the next use or start."""


class WentBack(OutboxError):  # noqa: N818  (as above)
    """The bridge has accepted readings under these numbers that this store does not hold."""


class Damaged(Exception):  # noqa: N818  (the outbox mends it; nobody else meets it)
    """What SQLite returned is not what was stored."""


FAULTS: Final = (sqlite3.DatabaseError, Damaged, UnicodeDecodeError)
"""What any use of a connection may raise; `is_damage` tells which of them mending helps.

UnicodeDecodeError: the driver cannot read SQLite's own message, which quotes damaged bytes of the schema."""


class Alarm(NamedTuple):
    """Something that a person should know of, kept in the store."""

    at_us: int
    cause: str
    detail: str


class Position(NamedTuple):
    """Where a store stands: `base` is confirmed and gone, `head` is the newest; with the chain after each."""

    hub: str
    epoch: bytes
    born: str
    base: int
    base_chain: bytes
    head: int
    head_chain: bytes


class Mark(NamedTuple):
    """The highest stored record of a device's service when the device last reported all (`edge.ble.records`)."""

    number: int
    digest: bytes


class Recalled(NamedTuple):
    """What is remembered of one service of one device; `notes` are the digests of its records."""

    mark: Mark | None
    notes: frozenset[bytes]


def is_damage(error: Exception) -> bool:
    return isinstance(error, (Damaged, UnicodeDecodeError)) or bool(_DAMAGE & {_code(error), _code(error) & 0xFF})


@contextmanager
def our_errors() -> Iterator[None]:
    """SQLite's and the system's errors as the tree at the top of this file."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if _code(error) == sqlite3.SQLITE_FULL:
            raise OutboxFull("the outbox has reached its size, or the disk is full") from error
        if _code(error) == 0:
            raise  # a fault in how we use the driver
        raise OutboxFailed(f"the outbox cannot be used: {error}") from error
    except OSError as error:
        raise OutboxFailed(f"the outbox cannot be used: {error}") from error


def _code(error: Exception) -> int:
    """SQLite's extended result code, 0 if the error is not SQLite's own."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code


# --- a sound store ---


def connect(path: Path, max_bytes: int) -> Connection:
    """Open a file whose tables are ours, bringing an older one up to date; raises one of FAULTS, or OutboxFailed."""
    connection = _configured(path, max_bytes)
    try:
        _bring_up_to_date(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def create(path: Path, max_bytes: int) -> Connection:
    """An empty store with its tables, that only this user may read."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    connection = _configured(path, max_bytes)
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    _migrate(connection, 0)
    return connection


def look(path: Path) -> Connection:
    """For another process: reads, and neither makes nor mends anything."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=2)


def position(connection: Connection) -> Position:
    state = connection.execute("SELECT hub, epoch, born, base, base_chain FROM state").fetchall()
    (lowest,) = connection.execute("SELECT min(seq) FROM reading").fetchone()
    newest = connection.execute("SELECT seq, chain FROM reading ORDER BY seq DESC LIMIT 1").fetchone()
    if len(state) != 1 or tuple(map(type, state[0])) != (str, bytes, str, int, bytes):
        raise Damaged("the state is lost")
    hub, epoch, born, base, base_chain = state[0]
    if len(epoch) != 8 or len(base_chain) != 32 or base < 0:
        raise Damaged("the state is not as it was stored")
    if lowest is not None and lowest != base + 1:
        raise Damaged(f"the oldest reading is {lowest}, {base + 1} should be")
    head, head_chain = newest or (base, base_chain)
    if type(head_chain) is not bytes or head - base > _most_rows(connection) or head >= MAX_INTEGER:
        raise Damaged(f"the newest reading is {head}, with {base} confirmed")
    return Position(hub=hub, epoch=epoch, born=born, base=base, base_chain=base_chain, head=head, head_chain=head_chain)


def alarms(connection: Connection) -> tuple[Alarm, ...]:
    rows = connection.execute("SELECT at_us, cause, detail FROM alarm ORDER BY id").fetchall()
    whole = [row for row in rows if tuple(map(type, row)) == (int, str, str)]
    return tuple(Alarm(at_us=at_us, cause=cause, detail=detail) for at_us, cause, detail in whole)


def reading(connection: Connection, seq: int) -> bytes:
    """One stored reading; Damaged if it is not there or not as it was stored."""
    row = connection.execute("SELECT crc, encoded FROM reading WHERE seq = ?", (seq,)).fetchone()
    if row is None or type(row[1]) is not bytes or row[0] != crc(seq, row[1]):
        raise Damaged(f"reading {seq} is not as it was stored")
    encoded: bytes = row[1]
    return encoded


def recalled(connection: Connection, source: bytes) -> Recalled:
    mark = connection.execute("SELECT number, digest FROM mark WHERE source = ?", (source,)).fetchone()
    notes = connection.execute("SELECT digest FROM note WHERE source = ?", (source,)).fetchall()
    return Recalled(None if mark is None else Mark(*mark), frozenset(digest for (digest,) in notes))


def note(connection: Connection, source: bytes, digests: Sequence[bytes]) -> None:
    """Remember these of a source, and of all that it has only the newest."""
    connection.executemany("INSERT INTO note (source, digest) VALUES (?, ?)", [(source, digest) for digest in digests])
    nth_newest = "SELECT id FROM note WHERE source = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
    if connection.execute(nth_newest, (source, NOTES + MORE_NOTES - 1)).fetchone() is not None:
        (newest_to_go,) = connection.execute(nth_newest, (source, NOTES)).fetchone()
        connection.execute("DELETE FROM note WHERE source = ? AND id <= ?", (source, newest_to_go))


def mark(connection: Connection, source: bytes, place: Mark | None) -> None:
    """Replace a source's mark."""
    connection.execute("DELETE FROM mark WHERE source = ?", (source,))
    if place is not None:
        connection.execute("INSERT INTO mark (source, number, digest) VALUES (?, ?, ?)", (source, *place))


def bytes_used(connection: Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    used: int = (pages - free) * PAGE_BYTES
    return used


def _most_rows(connection: Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    most: int = pages * PAGE_BYTES // _SMALLEST_ROW_BYTES
    return most


@contextmanager
def transaction(connection: Connection, *, durable: bool = True) -> Iterator[None]:
    """BEGIN to COMMIT. Not durable: whole or not at all, but perhaps not at all after a power cut."""
    if not durable:
        connection.execute("PRAGMA synchronous = NORMAL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        if not durable:
            connection.execute("PRAGMA synchronous = FULL")


def crc(seq: int, encoded: bytes) -> int:
    """Lets a row be judged when its neighbours, and with them the chain, are lost."""
    return crc32(encoded, crc32(seq.to_bytes(8)))


def _configured(path: Path, max_bytes: int) -> Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2)
    try:
        for setting in (
            f"page_size = {PAGE_BYTES}",
            "journal_mode = WAL",
            "synchronous = FULL",
            f"wal_autocheckpoint = {_LOG_BYTES // PAGE_BYTES}",
            f"journal_size_limit = {_LOG_BYTES}",
            f"max_page_count = {max_bytes // PAGE_BYTES}",
            "cache_size = -512",  # KiB: a hub reads what it has just written
            "cell_size_check = ON",
            "trusted_schema = OFF",
        ):
            connection.execute(f"PRAGMA {setting}")
        connection.text_factory = _text
    except BaseException:
        connection.close()
        raise
    return connection


def _text(raw: bytes) -> str:
    """Damaged text is shown as far as it can be; it must not stop anything."""
    return raw.decode(errors="replace")


def _bring_up_to_date(connection: Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != _APPLICATION_ID or version < 1:
        raise Damaged("the file holds no store")
    if version > len(_SCHEMA):
        raise OutboxFailed(f"the store is of version {version}, this program reads up to version {len(_SCHEMA)}")
    _migrate(connection, version)
    if {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")} != _TABLES:
        raise Damaged("tables are missing")


def _migrate(connection: Connection, version: int) -> None:
    (limit,) = connection.execute("PRAGMA max_page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {limit + _TABLE_PAGES}")  # a store that is full starts all the same
    for number, script in enumerate(_SCHEMA[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
    connection.execute(f"PRAGMA max_page_count = {limit}")


# --- a damaged store ---


def salvage(path: Path) -> tuple[list[bytes], list[Alarm]]:
    """Every reading and alarm that can still be read, from a copy, so that the damaged file stays as it is."""
    import shutil  # noqa: PLC0415  and with it bz2 and lzma: for a damaged store only

    work = path.with_name(f"{path.name}.salvage")
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(mode=0o700)
        for part in parts(path)[:2]:
            if part.exists():
                shutil.copyfile(part, work / part.name)
        copy = work / path.name
        if not _has_readings_table(copy):
            _graft_first_page(copy, work / "fresh.db")
        return _intact(copy)
    except (*FAULTS, sqlite3.Error, OSError):
        return [], []
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _has_readings_table(copy: Path) -> bool:
    with closing(sqlite3.connect(copy)) as connection, suppress(*FAULTS):
        return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'reading'").fetchone() is not None
    return False


def _graft_first_page(copy: Path, fresh: Path) -> None:
    """Give a file whose first page is lost that of a new store: it says where the tables begin, which is always alike."""
    create(fresh, 64 * PAGE_BYTES).close()
    page = bytearray(fresh.read_bytes()[:PAGE_BYTES])
    page[28:32] = (copy.stat().st_size // PAGE_BYTES).to_bytes(4)  # the number of pages
    with copy.open("r+b") as file:
        file.write(page)


def _intact(copy: Path) -> tuple[list[bytes], list[Alarm]]:
    """One question per number, so that a damaged page costs only the readings on it."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.text_factory = _text
        readings = []
        for seq in _candidates(connection):
            with suppress(*FAULTS):
                readings.append(reading(connection, seq))
        kept: tuple[Alarm, ...] = ()
        with suppress(*FAULTS):
            kept = alarms(connection)
        return readings, list(kept)


def _candidates(connection: Connection) -> list[int]:
    """Every number that a reading may have: upwards from the lowest and downwards from the highest that show."""

    def number(query: str) -> int | None:
        with suppress(*FAULTS):
            (value,) = connection.execute(query).fetchone() or (None,)
            return value if isinstance(value, int) else None
        return None

    base = number("SELECT base FROM state") or 0
    lowest = number("SELECT min(seq) FROM reading") or base + 1
    highest = number("SELECT max(seq) FROM reading") or lowest
    at_most = _most_rows(connection)
    found = {*range(lowest, lowest + at_most), *range(highest - at_most, highest + 1)}
    return sorted(seq for seq in found if 0 < seq < MAX_INTEGER)


# --- files ---


def parts(path: Path) -> tuple[Path, Path, Path]:
    """The files of one SQLite store, in the order in which they may be taken away."""
    return path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def put_aside(path: Path, wall_us: int) -> None:
    """Move whatever lies at a store's path into a directory of its own, with the time in its name."""
    found = [part for part in parts(path) if part.exists()]
    if not found:
        return
    stamp = datetime.fromtimestamp(wall_us // 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    kept = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 0
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    kept.mkdir(mode=0o700)
    for part in found:
        part.replace(kept / part.name)
    files.sync_directory(kept)


def remove(path: Path) -> None:
    for part in parts(path):
        part.unlink(missing_ok=True)


def take_lock(path: Path) -> int:
    """Hold a store against other processes until the descriptor is closed or this process is gone."""
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OutboxBusy(f"another process has {path} open; stop it first") from error
    return descriptor
