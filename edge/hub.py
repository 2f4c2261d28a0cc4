"""HubAgent: the hub as one process. Collecting, the outbox, the uplink, and systemd told how it goes.

One TaskGroup holds a task per loop. The uplink starts first, for what waits since last time; collecting, with bleak a
third of all start-up work, is imported once that has left. (A thread for it would cost half a megabyte more.)

Systemd's watchdog is fed only while every loop shows progress of its own, so a loop that hangs ends the process, which
outbox and systemd make harmless.

At SIGTERM: no new readings, sessions are ended properly, what is stored gets a moment to leave, the store is closed.
Each of these ends in time, and after `LAST_WORD_S` the process ends whatever happens: the store is safe at any moment.
"""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Final

from edge import identity, status
from edge.clock import SystemClock, use_timezone
from edge.config import Config
from edge.listing import LOOK_S, Listing
from edge.log import Field, event
from edge.mqtt import Broker, Tls
from edge.outbox import Outbox, OutboxError
from edge.sdnotify import Notifier
from edge.uplink import Uplink

if TYPE_CHECKING:
    from edge.ble.collect import Collector
    from edge.ble.radio import Radio
    from edge.collects import Collects
    from edge.intake import Intake

RADIO_AFTER_S: Final = 1.0
"""The radio waits for the first PUBACK for so long: importing bleak beside it would make both slow on a small Pi."""
FEED_S: Final = 10.0
STALLED_S: Final = 25.0
"""A loop without progress for so long hangs: each shows some every 10 s. With WatchdogSec=30 a hang ends in 60 s."""
COLLECTING_ENDS_S: Final = 5.0
DRAINED_S: Final = 2.0
UPLINK_ENDS_S: Final = 3.0
LAST_WORD_S: Final = 12.0
"""More than these three together; less than the 90 s after which systemd kills."""

_M_ARENA_MAX: Final = -8
"""mallopt(3)."""

WARNINGS: Final = frozenset(
    {
        "batch_refused",
        "batch_undelivered",
        "confirmation_failed",
        "connection_failed",
        "connection_lost",
        "epoch_renewed",
        "receipt_ignored",
    }
)
"""Events of the uplink that a person may want to look at."""


def run(config: Config) -> None:
    """The program `stafet-hub run`, until SIGTERM or SIGINT. OutboxError if the store cannot be used (any more)."""
    _share_one_arena()
    use_timezone(config.hub.timezone)
    try:
        asyncio.run(serve(config))
    except BaseExceptionGroup as group:
        ours, others = group.split(OutboxError)
        if ours is None or others is not None:
            event("hub_broke", logging.ERROR, error=type(_first(others or group)).__name__)
            raise
        raise _first(ours) from group


async def serve(config: Config, *, notifier: Notifier | None = None, radio: "Radio | None" = None) -> None:
    """`run` on a loop. `radio` is for tests; a home has bleak, if a device is listed."""
    with Outbox.open(config.hub.store, hub=config.hub.id) as outbox:
        await HubAgent(config, outbox, notifier or Notifier(), radio).run()


