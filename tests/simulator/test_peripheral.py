"""A simulated device as a hub's real BLE library sees it: bleak over BlueZ's D-Bus API, answered by BlueZoo."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.exc import BleakError

from simulator import measured, scenario
from simulator.ble.bluez import BluezError, Peripheral, adapters, full_uuid
from simulator.ble.devices.values import date_time, read_date_time
from simulator.log import Log
from simulator.play import play
from tests.support import PrivateBus

HCI0: Any = {"adapter": "hci0"}
WAIT_S = 15.0


def script(*devices: str, resend: bool = False) -> str:
    """A scenario of one person with these devices, on hci1 and up."""
    text = f'seed = 3\nresend = {str(resend).lower()}\nhang_up_s = 1.5\n[[person]]\nid = "p1"\n'
    for number, device in enumerate(devices, 1):
        kind, readings = device.split(":")
        text += (
            f'[[device]]\nkind = "{kind}"\nperson = "p1"\nadapter = "hci{number}"\nreadings = {readings}\nevery_s = 1\n'
        )
    return text


@asynccontextmanager
async def playing(text: str, directory: Path) -> AsyncIterator[asyncio.Task[int]]:
    path = directory / "scenario.toml"
    path.write_text(text)
    with (directory / "sim.log").open("w") as log:
        task = asyncio.create_task(play(scenario.load(path), Log(log)))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def records(directory: Path) -> list[measured.Record]:
    return list(measured.read(directory / "measured.jsonl"))


async def found(address: str) -> BLEDevice:
    device = await BleakScanner.find_device_by_address(address, timeout=WAIT_S, bluez=HCI0)
    assert device is not None, f"{address} was not found"
    return device


class Session:
    """A hub's session with one device: what was notified, and when the device hung up."""

    def __init__(self, client: BleakClient) -> None:
        self.client = client
        self.values: list[bytes] = []
        self.arrived: list[tuple[int, bytes]] = []
        """As `values`, each with its characteristic."""
        self.gone = asyncio.Event()
        self._news = asyncio.Event()

    async def subscribe(self, characteristic: int) -> None:
        def received(_: object, value: bytearray) -> None:
            self.values.append(bytes(value))
            self.arrived.append((characteristic, bytes(value)))
            self._news.set()

        await self.client.start_notify(full_uuid(characteristic), received)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def session(address: str) -> AsyncIterator[Session]:
    one: list[Session] = []
    client = BleakClient(await found(address), lambda _: one[0].gone.set(), bluez=HCI0)
    one.append(Session(client))
    async with client:
        yield one[0]


async def test_a_device_is_found_by_its_service_and_says_who_it_is(private_bus: PrivateBus, tmp_path: Path) -> None:
    async with playing(script("oximeter:1"), tmp_path):
        async with asyncio.timeout(WAIT_S):
            device = await BleakScanner.find_device_by_filter(
                lambda _, data: full_uuid(0x1822) in data.service_uuids, timeout=WAIT_S, bluez=HCI0
            )
        assert device is not None
        assert (device.address, device.name) == (private_bus.adapters[1], "SimOx 1")
        async with session(device.address) as hub:
            read = {
                uuid: bytes(await hub.client.read_gatt_char(full_uuid(uuid)))
                for uuid in (0x2A29, 0x2A24, 0x2A60, 0x2A2B)
            }
        assert read[0x2A29] == b"Stafet Simulator"
        assert read[0x2A24] == b"SimOx 1"
        assert read[0x2A60] == bytes.fromhex("0800")
        assert len(read[0x2A2B]) == 10


async def test_a_subscriber_gets_exactly_what_is_written_as_measured(private_bus: PrivateBus, tmp_path: Path) -> None:
    async with playing(script("scale:3"), tmp_path) as play_task:
        async with session(private_bus.adapters[1]) as hub:
            await hub.subscribe(0x2A9D)
            async with asyncio.timeout(WAIT_S):
                await hub.gone.wait()
        async with asyncio.timeout(WAIT_S):
            assert await play_task == 3
    assert hub.values == [one.data for one in records(tmp_path)]
    assert len(set(hub.values)) == 3, "each reading has its own time stamp"
    assert [one.device for one in records(tmp_path)] == [private_bus.adapters[1]] * 3


