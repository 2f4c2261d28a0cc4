"""The seam to the radio: what collecting needs of Bluetooth LE, and nothing of how it is done.

`edge.ble.bleak_radio` stands behind it in a home (bleak over BlueZ), `edge.ble.fake_radio` in tests.
"""

from asyncio import Event
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


class RadioError(Exception):
    """The radio, BlueZ or the other side did not do it. Expected: devices go away as they please.

    `reason` is one word for machines; `detail` is what the library said.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A device that advertises now, or is connected to us already; `handle` is the radio's own."""

    address: bytes
    random: bool = False
    name: str = ""
    handle: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Characteristic:
    """A characteristic of a connected device; two of one kind differ in `handle`."""

    uuid: int | bytes
    handle: int
    readable: bool = False
    notifies: bool = False
    """It can notify or indicate."""
    writable: bool = False
    """It takes a write that it answers."""
    service: int | bytes | None = None
    """Which service it belongs to."""


class Link(Protocol):
    """A connection to a device whose services are discovered. Every method may raise RadioError."""

    @property
    def characteristics(self) -> Sequence[Characteristic]: ...

    @property
    def gone(self) -> Event:
        """Set when the connection has ended, from whichever side."""
        ...

    async def read(self, characteristic: Characteristic) -> bytes: ...

    async def write(self, characteristic: Characteristic, value: bytes) -> None:
        """Write, and wait for the device's answer; RadioError with its reason if it refuses."""
        ...

    async def subscribe(self, characteristic: Characteristic, received: Callable[[bytes], None]) -> None:
        """Enable notifications or indications; `received` is called with each, in order, in the event loop."""
        ...

    async def pair(self) -> None:
        """Make a bond, without questions to anybody ("just works"); nothing if there is one."""
        ...

    async def forget(self) -> None:
        """Drop the bond. That ends the connection, too; `close` stays to be called."""
        ...

    async def close(self) -> None:
        """End subscriptions and connection. To be called once, also when the connection is gone."""
        ...


class Radio(Protocol):
    """One adapter."""

    @property
    def adapter(self) -> str:
        """Its name as the system has it now, as in "hci0"."""
        ...

    @property
    def lost(self) -> Event:
        """Set when the scan that was entered cannot go on and must be left; entering the next one mends what it can."""
        ...

    def want(self, addresses: Collection[bytes]) -> None:
        """Report these devices from now on; whatever else is in the air only counts as heard."""
        ...

    @property
    def heard(self) -> int:
        """How many advertisements of any device came in so far: whether the radio hears at all."""
        ...

    def scan(self, seen: Callable[[Sighting], None]) -> AbstractAsyncContextManager[None]:
        """Look for the wanted devices while entered. Entering may raise RadioError; leaving never does."""
        ...

    async def connect(self, sighting: Sighting) -> Link:
        """Connect and discover services; cancelling it ends the attempt."""
        ...
