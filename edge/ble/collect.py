"""Collecting: which device now, and what happens with it.

One task scans without a pause; one task per listed device waits until `edge.ble.attention` says that it is due, takes one
of few slots, and holds one session:

    connect and discover -> `edge.ble.session` -> disconnect

Every wait ends, every radio fault is expected, and none of them ends the hub.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Final

from edge.ble.attention import Attention
from edge.ble.radio import Link, Radio, RadioError, Sighting
from edge.ble.records import Memory
from edge.ble.session import Session, Tally, reason_of
from edge.collects import DeviceState, age_s
from edge.intake import Intake
from edge.log import address_hash, event
from wire.evidence import Clock

CONNECT_S: Final = 23.0
"""The radio itself gives up after 21 s; what does not even end then hangs. Twice, and a pause, must fit into a minute."""
CLOSE_S: Final = 4.0
"""Also what one session may cost at SIGTERM."""
TICK_S: Final = 5.0
"""The longest that the scanning task sleeps without a sign of progress."""
DEAF_TICKS: Final = 4
"""Nothing heard from any device for 20 s: scan anew, as adapters stop without saying so."""
FIRST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 10.0
"""An adapter that comes back is used that soon."""


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
        self.tally = Tally()
        self.session: Session | None = None
        """The one that is held now."""


class Collector:
    """Reads the listed devices, for ever."""

    def __init__(
        self,
        *,
        radio: Radio,
        devices: Iterable[tuple[bytes, str]],
        intake: Intake,
        now: Callable[[], Clock],
        memory: Memory | None = None,
        idle_timeout_s: float = 30.0,
        connections: int = 4,
    ) -> None:
        """`devices`: address and label of each. Without a `memory` every stored record is taken each time."""
        self._radio = radio
        self._listed: dict[bytes, _Listed] = {}
        self._attending: dict[bytes, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self.intake = intake
        self._now = now
        self._memory = memory
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
        return tuple(
            DeviceState(
                device=listed.hash,
                label=listed.label,
                connected=listed.connected,
                readings=listed.tally.readings,
                sessions=listed.sessions,
                seen_s=age_s(listed.attention.last_seen, now),
                read_s=age_s(listed.tally.read_at, now),
                records=listed.tally.records,
                clock_off_s=listed.tally.clock_off_s,
                clock_set_s=age_s(listed.tally.clock_set_at, now),
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
            lost = self._radio.lost.is_set()
            try:
                async with self._radio.scan(self._seen):
                    if lost or self.radio_fault is not None:
                        self._pardon()
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

    def _pardon(self) -> None:
        for listed in self._listed.values():
            listed.attention.pardon()
            listed.news.set()

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
                try:
                    await self._session(listed)
                except Exception as error:  # noqa: BLE001  the task boundary: one device's session never ends the hub
                    event("session_broke", logging.ERROR, device=listed.hash, error=type(error).__name__)
                finally:
                    self._ended(listed)

    def _ended(self, listed: _Listed) -> None:
        now, session = asyncio.get_running_loop().time(), listed.session
        if session is None:
            listed.attention.ended(now, readings=0)
        else:
            listed.attention.ended(now, readings=session.brought, ignore_s=session.quirk.ignore_after_s)
        listed.session = None  # and with it the link

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
                "device_not_reached",
                logging.WARNING,
                device=listed.hash,
                reason=reason_of(error),
                detail=_detail(error),
            )
            return
        listed.connected = True
        listed.sessions += 1
        event("device_connected", device=listed.hash, elapsed_ms=_ms(loop.time() - begun))
        listed.session = session = Session(
            link=link,
            sighting=listed.sighting,
            named=listed.hash,
            tally=listed.tally,
            intake=self.intake,
            memory=self._memory,
            now=self._now,
            idle_timeout_s=self._idle_timeout_s,
        )
        try:
            ended = await session.run()
        except (RadioError, TimeoutError) as error:
            ended, reason = ("device", "") if link.gone.is_set() else ("fault", reason_of(error))
        finally:
            listed.connected = False
            await self._close(listed, link, forget=session.quirk.bond == "drop")
            event(
                "session_ended",
                logging.WARNING if ended == "fault" else logging.INFO,
                device=listed.hash,
                readings=session.brought,
                ended=ended,
                **({"reason": reason} if reason else {}),
                elapsed_ms=_ms(loop.time() - begun),
            )

    async def _close(self, listed: _Listed, link: Link, *, forget: bool) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                if forget:
                    with contextlib.suppress(RadioError):  # there may be no bond any more
                        await link.forget()
                await link.close()
        except (RadioError, TimeoutError) as error:
            event(
                "disconnect_failed", logging.WARNING, device=listed.hash, reason=reason_of(error), detail=_detail(error)
            )


def _detail(error: RadioError | TimeoutError) -> str:
    return error.detail if isinstance(error, RadioError) else ""


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
