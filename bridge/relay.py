"""The bridge's leg of the relay: a delivered batch -> trust -> written ahead -> FHIR -> receipt -> PUBACK.

Rules:

1. Batches of one hub are answered in the order in which they came; up to `HUBS_AT_ONCE` hubs at a time.
2. A delivery is acknowledged when its batch is settled (every reading in FHIR or in quarantine) or refused and kept.
   While the FHIR server is down nothing is acknowledged, the broker's window fills, and hubs keep what they have.
3. A receipt tells what the ledger says after that, never more.
4. Whatever this process leaves unfinished is in the ledger as pending, and is settled first when the hub is next
   served: at start, or when any of its batches is delivered to any bridge on this ledger.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from logging import WARNING
from typing import Final

from bridge.backoff import Backoff
from bridge.database import DatabaseError
from bridge.fhir.translate import Translated
from bridge.ledger import HistoryChangedError, Ledger, Ready, Unfit
from bridge.locks import HubLocks
from bridge.log import event, fault
from bridge.plan import Planned, Planner
from bridge.trust import Accept, History, Refuse, judge, open_message
from bridge.writer import Tally, Writer
from wire.batch import VerifiedBatch, digest
from wire.cose import Signer
from wire.errors import EnvelopeError, Refusal
from wire.receipt import Receipt, seal_receipt
from wire.topics import hub_of, receipt_topic

HUBS_AT_ONCE: Final = 4
"""FHIR servers do not get faster beyond a few writers; the rest would only compete with other clients."""
TRIES: Final = 3
"""A delivery that meets a fault of ours this often is put aside, so that it cannot stop all others."""
REMEMBERED: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message from the broker. `acknowledge` says whether the broker will hear it."""

    topic: str
    payload: bytes
    acknowledge: Callable[[], bool]


