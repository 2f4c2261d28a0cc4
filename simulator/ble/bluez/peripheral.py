"""One device on one adapter: its GATT application, its advertisement, and who is connected and subscribed."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from simulator.ble.bluez import advertisement, bus
from simulator.ble.bluez.advertisement import Advertisement
from simulator.ble.bluez.bus import BluezError, adapters
from simulator.ble.bluez.gatt import ROOT, End, GattCharacteristic, GattService, NotifyingCharacteristic, Subscription
from simulator.ble.gatt import Characteristic, Service, Step, full_uuid

SIGHTING_INTERVAL_S: Final = 1.0


class Peripheral:
    """One device on one adapter. `async with Peripheral(...) as p`: then `advertise`, `subscribers`, `withdraw`.

    `services` is asked once, with our Bluetooth address; the first of them is the one we advertise. `heard` is told
    each step that a central takes, once it has been answered.
    """

    def __init__(
        self,
        *,
        adapter: str,
        name: str,
        appearance: int,
        services: Callable[[str], Sequence[Service]],
        heard: Callable[[Step], None] = lambda _: None,
    ) -> None:
        self.adapter = adapter
        self.address = ""
        self.subscribers: asyncio.Queue[Subscription] = asyncio.Queue(maxsize=64)
        self.news = asyncio.Event()
        """Set at every new subscription and every disconnect; whoever waits for it clears it."""
        self._path = adapter if adapter.startswith("/") else f"/org/bluez/{adapter}"
        self._services = services
        self._told = heard
        self._advertisement = Advertisement(name, appearance)
        self._subscriptions: dict[int, Subscription] = {}
        self._last: Subscription | None = None
        self._central: str | None = None
        self._bus: MessageBus | None = None
        self._bluezoo = False
        self._registered = False
        self._advertising: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._bus = await bus.connect()
        try:
            await self._register()
        except BaseException:
            await bus.leave(self._bus)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._bus is not None  # noqa: S101 - __aenter__ set it
        if self._advertising is not None:
            self._advertising.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._close_all(End.DISCONNECTED)
        await bus.leave(self._bus)

    @property
    def advertising(self) -> bool:
        return self._advertising is not None

    async def advertise(self) -> None:
        """Let scanning centrals find us."""
        if self._advertising is None:
            await self._call(
                self._path, "org.bluez.LEAdvertisingManager1", "RegisterAdvertisement", "oa{sv}", advertisement.PATH, {}
            )
            self._advertising = asyncio.create_task(self._be_sighted(), name=f"advertise {self.adapter}")

    async def withdraw(self) -> None:
        """Stop advertising; a connection stays."""
        if self._advertising is not None:
            self._advertising.cancel()
            self._advertising = None
            with contextlib.suppress(BluezError):  # released by the stack before
                await self._call(
                    self._path, "org.bluez.LEAdvertisingManager1", "UnregisterAdvertisement", "o", advertisement.PATH
                )

    def subscribed(self, characteristic: int) -> bool:
        """Whether somebody listens to it now."""
        subscription = self._subscriptions.get(characteristic)
        return subscription is not None and subscription.open

    async def send(self, characteristic: int, value: bytes) -> bool:
        """Send one value to who listens to its characteristic, after all that was sent before; False if nobody does."""
        subscription = self._subscriptions.get(characteristic)
        if self._last is not None and self._last is not subscription:
            await self._last.taken()
        if subscription is None or not await subscription.send(value):
            return False
        self._last = subscription
        return True

    async def hang_up(self, subscription: Subscription | None = None) -> None:
        """Disconnect the central (of a subscription, or the one there is), as a device that is done does."""
        central = subscription.central if subscription is not None else self._central
        if central is not None and self._bluezoo:
            # There our own view of the central is not linked back to it; the central's view of us is.
            centrals_address = central.rsplit("/dev_", 1)[-1].replace("_", ":")
            for path, address in (await adapters(self._bus)).items():
                if address == centrals_address:
                    central = f"{path}/dev_{self.address.replace(':', '_')}"
        if central is not None:
            with contextlib.suppress(BluezError):  # gone by itself meanwhile
                await self._call(central, "org.bluez.Device1", "Disconnect")
        self._disconnected(None)

    async def _register(self) -> None:
        assert self._bus is not None  # noqa: S101 - called by __aenter__
        known = await adapters(self._bus)
        if not self._path.startswith("/org/bluez/hci"):
            wanted = self.adapter.upper()
            self._path = next((path for path, address in known.items() if address == wanted), self._path)
        if self._path not in known:
            raise BluezError(f"no Bluetooth adapter {self.adapter}; there are {', '.join(known) or 'none'}")
        self.address = known[self._path]
        self._bluezoo = await self._is_bluezoo()
        await self._call(
            self._path, "org.freedesktop.DBus.Properties", "Set", "ssv", "org.bluez.Adapter1", "Powered",
            Variant("b", True),
        )  # fmt: skip
        services = self._services(self.address)
        self._advertisement.service = full_uuid(services[0].uuid)
        for number, service in enumerate(services):
            service_path = f"{ROOT}/service{number}"
            self._bus.export(service_path, GattService(service.uuid))
            for position, characteristic in enumerate(service.characteristics):
                notifies = {"notify", "indicate"} & set(characteristic.flags)
                exported = (
                    NotifyingCharacteristic(characteristic, service_path, self._step, self._subscribe)
                    if notifies
                    else GattCharacteristic(characteristic, service_path, self._step)
                )
                self._bus.export(f"{service_path}/char{position}", exported)
        self._bus.export(advertisement.PATH, self._advertisement)
        self._bus.add_message_handler(self._heard)
        await self._call(
            "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s",
            f"type='signal',sender='{bus.BLUEZ}',interface='org.freedesktop.DBus.Properties',path_namespace='{self._path}'",
            destination="org.freedesktop.DBus",
        )  # fmt: skip
        await self._call(self._path, "org.bluez.GattManager1", "RegisterApplication", "oa{sv}", ROOT, {})
        self._registered = True

    async def _be_sighted(self) -> None:
        while self._bluezoo:
            self._advertisement.another_sighting()
            await asyncio.sleep(SIGHTING_INTERVAL_S)

    def _step(self, step: Step, central: str | None) -> None:
        if central is not None:
            self._central = central
        # The answer leaves when the call that told us of it returns: what follows from the step comes after it.
        asyncio.get_running_loop().call_soon(self._told, step)

    async def _subscribe(self, characteristic: Characteristic, central: str | None) -> int:
        """A new subscriber: give the stack one end of a socket, and close it here once the stack has its copy."""
        while self.subscribed(characteristic.uuid):
            await self._retire_all()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        subscription = Subscription(characteristic, central, ours)
        self._subscriptions[characteristic.uuid] = subscription
        self._start(self._hand_over(theirs, subscription))
        return theirs.fileno()

    async def _retire_all(self) -> None:
        """End what a subscriber had that is gone without a word, before the next one begins.

        BlueZoo reads from the socket it was given last whichever of its sockets has news, and would wait for ever on
        the wrong one. So it must see the end of the old one first: it has, when it has answered us afterwards (twice,
        as the first answer may come before it took up a socket that it was given a moment ago).
        """
        gone = [subscription for subscription in self._subscriptions.values() if subscription.open]
        for subscription in gone:
            subscription.hang()
        for _ in range(2):
            await self._call("/", "org.freedesktop.DBus.Peer", "Ping")
        for subscription in gone:
            subscription.close(End.REPLACED)

    async def _hand_over(self, theirs: socket.socket, subscription: Subscription) -> None:
        """Close their end once the reply with its descriptor has left: messages leave in order.

        The first round trip may start before the reply is queued; the second cannot.
        """
        try:
            for _ in range(2):
                await self._call(
                    "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId", destination="org.freedesktop.DBus"
                )
        finally:
            theirs.close()
        subscription.end.add_done_callback(lambda _: self.news.set())
        self.subscribers.put_nowait(subscription)
        self.news.set()

    def _heard(self, message: Message) -> None:
        """What the stack says of a central, under our adapter."""
        if (
            message.message_type is not MessageType.SIGNAL
            or message.member != "PropertiesChanged"
            or message.body[0] != "org.bluez.Device1"
        ):
            return
        changed: Mapping[str, Variant] = message.body[1]
        if (resolved := changed.get("ServicesResolved")) is not None and resolved.value:
            self._start(self._let_it_reconnect())
        if (connected := changed.get("Connected")) is not None:
            if connected.value:
                self._step(Step.CONNECT, message.path)
            else:
                self._disconnected(message.path)

    def _disconnected(self, central: str | None) -> None:
        for subscription in self._subscriptions.values():
            if central is None or subscription.central in (None, central):
                subscription.close(End.DISCONNECTED)
        self.news.set()
        self._step(Step.DISCONNECT, central)

    def _close_all(self, end: End) -> None:
        for subscription in self._subscriptions.values():
            subscription.close(end)

    async def _let_it_reconnect(self) -> None:
        if self._bluezoo and self._registered:
            self._registered = False
            with contextlib.suppress(BluezError):
                await self._call(self._path, "org.bluez.GattManager1", "UnregisterApplication", "o", ROOT)

    async def _is_bluezoo(self) -> bool:
        try:
            reply = await self._call("/org/bluezoo", "org.freedesktop.DBus.Introspectable", "Introspect")
        except BluezError:
            return False
        return "org.bluezoo.Manager1" in reply[0]

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _call(
        self, path: str, interface: str, member: str, signature: str = "", *body: Any, destination: str = bus.BLUEZ
    ) -> Awaitable[list[Any]]:
        assert self._bus is not None  # noqa: S101 - only inside the context
        return bus.call(self._bus, path, interface, member, signature, *body, destination=destination)
