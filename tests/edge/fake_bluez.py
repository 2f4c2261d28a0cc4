"""A bluetoothd for what BlueZoo has not: pairing by every method, bonds with identity addresses, adapters that hang.

It speaks BlueZ's documented D-Bus API (doc/org.bluez.{Adapter,Agent,AgentManager,Device,GattCharacteristic}.rst) on a
real dbus-daemon: an agent is called as bluetoothd calls it, a device with a private address takes its identity address
when it is bonded, and a stuck adapter works again when its power was off.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from dbus_fast import BusType, Message, MessageType, PropertyAccess, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool, DBusBytes, DBusDict, DBusInt16, DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from wire.services import format_uuid

READ = PropertyAccess.READ
Strings = Annotated[list[str], DBusSignature("as")]
HCI0 = "/org/bluez/hci0"


@dataclass(slots=True, kw_only=True)
class Peer:
    """A device in the air. `pairing` is what its input and output make of it, or how it fails."""

    address: str
    name: str
    random: bool = False
    identity: str = ""
    """The address that it has when it is bonded, if another."""
    uuids: tuple[int, ...] = (0x1822,)
    rssi: int = -60
    manufacturer: bytes = b""
    """Manufacturer data that it advertises; such a device does not move: BlueZ says the same of it each time."""
    pairing: str = "just-works"
    """just-works, type-passkey (on the hub), show-passkey (on the hub), compare, or fails, slow."""
    passkey: int = 123456
    values: Mapping[int, bytes] = field(default_factory=lambda: {0x2A29: b"Nonin", 0x2A24: b"3230", 0x2A25: b"501"})
    measurement: int = 0x2A5E
    written: dict[int, bytes] = field(default_factory=dict)
    hangs: bool = False
    """It never answers Connect."""


class FakeBluez:
    """`async with serving() as bluez`."""

    def __init__(self) -> None:
        self.bus = MessageBus(bus_type=BusType.SYSTEM)
        self.adapter = Adapter(self)
        self.stuck = ""
        """"deaf" (discovers and hears nothing), "refuses" (discovery is always in progress), "hangs" (Connect and
        Disconnect are never answered): until the power was off."""
        self.devices: dict[str, Device] = {}
        self.peers: list[Peer] = []
        self.agent: tuple[str, str, str] | None = None
        self.scanning: set[str | None] = set()
        """The programs that discover; discovery ends with the last."""
        self.power_cycles = 0
        self.ending = asyncio.Event()
        self.asked: list[str] = []
        """The agent's methods that were called, and with what result."""

    async def hang(self) -> None:
        """Do not answer, as long as we live."""
        await self.ending.wait()
        raise DBusError("org.bluez.Error.NotReady", "Resource Not Ready")

    def in_the_air(self, *peers: Peer) -> None:
        self.peers += peers

    async def sight(self) -> None:
        """One advertisement of each, if anybody listens."""
        if not self.adapter.discovering or self.stuck == "deaf":
            return
        for peer in self.peers:
            device = next((d for d in self.devices.values() if d.peer is peer), None)
            if device is None:
                device = self.devices[peer.address] = Device(self, peer)
                self.bus.export(device.path, device)
            device.sightings += 1
            if peer.manufacturer:
                device.emit_properties_changed({"ManufacturerData": device.manufacturer_data})
                continue
            peer.rssi = peer.rssi // 2 * 2 + device.sightings % 2
            device.emit_properties_changed({"RSSI": peer.rssi})

    async def ask_agent(self, member: str, signature: str, *body: Any) -> Any:
        """As bluetoothd asks the agent of whoever called Pair."""
        if self.agent is None:
            raise DBusError("org.bluez.Error.AuthenticationFailed", "no agent")
        owner, path, _ = self.agent
        reply = await self.bus.call(
            Message(
                destination=owner,
                path=path,
                interface="org.bluez.Agent1",
                member=member,
                signature=signature,
                body=list(body),
            )
        )
        assert reply is not None
        if reply.message_type is MessageType.ERROR:
            self.asked.append(f"{member}: {reply.error_name}")
            raise DBusError("org.bluez.Error.AuthenticationRejected", "the agent said no")
        self.asked.append(member)
        return reply.body[0] if reply.body else None

    def _noticed(self, message: Message) -> None:
        match message.member:
            case "RegisterAgent":
                self.agent = (message.sender or "", *message.body)
            case "StartDiscovery":
                self.scanning.add(message.sender)
            case "StopDiscovery":
                self.scanning.discard(message.sender)


@asynccontextmanager
async def serving(*peers: Peer) -> AsyncIterator[FakeBluez]:
    """BlueZ on the system bus, with these in the air, each seen every 20 ms."""
    bluez = FakeBluez()
    bluez.in_the_air(*peers)
    await bluez.bus.connect()
    bluez.bus.add_message_handler(bluez._noticed)
    bluez.bus.export("/org/bluez", AgentManager(bluez))
    bluez.bus.export(HCI0, bluez.adapter)
    await bluez.bus.request_name("org.bluez")

    async def advertise() -> None:
        while True:
            await bluez.sight()
            await asyncio.sleep(0.02)

    advertising = asyncio.create_task(advertise())
    try:
        yield bluez
        if advertising.done():
            advertising.result()
    finally:
        advertising.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await advertising
        bluez.ending.set()
        await asyncio.sleep(0.01)  # what hangs ends
        bluez.bus.disconnect()
        await bluez.bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


