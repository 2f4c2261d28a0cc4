"""What the tests of the real radio share: a peripheral, and what was collected from it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bleak.backends.bluezdbus.manager import _global_instances

from edge.ble.bleak_radio import BleakRadio
from edge.ble.collect import Collector
from edge.intake import Intake
from simulator.ble.bluez import Characteristic, Peripheral, Service
from tests.edge.collecting import running
from wire.batch import parse_reading
from wire.evidence import Clock, ClockState, Reading

WITHIN_S = 15


def services(measurement: int, service: int) -> Sequence[Service]:
    return (
        Service(
            uuid=service,
            characteristics=(
                Characteristic(uuid=measurement, flags=("indicate",)),
                Characteristic(uuid=0x2A60, flags=("read",), read=lambda: b"\x08\x00"),
            ),
        ),
        Service(
            uuid=0x180A,
            characteristics=(Characteristic(uuid=0x2A29, flags=("read",), read=lambda: b"Nonin"),),
        ),
    )


def peripheral(adapter: str, *, measurement: int = 0x2A5E, service: int = 0x1822) -> Peripheral:
    return Peripheral(
        adapter=adapter, name=f"Device on {adapter}", appearance=0, services=lambda _: services(measurement, service)
    )


def now() -> Clock:
    return Clock(
        wall_us=time.time_ns() // 1000,
        mono_us=time.monotonic_ns() // 1000,
        boot=bytes(16),
        state=ClockState.UNSYNCHRONISED,
    )


@pytest.fixture(autouse=True)
async def no_bus_left_open() -> AsyncIterator[None]:
    """bleak keeps one D-Bus connection per event loop until the process ends; a test's loop ends before that."""
    yield
    manager = _global_instances.pop(asyncio.get_running_loop(), None)
    if manager is not None and manager._bus is not None:
        manager._bus.disconnect()
        await asyncio.wait_for(asyncio.shield(manager._bus_watcher_task or asyncio.sleep(0)), WITHIN_S)


class Collected:
    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.news = asyncio.Event()

    def put(self, encoded: bytes) -> int:
        reading = parse_reading(encoded)
        assert isinstance(reading, Reading)
        self.readings.append(reading)
        self.news.set()
        return len(self.readings)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(WITHIN_S):
            while len(self.readings) < count:
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def collecting_with_bleak(
    addresses: Sequence[str], put: Callable[[bytes], int], *, adapter: str = "hci0", **more: Any
) -> AsyncIterator[Collector]:
    """A collector with the real radio, which is let go of at the end; `more` is for `Collector`."""
    radio = BleakRadio(adapter=adapter)
    collector = Collector(
        radio=radio,
        devices=[(bytes.fromhex(address.replace(":", "")), "") for address in addresses],
        intake=Intake(put=put, stored=lambda: None),
        **{"now": now, **more},
    )
    try:
        async with running(collector.run()):
            yield collector
    finally:
        await radio.close()
