"""20601 over HDP: a source of ours, over sockets of the same kind as L2CAP's, with the hub's sink."""

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from dbus_fast.annotations import DBusDict, DBusObjectPath, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method

from edge.bluez import Bluez
from edge.config import Agents
from edge.intake import Intake
from edge.x73.agents import AgentCollector
from edge.x73.hdp import Sink, _register
from edge.x73.pump import Associations, Way
from tests.edge.collecting import serving_agents
from tests.edge.fake_bluez import serving
from tests.edge.readings import clock
from tests.system_bus import SystemBus
from tests.wire.x73.support import AGENT_ID, oximeter_scan, profile
from wire import batch
from wire.evidence import AgentReport
from wire.hdp import ECHO, ENDPOINTS, SINK_UUID, service_record
from wire.mcap import ALL_MDLS, Event, Granted, Mcl
from wire.x73.agent import Agent
from wire.x73.framing import Framer
from wire.x73.specializations import SPECIALIZATIONS
from wire.x73.states import State

EXTENDED = SPECIALIZATIONS[10404].extended
OXIMETER = next(endpoint for endpoint, data_type in ENDPOINTS.items() if data_type == 4100)


class Source:
    """A device: it connects, asks for channels, and has an agent on one of them."""

    def __init__(self, name: str, control: str, data: str) -> None:
        self.name, self._data_address = name, data
        self.mcl = Mcl((), initiator=True)
        self.control = self._connected(control)
        self.agent = Agent(profile(EXTENDED))
        self.data: socket.socket | None = None

    def _connected(self, address: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.bind(f"\0{self.name}/{os.urandom(4).hex()}")
        connection.connect(address)
        connection.setblocking(False)
        return connection

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def ask(self, ask: Callable[[], None]) -> list[Event]:
        """Ask for something on the control channel, and connect what is granted."""
        ask()
        for packet in self.mcl.to_send():
            self.control.send(packet)
        answer = await asyncio.get_running_loop().sock_recv(self.control, 48)
        events = self.mcl.receive(answer, self.now)
        if any(isinstance(event, Granted) for event in events):
            if self.data is not None:
                self.data.close()
            self.data = self._connected(self._data_address)
            self.mcl.data_connected()
        return events

    async def until(self, done: Callable[[], bool]) -> None:
        """Carry APDUs, one in each packet."""
        loop = asyncio.get_running_loop()
        assert self.data is not None
        while True:
            for apdu in Framer().feed(self.agent.to_send())[0]:
                await loop.sock_sendall(self.data, apdu)
            if done():
                return
            packet = await loop.sock_recv(self.data, 65_535)
            assert packet, "the hub has closed the channel"
            assert Framer().feed(packet)[0] == [packet], "one APDU"
            self.agent.receive(packet, self.now)

    async def measure(self) -> None:
        self.agent.disconnected(self.now)
        self.agent.connected(self.now)
        await self.until(lambda: self.agent.state is State.OPERATING)
        self.agent.report(oximeter_scan(), self.now)
        await self.until(lambda: self.agent.idle)
        self.agent.release(self.now)
        await self.until(lambda: self.agent.state is State.UNASSOCIATED)

    def disconnect(self, mdl: int) -> None:
        assert self.data is not None
        self.data.close()
        self.data = None
        self.mcl.data_closed(mdl)
        self.agent.disconnected(self.now)

    def control_again(self, control: str) -> None:
        """It was out of reach, and is back."""
        self.control.close()
        self.mcl.control_closed()
        self.control = self._connected(control)

    def close(self) -> None:
        self.control.close()
        if self.data is not None:
            self.data.close()


class Hub:
    def __init__(self, home: Path) -> None:
        self.stored: list[bytes] = []
        intake = Intake(put=self._put, stored=lambda: None)
        self.collector = AgentCollector(
            agents=[(AGENT_ID, "oximeter")], ways=Agents(hdp=True), ports=(), intake=intake, now=clock,
            known=home / "outbox.db.agents",
        )  # fmt: skip
        self.names = tuple(f"\0hdp-{kind}-{os.urandom(4).hex()}" for kind in ("control", "data"))

    def _put(self, encoded: bytes) -> int:
        self.stored.append(encoded)
        return len(self.stored)

    def source(self, name: str = "AA:BB:CC:DD:EE:01") -> Source:
        return Source(name, *self.names)


@asynccontextmanager
async def sink(home: Path) -> AsyncIterator[Hub]:
    hub = Hub(home)
    listening = []
    for name in hub.names:
        listening.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        listening[-1].bind(name)
        listening[-1].listen()
        listening[-1].setblocking(False)
    associations = Associations(hub.collector.habits)
    who = re.compile(rb"\0(.*)/")

    def named(address: bytes) -> str:
        match = who.match(address)
        assert match is not None
        return match[1].decode()

    try:
        async with serving_agents(associations, Sink(associations, named).run(listening[0], listening[1])):
            yield hub
    finally:
        for each in listening:
            each.close()


async def test_a_device_measures_over_a_channel_that_it_asked_for_and_again_whenever_it_reconnects(
    tmp_path: Path,
) -> None:
    async with sink(tmp_path) as hub:
        source = hub.source()
        await source.ask(lambda: source.mcl.create(1, OXIMETER, source.now))
        await source.measure()
        source.disconnect(1)
        await source.ask(lambda: source.mcl.reconnect(1, source.now))
        await source.measure()
        source.disconnect(1)
        source.control_again(hub.names[0])
        await source.ask(lambda: source.mcl.reconnect(1, source.now))
        await source.measure()
        await source.ask(lambda: source.mcl.delete(ALL_MDLS, source.now))
        assert source.mcl.state_of(1) is None
        source.close()
    reports = [batch.parse_reading(each) for each in hub.stored]
    assert len(reports) == 3
    assert all(isinstance(each, AgentReport) and each.configuration == EXTENDED.encode() for each in reports)


async def test_two_devices_do_not_get_each_other_s_channels(tmp_path: Path) -> None:
    async with sink(tmp_path) as hub:
        one, other = hub.source("one"), hub.source("other")
        for source in (one, other):
            await source.ask(lambda: source.mcl.create(1, OXIMETER, source.now))  # noqa: B023  awaited at once
        await other.measure()
        one.close()
        await other.ask(lambda: other.mcl.reconnect(1, other.now))
        await other.measure()
        assert len(hub.stored) == 2
        other.close()


async def test_the_echo_test_gets_its_packet_back(tmp_path: Path) -> None:
    async with sink(tmp_path) as hub:
        source = hub.source()
        await source.ask(lambda: source.mcl.create(5, ECHO, source.now))
        assert source.data is not None
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(source.data, b"anything at all")
        assert await loop.sock_recv(source.data, 100) == b"anything at all"
        assert await loop.sock_recv(source.data, 100) == b""
        source.close()


async def test_a_device_that_says_more_than_is_followed_must_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Way] = []
    monkeypatch.setattr(Associations, "take_on", lambda _, way: taken.append(way))
    async with sink(tmp_path) as hub:
        source = hub.source()
        await source.ask(lambda: source.mcl.create(1, OXIMETER, source.now))
        assert source.data is not None
        said = heard = 0
        for _ in range(1000):
            with contextlib.suppress(BlockingIOError):
                said += source.data.send(bytes(8192))
            await asyncio.sleep(0)
        assert 1 << 17 < said < 1 << 20
        while heard < said:
            heard += len(await taken[0].reader.read(65_536))
        taken[0].abort()
        source.close()


