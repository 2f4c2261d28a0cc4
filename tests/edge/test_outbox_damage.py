"""A damaged store never stops the hub: what is intact is saved, the bad file is kept, and a person is told."""

import asyncio
import errno
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge import files, intake, store
from edge.intake import Intake
from edge.outbox import Outbox, OutboxDamaged
from tests.edge.readings import HUB, encoded, number_of
from tests.support import rounds

COUNT = 40


def numbers(outbox: Outbox) -> list[int]:
    found: list[int] = []
    first = outbox.oldest
    while (pending := outbox.pending(first)) is not None:
        found += [number_of(each) for each in pending.readings]
        first += len(pending.readings)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def sound(path: Path) -> Path:
    """A closed store, in one file, with readings 0 to 39."""
    with Outbox.open(path, hub=HUB) as outbox:
        outbox.put_many([encoded(number) for number in range(COUNT)])
        outbox.alarm("earlier", "kept through damage")
    return path


def kept(path: Path) -> list[Path]:
    return sorted(path.parent.glob("outbox.db.damaged-*"))


def cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def all_zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def all_garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(path.stat().st_size))  # noqa: S311  (repeatable)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def not_whole_pages(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-600])


def another_database(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.close()


def overwrite(path: Path, page: int, content: bytes | None = None) -> None:
    """Replace one page (the first is 1) by garbage."""
    with path.open("r+b") as file:
        file.seek((page - 1) * store.PAGE_BYTES)
        file.write(content or random.Random(page).randbytes(store.PAGE_BYTES))  # noqa: S311  (repeatable)


def refused(*_: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def spoil(outbox: Outbox) -> None:
    """Damage that the next `put` meets; what was stored before is intact."""
    outbox._connection.execute("INSERT INTO reading VALUES (1000, zeroblob(32), 0, x'00')")
    outbox._at = outbox._at._replace(head=999)


@pytest.mark.parametrize(
    "damage",
    [cut_in_half, all_zero, all_garbage, emptied, not_whole_pages, another_database],
    ids=lambda each: each.__name__,
)
def test_a_damaged_store_is_kept_aside_and_the_hub_goes_on_in_a_new_epoch(
    sound: Path, damage: Callable[[Path], None]
) -> None:
    with Outbox.open(sound, hub=HUB) as outbox:
        old = outbox.epoch
    damage(sound)
    bad = sound.read_bytes()
    with Outbox.open(sound, hub=HUB, wall_us=lambda: 1_790_000_000_000_000) as outbox:
        if outbox.epoch == old:
            numbers(outbox)  # some damage shows only when the readings are read
        assert outbox.epoch != old
        assert outbox.born == "damaged"
        alarm = outbox.alarms()[-1]
        assert (alarm.cause, alarm.at_us) == ("damaged", 1_790_000_000_000_000)
        saved = numbers(outbox)
        assert saved == sorted(set(saved) & set(range(COUNT)))
        assert f"{len(saved)} readings saved" in alarm.detail
        assert outbox.put(encoded(COUNT)) == len(saved) + 1
        assert numbers(outbox) == [*saved, COUNT]
    (aside,) = kept(sound)
    assert aside.name == "outbox.db.damaged-20260921T141320Z"
    assert len((aside / "outbox.db").read_bytes()) >= len(bad)
    with Outbox.open(sound, hub=HUB) as outbox:
        assert numbers(outbox) == [*saved, COUNT]
    assert kept(sound) == [aside]


def test_readings_survive_the_loss_of_the_first_page_and_of_the_state(sound: Path) -> None:
    for page in (1, 3):  # the header with the schema, and the table `state`
        overwrite(sound, page)
        with Outbox.open(sound, hub=HUB) as outbox:
            assert outbox.born == "damaged"
            assert numbers(outbox) == list(range(COUNT))
            assert outbox.alarms()[0].cause == "earlier"


def test_a_damaged_page_costs_only_the_readings_on_it(sound: Path) -> None:
    last_page = sound.stat().st_size // store.PAGE_BYTES
    overwrite(sound, last_page - 3)
    with Outbox.open(sound, hub=HUB) as outbox:
        saved = numbers(outbox)  # the damage shows when the readings are read, not at the start
        assert outbox.born == "damaged"
        assert COUNT - 10 <= len(saved) < COUNT
        assert numbers(outbox) == saved
        assert outbox.put(encoded(COUNT)) == len(saved) + 1


def test_a_changed_byte_that_sqlite_cannot_see_is_not_signed(sound: Path) -> None:
    content = sound.read_bytes()
    at = content.index(encoded(17))
    sound.write_bytes(content[: at + 20] + bytes([content[at + 20] ^ 1]) + content[at + 21 :])
    with Outbox.open(sound, hub=HUB) as outbox:
        saved = numbers(outbox)
        assert saved == [number for number in range(COUNT) if number != 17]
        assert "reading 18 is not as it was stored" in outbox.alarms()[-1].detail


def test_damage_found_while_putting_or_renewing_costs_no_accepted_reading_that_can_be_read(sound: Path) -> None:
    with Outbox.open(sound, hub=HUB) as outbox:
        outbox._connection.execute("UPDATE reading SET crc = 0 WHERE seq = 5")
        outbox.renew_epoch("test")
        assert numbers(outbox) == [number for number in range(COUNT) if number != 4]
        assert [alarm.cause for alarm in outbox.alarms()] == ["earlier", "damaged", "test"]
        spoil(outbox)
        assert outbox.put(encoded(COUNT)) == COUNT
        assert numbers(outbox) == [number for number in range(COUNT + 1) if number != 4]


def test_a_damaged_log_loses_at_most_what_was_in_it(sound: Path, tmp_path: Path) -> None:
    log = sound.with_name("outbox.db-wal")
    copy = tmp_path / "copy" / "outbox.db"
    copy.parent.mkdir()
    with Outbox.open(sound, hub=HUB) as outbox:
        outbox.put_many([encoded(number) for number in range(COUNT, COUNT + 10)])
        shutil.copy(sound, copy)
        content = bytearray(log.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    copy.with_name(log.name).write_bytes(content)
    with Outbox.open(copy, hub=HUB) as outbox:
        assert numbers(outbox)[:COUNT] == list(range(COUNT))
        assert outbox.put(encoded(99)) == outbox.next - 1


@pytest.mark.parametrize("step", ["create", "put_aside", "sync_directory", "remove"])
def test_a_hub_killed_while_mending_finds_the_same_readings_at_the_next_start(
    sound: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    overwrite(sound, 1)
    place = files if step == "sync_directory" else store
    real = getattr(place, step)

    class Killed(BaseException):
        pass

    def before(*_: object) -> None:
        raise Killed

    def after(*arguments: object) -> None:
        real(*arguments)
        raise Killed

    for fault in (before, after):
        monkeypatch.setattr(place, step, fault)
        with pytest.raises(Killed):
            Outbox.open(sound, hub=HUB)
    monkeypatch.undo()
    with Outbox.open(sound, hub=HUB) as outbox:
        assert numbers(outbox) == list(range(COUNT))
    assert any((aside / "outbox.db").exists() for aside in kept(sound))
    leftovers = {entry.name for entry in sound.parent.iterdir() if entry not in kept(sound)}
    assert leftovers == {"outbox.db", "outbox.db.lock"}


@pytest.mark.parametrize("step", ["create", "put_aside"])
def test_a_store_that_cannot_be_mended_says_so_at_each_use_until_it_can(
    sound: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with Outbox.open(sound, hub=HUB) as outbox:
        spoil(outbox)
        monkeypatch.setattr(store, step, refused)
        for use in (lambda: outbox.put(encoded(COUNT)), lambda: outbox.pending(1), outbox.stats, outbox.alarms):
            with pytest.raises(OutboxDamaged, match=r"outbox\.db is damaged \(.+\) and .+ \(.*Read-only file system\)"):
                use()
        monkeypatch.undo()
        assert outbox.put(encoded(COUNT)) == COUNT + 1
        assert numbers(outbox) == list(range(COUNT + 1))
        assert outbox.alarms()[-1].cause == "damaged"


@pytest.mark.parametrize("step", ["create", "put_aside", "sync_directory"])
def test_a_store_that_could_not_be_mended_is_mended_at_a_later_start_and_nothing_is_lost(
    sound: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    overwrite(sound, 3)
    monkeypatch.setattr(files if step == "sync_directory" else store, step, refused)
    with pytest.raises(OutboxDamaged):
        Outbox.open(sound, hub=HUB)
    monkeypatch.undo()
    with Outbox.open(sound, hub=HUB) as outbox:
        assert numbers(outbox) == list(range(COUNT))


@pytest.mark.looptime
async def test_what_comes_while_a_store_cannot_be_mended_is_stored_if_it_can_be_a_second_later(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Outbox.open(sound, hub=HUB) as outbox:
        spoil(outbox)
        door = Intake(put=outbox.put, stored=lambda: None)
        running = asyncio.create_task(door.run())
        monkeypatch.setattr(store, "create", refused)
        assert door.take(encoded(COUNT)) is None
        monkeypatch.undo()
        await asyncio.sleep(3 * intake.RETRY_S)
        assert not running.done()
        assert numbers(outbox) == list(range(COUNT + 1))
        running.cancel()


@pytest.mark.looptime
@pytest.mark.parametrize("hold", [True, False])
async def test_a_store_that_cannot_be_mended_ends_collecting(
    sound: Path, monkeypatch: pytest.MonkeyPatch, *, hold: bool
) -> None:
    with Outbox.open(sound, hub=HUB) as outbox:
        spoil(outbox)
        door = Intake(put=outbox.put, stored=lambda: None)
        monkeypatch.setattr(store, "create", refused)
        assert door.take(encoded(COUNT), hold=hold) is None
        with pytest.raises(OutboxDamaged):
            await door.run()


def test_a_log_without_its_store_is_not_read_into_the_new_one(sound: Path) -> None:
    with Outbox.open(sound, hub=HUB) as outbox:
        outbox.put(encoded(COUNT))
        log = sound.with_name("outbox.db-wal").read_bytes()
    sound.unlink()
    sound.with_name("outbox.db-wal").write_bytes(log)
    with Outbox.open(sound, hub=HUB) as outbox:
        assert outbox.pending(1) is None
        assert outbox.born == "new"
    (aside,) = kept(sound)
    assert (aside / "outbox.db-wal").read_bytes() == log


def test_the_hub_starts_even_if_there_is_no_room_to_save_what_is_intact(sound: Path) -> None:
    overwrite(sound, 3)
    with Outbox.open(sound, hub=HUB, max_bytes=6 * store.PAGE_BYTES) as outbox:
        assert numbers(outbox) == []
        assert f"{COUNT} readings readable but not saved" in outbox.alarms()[-1].detail
        assert outbox.put(encoded(1)) == 1
    assert (kept(sound)[0] / "outbox.db").exists()


DAMAGES = rounds(60, 2000)


def test_random_damages_are_survived_and_never_invent_a_reading(tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311  (repeatable)
    template = tmp_path / "template.db"
    with Outbox.open(template, hub=HUB) as outbox:
        outbox.put_many([encoded(number) for number in range(200)])
    content = template.read_bytes()
    saved_in_all = 0
    for attempt in range(DAMAGES):
        path = tmp_path / str(attempt) / "outbox.db"
        path.parent.mkdir()
        bad = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(bad))
            length = chance.choice((1, 16, 512, 4096))
            bad[start : start + length] = chance.choice((bytes(length), chance.randbytes(length)))
        if chance.random() < 0.2:
            del bad[chance.randrange(len(bad)) :]
        path.write_bytes(bad)
        with Outbox.open(path, hub=HUB) as outbox:
            saved = numbers(outbox)
            saved = numbers(outbox) if outbox.born == "damaged" else saved
            assert saved == sorted(set(saved) & set(range(200)))
            seq = outbox.put(encoded(1000))
            assert numbers(outbox) == [*saved, 1000]
            assert seq == outbox.next - 1
        saved_in_all += len(saved)
        shutil.rmtree(path.parent)
    assert saved_in_all > DAMAGES * 100, "most readings of most damaged stores are intact"
