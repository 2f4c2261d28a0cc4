"""A BLE peripheral through BlueZ's own D-Bus API: a GATT application and an LE advertisement on one adapter.

The same code runs against bluetoothd with a real adapter and against BlueZoo on a private bus, because it uses what
BlueZ documents for peripherals: GattManager1 and LEAdvertisingManager1 of an adapter call objects that we export. This
is the only file that imports dbus_fast.

Notifications go through AcquireNotify: every subscription is a socket pair of its own, so a subscriber that comes back
after a crash can never be confused with the one before, and a socket that closes is a subscription that ended.
`NotifyAcquired` stays false for the same reason: BlueZoo hands out no second socket once it is true.

Two things are BlueZoo's alone, and are done only where it answers at /org/bluezoo:
- it shows a central the services that are registered at the first connection, and fails at the second one if they are
  still registered; so we withdraw the registration after the first (it goes on forwarding to our objects);
- it reports a known device to a scan only when its advertisement changed, where a radio reports every sighting; so we
  change a byte of the service data once a second while we advertise.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Annotated, Any, Self

from dbus_fast import BusType, Message, MessageType, PropertyAccess, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool, DBusBytes, DBusDict, DBusObjectPath, DBusSignature, DBusStr, DBusUInt16
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

BLUEZ = "org.bluez"
ROOT = "/org/stafet/peripheral"
ADVERTISEMENT = "/org/stafet/advertisement"
CALL_TIMEOUT_S = 15.0
"""BlueZ answers in milliseconds; a first registration on a busy machine may take a second."""
SIGHTING_INTERVAL_S = 1.0
CONFIRM_TIMEOUT_S = 30.0
"""The ATT transaction time-out (Core, Vol 3 Part F, 3.3.3): an indication not confirmed by then never will be."""

_READ = PropertyAccess.READ
_Strings = Annotated[list[str], DBusSignature("as")]
_Socket = Annotated[tuple[int, int], DBusSignature("hq")]


class BluezError(Exception):
    """BlueZ is not there, or refused; the text says which call and why."""


class End(Enum):
    """How a subscription ended."""

    DISCONNECTED = "disconnected"
    """The link went down: the central (or we) disconnected."""
    UNSUBSCRIBED = "unsubscribed"
    """The stack closed the subscription but said nothing of the link."""
    REPLACED = "replaced"
    """Somebody subscribed anew while this one had never ended: the subscriber before is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Characteristic:
    """One characteristic of a service: 16-bit UUID, GATT flags (`read`, `notify`, `indicate`), and what a read gives."""

    uuid: int
    flags: tuple[str, ...]
    read: Callable[[], bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One primary GATT service."""

    uuid: int
    characteristics: tuple[Characteristic, ...]


def full_uuid(short: int) -> str:
    """The 128-bit text of a Bluetooth SIG UUID (Core, Vol 3 Part B, 2.5.1)."""
    return f"{short:08x}-0000-1000-8000-00805f9b34fb"


class _Service(ServiceInterface):
    def __init__(self, uuid: int) -> None:
        super().__init__("org.bluez.GattService1")
        self._uuid = full_uuid(uuid)

    @dbus_property(access=_READ, name="UUID")
    def uuid(self) -> DBusStr:
        return self._uuid

    @dbus_property(access=_READ, name="Primary")
    def primary(self) -> DBusBool:
        return True


class _Characteristic(ServiceInterface):
    def __init__(self, characteristic: Characteristic, service_path: str) -> None:
        super().__init__("org.bluez.GattCharacteristic1")
        self.characteristic = characteristic
        self._service_path = service_path

    @dbus_property(access=_READ, name="UUID")
    def uuid(self) -> DBusStr:
        return full_uuid(self.characteristic.uuid)

    @dbus_property(access=_READ, name="Service")
    def service(self) -> DBusObjectPath:
        return self._service_path

    @dbus_property(access=_READ, name="Flags")
    def flags(self) -> _Strings:
        return list(self.characteristic.flags)

    @dbus_method(name="ReadValue")
    def read_value(self, options: DBusDict) -> DBusBytes:
        if self.characteristic.read is None:
            raise DBusError("org.bluez.Error.NotPermitted", "this characteristic only notifies")
        offset = options["offset"].value if "offset" in options else 0
        return self.characteristic.read()[offset:]


class _NotifyingCharacteristic(_Characteristic):
    """A characteristic with subscribers; the socket's other end belongs to the stack."""

    def __init__(self, characteristic: Characteristic, service_path: str, peripheral: "Peripheral") -> None:
        super().__init__(characteristic, service_path)
        self._peripheral = peripheral

    @dbus_property(access=_READ, name="NotifyAcquired")
    def notify_acquired(self) -> DBusBool:
        return False

    @dbus_method(name="AcquireNotify")
    async def acquire_notify(self, options: DBusDict) -> _Socket:
        mtu = options["mtu"].value if "mtu" in options else 512
        central = options["device"].value if "device" in options else None
        theirs = await self._peripheral._subscribe(self.characteristic, central)  # noqa: SLF001 - two halves of one
        return theirs, mtu


class _Advertisement(ServiceInterface):
    def __init__(self, name: str, appearance: int) -> None:
        super().__init__("org.bluez.LEAdvertisement1")
        self._name = name
        self._appearance = appearance
        self.service = ""
        self._sighting: int | None = None

    @dbus_property(access=_READ, name="Type")
    def type_(self) -> DBusStr:
        return "peripheral"

    @dbus_property(access=_READ, name="ServiceUUIDs")
    def service_uuids(self) -> _Strings:
        return [self.service]

    @dbus_property(access=_READ, name="LocalName")
    def local_name(self) -> DBusStr:
        return self._name

    @dbus_property(access=_READ, name="Appearance")
    def appearance(self) -> DBusUInt16:
        return self._appearance

    @dbus_property(access=_READ, name="Discoverable")
    def discoverable(self) -> DBusBool:
        return True

    @dbus_property(access=_READ, name="ServiceData")
    def service_data(self) -> DBusDict:
        return {} if self._sighting is None else {self.service: Variant("ay", bytes([self._sighting]))}

    @dbus_method(name="Release")
    def release(self) -> None:
        """BlueZ dropped the advertisement; the next `advertise` registers it again."""

    def another_sighting(self) -> None:
        self._sighting = ((self._sighting or 0) + 1) % 256
        self.emit_properties_changed({"ServiceData": self.service_data})


class Subscription:
    """One subscriber of one characteristic, from AcquireNotify to its end."""

    def __init__(self, characteristic: Characteristic, central: str | None, ours: socket.socket) -> None:
        self.characteristic = characteristic
        self.central = central
        self.end: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._socket = ours
        self._confirmed = asyncio.Event()
        asyncio.get_running_loop().add_reader(ours, self._readable)

    @property
    def open(self) -> bool:
        return not self.end.done()

    def close(self, end: End) -> None:
        if self.open:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self.end.set_result(end)
            self._confirmed.set()

    def hang(self) -> None:
        """Let the other end read the end of file, without closing ours yet."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def send(self, value: bytes) -> bool:
        """Hand one value to the stack; False if the subscription had ended. An indication waits for its confirmation."""
        if not self.open:
            return False
        self._confirmed.clear()
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, value)
        except OSError:
            self.close(End.UNSUBSCRIBED)
            return False
        if "indicate" in self.characteristic.flags:
            try:
                async with asyncio.timeout(CONFIRM_TIMEOUT_S):
                    await self._confirmed.wait()
            except TimeoutError:
                self.close(End.UNSUBSCRIBED)
            return self.open
        return True

    def _readable(self) -> None:
        """The stack writes one byte for each confirmation; nothing at all when it closed its end."""
        try:
            confirmation = self._socket.recv(16)
        except BlockingIOError:
            return
        except OSError:
            confirmation = b""
        if confirmation:
            self._confirmed.set()
        else:
            self.close(End.UNSUBSCRIBED)


class Peripheral:
    """One device on one adapter. `async with Peripheral(...) as p`: then `advertise`, `subscribers`, `withdraw`.

    `services` is asked once, with our Bluetooth address; the first of them is the one we advertise.
    """

    def __init__(
        self, *, adapter: str, name: str, appearance: int, services: Callable[[str], Sequence[Service]]
    ) -> None:
        self.adapter = adapter
        self.address = ""
        self.subscribers: asyncio.Queue[Subscription] = asyncio.Queue(maxsize=64)
        self._path = adapter if adapter.startswith("/") else f"/org/bluez/{adapter}"
        self._services = services
        self._advertisement = _Advertisement(name, appearance)
        self._subscriptions: dict[int, Subscription] = {}
        self._bus: MessageBus | None = None
        self._bluezoo = False
        self._registered = False
        self._advertising: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        try:
            self._bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
        except (OSError, DBusError) as error:
            raise BluezError(f"no system bus: {error}") from error
        try:
            await self._register()
        except BaseException:
            await _leave(self._bus)
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
        for subscription in self._subscriptions.values():
            subscription.close(End.DISCONNECTED)
        await _leave(self._bus)

    @property
    def advertising(self) -> bool:
        return self._advertising is not None

    async def advertise(self) -> None:
        """Let scanning centrals find us."""
        if self._advertising is None:
            await self._call(
                self._path, "org.bluez.LEAdvertisingManager1", "RegisterAdvertisement", "oa{sv}", ADVERTISEMENT, {}
            )
            self._advertising = asyncio.create_task(self._be_sighted(), name=f"advertise {self.adapter}")

    async def withdraw(self) -> None:
        """Stop advertising; a connection stays."""
        if self._advertising is not None:
            self._advertising.cancel()
            self._advertising = None
            with contextlib.suppress(BluezError):  # released by the stack before
                await self._call(
                    self._path, "org.bluez.LEAdvertisingManager1", "UnregisterAdvertisement", "o", ADVERTISEMENT
                )

    async def hang_up(self, subscription: Subscription) -> None:
        """Disconnect the central, as a device that is done does."""
        central = subscription.central
        if central is not None and self._bluezoo:
            # There our own view of the central is not linked back to it; the central's view of us is.
            centrals_address = central.rsplit("/dev_", 1)[-1].replace("_", ":")
            for path, address in (await adapters(self._bus)).items():
                if address == centrals_address:
                    central = f"{path}/dev_{self.address.replace(':', '_')}"
        if central is not None:
            with contextlib.suppress(BluezError):  # gone by itself meanwhile
                await self._call(central, "org.bluez.Device1", "Disconnect")
        subscription.close(End.DISCONNECTED)

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
            self._bus.export(service_path, _Service(service.uuid))
            for position, characteristic in enumerate(service.characteristics):
                notifies = {"notify", "indicate"} & set(characteristic.flags)
                exported = (
                    _NotifyingCharacteristic(characteristic, service_path, self)
                    if notifies
                    else _Characteristic(characteristic, service_path)
                )
                self._bus.export(f"{service_path}/char{position}", exported)
        self._bus.export(ADVERTISEMENT, self._advertisement)
        self._bus.add_message_handler(self._heard)
        await self._call(
            "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s",
            f"type='signal',sender='{BLUEZ}',interface='org.freedesktop.DBus.Properties',path_namespace='{self._path}'",
            destination="org.freedesktop.DBus",
        )  # fmt: skip
        await self._call(self._path, "org.bluez.GattManager1", "RegisterApplication", "oa{sv}", ROOT, {})
        self._registered = True

    async def _be_sighted(self) -> None:
        while self._bluezoo:
            self._advertisement.another_sighting()
            await asyncio.sleep(SIGHTING_INTERVAL_S)

    async def _subscribe(self, characteristic: Characteristic, central: str | None) -> int:
        """A new subscriber: give the stack one end of a socket, and close it here once the stack has its copy."""
        while (before := self._subscriptions.get(characteristic.uuid)) is not None and before.open:
            await self._retire(before)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        subscription = Subscription(characteristic, central, ours)
        self._subscriptions[characteristic.uuid] = subscription
        self._start(self._hand_over(theirs, subscription))
        return theirs.fileno()

    async def _retire(self, subscription: Subscription) -> None:
        """End a subscription whose subscriber is gone without a word, before the next one begins.

        BlueZoo reads from the socket it was given last whichever of its sockets has news, and would wait for ever on
        the wrong one. So it must see the end of the old one first: it has, when it has answered us afterwards (twice,
        as the first answer may come before it took up a socket that it was given a moment ago).
        """
        subscription.hang()
        for _ in range(2):
            await self._call("/", "org.freedesktop.DBus.Peer", "Ping")
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
        self.subscribers.put_nowait(subscription)

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
        if (connected := changed.get("Connected")) is not None and not connected.value:
            for subscription in self._subscriptions.values():
                if subscription.central in (None, message.path):
                    subscription.close(End.DISCONNECTED)

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
        self, path: str, interface: str, member: str, signature: str = "", *body: Any, destination: str = BLUEZ
    ) -> Awaitable[list[Any]]:
        assert self._bus is not None  # noqa: S101 - only inside the context
        return _call(self._bus, path, interface, member, signature, *body, destination=destination)


async def adapters(bus: MessageBus | None = None, *, bus_address: str | None = None) -> dict[str, str]:
    """Object path and Bluetooth address of each adapter; BluezError where there is no bus or no BlueZ on it."""
    if bus is None:
        try:
            bus = await MessageBus(bus_address=bus_address, bus_type=BusType.SYSTEM).connect()
        except (OSError, DBusError) as error:
            raise BluezError(f"no system bus: {error}") from error
        try:
            return await adapters(bus)
        finally:
            await _leave(bus)
    (objects,) = await _call(bus, "/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    return {
        path: interfaces["org.bluez.Adapter1"]["Address"].value
        for path, interfaces in sorted(objects.items())
        if "org.bluez.Adapter1" in interfaces
    }


async def _leave(bus: MessageBus) -> None:
    bus.disconnect()
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # dbus_fast left its return type out


async def _call(
    bus: MessageBus, path: str, interface: str, member: str, signature: str = "", *body: Any, destination: str = BLUEZ
) -> list[Any]:
    message = Message(
        destination=destination, path=path, interface=interface, member=member, signature=signature, body=list(body)
    )
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            reply = await bus.call(message)
    except TimeoutError as error:
        raise BluezError(f"{member} on {path}: no answer in {CALL_TIMEOUT_S:g} s") from error
    if reply.message_type is MessageType.ERROR:
        raise BluezError(f"{member} on {path}: {reply.error_name} {' '.join(map(str, reply.body))}".rstrip())
    answer: list[Any] = reply.body
    return answer
