"""The bridge as a process: its parts put together, its signals, its end.

SIGTERM: take no more deliveries, finish those in hand for up to `DRAIN_S` (at once, if the FHIR server is not there),
leave. What is not finished is in the ledger as pending, and its hubs still have it.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from logging import WARNING
from typing import Final

from bridge.backoff import Backoff
from bridge.config import Config
from bridge.database import Database
from bridge.fhir.translate import SYSTEM
from bridge.fhir_target import FhirTarget
from bridge.identity import Identity
from bridge.intake import Intake
from bridge.ledger import Ledger, now_us
from bridge.locks import HubLocks
from bridge.log import event
from bridge.plan import Planner
from bridge.relay import Relay
from bridge.sdnotify import ALIVE, READY, STOPPING, notify, watchdog_interval_s
from bridge.writer import Writer

DRAIN_S: Final = 10.0
"""A FHIR transaction takes milliseconds; systemd kills after 90 s. Longer means that the server is not there."""
READY_WITHOUT_BROKER_S: Final = 5.0
"""systemd shall not restart us for a broker that is down."""
NUDGED_AGE_US: Final = 7 * 24 * 3600 * 1_000_000
NUDGES_PER_S: Final = 100.0
"""A hundred hubs a second may come back with a backlog; all at once would be a herd."""


@contextlib.asynccontextmanager
async def writing(
    config: Config, identity: Identity, database: Database, backoff: Backoff
) -> AsyncIterator[tuple[Ledger, Planner, Writer]]:
    """A writer to the FHIR server of this configuration, with what it needs."""
    ledger = Ledger(database)
    planner = Planner(ledger.registry, timezone=config.timezone, identifier_key=identity.identifier_key)
    target = FhirTarget(config.fhir.base_url, system=SYSTEM, timeout_s=config.fhir.timeout_s, ca=config.fhir.ca)
    try:
        writer = Writer(ledger=ledger, target=target, planner=planner, backoff=backoff, now_us=now_us)
        yield ledger, planner, writer
    finally:
        await target.close()


async def serve(config: Config, identity: Identity) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with Database.open(config.ledger) as database, contextlib.closing(HubLocks(config.ledger)) as locks:
        locks.announce()
        backoff = Backoff()
        async with writing(config, identity, database, backoff) as (ledger, planner, writer):
            ready = asyncio.Event()
            intake: Intake

            def publish(topic: str, payload: bytes) -> None:
                intake.publish(topic, payload)

            relay = Relay(
                ledger=ledger,
                locks=locks,
                planner=planner,
                writer=writer,
                signer=identity.signer,
                publish=publish,
                backoff=Backoff(),
                now_us=now_us,
            )
            intake = Intake(config.mqtt, deliver=relay.deliver, connected=ready.set)
            event("bridge_started", kid=identity.kid, client=config.mqtt.client_id)
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(relay.run(), name="relay"),
                    group.create_task(intake.run(), name="intake"),
                    group.create_task(_nudge(ledger, relay, ready), name="nudge"),
                    group.create_task(_tell_systemd(ready), name="systemd"),
                ]
                await stop.wait()
                notify(STOPPING)
                intake.pause()
                if not await _drain(relay, backoff):
                    event("bridge_stopped_with_readings_in_hand", WARNING, pending=ledger.summary().pending)
                for task in tasks:
                    task.cancel()
    event("bridge_stopped")


async def _drain(relay: Relay, backoff: Backoff) -> bool:
    """Wait until nothing is in hand; False if that takes too long or the FHIR server is not there."""
    drained = asyncio.ensure_future(relay.drained())
    hopeless = asyncio.ensure_future(backoff.failing.wait())
    await asyncio.wait((drained, hopeless), timeout=DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
    hopeless.cancel()
    return drained.done() or not drained.cancel()


async def _nudge(ledger: Ledger, relay: Relay, connected: asyncio.Event) -> None:
    """After each connect: tell the hubs how far they are settled, so that they send at once what was lost with it."""
    while True:
        await connected.wait()
        connected.clear()
        event("intake_ready")
        for hub in ledger.hubs_heard_since(now_us() - NUDGED_AGE_US):
            relay.nudge(hub)
            await asyncio.sleep(1 / NUDGES_PER_S)


async def _tell_systemd(connected: asyncio.Event) -> None:
    """READY once there is a broker, or soon; then a sign of life as long as the event loop turns."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_WITHOUT_BROKER_S):
            await connected.wait()
    notify(READY)
    interval_s = watchdog_interval_s()
    while interval_s is not None:
        notify(ALIVE)
        await asyncio.sleep(interval_s)
