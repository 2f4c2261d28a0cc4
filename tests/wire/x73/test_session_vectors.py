"""The measured session byte for byte in both roles, and reports of real devices recorded by others."""

from dataclasses import replace

import pytest

from tests.wire.vectors import Vector
from tests.wire.x73.support import (
    AGENT_ID,
    MANAGER_ID,
    NOW,
    SESSION,
    VECTORS,
    WHOLE,
    measured_mds,
    only,
    oximeter_scan,
    vector,
)
from wire.errors import DecodeError
from wire.measurement import Measurement, MeasurementStatus
from wire.x73.agent import Agent, AgentProfile
from wire.x73.apdu import EventReport, Prst, decode_apdu, encode_apdu
from wire.x73.codes import Noti
from wire.x73.events import (
    Associated,
    AttributesRead,
    Configured,
    Released,
    Reported,
    ScannerSwitched,
    SegmentData,
    Warned,
)
from wire.x73.manager import Manager
from wire.x73.mder import Tolerated
from wire.x73.measurements import ReportDecoder
from wire.x73.reports import decode_report
from wire.x73.specializations import OXIMETER_0190, STANDARD


def test_our_manager_says_what_the_measured_manager_said() -> None:
    manager = Manager(MANAGER_ID)
    manager.connected(NOW)
    events = manager.receive(SESSION["aarq"], NOW)
    assert SESSION["aare"] + SESSION["get"] == manager.to_send()
    assert [(e.system_id, e.config_id, e.known, e.test) for e in only(Associated, events)] == [
        (AGENT_ID, 0x0190, True, False)
    ]
    assert [(e.configuration, e.reported) for e in only(Configured, events)] == [(OXIMETER_0190, False)]
    (read,) = only(AttributesRead, manager.receive(SESSION["mds"], NOW))
    assert len(read.attributes) == 17
    (reported,) = only(Reported, manager.receive(SESSION["report"], NOW))
    assert [(m.code, str(m.value), m.unit) for m in reported.measurements] == [
        (150456, "96.5", "%"),
        (149530, "63.5", "/min"),
    ]
    assert {"2026-11-21T19:33:46.5"} == {m.device_time.isoformat() for m in reported.measurements if m.device_time}
    assert (False, None, SESSION["report"]) == (reported.confirmed, reported.fault, reported.apdu)
    assert manager.to_send() == b"", "an unconfirmed report is not answered"
    events = manager.receive(SESSION["rlrq"], NOW)
    assert SESSION["rlre"] == manager.to_send()
    assert [Released(by_peer=True)] == events
    assert manager.deadline() is None


def test_our_agent_says_what_the_measured_agent_said() -> None:
    profile = AgentProfile(
        system_id=AGENT_ID, configurations=(OXIMETER_0190,), mds=measured_mds(), first_invoke_id=0x1111
    )
    agent = Agent(profile)
    agent.connected(NOW)
    assert SESSION["aarq"] == agent.to_send()
    agent.receive(SESSION["aare"] + SESSION["get"], NOW)
    assert SESSION["mds"] == agent.to_send()
    agent.report(oximeter_scan(), NOW, confirmed=False)
    assert SESSION["report"] == agent.to_send()
    agent.release(NOW)
    assert SESSION["rlrq"] == agent.to_send()
    assert [Released(by_peer=False)] == agent.receive(SESSION["rlre"], NOW)


def decoded(case: Vector) -> tuple[Measurement, ...]:
    apdu = decode_apdu(case.value)
    assert isinstance(apdu, Prst)
    assert isinstance(apdu.message, EventReport)
    configuration = STANDARD[int(case.kind.rpartition(":")[2], 16)]
    tolerated: list[Tolerated] = []
    report = decode_report(apdu.message.event_type, apdu.message.handle, apdu.message.info)
    measured = ReportDecoder(configuration, tolerated=tolerated).decode(report)
    assert tolerated == []
    return measured


@pytest.mark.parametrize("case", [v for v in WHOLE if "pressures" in v.expected], ids=str)
def test_stored_pressures_come_with_their_own_times_in_the_order_the_device_sent_them(case: Vector) -> None:
    assert case.expected["pressures"] == [
        [*(str(part.value) for part in m.components), m.device_time.isoformat() if m.device_time else None]
        for m in decoded(case)
    ]
    for m in decoded(case):
        assert [part.code for part in m.components] == [150021, 150022, 150023]
        assert {"mm[Hg]"} == {part.unit for part in m.components}


