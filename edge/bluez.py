"""BlueZ's own D-Bus API, for what bleak has not: adapters and their power, pairing, what we offer to devices.

The only file of the hub that knows dbus_fast. Types stay D-Bus's, without variants. Whatever the bus, BlueZ or the
library does becomes a BluezError.

What we export answers BlueZ alone: on the system bus any program may call us, and an agent that answers a stranger
would hand out its passkeys.
"""

import asyncio
import contextlib
from asyncio import Event
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeAlias

from dbus_fast import BusType, Message, MessageType, Variant, unpack_variants
from dbus_fast.aio import MessageBus

SERVICE: Final = "org.bluez"
ROOT: Final = "/org/bluez"
ADAPTER: Final = "org.bluez.Adapter1"
DEVICE: Final = "org.bluez.Device1"
GATT_SERVICE: Final = "org.bluez.GattService1"
CHARACTERISTIC: Final = "org.bluez.GattCharacteristic1"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
OBJECTS: Final = "org.freedesktop.DBus.ObjectManager"
_ERRORS: Final = "org.bluez.Error."
_BUS: Final = "org.freedesktop.DBus"

CALL_S: Final = 10.0
"""BlueZ answers in milliseconds, and gives up powering an adapter after some seconds."""

Properties: TypeAlias = Mapping[str, Any]
Changed: TypeAlias = Callable[[str, Properties | None], None]
"""Called with an object's path and those of its properties that are new; None: the interface is there no more."""


