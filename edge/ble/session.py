"""One session with a device, from discovered to ended: the flows of its services, as `edge.ble.flows` has them.

    read -> set the clock, where the device wants it first -> subscribe -> pause -> ask for stored records -> begin
    -> take what comes -> set the clock, if it is off

Context (information, features, the device's clock) comes before the subscription, because a device may send everything
it has stored the moment it is subscribed to, and each of those readings shall carry it. It shows the clock as it was
when those readings got their stamps: before it was set.

So a clock that is off is set last: when every stored record is in the outbox and nothing has come for CLOCK_AFTER_S. The
session ends with it, and whatever is measured next comes in a session that has read the new clock. Set earlier, and
the link cut then, old stamps would come beside a new clock and nobody could tell.

A value is committed to the outbox inside the radio's callback, before anything else is done or counted; the next one
waits. So readings are stored in the order of arrival, and a killed hub has lost none that it counted.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from edge.ble import device_clock
from edge.ble.flows import FLOWS, KEPT, LIVE, ORDER_DONE, SEGMENTED, Records
from edge.ble.radio import Characteristic, Link, RadioError, Sighting
from edge.ble.records import Fetch, Memory, Outcome, control_points
from edge.intake import Intake
from edge.log import event
from edge.outbox import OutboxError
from edge.store import Recalled
from wire.evidence import Clock, Context, Device, Reading
from wire.ghs_segments import Segments
from wire.quirks import Quirk, quirk_for
from wire.reading import MAX_ATTRIBUTE_BYTES, encode_reading
from wire.services import BATTERY_LEVEL, CLOCK, DEVICE_INFORMATION, RACP, SERVICES, short_uuid

CONTEXT_S: Final = 6.0
"""For all context together: a dozen reads take 1 s, and the measurement matters more."""
STEP_S: Final = 5.0
"""One write, or one subscription."""
BOND_S: Final = 10.0
CLOCK_AFTER_S: Final = 3.0
"""A device that empties its memory by itself sends without a pause; one that leaves after a measurement does so within seconds."""
MAX_CONTEXT: Final = 30
"""wire.batch takes 32; two are for the request that a record answers and for what it is attached to."""
MAX_NAME_BYTES: Final = 248
"""A Bluetooth device name (Core 5.4 Vol 3 Part C 12.1)."""

_CONTEXT: Final = (
    frozenset(DEVICE_INFORMATION)
    | {BATTERY_LEVEL}
    | {uuid for service in SERVICES.values() for uuid in service.context}
)
_MANUFACTURER, _MODEL, _FIRMWARE = 0x2A29, 0x2A24, 0x2A26


class Tally:
    """What a device has brought since the hub started, and how its clock was."""

    def __init__(self) -> None:
        self.readings = 0
        """Stored."""
        self.records = 0
        """Of these, records that the device had kept and was asked for."""
        self.read_at: float | None = None
        self.clock_off_s: float | None = None
        """When last read; how far the device was ahead."""
        self.clock_set_at: float | None = None


class Session:
    """One connection. `run` it once; `brought` values have come."""

    def __init__(
        self,
        *,
        link: Link,
        sighting: Sighting,
        named: str,
        tally: Tally,
        intake: Intake,
        memory: Memory | None,
        now: Callable[[], Clock],
        idle_timeout_s: float,
    ) -> None:
        """`named` is the device in events."""
        name = sighting.name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
        self._device = Device(address=sighting.address, random=sighting.random, name=name)
        self._link = link
        self._named = named
        self._tally = tally
        self._intake = intake
        self._memory = memory
        self._now = now
        self._idle_timeout_s = idle_timeout_s
        self._context: tuple[Context, ...] = ()
        self._subscribed: list[Characteristic] = []
        self._segments: list[Segments] = []
        self._fetched_whole = True
        self._asked = False
        self._heard_at = 0.0
        self.quirk: Quirk = quirk_for(name=name)
        self.brought = 0

    async def run(self) -> str:
        """Until it is over; who ended it. RadioError or TimeoutError if it broke off."""
        try:
            return await self._run()
        finally:
            if dropped := sum(segments.dropped for segments in self._segments):
                event("segments_dropped", logging.WARNING, device=self._named, count=dropped)

    async def _run(self) -> str:
        if self.quirk.bond == "drop":
            await self._bond()
        await self._read_context()
        self.quirk = self._known_device()
        clock = device_clock.wish(self.quirk.clock)
        if clock is not None and clock.first:
            await asyncio.sleep(self.quirk.settle_ms / 1000)
            await self._set_clock(clock)
            clock = None
        await asyncio.sleep(self.quirk.settle_ms / 1000)
        await self._tell_session_start()
        fetches = await self._subscribe()
        if fetches:
            await self._order(*(order for flow in FLOWS.values() for order in flow.pause))
        for fetch, source in fetches:
            await self._fetch(fetch, source)
        await self._order(*(order for flow in FLOWS.values() for order in flow.begin))
        return await self._collect(clock)

    # Before measuring

    async def _read_context(self) -> None:
        context: list[Context] = []
        unread = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONTEXT_S):
                for characteristic in context_of(self._link.characteristics):
                    try:
                        context.append(await self._context_value(characteristic))
                    except RadioError:
                        if self._link.gone.is_set():
                            raise
                        unread += 1
        if unread:
            event("context_unread", logging.WARNING, device=self._named, count=unread)
        self._context = tuple(context)
        self._note_clock()

    async def _context_value(self, characteristic: Characteristic) -> Context:
        value = await self._link.read(characteristic)
        if len(value) > MAX_ATTRIBUTE_BYTES:  # beside it, no reading of this session could be kept
            raise RadioError("too-long", f"{len(value)} bytes")
        return Context(characteristic=characteristic.uuid, mono_us=self._now().mono_us, value=value)

    async def _read_again(self, characteristic: Characteristic) -> None:
        """What was written, as the device shows it now, in place of what it showed before."""
        if not characteristic.readable:
            return
        try:
            async with asyncio.timeout(STEP_S):
                anew = await self._context_value(characteristic)
        except (RadioError, TimeoutError):
            if self._link.gone.is_set():
                raise
            return
        self._context = (*(each for each in self._context if each.characteristic != characteristic.uuid), anew)

    def _said(self, uuid: int) -> bytes:
        return next((each.value for each in self._context if each.characteristic == uuid), b"")

    def _known_device(self) -> Quirk:
        def text(uuid: int) -> str:
            return self._said(uuid).decode(errors="replace").strip("\0 ")

        return quirk_for(
            name=self._device.name,
            manufacturer=text(_MANUFACTURER),
            model=text(_MODEL),
            firmware=text(_FIRMWARE),
            services={each.service for each in self._link.characteristics if each.service is not None},
        )

    async def _bond(self) -> None:
        """The last session's bond is gone; without one the device may tell nothing."""
        try:
            async with asyncio.timeout(BOND_S):
                await self._link.pair()
        except (RadioError, TimeoutError) as error:
            if self._link.gone.is_set():
                raise
            event("not_bonded", logging.WARNING, device=self._named, reason=reason_of(error))

    # Clocks

    def _note_clock(self) -> None:
        shown = ((uuid, value) for uuid in device_clock.CLOCKS if (value := self._said(uuid)))
        off_s = next((device_clock.off_s(uuid, value, self._now()) for uuid, value in shown), None)
        self._tally.clock_off_s = None if off_s is None else round(off_s, 1)

    async def _set_clock(self, wanted: device_clock.Wish) -> bool:
        """Write the hub's time into the device, where it is to be and the hub has it; whether it was written."""
        choice = device_clock.CLOCKS if wanted.characteristic is None else (wanted.characteristic,)
        found = self._writable(*choice)
        if found is None:
            return False
        off_s = self._tally.clock_off_s
        if off_s is not None and abs(off_s) <= wanted.if_off_by_s:
            return False
        now = self._now()
        if not device_clock.may_set(now):
            event("clock_not_written", logging.WARNING, device=self._named, reason="hub-clock", off_s=off_s)
            return False
        value = device_clock.setting(found[0], now, self._said(found[0]))
        return value is not None and await self._write_clock(found[1], value, off_s)

    async def _tell_session_start(self) -> None:
        """A CGM sensor that has not been told the time cannot tell it of its records."""
        start = self._writable(device_clock.SESSION_START)
        if start is None or not device_clock.shows_no_start(self._said(device_clock.SESSION_START)):
            return
        now = self._now()
        if device_clock.may_set(now):
            value = device_clock.session_start(now, self._said(device_clock.CGM_FEATURE))
            if await self._write_clock(start[1], value, None):
                await self._read_again(start[1])  # what it makes of it: the time at which it was started

    async def _write_clock(self, characteristic: Characteristic, value: bytes, off_s: float | None) -> bool:
        name = short_uuid(characteristic.uuid)
        try:
            async with asyncio.timeout(STEP_S):
                await self._link.write(characteristic, value)
        except (RadioError, TimeoutError) as error:
            if self._link.gone.is_set():
                raise
            event(
                "clock_not_written", logging.WARNING, device=self._named, characteristic=name, reason=reason_of(error)
            )
            return False
        self._tally.clock_set_at = asyncio.get_running_loop().time()
        event("clock_written", device=self._named, characteristic=name, off_s=off_s)
        return True

    def _writable(self, *uuids: int) -> tuple[int, Characteristic] | None:
        theirs = {each.uuid: each for each in reversed(self._link.characteristics) if each.writable}
        return next(((uuid, theirs[uuid]) for uuid in uuids if uuid in theirs), None)

    # Subscribing

    async def _subscribe(self) -> list[tuple[Fetch, bytes]]:
        """Subscribe to all that measures, and to the control points of what is kept; those that can be asked."""
        fetches: list[tuple[Characteristic, Fetch, bytes]] = []
        taken_by: dict[int, Fetch] = {}
        for racp, records, among in control_points(self._link.characteristics):
            fetch, source = self._fetch_of(racp, records)
            fetches.append((racp, fetch, source))
            taken_by.update(dict.fromkeys(among, fetch))
        fault: RadioError | TimeoutError | None = None
        for characteristic in self._link.characteristics:
            if not characteristic.notifies or not self._measures(characteristic.uuid):
                continue
            fault = await self._subscribe_to(characteristic, self._taker(characteristic, taken_by)) or fault
            if self._link.gone.is_set():
                break
        if not self._subscribed:
            raise fault or RadioError("nothing-to-measure")
        self._heard_at = asyncio.get_running_loop().time()
        asked = [
            (fetch, source) for racp, fetch, source in fetches if await self._subscribe_to(racp, fetch.answered) is None
        ]
        self._fetched_whole = len(asked) == len(fetches)
        return asked

    def _measures(self, uuid: int | bytes) -> bool:
        return uuid in LIVE or uuid in KEPT or uuid in self.quirk.measures

    def _taker(self, characteristic: Characteristic, taken_by: dict[int, Fetch]) -> Callable[[bytes], None]:
        fetch = taken_by.get(characteristic.handle)
        if fetch is not None and isinstance(characteristic.uuid, int):
            take = partial(fetch.received, characteristic.uuid)
        else:
            take = partial(self._take, characteristic.uuid)
        if characteristic.uuid not in SEGMENTED:
            return take
        segments = Segments()
        self._segments.append(segments)
        return partial(self._join, segments, take, fetch)

    def _join(self, segments: Segments, take: Callable[[bytes], None], fetch: Fetch | None, value: bytes) -> None:
        """A message may take longer than any silence that ends a session or a procedure: each segment is a sign of life."""
        self._heard_at = asyncio.get_running_loop().time()
        if fetch is not None:
            fetch.heard()
        whole = segments.receive(value)
        if whole is not None:
            take(whole)

    async def _subscribe_to(
        self, characteristic: Characteristic, received: Callable[[bytes], None]
    ) -> RadioError | TimeoutError | None:
        try:
            async with asyncio.timeout(STEP_S):
                await self._link.subscribe(characteristic, received)
        except (RadioError, TimeoutError) as error:
            return error
        if characteristic.uuid != RACP:
            self._subscribed.append(characteristic)
        return None

    async def _order(self, *orders: tuple[int, bytes]) -> None:
        """Write to control points, each of which may refuse: what comes without it is taken all the same."""
        for uuid, value in orders:
            found = self._writable(uuid)
            if found is None:
                continue
            point = found[1]
            try:
                async with asyncio.timeout(STEP_S):
                    if point.notifies and point not in self._subscribed:  # it refuses who does not hear its answer
                        await self._link.subscribe(point, partial(self._obeyed, uuid))
                        self._subscribed.append(point)
                    await self._link.write(point, value)
            except (RadioError, TimeoutError) as error:
                if self._link.gone.is_set():
                    raise
                self._refused(uuid, reason_of(error))

    def _obeyed(self, uuid: int, answer: bytes) -> None:
        if answer != ORDER_DONE:
            self._refused(uuid, f"answer-{answer[:1].hex()}")

    def _refused(self, uuid: int, reason: str) -> None:
        event("order_refused", logging.WARNING, device=self._named, characteristic=short_uuid(uuid), reason=reason)

    # Stored records

    def _fetch_of(self, racp: Characteristic, records: Records) -> tuple[Fetch, bytes]:
        service = records.values[0] if racp.service is None else racp.service
        source = self._device.address + (service if isinstance(service, bytes) else service.to_bytes(2))
        recalled = Recalled(None, frozenset())
        if self._memory is not None:
            with contextlib.suppress(OutboxError):  # all is asked for, and known at the bridge
                recalled = self._memory.recall(source)
        fetch = Fetch(
            records=records,
            recalled=recalled,
            relative_to=b"" if records.under is None else self._said(records.under),
            store=partial(self._take_record, source),
            write=partial(self._link.write, racp),
            gone=self._link.gone,
        )
        return fetch, source

    async def _fetch(self, fetch: Fetch, source: bytes) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        self._asked = True
        outcome, mark = await fetch.run()
        self._tally.records += fetch.taken
        self._heard_at = loop.time()
        whole = outcome is Outcome.WHOLE
        self._fetched_whole &= whole and fetch.all_on_disk
        told = {"count": fetch.taken, "known": fetch.passed_over, "ignored": fetch.ignored}
        elapsed_ms = round((loop.time() - begun) * 1000)
        if whole:
            event("records_fetched", device=self._named, **told, elapsed_ms=elapsed_ms)
        else:
            event(
                "records_not_fetched",
                logging.WARNING,
                device=self._named,
                reason=outcome.value,
                **told,
                elapsed_ms=elapsed_ms,
            )
        if self._memory is not None and mark != fetch.recalled.mark:
            with contextlib.suppress(OutboxError):  # the next session asks for more than it needs
                self._memory.mark(source, mark)

    # Measuring

    async def _collect(self, clock: device_clock.Wish | None) -> str:
        """Until the device leaves, or falls silent and its clock has been seen to."""
        while True:
            heard_at = self._heard_at
            idle_s = wait_s = self._silence_s()
            if clock is not None and (self.brought or self._asked):
                wait_s = min(CLOCK_AFTER_S, idle_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(heard_at + wait_s):
                    await self._link.gone.wait()
            if self._link.gone.is_set():
                return "device"
            if self._heard_at != heard_at:
                continue
            if clock is not None and await self._set_clock_last(clock):
                return "idle"
            clock = None
            if wait_s == idle_s:
                return "idle"

    def _silence_s(self) -> float:
        """After how much of it the session is over."""
        if self.quirk.quiet_s and self.brought:
            return self.quirk.quiet_s
        nothing_by_itself = self._asked and not any(each.uuid in LIVE for each in self._subscribed)
        return min(CLOCK_AFTER_S, self._idle_timeout_s) if nothing_by_itself else self._idle_timeout_s

    async def _set_clock_last(self, clock: device_clock.Wish) -> bool:
        if not self._fetched_whole or self._intake.held or not await self._set_clock(clock):
            return False
        for shown in self._link.characteristics:
            if shown.uuid in device_clock.CLOCKS:
                await self._read_again(shown)
        self._note_clock()
        return True

    # One reading

    def _take(self, characteristic: int | bytes, value: bytes) -> None:
        self._commit(self._reading(characteristic, value, self._context), None)

    def _take_record(
        self,
        source: bytes,
        characteristic: int,
        value: bytes,
        notes: tuple[bytes, ...],
        beside: tuple[tuple[int, bytes], ...],
    ) -> bool:
        mono_us = self._now().mono_us
        also = (Context(characteristic=uuid, mono_us=mono_us, value=theirs) for uuid, theirs in beside)
        put = None
        if self._memory is not None and notes:
            put = partial(self._memory.put_noted, source=source, notes=notes)
        return self._commit(self._reading(characteristic, value, (*self._context, *also)), put)

    def _reading(self, characteristic: int | bytes, value: bytes, context: tuple[Context, ...]) -> Reading:
        return Reading(
            device=self._device, received=self._now(), characteristic=characteristic, value=value, context=context
        )

    def _commit(self, reading: Reading, put: Callable[[bytes], int] | None) -> bool:
        seq = self._intake.take(encode_reading(reading), put=put)
        self._heard_at = asyncio.get_running_loop().time()
        self.brought += 1
        if seq is None:
            return False
        self._tally.readings += 1
        self._tally.read_at = self._heard_at
        event(
            "reading_stored",
            device=self._named,
            characteristic=short_uuid(reading.characteristic),
            bytes=len(reading.value),
            seq=seq,
        )
        return True


def reason_of(error: RadioError | TimeoutError) -> str:
    """In one word, for events."""
    return error.reason if isinstance(error, RadioError) else "timeout"


def context_of(characteristics: Iterable[Characteristic]) -> list[Characteristic]:
    """What to read before measuring, each once; the clock last, because it matters when it is read."""
    readable: dict[int | bytes, Characteristic] = {}
    for characteristic in characteristics:
        if characteristic.readable:
            readable.setdefault(characteristic.uuid, characteristic)
    chosen = [readable[uuid] for uuid in readable if uuid in _CONTEXT]
    clock = next((readable[uuid] for uuid in CLOCK if uuid in readable), None)
    return [*chosen[: MAX_CONTEXT - 1], *([clock] if clock else [])]
