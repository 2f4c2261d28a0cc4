"""The list of devices that may be read: durable, private, and followed by a hub that runs."""

import json
import os
import threading
from pathlib import Path

import pytest

from edge.config import MAX_DEVICES, Device
from edge.listing import Listing, ListingError, ListingFullError, Paired, change, file_of, load

SCALE = Paired(
    address=bytes.fromhex("AABBCCDDEE01"), label="vægten", name="UC-352BLE", kind="weight scale", bonded=True
)
CUFF = Paired(address=bytes.fromhex("AABBCCDDEE02"), label="cuff", random=True)
OXIMETER = Device(address=bytes.fromhex("AABBCCDDEE03"), label="oximeter")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def add(store: Path, device: Paired) -> None:
    change(store, lambda paired: (*paired, device))


def test_what_was_listed_is_there_again_and_only_its_owner_can_read_it(store: Path) -> None:
    add(store, SCALE)
    add(store, CUFF)
    assert load(store) == (SCALE, CUFF)
    assert file_of(store).stat().st_mode & 0o777 == 0o600
    assert file_of(store).parent == store.parent
    assert list(store.parent.iterdir()) == [file_of(store)], "nothing else is left behind"


def test_a_write_that_is_cut_off_leaves_the_old_list(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, SCALE)

    def cut(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", cut)
        with pytest.raises(OSError, match="No space"):
            add(store, CUFF)
    assert load(store) == (SCALE,)
    add(store, CUFF)
    assert load(store) == (SCALE, CUFF)


def test_a_list_has_an_end(store: Path) -> None:
    devices = [Paired(address=bytes((0, 0, 0, 0, 0, n)), label="x" * 64, name="å" * 124) for n in range(MAX_DEVICES)]
    change(store, lambda _: devices)
    with pytest.raises(ListingFullError):
        add(store, SCALE)
    assert load(store) == tuple(devices)


def test_what_root_lists_belongs_to_the_hub(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    store.touch()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda _, uid, gid: given.append((uid, gid)))
    add(store, SCALE)
    assert given == [(store.stat().st_uid, store.stat().st_gid)]


def test_two_technicians_at_the_same_time_list_both_their_devices(store: Path) -> None:
    devices = [Paired(address=bytes((0, 0, 0, 0, 0, n)), label=str(n)) for n in range(20)]
    threads = [threading.Thread(target=add, args=(store, device)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(load(store)) == devices


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"version": 2, "devices": []}',
        '{"version": 1, "devices": [{"address": "AA", "label": "x"}]}',
        '{"version": 1, "devices": [{"address": "AA:BB:CC:DD:EE:01"}]}',
        '{"version": 1, "devices": [{"address": "AA:BB:CC:DD:EE:01", "label": 1}]}',
        '{"version": 1, "devices": [{"address": "AA:BB:CC:DD:EE:01", "label": "x", "bonded": "yes"}]}',
        '{"version": 1, "devices": [{"address": 1, "label": "x"}]}',
        '{"version": 1, "devices": [{"address": "aa:bb:cc:dd:ee:01", "label": "x"}]}',
        '{"version": 1, "devices": [1]}',
        "\x00",
        "[" * 5000,
    ],
)
def test_a_damaged_list_is_neither_guessed_at_nor_overwritten(store: Path, content: str) -> None:
    file_of(store).write_text(content)
    with pytest.raises(ListingError, match=r"outbox\.db\.devices"):
        add(store, SCALE)
    assert file_of(store).read_text() == content


def test_a_running_hub_follows_the_list_and_keeps_it_when_it_is_damaged(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    followed = Listing(store, [OXIMETER])
    assert dict(followed.devices) == {OXIMETER.address: "oximeter"}
    add(store, SCALE)
    assert [followed.changed(), followed.changed()] == [True, False]
    assert set(followed.devices) == {(OXIMETER.address, "oximeter"), (SCALE.address, "vægten")}
    file_of(store).write_text("{")
    assert [followed.changed(), followed.changed()] == [False, False]
    assert caplog.messages == ["listing_unreadable"]
    assert len(followed.devices) == 2
    file_of(store).unlink()
    assert [followed.changed()] == [True]
    assert dict(followed.devices) == {OXIMETER.address: "oximeter"}


def test_what_hub_toml_says_of_a_device_goes_before(store: Path) -> None:
    add(store, SCALE._replace(address=OXIMETER.address))
    assert Listing(store, [OXIMETER]).devices == ((OXIMETER.address, "oximeter"),)


def test_the_list_is_readable_for_people(store: Path) -> None:
    add(store, SCALE)
    document = json.loads(file_of(store).read_text())
    assert document["devices"][0]["address"] == "AA:BB:CC:DD:EE:01"
    assert "vægten" in file_of(store).read_text()