async def test_a_measurement_waits_until_somebody_listens(private_bus: PrivateBus, tmp_path: Path) -> None:
    async with playing(script("thermometer:2"), tmp_path), session(private_bus.adapters[1]) as hub:
        assert records(tmp_path) == []
        await hub.subscribe(0x2A1C)
        await hub.until(lambda: len(hub.values) == 2)


async def test_a_strap_notifies_only_while_it_is_listened_to(private_bus: PrivateBus, tmp_path: Path) -> None:
    async with playing(script("strap:2"), tmp_path) as play_task:
        async with session(private_bus.adapters[1]) as hub:
            await hub.subscribe(0x2A37)
            await hub.until(lambda: len(hub.values) == 2)
        async with asyncio.timeout(WAIT_S):
            assert await play_task == 2
    assert hub.values == [one.data for one in records(tmp_path)]


async def test_a_device_can_be_read_again_after_a_disconnect(private_bus: PrivateBus, tmp_path: Path) -> None:
    """Three sessions: BlueZoo would refuse the second without our care (see simulator.ble.bluez)."""
    got: list[bytes] = []
    async with playing(script("cuff:9"), tmp_path):
        for _ in range(3):
            async with session(private_bus.adapters[1]) as hub:
                await hub.subscribe(0x2A35)
                await hub.until(lambda: len(hub.values) >= 1)
            got += hub.values
    assert len(set(got)) == len(got) >= 3


async def test_measurements_of_a_session_that_broke_are_sent_again_byte_for_byte(
    private_bus: PrivateBus, tmp_path: Path
) -> None:
    async with playing(script("oximeter:2", resend=True), tmp_path) as play_task:
        async with session(private_bus.adapters[1]) as first:
            await first.subscribe(0x2A5E)
            await first.until(lambda: len(first.values) == 2)
            # gone within a second of the last value: the device cannot know that it was stored
        async with session(private_bus.adapters[1]) as second:
            await second.subscribe(0x2A5E)
            await second.until(lambda: len(second.values) == 2)
            await asyncio.sleep(1.2)  # in peace: the device believes a hub that hangs up later than SETTLE_S
        async with asyncio.timeout(WAIT_S):
            assert await play_task == 2
    assert second.values == first.values
    assert len(records(tmp_path)) == 2, "a measurement that was sent again is still one"


DYING_HUB = """
import asyncio, os, signal, sys
from bleak import BleakClient, BleakScanner

hci0 = {"adapter": "hci0"}
heard = set()

async def read(address, characteristic, everyone):
    def received(_, value):
        heard.add(address)
        if len(heard) == everyone:
            os.kill(os.getpid(), signal.SIGKILL)

    client = BleakClient(await BleakScanner.find_device_by_address(address, timeout=15, bluez=hci0), bluez=hci0)
    await client.connect()
    await client.start_notify(characteristic, received)

async def main(devices):
    for address, characteristic in devices:
        await read(address, characteristic, len(devices))
    await asyncio.sleep(15)

asyncio.run(main([device.split("/") for device in sys.argv[1:]]))
"""


async def test_a_killed_hub_is_followed_by_one_that_gets_everything(private_bus: PrivateBus, tmp_path: Path) -> None:
    """BlueZoo does not notice the death, and without our care it may freeze, and every device with it."""
    kinds = {"scale": 0x2A9D, "cuff": 0x2A35, "thermometer": 0x2A1C}
    devices = list(zip(private_bus.adapters[1:], kinds.values(), strict=False))
    async with playing(script(*(f"{kind}:6" for kind in kinds), resend=True), tmp_path) as play_task:
        for _ in range(2):
            hub = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                DYING_HUB,
                *(f"{address}/{full_uuid(uuid)}" for address, uuid in devices),
            )
            async with asyncio.timeout(2 * WAIT_S):
                assert await hub.wait() == -signal.SIGKILL

        async def read_to_the_end(address: str, characteristic: int) -> int:
            async with session(address) as last:
                await last.subscribe(characteristic)
                await last.until(lambda: len(set(last.values)) == 6)
                await asyncio.sleep(1.2)  # in peace: the device believes a hub that hangs up later than SETTLE_S
            return len(set(last.values))

        assert await asyncio.gather(*(read_to_the_end(*device) for device in devices)) == [6] * len(kinds)
        async with asyncio.timeout(WAIT_S):
            assert await play_task == 6 * len(kinds)


