"""The agent: retries, refusals, what it serves, its scanners and its PM-store."""

from dataclasses import replace

import pytest

from tests.wire.x73.support import (
    AGENT_ID,
    MANAGER_ID,
    NOW,
    STAMP,
    Joined,
    apdus,
    joined,
    only,
    oximeter_scan,
    profile,
)
from wire.x73.agent import Agent, AgentProfile
from wire.x73.apdu import (
    PROTOCOL_20601,
    SYSTEM_TYPE_MANAGER,
    Aare,
    Aarq,
    Abrt,
    Act,
    Apdu,
    DataProto,
    Error,
    EventReportResult,
    Get,
    GetResult,
    Modification,
    PhdAssociation,
    Prst,
    Reject,
    Rose,
    Set,
    encode_apdu,
)
from wire.x73.codes import Action, Attr, DataReqMode, Noti, ObjectClass
from wire.x73.dim import HANDLE_MAPS, Configuration, attribute, encoded, type_of
from wire.x73.events import (
    Aborted,
    AttributesRead,
    Configured,
    DataRequested,
    Failed,
    Rejected,
    Reported,
    ScannerSwitched,
    SegmentCleared,
    SegmentData,
    Segments,
    SegmentTransferred,
    TransferStarted,
    Warned,
)
from wire.x73.manager import Manager
from wire.x73.mder import Tolerance
from wire.x73.reports import REPORT_KINDS, ConfigObject, HandleMap, MapEntry, ObservationVar, PersonScan, ScanReport
from wire.x73.services import DataRequest, SegmentElement, SegmentEntryMap
from wire.x73.session import SessionError
from wire.x73.specializations import BASIC, OXIMETER_0190, SPECIALIZATIONS
from wire.x73.states import State
from wire.x73.store import MAX_PORTION, Segment, Store

EXTENDED = SPECIALIZATIONS[10404].extended
PERSONAL = PhdAssociation(system_type=SYSTEM_TYPE_MANAGER, system_id=MANAGER_ID, config_id=0)


def aare(result: int) -> bytes:
    return encode_apdu(Aare(result=result, protocol=DataProto(id=PROTOCOL_20601, info=PERSONAL.encode())))


def prst(rose: Rose, message: object, invoke_id: int = 5) -> bytes:
    return encode_apdu(Prst(invoke_id=invoke_id, rose=rose, message=message))  # type: ignore[arg-type]


def answers(agent: Agent, rose: Rose, message: object) -> list[Apdu]:
    agent.receive(prst(rose, message), NOW)
    return apdus(agent.to_send())


def test_the_association_request_is_repeated_three_times_and_then_given_up() -> None:
    agent = Agent(profile())
    agent.connected(NOW)
    (first,) = apdus(agent.to_send())
    for attempt in range(1, 4):
        assert agent.deadline() == NOW + 10 * attempt
        assert agent.expire(NOW + 10 * attempt) == []
        assert [first] == apdus(agent.to_send())
    (aborted,) = only(Aborted, agent.expire(NOW + 40))
    assert "4 requests" in aborted.why
    assert apdus(agent.to_send()) == [Abrt(reason=2)]
    assert (agent.state, agent.deadline()) == (State.UNASSOCIATED, None)


def test_a_rejection_is_told_and_the_agent_may_try_again() -> None:
    agent = Agent(profile())
    agent.connected(NOW)
    agent.to_send()
    assert agent.receive(aare(2), NOW) == [Rejected(result=2, by_peer=True)]
    agent.associate(NOW)
    assert [Aarq] == [type(apdu) for apdu in apdus(agent.to_send())]


def test_a_configuration_that_is_not_answered_in_ten_seconds_is_an_abort_with_its_reason() -> None:
    agent = Agent(profile(EXTENDED))
    agent.connected(NOW)
    agent.receive(aare(3), NOW)
    agent.to_send()
    assert agent.deadline() == NOW + 10
    agent.expire(NOW + 10)
    assert apdus(agent.to_send()) == [Abrt(reason=3)]


