"""From a 20601 agent over a link that breaks anywhere, through the hub's evidence, to FHIR: each measurement once."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bridge.fhir.translate import bundle, translate_reading
from edge.config import Agents
from tests import phd
from tests.edge.test_agents import Hub, Link, Oximeter, operating, places
from tests.wire.agents import with_invoke_id
from tests.wire.x73.support import AGENT_ID, SESSION, oximeter_scan, profile
from tests.wire.x73.test_agent import ENTRY_MAP, STORING
from wire.evidence import AgentContextKind, AgentReport
from wire.x73.agent import Agent
from wire.x73.mds import mds_attributes
from wire.x73.specializations import SPECIALIZATIONS
from wire.x73.store import Segment, Store
from wire.x73.times import encode_absolute

pytestmark = pytest.mark.looptime

COPENHAGEN = ZoneInfo("Europe/Copenhagen")


def later(evidence: AgentReport, minutes: int) -> AgentReport:
    """The same bytes, come at another time: nothing of the message's own is like in two associations."""
    us = minutes * 60_000_000
    received = replace(
        evidence.received, wall_us=evidence.received.wall_us + us, mono_us=evidence.received.mono_us + us
    )
    context = tuple(replace(each, mono_us=each.mono_us + us) for each in evidence.context)
    return replace(evidence, received=received, context=context, apdu=with_invoke_id(evidence.apdu, minutes))


def written(hub: Hub) -> list[tuple[int, str]]:
    """What the bridge makes of all that the hub has stored: code and value of each Observation."""
    made = [
        translate_reading(
            evidence,
            sealed=evidence.received,
            hub="hub-0001",
            patient="Patient/citizen-17",
            timezone=COPENHAGEN,
            identifier_key=bytes(32),
        )
        for evidence in (later(each, minutes) for minutes, each in enumerate(hub.reports()))
    ]
    sent = {one["identifier"][0]["value"]: one for one in phd.observations(bundle(made))}
    return sorted((phd.mdc_code(one["code"]), str(one["valueQuantity"]["value"])) for one in sent.values())


async def test_the_measured_session_arrives_as_the_independent_agent_measured_it(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    link = operating(hub)
    link.association.receive(SESSION["report"], link.now)
    assert written(hub) == [(149530, "63.5"), (150456, "96.5")]


@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_report_is_one_observation_wherever_its_link_was_cut(tmp_path: Path, way: str) -> None:
    whole = Hub(tmp_path / "no cache")
    said = Oximeter(3).connect(whole).said[way]
    expected = written(whole)
    assert {value for code, value in expected if code == 150456} == {"76.9", "77.0", "77.1"}
    repeated = 0
    for cut in places(said):
        home = tmp_path / str(cut)
        home.mkdir()
        hub, oximeter = Hub(home), Oximeter(3)
        oximeter.connect(hub, **{way: cut})
        oximeter.connect(hub)
        repeated += len(hub.reports()) - 3
        assert written(hub) == expected
    assert repeated > 0 if way == "down" else repeated >= 0


@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_stored_segment_is_written_once_wherever_its_transfer_was_cut(tmp_path: Path, way: str) -> None:
    first = datetime(2026, 11, 20, 7, 0)  # noqa: DTZ001  the agent's wall clock
    entries = tuple(
        encode_absolute(first + timedelta(hours=each)) + (90 + each).to_bytes(2, "big") + b"\x00\x48"
        for each in range(8)
    )

    def store() -> Store:
        held = Store(handle=30)
        held.add(Segment(instance=1, entry_map=ENTRY_MAP, entries=entries))
        return held

    clearing = Agents(clear_store=True)
    whole = Hub(tmp_path / "no cache", clearing)
    said = Link(whole, Agent(profile(STORING), stores=(store(),))).said[way]
    expected = written(whole)
    assert len(expected) == 16
    assert {value for code, value in expected if code == 150456} == {str(90 + each) for each in range(8)}
    for cut in places(said):
        home = tmp_path / str(cut)
        home.mkdir()
        hub, held = Hub(home, clearing), store()
        for limit in (cut, 1 << 30):
            Link(hub, Agent(profile(STORING), stores=(held,)), **{way: limit})
        assert written(hub) == expected


async def test_the_clock_as_it_was_before_the_hub_set_it_stays_beside_what_comes_after(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    asks = mds_attributes(SPECIALIZATIONS[10404], system_id=AGENT_ID, config_id=0x0190)
    link = Link(hub, Agent(replace(profile(), mds=asks)))
    link.agent.report(oximeter_scan(), link.now)
    link.run()
    (report,) = hub.reports()
    assert [each.kind for each in report.context] == [AgentContextKind.MDS, AgentContextKind.MDS]