class BluezError(Exception):
    """A call had no success. `reason` is the last word of the D-Bus error ("AuthenticationFailed"), or what happened to
    the call itself: "no-bus", "timeout". Raised by a method that we export, it is the answer to BlueZ.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Method(NamedTuple):
    """What we do when BlueZ calls; the signature is that of the reply, and the body its list of arguments."""

    signature: str
    body: Callable[..., Awaitable[list[Any]]]


class Bluez(AbstractAsyncContextManager["Bluez"]):
    """A connection of its own to the system bus. `async with Bluez() as bluez`, or open() and close()."""

    def __init__(self) -> None:
        self.gone = Event()
        """Set when BlueZ or the bus has ended: nothing seen before holds any more, and this connection is of no more use."""
        self._bus: MessageBus | None = None
        self._owner = ""
        self._watched: list[tuple[str, Changed]] = []
        self._exported: dict[tuple[str, str], Mapping[str, Method]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Connect; BluezError if there is no bus, or no BlueZ on it."""
        try:
            self._bus = MessageBus(bus_type=BusType.SYSTEM)
            async with asyncio.timeout(CALL_S):
                await self._bus.connect()
            self._bus.add_message_handler(self._heard)
            self._start(self._until_the_end(self._bus))
            await self._match(f"sender='{_BUS}',interface='{_BUS}',member='NameOwnerChanged',arg0='{SERVICE}'")
            self._owner = await self._find_bluez()
        except BluezError:
            await self.close()
            raise
        except Exception as error:
            await self.close()
            raise BluezError("no-bus", str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Leave the bus, and with it whatever BlueZ does for us: discovery, the agent, what we offer."""
        bus, self._bus = self._bus, None
        self.gone.set()
        if bus is not None:
            with contextlib.suppress(Exception):  # it may be broken in any way
                bus.disconnect()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def call(
        self,
        path: str,
        interface: str,
        method: str,
        signature: str = "",
        *body: Any,
        within_s: float = CALL_S,
        to: str = SERVICE,
    ) -> Any:
        """Call BlueZ, and wait for what it returns: a value, None, or a list if it returns several."""
        if self._bus is None or not self._bus.connected:
            raise BluezError("no-bus")
        message = Message(
            destination=to, path=path, interface=interface, member=method, signature=signature, body=list(body)
        )
        try:
            async with asyncio.timeout(within_s):
                reply = await self._bus.call(message)
        except TimeoutError:
            raise BluezError("timeout", method) from None
        except Exception as error:
            raise BluezError("no-bus", f"{method}: {error}") from error
        assert reply is not None  # noqa: S101  we wait for one
        if reply.message_type is MessageType.ERROR:
            detail = str(reply.body[0]) if reply.body else ""
            raise BluezError((reply.error_name or "").rpartition(".")[2], f"{method}: {detail}")
        values = unpack_variants(reply.body)
        return values[0] if len(values) == 1 else values or None

    async def objects(self) -> Mapping[str, Mapping[str, Properties]]:
        """All that BlueZ has: path -> interface -> properties."""
        found: Mapping[str, Mapping[str, Properties]] = await self.call("/", OBJECTS, "GetManagedObjects")
        return found

    async def properties(self, path: str, interface: str) -> Properties:
        """All properties of one object."""
        found: Properties = await self.call(path, PROPERTIES, "GetAll", "s", interface)
        return found

    async def set(self, path: str, interface: str, name: str, signature: str, value: Any) -> None:
        """Set a property."""
        await self.call(path, PROPERTIES, "Set", "ssv", interface, name, Variant(signature, value))

    async def watch(self, interface: str, changed: Changed, *, path: str = f"{ROOT}/") -> None:
        """Be told of objects with this interface that come, change and go: those below `path`, or (without a slash) it alone."""
        self._watched.append((interface, changed))
        within = f"path_namespace='{path.rstrip('/')}'"
        await self._match(
            f"sender='{SERVICE}',interface='{PROPERTIES}',member='PropertiesChanged',{within},arg0='{interface}'"
        )
        for member in ("InterfacesAdded", "InterfacesRemoved"):
            await self._match(f"sender='{SERVICE}',interface='{OBJECTS}',member='{member}',arg0path='{path}'")

    def export(self, path: str, interface: str, methods: Mapping[str, Method]) -> None:
        """Let BlueZ call us there."""
        self._exported[path, interface] = methods

    async def emit_changed(self, path: str, interface: str, changed: Mapping[str, tuple[str, Any]]) -> None:
        """Tell that properties of what we export have changed: name -> signature and value."""
        if self._bus is not None and self._bus.connected:
            body = [interface, variants(changed), []]
            await self._bus.send(
                Message.new_signal(path, PROPERTIES, "PropertiesChanged", signature="sa{sv}as", body=body)
            )

    async def _find_bluez(self) -> str:
        """The unique name of BlueZ. One that has ended is started, where the system is set up for that."""
        try:
            return str(await self._ask_bus("GetNameOwner", "s", SERVICE))
        except BluezError as error:
            if error.reason != "NameHasNoOwner":
                raise
        try:
            await self._ask_bus("StartServiceByName", "su", SERVICE, 0)
            return str(await self._ask_bus("GetNameOwner", "s", SERVICE))
        except BluezError as error:
            raise BluezError("no-bluez", error.detail) from error

    async def _match(self, rule: str) -> None:
        await self._ask_bus("AddMatch", "s", f"type='signal',{rule}")

    async def _ask_bus(self, method: str, signature: str, *body: Any) -> Any:
        return await self.call("/org/freedesktop/DBus", _BUS, method, signature, *body, to=_BUS)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, name="bluez")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_the_end(self, bus: MessageBus) -> None:
        with contextlib.suppress(Exception):  # why it ended does not matter
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # a library's omission
        self.gone.set()

    def _heard(self, message: Message) -> bool:
        if message.message_type is MessageType.METHOD_CALL:
            method = self._exported.get((message.path or "", message.interface or ""), {}).get(message.member or "")
            if method is None or message.sender != self._owner:
                return False  # dbus_fast says that there is no such method
            self._start(self._answer(message, method))
            return True
        if message.message_type is MessageType.SIGNAL:
            self._signalled(message)
        return False

    def _signalled(self, message: Message) -> None:
        if message.member == "NameOwnerChanged" and message.body[0] == SERVICE and message.body[1]:
            self.gone.set()
            return
        path, properties = message.path or "", None
        if message.member == "PropertiesChanged":
            interfaces, properties = (message.body[0],), unpack_variants(message.body[1])
        elif message.member == "InterfacesAdded":
            path, added = message.body
            for interface, changed in self._watched:
                if interface in added:
                    changed(path, unpack_variants(added[interface]))
            return
        elif message.member == "InterfacesRemoved":
            path, interfaces = message.body
        else:
            return
        for interface, changed in self._watched:
            if interface in interfaces:
                changed(path, properties)

    async def _answer(self, message: Message, method: Method) -> None:
        try:
            reply = Message.new_method_return(
                message, method.signature, await method.body(*unpack_variants(message.body))
            )
        except BluezError as error:
            reply = Message.new_error(message, _ERRORS + error.reason, error.detail)
        with contextlib.suppress(Exception):  # whoever asked has gone
            if self._bus is not None:
                await self._bus.send(reply)


def variants(properties: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    """What D-Bus calls a{sv}, of name -> signature and value."""
    return {name: Variant(signature, value) for name, (signature, value) in properties.items()}
