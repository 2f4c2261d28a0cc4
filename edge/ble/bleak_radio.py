"""The radio in a home: bleak over BlueZ's D-Bus API. The only file that knows bleak.

What is BlueZ's own way, and therefore handled here:

- A change of any property of a device looks to bleak like an advertisement. Only what an advertisement can change
  counts as one (`_advertised`), or no change at all: a device that is used twice, where it stands, says the same twice,
  and BlueZ tells it again for its data's sake (DuplicateData). And only of a device that is not connected.
- A device that is bonded while a scan goes on gets its identity address; bleak's `BLEDevice` keeps the private one that
  it was made with, so the address is taken from what BlueZ says with each advertisement.
- A process that was killed leaves its devices connected; they do not advertise, so they are looked up when a scan
  starts. It may also leave notifications on, so a refused subscription is tried once more after ending the old one.
- A client whose device has gone must still be disconnected, or its D-Bus connection stays.
- An ended connection is a knot of references that only the garbage collector takes apart; it is asked to at once, or
  each session would leave its memory to the next.
- bleak and dbus-fast raise more than they document when bluetoothd or the bus dies (AssertionError, KeyError,
  EOFError, ...). Every fault of theirs becomes a RadioError here.
"""

import asyncio
import contextlib
import gc
from asyncio import Event
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from bleak import BleakAdapter, BleakClient, BleakScanner
from bleak.backends.bluezdbus.manager import _global_instances
from bleak.backends.bluezdbus.version import BlueZFeatures
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakBluetoothNotAvailableError, BleakDBusError, BleakError

from edge.ble.adapter import CONNECT_HANGS, DEAF, SCAN_REFUSED, Adapter, Health
from edge.ble.radio import Characteristic, RadioError, Sighting
from wire.errors import WireError
from wire.services import SERVICES, format_uuid, parse_uuid

BUS_S: Final = 10.0
"""BlueZ answers in milliseconds; a bus that takes longer is a fault."""
STOP_S: Final = 3.0
"""As BUS_S, for what stands between SIGTERM and the end."""
CONNECT_S: Final = 21.0
"""The kernel gives up calling a device that has left after 20 s, and BlueZ says so: a stack that is silent then hangs."""
SILENT_S: Final = 15.0
"""A scan of at least so long in which nothing at all was heard was perhaps none."""
HANGS: Final = frozenset({"timeout", "org.bluez.Error.InProgress", "org.bluez.Error.NotReady"})
"""How an adapter fails that is stuck; a device that has left fails otherwise."""
ADVERTISED: Final = ("RSSI", "TxPower", "ManufacturerData", "ServiceData")
"""Neither name nor service UUIDs: BlueZ learns more of them during a connection."""

# bleak would start bluetoothctl at the first connection to ask for its version, while a device waits that may be gone
# in a second. It only looks for BlueZ before 5.55 (2020); Debian 12 has 5.66.
BlueZFeatures.checked_bluez_version = True


@contextmanager
def _radio_faults(step: str) -> Iterator[None]:
    try:
        yield
    except RadioError:
        raise
    except BleakBluetoothNotAvailableError as error:
        raise RadioError(error.reason.name.lower().replace("_", "-"), str(error.args[0])) from error
    except BleakDBusError as error:
        raise RadioError(error.dbus_error, f"{step}: {error.dbus_error_details or ''}") from error
    except TimeoutError as error:
        raise RadioError("timeout", step) from error
    except BleakError as error:
        raise RadioError("bluetooth", f"{step}: {error}") from error
    except Exception as error:
        raise RadioError(type(error).__name__, f"{step}: {error}") from error


