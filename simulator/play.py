"""Playing a scenario: devices wake when a measurement was taken, advertise, hand it to whoever subscribes, and sleep.

What a device does and says is `simulator.ble.instrument`'s; here its bytes are moved, its sessions followed, and what has
left is written down. A session is from the first subscription to the end of the last one, or of the link.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from simulator.ble.bluez import End, Peripheral, Step, Subscription
from simulator.ble.devices import Delivery, Measured
from simulator.ble.instrument import Instrument, Sending, Taken
from simulator.log import Log
from simulator.measured import Record
from simulator.scenario import Device, Scenario


async def play(scenario: Scenario, log: Log) -> int:
    """Play to the end: every measurement taken and handed over. Returns how many values were sent."""
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
        self._record = record
        self._log = log
        self._instrument = Instrument(
            kind=device.kind,
            who=device.person,
            zone=timezone,
            now=lambda: datetime.now(UTC),
            faults=dict(device.faults),
            stored=device.stored,
            paired=device.paired,
            resend=device.resend,
        )
        self._measuring = True
        self._done = asyncio.Event()
        self._listened = asyncio.Event()
        self._in_session = False
        self._hanging_up: asyncio.Task[None] | None = None

    async def run(self, registered: asyncio.Barrier) -> None:
        """Register, measure and serve until everything is handed over, and stay until every other device is done."""
        kind = self.device.kind

        async with Peripheral(
            adapter=self.device.adapter,
            name=kind.advertised or kind.model,
            appearance=kind.appearance,
            services=self._instrument.services,
            heard=lambda step: self._step(peripheral, step),
        ) as peripheral:
            self._instrument.subscribed = peripheral.subscribed
            self._instrument.changed = peripheral.news.set
            self._log("peripheral_registered", device=self.device.label, adapter=self.device.adapter)
            await registered.wait()
            async with asyncio.TaskGroup() as group:
                measuring = group.create_task(self._measure(peripheral))
                serving = group.create_task(self._serve(peripheral))
                await self._done.wait()
                measuring.cancel()
                serving.cancel()
            self._log("device_finished", device=self.device.label, count=self._instrument.resent)
            await registered.wait()

    def _step(self, peripheral: Peripheral, step: Step) -> None:
        if step is Step.DISCONNECT and not self._in_session:
            # It came and went without a subscription.
            self._instrument.end(asyncio.get_running_loop().time(), hub_hung_up=True)
        elif self._instrument.step(step):
            self._log("fault_played", device=self.device.label, fault=f"disconnect-after-{step.value}")
            self._hanging_up = asyncio.get_running_loop().create_task(peripheral.hang_up())

    async def _measure(self, peripheral: Peripheral) -> None:
        await asyncio.sleep(self.device.start_s)
        if self._instrument.anything:
            await peripheral.advertise()
        for number in range(self.device.readings):
            if number:
                await asyncio.sleep(self.device.every_s)
            if self.device.kind.delivery is Delivery.LISTENED:
                # It shows what is true now, so it measures only while somebody listens.
                await peripheral.advertise()
                await self._listened.wait()
            self._instrument.take()
            await peripheral.advertise()
        self._measuring = False
        self._finish_if_done()

    async def _serve(self, peripheral: Peripheral) -> None:
        while True:
            first = await peripheral.subscribers.get()
            self._log("subscribed", device=self.device.label)
            self._in_session = True
            self._instrument.begin()
            self._listened.set()
            end = await self._session(peripheral, first)
            self._listened.clear()
            self._in_session = False
            self._instrument.end(asyncio.get_running_loop().time(), hub_hung_up=end is End.DISCONNECTED)
            self._log("subscription_ended", device=self.device.label, reason=end.value)
            self._finish_if_done()
            if self._instrument.anything or (self._measuring and self.device.kind.delivery is Delivery.LISTENED):
                await peripheral.advertise()
            else:
                await peripheral.withdraw()

    async def _session(self, peripheral: Peripheral, first: Subscription) -> End:
        """Send what there is until nobody listens any more."""
        subscriptions = [first]
        while any(subscription.open for subscription in subscriptions):
            peripheral.news.clear()
            while not peripheral.subscribers.empty():
                subscriptions.append(peripheral.subscribers.get_nowait())
            sending = self._instrument.next()
            if self._instrument.hangs_up or (sending is None and not await self._wait(peripheral)):
                await peripheral.withdraw()
                await peripheral.hang_up()
            elif sending is not None:
                await self._send(peripheral, sending)
        return first.end.result()

    async def _send(self, peripheral: Peripheral, sending: Sending) -> None:
        sent = datetime.now(UTC)
        if not await peripheral.send(sending.characteristic, sending.data):
            return
        first_time = sending.first_time
        self._instrument.sent(asyncio.get_running_loop().time())
        if sending.garbage:
            self._log("garbage_sent", device=self.device.label, kind=self.device.kind.name)
            garbage = Measured(characteristic=sending.characteristic, data=sending.data, values=(), expected=False)
            self._write_down(peripheral, garbage, sent)
        elif sending.taken is not None and sending.value is not None:
            self._log(
                "measurement_sent" if first_time else "measurement_resent",
                device=self.device.label,
                kind=self.device.kind.name,
            )
            if first_time:
                self._write_down(
                    peripheral,
                    sending.value,
                    sent,
                    person=sending.taken.who.id,
                    taken=self._when(sending.taken, sending.value, sent),
                    expected=not sending.taken.guest,
                )

    def _when(self, taken: Taken, value: Measured, sent: datetime) -> datetime | None:
        """When it was measured, as far as anybody can know: of a clock that is never set, when it was sent."""
        if not self.device.kind.clock:
            return None
        return sent if self.device.kind.stale else taken.true_time(value)

    def _write_down(
        self,
        peripheral: Peripheral,
        measured: Measured,
        sent: datetime,
        *,
        person: str = "",
        taken: datetime | None = None,
        expected: bool = True,
    ) -> None:
        self._record(
            Record(
                person=person or self.device.person.id,
                device=peripheral.address,
                label=self.device.label,
                kind=self.device.kind.name,
                characteristic=measured.characteristic,
                data=measured.data,
                values=measured.values,
                device_time=measured.device_time,
                sent=sent,
                others=measured.others,
                taken=taken,
                expected=expected and measured.expected,
            )
        )

    async def _wait(self, peripheral: Peripheral) -> bool:
        """Wait for the next measurement or news of the subscriptions; False when it is time for us to hang up."""
        try:
            async with asyncio.timeout(None if self._instrument.patient else self.device.hang_up_s):
                await peripheral.news.wait()
        except TimeoutError:
            return False
        return True

    def _finish_if_done(self) -> None:
        if not self._measuring and not self._instrument.anything:
            self._done.set()
