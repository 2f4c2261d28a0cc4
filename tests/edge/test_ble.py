"""Real bleak over BlueZ's D-Bus API, against BlueZoo on a private bus and the simulator's peripherals."""

import ast
import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge.ble import attention
from edge.ble.bleak_radio import BleakRadio
from edge.ble.collect import Collector
from edge.ble.radio import RadioError, Sighting
from simulator.ble.bluez import Peripheral
from tests.edge.radio_story import Collected, collecting_with_bleak, no_bus_left_open, peripheral, services  # noqa: F401  (a fixture)
from tests.support import PrivateBus

SPO2_98 = bytes.fromhex("0062004800")
BP_122_80 = bytes.fromhex("007a0050005e00")
WITHIN_S = 15


def address(bus: PrivateBus, number: int) -> bytes:
    return bytes.fromhex(bus.adapters[number].replace(":", ""))


@asynccontextmanager
async def collecting(bus: PrivateBus, *numbers: int) -> AsyncIterator[tuple[Collector, Collected]]:
    collected = Collected()
    addresses = [bus.adapters[number] for number in numbers]
    async with collecting_with_bleak(addresses, collected.put, idle_timeout_s=1.5) as collector:
        yield collector, collected


async def until_idle(collector: Collector) -> None:
    async with asyncio.timeout(WITHIN_S):
        while any(state.connected for state in collector.states()):  # noqa: ASYNC110  a poll with an end, of real parts
            await asyncio.sleep(0.01)


async def test_a_reading_comes_with_address_name_and_device_information_each_time_the_device_is_used(
    private_bus: PrivateBus,
) -> None:
    async with collecting(private_bus, 1) as (collector, collected), peripheral("hci1") as device:
        for count in (1, 2, 3):
            await device.advertise()
            async with asyncio.timeout(WITHIN_S):
                subscription = await device.subscribers.get()
            await device.withdraw()
            assert await subscription.send(SPO2_98), "BlueZ confirmed the indication"
            await device.hang_up(subscription)
            await collected.until(count)
            await until_idle(collector)
    for reading in collected.readings:
        assert reading.device.address == address(private_bus, 1)
        assert reading.device.name == "Device on hci1"
        assert (reading.characteristic, reading.value) == (0x2A5E, SPO2_98)
        assert {c.characteristic: c.value for c in reading.context} == {0x2A60: b"\x08\x00", 0x2A29: b"Nonin"}


async def test_a_device_that_stays_silent_is_disconnected_and_can_be_used_later(
    private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "FIRST_PAUSE_S", 0.05)
    async with collecting(private_bus, 1) as (collector, collected), peripheral("hci1") as device:
        await device.advertise()
        async with asyncio.timeout(WITHIN_S):
            subscription = await device.subscribers.get()
            await subscription.end
        await until_idle(collector)
        assert collected.readings == []
        async with asyncio.timeout(WITHIN_S):
            subscription = await device.subscribers.get()
        assert await subscription.send(SPO2_98)
        await collected.until(1)


async def test_several_devices_are_read_at_the_same_time(private_bus: PrivateBus) -> None:
    async with (
        collecting(private_bus, 1, 2, 3) as (collector, collected),
        peripheral("hci1") as oximeter,
        peripheral("hci2", measurement=0x2A35, service=0x1810) as cuff,
        peripheral("hci3", measurement=0x2A9D, service=0x181D) as scale,
    ):
        devices = (oximeter, cuff, scale)
        for device in devices:
            await device.advertise()
        async with asyncio.timeout(WITHIN_S):
            subscriptions = [await device.subscribers.get() for device in devices]
        assert sum(state.connected for state in collector.states()) == 3
        for subscription in subscriptions:
            assert await subscription.send(BP_122_80)
        await collected.until(3)
    assert [reading.characteristic for reading in collected.readings] == [0x2A5E, 0x2A35, 0x2A9D]


