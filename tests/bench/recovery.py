"""How long until a reading arrives again, with the hub's own pauses, after BlueZ, the bus or the adapter failed.

Real bleak, on a bus of our own. Against BlueZoo what fails is away for 12 s and the time counts from its return;
against `fake_bluez` the adapter is stuck from the start, and the time counts from there.
"""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from edge.bluez import ADAPTER, Bluez
from tests.bench.micro import Figure
from tests.edge.fake_bluez import Peer, serving
from tests.edge.radio_story import Collected, collecting_with_bleak, peripheral
from tests.system_bus import SystemBus

HUB, DEVICE = "00:00:00:00:00:01", "00:00:00:00:00:02"
SPO2_98 = bytes.fromhex("0062004800")
AWAY_S = 12.0
LIMIT_S = 60.0

Step = Callable[[], Awaitable[None]]


def recovery() -> Iterator[Figure]:
    """Each failure once; four minutes."""
    directory = Path(tempfile.mkdtemp(prefix="stafet-recovery-"))
    bus = SystemBus(directory)
    os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = bus.address
    try:
        bus.start()
        for name, break_it, mend_it in _failures(bus):
            yield _figure(name, asyncio.run(_after(bus, break_it, mend_it)))
        for stuck in ("deaf", "refuses", "hangs"):
            yield _figure(f"adapter stuck: {stuck}", asyncio.run(_stuck(stuck)))
    finally:
        bus.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _figure(name: str, seconds: float) -> Figure:
    return Figure(f"next reading, {name}", seconds, "s", LIMIT_S, "<=")


def _failures(bus: SystemBus) -> Iterator[tuple[str, Step, Step]]:
    async def manager(method: str, signature: str, *body: object) -> None:
        async with Bluez() as bluez:
            await bluez.call("/org/bluezoo", "org.bluezoo.Manager1", method, signature, *body)

    async def kill() -> None:
        bus.kill_bluez()

    async def start() -> None:
        bus.start_bluez((HUB, DEVICE))

    yield "bluetoothd crashed", kill, start

    async def freeze() -> None:
        bus.signal_bluez(signal.SIGSTOP)

    async def thaw() -> None:
        bus.signal_bluez(signal.SIGCONT)

    yield "bluetoothd hung", freeze, thaw

    async def kill_bus() -> None:
        bus.kill()

    async def start_bus() -> None:
        bus.start()
        bus.start_bluez((HUB, DEVICE))

    yield "bus crashed", kill_bus, start_bus

    async def unplug() -> None:
        await manager("AddAdapter", "ys", 5, "00:00:00:00:00:BB")
        await manager("RemoveAdapter", "y", 0)

    async def plug_in() -> None:
        await manager("AddAdapter", "ys", 7, HUB)

    yield "adapter renumbered", unplug, plug_in

    async def switch_off() -> None:
        async with Bluez() as bluez:
            await bluez.set("/org/bluez/hci0", ADAPTER, "Powered", "b", False)

    async def nothing() -> None:
        """The hub switches it on itself."""

    yield "adapter switched off", switch_off, nothing


async def _after(bus: SystemBus, break_it: Step, mend_it: Step) -> float:
    bus.start_bluez((HUB, DEVICE))
    async with _collecting() as collected:
        await _measure(collected)
        await break_it()
        await asyncio.sleep(AWAY_S)
        await mend_it()
        begun = time.monotonic()
        await _measure(collected)
        took_s = time.monotonic() - begun
    bus.kill_bluez()
    return took_s


async def _stuck(how: str) -> float:
    async with serving(Peer(address=DEVICE, name="Nonin")) as bluez:
        bluez.stuck = how
        begun = time.monotonic()
        async with _collecting() as collected, asyncio.timeout(2 * LIMIT_S):
            while not (used := [device for device in bluez.devices.values() if device.characteristics]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await used[0].characteristics[-1].subscribed.wait()
            used[0].characteristics[-1].notify(SPO2_98)
            await collected.until(1)
            return time.monotonic() - begun


@asynccontextmanager
async def _collecting() -> AsyncIterator[Collected]:
    collected = Collected()
    async with collecting_with_bleak([DEVICE], collected.put):
        yield collected


async def _measure(collected: Collected) -> None:
    count = len(collected.readings)
    async with peripheral("hci1") as device, asyncio.timeout(2 * LIMIT_S):
        await device.advertise()
        subscription = await device.subscribers.get()
        await device.withdraw()
        await subscription.send(SPO2_98)
        await device.hang_up(subscription)
        while len(collected.readings) == count:
            collected.news.clear()
            await collected.news.wait()
