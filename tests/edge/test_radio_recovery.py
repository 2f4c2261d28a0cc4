"""An adapter, BlueZ or bus that goes away or hangs is worked with again within a minute, by the same process.

Real bleak against BlueZoo on a bus of our own. The hub's pauses are shortened here, so that a second is enough; with
its own, at most `LONGEST_RETRY_S` is added.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from edge.ble import adapter, attention, collect
from edge.ble import bleak_radio as ble
from edge.ble.adapter import CONNECT_HANGS, DEAF, FIRST_PAUSE_S, LIMITS, LONGEST_PAUSE_S, SCAN_REFUSED, Health
from edge.ble.collect import Collector
from edge.bluez import ADAPTER, Bluez
from tests.edge.fake_bluez import FakeBluez, Peer, serving
from tests.edge.radio_story import Collected, collecting_with_bleak, no_bus_left_open, peripheral  # noqa: F401  (a fixture)
from tests.system_bus import SystemBus

HUB = "00:00:00:00:00:01"
DEVICE = "00:00:00:00:00:02"
SPO2_98 = bytes.fromhex("0062004800")
WITHIN_S = 15


@pytest.fixture
def bare_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SystemBus]:
    bus = SystemBus(tmp_path)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    monkeypatch.setattr(collect, "FIRST_RETRY_S", 0.1)
    monkeypatch.setattr(collect, "LONGEST_RETRY_S", 0.2)
    monkeypatch.setattr(collect, "TICK_S", 0.2)
    monkeypatch.setattr(collect, "DEAF_TICKS", 10)
    monkeypatch.setattr(attention, "FIRST_PAUSE_S", 0.05)
    try:
        bus.start()
        yield bus
    finally:
        bus.stop()


@pytest.fixture
def bus(bare_bus: SystemBus) -> SystemBus:
    bare_bus.start_bluez((HUB, DEVICE))
    return bare_bus


@asynccontextmanager
async def collecting(wanted: str = "hci0") -> AsyncIterator[tuple[Collector, Collected]]:
    collected = Collected()
    async with collecting_with_bleak([DEVICE], collected.put, adapter=wanted, idle_timeout_s=1.5) as collector:
        yield collector, collected


async def measure_once(collected: Collected) -> None:
    """A citizen uses the device, and the reading arrives."""
    count = len(collected.readings)
    async with peripheral("hci1") as device:
        await device.advertise()
        async with asyncio.timeout(WITHIN_S):
            subscription = await device.subscribers.get()
        await device.withdraw()
        assert await subscription.send(SPO2_98)
        await device.hang_up(subscription)
        await collected.until(count + 1)


async def until_scanning(collector: Collector, *, expected: bool = True) -> None:
    async with asyncio.timeout(WITHIN_S):
        while collector.scanning is not expected:  # noqa: ASYNC110  a poll with an end, of real parts
            await asyncio.sleep(0.01)


async def recovered(collector: Collector, collected: Collected, what: str) -> None:
    """The world is well again: so is the hub, within a minute by its own pauses."""
    begun = time.monotonic()
    await until_scanning(collector)
    scanning_s = time.monotonic() - begun
    await measure_once(collected)
    print(f"{what}: scanning again after {scanning_s:.1f} s, a reading after {time.monotonic() - begun:.1f} s")
    assert scanning_s + 10.0 <= 60, "10 s is the pause that was shortened here"


async def test_bluetoothd_that_crashes_during_a_session_costs_the_session_and_no_more(bus: SystemBus) -> None:
    async with collecting() as (collector, collected):
        await measure_once(collected)
        async with peripheral("hci1") as device:
            await device.advertise()
            async with asyncio.timeout(WITHIN_S):
                subscription = await device.subscribers.get()
            assert await subscription.send(SPO2_98)
            await collected.until(2)
            bus.kill_bluez()
        await until_scanning(collector, expected=False)
        async with asyncio.timeout(WITHIN_S):
            while any(state.connected for state in collector.states()) or not collector.radio_fault:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert collector.radio_fault == "no-bluez"
        bus.start_bluez((HUB, DEVICE))
        await recovered(collector, collected, "bluetoothd restarted")


async def test_bluetoothd_that_is_replaced_in_an_instant_is_noticed(bus: SystemBus) -> None:
    async with collecting() as (collector, collected):
        await measure_once(collected)
        bus.kill_bluez()
        bus.start_bluez((HUB, DEVICE))
        await recovered(collector, collected, "bluetoothd replaced")


async def test_a_bus_that_ends_is_joined_again_when_it_is_back(bus: SystemBus) -> None:
    async with collecting() as (collector, collected):
        await measure_once(collected)
        bus.kill()
        await until_scanning(collector, expected=False)
        bus.start()
        bus.start_bluez((HUB, DEVICE))
        await recovered(collector, collected, "bus restarted")


async def bluezoo(bluez: Bluez, method: str, signature: str, *body: object) -> None:
    await bluez.call("/org/bluezoo", "org.bluezoo.Manager1", method, signature, *body)


async def test_an_adapter_that_comes_back_under_another_name_is_followed_by_its_address(bus: SystemBus) -> None:
    async with collecting() as (collector, collected), Bluez() as bluez:
        await measure_once(collected)
        await bluezoo(bluez, "AddAdapter", "ys", 5, "00:00:00:00:00:BB")
        await bluezoo(bluez, "RemoveAdapter", "y", 0)
        await until_scanning(collector, expected=False)
        await bluezoo(bluez, "AddAdapter", "ys", 0, "00:00:00:00:00:AA")
        await bluezoo(bluez, "AddAdapter", "ys", 7, HUB)
        await recovered(collector, collected, "adapter renumbered")
        assert collector._radio.adapter == "hci7"


async def test_the_only_adapter_stands_in_until_the_right_one_is_there(bus: SystemBus) -> None:
    async with collecting("hci7") as (collector, collected), Bluez() as bluez:
        await bluezoo(bluez, "RemoveAdapter", "y", 1)
        await until_scanning(collector)
        assert collector._radio.adapter == "hci0"
        await bluezoo(bluez, "AddAdapter", "ys", 1, DEVICE)
        await measure_once(collected)
        await bluezoo(bluez, "AddAdapter", "ys", 7, "00:00:00:00:00:07")
        async with asyncio.timeout(WITHIN_S):
            while collector._radio.adapter != "hci7":  # noqa: ASYNC110  as above
                await asyncio.sleep(0.01)


async def test_an_adapter_named_by_its_address_that_is_switched_off_is_switched_on_again(bus: SystemBus) -> None:
    async with collecting(HUB) as (collector, collected), Bluez() as bluez:
        await measure_once(collected)
        await bluez.set("/org/bluez/hci0", ADAPTER, "Powered", "b", False)
        await recovered(collector, collected, "adapter powered off")
        assert (await bluez.properties("/org/bluez/hci0", ADAPTER))["Powered"] is True


async def test_a_device_that_is_switched_on_again_and_says_what_it_said_before_is_read_again(
    bare_bus: SystemBus,
) -> None:
    peer = Peer(address=DEVICE, name="Nonin", manufacturer=b"\x01")
    async with serving(peer) as bluez, collecting() as (collector, collected):
        for _ in range(2):
            await used_until_read(bluez, collected)
            bluez.peers.remove(peer)
            (device,) = bluez.devices.values()
            device.disconnect_now()
            async with asyncio.timeout(WITHIN_S):
                while collector.states()[0].connected:  # noqa: ASYNC110  as above
                    await asyncio.sleep(0.01)
            bluez.in_the_air(peer)
    assert len(collected.readings) == 2


# An adapter that is there and does not work: only its power mends that


async def used_until_read(bluez: FakeBluez, collected: Collected) -> None:
    """The device in the air is switched on, measures as soon as somebody listens, and is read."""
    async with asyncio.timeout(WITHIN_S):
        while not (devices := [d for d in bluez.devices.values() if d.characteristics]):  # noqa: ASYNC110  as above
            await asyncio.sleep(0.01)
        measurement = devices[0].characteristics[-1]
        await measurement.subscribed.wait()
        count = len(collected.readings)
        measurement.notify(SPO2_98)
        await collected.until(count + 1)


@pytest.mark.parametrize(("stuck", "why"), [("deaf", DEAF), ("refuses", SCAN_REFUSED), ("hangs", CONNECT_HANGS)])
async def test_a_stuck_adapter_is_power_cycled_and_then_works(
    stuck: str, why: str, bare_bus: SystemBus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="stafet")
    monkeypatch.setattr(ble, "SILENT_S", 0.1)
    monkeypatch.setattr(ble, "CONNECT_S", 0.1)
    monkeypatch.setattr(collect, "CONNECT_S", 0.3)
    monkeypatch.setattr(collect, "DEAF_TICKS", 2)
    async with serving(Peer(address=DEVICE, name="Nonin")) as bluez:
        bluez.stuck = stuck
        async with collecting() as (_, collected):
            await used_until_read(bluez, collected)
        assert bluez.power_cycles == 1
    (cycled,) = [record.fields for record in caplog.records if record.message == "adapter_power_cycled"]  # type: ignore[attr-defined]
    assert cycled == {"adapter": "hci0", "reason": why}


async def test_a_stuck_adapter_is_not_power_cycled_under_a_session_that_works(
    bare_bus: SystemBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ble, "SILENT_S", 0.1)
    monkeypatch.setattr(collect, "DEAF_TICKS", 2)
    async with serving(Peer(address=DEVICE, name="Nonin")) as bluez, collecting() as (collector, collected):
        await used_until_read(bluez, collected)
        bluez.stuck = "deaf"
        (measurement,) = [c for d in bluez.devices.values() for c in d.characteristics if c.subscribed.is_set()]
        for _ in range(4):
            await asyncio.sleep(0.3)
            measurement.notify(SPO2_98)
        await collected.until(5)
        assert collector.states()[0].sessions == 1
        assert bluez.power_cycles == 0


async def test_a_stuck_adapter_is_not_power_cycled_under_a_device_of_somebody_else(
    bare_bus: SystemBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ble, "SILENT_S", 0.1)
    monkeypatch.setattr(collect, "DEAF_TICKS", 1)
    serial_port = Peer(address="00:1C:05:00:00:01", name="Nonin over SPP")
    async with serving(serial_port) as bluez, collecting():
        async with asyncio.timeout(WITHIN_S):
            while not bluez.devices:  # noqa: ASYNC110  as above
                await asyncio.sleep(0.01)
        (device,) = bluez.devices.values()
        device.connect_now()
        bluez.stuck = "deaf"
        await asyncio.sleep(1.5)
        assert bluez.power_cycles == 0
        device.disconnect_now()
        async with asyncio.timeout(WITHIN_S):
            while bluez.power_cycles == 0:  # noqa: ASYNC110  as above
                await asyncio.sleep(0.01)


def test_a_minute_is_enough_to_find_an_adapter_stuck() -> None:
    deaf_s = LIMITS[DEAF] * collect.DEAF_TICKS * collect.TICK_S
    refused_s = sum(min(collect.FIRST_RETRY_S * 2**n, collect.LONGEST_RETRY_S) for n in range(LIMITS[SCAN_REFUSED]))
    pauses_s = sum(attention.FIRST_PAUSE_S * 2**n for n in range(LIMITS[CONNECT_HANGS] - 1))
    hangs_s = LIMITS[CONNECT_HANGS] * collect.CONNECT_S + pauses_s
    assert max(deaf_s, refused_s, hangs_s) + adapter.POWER_S <= 60
    assert collect.DEAF_TICKS * collect.TICK_S > ble.SILENT_S
    assert collect.CONNECT_S > ble.CONNECT_S > 20, "after the kernel's own time, and before the collector's"


def test_power_cycles_that_do_not_help_become_rare_and_one_that_helps_is_forgotten() -> None:
    health, cycles, now = Health(), [], 0.0
    for now in range(0, 24 * 3600, 20):
        health.failed(DEAF)
        if (why := health.due(now)) is not None:
            health.cycled(now, why)
            cycles.append(now)
    assert [second - first for first, second in pairwise(cycles[:5])] == [60, 120, 240, 480]
    assert cycles[-1] - cycles[-2] == LONGEST_PAUSE_S
    assert FIRST_PAUSE_S <= 60
    health.worked(DEAF)
    for _ in range(LIMITS[DEAF]):
        assert health.due(now) is None
        health.failed(DEAF)
    assert health.due(now) == DEAF