class Relay:
    """Takes deliveries, answers each, and acknowledges it."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        locks: HubLocks,
        planner: Planner,
        writer: Writer,
        signer: Signer,
        publish: Callable[[str, bytes], None],
        backoff: Backoff,
        now_us: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._locks = locks
        self._planner = planner
        self._writer = writer
        self._signer = signer
        self._publish = publish
        self._backoff = backoff
        self._now_us = now_us
        self._queues: dict[str, deque[Delivery]] = {}
        self._slots = asyncio.Semaphore(HUBS_AT_ONCE)
        self._group: asyncio.TaskGroup | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._owed: OrderedDict[bytes, None] = OrderedDict()

    async def run(self) -> None:
        """Settle what an earlier life left; then serve until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            for hub in self._ledger.hubs_with_pending():
                self._serve(hub)
            await asyncio.Event().wait()

    def deliver(self, delivery: Delivery) -> None:
        """Take a delivery; the broker's window bounds how many there are at a time."""
        hub = hub_of(delivery.topic) or ""
        self._serve(hub).append(delivery)

    async def drained(self) -> None:
        """Wait until no delivery is in hand."""
        await self._idle.wait()

    def nudge(self, hub: str) -> None:
        """Tell a hub how far it is settled, unasked: it sends at once what lies beyond."""
        epoch = self._ledger.latest_epoch(hub)
        if epoch is not None:
            standing = self._ledger.standing(hub, epoch)
            receipt = Receipt(hub=hub, time_us=self._now_us(), epoch=epoch, next=standing.next, chain=standing.chain)
            self._send(receipt)

    async def answer(self, delivery: Delivery) -> Receipt | None:
        """Settle or refuse one batch; what its hub is to be told. None if no hub can be told."""
        hub = hub_of(delivery.topic)
        envelope = delivery.payload
        try:
            batch = open_message(delivery.topic, envelope, self._ledger.registry.key)
        except EnvelopeError as error:
            self._keep_refused(error.reason, error.message, hub, envelope)
            return self._refusal(hub, error.reason, digest(envelope)) if hub else None
        hub_id = self._ledger.registry.hub_id(batch.hub)
        async with self._locks.hold(hub_id or 0):
            await self._settle_leftovers(batch.hub)
            began = time.monotonic()
            judged = self._admit(batch, envelope)
            if isinstance(judged, Refuse):
                return self._refuse(batch, envelope, judged)
            tally = await self._writer.settle(batch.hub, fresh=judged)
            self._log_settled(batch, tally, began)
            return self._receipt(batch, None)

    def _serve(self, hub: str) -> deque[Delivery]:
        """The queue of a hub, with a task that empties it."""
        assert self._group is not None, "the relay is not running"  # noqa: S101 - a fault of the caller
        if hub not in self._queues:
            self._queues[hub] = deque()
            self._idle.clear()
            self._group.create_task(self._serve_hub(hub), name=f"hub {hub}")
        return self._queues[hub]

    async def _serve_hub(self, hub: str) -> None:
        queue = self._queues[hub]
        try:
            async with self._slots:
                if not queue:
                    await self._recover(hub)
                while queue:
                    await self._finish(queue[0])
                    queue.popleft()
        finally:
            del self._queues[hub]
            if not self._queues:
                self._idle.set()

    async def _recover(self, hub: str) -> None:
        """Settle what an earlier life left, and tell the hub; unless another process on this ledger is at it."""
        hub_id = self._ledger.registry.hub_id(hub)
        if hub_id is None or not self._locks.take(hub_id):
            return
        try:
            await self._settle_leftovers(hub)
            self.nudge(hub)
        except Exception as error:  # noqa: BLE001 - the task boundary: what is left of one hub must not stop all others
            fault("recovery_failed", error, hub=hub)
        finally:
            self._locks.release(hub_id)

    async def _finish(self, delivery: Delivery) -> None:
        """Answer one delivery, whatever happens, and acknowledge it."""
        attempt = failures = 0
        while True:
            try:
                receipt = await self.answer(delivery)
                break
            except DatabaseError as error:
                fault("ledger_failed", error, attempt=attempt + 1, detail=str(error))
            except Exception as error:  # noqa: BLE001 - the task boundary: a fault of ours may stop one batch, not all
                failures += 1
                fault("delivery_failed", error, attempt=failures, hub=hub_of(delivery.topic))
                if failures >= TRIES:
                    receipt = None  # the hub is told nothing, so it keeps its readings and sends them again
                    break
            await self._backoff.wait(attempt)
            attempt += 1
        if receipt is not None:
            self._send(receipt)
        if not delivery.acknowledge():
            self._owe(digest(delivery.payload))

    async def _settle_leftovers(self, hub: str) -> None:
        leftovers = self._ledger.pending(hub, limit=REMEMBERED)
        if not leftovers:
            return
        for entry in leftovers:
            self._owe(entry.batch)
        began = time.monotonic()
        tally = await self._writer.settle(hub)
        event(
            "leftover_readings_settled",
            hub=hub,
            written=tally.written,
            quarantined=tally.quarantined,
            ms=round((time.monotonic() - began) * 1000, 1),
        )

    def _admit(self, batch: VerifiedBatch, envelope: bytes) -> dict[int, Translated] | Refuse:
        """Judge and write ahead; the translations of what is new."""
        while True:
            history = self._ledger.history(batch)
            judged = judge(batch, history)
            if isinstance(judged, Refuse):
                return judged
            try:
                return self._write_ahead(batch, envelope, judged, history)
            except HistoryChangedError:
                continue

    def _write_ahead(
        self, batch: VerifiedBatch, envelope: bytes, accept: Accept, history: History
    ) -> dict[int, Translated]:
        plans: list[Ready | Unfit] = []
        translations: dict[int, Translated] = {}
        for reading in accept.readings:
            plan = self._planner.plan(reading, hub=batch.hub, sealed=batch.sealed)
            if isinstance(plan, Planned):
                translations[reading.seq] = plan.translated
                plans.append(Ready(reading=reading, patient=plan.patient, identifiers=plan.translated.observations))
            else:
                plans.append(Unfit(reading=reading, reason=plan.reason, detail=plan.detail))
        self._ledger.admit(batch, envelope, accept, plans, history=history, now_us=self._now_us())
        for each in plans:
            if isinstance(each, Unfit):
                place = {"hub": batch.hub, "epoch": batch.epoch, "first": each.reading.seq}
                event("reading_quarantined", WARNING, **place, reason=each.reason)
        if accept.gap is not None:
            place = {"hub": batch.hub, "epoch": batch.epoch, "first": accept.gap.first}
            event("readings_missing", WARNING, **place, last=accept.gap.last)
        return translations

    def _refuse(self, batch: VerifiedBatch, envelope: bytes, refuse: Refuse) -> Receipt:
        """A batch that its hub did sign, but that does not fit. A redelivery that we owe an answer is no replay."""
        owed = refuse.reason is Refusal.REPLAYED and batch.digest in self._owed
        if owed:
            del self._owed[batch.digest]
            return self._receipt(batch, None)
        if refuse.quarantine:
            self._keep_refused(refuse.reason, refuse.message, batch.hub, envelope)
        else:
            event("batch_refused", hub=batch.hub, reason=refuse.reason, first=batch.first, last=batch.last)
        return self._receipt(batch, refuse.reason)

    def _keep_refused(self, reason: Refusal, message: str, hub: str | None, envelope: bytes) -> None:
        name = digest(envelope)
        kept = self._ledger.quarantine.refuse_batch(
            reason, message, hub=hub, digest=name, envelope=envelope, now_us=self._now_us()
        )
        status = "quarantined" if kept else "counted"
        event("batch_refused", WARNING, hub=hub, reason=reason, batch=name, status=status)

    def _receipt(self, batch: VerifiedBatch, refused: Refusal | None) -> Receipt:
        if refused in (Refusal.BROKEN_CHAIN, Refusal.SEQUENCE_REUSED):
            return Receipt(
                hub=batch.hub, time_us=self._now_us(), epoch=batch.epoch, refused=refused, digest=batch.digest
            )
        standing = self._ledger.standing(batch.hub, batch.epoch)
        return Receipt(
            hub=batch.hub,
            time_us=self._now_us(),
            epoch=standing.epoch,
            next=standing.next,
            chain=standing.chain,
            refused=refused,
            digest=batch.digest,
        )

    def _refusal(self, hub: str, reason: Refusal, name: bytes) -> Receipt:
        return Receipt(hub=hub, time_us=self._now_us(), refused=reason, digest=name)

    def _send(self, receipt: Receipt) -> None:
        self._publish(receipt_topic(receipt.hub), seal_receipt(receipt, self._signer))

    def _owe(self, name: bytes) -> None:
        """Remember a batch that will be delivered again through no fault of its hub."""
        self._owed[name] = None
        while len(self._owed) > REMEMBERED:
            self._owed.popitem(last=False)

    def _log_settled(self, batch: VerifiedBatch, tally: Tally, began: float) -> None:
        event(
            "batch_settled",
            hub=batch.hub,
            epoch=batch.epoch,
            first=batch.first,
            last=batch.last,
            written=tally.written,
            quarantined=tally.quarantined,
            ms=round((time.monotonic() - began) * 1000, 1),
        )
