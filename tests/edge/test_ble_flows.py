"""Stored records over BlueZ's D-Bus API: real bleak, BlueZoo, and a meter that gives out its records when asked."""

import asyncio
from contextlib import AbstractAsyncContextManager

from edge.ble.collect import Collector
from simulator.ble.bluez import Characteristic, Peripheral, Service
from simulator.ble.racp import RecordAccess, Reported
from tests.edge.collecting import Store, clock_that_is
from tests.edge.radio_story import WITHIN_S, collecting_with_bleak, no_bus_left_open  # noqa: F401  (a fixture)
from tests.edge.test_flows import CONTEXT, GLUCOSE, glucose, values_of
from tests.support import PrivateBus
from wire.evidence import ClockState
from wire.services import RACP

OLD_CLOCK = bytes.fromhex("e8070101000000010000")
Values = list[tuple[int, bytes]]


class Meter:
    """A glucose meter with a clock, on an adapter."""

    def __init__(self) -> None:
        self.access: RecordAccess[Values] = RecordAccess()
        self.clock = OLD_CLOCK
        self.asked: asyncio.Queue[Reported[Values]] = asyncio.Queue()
        self.peripheral = Peripheral(adapter="hci1", name="Meter", appearance=0, services=lambda _: self.services())

    def services(self) -> tuple[Service, ...]:
        return (
            Service(
                uuid=0x1808,
                characteristics=(
                    Characteristic(uuid=GLUCOSE, flags=("notify",)),
                    Characteristic(uuid=CONTEXT, flags=("notify",)),
                    Characteristic(uuid=0x2A51, flags=("read",), read=lambda: b"\0\0"),
                    Characteristic(uuid=RACP, flags=("write", "indicate"), write=self.request),
                ),
            ),
            Service(
                uuid=0x1805,
                characteristics=(
                    Characteristic(uuid=0x2A2B, flags=("read", "write"), read=lambda: self.clock, write=self.set_clock),
                ),
            ),
        )

    def request(self, value: bytes) -> None:
        self.asked.put_nowait(self.access.write(value, configured=self.peripheral.subscribed(RACP)))

    def set_clock(self, value: bytes) -> None:
        self.clock = value

    async def answer(self) -> None:
        while True:
            reported = await self.asked.get()
            for record in reported.records:
                for uuid, value in record:
                    await self.peripheral.send(uuid, value)
            self.access.finished()
            await self.peripheral.send(RACP, reported.then)


def collecting(bus: PrivateBus, store: Store) -> AbstractAsyncContextManager[Collector]:
    clock = clock_that_is(ClockState.SYNCHRONISED)
    return collecting_with_bleak([bus.adapters[1]], store.put, memory=store, now=clock, idle_timeout_s=0.5)


async def test_200_stored_records_arrive_in_order_and_once_and_the_clock_is_set_after_them(
    private_bus: PrivateBus,
) -> None:
    store, meter = Store(), Meter()
    kept = [glucose(number, meal=number % 10 == 0) for number in range(200)]
    for record in kept:
        meter.access.store(record.number, record.values)
    async with meter.peripheral as device, collecting(private_bus, store):
        answering = asyncio.create_task(meter.answer())
        await device.advertise()
        async with asyncio.timeout(WITHIN_S):
            while meter.clock == OLD_CLOCK:  # noqa: ASYNC110  a poll with an end, of real parts
                await asyncio.sleep(0.01)
        answering.cancel()
    assert store.values == values_of(kept)
    assert meter.clock[:2] == bytes.fromhex("e907")
    assert {c.value for r in store.readings for c in r.context if c.characteristic == 0x2A2B} == {OLD_CLOCK}
    (mark,) = store.marks.values()
    assert mark is not None
    assert mark.number == 199