class AgentManager(ServiceInterface):
    def __init__(self, bluez: FakeBluez) -> None:
        super().__init__("org.bluez.AgentManager1")
        self.bluez = bluez

    @dbus_method(name="RegisterAgent")
    def register_agent(self, agent: DBusObjectPath, capability: DBusStr) -> None:
        assert capability in {"", "DisplayOnly", "DisplayYesNo", "KeyboardOnly", "NoInputNoOutput", "KeyboardDisplay"}

    @dbus_method(name="UnregisterAgent")
    def unregister_agent(self, agent: DBusObjectPath) -> None:
        self.bluez.agent = None


class Adapter(ServiceInterface):
    def __init__(self, bluez: FakeBluez) -> None:
        super().__init__("org.bluez.Adapter1")
        self.bluez = bluez
        self.on = True
        self.discovering = False

    @dbus_property(access=READ, name="Address")
    def address(self) -> DBusStr:
        return "00:00:00:00:00:01"

    @dbus_property(access=READ, name="Roles")
    def roles(self) -> Strings:
        return ["central", "peripheral"]

    @dbus_property(name="Powered")
    def powered(self) -> DBusBool:
        return self.on

    @powered.setter
    def _set_powered(self, on: DBusBool) -> None:
        if self.on and not on:
            self.bluez.stuck = ""
            self.bluez.power_cycles += 1
            self.discovering = False
        self.on = on
        self.emit_properties_changed({"Powered": on})

    @dbus_property(access=READ, name="Discovering")
    def is_discovering(self) -> DBusBool:
        return self.discovering

    @dbus_method(name="SetDiscoveryFilter")
    def set_discovery_filter(self, properties: DBusDict) -> None:
        pass

    @dbus_method(name="StartDiscovery")
    def start_discovery(self) -> None:
        if not self.on:
            raise DBusError("org.bluez.Error.NotReady", "Resource Not Ready")
        if self.bluez.stuck == "refuses":
            raise DBusError("org.bluez.Error.InProgress", "Operation already in progress")
        self.discovering = True

    @dbus_method(name="StopDiscovery")
    def stop_discovery(self) -> None:
        self.discovering = self.discovering and bool(self.bluez.scanning)

    @dbus_method(name="RemoveDevice")
    def remove_device(self, path: DBusObjectPath) -> None:
        device = next((d for d in self.bluez.devices.values() if d.path == path), None)
        if device is None:
            raise DBusError("org.bluez.Error.DoesNotExist", "Does Not Exist")
        device.disconnect_now()
        self.bluez.bus.unexport(path)
        self.bluez.devices = {k: d for k, d in self.bluez.devices.items() if d is not device}


