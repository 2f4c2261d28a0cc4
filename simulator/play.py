"""Playing a scenario: devices wake when a measurement was taken, advertise, hand it to whoever subscribes, and sleep.

`Memory` is what a device remembers; it does no I/O and is told the time. Around it `_Player` moves bytes.

What proves that a hub has a measurement? Nothing on this link does. The confirmation of an indication is given by the
Bluetooth stack, before the hub has stored anything, and these services have no acknowledgement of the application. So a
device that must not lose a measurement keeps it and sends it again when in doubt (`resend`): the same bytes with the
same time stamp, which the far side recognises. It is in doubt until the hub itself hung up, and hung up `SETTLE_S`
after the last value. A device without a clock (the strap) cannot be recognised, and never sends anything twice.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from simulator.bluez import Characteristic, End, Peripheral, Service, Subscription
from simulator.devices import (
    CURRENT_TIME,
    CURRENT_TIME_SERVICE,
    DEVICE_INFORMATION,
    Measured,
    current_time,
    device_information,
)
from simulator.log import Log
from simulator.measured import Record
from simulator.people import vitals
from simulator.scenario import Device, Scenario

SETTLE_S = 1.0
"""A value that left the device this long before the hub hung up is in the hub's store: one commit takes milliseconds."""


class Memory:
    """The measurements that one device holds: waiting, and sent in a session whose end is not known yet."""

    def __init__(self, *, resend: bool) -> None:
        self._resend = resend
        self._waiting: deque[tuple[Measured, bool]] = deque()
        self._in_doubt: list[Measured] = []
        self._last_sent = 0.0
        self.resent = 0

    @property
    def anything(self) -> bool:
        """Whether the device has a reason to be found: something to send, or something it may have to send again."""
        return bool(self._waiting or self._in_doubt)

    def put(self, measured: Measured) -> None:
        self._waiting.append((measured, True))

    def begin(self) -> None:
        """A subscriber is there. What the last one may not have kept goes first."""
        self._waiting.extendleft((measured, False) for measured in reversed(self._in_doubt))
        self.resent += len(self._in_doubt)
        self._in_doubt.clear()

    def next(self) -> tuple[Measured, bool] | None:
        """The next measurement to send, and whether it is sent for the first time."""
        return self._waiting[0] if self._waiting else None

    def sent(self, now: float) -> None:
        """What `next` gave has left the device."""
        measured, _ = self._waiting.popleft()
        self._last_sent = now
        if self._resend:
            self._in_doubt.append(measured)

    def end(self, now: float, *, hub_hung_up: bool) -> None:
        """The session is over."""
        if hub_hung_up and now - self._last_sent >= SETTLE_S:
            self._in_doubt.clear()


async def play(scenario: Scenario, log: Log) -> int:
    """Play to the end: every measurement taken and handed over. Returns how many were sent."""
    scenario.output.parent.mkdir(parents=True, exist_ok=True)
    with scenario.output.open("a", encoding="utf-8", buffering=1) as output:
        sent = 0

        def record(one: Record) -> None:
            nonlocal sent
            sent += 1
            output.write(one.line())

        players = [_Player(device, ZoneInfo(scenario.timezone), record, log) for device in scenario.devices]
        registered = asyncio.Barrier(len(players))
        async with asyncio.TaskGroup() as group:
            for player in players:
                group.create_task(player.run(registered), name=player.device.label)
        return sent


