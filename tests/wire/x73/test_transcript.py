"""A recording is understood without taking part in it."""

import json

import pytest

from tests.wire.x73.support import MANAGER_ID, NOW, SESSION, Joined, oximeter_scan, profile, vector
from tests.wire.x73.test_agent import storing
from wire.measurement import MeasurementStatus
from wire.measurement_json import dumps
from wire.x73.agent import Agent
from wire.x73.manager import Manager
from wire.x73.specializations import SPECIALIZATIONS, STANDARD
from wire.x73.transcript import Transcript


def heard(recording: list[bytes], transcript: Transcript) -> list[tuple[int, str]]:
    found = []
    for raw in recording:
        each = transcript.hear(raw)
        assert each.fault is None
        found += [(m.code, str(m.value)) for m in each.measurements]
    return found


def split(said: list[tuple[str, bytes]]) -> list[bytes]:
    found = []
    for _, data in said:
        rest = data
        while rest:
            size = 4 + int.from_bytes(rest[2:4], "big")
            found.append(rest[:size])
            rest = rest[size:]
    return found


def test_the_measured_session_is_understood_from_its_recording() -> None:
    transcript = Transcript()
    assert heard(list(SESSION.values()), transcript) == [(150456, "96.5"), (149530, "63.5")]
    assert transcript.system_id == bytes.fromhex("1133557799bbddff")


def test_an_extended_configuration_is_learnt_from_its_report() -> None:
    pair = Joined(Agent(profile(SPECIALIZATIONS[10404].extended)), Manager(MANAGER_ID))
    pair.connect()
    pair.agent.report(oximeter_scan(), NOW)
    pair.run()
    assert heard(split(pair.said), Transcript()) == [(150456, "96.5"), (149530, "63.5")]
    assert heard(split(pair.said)[-2:], Transcript(configuration=STANDARD[0x0190])) == [
        (150456, "96.5"),
        (149530, "63.5"),
    ]


def test_segments_are_understood_by_their_listing() -> None:
    pair = storing()
    pair.manager.list_segments(30, NOW)
    pair.run()
    pair.manager.transfer(30, 1, NOW)
    pair.run()
    assert len(heard(split(pair.said), Transcript())) == sum(
        len(each.measurements) for each in pair.of_manager if hasattr(each, "measurements")
    )


def test_a_test_association_stays_one_in_its_recording() -> None:
    pair = Joined(Agent(profile(test=True)), Manager(MANAGER_ID))
    pair.connect()
    pair.agent.report(oximeter_scan(), NOW)
    pair.run()
    transcript = Transcript()
    outcome = [transcript.hear(raw) for raw in split(pair.said)]
    assert [m for each in outcome for m in each.measurements] == []
    assert [m.status for each in outcome for m in each.test_measurements] == [(MeasurementStatus.TEST_DATA,)] * 2


@pytest.mark.parametrize("raw", [b"", b"\0", SESSION["report"][:-1], vector("opentele/and_lengths_disagree").value])
def test_what_cannot_be_decoded_is_an_outcome(raw: bytes) -> None:
    outcome = Transcript().hear(raw)
    assert (outcome.apdu, outcome.measurements) == (None, ())
    assert outcome.fault is not None


def test_a_report_without_a_configuration_is_no_guess() -> None:
    outcome = Transcript().hear(SESSION["report"])
    assert outcome.fault is not None
    assert "no configuration" in str(outcome.fault)


def test_an_agent_that_associates_again_needs_no_second_report_and_another_s_is_no_guess() -> None:
    pair = Joined(Agent(profile(SPECIALIZATIONS[10404].extended)), Manager(MANAGER_ID))
    pair.connect()
    pair.agent.report(oximeter_scan(), NOW)
    pair.run()
    transcript = Transcript()
    recording = split(pair.said)
    aarq, report = recording[0], next(raw for raw in recording if bytes.fromhex("f3c5") in raw)
    heard(recording, transcript)
    assert heard([aarq, report], transcript) == [(150456, "96.5"), (149530, "63.5")]
    transcript.hear(aarq.replace(bytes.fromhex("1133557799bbddff"), bytes(8)))
    assert "no configuration" in str(transcript.hear(report).fault)


def test_the_measurements_of_a_recording_are_measurement_json() -> None:
    transcript = Transcript()
    outcome = [transcript.hear(raw) for raw in SESSION.values()]
    assert json.loads(dumps(m for each in outcome for m in each.measurements)) == [
        {
            "code": 150456,
            "refid": "MDC_PULS_OXIM_SAT_O2",
            "value": "96.5",
            "unit": "%",
            "device_time": "2026-11-21T19:33:46.5",
        },
        {
            "code": 149530,
            "refid": "MDC_PULS_OXIM_PULS_RATE",
            "value": "63.5",
            "unit": "/min",
            "device_time": "2026-11-21T19:33:46.5",
        },
    ]
