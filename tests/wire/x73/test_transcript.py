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


ASKED = (
    ("e2000032800000000001002a50790026800000008000800000000000000000800000000800ac01007700004b40008880000100000000"),
    (
        "e7000070006e0001010100680000ffffffff0d1c005e4000000200580006000100040024092f000400024bb80a4600024080"
        "0996000202200a55000c000200080a4c0002099000080006000a00040024092f00040002481a0a4600024080099600020aa0"
        "0a55000c000200080a4c000209900008"
    ),
    (
        "e700004a004800000203004200000005003c0984000a000800ac01007700004b0a44000240000928000c000441636d650004"
        "4f6e65000a5a00080001000410040001098700082026112210111234"
    ),
    (
        "e700003c003a00010207003400000c1b002effffffff00000d1d0024000100000002001c0001000a00612026112210111234"
        "000a000a003d2026112210111234"
    ),
)
"""Of an agent written from the standard alone: it reports once, in its answer to a data request."""


def test_a_report_in_the_answer_to_a_data_request_is_a_report() -> None:
    assert heard([bytes.fromhex(raw) for raw in ASKED], Transcript()) == [(150456, "97"), (149530, "61")]


PERIODIC = (
    ("e2000032800000000001002a50790026800000008000800000000000000000800000000800ac01007700004040000000010000000000"),
    (
        "e700009a00980001010100920000ffffffff0d1c00884000000200820009000100070042092f0004000201010a460002f040"
        "0996000210b2098d000400000050096d00060004100c2000096f000c00fffff60000000a00000fa00a550008000100040a48"
        "000a003d0009000700300a4d0002fc0009430002000009410004000000640953000200000951000200010a63000400009c40"
        "098d000400001f40"
    ),
    (
        "e700004a004800000203004200000005003c0984000a000800ac0100770000400a44000240000928000c000441636d650004"
        "4f6e65000a5a00080001000410040001098700082026112210111234"
    ),
    "e700001a001800010203001200090002000c0951000200010a4d0002fc00",
    (
        "e7000066006400020207005e00090c0d00580001005400010007004e0922000200010a4e0016000000010010000900020101"
        "0001000100040a48000a095300020000097b0004000000030a64000400013880099200082026112210111234098a00082026"
        "112210111234"
    ),
    "e7000012001000030207000a00090c1c000400010000",
    (
        "e700003e003c01f5010100360009ffffffff0d21002c00010000000000000003c000001e0008000100020003000000080001"
        "00020003000100080001000200030002"
    ),
)
"""Of the same: a segment of samples without times, with the time of its start, in a store with a sample period of 1 s."""


def test_entries_without_a_time_are_dated_by_their_segment_s_start_and_their_store_s_period() -> None:
    transcript = Transcript()
    (whole,) = [each for raw in PERIODIC if (each := transcript.hear(bytes.fromhex(raw))).measurements]
    dated = [
        (str(m.samples.data[3]), m.device_time.isoformat()) for m in whole.measurements if m.samples and m.device_time
    ]
    assert dated == [("0", "2026-11-22T10:11:12.34"), ("1", "2026-11-22T10:11:13.34"), ("2", "2026-11-22T10:11:14.34")]
    # A later portion goes on where the one before it ended.
    raw = PERIODIC[-1].replace("000100000000", "000100000064", 1)
    later = transcript.hear(bytes.fromhex(raw)).measurements[0]
    assert later.device_time is not None
    assert later.device_time.isoformat() == "2026-11-22T10:12:52.34"