class _Player:
    """One device of the scenario, on its peripheral."""

    def __init__(self, device: Device, timezone: ZoneInfo, record: Callable[[Record], None], log: Log) -> None:
        self.device = device
        self._timezone = timezone
        self._record = record
        self._log = log
        self._memory = Memory(resend=device.resend and device.kind.clock)
        self._changed = asyncio.Event()
        self._measuring = True
        self._done = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._last_time: datetime | None = None

    async def run(self, registered: asyncio.Barrier) -> None:
        """Register, measure and serve until everything is handed over, and stay until every other device is done."""
        kind = self.device.kind
        async with Peripheral(
            adapter=self.device.adapter, name=kind.model, appearance=kind.appearance, services=self._services
        ) as peripheral:
            self._log("peripheral_registered", device=self.device.label, adapter=self.device.adapter)
            await registered.wait()
            async with asyncio.TaskGroup() as group:
                measuring = group.create_task(self._measure(peripheral))
                serving = group.create_task(self._serve(peripheral))
                await self._done.wait()
                measuring.cancel()
                serving.cancel()
            self._log("device_finished", device=self.device.label, count=self._memory.resent)
            await registered.wait()

    def _services(self, address: str) -> tuple[Service, ...]:
        kind = self.device.kind
        measurement = Characteristic(uuid=kind.characteristic, flags=(kind.flag,))
        readable = tuple(_constant(uuid, value) for uuid, value in kind.reads.items())
        services = [
            Service(uuid=kind.service, characteristics=(measurement, *readable)),
            Service(
                uuid=DEVICE_INFORMATION,
                characteristics=tuple(_constant(uuid, value) for uuid, value in device_information(kind, address)),
            ),
        ]
        if kind.clock:
            clock = Characteristic(uuid=CURRENT_TIME, flags=("read",), read=lambda: current_time(self._now()))
            services.append(Service(uuid=CURRENT_TIME_SERVICE, characteristics=(clock,)))
        return tuple(services)

    def _now(self) -> datetime:
        return datetime.now(self._timezone)

    def _stamp(self) -> datetime:
        """The time stamp of a measurement taken now: whole seconds of the device's clock, never the same twice."""
        stamp = self._now().replace(microsecond=0)
        if self._last_time is not None and stamp <= self._last_time:
            stamp = self._last_time + timedelta(seconds=1)
        self._last_time = stamp
        return stamp

    async def _measure(self, peripheral: Peripheral) -> None:
        await asyncio.sleep(self.device.start_s)
        for number in range(self.device.readings):
            if number:
                await asyncio.sleep(self.device.every_s)
            if not self.device.kind.clock:
                # A device without a clock shows what is true now, so it measures only while somebody listens.
                await peripheral.advertise()
                await self._subscribed.wait()
            stamp = self._stamp()
            self._memory.put(self.device.kind.measure(vitals(self.device.person, stamp), stamp))
            self._changed.set()
            await peripheral.advertise()
        self._measuring = False
        self._finish_if_done()

    async def _serve(self, peripheral: Peripheral) -> None:
        while True:
            subscription = await peripheral.subscribers.get()
            self._log("subscribed", device=self.device.label)
            self._memory.begin()
            self._subscribed.set()
            await self._session(peripheral, subscription)
            self._subscribed.clear()
            end = subscription.end.result()
            self._memory.end(asyncio.get_running_loop().time(), hub_hung_up=end is End.DISCONNECTED)
            self._log("subscription_ended", device=self.device.label, reason=end.value)
            self._finish_if_done()
            if self._memory.anything or (self._measuring and not self.device.kind.clock):
                await peripheral.advertise()
            else:
                await peripheral.withdraw()

    async def _session(self, peripheral: Peripheral, subscription: Subscription) -> None:
        subscription.end.add_done_callback(lambda _: self._changed.set())
        while subscription.open:
            self._changed.clear()
            if (waiting := self._memory.next()) is None:
                if not await self._wait():
                    await peripheral.withdraw()
                    await peripheral.hang_up(subscription)
                continue
            measured, first_time = waiting
            sent = datetime.now(UTC)
            if not await subscription.send(measured.data):
                continue
            self._memory.sent(asyncio.get_running_loop().time())
            self._log(
                "measurement_sent" if first_time else "measurement_resent",
                device=self.device.label,
                kind=self.device.kind.name,
            )
            if first_time:
                self._record(
                    Record.of(
                        measured,
                        person=self.device.person.id,
                        device=peripheral.address,
                        label=self.device.label,
                        kind=self.device.kind.name,
                        sent=sent,
                    )
                )

    async def _wait(self) -> bool:
        """Wait for the next measurement or the end of the subscription; False when it is time for us to hang up."""
        try:
            async with asyncio.timeout(None if self.device.resend else self.device.hang_up_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _finish_if_done(self) -> None:
        if not self._measuring and not self._memory.anything:
            self._done.set()


def _constant(uuid: int, value: bytes) -> Characteristic:
    return Characteristic(uuid=uuid, flags=("read",), read=lambda: value)