class HubAgent:
    """The running hub."""

    def __init__(self, config: Config, outbox: Outbox, notifier: Notifier, radio: "Radio | None" = None) -> None:
        self._config = config
        self._outbox = outbox
        self._notifier = notifier
        self._radio = radio
        self._clock = SystemClock()
        self._listing = Listing(config.hub.store, config.device)
        self._signer = identity.load_signer(config.hub.key)
        self._uplink = Uplink(
            hub=config.hub.id,
            outbox=outbox,
            signer=self._signer,
            bridge_key=identity.load_public_key(config.bridge.public_key),
            broker=_broker(config),
            clock=self._clock,
            on_event=self._uplink_event,
        )
        self._intake: Intake | None = None
        self._collector: Collector | None = None
        self._collectors: dict[str, Collects] = {}
        self._begun_at = 0.0
        self._radio_may_start = asyncio.Event()
        self._watch = Watch()
        self._watch.add("uplink", lambda: self._uplink.progress)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        self._begun_at = loop.time()
        self._say_started()
        async with status.serve(self._config.hub.store, self.snapshot), asyncio.TaskGroup() as group:
            uplink = group.create_task(self._uplink.run(), name="uplink")
            collecting = group.create_task(self._collect(), name="collecting")
            watchdog = group.create_task(self._feed_watchdog(), name="watchdog")
            self._notifier.ready()
            await stop.wait()
            self._notifier.stopping()
            event("hub_stopping", pending=self._pending)
            last_word = loop.call_later(LAST_WORD_S, _end_now)
            collecting.cancel()
            await asyncio.wait({collecting}, timeout=COLLECTING_ENDS_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAINED_S):
                    await self._uplink.drained()
            uplink.cancel()
            watchdog.cancel()
            await asyncio.wait({uplink, watchdog}, timeout=UPLINK_ENDS_S)
        last_word.cancel()
        event("hub_stopped", pending=self._pending)

    @property
    def _pending(self) -> int:
        return self._outbox.next - self._outbox.oldest

    def _say_started(self) -> None:
        event(
            "hub_started",
            hub=self._config.hub.id,
            kid=self._signer.kid.hex()[:8],
            devices=len(self._listing.devices),
            epoch=self._outbox.epoch.hex(),
            next=self._outbox.next,
            pending=self._pending,
        )
        for alarm in self._outbox.alarms():
            event("alarm_kept", logging.WARNING, at=status.moment(alarm.at_us), cause=alarm.cause, detail=alarm.detail)

    # Collecting

    async def _collect(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RADIO_AFTER_S):
                await self._radio_may_start.wait()
        from edge.intake import Intake  # noqa: PLC0415  not before what waited has left: see the top

        self._intake = Intake(put=self._outbox.put, stored=self._uplink.wake)
        self._collectors = dict(self._kinds(self._intake))
        for name, collector in self._collectors.items():
            self._watch.add(name, partial(getattr, collector, "progress"))
        gc.collect()
        gc.freeze()  # what is there now stays: collecting what a session leaves (edge.ble.bleak_radio) then takes a millisecond
        gc.enable()
        try:
            async with asyncio.TaskGroup() as group:
                for name, collector in self._collectors.items():
                    group.create_task(collector.run(), name=name)
                group.create_task(self._intake.run(), name="held readings")
                group.create_task(self._follow_listing(group, self._intake), name="listing")
                if self._config.ble.time_service:
                    from edge.ble.time_service import TimeService  # noqa: PLC0415  only if it is asked for

                    offered = TimeService(
                        adapter=lambda: self._radio.adapter if self._radio else "", now=self._clock.now
                    )
                    group.create_task(offered.run(), name="time service")
        finally:
            self._intake.close()

    async def _follow_listing(self, group: asyncio.TaskGroup, intake: "Intake") -> None:
        """Devices that are paired or forgotten while we run."""
        while True:
            await asyncio.sleep(LOOK_S)
            if not self._listing.changed():
                continue
            event("listing_changed", devices=len(self._listing.devices))
            if self._collector is not None:
                self._collector.keep(self._listing.devices)
            else:
                self._collectors["collecting"] = collector = self._bluetooth_collector(intake)
                self._watch.add("collecting", partial(getattr, collector, "progress"))
                group.create_task(collector.run(), name="collecting")

    def _kinds(self, intake: "Intake") -> "Iterator[tuple[str, Collects]]":
        """What is configured, and only that: each kind is imported for who has such a device."""
        config = self._config
        if self._listing.devices:
            yield "collecting", self._bluetooth_collector(intake)
        ports = [port.port for port in config.serial if port.format == "20601"]
        if config.agent and (ports or config.agents.tcp or config.agents.usb or config.agents.hdp):
            from edge.x73.agents import AgentCollector  # noqa: PLC0415  as above

            yield (
                "agents",
                AgentCollector(
                    agents=config.agent,
                    ways=config.agents,
                    ports=ports,
                    intake=intake,
                    now=self._clock.now,
                    known=config.hub.store.with_name(f"{config.hub.store.name}.agents"),
                    memory=self._outbox,
                ),
            )
        if any(each.format != "20601" for each in config.serial):
            from edge.serial.lines import Line, SerialCollector  # noqa: PLC0415  as above
            from wire.serial import SerialFormat  # noqa: PLC0415  as above

            yield (
                "serial lines",
                SerialCollector(
                    lines=[
                        Line(each.port, SerialFormat(each.format), each.address, each.label, each.clear_store)
                        for each in config.serial
                        if each.format != "20601"
                    ],
                    intake=intake,
                    now=self._clock.now,
                ),
            )

    def _bluetooth_collector(self, intake: "Intake") -> "Collector":
        from edge.ble.collect import Collector  # noqa: PLC0415  as above

        if self._radio is None:
            self._radio = _bluetooth(self._config)
        self._collector = Collector(
            radio=self._radio,
            devices=self._listing.devices,
            intake=intake,
            now=self._clock.now,
            memory=self._outbox,
            idle_timeout_s=self._config.ble.idle_timeout_s,
            connections=self._config.ble.connections,
        )
        return self._collector

    def _uplink_event(self, name: str, fields: Mapping[str, Field]) -> None:
        event(name, logging.WARNING if name in WARNINGS else logging.INFO, **fields)
        if name == "first_puback" or (name == "connected" and not self._pending):
            self._radio_may_start.set()

    # Watchdog

    async def _feed_watchdog(self) -> None:
        loop = asyncio.get_running_loop()
        interval = min(FEED_S, (self._notifier.watchdog_s or FEED_S) / 3)
        while True:
            if not self._watch.stalled(loop.time()):
                self._notifier.alive()
            connected = "connected" if self._uplink.state.connected else "not connected"
            self._notifier.status(f"{connected}; {self._pending} readings wait to be delivered")
            await asyncio.sleep(interval)

    # Status

    def snapshot(self) -> status.Document:
        """What `stafet-hub status` gets."""
        clock, uplink, collector = self._clock.now(), self._uplink.state, self._collector
        return {
            **status.of_store(self._config.hub.id, self._outbox.stats(), clock),
            "running": True,
            "pid": os.getpid(),
            "up_s": round(asyncio.get_running_loop().time() - self._begun_at, 1),
            "clock": {"state": clock.state.name.lower(), "uncertainty_ms": clock.uncertainty_ms},
            "uplink": uplink.as_dict(),
            "radio": collector
            and self._radio
            and {
                "adapter": self._radio.adapter,
                "scanning": collector.scanning,
                "fault": collector.radio_fault,
            },
            "held": self._intake.held if self._intake else 0,
            "dropped": self._intake.dropped if self._intake else 0,
            "devices": [asdict(device) for each in self._collectors.values() for device in each.states()],
        }


