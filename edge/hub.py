"""HubAgent: the hub as one process. Collecting, the outbox, the uplink, and systemd told how it goes.

One TaskGroup holds a task per loop. The uplink starts first, for what waits since last time; bleak, which is half of
all start-up work, is imported in a thread once that is under way. Systemd's watchdog is fed only while every loop
shows progress of its own, so a loop that hangs ends the process, and the outbox and systemd make that harmless.

At SIGTERM: no new readings, sessions are ended properly, what is stored gets a moment to leave, the store is closed.
Each of these ends in time, and after `LAST_WORD_S` the process ends whatever happens: the store is safe at any moment.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Mapping
from typing import Final

from edge import identity, status
from edge.clock import SystemClock
from edge.collect import Collector
from edge.config import Config
from edge.intake import Intake
from edge.log import Field, event
from edge.mqtt import Broker, Tls
from edge.outbox import Outbox
from edge.radio import Radio
from edge.sdnotify import Notifier
from edge.uplink import Uplink

RADIO_AFTER_S: Final = 1.0
"""The radio waits for the first PUBACK for so long: importing bleak beside it would make both slow on a small Pi."""
STALLED_S: Final = 25.0
"""A loop without progress for so long hangs: each shows some every 15 s. With WatchdogSec=30 a hang ends in 60 s."""
FEED_S: Final = 10.0
COLLECTING_ENDS_S: Final = 5.0
DRAINED_S: Final = 2.0
UPLINK_ENDS_S: Final = 3.0
LAST_WORD_S: Final = 12.0
"""More than the three above; less than the 90 s after which systemd kills."""

WARNINGS: Final = frozenset(
    {"connection_lost", "connection_failed", "batch_refused", "epoch_renewed", "receipt_ignored"}
)
"""Events of the uplink that a person should look at."""


class HubAgent:
    """The running hub. `radio` is for tests; else there is bleak if a device is listed."""

    def __init__(self, config: Config, *, notifier: Notifier | None = None, radio: Radio | None = None) -> None:
        self._config = config
        self._notifier = notifier or Notifier()
        self._radio = radio
        self._clock = SystemClock()
        self._stop = asyncio.Event()
        self._radio_may_start = asyncio.Event()
        self._collector: Collector | None = None
        self._progress: dict[str, Callable[[], int]] = {}

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        hub = self._config.hub
        signer = identity.load_signer(hub.key)
        with Outbox.open(hub.store, hub=hub.id) as self._outbox:
            self._uplink = Uplink(
                hub=hub.id,
                outbox=self._outbox,
                signer=signer,
                bridge_key=identity.load_public_key(self._config.bridge.public_key),
                broker=self._broker(),
                clock=self._clock,
                on_event=self._uplink_event,
            )
            self._progress["uplink"] = lambda: self._uplink.progress
            stats = self._outbox.stats()
            event("hub_started", hub=hub.id, kid=signer.kid.hex()[:8], devices=len(self._config.device),
                  pending=stats.pending, epoch=stats.epoch.hex(), next=stats.next)  # fmt: skip
            self._started_at = loop.time()
            async with status.serve(hub.store, self.snapshot), asyncio.TaskGroup() as group:
                uplink = group.create_task(self._uplink.run(), name="uplink")
                collecting = group.create_task(self._collect(), name="collecting")
                watchdog = group.create_task(self._feed_watchdog(), name="watchdog")
                self._notifier.ready()
                await self._stop.wait()
                await self._end(collecting, uplink, watchdog)
        event("hub_stopped", pending=stats.pending)

    async def _end(
        self, collecting: "asyncio.Task[None]", uplink: "asyncio.Task[None]", watchdog: "asyncio.Task[None]"
    ) -> None:
        self._notifier.stopping()
        event("hub_stopping", pending=self._outbox.next - self._outbox.oldest)
        asyncio.get_running_loop().call_later(LAST_WORD_S, _end_now)
        collecting.cancel()
        await asyncio.wait({collecting}, timeout=COLLECTING_ENDS_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAINED_S):
                await self._uplink.drained()
        uplink.cancel()
        watchdog.cancel()
        await asyncio.wait({uplink, watchdog}, timeout=UPLINK_ENDS_S)

    # Collecting

    async def _collect(self) -> None:
        ble = self._config.ble
        if not self._config.device:
            return
        if self._radio is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RADIO_AFTER_S):
                    await self._radio_may_start.wait()
            self._radio = await asyncio.to_thread(self._bluetooth)
        self._collector = collector = Collector(
            radio=self._radio,
            devices=[(device.address, device.label) for device in self._config.device],
            intake=Intake(put=self._outbox.put, stored=self._uplink.wake),
            now=self._clock.now,
            idle_timeout_s=ble.idle_timeout_s,
            connections=ble.connections,
        )
        self._progress["collecting"] = lambda: collector.progress
        await collector.run()

    def _bluetooth(self) -> Radio:
        from edge.ble import BleakRadio  # noqa: PLC0415  only here, and in a thread: see the top

        return BleakRadio(adapter=self._config.ble.adapter, wanted=[device.address for device in self._config.device])

    # Uplink

    def _broker(self) -> Broker:
        mqtt = self._config.mqtt
        tls = mqtt.tls and Tls(ca=mqtt.tls.ca, certificate=mqtt.tls.certificate, key=mqtt.tls.key)
        return Broker(host=mqtt.host, port=mqtt.port, client_id=self._config.hub.id, tls=tls)

    def _uplink_event(self, name: str, fields: Mapping[str, Field]) -> None:
        event(name, logging.WARNING if name in WARNINGS else logging.INFO, **fields)
        if name == "first_puback" or (name == "connected" and self._outbox.next == self._outbox.oldest):
            self._radio_may_start.set()

    # Watchdog

    async def _feed_watchdog(self) -> None:
        loop = asyncio.get_running_loop()
        interval = min(FEED_S, (self._notifier.watchdog_s or FEED_S) / 3)
        last: dict[str, tuple[int, float]] = {}
        stalled: set[str] = set()
        while True:
            now = loop.time()
            for name, progress in self._progress.items():
                count, since = last.get(name, (-1, now))
                last[name] = (count, since) if count == progress() else (progress(), now)
                if now - last[name][1] < STALLED_S:
                    stalled.discard(name)
                elif name not in stalled:
                    stalled.add(name)
                    event("loop_stalled", logging.ERROR, task=name, after_s=STALLED_S)
            if not stalled:
                self._notifier.alive()
            self._notifier.status(self._one_line())
            await asyncio.sleep(interval)

    def _one_line(self) -> str:
        pending = self._outbox.next - self._outbox.oldest
        connected = "connected" if self._uplink.state.connected else "not connected"
        return f"{connected}; {pending} readings wait; {len(self._config.device)} devices listed"

    # Status

    def snapshot(self) -> status.Document:
        """What `stafet-hub status` gets."""
        now = asyncio.get_running_loop().time()
        collector, clock, state = self._collector, self._clock.now(), self._uplink.state
        stats = self._outbox.stats()
        return {
            **status.of_store(self._config.hub.id, stats, clock),
            "running": True,
            "pid": os.getpid(),
            "up_s": round(now - self._started_at, 1),
            "connected": state.connected,
            "uplink": state.as_dict(),
            "clock": {"state": clock.state.name.lower(), "uncertainty_ms": clock.uncertainty_ms},
            "radio": collector
            and {
                "adapter": self._config.ble.adapter,
                "scanning": collector.scanning,
                "fault": collector.radio_fault,
            },
            "held": collector.intake.held if collector else 0,
            "dropped": collector.intake.dropped if collector else 0,
            "devices": [
                {
                    "device": device.device,
                    "label": device.label,
                    "connected": device.connected,
                    "readings": device.readings,
                    "sessions": device.sessions,
                    "seen_s": device.seen_s,
                    "read_s": device.read_s,
                }
                for device in (collector.states() if collector else ())
            ],
        }


def _end_now() -> None:
    event("stop_forced", logging.ERROR, after_s=LAST_WORD_S)
    os._exit(1)


def run(config: Config) -> None:
    """The program `stafet-hub run`."""
    asyncio.run(HubAgent(config).run())