class BleakRadio:
    """One adapter of this machine, kept at work (`edge.ble.adapter`)."""

    def __init__(self, *, adapter: str, wanted: Collection[bytes] = ()) -> None:
        """`adapter`: "hci0", or its Bluetooth address."""
        self._adapter = Adapter(adapter, lost=self._scan_lost)
        self._health = Health()
        self._renewed = 0
        self._links: set[BleakLink] = set()
        self.heard = 0
        self.lost = Event()
        self._last: dict[bytes, Mapping[str, object]] = {}
        self.want(wanted)

    @property
    def adapter(self) -> str:
        """Its name as the system has it now."""
        return self._adapter.name

    def want(self, addresses: Collection[bytes]) -> None:
        """Report these devices from now on; whatever else is in the air only counts as heard."""
        self._wanted = {address.hex(":").upper(): address for address in addresses}

    @asynccontextmanager
    async def scan(self, seen: Callable[[Sighting], None]) -> AsyncIterator[None]:
        """Report wanted devices while entered: those that advertise, and first those that are connected already."""

        def detected(device: BLEDevice, data: AdvertisementData) -> None:
            self.heard += 1
            properties = data.platform_data[1]
            address = self._wanted.get(properties["Address"])
            if address is not None and self._advertised(address, properties):
                seen(_sighting(address, device, properties))

        loop = asyncio.get_running_loop()
        scanner = await self._start_scanning(detected)
        begun, heard = loop.time(), self.heard
        try:
            with _radio_faults("scan"):
                for device in await self._connected():
                    address = self._wanted.get(device.address)
                    if address is not None:
                        seen(_sighting(address, device, device.details["props"]))
            yield
        finally:
            # What cannot be stopped shows when the next scan starts; here it would only hide why we leave.
            with contextlib.suppress(RadioError), _radio_faults("stop scanning"):
                async with asyncio.timeout(STOP_S):
                    await scanner.stop()
            if self.heard > heard:
                self._health.worked(DEAF, SCAN_REFUSED)
            elif loop.time() - begun >= SILENT_S and not self.lost.is_set():
                self._health.failed(DEAF)

    async def connect(self, sighting: Sighting) -> "BleakLink":
        """Connect and discover services."""
        device = sighting.handle
        if not isinstance(device, BLEDevice):
            raise TypeError(device)
        gone = Event()
        begun = asyncio.get_running_loop().time()
        try:
            with _radio_faults("connect"):
                # No adapter: the path of the device, which is all that bleak needs, has it in it.
                client = BleakClient(device, lambda _: gone.set())
                async with asyncio.timeout(CONNECT_S):
                    await client.connect()
                try:
                    link = BleakLink(client, gone, self._closed)
                except BleakError:  # it left at once, and its services with it
                    await client.disconnect()
                    raise
        except (RadioError, asyncio.CancelledError) as error:
            # Cancelled that late, it did not even end when it was told to: bleak waits for BlueZ then, without an end.
            late = asyncio.get_running_loop().time() - begun > CONNECT_S
            if late or (isinstance(error, RadioError) and error.reason in HANGS):
                self._health.failed(CONNECT_HANGS)
                self._mend_if_due()
            raise
        self._health.worked(CONNECT_HANGS)
        self._links.add(link)
        return link

    async def close(self) -> None:
        """Let go of the bus."""
        await self._adapter.close()

    async def _start_scanning(self, detected: Callable[[BLEDevice, AdvertisementData], None]) -> BleakScanner:
        self.lost.clear()
        self._last.clear()
        with _radio_faults("scan"):
            try:
                name = await self._adapter.ready()
                now = asyncio.get_running_loop().time()
                if (why := self._health.due(now)) is not None and not await self._is_in_use():
                    self._health.cycled(now, why)
                    await self._adapter.power_cycle(why)
                    self.lost.clear()
            finally:
                if self._renewed != self._adapter.renewed:
                    self._renewed = self._adapter.renewed
                    await _let_bleak_begin_anew()
            # Every advertisement, not only those with news.
            scanner = BleakScanner(detected, bluez={"adapter": name, "filters": {"DuplicateData": True}})
            try:
                async with asyncio.timeout(BUS_S):
                    await scanner.start()
            except Exception:
                self._health.failed(SCAN_REFUSED)
                raise
            return scanner

    async def _is_in_use(self) -> bool:
        """By a session of ours, or by somebody else's device. One of ours without a session is no reason to wait."""
        return bool(self._links) or not (await self._adapter.connected()) <= self._wanted.keys()

    def _scan_lost(self) -> None:
        self.lost.set()

    def _closed(self, link: "BleakLink") -> None:
        self._links.discard(link)
        self._mend_if_due()

    def _mend_if_due(self) -> None:
        if not self._links and self._health.due(asyncio.get_running_loop().time()) is not None:
            self.lost.set()

    async def _connected(self) -> list[BLEDevice]:
        adapter = await BleakAdapter.get(bluez={"adapter": self._adapter.name})
        return await adapter.get_connected_devices([format_uuid(service) for service in SERVICES])

    def _advertised(self, address: bytes, properties: Mapping[str, object]) -> bool:
        before, self._last[address] = self._last.get(address), properties
        if properties.get("Connected") or "RSSI" not in properties:
            return False
        if before is None or before == properties:  # only of an advertisement BlueZ says the same again
            return True
        return any(before.get(name) != properties.get(name) for name in ADVERTISED)