def test_a_get_while_approval_is_pending_is_answered_and_the_configuration_not_sent_twice() -> None:
    """antidote's manager asks for the MDS before it accepts."""
    agent = Agent(profile(EXTENDED))
    agent.connected(NOW)
    agent.receive(aare(3), NOW)
    (_, config) = apdus(agent.to_send())
    assert isinstance(config, Prst)
    (answer,) = answers(agent, Rose.ROIV_GET, Get())
    assert isinstance(answer, Prst)
    assert isinstance(answer.message, GetResult)
    assert (answer.rose, len(answer.message.attributes)) == (Rose.RORS_GET, 7)
    assert State.WAITING_APPROVAL is agent.state
    accepted = EventReportResult(event_type=Noti.CONFIG, info=bytes.fromhex("40000000"))
    events = agent.receive(prst(Rose.RORS_CONFIRMED_EVENT_REPORT, accepted, config.invoke_id), NOW)
    assert [Configured(system_id=AGENT_ID, configuration=EXTENDED, reported=True)] == events
    assert (agent.state, agent.deadline()) == (State.OPERATING, None)


@pytest.mark.parametrize("length", ["0000", "0008", "ffff"])
def test_a_reply_with_a_wrong_length_of_its_info_passes_with_a_warning(length: str) -> None:
    agent = Agent(profile(EXTENDED))
    agent.connected(NOW)
    agent.receive(aare(3), NOW)
    (_, config) = apdus(agent.to_send())
    assert isinstance(config, Prst)
    accepted = EventReportResult(event_type=Noti.CONFIG, info=bytes.fromhex("40000000"))
    raw = prst(Rose.RORS_CONFIRMED_EVENT_REPORT, accepted, config.invoke_id)
    events = agent.receive(raw[:-6] + bytes.fromhex(length) + raw[-4:], NOW)
    assert [each.tolerated.tolerance for each in only(Warned, events)] == [Tolerance.REPLY_LENGTH]
    assert State.OPERATING is agent.state


def test_confirmed_reports_go_out_one_at_a_time() -> None:
    pair = joined()
    pair.durable = False
    for _ in range(3):
        pair.agent.report(oximeter_scan(), NOW)
    assert len(apdus(pair.agent.to_send())) == 1
    assert not pair.agent.idle
    (aborted,) = only(Aborted, pair.agent.expire(NOW + 3))
    assert aborted.reason == 2


def test_a_report_from_nowhere_is_the_caller_s_error() -> None:
    agent = Agent(profile())
    with pytest.raises(SessionError):
        agent.report(oximeter_scan(), NOW)
    pair = joined()
    with pytest.raises(SessionError):
        pair.agent.report(oximeter_scan(), NOW, handle=55)


@pytest.mark.parametrize(
    ("rose", "message", "expected"),
    [
        (Rose.ROIV_GET, Get(handle=9), Error(error=1)),
        (Rose.ROIV_CONFIRMED_SET, Set(handle=9, modifications=()), Error(error=1)),
        (Rose.ROIV_CONFIRMED_SET, Set(handle=1, modifications=()), Error(error=17)),
        (Rose.ROIV_CONFIRMED_ACTION, Act(action_type=1, args=b""), Error(error=9)),
        (Rose.ROIV_CONFIRMED_ACTION, Act(handle=7, action_type=Action.SEG_CLR, args=b""), Error(error=1)),
        (Rose.ROIV_CONFIRMED_ACTION, Act(action_type=Action.SET_TIME, args=b"\0"), Reject(problem=2)),
        (Rose.ROIV_SET, Set(handle=9, modifications=()), None),
        (Rose.ROIV_ACTION, Act(action_type=1, args=b""), None),
    ],
)
def test_what_an_agent_cannot_do_is_refused_with_the_standard_s_reason(
    rose: Rose, message: object, expected: object
) -> None:
    pair = joined()
    got = [apdu.message for apdu in answers(pair.agent, rose, message) if isinstance(apdu, Prst)]
    assert got == ([] if expected is None else [expected])


