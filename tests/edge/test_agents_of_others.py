"""Agents that share nothing with us, from their bytes to what the bridge reads in stored evidence, value for value."""

import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.config import Agents
from edge.intake import Intake
from edge.x73.agents import AgentCollector
from edge.x73.association import Association
from tests.edge.readings import clock
from tests.wire.vectors import Vector
from tests.wire.x73 import peer
from tests.wire.x73.support import NOW, WHOLE, vector
from tests.wire.x73.test_raw_agents import (
    SPECIMENS,
    STANDARD,
    Specimen,
    confirmation,
    declare,
    meant,
    observed,
    raw,
    told,
)
from wire import batch
from wire.decoding import meaning_of
from wire.evidence import AgentReport
from wire.measurement import Special

Portions = list[list[bytes]]


@dataclass(frozen=True)
class Held:
    """A segment: its elements (class, type, handle, map), more of its attributes, and its entries in portions."""

    elements: list[bytes]
    more: list[bytes]
    portions: Portions


def element(class_: int, code: str, handle: int, *kinds: int) -> bytes:
    return peer.u16(class_) + raw(code) + peer.u16(handle) + peer.listed([peer.u16(kind, 2) for kind in kinds])


OXIMETER = {
    5: Held(
        [element(6, "00024bb8", 1, peer.BASIC), element(6, "0002481a", 10, peer.BASIC)],
        [peer.attribute(0x0A64, raw("000493e0"))],
        [
            [raw("2009061212100000 0062 0048"), raw("2009061211000000 f3cf 0049")],
            [raw("2009061308000000 0060 004a")],
        ],
    )
}
"""What a device has stored, not in the order of time: a time, saturation, pulse."""
OXIMETER_METRICS = [(1, 6, 150456, 544, peer.BASIC), (10, 6, 149530, 2720, peer.BASIC)]
GLUCOMETER = {
    0: Held(
        [element(6, "00027270", 1, peer.BASIC, 0x0947)],
        [peer.attribute(0x0A58, peer.octets(b"PMSegGluc "))],
        [
            [raw("2026100121065800 0069 0000"), raw("2026100118000000 07fe 0000")],
            [raw("2026100107300000 0802 0000"), raw("2026093007300000 0078 4000")],
        ],
    ),
    1: Held([element(6, "000271d0", 2, peer.BASIC, 0x0947)], [peer.attribute(0x0A58, peer.octets(b"PMSegCtrl "))], []),
    3: Held(
        [element(5, "00807248", 4, peer.CODED)],
        [peer.attribute(0x0A58, peer.octets(b"PMSegCMeal"))],
        [[raw("2026100121065800 7254"), raw("2026100107300000 724c")]],
    ),
}
"""As an Accu-Chek Guide (firmware 1.9.6) lays it out, by emogenet/accuchek's captures and tests: facts, no code.

Instances from 0, no time-outs, labels, a status in each entry, HI and LO as infinities, an empty segment.
"""
GLUCOMETER_METRICS = [
    (1, 6, 160368, 2130, peer.BASIC),
    (2, 6, 160208, 2130, peer.BASIC),
    (4, 5, 8417864, 0, peer.CODED),
]


class StoringAgent:
    """An agent with a PM-store that answers what it is asked (ISO/IEEE 11073-20601 A.11.7)."""

    def __init__(self, held: dict[int, Held], metrics: list[tuple[int, int, int, int, int]], handle: int) -> None:
        self.held, self.metrics, self.handle = held, metrics, handle
        self.cleared: list[int] = []
        self.asked: list[str] = []
        self._under_way = 0
        self._sent = 0
        self._store = [
            peer.attribute(0x0943, peer.u16(0)),
            peer.attribute(0x0A4D, raw("8940")),
            peer.attribute(0x0953, peer.u16(0)),
            peer.attribute(0x0951, peer.u16(len(held))),
        ]

    def configuration(self) -> bytes:
        metrics = [
            peer.declared(handle, class_, code, ((kind, 2), (peer.ABSOLUTE, 8)), unit=unit)
            for handle, class_, code, unit, kind in self.metrics
        ]
        return peer.configuration(0x4000, [*metrics, peer.u16(peer.STORE, self.handle) + peer.listed(self._store)])

    def answer(self, said: bytes) -> bytes:
        """The next APDUs after one of the hub's; nothing where none is due."""
        invoke_id, rose = int.from_bytes(said[6:8], "big"), said[8:10].hex()
        body = peer.Cursor(said[12:])
        handle = body.number()
        if rose == "0103":
            store = peer.prst(invoke_id, 0x0203, peer.u16(handle) + peer.listed(self._store))
            return store if handle == self.handle else peer.get_answer(invoke_id, 0x4000)
        if rose == "0201":
            body.number(4)
            return self._portion() if body.number() == peer.SEGMENT_DATA else b""
        assert rose == "0107", rose
        action, args = body.number(), body.octets()
        self.asked.append(f"{action:04x} {args.hex()}")
        assert handle == (0 if action == 0x0C17 else self.handle)
        answer = b""
        if action == 0x0C0D:
            answer = self._listing()
        elif action == 0x0C0C:
            self.cleared.append(int.from_bytes(args[-2:], "big"))
        elif action == 0x0C1C:
            self._under_way, self._sent = int.from_bytes(args, "big"), 0
            answer = args + peer.u16(0 if self.held[self._under_way].portions else 3)
        done = peer.prst(invoke_id, 0x0207, peer.u16(handle, action) + peer.octets(answer))
        return done + (self._portion() if action == 0x0C1C else b"")

    def _listing(self) -> bytes:
        listed = []
        for instance, held in self.held.items():
            told_of_segment = [
                peer.attribute(0x0922, peer.u16(instance)),
                peer.attribute(0x0A4E, peer.u16(0x8000) + peer.listed(held.elements)),
                peer.attribute(0x0953, peer.u16(0)),
                *held.more,
                peer.attribute(0x097B, sum(map(len, held.portions)).to_bytes(4, "big")),
            ]
            listed.append(peer.u16(instance) + peer.listed(told_of_segment))
        return peer.listed(listed)

    def _portion(self) -> bytes:
        portions = self.held[self._under_way].portions
        if self._sent == len(portions):
            return b""
        first = sum(len(each) for each in portions[: self._sent])
        entries = portions[self._sent]
        self._sent += 1
        status = (0x8000 if first == 0 else 0) | (0x4000 if self._sent == len(portions) else 0)
        place = struct.pack(">HIIH", self._under_way, first, len(entries), status)
        data = place + peer.octets(b"".join(entries))
        return peer.event(90 + self._sent, peer.SEGMENT_DATA, data, handle=self.handle)