async def test_a_burst_of_records_keeps_its_order_across_characteristics(
    private_bus: PrivateBus, tmp_path: Path
) -> None:
    text = script("glucose-meter:1").replace("readings = 1", "readings = 0\nstored = 60")
    async with playing(text, tmp_path) as play_task:
        async with session(private_bus.adapters[1]) as hub:
            with pytest.raises(BleakError, match="0x81"):  # nobody listens: GLS 1.6
                await hub.client.write_gatt_char(full_uuid(0x2A52), b"\x01\x01", response=True)
            for uuid in (0x2A18, 0x2A34, 0x2A52):
                await hub.subscribe(uuid)
            await hub.client.write_gatt_char(full_uuid(0x2A52), b"\x01\x01", response=True)
            await hub.until(lambda: hub.arrived[-1:] == [(0x2A52, bytes.fromhex("06000101"))])
        async with asyncio.timeout(WAIT_S):
            assert await play_task == 90
    assert hub.arrived[:-1] == [(one.characteristic, one.data) for one in records(tmp_path)]
    sequence = [int.from_bytes(data[1:3], "little") for uuid, data in hub.arrived if uuid == 0x2A18]
    assert sequence == list(range(1, 61))


async def test_a_device_that_hung_up_at_a_write_has_its_clock_set_the_next_time(
    private_bus: PrivateBus, tmp_path: Path
) -> None:
    faults = 'faults = ["clock-unset", "disconnect-after-write"]'
    now = datetime.now().replace(microsecond=0)  # noqa: DTZ005 - what the device shall show
    async with playing(script("cuff-aandd:1") + faults, tmp_path) as play_task:
        async with session(private_bus.adapters[1]) as first:
            await first.client.write_gatt_char(full_uuid(0x2A08), date_time(now), response=True)
            async with asyncio.timeout(WAIT_S):
                await first.gone.wait()
        async with session(private_bus.adapters[1]) as second:
            before = bytes(await second.client.read_gatt_char(full_uuid(0x2A08)))
            assert now <= read_date_time(before) <= now + timedelta(minutes=1)
            await second.client.write_gatt_char(full_uuid(0x2A08), date_time(now), response=True)
            await second.subscribe(0x2A35)
            await second.until(lambda: len(second.values) == 1)
        async with asyncio.timeout(WAIT_S):
            assert await play_task == 1


async def test_what_is_no_result_of_this_person_is_written_down_as_such(
    private_bus: PrivateBus, tmp_path: Path
) -> None:
    async with playing(script("scale:2") + 'faults = ["garbage", "second-person"]', tmp_path) as play_task:
        async with session(private_bus.adapters[1]) as hub:
            await hub.subscribe(0x2A9D)
            await hub.until(lambda: len(hub.values) == 3)
        async with asyncio.timeout(WAIT_S):
            assert await play_task == 3
    assert [one.data for one in records(tmp_path)] == hub.values
    assert [(one.person, len(one.values), one.expected) for one in records(tmp_path)] == [
        ("p1", 1, True), ("p1", 0, False), ("p1-guest", 1, False),
    ]  # fmt: skip


async def test_seven_devices_register_at_once(private_bus: PrivateBus, tmp_path: Path) -> None:
    kinds = ("oximeter", "cuff", "scale", "thermometer", "strap", "oximeter", "cuff")
    async with playing(script(*(f"{kind}:1" for kind in kinds)), tmp_path):
        async with asyncio.timeout(WAIT_S):
            while len(await BleakScanner.discover(timeout=0.5, bluez=HCI0)) < len(kinds):
                pass


async def test_an_adapter_that_is_not_there_is_named_with_those_that_are(private_bus: PrivateBus) -> None:
    with pytest.raises(BluezError, match=r"no Bluetooth adapter hci99; there are /org/bluez/hci0, "):
        async with Peripheral(adapter="hci99", name="x", appearance=0, services=lambda _: ()):
            pass


async def test_an_adapter_may_be_named_by_its_address(private_bus: PrivateBus, tmp_path: Path) -> None:
    text = script("scale:1").replace("hci1", private_bus.adapters[2])
    async with playing(text, tmp_path):
        await found(private_bus.adapters[2])


async def test_the_adapters_of_a_bus_are_listed_with_their_addresses(private_bus: PrivateBus) -> None:
    listed = await adapters(bus_address=private_bus.address)
    assert tuple(listed.values()) == private_bus.adapters
