"""20601 over USB: Personal Healthcare Devices (interface class 0F), found by looking each 2 s. The only file with pyusb.

pyusb waits where it stands, so every endpoint that is read has a thread, and so has looking for devices. An APDU is one
transfer. A stalled endpoint, or a preamble that is wrong, ends the connection: the halt is cleared and the device is
opened again, as the class wants it.

Run against a device of bytes behind pyusb's backend seam, never yet against hardware.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import usb.core
import usb.util

from edge.log import event
from edge.x73.packets import Packets
from edge.x73.pump import MAX_READ, Associations
from wire.errors import DecodeError
from wire.phdc import INTERFACE_CLASS, DataCode, Function, Preamble

Backend: TypeAlias = Any
"""pyusb's `IBackend`; it has no types."""

LOOK_S: Final = 2.0
UNAVAILABLE_S: Final = 30.0
"""Without libusb, or without the right to use it, there is nothing to see sooner."""
REOPEN_S: Final = 5.0
"""A device that ended its connection is there still."""
READ_MS: Final = 500
"""How long a thread waits before it looks whether it is still wanted."""
WRITE_MS: Final = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A device with an interface that carries 20601."""

    device: Any
    interface: Any

    @property
    def place(self) -> tuple[int, int]:
        """Bus and address: another one after it was plugged in again."""
        return self.device.bus, self.device.address


def find(backend: Backend = None) -> list[Found]:
    """What is plugged in now. OSError (pyusb's) if USB cannot be used."""
    try:
        return [found for device in usb.core.find(find_all=True, backend=backend) for found in _interfaces(device)]
    except usb.core.NoBackendError as error:
        raise OSError("libusb is not there") from error


def _interfaces(device: Any) -> Iterator[Found]:
    with contextlib.suppress(usb.core.USBError, NotImplementedError):  # it has just gone, or is not for us to look into
        for configuration in device:
            for interface in configuration:
                if interface.bInterfaceClass == INTERFACE_CLASS and _carries_20601(bytes(interface.extra_descriptors)):
                    yield Found(device=device, interface=interface)
                    return


@lru_cache(maxsize=64)
def _carries_20601(descriptors: bytes) -> bool:
    """What is looked at every 2 s is said once."""
    try:
        return Function.of(descriptors).data_code == DataCode.IEEE_11073_20601
    except DecodeError as error:
        event("usb_device_not_understood", logging.WARNING, detail=str(error))
        return False


async def serve(associations: Associations, backend: Backend = None) -> None:
    """Serve every such device from when it is plugged in until it is pulled out, for ever."""
    serving: dict[tuple[int, int], asyncio.Task[None]] = {}
    refused: set[tuple[int, int]] = set()
    fault = ""
    try:
        while True:
            try:
                found = {each.place: each for each in await asyncio.to_thread(find, backend)}
            except OSError as error:
                if str(error) != fault:
                    event("usb_unavailable", logging.WARNING, detail=str(error))
                fault = str(error)
                await asyncio.sleep(UNAVAILABLE_S)
                continue
            fault = ""
            refused &= found.keys()
            for place in [place for place, task in serving.items() if task.done()]:
                del serving[place]
            for place in found.keys() - serving.keys():
                serving[place] = asyncio.create_task(_device(associations, found[place], refused), name="usb")
            for place in serving.keys() - found.keys():
                serving.pop(place).cancel()
            await asyncio.sleep(LOOK_S)
    finally:
        for task in serving.values():
            task.cancel()


async def _device(associations: Associations, found: Found, refused: set[tuple[int, int]]) -> None:
    """One device, opened and served once. What is at its place afterwards is looked for anew: it may be another one.

    `refused`: places whose refusal has been said.
    """
    try:
        opened = await asyncio.to_thread(Endpoints, found, asyncio.get_running_loop())
    except (usb.core.USBError, NotImplementedError) as error:
        if found.place not in refused:
            event("usb_device_not_opened", logging.WARNING, detail=str(error))
        refused.add(found.place)
    else:
        refused.discard(found.place)
        if (task := associations.take_on(opened.way)) is not None:
            await asyncio.wait({task})
    await asyncio.sleep(REOPEN_S)


class Endpoints:
    """An open device; `way` is how associations use it."""

    def __init__(self, found: Found, loop: asyncio.AbstractEventLoop) -> None:
        """Claim the interface and begin to read, in a thread. USBError if it cannot be had."""
        self.way = Packets(send=self._send, let_go=self._let_go, reading=self._reading, patient=True, loop=loop)
        self._enough = False
        self._heard = threading.Event()
        """What was read last is with the association, which takes more."""
        self._heard.set()
        self._loop = loop
        self._device = found.device
        self._wanted = True
        self._transferring = threading.Lock()
        ins, self._out = _endpoints(found.interface)
        _choose(found)
        usb.util.claim_interface(self._device, found.interface.bInterfaceNumber)
        for endpoint in (*ins, self._out):
            with contextlib.suppress(usb.core.USBError, NotImplementedError):  # most were never halted
                endpoint.clear_halt()
        self._threads = [threading.Thread(target=self._read, args=(each,), name="usb", daemon=True) for each in ins]
        for thread in self._threads:
            thread.start()

    async def _send(self, apdu: bytes) -> None:
        await asyncio.to_thread(self._transfer, apdu)

    def _let_go(self) -> None:
        self._wanted = False
        # libusb must not close what a transfer still uses, and that may last READ_MS.
        threading.Thread(target=self._dispose, name="usb close", daemon=True).start()

    def _transfer(self, data: bytes) -> None:
        """In a thread."""
        with self._transferring:
            self._out.write(data, WRITE_MS)
            if len(data) % self._out.wMaxPacketSize == 0:
                self._out.write(b"", WRITE_MS)  # a transfer ends with a packet that is not full

    def _dispose(self) -> None:
        """In a thread."""
        for thread in self._threads:
            thread.join()
        with self._transferring:
            usb.util.dispose_resources(self._device)

    def _read(self, endpoint: Any) -> None:
        """In a thread of its own."""
        while self._wanted:
            if not self._heard.wait(READ_MS / 1000):
                continue
            try:
                transfer = bytes(endpoint.read(MAX_READ, READ_MS))
                if Preamble.of(transfer) is None:
                    self._heard.clear()
                    self._from_thread(self._hear, transfer)
            except usb.core.USBTimeoutError:
                continue
            except (usb.core.USBError, DecodeError) as error:
                if self._wanted:
                    event("usb_read_ended", logging.WARNING, detail=str(error))
                self._from_thread(self.way.end)
                return

    def _hear(self, transfer: bytes) -> None:
        self.way.hear(transfer)
        if not self._enough:
            self._heard.set()

    def _reading(self, on: bool) -> None:
        self._enough = not on
        if on:
            self._heard.set()

    def _from_thread(self, act: Any, *values: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the hub has ended
            self._loop.call_soon_threadsafe(act, *values)


def _choose(found: Found) -> None:
    """Its configuration, if it has none yet: to set it again would reset the device."""
    try:
        active = found.device.get_active_configuration()
    except usb.core.USBError:
        active = None
    if active is None or active.index != found.interface.configuration:
        found.device.set_configuration(tuple(found.device)[found.interface.configuration].bConfigurationValue)


def _endpoints(interface: Any) -> tuple[list[Any], Any]:
    """Those that are read (bulk, and interrupt if there is one), and the one that is written."""
    endpoints = list(interface)
    ins = [each for each in endpoints if usb.util.endpoint_direction(each.bEndpointAddress) == usb.util.ENDPOINT_IN]
    outs = [each for each in endpoints if each not in ins]
    bulk = [each for each in outs if usb.util.endpoint_type(each.bmAttributes) == usb.util.ENDPOINT_TYPE_BULK]
    if not ins or not bulk:
        raise usb.core.USBError("an interface without bulk endpoints both ways")
    return ins, bulk[0]