def test_single_attributes_are_returned_if_only_those_are_asked_for() -> None:
    pair = joined()
    (answer,) = answers(pair.agent, Rose.ROIV_GET, Get(attributes=(Attr.SYS_ID, Attr.PM_STORE_CAPAB)))
    assert isinstance(answer, Prst)
    assert isinstance(answer.message, GetResult)
    assert [each.id for each in answer.message.attributes] == [Attr.SYS_ID]


# Manager-initiated reports


def test_a_single_response_comes_inside_the_answer() -> None:
    agent = Agent(profile(data_req_init_manager_count=1))
    agent.snapshot = ScanReport(
        event_type=Noti.SCAN_REPORT_FIXED, handle=0, data_req_id=0xF000, number=0, scans=oximeter_scan()
    )
    pair = Joined(agent, Manager(MANAGER_ID))
    pair.connect()
    mode = DataReqMode.START_STOP | DataReqMode.SCOPE_ALL | DataReqMode.MODE_SINGLE_RSP
    pair.manager.request_data(DataRequest(data_req_id=7, mode=mode), NOW)
    pair.run()
    assert [event.result for event in only(DataRequested, pair.of_manager)] == [0]
    assert [str(m.value) for m in pair.measurements()] == ["96.5", "63.5"]
    assert [event.report.data_req_id for event in only(Reported, pair.of_manager)] == [7], "the request's"


def test_an_agent_that_takes_no_requests_says_so() -> None:
    pair = joined()
    pair.manager.request_data(DataRequest(data_req_id=7, mode=DataReqMode.START_STOP), NOW)
    pair.run()
    assert [event.result for event in only(DataRequested, pair.of_manager)] == [16]
    assert only(DataRequested, pair.of_agent) == []


# Scanners


def scanner(handle: int, object_class: ObjectClass) -> ConfigObject:
    maps = tuple(HandleMap(handle=each, value_map=(BASIC,)) for each in (1, 10))
    return ConfigObject(
        object_class=object_class,
        handle=handle,
        attributes=(
            attribute(Attr.OP_STAT, b"\0\0"),
            attribute(Attr.CONFIRM_MODE, b"\0\1"),
            attribute(Attr.SCAN_HANDLE_ATTR_VAL_MAP, encoded(HANDLE_MAPS, maps)),
        ),
    )


SCANNING = Configuration(
    config_id=0x4000,
    objects=(
        *OXIMETER_0190.objects,
        scanner(20, ObjectClass.SCAN_CFG_EPI),
        scanner(21, ObjectClass.SCAN_CFG_PERI),
    ),
)
VARIABLE = PersonScan(
    person=None,
    variable=tuple(
        ObservationVar(handle=handle, attributes=(attribute(Attr.NU_VAL_OBS_BASIC, bytes.fromhex(raw)),))
        for handle, raw in ((1, "f3c5"), (10, "f27b"))
    ),
)
KINDS = {
    Noti.UNBUF_SCAN_REPORT_GROUPED: PersonScan(person=None, grouped=(bytes.fromhex("f3c5f27b"),)),
    Noti.BUF_SCAN_REPORT_GROUPED: PersonScan(person=None, grouped=(bytes.fromhex("f3c5f27b"),) * 3),
    Noti.UNBUF_SCAN_REPORT_MP_GROUPED: PersonScan(person=2, grouped=(bytes.fromhex("f3c5f27b"),)),
    Noti.BUF_SCAN_REPORT_MP_GROUPED: PersonScan(person=2, grouped=(bytes.fromhex("f3c5f27b"),)),
    Noti.UNBUF_SCAN_REPORT_FIXED: replace(oximeter_scan()[0], person=None),
    Noti.BUF_SCAN_REPORT_FIXED: replace(oximeter_scan()[0], person=None),
    Noti.UNBUF_SCAN_REPORT_MP_FIXED: replace(oximeter_scan()[0], person=2),
    Noti.BUF_SCAN_REPORT_MP_FIXED: replace(oximeter_scan()[0], person=2),
    Noti.SCAN_REPORT_FIXED: oximeter_scan()[0],
    Noti.SCAN_REPORT_MP_FIXED: replace(oximeter_scan()[0], person=2),
    Noti.SCAN_REPORT_VAR: VARIABLE,
    Noti.SCAN_REPORT_MP_VAR: replace(VARIABLE, person=2),
    Noti.UNBUF_SCAN_REPORT_VAR: VARIABLE,
    Noti.BUF_SCAN_REPORT_VAR: VARIABLE,
    Noti.UNBUF_SCAN_REPORT_MP_VAR: replace(VARIABLE, person=2),
    Noti.BUF_SCAN_REPORT_MP_VAR: replace(VARIABLE, person=2),
}


