"""A radio without hardware, for tests of what stands on `edge.ble.radio`: peripherals that behave, and misbehave on order.

It keeps the rules of the real one: only a scanning radio sees; only a connected device can be read; a device that
leaves makes every further operation fail; each operation takes its time.
"""

import asyncio
from asyncio import Event
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from edge.ble.radio import Characteristic, RadioError, Sighting

OPERATION_S = 0.05
"""What a connection, a read or a subscription takes; about two connection intervals."""


@dataclass(slots=True, kw_only=True)
class FakePeripheral:
    """A device with readable values and measurements to subscribe to.

    `when_written` is called with each write before it is answered. `faults` maps a step ("connect", "read", "write",
    "subscribe", "pair", "forget", "close") to what happens there: an exception is raised,
    "leave" ends the connection, "hang" never answers.

    Steps and notifications are counted in `done`; when it reaches `cut_at`, the link breaks there instead.
    """

    address: bytes
    values: Mapping[int | bytes, bytes] = field(default_factory=dict)
    measurements: Sequence[int | bytes] = ()
    writable: Sequence[int | bytes] = ()
    services: Mapping[int | bytes, int | bytes] = field(default_factory=dict)
    """Which service a characteristic belongs to, where a test needs it."""
    faults: dict[str, Exception | str] = field(default_factory=dict)
    when_subscribed: Callable[["FakePeripheral"], None] = lambda _: None
    when_written: Callable[["FakePeripheral", int | bytes, bytes], None] = lambda _, __, ___: None
    subscribers: dict[int | bytes, Callable[[bytes], None]] = field(default_factory=dict)
    link: "FakeLink | None" = None
    connects: list[float] = field(default_factory=list)
    """When a connection was tried."""
    done: list[str] = field(default_factory=list)
    cut_at: int | None = None

    def notify(self, uuid: int | bytes, value: bytes) -> None:
        """Send a measurement; KeyError if nobody is subscribed."""
        received = self.subscribers[uuid]
        if not self._cut("notify"):
            received(value)

    def leave(self) -> None:
        """Disconnect, as most devices do after their measurement."""
        if self.link is not None:
            self.link.end()

    def _cut(self, name: str) -> bool:
        if len(self.done) == self.cut_at:
            self.leave()
            return True
        self.done.append(name)
        return False

    async def step(self, name: str) -> None:
        await asyncio.sleep(OPERATION_S)
        if self._cut(name):
            raise RadioError("disconnected")
        fault = self.faults.get(name)
        if fault == "hang":
            await asyncio.Event().wait()
        elif fault == "leave":
            self.leave()
            raise RadioError("disconnected")
        elif isinstance(fault, Exception):
            raise fault


class FakeLink:
    """A connection to a `FakePeripheral`."""

    def __init__(self, radio: "FakeRadio", peripheral: FakePeripheral) -> None:
        self._radio = radio
        self._peripheral = peripheral
        self.gone = Event()
        self.closed = False
        self.paired = False
        self.forgotten = False
        uuids = list(dict.fromkeys([*peripheral.values, *peripheral.measurements, *peripheral.writable]))
        self.characteristics: Sequence[Characteristic] = tuple(
            Characteristic(
                uuid=uuid,
                handle=handle,
                readable=uuid in peripheral.values,
                notifies=uuid in peripheral.measurements,
                writable=uuid in peripheral.writable,
                service=peripheral.services.get(uuid),
            )
            for handle, uuid in enumerate(uuids, 1)
        )

    def end(self) -> None:
        self._peripheral.link = None
        self._peripheral.subscribers.clear()
        self._radio.open.discard(self)
        self.gone.set()

    async def _step(self, name: str) -> None:
        if self.gone.is_set():
            raise RadioError("disconnected")
        await self._peripheral.step(name)

    async def read(self, characteristic: Characteristic) -> bytes:
        await self._step("read")
        return self._peripheral.values[characteristic.uuid]

    async def write(self, characteristic: Characteristic, value: bytes) -> None:
        await self._step("write")
        self._peripheral.when_written(self._peripheral, characteristic.uuid, value)

    async def subscribe(self, characteristic: Characteristic, received: Callable[[bytes], None]) -> None:
        await self._step("subscribe")
        self._peripheral.subscribers[characteristic.uuid] = received
        self._peripheral.when_subscribed(self._peripheral)

    async def pair(self) -> None:
        await self._step("pair")
        self.paired = True

    async def forget(self) -> None:
        await self._step("forget")
        self.forgotten = True
        self.end()

    async def close(self) -> None:
        self.closed = True
        if not self.gone.is_set():
            await self._step("close")
            self.end()


class FakeRadio:
    """An adapter with peripherals around it."""

    def __init__(self, *peripherals: FakePeripheral) -> None:
        self.peripherals = {peripheral.address: peripheral for peripheral in peripherals}
        self.adapter = "hci0"
        self.heard = 0
        self.lost = Event()
        self.wanted: frozenset[bytes] = frozenset()
        self.fault: RadioError | None = None
        """Why scanning cannot start, while set."""
        self.scans = 0
        self.open: set[FakeLink] = set()
        self.links: list[FakeLink] = []
        self.most_open = 0
        self._seen: Callable[[Sighting], None] | None = None

    def advertise(self, address: bytes, name: str = "") -> None:
        """Send one advertisement."""
        if self._seen is not None:
            self.heard += 1
            self._seen(Sighting(address=address, name=name))

    def want(self, addresses: Collection[bytes]) -> None:
        self.wanted = frozenset(addresses)

    @asynccontextmanager
    async def scan(self, seen: Callable[[Sighting], None]) -> AsyncIterator[None]:
        if self.fault is not None:
            raise self.fault
        self.scans += 1
        self.lost.clear()
        self._seen = seen
        try:
            yield
        finally:
            self._seen = None

    async def connect(self, sighting: Sighting) -> FakeLink:
        peripheral = self.peripherals[sighting.address]
        peripheral.connects.append(asyncio.get_running_loop().time())
        await peripheral.step("connect")
        peripheral.link = link = FakeLink(self, peripheral)
        self.open.add(link)
        self.links.append(link)
        self.most_open = max(self.most_open, len(self.open))
        return link