async def test_a_burst_of_stored_measurements_arrives_complete_and_in_order(private_bus: PrivateBus) -> None:
    values = [bytes((0, number, 0, number, 0)) for number in range(100)]
    async with collecting(private_bus, 1) as (_, collected), peripheral("hci1") as device:
        await device.advertise()
        async with asyncio.timeout(WITHIN_S):
            subscription = await device.subscribers.get()
        for value in values:
            assert await subscription.send(value)
        await collected.until(len(values))
    assert [reading.value for reading in collected.readings] == values


async def test_a_device_that_is_not_listed_is_never_connected_to(private_bus: PrivateBus) -> None:
    async with (
        collecting(private_bus, 1) as (_, collected),
        peripheral("hci1") as listed,
        peripheral("hci2") as stranger,
    ):
        await stranger.advertise()
        await listed.advertise()
        async with asyncio.timeout(WITHIN_S):
            subscription = await listed.subscribers.get()
        assert await subscription.send(SPO2_98)
        await collected.until(1)
        assert stranger.subscribers.empty()
    assert f"Connecting device[{private_bus.adapters[2]}]" not in private_bus.log.read_text()


async def test_a_listed_device_is_read_even_if_its_advertisement_does_not_tell_what_it_measures(
    private_bus: PrivateBus,
) -> None:
    device_information_first = tuple(reversed(services(0x2A5E, 0x1822)))
    device = Peripheral(adapter="hci1", name="Shy", appearance=0, services=lambda _: device_information_first)
    async with collecting(private_bus, 1) as (_, collected), device:
        await device.advertise()
        async with asyncio.timeout(WITHIN_S):
            subscription = await device.subscribers.get()
        assert await subscription.send(SPO2_98)
        await collected.until(1)


async def test_a_device_that_a_killed_hub_left_connected_is_found_and_read(private_bus: PrivateBus) -> None:
    radio = BleakRadio(adapter="hci0", wanted=[address(private_bus, 1)])
    async with peripheral("hci1") as device:
        await device.advertise()
        sightings: asyncio.Queue[Sighting] = asyncio.Queue()
        async with radio.scan(sightings.put_nowait), asyncio.timeout(WITHIN_S):
            forgotten = await radio.connect(await sightings.get())
        await device.withdraw()
        async with collecting(private_bus, 1) as (_, collected):
            async with asyncio.timeout(WITHIN_S):
                subscription = await device.subscribers.get()
            assert await subscription.send(SPO2_98)
            await collected.until(1)
        await forgotten.close()
    await radio.close()


async def test_a_missing_adapter_is_a_radio_error_and_no_more(private_bus: PrivateBus) -> None:
    radio = BleakRadio(adapter="hci77", wanted=[address(private_bus, 1)])
    with pytest.raises(RadioError, match="no-adapter"):
        async with radio.scan(lambda _: None):
            pass
    await radio.close()


async def test_a_missing_bus_is_a_radio_error_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    radio = BleakRadio(adapter="hci0", wanted=[])
    with pytest.raises(RadioError, match="no-bus"):
        async with radio.scan(lambda _: None):
            pass


def test_no_other_platform_is_pulled_in_with_bleak() -> None:
    program = (
        "import sys, edge.ble.bleak_radio\n"
        "from bleak.backends.client import get_platform_client_backend_type\n"
        "from bleak.backends.scanner import get_platform_scanner_backend_type\n"
        "get_platform_client_backend_type(), get_platform_scanner_backend_type()\n"
        "print([m for m in sys.modules if m.startswith('bleak.backends.') and m.count('.') == 2])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    packages = {name for name in ast.literal_eval(done.stdout) if not name.startswith("bleak.backends._")}
    assert packages == {
        f"bleak.backends.{name}"
        for name in ("adapter", "bluezdbus", "characteristic", "client", "descriptor", "device", "scanner", "service")
    }