def test_scanners_are_enabled_as_soon_as_the_association_stands() -> None:
    pair = joined(SCANNING)
    assert {20, 21} == pair.agent.enabled
    expected = [ScannerSwitched(handle=20, enabled=True), ScannerSwitched(handle=21, enabled=True)]
    assert expected == only(ScannerSwitched, pair.of_manager)
    pair.manager.switch_scanner(21, NOW, enabled=False)
    pair.run()
    assert {20} == pair.agent.enabled
    quiet = joined(SCANNING, enable_scanners=False)
    assert set() == quiet.agent.enabled


@pytest.mark.parametrize("event_type", KINDS)
@pytest.mark.parametrize("confirmed", [True, False])
def test_every_kind_of_report_is_understood(event_type: Noti, confirmed: bool) -> None:
    pair = joined(SCANNING)
    handle = 20 if "BUF" in event_type.name else 0
    scan = KINDS[event_type]
    pair.agent.report((scan,), NOW, event_type=event_type, handle=handle, confirmed=confirmed)
    pair.run()
    count = max(1, len(scan.grouped))
    assert ["96.5", "63.5"] * count == [str(m.value) for m in pair.measurements()]
    assert {2 if "MP" in event_type.name else None} == {m.user for m in pair.measurements()}
    assert [confirmed] == [event.confirmed for event in only(Reported, pair.of_manager)]


def test_a_grouped_report_that_does_not_fit_its_map_is_kept_and_not_guessed_at() -> None:
    pair = joined(SCANNING)
    scan = PersonScan(person=None, grouped=(b"\xf3\xc5\xf2",))
    pair.agent.report((scan,), NOW, event_type=Noti.UNBUF_SCAN_REPORT_GROUPED, handle=20)
    pair.run()
    (reported,) = only(Reported, pair.of_manager)
    assert reported.fault is not None


def test_a_scanner_s_other_attributes_cannot_be_set() -> None:
    pair = joined(SCANNING)
    wrong = Set(handle=20, modifications=(Modification(attribute=attribute(Attr.SCAN_REP_PD, bytes(4))),))
    (answer,) = answers(pair.agent, Rose.ROIV_CONFIRMED_SET, wrong)
    assert Prst(invoke_id=5, rose=Rose.ROER, message=Error(error=24)) == answer


# PM-store

ENTRY_MAP = SegmentEntryMap(
    header=0x8000,
    elements=(
        SegmentElement(
            object_class=ObjectClass.METRIC_NU,
            type=type_of(150456),
            handle=1,
            value_map=(MapEntry(attribute=Attr.NU_VAL_OBS_BASIC, size=2),),
        ),
        SegmentElement(
            object_class=ObjectClass.METRIC_NU,
            type=type_of(149530),
            handle=10,
            value_map=(MapEntry(attribute=Attr.NU_VAL_OBS_BASIC, size=2),),
        ),
    ),
)
STORING = Configuration(
    config_id=0x4000,
    objects=(
        *OXIMETER_0190.objects,
        ConfigObject(
            object_class=ObjectClass.PMSTORE,
            handle=30,
            attributes=(
                attribute(Attr.PM_STORE_CAPAB, b"\x81\x40"),
                attribute(Attr.NUM_SEG, b"\0\2"),
                attribute(Attr.CLEAR_TIMEOUT, (5 * 8000).to_bytes(4, "big")),
            ),
        ),
    ),
)
ENTRIES = MAX_PORTION // 12 * 2 + 5