@pytest.mark.parametrize("case", [v for v in WHOLE if "values" in v.expected], ids=str)
def test_each_observation_carries_its_own_unit_precision_and_time(case: Vector) -> None:
    assert case.expected["values"] == [
        [m.code, str(m.value), m.unit, m.device_time.isoformat() if m.device_time else None] for m in decoded(case)
    ]


def told(measured: Measurement) -> list[object]:
    """A measurement as the vectors say it."""
    time = measured.device_time
    value = measured.coded if measured.value is None else str(measured.value)
    unit = measured.unit
    content: object = value
    if measured.components:
        content, unit = [str(part.value) for part in measured.components], measured.components[0].unit
    return [measured.code, content, unit, time.isoformat() if time is not None and time.known else None]


@pytest.mark.parametrize("case", [v for v in WHOLE if "means" in v.expected], ids=str)
def test_a_session_of_an_independent_agent_is_accepted_and_means_what_its_source_says(case: Vector) -> None:
    """Request, configuration, MDS and report as the other implementation has them, bytes and lengths untouched."""
    source, _, name = case.id.partition("/")
    device = "freescale/scale" if source == "atmel" else f"{source}/{name.partition('_')[0]}"
    scanning = source == "antidote"
    manager = Manager(MANAGER_ID)
    manager.connected(NOW)
    aarq = SESSION["aarq"].replace(b"\x01\x90\0\1", b"\x40\0\0\1") if scanning else vector(f"{device}_aarq").value
    (associated,) = only(Associated, manager.receive(aarq, NOW))
    assert not associated.known
    manager.to_send()
    config = vector("antidote/scanner_config" if scanning else f"{device}_config").value
    (configured,) = only(Configured, manager.receive(config, NOW))
    assert config[22:] == configured.configuration.encode()
    accepted = config[6:8] + bytes.fromhex("0201000e 0000 00000000 0d1c 0004") + config[22:24] + b"\0\0"
    get = bytes.fromhex("e700000e000c0000 0103 0006 0000 00000000")
    assert bytes.fromhex("e7000016 0014") + accepted + get == manager.to_send()
    if scanning:
        manager.receive(SESSION["mds"], NOW)
        switch = vector("antidote/scanner_set").value
        assert switch[:6] + b"\0\1" + switch[8:] == manager.to_send()
        answer = vector("antidote/scanner_set_answer").value
        assert manager.receive(answer[:6] + b"\0\1" + answer[8:], NOW) == [ScannerSwitched(handle=55, enabled=True)]
    else:
        mds = vector(f"{device}_mds").value
        read = only(AttributesRead, manager.receive(mds[:6] + b"\0\0" + mds[8:], NOW))
        assert [len(each.attributes) for each in read] == [6]
    events = manager.receive(case.value, NOW)
    (reported,) = only(Reported, events)
    assert (None, case.value) == (reported.fault, reported.apdu)
    assert case.expected["means"] == [told(m) for m in reported.measurements]
    assert {case.expected.get("person")} == {m.user for m in reported.measurements}
    assert case.expected["tolerated"] == [each.tolerated.tolerance for each in only(Warned, events)]
    for m in reported.measurements:
        assert m.clock_set is (told(m)[3] is not None)
        manual = m.code in (188740, 8417864, 8417760)
        assert (MeasurementStatus.MANUALLY_ENTERED in m.status) is manual
    assert manager.to_send() == b"", "nothing is confirmed before it is durable"
    manager.confirm(reported, NOW)
    head = case.value[6:8] + b"\x02\x01\0\x0a" + case.value[12:14] + bytes(4) + case.value[18:20] + bytes(2)
    assert bytes.fromhex("e7000012 0010") + head == manager.to_send()


