"""The bridge without its broker: a ledger on disk, the relay, and a FHIR server that behaves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric import ec

from bridge.backoff import Backoff
from bridge.database import Database
from bridge.fhir.translate import SYSTEM
from bridge.fhir_target import FhirTarget
from bridge.ledger import Ledger
from bridge.locks import HubLocks
from bridge.plan import Planner
from bridge.relay import Delivery, Relay
from bridge.writer import Writer
from tests.bridge.fake_fhir import BASE_URL, FakeFhir
from tests.bridge.hub import START_US, Hub
from wire.cose import KeySigner, thumbprint
from wire.receipt import VerifiedReceipt, open_receipt
from wire.topics import batch_topic

BRIDGE_KEY = ec.generate_private_key(ec.SECP256R1())
IDENTIFIER_KEY = bytes(range(32))
NOW_US = START_US + 7_200_000_000


def at_once(_low: float, _high: float) -> float:
    """Back-off without waiting."""
    return 0.0


Wrap = Callable[[str, Any], Any]


@dataclass
class Rig:
    """One life of the bridge. `published` are the receipts, `acknowledged` the envelopes that were PUBACKed."""

    ledger: Ledger
    relay: Relay
    writer: Writer
    database: Database
    published: list[tuple[str, bytes]] = field(default_factory=list)
    acknowledged: list[bytes] = field(default_factory=list)

    @property
    def receipts(self) -> list[VerifiedReceipt]:
        key = BRIDGE_KEY.public_key()
        return [open_receipt(envelope, {thumbprint(key): key}.get) for _, envelope in self.published]

    def deliver(self, envelope: bytes, *, topic: str | None = None, hub: str = "hub-0001", heard: bool = True) -> None:
        def acknowledge() -> bool:
            self.acknowledged.append(envelope)
            return heard

        delivery = Delivery(topic=topic or batch_topic(hub), payload=envelope, acknowledge=acknowledge)
        self.relay.deliver(delivery)

    async def relayed(self, envelope: bytes, *, topic: str | None = None, hub: str = "hub-0001") -> VerifiedReceipt:
        """Deliver and wait for the end; the receipt."""
        before = len(self.published)
        self.deliver(envelope, topic=topic, hub=hub)
        async with asyncio.timeout(20):
            await self.relay.drained()
        assert len(self.published) == before + 1, "one receipt for one batch"
        return self.receipts[-1]


def same(_name: str, part: Any) -> Any:
    return part


@contextlib.asynccontextmanager
async def bridge(
    directory: Path,
    fhir: FakeFhir,
    *,
    wrap: Wrap = same,
    published: list[tuple[str, bytes]] | None = None,
    acknowledged: list[bytes] | None = None,
    identifier_key: bytes = IDENTIFIER_KEY,
) -> AsyncIterator[Rig]:
    """Start the bridge on the ledger in `directory`; `wrap` may put something between its parts."""
    path = directory / "bridge.db"
    published = [] if published is None else published
    acknowledged = [] if acknowledged is None else acknowledged
    with Database.open(path) as database, contextlib.closing(HubLocks(path)) as locks:
        ledger: Ledger = wrap("ledger", Ledger(database))
        target = FhirTarget(BASE_URL, system=SYSTEM, timeout_s=5, transport=fhir.transport)
        planner = Planner(ledger.registry, timezone=ZoneInfo("Europe/Copenhagen"), identifier_key=identifier_key)
        writer = Writer(
            ledger=ledger,
            target=wrap("target", target),
            planner=planner,
            backoff=Backoff(uniform=at_once),
            now_us=lambda: NOW_US,
        )
        publish = wrap("publish", lambda topic, payload: published.append((topic, payload)))
        relay = Relay(
            ledger=ledger,
            locks=locks,
            planner=planner,
            writer=writer,
            signer=KeySigner(BRIDGE_KEY),
            publish=publish,
            backoff=Backoff(uniform=at_once),
            now_us=lambda: NOW_US,
        )
        try:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(relay.run(), name="relay")
                await asyncio.sleep(0)
                yield Rig(
                    ledger=ledger,
                    relay=relay,
                    writer=writer,
                    database=database,
                    published=published,
                    acknowledged=acknowledged,
                )
                task.cancel()
        finally:
            await target.close()


def enrol(directory: Path, hub: Hub, *, patient: str | None = "Patient/abc") -> None:
    with Database.open(directory / "bridge.db") as database:
        Ledger(database).registry.add_hub(hub.name, hub.public_pem, patient=patient, now_us=START_US)
