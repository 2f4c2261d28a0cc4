"""Calls to BlueZ over the system bus, and which adapters it has."""

import asyncio
from typing import Any, Final

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusError

BLUEZ: Final = "org.bluez"
CALL_TIMEOUT_S: Final = 15.0
"""BlueZ answers in milliseconds; a first registration on a busy machine may take a second."""


class BluezError(Exception):
    """BlueZ is not there, or refused; the text says which call and why."""


async def connect(bus_address: str | None = None) -> MessageBus:
    """The system bus, or the one at an address; BluezError where there is none."""
    try:
        return await MessageBus(bus_address=bus_address, bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    except (OSError, DBusError) as error:
        raise BluezError(f"no system bus: {error}") from error


async def leave(bus: MessageBus) -> None:
    """Disconnect from the bus."""
    bus.disconnect()
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # dbus_fast left its return type out


async def call(
    bus: MessageBus, path: str, interface: str, member: str, signature: str = "", *body: Any, destination: str = BLUEZ
) -> list[Any]:
    """The body of the answer; BluezError if it is an error, or does not come."""
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


async def adapters(bus: MessageBus | None = None, *, bus_address: str | None = None) -> dict[str, str]:
    """Object path and Bluetooth address of each adapter; BluezError where there is no bus or no BlueZ on it."""
    if bus is None:
        bus = await connect(bus_address)
        try:
            return await adapters(bus)
        finally:
            await leave(bus)
    (objects,) = await call(bus, "/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    return {
        path: interfaces["org.bluez.Adapter1"]["Address"].value
        for path, interfaces in sorted(objects.items())
        if "org.bluez.Adapter1" in interfaces
    }
