"""20601 over Bluetooth HDP: the hub is a sink, devices connect and ask for a data channel, which carries one association.

BlueZ has had no HDP since 5.86, so everything above L2CAP is ours: MCAP (`wire.mcap`) on the control channel, an APDU in
each packet of a data channel, and the echo test. Of BlueZ the service record is asked for, by which devices find the
two PSMs; that the link is encrypted and the device paired, the kernel sees to (BT_SECURITY_MEDIUM).

Run over sockets of the same kind between processes of ours, never yet over a radio.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any, Final

from edge.bluez import ROOT, Bluez, BluezError, variants
from edge.log import event
from edge.x73.packets import Packets
from edge.x73.pump import Associations
from wire.hdp import ECHO, ENDPOINTS, SINK_UUID, service_record
from wire.mcap import CONTROL_MTU, Ended, Event, Failed, Granted, Mcl, Opened

DATA_MTU: Final = 65_535
RETRY_FROM_S: Final = 1.0
RETRY_TO_S: Final = 60.0
MAX_DEVICES: Final = 16
"""Control channels at a time: more than a home has."""
MAX_KNOWN: Final = 64
_ANY: Final = "00:00:00:00:00:00"
_RECORD_PATH: Final = "/stafet/hdp"

# <bluetooth/bluetooth.h>, <bluetooth/l2cap.h>; the options are those of signove/hdpy's mcap_sock.py.
_SOL_L2CAP: Final = 6
_L2CAP_OPTIONS: Final = 1
_OPTIONS: Final = struct.Struct("HHHBBBH")
_MODE_ERTM: Final = 3
_FCS_CRC16: Final = 1
_SOL_BLUETOOTH: Final = 274
_BT_SECURITY: Final = 4
_SECURITY_MEDIUM: Final = 2


async def serve(associations: Associations) -> None:
    """Be a sink, for ever; without Bluetooth it is tried again."""
    delay_s, fault = RETRY_FROM_S, ""
    while True:
        try:
            with _listening(CONTROL_MTU) as control, _listening(DATA_MTU) as data:
                async with Bluez() as bluez:
                    await _register(bluez, control.getsockname()[1], data.getsockname()[1])
                    event("listening", at="HDP")
                    delay_s, fault = RETRY_FROM_S, ""
                    await _until(bluez.gone, Sink(associations, _bluetooth_address).run(control, data))
        except (OSError, BluezError) as error:
            if str(error) != fault:
                event("hdp_unavailable", logging.WARNING, detail=str(error))
            fault = str(error)
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, RETRY_TO_S)


def _listening(mtu: int) -> socket.socket:
    """An L2CAP socket on a PSM of the kernel's choice."""
    if not hasattr(socket, "AF_BLUETOOTH"):
        raise OSError("this Python was built without Bluetooth")
    bluetooth: Any = socket  # types of a platform that has it
    listening = socket.socket(bluetooth.AF_BLUETOOTH, socket.SOCK_SEQPACKET, bluetooth.BTPROTO_L2CAP)
    try:
        old = listening.getsockopt(_SOL_L2CAP, _L2CAP_OPTIONS, _OPTIONS.size)
        _, _, flush_to, _, _, max_tx, window = _OPTIONS.unpack(old)
        options = _OPTIONS.pack(mtu, mtu, flush_to, _MODE_ERTM, _FCS_CRC16, max_tx, window)
        listening.setsockopt(_SOL_L2CAP, _L2CAP_OPTIONS, options)
        listening.setsockopt(_SOL_BLUETOOTH, _BT_SECURITY, bytes((_SECURITY_MEDIUM, 0)))
        listening.bind((_ANY, 0))
        listening.listen(MAX_DEVICES)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


async def _register(bluez: Bluez, control_psm: int, data_psm: int) -> None:
    """BlueZ keeps the record as long as this connection to the bus lasts; without a PSM of its own it does no more."""
    record = service_record(control_psm, data_psm)
    options = variants({"Name": ("s", "Stafet HDP"), "ServiceRecord": ("s", record)})
    manager = "org.bluez.ProfileManager1"
    await bluez.call(ROOT, manager, "RegisterProfile", "osa{sv}", _RECORD_PATH, SINK_UUID, options)


