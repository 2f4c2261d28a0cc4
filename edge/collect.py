"""Collecting: which device now, and what happens with it.

One task scans without a pause; one task per listed device waits until `edge.attention` says that it is due, takes one
of few slots, and holds one session:

    connect and discover -> read context -> subscribe -> collect -> disconnect

Context (device information, features, the device's clock) comes before the subscription, because a device may send
everything it has stored the moment it is subscribed to, and each of those readings shall carry it.

A notified value is committed to the outbox inside the radio's callback, before anything else is done or counted; the
next one waits. So readings are stored in the order of arrival, and a killed hub has lost none that it counted. What
the outbox cannot take at the moment (a full disk) is held in memory, in order, and tried again each second.

Every wait ends, every radio fault is expected, and none of them ends the hub.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Final

from edge.attention import Attention
from edge.collects import DeviceState
from edge.intake import Intake
from edge.log import address_hash, event
from edge.radio import Characteristic, Link, Radio, RadioError, Sighting
from wire.batch import encode_reading
from wire.evidence import Clock, Context, Device, Reading
from wire.services import CLOCK, DEVICE_INFORMATION, MEASUREMENTS, SERVICES, short_uuid

CONNECT_S: Final = 30.0
"""BlueZ itself gives up after about 20 s; discovery over a weak link takes a few more."""
CONTEXT_S: Final = 6.0
"""For all context together: a dozen reads take 1 s, and the measurement matters more."""
SUBSCRIBE_S: Final = 5.0
CLOSE_S: Final = 4.0
"""Also what one session may cost at SIGTERM."""
TICK_S: Final = 5.0
"""The longest that the scanning task sleeps without a sign of progress."""
DEAF_TICKS: Final = 4
"""Nothing heard from any device for 20 s: scan anew, as adapters stop without saying so."""
FIRST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 10.0
"""An adapter that comes back is used that soon."""
MAX_CONTEXT: Final = 32
"""wire.batch takes no more."""
MAX_NAME_BYTES: Final = 248
"""A Bluetooth device name (Core 5.4 Vol 3 Part C 12.1)."""

_CONTEXT: Final = frozenset(DEVICE_INFORMATION) | {uuid for service in SERVICES.values() for uuid in service.context}


class _Listed:
    """A device that may be read, and how it stands with it."""

    def __init__(self, address: bytes, label: str) -> None:
        self.label = label
        self.hash = address_hash(address)
        self.attention = Attention()
        self.sighting = Sighting(address=address)
        self.news = asyncio.Event()
        self.connected = False
        self.sessions = 0
        self.readings = 0
        """Stored, since the hub started."""
        self.brought = 0
        """Received in this session."""
        self.read_at: float | None = None
        self.heard_at = 0.0


class Collector:
    """Reads the listed devices, for ever."""

    def __init__(
        self,
        *,
        radio: Radio,
        devices: Iterable[tuple[bytes, str]],
        intake: Intake,
        now: Callable[[], Clock],
        idle_timeout_s: float = 30.0,
        connections: int = 4,
    ) -> None:
        """`devices`: address and label of each."""
        self._radio = radio
        self._listed: dict[bytes, _Listed] = {}
        self._attending: dict[bytes, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self.intake = intake
        self._now = now
        self._idle_timeout_s = idle_timeout_s
        self._slots = asyncio.Semaphore(connections)
        self.scanning = False
        self.radio_fault: str | None = None
        self.progress = 0
        """Rises at least every TICK_S while scanning lives."""
        self.keep(devices)

    def keep(self, devices: Iterable[tuple[bytes, str]]) -> None:
        """Read these (address and label) and no others from now on. A session with one that is not listed any more ends."""
        labels = dict(devices)
        for address in self._listed.keys() - labels.keys():
            del self._listed[address]
            if address in self._attending:
                self._attending.pop(address).cancel()
        for address, label in labels.items():
            if address in self._listed:
                self._listed[address].label = label
            else:
                self._listed[address] = _Listed(address, label)
                self._attend_to(address)
        self._radio.want(labels.keys())

    def states(self) -> tuple[DeviceState, ...]:
        """The listed devices, for `status`."""
        now = asyncio.get_running_loop().time()

        def ago(moment: float | None) -> float | None:
            return None if moment is None else round(now - moment, 1)

        return tuple(
            DeviceState(
                device=listed.hash,
                label=listed.label,
                connected=listed.connected,
                readings=listed.readings,
                sessions=listed.sessions,
                seen_s=ago(listed.attention.last_seen),
                read_s=ago(listed.read_at),
            )
            for listed in self._listed.values()
        )

    async def run(self) -> None:
        """Collect until cancelled; then end every session properly, within CLOSE_S, and give back the radio."""
        async with asyncio.TaskGroup() as self._group:
            for address in self._listed:
                self._attend_to(address)
            self._group.create_task(self._scan(), name="scan")

    def _attend_to(self, address: bytes) -> None:
        if self._group is not None:
            listed = self._listed[address]
            self._attending[address] = self._group.create_task(self._attend(listed), name=f"device {listed.hash}")

    # Scanning

    async def _scan(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            try:
                async with self._radio.scan(self._seen):
                    if self.radio_fault is not None:
                        event("scan_recovered", reason=self.radio_fault)
                    self.radio_fault = None
                    self.scanning = True
                    retry_s = FIRST_RETRY_S
                    await self._while_it_hears()
                continue
            except RadioError as error:
                if error.reason != self.radio_fault:
                    event("scan_failed", logging.WARNING, reason=error.reason, detail=error.detail)
                self.radio_fault = error.reason
            finally:
                self.scanning = False
            await self._pause(retry_s)
            retry_s = min(2 * retry_s, LONGEST_RETRY_S)

    async def _while_it_hears(self) -> None:
        """Return when the scan is lost, or the radio has heard no device at all for DEAF_TICKS, connected ones aside."""
        deaf = 0
        heard = self._radio.heard
        while deaf < DEAF_TICKS:
            self.progress += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._radio.lost.wait()
                    return
            deaf = deaf + 1 if self._radio.heard == heard else 0
            heard = self._radio.heard

    async def _pause(self, seconds: float) -> None:
        while seconds > 0:
            self.progress += 1
            await asyncio.sleep(min(seconds, TICK_S))
            seconds -= TICK_S

    def _seen(self, sighting: Sighting) -> None:
        listed = self._listed.get(sighting.address)
        if listed is None:
            return
        listed.sighting = sighting
        listed.attention.seen(asyncio.get_running_loop().time())
        listed.news.set()

    # One device

    async def _attend(self, listed: _Listed) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._until_due(listed)
            async with self._slots:
                if listed.attention.due(loop.time()) is None:
                    continue  # it has gone while others were read
                listed.attention.begun()
                listed.brought = 0
                try:
                    await self._session(listed)
                except Exception as error:  # noqa: BLE001  the task boundary: one device's session never ends the hub
                    event("session_broke", logging.ERROR, device=listed.hash, error=type(error).__name__)
                finally:
                    listed.attention.ended(loop.time(), readings=listed.brought)

    async def _until_due(self, listed: _Listed) -> None:
        loop = asyncio.get_running_loop()
        while True:
            listed.news.clear()
            due = listed.attention.due(loop.time())
            if due is not None and due <= loop.time():
                return
            try:
                async with asyncio.timeout_at(due):
                    await listed.news.wait()
            except TimeoutError:  # not compared with the clock again: timers may fire a tick early
                return

    async def _session(self, listed: _Listed) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        ended, reason = "stopping", ""
        try:
            async with asyncio.timeout(CONNECT_S):
                link = await self._radio.connect(listed.sighting)
        except (RadioError, TimeoutError) as error:
            event(
                "device_not_reached", logging.WARNING, device=listed.hash, reason=_reason(error), detail=_detail(error)
            )
            return
        listed.connected = True
        listed.sessions += 1
        event("device_connected", device=listed.hash, elapsed_ms=_ms(loop.time() - begun))
        try:
            ended = await self._read(listed, link)
        except (RadioError, TimeoutError) as error:
            ended, reason = ("device", "") if link.gone.is_set() else ("fault", _reason(error))
        finally:
            listed.connected = False
            await self._close(listed, link)
            event(
                "session_ended",
                logging.WARNING if ended == "fault" else logging.INFO,
                device=listed.hash,
                readings=listed.brought,
                ended=ended,
                **({"reason": reason} if reason else {}),
                elapsed_ms=_ms(loop.time() - begun),
            )

    async def _read(self, listed: _Listed, link: Link) -> str:
        """From discovered to the end of the session; who ended it."""
        loop = asyncio.get_running_loop()
        context = await self._read_context(listed, link)
        name = listed.sighting.name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
        device = Device(address=listed.sighting.address, random=listed.sighting.random, name=name)
        listed.heard_at = loop.time()
        subscribed = 0
        fault: RadioError | TimeoutError | None = None
        for characteristic in link.characteristics:
            if characteristic.uuid not in MEASUREMENTS or not characteristic.notifies:
                continue
            received = self._receiver(listed, device, characteristic, context)
            try:
                async with asyncio.timeout(SUBSCRIBE_S):
                    await link.subscribe(characteristic, received)
                subscribed += 1
            except (RadioError, TimeoutError) as error:
                fault = error
                if link.gone.is_set():
                    break
        if not subscribed:
            raise fault or RadioError("nothing-to-measure")
        while True:
            heard_at = listed.heard_at
            try:
                async with asyncio.timeout_at(heard_at + self._idle_timeout_s):
                    await link.gone.wait()
                    return "device"
            except TimeoutError:
                if listed.heard_at == heard_at:
                    return "idle"

    async def _read_context(self, listed: _Listed, link: Link) -> tuple[Context, ...]:
        context: list[Context] = []
        unread = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONTEXT_S):
                for characteristic in _context_of(link.characteristics):
                    try:
                        value = await link.read(characteristic)
                    except RadioError:
                        if link.gone.is_set():
                            raise
                        unread += 1
                        continue
                    mono_us = self._now().mono_us
                    context.append(Context(characteristic=characteristic.uuid, mono_us=mono_us, value=value))
        if unread:
            event("context_unread", logging.WARNING, device=listed.hash, count=unread)
        return tuple(context)

    async def _close(self, listed: _Listed, link: Link) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await link.close()
        except (RadioError, TimeoutError) as error:
            event(
                "disconnect_failed", logging.WARNING, device=listed.hash, reason=_reason(error), detail=_detail(error)
            )

    # One reading

    def _receiver(
        self, listed: _Listed, device: Device, characteristic: Characteristic, context: tuple[Context, ...]
    ) -> Callable[[bytes], None]:
        loop = asyncio.get_running_loop()
        name = short_uuid(characteristic.uuid)

        def received(value: bytes) -> None:
            reading = Reading(
                device=device, received=self._now(), characteristic=characteristic.uuid, value=value, context=context
            )
            seq = self.intake.take(encode_reading(reading))
            listed.heard_at = loop.time()
            listed.brought += 1
            if seq is not None:
                listed.readings += 1
                listed.read_at = listed.heard_at
                event("reading_stored", device=listed.hash, characteristic=name, bytes=len(value), seq=seq)

        return received


def _context_of(characteristics: Iterable[Characteristic]) -> list[Characteristic]:
    """What to read before measuring, each once; the clock last, because it matters when it is read."""
    readable: dict[int | bytes, Characteristic] = {}
    for characteristic in characteristics:
        if characteristic.readable:
            readable.setdefault(characteristic.uuid, characteristic)
    chosen = [readable[uuid] for uuid in readable if uuid in _CONTEXT]
    clock = next((readable[uuid] for uuid in CLOCK if uuid in readable), None)
    return [*chosen[: MAX_CONTEXT - 1], *([clock] if clock else [])]


def _reason(error: RadioError | TimeoutError) -> str:
    return error.reason if isinstance(error, RadioError) else "timeout"


def _detail(error: RadioError | TimeoutError) -> str:
    return error.detail if isinstance(error, RadioError) else ""


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
