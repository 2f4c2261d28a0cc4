"""The hub's Current Time Service, read by a device through BlueZ's API (BlueZoo on a bus of its own)."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edge.ble import time_service
from edge.ble.device_clock import CURRENT_TIME
from edge.ble.pairing import listening
from edge.ble.time_service import LOCAL_TIME_INFORMATION, TimeService, local_time_information
from edge.bluez import ADAPTER, CHARACTERISTIC, DEVICE, Bluez
from tests.edge.collecting import running
from tests.edge.radio_story import now, peripheral
from tests.system_bus import SystemBus
from wire.evidence import Clock, ClockState
from wire.services import format_uuid

HUB = "00:00:00:00:00:01"
DEVICE_ADDRESS = "00:00:00:00:00:02"
WITHIN_S = 10
SERVICE = format_uuid(0x1805)
COPENHAGEN = ZoneInfo("Europe/Copenhagen")


class HubClock:
    def __init__(self, state: ClockState) -> None:
        self.state = state
        self.ahead_us = 0

    def now(self) -> Clock:
        clock = now()
        return replace(clock, state=self.state, wall_us=clock.wall_us + self.ahead_us)


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SystemBus]:
    bus = SystemBus(tmp_path)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    monkeypatch.setenv("TZ", "Europe/Copenhagen")
    monkeypatch.setattr(time_service, "CHECK_S", 0.05)
    time.tzset()
    try:
        bus.start()
        bus.start_bluez((HUB, DEVICE_ADDRESS))
        yield bus
    finally:
        bus.stop()
        monkeypatch.undo()
        time.tzset()


@asynccontextmanager
async def offering(clock: HubClock) -> AsyncIterator[None]:
    async with running(TimeService(adapter=lambda: "hci0", now=clock.now).run()):
        yield


async def until_offered(bluez: Bluez, *, expected: bool) -> None:
    async with asyncio.timeout(WITHIN_S):
        while (SERVICE in (await bluez.properties("/org/bluez/hci0", ADAPTER))["UUIDs"]) is not expected:  # noqa: ASYNC110  as below
            await asyncio.sleep(0.01)


def moment(value: bytes) -> datetime:
    return datetime(
        int.from_bytes(value[:2], "little"), value[2], value[3], value[4], value[5], value[6], tzinfo=COPENHAGEN
    )


async def connected_device(bluez: Bluez) -> dict[str, str]:
    """The hub connects to a device, and the device looks at what the hub has: UUID to path."""
    async with listening(bluez, "/org/bluez/hci0") as air, asyncio.timeout(WITHIN_S):
        while not (seen := air.candidates()):  # noqa: ASYNC110  a poll with an end, of real parts
            await asyncio.sleep(0.01)
    await bluez.call(seen[0].path, DEVICE, "Connect")
    await bluez.call(f"/org/bluez/hci1/dev_{HUB.replace(':', '_')}", DEVICE, "Connect")
    return {
        interfaces[CHARACTERISTIC]["UUID"]: path
        for path, interfaces in (await bluez.objects()).items()
        if CHARACTERISTIC in interfaces and path.startswith("/org/bluez/hci1/")
    }


async def test_a_device_reads_local_time_and_zone_from_the_hub_and_is_told_when_the_clock_is_set(
    bus: SystemBus,
) -> None:
    clock = HubClock(ClockState.SYNCHRONISED)
    async with Bluez() as bluez, peripheral("hci1") as device, offering(clock):
        await device.advertise()
        await until_offered(bluez, expected=True)
        found = await connected_device(bluez)
        value = bytes(await bluez.call(found[format_uuid(CURRENT_TIME)], CHARACTERISTIC, "ReadValue", "a{sv}", {}))
        zone = bytes(
            await bluez.call(found[format_uuid(LOCAL_TIME_INFORMATION)], CHARACTERISTIC, "ReadValue", "a{sv}", {})
        )
        told: asyncio.Queue[bytes] = asyncio.Queue()
        await bluez.watch(CHARACTERISTIC, lambda _, values: told.put_nowait(bytes((values or {}).get("Value", b""))))
        await bluez.call(found[format_uuid(CURRENT_TIME)], CHARACTERISTIC, "StartNotify")
        clock.ahead_us = 3_600_000_000
        async with asyncio.timeout(WITHIN_S):
            later = await told.get()
    here = datetime.now(COPENHAGEN)
    assert abs((here - moment(value)).total_seconds()) < 10
    assert (len(value), value[7]) == (10, here.isoweekday())
    assert (zone[0], zone[1]) == (4, 4 if here.dst() else 0)
    assert 3600 <= (moment(later) - moment(value)).total_seconds() < 3620


async def test_without_the_right_time_nothing_is_offered_and_a_restarted_bluetoothd_gets_it_again(
    bus: SystemBus,
) -> None:
    clock = HubClock(ClockState.UNSYNCHRONISED)
    async with offering(clock):
        async with Bluez() as bluez:
            await asyncio.sleep(0.2)
            await until_offered(bluez, expected=False)
            clock.state = ClockState.SYNCHRONISED
            await until_offered(bluez, expected=True)
            clock.state = ClockState.UNSYNCHRONISED
            await until_offered(bluez, expected=False)
            clock.state = ClockState.SYNCHRONISED
            await until_offered(bluez, expected=True)
        bus.kill_bluez()
        bus.start_bluez((HUB, DEVICE_ADDRESS))
        async with Bluez() as bluez:
            await until_offered(bluez, expected=True)


@pytest.mark.parametrize(
    ("zone", "moment", "expected"),
    [
        ("Europe/Copenhagen", "2026-01-15T12:00:00+00:00", "0400"),
        ("Europe/Copenhagen", "2026-07-15T12:00:00+00:00", "0404"),
        ("America/Godthab", "2026-01-15T12:00:00+00:00", "f800"),
        ("Asia/Kathmandu", "2026-01-15T12:00:00+00:00", "1700"),
    ],
)
def test_zone_and_daylight_saving_are_told_in_quarters_of_an_hour(
    zone: str, moment: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        clock = replace(now(), wall_us=int(datetime.fromisoformat(moment).timestamp() * 1e6))
        assert local_time_information(clock).hex() == expected
    finally:
        monkeypatch.undo()
        time.tzset()