async def _until(gone: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Work until BlueZ is gone."""
    working, ending = asyncio.create_task(work, name="hdp"), asyncio.create_task(gone.wait(), name="BlueZ")
    try:
        await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
        working.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError):
            await working


def _bluetooth_address(address: Any) -> str:
    return str(address[0])


class Sink:
    """Devices on two listening sockets, control and data; `who` tells the device of an address that was accepted."""

    def __init__(self, associations: Associations, who: Callable[[Any], str]) -> None:
        self._associations = associations
        self._who = who
        self._devices: dict[str, _Device] = {}
        self._known: dict[str, Mcl] = {}
        """Devices that were here: they may reconnect the channels that they had."""

    async def run(self, control: socket.socket, data: socket.socket) -> None:
        """Until cancelled. OSError if a listening socket fails."""
        loop = asyncio.get_running_loop()
        failed: asyncio.Future[None] = loop.create_future()
        for listening, accepted in ((control, self._control), (data, self._data)):
            loop.add_reader(listening, self._accept, listening, accepted, failed)
        try:
            await failed
        finally:
            loop.remove_reader(control)
            loop.remove_reader(data)
            for device in tuple(self._devices.values()):
                device.close()

    def _accept(
        self,
        listening: socket.socket,
        accepted: Callable[[str, socket.socket], None],
        failed: "asyncio.Future[None]",
    ) -> None:
        try:
            connection, address = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):  # it has gone again
            return
        except OSError as error:
            if not failed.done():
                failed.set_exception(error)
            return
        accepted(self._who(address), connection)

    def _control(self, who: str, connection: socket.socket) -> None:
        if who in self._devices:  # it has lost its side of the old one
            self._devices[who].close()
        if len(self._devices) >= MAX_DEVICES:
            event("agent_turned_away", logging.WARNING, count=len(self._devices))
            connection.close()
            return
        mcl = self._known.pop(who, None) or Mcl({ECHO, *ENDPOINTS}, initiator=False)
        self._known[who] = mcl
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        device = _Device(connection, mcl, self._associations, gone=lambda: self._forget(who, device))
        self._devices[who] = device

    def _forget(self, who: str, device: "_Device") -> None:
        if self._devices.get(who) is device:
            del self._devices[who]

    def _data(self, who: str, connection: socket.socket) -> None:
        device = self._devices.get(who)
        if device is None or not device.data_connected(connection):
            connection.close()


class _Device:
    """A device's control channel, and the data channels that were agreed on it."""

    def __init__(
        self, control: socket.socket, mcl: Mcl, associations: Associations, *, gone: Callable[[], None]
    ) -> None:
        self._control = control
        self._associations = associations
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._mcl = mcl
        self._channels: dict[int, Packets] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        control.setblocking(False)
        self._loop.add_reader(control, self._readable)

    def close(self) -> None:
        """End the control channel and everything on it. May be called again."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._control)
        self._control.close()
        if self._timer is not None:
            self._timer.cancel()
        for channel in tuple(self._channels.values()):
            channel.end()
        self._channels.clear()
        self._mcl.control_closed()
        self._gone()

    def data_connected(self, connection: socket.socket) -> bool:
        """The data channel that is pending; False if none is."""
        if self._mcl.pending is None:
            return False
        for happened in self._mcl.data_connected():
            if isinstance(happened, Opened):
                self._open(happened, connection)
        self._set_timer()
        return True

    def _open(self, opened: Opened, connection: socket.socket) -> None:
        connection.setblocking(False)
        if opened.mdep == ECHO:
            task = asyncio.create_task(_echo(connection), name="hdp echo")
            task.add_done_callback(lambda _: self._mcl.data_closed(opened.mdl))
            return

        def let_go() -> None:
            self._loop.remove_reader(connection)
            connection.close()
            if self._channels.get(opened.mdl) is channel:
                del self._channels[opened.mdl]
                self._mcl.data_closed(opened.mdl)

        async def send(apdu: bytes) -> None:
            await self._loop.sock_sendall(connection, apdu)

        def reading(on: bool) -> None:
            if not on:
                self._loop.remove_reader(connection)
            elif connection.fileno() >= 0:
                self._loop.add_reader(connection, _hear, connection, channel)

        channel = Packets(send=send, let_go=let_go, reading=reading, patient=False)
        self._channels[opened.mdl] = channel
        self._loop.add_reader(connection, _hear, connection, channel)
        self._associations.take_on(channel)

    def _readable(self) -> None:
        try:
            packet = self._control.recv(CONTROL_MTU)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self.close()
            return
        self._react(self._mcl.receive(packet, self._loop.time()))

    def _expired(self) -> None:
        self._react(self._mcl.expire(self._loop.time()))

    def _react(self, events: list[Event]) -> None:
        try:
            for packet in self._mcl.to_send():
                self._control.send(packet)
        except OSError:
            self.close()
            return
        for happened in events:
            if isinstance(happened, Ended) and happened.mdl in self._channels:
                self._channels.pop(happened.mdl).end()
            elif isinstance(happened, Granted):
                event("channel_granted", code=ENDPOINTS.get(happened.mdep, happened.mdep))
            elif isinstance(happened, Failed):
                event("channel_failed", logging.WARNING, detail=happened.why)
                self.close()
                return
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._mcl.deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._expired)


def _hear(connection: socket.socket, channel: Packets) -> None:
    try:
        packet = connection.recv(DATA_MTU)
    except BlockingIOError:
        return
    except OSError:
        packet = b""
    if packet:
        channel.hear(packet)
    else:
        asyncio.get_running_loop().remove_reader(connection)
        channel.end()


async def _echo(connection: socket.socket) -> None:
    """The echo test: one packet comes back, then the channel ends."""
    loop = asyncio.get_running_loop()
    with contextlib.closing(connection), contextlib.suppress(OSError):
        async with asyncio.timeout(RETRY_TO_S):
            await loop.sock_sendall(connection, await loop.sock_recv(connection, DATA_MTU))
