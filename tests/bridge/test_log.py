"""The log: fixed keys, no secrets by shape, JSON for machines and text for people."""

import json
import logging
from collections.abc import Iterator

import pytest

from bridge import log


@pytest.fixture(autouse=True)
def logger_as_it_was() -> Iterator[None]:
    handlers, propagate, level = log.LOGGER.handlers[:], log.LOGGER.propagate, log.LOGGER.level
    yield
    log.LOGGER.handlers[:] = handlers
    log.LOGGER.propagate = propagate
    log.LOGGER.setLevel(level)


def test_an_event_is_one_json_object_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(terminal=False)
    log.event("batch_settled", hub="hub-0001", epoch=bytes(range(8)), first=1, ms=1.5, reason=None)
    text = capsys.readouterr().err
    line = json.loads(text)
    assert line.pop("time").endswith("+00:00")
    expected = {
        "level": "info",
        "event": "batch_settled",
        "hub": "hub-0001",
        "epoch": "00010203",
        "first": 1,
        "ms": 1.5,
    }
    assert line == expected


def test_a_key_that_is_not_listed_is_left_out_and_shows(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(terminal=False)
    log.event("reading_quarantined", logging.WARNING, patient="Patient/abc", value=98, hub="h")
    text = capsys.readouterr().err
    line = json.loads(text)
    assert line["unlisted"] == ["patient", "value"]
    assert "abc" not in text
    assert "98" not in text


def test_a_terminal_gets_text(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(terminal=True)
    log.event("fhir_unavailable", logging.WARNING, detail="HTTP 503", attempt=2)
    assert capsys.readouterr().err.endswith("warning: fhir unavailable  detail=HTTP 503 attempt=2\n")


def test_a_fault_says_where_but_not_what_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(terminal=False)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - any error will do
        int("81.5 of Patient/abc")
    log.fault("delivery_failed", raised.value, hub="h")
    text = capsys.readouterr().err
    line = json.loads(text)
    assert (line["level"], line["error"]) == ("error", "ValueError")
    assert line["where"].startswith("test_log.py:")
    assert "81.5" not in text
