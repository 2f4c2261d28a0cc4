"""The manager: whom it takes, how long it waits, what it lets pass, and what it never passes on."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.wire.x73.support import (
    AGENT_ID,
    CLOCK,
    MANAGER_ID,
    NOW,
    SESSION,
    STAMP,
    Joined,
    apdus,
    joined,
    only,
    oximeter_scan,
    profile,
)
from wire.measurement import MeasurementStatus
from wire.x73.agent import Agent
from wire.x73.apdu import (
    PROTOCOL_20601,
    SYSTEM_TYPE_AGENT,
    Aare,
    Aarq,
    Abrt,
    Apdu,
    AssociateResult,
    Attribute,
    DataProto,
    Error,
    EventReport,
    GetResult,
    PhdAssociation,
    Prst,
    Reject,
    Rose,
    decode_apdu,
    encode_apdu,
)
from wire.x73.codes import Attr, FunctionalUnits, Noti
from wire.x73.dim import Configuration, attribute
from wire.x73.events import (
    Aborted,
    Associated,
    AttributesRead,
    ConfigRefused,
    Failed,
    Happening,
    Malformed,
    Rejected,
    Reported,
    TimeSet,
    Warned,
)
from wire.x73.manager import MAX_UNCONFIRMED, Manager
from wire.x73.mder import Tolerance
from wire.x73.mds import mds_attributes
from wire.x73.reports import ConfigReport, ObservationFixed, ObservationVar, ReportFixed, ReportVar
from wire.x73.session import SessionError, Waits
from wire.x73.specializations import OXIMETER_0190, SCALE_05DC, SPECIALIZATIONS
from wire.x73.states import State

OFFER = PhdAssociation(system_type=SYSTEM_TYPE_AGENT, system_id=AGENT_ID, config_id=0x0190)
EXTENDED = SPECIALIZATIONS[10404].extended


def request(offer: PhdAssociation = OFFER, *, protocol: int = PROTOCOL_20601, version: int = 0x8000_0000) -> bytes:
    return encode_apdu(Aarq(assoc_version=version, protocols=(DataProto(id=protocol, info=offer.encode()),)))


def operating(**more: object) -> Manager:
    """A manager with the measured agent, its MDS read."""
    manager = Manager(MANAGER_ID, **more)  # type: ignore[arg-type]
    manager.connected(NOW)
    manager.receive(SESSION["aarq"] + SESSION["mds"], NOW)
    manager.to_send()
    return manager


def report(event_type: int, info: bytes, *, confirmed: bool = True, handle: int = 0, invoke_id: int = 9) -> bytes:
    rose = Rose.ROIV_CONFIRMED_EVENT_REPORT if confirmed else Rose.ROIV_EVENT_REPORT
    message = EventReport(handle=handle, event_type=event_type, info=info)
    return encode_apdu(Prst(invoke_id=invoke_id, rose=rose, message=message))


def fixed_info(spo2: bytes = b"\xf3\xc5") -> bytes:
    scan = ObservationFixed(handle=1, data=spo2 + STAMP)
    return ReportFixed(data_req_id=0xF000, number=0, observations=(scan,)).encode()


@pytest.mark.parametrize(
    ("aarq", "result"),
    [
        (request(version=0x4000_0000), AssociateResult.REJECTED_UNSUPPORTED_ASSOC_VERSION),
        (request(protocol=0xFFFF), AssociateResult.REJECTED_NO_COMMON_PROTOCOL),
        (request(replace(OFFER, protocol_version=0)), AssociateResult.REJECTED_NO_COMMON_PARAMETER),
        (request(replace(OFFER, encoding_rules=0x2000)), AssociateResult.REJECTED_NO_COMMON_PARAMETER),
        (request(replace(OFFER, nomenclature_version=0)), AssociateResult.REJECTED_NO_COMMON_PARAMETER),
        (request(replace(OFFER, system_type=0x8000_0000)), AssociateResult.REJECTED_PERMANENT),
        (request(replace(OFFER, system_id=b"short")), AssociateResult.REJECTED_PERMANENT),
        (request(replace(OFFER, config_id=0)), AssociateResult.REJECTED_PERMANENT),
        (request(replace(OFFER, config_id=0x8000)), AssociateResult.REJECTED_PERMANENT),
    ],
)
def test_an_agent_that_has_nothing_in_common_is_told_why(aarq: bytes, result: AssociateResult) -> None:
    manager = Manager(MANAGER_ID)
    manager.connected(NOW)
    (rejected,) = only(Rejected, manager.receive(aarq, NOW))
    (aare,) = apdus(manager.to_send())
    assert isinstance(aare, Aare)
    assert (result, result, 0) == (rejected.result, aare.result, aare.protocol.id)
    assert (manager.state, manager.deadline()) == (State.UNASSOCIATED, None)


def test_encodings_besides_mder_are_answered_with_mder() -> None:
    manager = Manager(MANAGER_ID)
    manager.connected(NOW)
    manager.receive(request(replace(OFFER, encoding_rules=0xE000)), NOW)
    aare = apdus(manager.to_send())[0]
    assert isinstance(aare, Aare)
    assert PhdAssociation.decode(aare.protocol.info).encoding_rules == 0x8000


@pytest.mark.parametrize(
    ("offered", "answered"),
    [(0x8000_0000, 0x8000_0000), (0xE000_0000, 0x8000_0000), (0x6000_0000, 0x4000_0000), (0x2000_0000, 0x2000_0000)],
)
def test_of_the_protocol_versions_that_an_agent_offers_one_is_answered(offered: int, answered: int) -> None:
    manager = Manager(MANAGER_ID)
    manager.connected(NOW)
    manager.receive(request(replace(OFFER, protocol_version=offered)), NOW)
    aare = apdus(manager.to_send())[0]
    assert isinstance(aare, Aare)
    assert PhdAssociation.decode(aare.protocol.info).protocol_version == answered


def test_a_device_that_is_not_the_citizen_s_is_refused() -> None:
    def admit(peer: PhdAssociation) -> AssociateResult | None:
        return None if peer.system_id == MANAGER_ID else AssociateResult.REJECTED_UNAUTHORIZED

    manager = Manager(MANAGER_ID, admit=admit)
    manager.connected(NOW)
    (rejected,) = only(Rejected, manager.receive(SESSION["aarq"], NOW))
    assert rejected.result == AssociateResult.REJECTED_UNAUTHORIZED


def test_an_association_request_with_a_malformed_offer_is_aborted() -> None:
    manager = Manager(MANAGER_ID)
    manager.connected(NOW)
    bad = Aarq(protocols=(DataProto(id=PROTOCOL_20601, info=OFFER.encode()[:-1]),))
    assert len(only(Aborted, manager.receive(encode_apdu(bad), NOW))) == 1
    assert apdus(manager.to_send()) == [Abrt(reason=0)]


def test_without_a_configuration_the_manager_aborts_after_ten_seconds_and_says_so() -> None:
    manager = Manager(MANAGER_ID)
    manager.connected(NOW)
    manager.receive(request(replace(OFFER, config_id=0x4000)), NOW)
    manager.to_send()
    assert manager.deadline() == NOW + 10
    assert manager.expire(NOW + 9.9) == []
    (aborted,) = only(Aborted, manager.expire(NOW + 10))
    assert aborted.reason == 3
    assert apdus(manager.to_send()) == [Abrt(reason=3)]
    assert (manager.state, manager.deadline()) == (State.UNASSOCIATED, None)


@pytest.mark.parametrize("ask", ["mds", "time", "release"])
def test_an_answer_that_does_not_come_in_three_seconds_is_an_abort_with_its_reason(ask: str) -> None:
    manager = operating()
    if ask == "mds":
        manager.read_mds(NOW)
    elif ask == "time":
        manager.set_time(CLOCK, NOW)
    else:
        manager.release(NOW)
    manager.to_send()
    assert manager.deadline() == NOW + 3
    (aborted,) = only(Aborted, manager.expire(NOW + 3))
    assert (aborted.reason, aborted.by_peer) == (2, False)
    assert apdus(manager.to_send()) == [Abrt(reason=2)]


def test_requests_are_sent_one_at_a_time_and_in_order() -> None:
    manager = operating()
    manager.set_time(CLOCK, NOW)
    manager.read_mds(NOW)
    (first,) = apdus(manager.to_send())
    assert isinstance(first, Prst)
    assert Rose.ROIV_CONFIRMED_ACTION is first.rose
    refusal = Prst(invoke_id=first.invoke_id, rose=Rose.ROER, message=Error(error=9))
    assert only(Failed, manager.receive(encode_apdu(refusal), NOW)) == [Failed(request="set-time", handle=0, error=9)]
    (second,) = apdus(manager.to_send())
    assert isinstance(second, Prst)
    assert Rose.ROIV_GET is second.rose


def numbered(raw: bytes, invoke_id: int) -> bytes:
    return raw[:6] + invoke_id.to_bytes(2, "big") + raw[8:]


def test_an_answer_that_nobody_asked_for_is_ignored_with_a_warning() -> None:
    manager = operating()
    (warned,) = manager.receive(SESSION["mds"], NOW)
    assert isinstance(warned, Warned)
    assert warned.tolerated.tolerance is Tolerance.INVOKE_ID
    assert (manager.to_send(), manager.state) == (b"", State.OPERATING)


def test_an_answer_with_another_invoke_id_is_known_by_its_kind_and_object() -> None:
    manager = operating()
    manager.read_mds(NOW)
    manager.read_store(0x20, NOW)
    other = GetResult(handle=0x20, attributes=())
    stray = encode_apdu(Prst(invoke_id=77, rose=Rose.RORS_GET, message=other))
    assert only(AttributesRead, manager.receive(stray, NOW)) == []
    happened = manager.receive(numbered(SESSION["mds"], 77), NOW)
    assert [each.handle for each in only(AttributesRead, happened)] == [0]
    assert only(Warned, happened)[0].tolerated.tolerance is Tolerance.INVOKE_ID


def test_a_request_outside_the_operating_state_is_the_caller_s_error() -> None:
    manager = Manager(MANAGER_ID)
    with pytest.raises(SessionError):
        manager.read_mds(NOW)
    with pytest.raises(SessionError):
        manager.release(NOW)
    with pytest.raises(SessionError):
        manager.receive(b"", NOW)


def test_a_report_is_confirmed_once_and_only_while_the_association_stands() -> None:
    manager = operating()
    (reported,) = only(Reported, manager.receive(report(Noti.SCAN_REPORT_FIXED, fixed_info()), NOW))
    manager.confirm(reported, NOW)
    assert manager.to_send() != b""
    manager.confirm(reported, NOW)
    assert manager.to_send() == b""
    (reported,) = only(Reported, manager.receive(report(Noti.SCAN_REPORT_FIXED, fixed_info()), NOW))
    manager.receive(SESSION["rlrq"], NOW)
    manager.to_send()
    assert manager.confirm(reported, NOW) == []
    assert manager.to_send() == b""


def test_an_agent_that_sends_without_waiting_is_stopped_before_memory_is() -> None:
    manager = operating()
    events: list[Happening] = []
    for invoke_id in range(MAX_UNCONFIRMED + 1):
        events += manager.receive(report(Noti.SCAN_REPORT_FIXED, fixed_info(), invoke_id=invoke_id), NOW)
    (aborted,) = only(Aborted, events)
    assert aborted.reason == 1


# What is let pass, each with its name


def test_bytes_after_the_event_info_pass_with_a_warning() -> None:
    events = operating().receive(report(Noti.SCAN_REPORT_FIXED, fixed_info() + b"\0\0"), NOW)
    assert [each.tolerated.tolerance for each in only(Warned, events)] == [Tolerance.TRAILING_EVENT_INFO]
    assert [str(m.value) for each in only(Reported, events) for m in each.measurements] == ["96.5"]


def variable(handle: int, *attributes: Attribute) -> bytes:
    return ReportVar(
        data_req_id=0xF000, number=0, observations=(ObservationVar(handle=handle, attributes=attributes),)
    ).encode()


def test_an_undeclared_handle_passes_if_the_report_says_what_it_is() -> None:
    told = (
        attribute(Attr.ID_TYPE, bytes.fromhex("00024a14")),
        attribute(Attr.NU_VAL_OBS_BASIC, bytes.fromhex("0048")),
        attribute(Attr.UNIT_CODE, bytes.fromhex("0aa0")),
        attribute(Attr.CONFIRM_TIMEOUT, b"whatever"),
    )
    events = operating().receive(report(Noti.SCAN_REPORT_VAR, variable(77, *told)), NOW)
    assert [each.tolerated.tolerance for each in only(Warned, events)] == [Tolerance.UNDECLARED_HANDLE]
    assert [(m.code, str(m.value), m.unit) for each in only(Reported, events) for m in each.measurements] == [
        (0x24A14, "72", "/min")
    ]
    events = operating().receive(report(Noti.SCAN_REPORT_VAR, variable(77, *told[1:])), NOW)
    assert [each.tolerated.tolerance for each in only(Warned, events)] == [Tolerance.UNDECLARED_HANDLE]
    assert [each.measurements for each in only(Reported, events)] == [()]


def test_an_undeclared_handle_in_a_fixed_report_cannot_be_understood_and_the_bytes_are_kept() -> None:
    info = ReportFixed(data_req_id=0xF000, number=0, observations=(ObservationFixed(handle=77, data=b"\0\0"),)).encode()
    raw = report(Noti.SCAN_REPORT_FIXED, info)
    manager = operating()
    (reported,) = only(Reported, manager.receive(raw, NOW))
    assert reported.fault is not None
    assert (raw, ()) == (reported.apdu, reported.measurements)
    manager.confirm(reported, NOW)
    assert manager.to_send() != b"", "evidence that is durable is confirmed, understood or not"


def test_a_configuration_sent_again_is_answered_again_with_a_warning() -> None:
    pair = joined(EXTENDED)
    again = report(Noti.CONFIG, EXTENDED.encode(), invoke_id=42)
    events = pair.manager.receive(again, NOW)
    assert [each.tolerated.tolerance for each in only(Warned, events)] == [Tolerance.CONFIG_AGAIN]
    (answer,) = apdus(pair.manager.to_send())
    assert isinstance(answer, Prst)
    assert (answer.invoke_id, answer.rose) == (42, Rose.RORS_CONFIRMED_EVENT_REPORT)
    assert bytes.fromhex("40000000") == answer.message.encode()[-4:]
    other = Configuration(config_id=0x4000, objects=OXIMETER_0190.objects)
    pair.manager.receive(report(Noti.CONFIG, other.encode()), NOW)
    (answer,) = apdus(pair.manager.to_send())
    assert bytes.fromhex("40000001") == answer.message.encode()[-4:]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("configuration", "handle", "data", "value"),
    [
        (0x0190, 1, "0062", "98"),
        (0x0191, 10, "ff0002d6", "72.6"),
        (0x02BC, 2, "f2d5", "72.5"),
        (0x05DC, 1, "f315" + STAMP.hex(), "78.9"),
        (0x0320, 1, "fe000e42" + STAMP.hex(), "36.50"),
        (0x06A4, 1, "fd000f3c" + STAMP.hex(), "3.900"),
        (0x05DC, 3, "ff0000f5" + STAMP.hex(), "24.5"),
    ],
)
def test_layouts_that_agents_in_the_field_use_pass_with_a_warning(
    configuration: int, handle: int, data: str, value: str
) -> None:
    manager = Manager(MANAGER_ID)
    manager.connected(NOW)
    manager.receive(request(replace(OFFER, config_id=configuration)), NOW)
    info = ReportFixed(
        data_req_id=0xF000,
        number=0,
        observations=(ObservationFixed(handle=handle, data=bytes.fromhex(data)),),
    ).encode()
    events = manager.receive(report(Noti.SCAN_REPORT_FIXED, info), NOW)
    assert [value] == [str(m.value) for each in only(Reported, events) for m in each.measurements]
    expected = Tolerance.UNDECLARED_HANDLE if handle == 3 else Tolerance.VALUE_MAP_VARIANT
    assert [expected] == [each.tolerated.tolerance for each in only(Warned, events)]


# What is not


def test_a_fault_says_which_observation_has_it_and_nothing_of_its_value() -> None:
    manager = operating()
    seen = (ObservationFixed(handle=1, data=b"\xf3\xc5" + STAMP), ObservationFixed(handle=10, data=b"\xf2\x7b\0"))
    info = ReportFixed(data_req_id=0xF000, number=0, observations=seen).encode()
    (reported,) = only(Reported, manager.receive(report(Noti.SCAN_REPORT_FIXED, info), NOW))
    assert (reported.measurements, reported.confirmed) == ((), True), "whole or not at all; its bytes are kept"
    assert reported.fault is not None
    assert reported.fault.message == "observation 2, of object 10: an observation of object 10 has 3 bytes, its map 10"
    told = (Attribute(id=Attr.NU_VAL_OBS_BASIC, value=b"\x01"),)
    info = ReportVar(data_req_id=0xF000, number=0, observations=(ObservationVar(handle=1, attributes=told),)).encode()
    (reported,) = only(Reported, manager.receive(report(Noti.SCAN_REPORT_VAR, info), NOW))
    assert reported.fault is not None
    assert reported.fault.message == "observation 1, of object 1: an SFLOAT of 1 bytes"


def test_a_time_that_no_clock_shows_costs_a_reading_its_time_and_not_its_value() -> None:
    manager = operating()
    stamp = bytes.fromhex("200906120a050000")
    told = (
        Attribute(id=Attr.NU_VAL_OBS_BASIC, value=b"\0\x62"),
        Attribute(id=Attr.TIME_STAMP_ABS, value=stamp),
    )
    fixed = ReportFixed(
        data_req_id=0xF000, number=0, observations=(ObservationFixed(handle=1, data=b"\0\x62" + stamp),)
    )
    variable = ReportVar(data_req_id=0xF000, number=0, observations=(ObservationVar(handle=1, attributes=told),))
    for event_type, info in ((Noti.SCAN_REPORT_FIXED, fixed.encode()), (Noti.SCAN_REPORT_VAR, variable.encode())):
        events = manager.receive(report(event_type, info), NOW)
        (reported,) = only(Reported, events)
        assert [(str(m.value), m.clock_set) for m in reported.measurements] == [("98", False)]
        assert [not m.device_time.known for m in reported.measurements if m.device_time is not None] == [True]
        (warned,) = only(Warned, events)
        assert (warned.tolerated.tolerance, warned.tolerated.detail) == (
            Tolerance.TIME_STAMP,
            "a time that is not BCD",
        )


@pytest.mark.parametrize(
    ("event_type", "info", "problem"),
    [
        (Noti.SCAN_REPORT_FIXED, fixed_info()[:-1], 2),
        (Noti.SCAN_REPORT_FIXED, b"", 2),
        (Noti.SEGMENT_DATA, b"\0", 2),
        (0x0D40, b"", 101),
    ],
)
@pytest.mark.parametrize("confirmed", [True, False])
def test_a_malformed_report_is_rejected_if_it_waits_and_is_never_silent(
    event_type: int, info: bytes, problem: int, confirmed: bool
) -> None:
    manager = operating()
    raw = report(event_type, info, confirmed=confirmed)
    (malformed,) = only(Malformed, manager.receive(raw, NOW))
    assert raw == malformed.apdu
    expected: list[Apdu] = [Prst(invoke_id=9, rose=Rose.RORJ, message=Reject(problem=problem))] if confirmed else []
    assert expected == apdus(manager.to_send())
    assert State.OPERATING is manager.state


@pytest.mark.parametrize("name", ["mds", "report", "get"])
def test_a_presentation_apdu_without_an_association_is_aborted(name: str) -> None:
    manager = Manager(MANAGER_ID)
    manager.connected(NOW)
    assert len(only(Aborted, manager.receive(SESSION[name], NOW))) == 1
    assert apdus(manager.to_send()) == [Abrt(reason=0)]


def test_a_report_before_the_configuration_is_refused_and_the_configuration_still_awaited() -> None:
    manager = Manager(MANAGER_ID)
    manager.connected(NOW)
    manager.receive(request(replace(OFFER, config_id=0x4000)), NOW)
    manager.to_send()
    manager.receive(report(Noti.SCAN_REPORT_FIXED, fixed_info()), NOW)
    (answer,) = apdus(manager.to_send())
    assert Prst(invoke_id=9, rose=Rose.ROER, message=Error(error=1)) == answer
    assert (manager.state, manager.deadline()) == (State.WAITING_FOR_CONFIG, NOW + 10)


@pytest.mark.parametrize(
    "objects",
    [
        (replace(OXIMETER_0190.objects[0], handle=0),),
        OXIMETER_0190.objects[:1] * 2,
        (replace(OXIMETER_0190.objects[0], attributes=()),),
        (replace(OXIMETER_0190.objects[0], attributes=(attribute(Attr.ID_TYPE, b"\0\2\3"),)),),
        (
            replace(
                OXIMETER_0190.objects[0],
                attributes=(*OXIMETER_0190.objects[0].attributes[:-1], attribute(Attr.ATTRIBUTE_VAL_MAP, b"\0\1\0\0")),
            ),
        ),
    ],
)
def test_a_configuration_with_a_fault_is_refused_and_another_awaited(objects: tuple[object, ...]) -> None:
    manager = Manager(MANAGER_ID)
    manager.connected(NOW)
    manager.receive(request(replace(OFFER, config_id=0x4000)), NOW)
    manager.to_send()
    bad = ConfigReport(config_id=0x4000, objects=objects).encode()  # type: ignore[arg-type]
    (refused,) = only(ConfigRefused, manager.receive(report(Noti.CONFIG, bad), NOW + 4))
    assert refused.fault is not None
    assert (manager.state, manager.deadline()) == (State.WAITING_FOR_CONFIG, NOW + 14)
    (answer,) = apdus(manager.to_send())
    assert bytes.fromhex("40000001") == answer.message.encode()[-4:]  # type: ignore[union-attr]
    manager.receive(report(Noti.CONFIG, EXTENDED.encode()), NOW + 5)
    assert State.OPERATING is manager.state


# Test associations and test data


def test_nothing_in_a_test_association_is_patient_data() -> None:
    pair = Joined(Agent(profile(test=True)), Manager(MANAGER_ID))
    pair.connect()
    assert [event.test for event in only(Associated, pair.of_manager)] == [True]
    assert [event.test for event in only(Associated, pair.of_agent)] == [True]
    aare = decode_apdu(pair.said[1][1][:48])
    assert isinstance(aare, Aare)
    assert PhdAssociation.decode(aare.protocol.info).functional_units == FunctionalUnits.CREATE_TEST_ASSOC
    pair.agent.report(oximeter_scan(), NOW)
    pair.run()
    (reported,) = only(Reported, pair.of_manager)
    assert (reported.measurements, len(reported.test_measurements)) == ((), 2)


@pytest.mark.parametrize(
    ("word", "status"), [("0800", MeasurementStatus.TEST_DATA), ("0400", MeasurementStatus.DEMO_DATA)]
)
def test_test_and_demonstration_data_are_set_apart_in_any_association(word: str, status: MeasurementStatus) -> None:
    told = (
        attribute(Attr.NU_VAL_OBS_BASIC, bytes.fromhex("0061")),
        attribute(Attr.MSMT_STAT, bytes.fromhex(word)),
    )
    (reported,) = only(Reported, operating().receive(report(Noti.SCAN_REPORT_VAR, variable(1, *told)), NOW))
    assert ((), [(status,)]) == (reported.measurements, [m.status for m in reported.test_measurements])


# The clock


def test_an_agent_without_a_time_says_that_it_wants_one_and_gets_it() -> None:
    unset = mds_attributes(SPECIALIZATIONS[10415], system_id=AGENT_ID, config_id=0x05DC)
    agent = Agent(replace(profile(SCALE_05DC), mds=unset))
    pair = Joined(agent, Manager(MANAGER_ID))
    pair.connect()
    (read,) = only(AttributesRead, pair.of_manager)
    assert (read.wants_time, read.settable, read.attributes[Attr.TIME_ABS]) == (True, True, bytes(8))
    pair.of_manager += pair.manager.set_time(CLOCK, NOW)
    pair.run()
    assert [CLOCK.isoformat()[:-5]] == [e.time.isoformat() for e in only(TimeSet, pair.of_agent) if e.time]
    assert len(only(TimeSet, pair.of_manager)) == 1
    assert len(only(AttributesRead, pair.of_manager)) == 2, "relative times are read beside the new clock"


def test_waits_are_the_caller_s_to_change() -> None:
    manager = operating(waits=Waits(response_s=30))
    manager.read_mds(NOW)
    assert manager.deadline() == NOW + 30


@pytest.mark.parametrize("tolerance", Tolerance)
def test_whatever_is_tolerated_has_a_test_that_names_it(tolerance: Tolerance) -> None:
    tests = [each.read_text("utf-8") for each in Path(__file__).parent.glob("test_*.py")]
    assert any(f"Tolerance.{tolerance.name}" in text for text in tests)