class Device(ServiceInterface):
    def __init__(self, bluez: FakeBluez, peer: Peer) -> None:
        super().__init__("org.bluez.Device1")
        self.bluez = bluez
        self.peer = peer
        self.path = f"{HCI0}/dev_{peer.address.replace(':', '_')}"
        self.sightings = 0
        self.is_connected = self.is_paired = self.is_trusted = self.is_resolved = False
        self.characteristics: list[Characteristic] = []
        self.gatt: list[tuple[str, ServiceInterface]] = []

    @dbus_property(access=READ, name="Address")
    def address(self) -> DBusStr:
        return self.peer.identity if self.is_paired and self.peer.identity else self.peer.address

    @dbus_property(access=READ, name="AddressType")
    def address_type(self) -> DBusStr:
        return "random" if self.peer.random and not (self.is_paired and self.peer.identity) else "public"

    @dbus_property(access=READ, name="Name")
    def name_(self) -> DBusStr:
        return self.peer.name

    @dbus_property(access=READ, name="Alias")
    def alias(self) -> DBusStr:
        return self.peer.name

    @dbus_property(access=READ, name="Adapter")
    def adapter(self) -> DBusObjectPath:
        return HCI0

    @dbus_property(access=READ, name="UUIDs")
    def uuids(self) -> Strings:
        return [format_uuid(uuid) for uuid in self.peer.uuids]

    @dbus_property(access=READ, name="RSSI")
    def rssi(self) -> DBusInt16:
        return self.peer.rssi

    @dbus_property(access=READ, name="ManufacturerData")
    def manufacturer_data(self) -> Annotated[dict[int, Variant], DBusSignature("a{qv}")]:
        return {0xFFFF: Variant("ay", self.peer.manufacturer)} if self.peer.manufacturer else {}

    @dbus_property(access=READ, name="Paired")
    def paired(self) -> DBusBool:
        return self.is_paired

    @dbus_property(access=READ, name="Bonded")
    def bonded(self) -> DBusBool:
        return self.is_paired

    @dbus_property(access=READ, name="Connected")
    def connected(self) -> DBusBool:
        return self.is_connected

    @dbus_property(access=READ, name="ServicesResolved")
    def services_resolved(self) -> DBusBool:
        return self.is_resolved

    @dbus_property(name="Trusted")
    def trusted(self) -> DBusBool:
        return self.is_trusted

    @trusted.setter
    def _set_trusted(self, trusted: DBusBool) -> None:
        self.is_trusted = trusted
        self.emit_properties_changed({"Trusted": trusted})

    @dbus_method(name="Connect")
    async def connect(self) -> None:
        if self.peer.hangs or self.bluez.stuck == "hangs":
            await self.bluez.hang()
        self.connect_now()

    def connect_now(self) -> None:
        if self.is_connected:
            return
        self.is_connected = True
        self.emit_properties_changed({"Connected": True})
        service = f"{self.path}/service0001"
        self.gatt = [(service, Service(format_uuid(self.peer.uuids[0]), self.path))]
        uuids = [*self.peer.values, self.peer.measurement]
        self.characteristics = [Characteristic(self, uuid, service) for uuid in uuids]
        self.gatt += [(f"{service}/char{n:04x}", each) for n, each in enumerate(self.characteristics, 2)]
        for path, interface in self.gatt:
            self.bluez.bus.export(path, interface)
        self.is_resolved = True
        self.emit_properties_changed({"ServicesResolved": True})

    @dbus_method(name="Disconnect")
    async def disconnect(self) -> None:
        if self.bluez.stuck == "hangs":
            await self.bluez.hang()
        self.disconnect_now()

    def disconnect_now(self) -> None:
        if not self.is_connected:
            return
        for path, _ in reversed(self.gatt):
            self.bluez.bus.unexport(path)
        self.gatt = []
        self.characteristics = []
        self.is_connected = self.is_resolved = False
        self.emit_properties_changed({"Connected": False, "ServicesResolved": False})

    @dbus_method(name="Pair")
    async def pair(self) -> None:
        if self.is_paired:
            raise DBusError("org.bluez.Error.AlreadyExists", "Already Exists")
        ask, passkey = self.bluez.ask_agent, self.peer.passkey
        match self.peer.pairing:
            case "type-passkey":
                if await ask("RequestPasskey", "o", self.path) != passkey:
                    raise DBusError("org.bluez.Error.AuthenticationFailed", "Authentication Failed")
            case "show-passkey":
                for entered in range(7):
                    await ask("DisplayPasskey", "ouq", self.path, passkey, entered)
            case "compare":
                await ask("RequestConfirmation", "ou", self.path, passkey)
            case "fails":
                raise DBusError("org.bluez.Error.AuthenticationFailed", "Authentication Failed")
            case "slow":
                await self.bluez.hang()
        self.connect_now()
        self.is_paired = True
        changed: dict[str, Any] = {"Paired": True, "Bonded": True}
        if self.peer.identity:
            changed |= {"Address": self.peer.identity, "AddressType": "public"}
        self.emit_properties_changed(changed)

    @dbus_method(name="CancelPairing")
    def cancel_pairing(self) -> None:
        raise DBusError("org.bluez.Error.DoesNotExist", "Does Not Exist")


class Service(ServiceInterface):
    def __init__(self, uuid: str, device: str) -> None:
        super().__init__("org.bluez.GattService1")
        self._uuid, self._device = uuid, device

    @dbus_property(access=READ, name="UUID")
    def uuid(self) -> DBusStr:
        return self._uuid

    @dbus_property(access=READ, name="Device")
    def device(self) -> DBusObjectPath:
        return self._device

    @dbus_property(access=READ, name="Primary")
    def primary(self) -> DBusBool:
        return True


class Characteristic(ServiceInterface):
    def __init__(self, device: Device, uuid: int, service: str) -> None:
        super().__init__("org.bluez.GattCharacteristic1")
        self.number = uuid
        self._device, self._service = device, service
        self.subscribed = asyncio.Event()
        self._value = b""

    @dbus_property(access=READ, name="UUID")
    def uuid(self) -> DBusStr:
        return format_uuid(self.number)

    @dbus_property(access=READ, name="Service")
    def service(self) -> DBusObjectPath:
        return self._service

    @dbus_property(access=READ, name="Flags")
    def flags(self) -> Strings:
        return ["read"] if self.number in self._device.peer.values else ["indicate"]

    @dbus_property(access=READ, name="Value")
    def value(self) -> DBusBytes:
        return self._value

    @dbus_method(name="ReadValue")
    def read_value(self, options: DBusDict) -> DBusBytes:
        return self._device.peer.values[self.number]

    @dbus_method(name="WriteValue")
    def write_value(self, value: DBusBytes, options: DBusDict) -> None:
        self._device.peer.written[self.number] = bytes(value)

    @dbus_method(name="StartNotify")
    def start_notify(self) -> None:
        self.subscribed.set()

    @dbus_method(name="StopNotify")
    def stop_notify(self) -> None:
        self.subscribed.clear()

    def notify(self, value: bytes) -> None:
        self._value = value
        self.emit_properties_changed({"Value": value})
