"""Agents that share nothing with us, from their bytes to what the bridge reads in stored evidence, value for value."""

from pathlib import Path

import pytest

from edge.agents import AgentCollector
from edge.config import Agents
from edge.intake import Intake
from edge.x73_association import Association
from tests.edge.readings import clock
from tests.wire.vectors import Vector
from tests.wire.x73 import peer
from tests.wire.x73.support import NOW, WHOLE, vector
from tests.wire.x73.test_raw_agents import SPECIMENS, STANDARD, Specimen, confirmation, declare, meant, observed, told
from wire import batch
from wire.decoding import decode_evidence
from wire.evidence import AgentReport

pytestmark = pytest.mark.looptime
FREESCALE = bytes.fromhex("4c4e494147454e54")


class Hub:
    """The hub's side of one association, with an outbox that is a list."""

    def __init__(self, home: Path, system_id: bytes = peer.AGENT_ID) -> None:
        self.stored: list[bytes] = []
        collector = AgentCollector(
            agents=[(system_id, "device")],
            ways=Agents(),
            ports=(),
            intake=Intake(put=self._put, stored=lambda: None),
            now=clock,
            known=home / "outbox.db.agents",
        )
        self.association = Association(collector.habits)
        self.association.connected(NOW)

    def _put(self, encoded_reading: bytes) -> int:
        self.stored.append(encoded_reading)
        return len(self.stored)

    def say(self, data: bytes) -> list[bytes]:
        self.association.receive(data, NOW)
        return peer.apdus(self.association.manager.to_send())

    def meaning(self) -> list[object]:
        """What the bridge reads, from the stored bytes alone."""
        found = []
        for each in self.stored:
            reading = batch.parse_reading(each)
            assert isinstance(reading, AgentReport)
            found += [told(m) for m in decode_evidence(reading)]
        return list(found)


def get_of(said: list[bytes]) -> int:
    """The invoke-id of the hub's GET MDS."""
    return next(int.from_bytes(each[6:8], "big") for each in said if each[8:10] == b"\x01\x03")


def story(hub: Hub, specimens: list[Specimen], config_id: int, *, described: bool, confirmed: bool) -> None:
    said = hub.say(peer.association(config_id))
    if said[0][4:6] == b"\0\3":
        said = hub.say(declare(specimens, config_id))
    hub.say(peer.get_answer(get_of(said), config_id))
    if described:
        seen = [(each[0], [(each[4], bytes.fromhex(each[5])), (peer.ABSOLUTE, peer.TEN_PAST)]) for each in specimens]
        said = hub.say(peer.variable(seen, confirmed=confirmed))
    else:
        said = hub.say(peer.fixed(observed(specimens), confirmed=confirmed))
    assert said == ([confirmation(3, 0x0D1E if described else 0x0D1D)] if confirmed else [])
    assert hub.say(bytes.fromhex("e40000020000")) == [bytes.fromhex("e50000020000")]


@pytest.mark.parametrize("confirmed", [True, False], ids=["confirmed", "unconfirmed"])
@pytest.mark.parametrize("described", [True, False], ids=["variable", "fixed"])
@pytest.mark.parametrize("number", SPECIMENS)
async def test_each_specialization_is_kept_and_read(
    number: int, described: bool, confirmed: bool, tmp_path: Path
) -> None:
    hub = Hub(tmp_path)
    story(hub, SPECIMENS[number], 0x4000, described=described, confirmed=confirmed)
    assert hub.meaning() == meant(SPECIMENS[number])
    again = Hub(tmp_path)
    said = again.say(peer.association(0x4000))
    assert said[0][4:6] == b"\0\0", "its configuration is known from now on, also after a restart"


@pytest.mark.parametrize("config_id", STANDARD, ids=lambda each: f"{each:04x}")
async def test_each_standard_configuration_is_kept_and_read(config_id: int, tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    story(hub, STANDARD[config_id], config_id, described=False, confirmed=True)
    assert hub.meaning() == meant(STANDARD[config_id])


@pytest.mark.parametrize("case", [v for v in WHOLE if v.id.startswith("freescale/") and "means" in v.expected], ids=str)
async def test_agents_whose_bytes_are_public_are_kept_and_read(case: Vector, tmp_path: Path) -> None:
    hub = Hub(tmp_path, FREESCALE)
    device = case.id.removesuffix("_report")
    hub.say(vector(f"{device}_aarq").value)
    invoke_id = get_of(hub.say(vector(f"{device}_config").value)).to_bytes(2, "big")
    mds = vector(f"{device}_mds").value
    hub.say(mds[:6] + invoke_id + mds[8:])
    (answer,) = hub.say(case.value)
    assert answer[6:10] == case.value[6:8] + b"\x02\x01"
    expected = [
        [code, value, unit, time or "0000-00-00T00:00:00"] for code, value, unit, time in case.expected["means"]
    ]
    assert [list(each) for each in hub.meaning()] == expected  # type: ignore[call-overload]