def storing() -> Joined:
    store = Store(handle=30)
    entries = tuple(STAMP + (90 + index % 10).to_bytes(2, "big") + b"\x00\x48" for index in range(ENTRIES))
    store.add(
        Segment(
            instance=1,
            entry_map=ENTRY_MAP,
            entries=entries,
            transfer_ticks=20 * 8000,
            attributes=(attribute(Attr.PM_SEG_PERSON_ID, b"\0\2"),),
        )
    )
    store.add(Segment(instance=2, entry_map=ENTRY_MAP, entries=()))
    pair = Joined(Agent(profile(STORING), stores=(store,)), Manager(MANAGER_ID))
    pair.connect()
    return pair


def test_stored_measurements_are_listed_transferred_and_cleared_only_when_durable() -> None:
    pair = storing()
    pair.manager.read_store(30, NOW)
    pair.manager.list_segments(30, NOW)
    pair.run()
    (listed,) = only(Segments, pair.of_manager)
    assert [segment.instance for segment in listed.segments] == [1, 2]
    with pytest.raises(SessionError):
        pair.manager.clear(30, 1, NOW)
    pair.manager.transfer(30, 1, NOW)
    pair.run()
    portions = only(SegmentData, pair.of_manager)
    assert [portion.descr.entry_index for portion in portions] == [0, 341, 682]
    assert [portion.fault for portion in portions] == [None] * 3
    assert [listed.segments[0]] * 3 == [portion.segment for portion in portions]
    measured = [m for portion in portions for m in portion.measurements]
    assert len(measured) == 2 * ENTRIES
    assert [str(m.value) for m in measured[:4]] == ["90", "72", "91", "72"]
    assert {("2026-11-21T19:33:46.5", 2)} == {
        (m.device_time.isoformat(), m.user) for m in measured if m.device_time is not None
    }
    assert [SegmentTransferred(handle=30, instance=1)] == only(SegmentTransferred, pair.of_manager)
    assert [SegmentTransferred(handle=30, instance=1)] == only(SegmentTransferred, pair.of_agent)
    pair.manager.clear(30, 1, NOW)
    pair.run()
    assert [SegmentCleared(handle=30, instance=1)] == only(SegmentCleared, pair.of_manager)
    assert {2} == set(pair.agent.stores[30].segments)
    with pytest.raises(SessionError):
        pair.manager.clear(30, 1, NOW)


def test_the_next_entries_come_only_when_those_before_are_durable() -> None:
    pair = storing()
    pair.durable = False
    pair.manager.list_segments(30, NOW)
    pair.run()
    pair.manager.transfer(30, 1, NOW)
    pair.run()
    (first,) = only(SegmentData, pair.of_manager)
    assert pair.manager.deadline() is None, "now the caller's disk is awaited"
    pair.of_manager += pair.manager.confirm(first, NOW)
    pair.run()
    assert len(only(SegmentData, pair.of_manager)) == 2
    with pytest.raises(SessionError):
        pair.manager.clear(30, 1, NOW)


def test_an_agent_that_is_told_nothing_of_itself_says_who_it_is() -> None:
    """LibreSoft's manager takes the four attributes from the answer without asking whether they are there."""
    pair = Joined(Agent(AgentProfile(system_id=AGENT_ID, configurations=(OXIMETER_0190,))), Manager(MANAGER_ID))
    pair.connect()
    (read,) = only(AttributesRead, pair.of_manager)
    assert {each: raw.hex() for each, raw in read.attributes.items()} == {
        Attr.SYS_TYPE_SPEC_LIST: "00000000",
        Attr.ID_MODEL: "00000000",
        Attr.SYS_ID: "0008" + AGENT_ID.hex(),
        Attr.DEV_CONFIG_ID: "0190",
    }