async def _let_bleak_begin_anew() -> None:
    """Drop what bleak remembers of BlueZ.

    It keeps a copy of BlueZ's objects, and does not notice that bluetoothd has ended: the copy then has devices that
    are connected and whose services are known, and no session with one of them would ever end. It does notice that
    its connection to the bus has ended.
    """
    manager = _global_instances.get(asyncio.get_running_loop())
    if manager is not None and manager._bus is not None:  # noqa: SLF001  there is no public way: bleak 3.1
        manager._bus.disconnect()  # noqa: SLF001  as above
        await asyncio.sleep(0)


def _sighting(address: bytes, device: BLEDevice, properties: Mapping[str, object]) -> Sighting:
    return Sighting(
        address=address,
        random=properties.get("AddressType") == "random",
        name=device.name or "",
        handle=device,
    )


class BleakLink:
    """A connected device whose services are known."""

    def __init__(self, client: BleakClient, gone: Event, closed: "Callable[[BleakLink], None]") -> None:
        self._client = client
        self._closed = closed
        self.gone = gone
        self._subscribed: list[BleakGATTCharacteristic] = []
        self._theirs: dict[int, BleakGATTCharacteristic] = {}
        found: list[Characteristic] = []
        for handle, theirs in sorted(client.services.characteristics.items()):
            with contextlib.suppress(WireError):
                found.append(
                    Characteristic(
                        uuid=parse_uuid(theirs.uuid),
                        handle=handle,
                        readable="read" in theirs.properties,
                        notifies=not {"notify", "indicate"}.isdisjoint(theirs.properties),
                        writable="write" in theirs.properties,
                        service=parse_uuid(theirs.service_uuid),
                    )
                )
                self._theirs[handle] = theirs
        self.characteristics: Sequence[Characteristic] = tuple(found)

    async def read(self, characteristic: Characteristic) -> bytes:
        """The value as the device has it now."""
        with _radio_faults("read"):
            return bytes(await self._client.read_gatt_char(self._theirs[characteristic.handle]))

    async def write(self, characteristic: Characteristic, value: bytes) -> None:
        """A write request; the device answers it."""
        with _radio_faults("write"):
            await self._client.write_gatt_char(self._theirs[characteristic.handle], value, response=True)

    async def subscribe(self, characteristic: Characteristic, received: Callable[[bytes], None]) -> None:
        """Enable notifications or, where the device has only those, indications (BlueZ confirms them)."""
        theirs = self._theirs[characteristic.handle]

        def called(_: BleakGATTCharacteristic, value: bytearray) -> None:
            received(bytes(value))

        with _radio_faults("subscribe"):
            try:
                await self._client.start_notify(theirs, called)
            except BleakError:
                if self.gone.is_set():
                    raise
                with contextlib.suppress(BleakError):
                    await self._client.stop_notify(theirs)
                await self._client.start_notify(theirs, called)
            self._subscribed.append(theirs)

    async def pair(self) -> None:
        """Make a bond. It must be one that BlueZ makes without an agent ("just works"); nothing if there is one.

        Not needed where there is a bond: BlueZ encrypts by itself when the device asks for it.
        """
        with _radio_faults("pair"):
            await self._client.pair()

    async def forget(self) -> None:
        """Drop the bond, and with it all that BlueZ knows of the device; that disconnects."""
        with _radio_faults("forget"):
            await self._client.unpair()

    async def close(self) -> None:
        """Notifications off first (A&D devices insist), then disconnect; in any case release the D-Bus connection."""
        with _radio_faults("disconnect"):
            try:
                if not self.gone.is_set():
                    for theirs in self._subscribed:
                        with contextlib.suppress(BleakError):
                            await self._client.stop_notify(theirs)
            finally:
                try:
                    await self._client.disconnect()
                finally:
                    self._closed(self)
                    gc.collect()
