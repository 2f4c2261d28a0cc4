"""How the hub is, over its socket and in words."""

import asyncio
import socket
import string
import struct
from pathlib import Path
from typing import Any

import pytest

from edge import status
from edge.outbox import Outbox
from tests.edge.readings import BOOT, HUB, clock, encoded
from wire.evidence import Clock, ClockState

STOPPED: dict[str, Any] = {
    "hub": HUB,
    "running": False,
    "epoch": "00" * 8,
    "next": 1,
    "unsent": 0,
    "oldest_unsent_s": None,
    "alarms": [],
}
RUNNING: dict[str, Any] = STOPPED | {
    "running": True,
    "up_s": 200.0,
    "clock": {"state": "synchronised", "uncertainty_ms": 20},
    "uplink": {"connected": True, "connected_for_s": 65.0, "last_receipt_s": 4.0, "refused": None, "last_error": None},
    "radio": {"adapter": "hci0", "scanning": True, "fault": None},
    "held": 0,
    "devices": [],
}


def device(**more: Any) -> dict[str, Any]:
    nothing = {"readings": 0, "seen_s": None, "read_s": None, "records": 0, "clock_off_s": None}
    return {"device": "1a2b3c4d", "label": "", "connected": False, **nothing, **more}


def test_a_hub_at_rest_in_english_and_danish() -> None:
    document = RUNNING | {"devices": [device(label="oximeter", readings=3, seen_s=8.0, read_s=9.0)]}
    assert status.in_words(document, "en").splitlines() == [
        "hub-0001: running for 3 min",
        "  every reading is delivered",
        "  connected to the broker for 65 s",
        "  last receipt 4 s ago",
        "  clock: right",
        "  radio: listens on hci0",
        "  oximeter (1a2b3c4d): last reading 9 s ago, 3 readings since the start",
    ]
    assert status.in_words(document, "da").splitlines() == [
        "hub-0001: kører, i 3 min",
        "  alle målinger er leveret",
        "  forbundet til brokeren i 65 s",
        "  sidste kvittering for 4 s siden",
        "  ur: går rigtigt",
        "  radio: lytter på hci0",
        "  oximeter (1a2b3c4d): sidste måling for 9 s siden, 3 målinger siden start",
    ]


@pytest.mark.parametrize(
    ("more", "english", "danish"),
    [
        ({"unsent": 1, "oldest_unsent_s": 7.0}, "1 reading waits", "1 måling venter"),
        ({"unsent": 2, "oldest_unsent_s": 90000.0}, "the oldest for 25 h", "den ældste i 25 h"),
        ({"held": 3}, "3 readings are only in memory", "3 målinger findes kun i hukommelsen"),
        ({"radio": {"adapter": "hci1", "scanning": False, "fault": "no-bluetooth"}}, "(no-bluetooth)", "LYTTER IKKE"),
        ({"clock": {"state": "unset"}}, "clock: not set", "ur: ikke stillet"),
        ({"devices": [device(connected=True, readings=1)]}, "1a2b3c4d: connected", "1a2b3c4d: forbundet"),
        ({"devices": [device(seen_s=3.0)]}, "last seen 3 s ago", "sidst set for 3 s siden"),
        ({"devices": [device(records=4)]}, "4 of them had been stored", "4 af dem lå i apparatets hukommelse"),
        ({"devices": [device(clock_off_s=-7300.5)]}, "its clock is off by 2 h", "dets ur går 2 h forkert"),
        ({"devices": [device()]}, "not seen since the start", "ikke set siden start"),
        ({"alarms": [{"at": "2026-10-01T00:00:00Z", "cause": "damaged", "detail": "x"}]}, "alarm of 2026", "alarm fra"),
        (
            {"uplink": RUNNING["uplink"] | {"connected": False, "last_error": "no route"}},
            "(no route)",
            "IKKE FORBUNDET",
        ),
        ({"uplink": RUNNING["uplink"] | {"refused": "not authorised"}}, "REFUSED: not authorised", "AFVIST"),
        ({"uplink": RUNNING["uplink"] | {"last_receipt_s": None}}, "no receipt yet", "ingen kvittering endnu"),
        ({"radio": None}, "running", "kører"),
    ],
)
def test_what_is_wrong_or_special_is_said_in_both_languages(more: dict[str, Any], english: str, danish: str) -> None:
    assert english in status.in_words(RUNNING | more, "en")
    assert danish in status.in_words(RUNNING | more, "da")


