"""20601 agents and serial devices through the whole bridge: signed batch in, Observations, receipt or quarantine out."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bridge import admin
from bridge.assignment import Assignment
from bridge.plan import NO_PATIENT
from tests import phd
from tests.bridge.fake_fhir import FakeFhir
from tests.bridge.hub import ADDRESS, START_US, Hub, clock
from tests.bridge.rig import bridge
from tests.wire.agents import (
    context,
    event_report,
    fixed,
    full_mds,
    octets,
    report,
    segment_data,
    segment_info,
    with_invoke_id,
)
from tests.wire.x73.support import AGENT_ID, SESSION
from wire.evidence import AgentContextKind, AgentReport, Device, SerialFrame
from wire.x73.times import encode_absolute

LOCAL = datetime(2026, 9, 21, 16, 13, 20)  # noqa: DTZ001  START_US on a clock in a Danish kitchen
MEASURED = LOCAL - timedelta(seconds=10)


def oximeter(*, invoke_id: int = 1, after_us: int = 0, system_id: bytes = AGENT_ID) -> AgentReport:
    """A measurement of `MEASURED`, received at some time."""
    stamp = encode_absolute(MEASURED)
    received = clock(after_us)
    shown = LOCAL + timedelta(microseconds=after_us) - timedelta(seconds=1)
    return report(
        with_invoke_id(fixed((1, b"\x00\x61" + stamp), (10, b"\x00\x48" + stamp)), invoke_id),
        0x0190,
        full_mds(10404, 0x0190, shown, clock=received),
        received=received,
        system_id=system_id,
    )


async def test_a_report_that_the_agent_repeats_because_it_was_cut_off_is_written_once(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.take(oximeter(), oximeter(invoke_id=2, after_us=60_000_000))
    async with bridge(tmp_path, fhir) as rig:
        assert (await rig.relayed(hub.batch(1, 1))).next == 2
        assert (await rig.relayed(hub.batch(2, 2))).next == 3
        assert (rig.ledger.summary().written, rig.ledger.summary().quarantined) == (2, 0)
    measured = [each for each in fhir.observations() if not phd.is_time_stamp(each)]
    assert sorted(str(each["valueQuantity"]["value"]) for each in measured) == ["72", "97"]
    assert {each["effectiveDateTime"] for each in measured} == {"2026-09-21T16:13:10+02:00"}


async def test_what_an_oximeter_on_a_serial_line_says_arrives(tmp_path: Path, hub: Hub, fhir: FakeFhir) -> None:
    device = Device(address=ADDRESS)
    hub.take(SerialFrame(device=device, received=clock(), format=1, frame=bytes.fromhex("80486220")))
    async with bridge(tmp_path, fhir) as rig:
        assert (await rig.relayed(hub.batch())).next == 2
    assert sorted(str(each["valueQuantity"]["value"]) for each in fhir.observations()) == ["72", "98"]


async def test_an_agent_is_assigned_by_its_system_id(tmp_path: Path, hub: Hub, fhir: FakeFhir) -> None:
    other = AGENT_ID[:-1] + b"\x01"
    hub.take(oximeter(), oximeter(system_id=other))
    async with bridge(tmp_path, fhir) as rig:
        theirs = Assignment(patient="Patient/other", device=other)
        rig.ledger.registry.assign(hub.name, theirs, now_us=START_US)
        await rig.relayed(hub.batch())
    measured = [each for each in fhir.observations() if not phd.is_time_stamp(each)]
    assert [each["subject"]["reference"] for each in measured] == ["Patient/abc"] * 2 + ["Patient/other"] * 2


def of_persons(*persons: int) -> AgentReport:
    """A multi-person fixed report: an SpO2 of each."""
    observation = b"\x00\x01" + octets(b"\x00\x61" + encode_absolute(MEASURED))
    scans = b"".join(person.to_bytes(2, "big") + b"\x00\x01" + octets(observation) for person in persons)
    info = b"\xf0\x00\x00\x00" + len(persons).to_bytes(2, "big") + octets(scans)
    return report(event_report(0x0D1F, info), 0x0190, received=clock())


async def test_a_report_of_several_persons_is_nobodys_and_that_of_one_is_theirs(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.take(of_persons(1, 2), of_persons(2))
    async with bridge(tmp_path, fhir) as rig:
        for user in (1, 2):
            assignment = Assignment(patient=f"Patient/{user}", device=AGENT_ID, user=user)
            rig.ledger.registry.assign(hub.name, assignment, now_us=START_US)
        await rig.relayed(hub.batch())
        assert [(item.reason, item.seq) for item in rig.ledger.quarantine.items()] == [(NO_PATIENT, 1)]
    assert [each["subject"]["reference"] for each in fhir.observations() if not phd.is_time_stamp(each)] == [
        "Patient/2"
    ]


async def test_a_report_of_several_persons_is_nobodys_even_where_nobody_asked_for_users(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.take(of_persons(1, 2))
    async with bridge(tmp_path, fhir) as rig:
        await rig.relayed(hub.batch())
        assert [item.reason for item in rig.ledger.quarantine.items()] == [NO_PATIENT]
    assert fhir.observations() == []


async def test_a_test_association_waits_in_quarantine_with_its_evidence(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    aarq = bytearray(SESSION["aarq"])
    aarq[aarq.index(bytes.fromhex("008000000008")) - 4] = 0x20
    said = context(AgentContextKind.ASSOCIATION, bytes(aarq), clock=clock())
    evidence = report(fixed((1, b"\x00\x61" + encode_absolute(MEASURED))), 0x0190, said, received=clock())
    hub.take(evidence)
    async with bridge(tmp_path, fhir) as rig:
        assert (await rig.relayed(hub.batch())).next == 2
        (item,) = rig.ledger.quarantine.items()
        assert item.reason == "test-data" != NO_PATIENT
        shown = admin.quarantine_show(rig.ledger, item.id)
        assert (shown["device"], shown["configuration"]) == ("11:33:55:77:99:BB:DD:FF", "0190")
        assert shown["apdu"] == evidence.apdu.hex()
    assert fhir.observations() == []


async def test_a_memory_of_many_measurements_is_written_in_transactions_that_a_server_can_take(
    tmp_path: Path, hub: Hub, fhir: FakeFhir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.writer.MAX_OBSERVATIONS", 5)
    segment = context(AgentContextKind.SEGMENT, segment_info(), clock=clock())
    for portion, size in enumerate((2, 2, 2, 7, 1)):
        stamps = [LOCAL - timedelta(days=1 + portion, minutes=each) for each in range(size)]
        entries = [encode_absolute(stamp) + bytes.fromhex("fe001b58") for stamp in stamps]
        hub.take(report(segment_data(*entries), 0x05DC, segment, received=clock()))
    async with bridge(tmp_path, fhir) as rig:
        assert (await rig.relayed(hub.batch())).next == 6
    assert [
        sum(each["resource"]["resourceType"] == "Observation" for each in sent["entry"]) for sent in fhir.bundles
    ] == [
        4,
        2,
        7,
        1,
    ]
    assert len({each["effectiveDateTime"] for each in fhir.observations()}) == len(fhir.observations()) == 14
