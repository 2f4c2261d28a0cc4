"""What a hub writes about what has happened, and what it never writes."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from edge import log

ADDRESS = "AA:BB:CC:DD:EE:01"
HASH = log.address_hash(bytes.fromhex("AABBCCDDEE01"))


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root, ours = logging.getLogger(), logging.getLogger("stafet")
    before = root.handlers[:], root.level, ours.level
    stream = io.StringIO()
    log.set_up(stream)
    yield stream
    root.handlers[:], root.level, ours.level = before


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json_with_time_level_and_name_first(stream: io.StringIO) -> None:
    log.event("reading_stored", device=HASH, seq=7)
    (line,) = lines(stream)
    assert list(line) == ["time", "level", "event", "device", "seq"]
    assert line["event"] == "reading_stored"
    assert line["level"] == "info"
    assert line["time"].endswith("Z")
    assert line["seq"] == 7


def test_a_field_that_is_not_on_the_list_is_not_written_but_missed(stream: io.StringIO) -> None:
    log.event("reading_stored", value="98 %", cpr="2512484916")
    (line,) = lines(stream)
    assert line["unlisted"] == ["cpr", "value"]
    assert "98" not in stream.getvalue().split('"event"')[1]
    assert "2512484916" not in stream.getvalue()


@pytest.mark.parametrize("written", [ADDRESS, ADDRESS.lower(), ADDRESS.replace(":", "_"), ADDRESS.replace(":", "-")])
def test_a_bluetooth_address_is_never_written_in_clear(stream: io.StringIO, written: str) -> None:
    log.event("connection_failed", detail=f"device /org/bluez/hci0/dev_{written}/service1 is gone")
    logging.getLogger("bleak.backends").warning("Failed to cancel connection (%s)", f"/hci0/dev_{written}")
    assert written not in stream.getvalue()
    assert [HASH in json.dumps(line) for line in lines(stream)] == [True, True]


def test_libraries_are_heard_when_they_warn(stream: io.StringIO) -> None:
    library = logging.getLogger("dbus_fast")
    library.info("chatter")
    library.error("the bus is gone", exc_info=EOFError())
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["source"], line["text"], line["error"]) == (
        "library_warned",
        "error",
        "dbus_fast",
        "the bus is gone",
        "EOFError",
    )


def test_a_long_text_is_cut(stream: io.StringIO) -> None:
    log.event("scan_failed", detail="x" * 10_000)
    assert len(stream.getvalue()) < 1000


def test_at_a_terminal_events_are_text(stream: io.StringIO) -> None:
    stream.isatty = lambda: True  # type: ignore[method-assign]
    log.set_up(stream)
    log.event("connection_lost", logging.WARNING, broker="127.0.0.1", after_s=2.5)
    text = stream.getvalue()
    assert "warning: connection lost  broker=127.0.0.1  after_s=2.5\n" in text
    assert text[2] == text[5] == ":"


def test_newlines_in_a_field_stay_inside_the_line(stream: io.StringIO) -> None:
    log.event("scan_failed", detail="one\ntwo")
    assert len(stream.getvalue().splitlines()) == 1