class Watch:
    """Which loops make progress, by counters of theirs."""

    def __init__(self) -> None:
        self._progress: dict[str, Callable[[], int]] = {}
        self._last: dict[str, tuple[int, float]] = {}
        self._stalled: set[str] = set()

    def add(self, name: str, progress: Callable[[], int]) -> None:
        """Watch a loop; `progress` rises while it lives."""
        self._progress[name] = progress

    def stalled(self, now: float) -> bool:
        """Whether any loop has made none for STALLED_S; each is logged once."""
        for name, progress in self._progress.items():
            count = progress()
            if name not in self._last or self._last[name][0] != count:
                self._last[name] = (count, now)
                self._stalled.discard(name)
            elif now - self._last[name][1] >= STALLED_S and name not in self._stalled:
                self._stalled.add(name)
                event("loop_stalled", logging.ERROR, task=name, after_s=STALLED_S)
        return bool(self._stalled)


def _share_one_arena() -> None:
    """Tell glibc not to give each thread a heap of its own: ours are few and short, and half a megabyte each."""
    with contextlib.suppress(AttributeError):  # another libc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _broker(config: Config) -> Broker:
    mqtt = config.mqtt
    tls = None if mqtt.tls is None else Tls(ca=mqtt.tls.ca, certificate=mqtt.tls.certificate, key=mqtt.tls.key)
    return Broker(host=mqtt.host, port=mqtt.port, client_id=config.hub.id, tls=tls)


def _bluetooth(config: Config) -> "Radio":
    from edge.ble.bleak_radio import BleakRadio  # noqa: PLC0415  only if a device is listed: see the top

    return BleakRadio(adapter=config.ble.adapter)


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def _end_now() -> None:
    event("stop_forced", logging.ERROR, after_s=LAST_WORD_S)
    os._exit(1)