async def test_a_data_channel_that_nobody_agreed_on_is_closed(tmp_path: Path) -> None:
    async with sink(tmp_path) as hub:
        source = hub.source()
        stranger = source._connected(hub.names[1])
        assert await asyncio.get_running_loop().sock_recv(stranger, 100) == b""
        stranger.close()
        source.close()


@pytest.mark.parametrize("how", ["control", "delete"])
async def test_the_association_ends_with_its_channel(tmp_path: Path, how: str) -> None:
    async with sink(tmp_path) as hub:
        source = hub.source()
        await source.ask(lambda: source.mcl.create(1, OXIMETER, source.now))
        source.agent.connected(source.now)
        await source.until(lambda: source.agent.state is State.OPERATING)
        assert hub.collector.states()[0].connected
        if how == "control":
            source.control.close()
        else:
            await source.ask(lambda: source.mcl.delete(1, source.now))
        assert source.data is not None
        while await asyncio.get_running_loop().sock_recv(source.data, 65_535):
            pass
        assert not hub.collector.states()[0].connected
        source.close()


def test_the_service_record_says_where_the_channels_are_and_what_the_hub_takes() -> None:
    """As signove/hdpy's hdp_record.py reads a record."""
    record = ET.fromstring(service_record(0x1001, 0x1003))  # noqa: S314  our own
    attributes = {int(each.attrib["id"], 0): each[0] for each in record}

    def values(element: ET.Element) -> list[object]:
        return [
            values(each) if each.tag == "sequence" else (each.tag, int(each.attrib["value"], 0)) for each in element
        ]

    assert values(attributes[0x0001]) == [("uuid", 0x1402)]
    assert values(attributes[0x0004]) == [[("uuid", 0x100), ("uint16", 0x1001)], [("uuid", 0x1E), ("uint16", 0x100)]]
    assert values(attributes[0x0009]) == [[("uuid", 0x1400), ("uint16", 0x100)]]
    assert values(attributes[0x000D]) == [[[("uuid", 0x100), ("uint16", 0x1003)], [("uuid", 0x1F)]]]
    features = [[("uint8", e), ("uint16", 4096 + t), ("uint8", 1)] for e, t in ((1, 4), (3, 7), (5, 15))]
    assert [each for each in values(attributes[0x0200]) if each in features] == features
    assert {each.profile for each in SPECIALIZATIONS.values()} == set(ENDPOINTS.values())


class ProfileManager(ServiceInterface):
    """BlueZ's org.bluez.ProfileManager1."""

    def __init__(self) -> None:
        super().__init__("org.bluez.ProfileManager1")
        self.registered: list[tuple[str, str, dict[str, object]]] = []

    @dbus_method(name="RegisterProfile")
    def register_profile(self, path: DBusObjectPath, uuid: DBusStr, options: DBusDict) -> None:
        self.registered.append((path, uuid, {name: variant.value for name, variant in options.items()}))


async def test_bluez_is_asked_for_the_record_and_for_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = SystemBus(tmp_path)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    bus.start()
    try:
        async with asyncio.timeout(10), serving() as fake:
            manager = ProfileManager()
            fake.bus.export("/org/bluez", manager)
            async with Bluez() as bluez:
                await _register(bluez, 0x1001, 0x1003)
            # Without a PSM of its own BlueZ listens nowhere.
            options = {"Name": "Stafet HDP", "ServiceRecord": service_record(0x1001, 0x1003)}
            assert manager.registered == [("/stafet/hdp", SINK_UUID, options)]
    finally:
        bus.stop()