pytestmark = pytest.mark.looptime
FREESCALE = bytes.fromhex("4c4e494147454e54")


class Hub:
    """The hub's side of one association, with an outbox that is a list."""

    def __init__(self, home: Path, system_id: bytes = peer.AGENT_ID, *, clear_store: bool = False) -> None:
        self.stored: list[bytes] = []
        collector = AgentCollector(
            agents=[(system_id, "device")],
            ways=Agents(clear_store=clear_store),
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

    def meaning(self) -> list[tuple[int, object, str | None, str | None]]:
        """What the bridge reads, from the stored bytes alone."""
        found: list[tuple[int, object, str | None, str | None]] = []
        for each in self.stored:
            reading = batch.parse_reading(each)
            assert isinstance(reading, AgentReport)
            found += [told(m) for m in meaning_of(reading).everything]
        return found


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
    assert [list(each) for each in hub.meaning()] == expected


def fetch(hub: Hub, agent: StoringAgent) -> None:
    hub.say(peer.association(0x4000))
    said = hub.say(agent.configuration())
    for _ in range(40):
        said = [each for one in said if one[:2] == b"\xe7\0" for each in hub.say(agent.answer(one))]
    assert hub.association.manager.state.value == "operating"
    assert "0c0d 000100020000" in agent.asked, "all segments"
    for instance in agent.held:
        assert f"0c1c {instance:04x}" in agent.asked


@pytest.mark.parametrize("clear_store", [True, False], ids=["cleared", "left"])
async def test_what_an_agent_has_stored_is_fetched_kept_and_read_in_its_own_order(
    clear_store: bool, tmp_path: Path
) -> None:
    hub, agent = Hub(tmp_path, clear_store=clear_store), StoringAgent(OXIMETER, OXIMETER_METRICS, 30)
    fetch(hub, agent)
    assert agent.cleared == [5] * clear_store
    assert ("0c0c 00020006000100020005" in agent.asked) is clear_store
    assert [(code, value, time) for code, value, _, time in hub.meaning()] == [
        (150456, "98", "2009-06-12T12:10:00"),
        (149530, "72", "2009-06-12T12:10:00"),
        (150456, "97.5", "2009-06-12T11:00:00"),
        (149530, "73", "2009-06-12T11:00:00"),
        (150456, "96", "2009-06-13T08:00:00"),
        (149530, "74", "2009-06-13T08:00:00"),
    ]


async def test_a_meter_s_whole_memory_is_fetched_segment_by_segment(tmp_path: Path) -> None:
    hub, agent = Hub(tmp_path), StoringAgent(GLUCOMETER, GLUCOMETER_METRICS, 0x0100)
    fetch(hub, agent)
    evening, dinner, breakfast, before = (
        "2026-10-01T21:06:58",
        "2026-10-01T18:00:00",
        "2026-10-01T07:30:00",
        "2026-09-30T07:30:00",
    )
    assert hub.meaning() == [
        (160368, "105", "mg/dL", evening),
        (160368, str(Special.POSITIVE_INFINITY), None, dinner),
        (160368, str(Special.NEGATIVE_INFINITY), None, breakfast),
        (160368, "120", "mg/dL", before),
        (8417864, 8417876, None, evening),
        (8417864, 8417868, None, breakfast),
    ]