def test_both_languages_say_the_same_things() -> None:
    def fields(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    english, danish = status._WORDS["en"], status._WORDS["da"]
    assert english.keys() == danish.keys()
    for key, text in english.items():
        assert fields(text) == fields(danish[key]), key


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "da_DK.UTF-8"}, "da"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "da_DK.UTF-8", "LC_ALL": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_US", "LC_MESSAGES": "da_DK"}, "da"),
        ({"LANG": "da_DK", "LC_ALL": ""}, "da"),
    ],
)
def test_danish_is_spoken_where_the_environment_asks_for_it(environment: dict[str, str], expected: str) -> None:
    assert status.language(environment) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (119.4, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172800, "2 d"), (None, "?")],
)
def test_ages_are_short(seconds: float | None, expected: str) -> None:
    assert status.age(seconds) == expected


# What the store alone can tell


def test_the_age_of_the_oldest_unsent_reading_is_by_the_monotonic_clock_of_the_same_boot(tmp_path: Path) -> None:
    with Outbox.open(tmp_path / "outbox.db", hub=HUB) as outbox:
        outbox.put(encoded(0))
        outbox.put(encoded(1))
        stats = outbox.stats()
    jumped = clock(wall_us=1_000, mono_us=17_000_000)
    assert status.of_store(HUB, stats, jumped)["oldest_unsent_s"] == 12.0
    assert status.of_store(HUB, stats, jumped)["unsent"] == 2


def test_after_a_reboot_the_age_is_by_the_wall_clock_and_never_negative(tmp_path: Path) -> None:
    with Outbox.open(tmp_path / "outbox.db", hub=HUB) as outbox:
        outbox.put(encoded(0))
        stats = outbox.stats()

    def after(seconds: int) -> Any:
        wall_us = 1_790_000_000_000_000 + seconds * 1_000_000
        return status.of_store(
            HUB, stats, Clock(wall_us=wall_us, mono_us=1, boot=BOOT[::-1], state=ClockState.UNSYNCHRONISED)
        )["oldest_unsent_s"]

    assert after(90) == 90.0
    assert after(-90) == 0.0


def test_a_store_that_is_not_there_yet_holds_nothing() -> None:
    assert status.of_store(HUB, None, clock()) == {
        "hub": HUB,
        "epoch": None,
        "next": None,
        "unsent": 0,
        "oldest_unsent_s": None,
        "alarms": [],
    }


# Over the socket


async def test_the_running_hub_answers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    store = tmp_path / "outbox.db"
    assert status.ask(store) is None
    async with status.serve(store, lambda: {"label": "Måling"}):
        assert await asyncio.to_thread(status.ask, store) == {"label": "Måling"}
        assert await asyncio.to_thread(status.ask, tmp_path / "other.db") is None
    assert status.ask(store) is None
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240  a directory in memory, after the fact


async def test_a_name_that_is_taken_does_not_stop_the_hub(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with status.serve(tmp_path, dict), status.serve(tmp_path, dict):
        pass
    assert caplog.messages == ["status_unavailable"]


async def test_a_hub_that_hangs_is_told_from_one_that_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "ANSWER_S", 0.1)
    async with status.serve(tmp_path, dict):
        with pytest.raises(TimeoutError):
            status.ask(tmp_path)  # in the loop's own thread: it cannot answer


async def test_another_user_gets_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "_may_ask", lambda _: False)
    async with status.serve(tmp_path, dict):
        with pytest.raises(PermissionError):
            await asyncio.to_thread(status.ask, tmp_path)


@pytest.mark.parametrize(("uid", "expected"), [(0, True), (1234, True), (1235, False)])
def test_root_and_the_hubs_own_user_may_ask(uid: int, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Peer(socket.socket):
        def getsockopt(self, level: int, option: int, size: int = 0) -> bytes:  # type: ignore[override]  # one form
            assert (level, option, size) == (socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return struct.pack("3i", 42, uid, 42)

    monkeypatch.setattr("os.geteuid", lambda: 1234)
    with Peer(socket.AF_UNIX) as peer:
        assert status._may_ask(peer) is expected