@pytest.mark.parametrize("case", [v for v in VECTORS.values() if "invalid" in v.expected], ids=str)
def test_lengths_that_disagree_are_refused_even_if_a_predecessor_took_them(case: Vector) -> None:
    with pytest.raises(DecodeError):
        decode_apdu(case.value)


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_what_is_decoded_encodes_to_the_same_bytes(case: Vector) -> None:
    assert case.value == encode_apdu(decode_apdu(case.value))


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_an_apdu_cut_at_any_byte_is_refused(case: Vector) -> None:
    for length in range(len(case.value)):
        with pytest.raises(DecodeError) as refused:
            decode_apdu(case.value[:length])
        assert refused.value.offset <= length


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_a_byte_after_an_apdu_is_refused(case: Vector) -> None:
    with pytest.raises(DecodeError):
        decode_apdu(case.value + b"\0")


def test_a_confirmed_report_is_answered_as_the_danish_client_answers_it() -> None:
    manager = Manager(MANAGER_ID)
    manager.connected(NOW)
    manager.receive(SESSION["aarq"], NOW)
    manager.receive(SESSION["mds"], NOW)
    manager.to_send()
    report = decode_apdu(SESSION["report"])
    assert isinstance(report, Prst)
    confirmed = replace(report, invoke_id=0x8000, rose=type(report.rose).ROIV_CONFIRMED_EVENT_REPORT)
    (reported,) = only(Reported, manager.receive(encode_apdu(confirmed), NOW))
    assert manager.to_send() == b"", "nothing is confirmed before it is durable"
    manager.confirm(reported, NOW)
    assert vector("opentele/confirm").value == manager.to_send()


def test_the_nonin_9560_is_known_by_its_standard_configuration() -> None:
    manager = Manager(bytes.fromhex("8877665544332211"))
    manager.connected(NOW)
    (associated,) = only(Associated, manager.receive(vector("opentele/nonin_9560_aarq").value, NOW))
    assert (associated.config_id, associated.system_id.hex()) == (0x0191, "001c050100009533")
    assert manager.to_send().startswith(vector("opentele/aare").value)


def test_a_report_of_the_danish_scale_is_understood_by_the_whole_manager() -> None:
    manager = Manager(MANAGER_ID)
    manager.connected(NOW)
    aarq = SESSION["aarq"].replace(bytes.fromhex("01900001"), bytes.fromhex("05dc0001"))
    manager.receive(aarq, NOW)
    (reported,) = only(Reported, manager.receive(vector("opentele/and_uc321_lb").value, NOW))
    assert reported.report.event_type == Noti.SCAN_REPORT_VAR
    assert [m.unit for m in reported.measurements] == ["kg"] * 4 + ["[lb_av]"]


def test_the_doses_of_a_pen_are_fetched_and_read_as_the_pen_said_them() -> None:
    """A Novo Nordisk NovoPen 6: a store by an entry map of its own, no absolute clock, a dose that has no value."""
    pen = {id_.removeprefix("novopen/"): each.value for id_, each in VECTORS.items() if id_.startswith("novopen/")}
    manager = Manager(bytes.fromhex("001465004507b951"))
    manager.connected(NOW)
    events = manager.receive(pen["aarq"] + pen["config"], NOW)
    assert manager.to_send() == pen["aare"] + pen["config_answer"] + pen["get"]
    (store,) = only(Configured, events)[0].configuration.stores
    manager.receive(pen["mds"], NOW)
    manager.list_segments(store.handle, NOW)
    assert manager.to_send() == pen["list"]
    manager.receive(pen["listed"], NOW)
    manager.transfer(store.handle, 16, NOW)
    assert manager.to_send() == pen["transfer"]
    manager.receive(pen["transferring"], NOW)
    (doses,) = only(SegmentData, manager.receive(pen["doses"], NOW))
    said = [(m.code, str(m.value), m.unit, sorted(m.bits or ())) for m in doses.measurements]
    assert said == [
        (8532993, "3.0", "[iU]", []),
        (8532994, "None", None, [4]),
        (8532993, "2.0", "[iU]", []),
        (8532994, "None", None, [4]),
        (8532993, "not-a-number", None, []),
        (8532994, "None", None, [5]),
        (8581120, "None", None, [12]),
    ]
    manager.confirm(doses, NOW)
    # The other manager has no clock, and leaves out the bits that say which entries these are; ours gives them back.
    theirs = pen["confirmed"].replace(b"\xff" * 4, bytes(4))
    assert manager.to_send() == theirs.replace(b"\0\0\0\3\0\x80", b"\0\0\0\3\xc0\x80")
