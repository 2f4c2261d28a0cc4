"""`stafet-hub run` reads one device of every profile that `stafet-sim run` plays, over BlueZ's D-Bus API: value for value."""

import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.identity import load_public_key
from edge.log import address_hash
from simulator import measured
from simulator.ble.devices import KINDS, PLAIN
from tests.brokers import BrokerProcess
from tests.edge.stub_bridge import StubBridge
from tests.edge.test_hub import HUB, HubProcess, fill
from tests.support import eventually, stop
from tests.system_bus import SystemBus
from wire.evidence import Reading
from wire.gatt import decode_reading

SIM = Path(sys.executable).with_name("stafet-sim")
FURTHER = [kind for kind in KINDS if kind not in PLAIN]
ADAPTERS = tuple(f"00:00:00:00:00:{number:02X}" for number in range(1, len(FURTHER) + 2))
"""The hub's, and one for each device."""
STORED = {
    "glucose-meter": 500,
    "glucose-meter-molar": 12,
    "cgm": 9,
    "cgm-plain": 9,
    "oximeter-storing": 9,
    "cuff-storing": 9,
    "health-sensor-storing": 9,
}
FAULTS = {
    "glucose-meter-molar": '"disconnect-after-record=5"',
    "cgm-plain": '"disconnect-before-response"',
    "cuff-omron": '"clock-off=-7200"',
    "cuff-aandd": '"clock-unset"',
    "cuff-inflating": '"disconnect-after-read"',
    "thermometer-rising": '"disconnect-after-subscribe"',
}

Values = list[tuple[int, str, str | None]]


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SystemBus]:
    bus = SystemBus(tmp_path)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    try:
        bus.start()
        bus.start_bluez(ADAPTERS)
        yield bus
    finally:
        bus.stop()


@pytest.fixture
def hub(bus: SystemBus, tmp_path: Path, iotcore_broker: BrokerProcess) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path, iotcore_broker.port)
    process.write_config(*ADAPTERS[1:])
    process.config.write_text(process.config.read_text().replace("[ble]\n", "[ble]\nconnections = 8\n"))
    yield process
    if process.process is not None:
        stop(process.process)


@pytest.fixture
def bridge(hub: HubProcess, iotcore_broker: BrokerProcess) -> Iterator[StubBridge]:
    bridge = StubBridge(iotcore_broker.port, HUB, load_public_key(hub.home / "hub-public.pem"), hub.bridge_key)
    yield bridge
    bridge.close()


def scenario() -> str:
    """One person with a device of each profile; the time stamps of some count minutes, so those measure once."""
    text = 'seed = 11\nhang_up_s = 2\ntimezone = "UTC"\n[[person]]\nid = "p1"\n'
    for number, kind in enumerate(FURTHER, 1):
        stored = STORED.get(kind, 0)
        readings = 0 if stored else 2 if KINDS[kind].least_every_s == 1 else 1
        text += f'[[device]]\nkind = "{kind}"\nperson = "p1"\nadapter = "hci{number}"\n'
        text += f"readings = {readings}\nstored = {stored}\nevery_s = {KINDS[kind].least_every_s}\n"
        text += f"faults = [{FAULTS.get(kind, '')}]\n"
    return text


def hashed(kind: str) -> str:
    """What the hub's log calls the device of a kind."""
    return address_hash(bytes.fromhex(ADAPTERS[FURTHER.index(kind) + 1].replace(":", "")))


def told(reading: Reading) -> Values:
    """The numbers that the bridge reads in it."""
    return [
        (part.code, str(part.value), part.unit)
        for measurement in decode_reading(reading)
        for part in (measurement, *measurement.components)
        if part.value is not None
    ]


@pytest.mark.journey
def test_a_hub_killed_amid_five_hundred_records_asks_for_the_rest_and_takes_none_twice(
    hub: HubProcess, bridge: StubBridge, tmp_path: Path
) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(
        'timezone = "UTC"\nresend = true\n[[person]]\nid = "p1"\n[[device]]\nkind = "glucose-meter"\nperson = "p1"\n'
        'adapter = "hci1"\nreadings = 0\nstored = 500\n'
    )
    with (tmp_path / "sim.log").open("w") as log:
        sim = subprocess.Popen([SIM, "run", path], stderr=log)
    try:
        for count in (100, 400):
            hub.start()
            hub.until("reading_stored", count)
            assert hub.send(signal.SIGKILL) == -signal.SIGKILL
        hub.start()
        assert sim.wait(30) == 0, "the meter believes that the hub has everything"
        eventually(lambda: len(bridge.readings) >= 750, within_s=10, what="all delivered")
        assert hub.send(signal.SIGTERM) == 0
    finally:
        stop(sim)
    for characteristic, numbers in ((0x2A18, range(1, 501)), (0x2A34, range(2, 501, 2))):
        arrived = [each.value[1:3] for each in bridge.readings if each.characteristic == characteristic]
        # Once each. Not in order across a kill: BlueZoo may hold a value of the dead link, and hand it to the next hub first.
        assert sorted(int.from_bytes(each, "little") for each in arrived) == list(numbers)


@pytest.mark.journey
def test_what_devices_of_every_profile_measured_arrives_once_and_in_order(
    hub: HubProcess, bridge: StubBridge, tmp_path: Path
) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(scenario())
    fill(hub.store, 1)
    # The devices' clocks show UTC too, and a receipt tells the hub that its own is right: only then does it set others.
    hub.start(os.environ | {"TZ": "UTC"})
    hub.until("readings_confirmed")
    with (tmp_path / "sim.log").open("w") as log:
        sim = subprocess.Popen([SIM, "run", path], stderr=log)
    try:
        assert sim.wait(40) == 0
    finally:
        stop(sim)
    expected: dict[str, list[Values]] = defaultdict(list)
    for record in measured.read(tmp_path / "measured.jsonl"):
        if record.expected:
            expected[record.kind].append([(one.code, str(one.value), one.unit) for one in record.values])
    count = 1 + sum(map(len, expected.values()))
    eventually(lambda: len(bridge.readings) >= count, within_s=10, what=f"{count} readings delivered")
    assert hub.send(signal.SIGTERM) == 0
    arrived: dict[str, list[Reading]] = defaultdict(list)
    for reading in bridge.readings[1:]:
        arrived[FURTHER[reading.device.address[-1] - 2]].append(reading)
    assert len(expected["glucose-meter"]) == 750
    numbers = [reading.value[1:3] for reading in arrived["glucose-meter"] if reading.characteristic == 0x2A18]
    assert numbers == [number.to_bytes(2, "little") for number in range(1, 501)]
    for kind in FURTHER:
        assert [told(reading) for reading in arrived[kind]] == expected[kind], kind
    set_for = {entry["device"] for entry in hub.events("clock_written")}
    assert {hashed("cuff-aandd"), hashed("cuff-omron")} <= set_for, "clocks that were wrong were set"