def test_a_segment_is_listed_with_what_independent_managers_demand_and_nothing_that_stops_them() -> None:
    """antidote's manager ends its listing at an attribute that it does not know; LibreSoft's wants these four."""
    pair = storing()
    pair.manager.list_segments(30, NOW)
    pair.run()
    (listed,) = only(Segments, pair.of_manager)
    demanded = {Attr.ID_INSTNO, Attr.PM_SEG_MAP, Attr.OP_STAT, Attr.TRANSFER_TIMEOUT}
    for segment in listed.segments:
        told = {each.id for each in segment.attributes}
        assert demanded <= told <= demanded | {Attr.SEG_USAGE_CNT, Attr.PM_SEG_PERSON_ID}
    pair.of_manager.clear()
    pair.manager.read_store(30, NOW)
    pair.run()
    (read,) = only(AttributesRead, pair.of_manager)
    assert (read.attributes[Attr.NUM_SEG], Attr.TRANSFER_TIMEOUT in read.attributes) == (b"\0\2", False)


def test_a_transfer_that_stops_is_an_abort_after_the_segment_s_own_time() -> None:
    pair = storing()
    pair.manager.list_segments(30, NOW)
    pair.run()
    pair.manager.transfer(30, 1, NOW)
    request = pair.manager.to_send()
    pair.agent.receive(request, NOW)
    size = 4 + int.from_bytes((sent := pair.agent.to_send())[2:4], "big")
    events = pair.manager.receive(sent[:size], NOW)
    assert [TransferStarted(handle=30, instance=1, result=0)] == events
    assert pair.manager.deadline() == NOW + 20
    (aborted,) = only(Aborted, pair.manager.expire(NOW + 20))
    assert (aborted.reason, aborted.why) == (2, "a segment's data stopped")


@pytest.mark.parametrize(("instance", "result"), [(2, 3), (9, 1)])
def test_an_empty_or_missing_segment_is_answered_as_such(instance: int, result: int) -> None:
    pair = storing()
    pair.manager.transfer(30, instance, NOW)
    pair.run()
    assert [TransferStarted(handle=30, instance=instance, result=result)] == only(TransferStarted, pair.of_manager)
    if result == 3:
        pair.manager.clear(30, instance, NOW)
        pair.run()
        assert {1} == set(pair.agent.stores[30].segments)


def test_an_action_on_a_store_that_is_none_fails_by_name() -> None:
    pair = joined()
    pair.manager.list_segments(30, NOW)
    pair.run()
    assert [Failed(request="get-segment-info", handle=30, error=1)] == only(Failed, pair.of_manager)


def test_there_is_a_test_for_every_kind_of_report() -> None:
    assert set(REPORT_KINDS) == set(KINDS)


def test_a_segment_with_a_gap_is_not_complete_and_cannot_be_cleared() -> None:
    pair = storing()
    pair.manager.transfer(30, 1, NOW)
    pair.run()
    portions = only(SegmentData, pair.of_manager)
    fresh = storing()
    fresh.manager.transfer(30, 1, NOW)
    fresh.agent.receive(fresh.manager.to_send(), NOW)
    answer = fresh.agent.to_send()
    fresh.manager.receive(answer[: 4 + int.from_bytes(answer[2:4], "big")], NOW)
    for portion in (portions[0], portions[2]):
        (event,) = only(SegmentData, fresh.manager.receive(portion.apdu, NOW))
        fresh.manager.confirm(event, NOW)
    with pytest.raises(SessionError):
        fresh.manager.clear(30, 1, NOW)


def test_nothing_is_confirmed_after_the_manager_asked_for_the_release() -> None:
    pair = joined()
    pair.durable = False
    pair.agent.report(oximeter_scan(), NOW)
    pair.run()
    (reported,) = only(Reported, pair.of_manager)
    pair.manager.release(NOW)
    pair.manager.to_send()
    assert pair.manager.confirm(reported, NOW) == []
    assert pair.manager.to_send() == b""


def test_segments_that_were_not_listed_are_kept_and_not_guessed_at() -> None:
    pair = storing()
    pair.manager.transfer(30, 1, NOW)
    pair.run()
    assert ["not listed" in str(each.fault) for each in only(SegmentData, pair.of_manager)] == [True] * 3
    assert [SegmentTransferred(handle=30, instance=1)] == only(SegmentTransferred, pair.of_manager)
