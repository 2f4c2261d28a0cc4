"""A GATT server's services and characteristics, as objects that BlueZ calls, and the sockets of its subscribers.

Notifications go through AcquireNotify: every subscription is a socket pair of its own, so a subscriber that comes back
after a crash can never be confused with the one before, and a socket that closes is a subscription that ended.
`NotifyAcquired` stays false for the same reason: BlueZoo hands out no second socket once it is true.

Writes come as WriteValue, one call for each, because only a call can be refused: an `AttError` becomes the D-Bus error
that BlueZ turns into that ATT error for the central (src/gatt-database.c reads the code from the text of `Failed`).
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Annotated, Final

from dbus_fast import PropertyAccess
from dbus_fast.annotations import DBusBool, DBusBytes, DBusDict, DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from simulator.ble.gatt import AttError, Characteristic, Step, full_uuid

ROOT: Final = "/org/stafet/peripheral"
CONFIRM_TIMEOUT_S: Final = 30.0
"""The ATT transaction time-out (Core, Vol 3 Part F, 3.3.3): an indication not confirmed by then never will be."""
_TAKEN_POLL_S: Final = 0.0005
_MTU: Final = 512

_READ = PropertyAccess.READ
_Strings = Annotated[list[str], DBusSignature("as")]
_Socket = Annotated[tuple[int, int], DBusSignature("hq")]


class End(Enum):
    """How a subscription ended."""

    DISCONNECTED = "disconnected"
    """The link went down: the central (or we) disconnected."""
    UNSUBSCRIBED = "unsubscribed"
    """The stack closed the subscription but said nothing of the link."""
    REPLACED = "replaced"
    """Somebody subscribed anew while this one had never ended: the subscriber before is gone."""


class GattService(ServiceInterface):
    """org.bluez.GattService1 of one service."""

    def __init__(self, uuid: int) -> None:
        super().__init__("org.bluez.GattService1")
        self._uuid = full_uuid(uuid)

    @dbus_property(access=_READ, name="UUID")
    def uuid(self) -> DBusStr:
        return self._uuid

    @dbus_property(access=_READ, name="Primary")
    def primary(self) -> DBusBool:
        return True


class GattCharacteristic(ServiceInterface):
    """org.bluez.GattCharacteristic1 of one characteristic. `heard` is told each step, with who took it."""

    def __init__(
        self, characteristic: Characteristic, service_path: str, heard: Callable[[Step, str | None], None]
    ) -> None:
        super().__init__("org.bluez.GattCharacteristic1")
        self.characteristic = characteristic
        self._service_path = service_path
        self._heard = heard

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
            raise DBusError("org.bluez.Error.NotPermitted", "this characteristic cannot be read")
        offset = options["offset"].value if "offset" in options else 0
        value = self.characteristic.read()[offset:]
        self._heard(Step.READ, _central(options))
        return value

    @dbus_method(name="WriteValue")
    def write_value(self, value: DBusBytes, options: DBusDict) -> None:
        if self.characteristic.write is None:
            raise DBusError("org.bluez.Error.NotPermitted", "this characteristic cannot be written")
        try:
            self.characteristic.write(bytes(value))
        except AttError as error:
            raise _as_dbus(error) from error
        finally:
            self._heard(Step.WRITE, _central(options))


class NotifyingCharacteristic(GattCharacteristic):
    """A characteristic with subscribers; the socket's other end belongs to the stack.

    `subscribed` is asked for the descriptor to hand over.
    """

    def __init__(
        self,
        characteristic: Characteristic,
        service_path: str,
        heard: Callable[[Step, str | None], None],
        subscribed: Callable[[Characteristic, str | None], Awaitable[int]],
    ) -> None:
        super().__init__(characteristic, service_path, heard)
        self._subscribed = subscribed

    @dbus_property(access=_READ, name="NotifyAcquired")
    def notify_acquired(self) -> DBusBool:
        return False

    @dbus_method(name="AcquireNotify")
    async def acquire_notify(self, options: DBusDict) -> _Socket:
        mtu = options["mtu"].value if "mtu" in options else _MTU
        central = _central(options)
        theirs = await self._subscribed(self.characteristic, central)
        self._heard(Step.SUBSCRIBE, central)
        return theirs, mtu


class Subscription:
    """One subscriber of one characteristic, from AcquireNotify to its end."""

    def __init__(self, characteristic: Characteristic, central: str | None, ours: socket.socket) -> None:
        self.characteristic = characteristic
        self.central = central
        self.end: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._socket = ours
        self._confirmed = False
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(ours, self._readable)

    @property
    def open(self) -> bool:
        return not self.end.done()

    def close(self, end: End) -> None:
        if self.open:
            asyncio.get_running_loop().remove_reader(self._socket)
            # A central that hangs up at once has confirmed before; both may have come since we last looked.
            self._confirmed = self._confirmed or bool(self._received())
            self._socket.close()
            self.end.set_result(end)
            self._news.set()

    def hang(self) -> None:
        """Let the other end read the end of file, without closing ours yet."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def send(self, value: bytes) -> bool:
        """Hand one value to the stack; False if the subscription had ended. An indication waits for its confirmation."""
        if not self.open:
            return False
        self._confirmed = False
        self._news.clear()
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, value)
        except OSError:
            self.close(End.UNSUBSCRIBED)
            return False
        if "indicate" in self.characteristic.flags:
            try:
                async with asyncio.timeout(CONFIRM_TIMEOUT_S):
                    await self._news.wait()
            except TimeoutError:
                self.close(End.UNSUBSCRIBED)
            return self._confirmed
        return True

    async def taken(self) -> None:
        """Wait until the stack has read everything that was sent here.

        Each characteristic has a socket of its own, and the stack may read them in any order: only what has been taken
        is certain to leave before what another characteristic sends next.
        """
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONFIRM_TIMEOUT_S):
                while self.open and _unread(self._socket):  # noqa: ASYNC110 - the kernel has no event for it
                    await asyncio.sleep(_TAKEN_POLL_S)

    def _readable(self) -> None:
        """The stack writes one byte for each confirmation; nothing at all when it closed its end."""
        confirmation = self._received()
        if confirmation is None:
            return
        if confirmation:
            self._confirmed = True
            self._news.set()
        else:
            self.close(End.UNSUBSCRIBED)

    def _received(self) -> bytes | None:
        """What the stack wrote; nothing if it closed its end, None if it did neither."""
        try:
            return self._socket.recv(16)
        except BlockingIOError:
            return None
        except OSError:
            return b""


def _as_dbus(error: AttError) -> DBusError:
    """The error that BlueZ turns back into this code."""
    if error.code == AttError.INVALID_LENGTH:
        return DBusError("org.bluez.Error.InvalidValueLength", "wrong length")
    return DBusError("org.bluez.Error.Failed", f"0x{error.code:02x}")


def _central(options: DBusDict) -> str | None:
    """The object path of the central that a call is for."""
    return options["device"].value if "device" in options else None


def _unread(ours: socket.socket) -> int:
    """Bytes (with the kernel's overhead) that the other end has not read yet: SIOCOUTQ of unix(7)."""
    answer = fcntl.ioctl(ours, termios.TIOCOUTQ, bytes(4))
    number: int = struct.unpack("i", answer)[0]
    return number
