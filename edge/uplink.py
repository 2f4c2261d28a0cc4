"""The uplink: seals what the outbox holds, sends it, and lets the outbox delete what a receipt covers.

The pump around `edge.window` (what to send, what an answer means), `edge.mqtt` (one connection) and `edge.outbox`. It
never stops by itself: without a broker it tries again for ever, at random moments within a bound that doubles, so that
many hubs spread themselves over time. What a person must see to is in `state.refused`; the readings wait.

Only two things change the outbox: a receipt that the bridge signed, for this hub and its epoch, with our own chain's
value in it; and, rarely, `renew_epoch`, when such a receipt shows that the store went back in time. The latter at most
once per cause and hour, and never for an epoch that was renewed and not accepted since: then a person must look.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from edge import mqtt
from edge.clock import SystemClock
from edge.mqtt import Acknowledged, Broker, Closed, Connection, LinkError, Message, Subscribed
from edge.outbox import Outbox, OutboxFull, Pending, WentBack
from edge.window import RECEIPT_TIMEOUT_S, Answer, Sent, Verdict, Window
from wire import sealing, topics
from wire.cose import PublicKey, Signer, thumbprint
from wire.errors import EnvelopeError, Refusal

if TYPE_CHECKING:
    from wire.receipt import VerifiedReceipt

Field: TypeAlias = str | int | float | bool | None
OnEvent: TypeAlias = Callable[[str, Mapping[str, Field]], None]

SLOWEST_TURN_S: Final = 10.0
"""`progress` rises at least so often, for a watchdog."""
FIRST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 120.0
"""10,000 hubs at full jitter over 120 s are 83 connections a second, a tenth of what one core of TLS can take."""
STEADY_S: Final = 60.0
"""A connection that lasted so long was a good one: the next attempts begin early again."""
RENEW_EVERY_S: Final = 3600.0
PACKET_OVERHEAD_BYTES: Final = 1024
"""What a batch adds to its readings, and PUBLISH to a batch, at most."""


class UplinkState(NamedTuple):
    """For `stafet-hub status`. Ages are in seconds; None: never."""

    connected: bool
    connected_for_s: float | None
    last_receipt_s: float | None
    refused: str | None
    """Why the broker or the bridge takes nothing: a person must act."""
    last_error: str | None
    """Why the last connection ended or did not come about."""
    retry_in_s: float | None
    batches_on_their_way: int
    sent: int
    resent: int
    confirmed: int
    receipts: int
    timeouts: int
    gaps: int
    refusals: int
    ignored: int
    """Receipts without effect: old, repeated, or of another epoch."""
    forged: int
    """Messages on the receipt topic that the bridge did not sign for this hub."""
    connections: int
    renewals: int

    def as_dict(self) -> dict[str, Field]:
        return self._asdict()


class Uplink:
    """One hub's way to its bridge. Everything here happens on one event loop."""

    def __init__(
        self,
        *,
        hub: str,
        outbox: Outbox,
        signer: Signer,
        bridge_key: PublicKey,
        broker: Broker,
        clock: SystemClock,
        on_event: OnEvent | None = None,
        receipt_timeout_s: float = RECEIPT_TIMEOUT_S,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`on_event(name, fields)` is told what happened; `jitter` gives 0 to 1."""
        self.progress = 0
        """Rises with every turn of the loop."""
        self._hub = hub
        self._outbox = outbox
        self._signer = signer
        self._bridge_key = bridge_key
        self._bridge_kid = thumbprint(bridge_key)
        self._broker = broker
        self._clock = clock
        self._on_event = on_event or (lambda _name, _fields: None)
        self._jitter = jitter
        self._window = Window(outbox.epoch, receipt_timeout_s)
        self._work = asyncio.Event()
        self._turned = asyncio.Event()
        self._connected_at: float | None = None
        self._receipt_at: float | None = None
        self._retry_at: float | None = None
        self._packet_bytes: int | None = None
        self._broker_refuses: str | None = None
        self._bridge_refuses: str | None = None
        self._last_error: str | None = None
        self._attempts = 0
        self._taken = False
        self._renewed_at: dict[str, float] = {}
        self._confirmed = self._receipts = self._forged = self._connections = self._renewals = 0

    async def run(self) -> None:
        """Until cancelled, which ends the connection properly."""
        while True:
            link = Connection(self._broker, self._work.set)
            try:
                await self._hold_connection(link)
            except LinkError as error:
                self._lost(error)
            finally:
                link.close()
                self._window.disconnected()
                self._connected_at = None
                self._turn()
            await self._wait_to_retry()

    def wake(self) -> None:
        """Something was put into the outbox."""
        self._work.set()

    async def drained(self) -> None:
        """Wait until every reading is confirmed, or there is no connection."""
        while self._connected_at is not None and self._outbox.oldest < self._outbox.next:
            await self._turned.wait()

    @property
    def state(self) -> UplinkState:
        now = asyncio.get_running_loop().time()
        counters = self._window.counters

        def age(at: float | None) -> float | None:
            return None if at is None else round(now - at, 3)

        return UplinkState(
            connected=self._connected_at is not None,
            connected_for_s=age(self._connected_at),
            last_receipt_s=age(self._receipt_at),
            refused=self._broker_refuses or self._bridge_refuses,
            last_error=self._last_error,
            retry_in_s=None if self._retry_at is None else round(self._retry_at - now, 3),
            batches_on_their_way=self._window.on_their_way,
            sent=counters.sent,
            resent=counters.resent,
            confirmed=self._confirmed,
            receipts=self._receipts,
            timeouts=counters.timeouts,
            gaps=counters.gaps,
            refusals=counters.refusals,
            ignored=counters.ignored,
            forged=self._forged,
            connections=self._connections,
            renewals=self._renewals,
        )

    # --- connections ---

    async def _hold_connection(self, link: Connection) -> None:
        """From CONNECT to the end of the connection, which is a LinkError."""
        loop = asyncio.get_running_loop()
        limits = await link.open()
        self._connected_at = loop.time()
        self._connections += 1
        self._packet_bytes = limits.maximum_packet_bytes
        if self._outbox.oldest == self._outbox.next:  # else the first PUBACK will tell
            self._broker_refuses = None
        self._window.connected(limits.receive_maximum)
        # In one burst with the first batch: the broker reads them in this order, so no receipt can be missed.
        link.subscribe(topics.receipt_topic(self._hub))
        self._event("connected", host=self._broker.host, port=self._broker.port, attempt=self._attempts + 1)
        while True:
            self._work.clear()
            for event in link.take():
                self._act(event, loop.time())
            if not self._window.expire(loop.time()):
                raise LinkError("the broker has stopped acknowledging")
            self._send(link, loop.time())
            self._turn()
            deadline = self._window.deadline()
            wait_s = SLOWEST_TURN_S if deadline is None else min(max(deadline - loop.time(), 0), SLOWEST_TURN_S)
            await self._until_work(wait_s)

    def _lost(self, error: LinkError) -> None:
        now = asyncio.get_running_loop().time()
        if self._connected_at is not None and now - self._connected_at >= STEADY_S:
            self._attempts = 0
        name = "connection_failed" if self._connected_at is None else "connection_lost"
        self._last_error = error.reason
        if error.code is not None and error.code >= mqtt.REFUSED:
            self._broker_refuses = error.reason
        self._event(name, host=self._broker.host, port=self._broker.port, reason=error.reason, code=error.code)

    async def _wait_to_retry(self) -> None:
        """Full jitter: anything from nothing to a bound that doubles."""
        loop = asyncio.get_running_loop()
        bound_s = min(FIRST_RETRY_S * 2 ** min(self._attempts, 20), LONGEST_RETRY_S)
        self._attempts += 1
        self._retry_at = loop.time() + self._jitter() * bound_s
        while (left_s := self._retry_at - loop.time()) > 0:
            await asyncio.sleep(min(left_s, SLOWEST_TURN_S))
            self._turn()
        self._retry_at = None

    async def _until_work(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._work.wait()
        except TimeoutError:
            pass

    def _turn(self) -> None:
        self.progress += 1
        self._turned.set()
        self._turned.clear()

    # --- out ---

    def _send(self, link: Connection, now: float) -> None:
        outbox, window = self._outbox, self._window
        while (due := window.due(now, oldest=outbox.oldest, next_seq=outbox.next)) is not None:
            pending = outbox.pending(due.first, due.at_most)
            if outbox.epoch != window.epoch:  # the store was damaged, and mended itself
                self._event("epoch_renewed", cause=outbox.born, epoch=outbox.epoch.hex())
                window.renewed(outbox.epoch)
                continue
            if pending is None:
                return
            readings = self._that_fit(pending)
            if not readings:
                self._broker_refuses = f"the broker takes no packet above {self._packet_bytes} bytes"
                return
            sealed = self._clock.now()
            envelope = sealing.seal_batch(
                hub=self._hub,
                epoch=pending.epoch,
                first=pending.first,
                previous=pending.previous,
                oldest=pending.oldest,
                readings=readings,
                sealed=sealed,
                signer=self._signer,
            )
            number = link.publish(topics.batch_topic(self._hub), envelope)
            last = pending.first + len(readings) - 1
            window.sent(
                Sent(
                    number=number,
                    first=pending.first,
                    last=last,
                    digest=sealing.digest(envelope),
                    at=now,
                    mono_us=sealed.mono_us,
                )
            )
            self._event("batch_sent", first=pending.first, last=last, bytes=len(envelope))

    def _that_fit(self, pending: Pending) -> tuple[bytes, ...]:
        """As many of the readings as the broker's maximum packet size lets through."""
        if self._packet_bytes is None:
            return pending.readings
        room = self._packet_bytes - PACKET_OVERHEAD_BYTES
        for count, encoded in enumerate(pending.readings):
            room -= len(encoded)
            if room < 0:
                return pending.readings[:count]
        return pending.readings

    # --- in ---

    def _act(self, event: mqtt.Event, now: float) -> None:
        match event:
            case Message():
                self._message(event, now)
            case Acknowledged(code=mqtt.NO_MATCHING_SUBSCRIBERS):
                self._window.undelivered(event.number, now)
                self._broker_refuses = "no bridge is subscribed at this broker"
                self._event("batch_undelivered", reason=event.text, code=event.code)
            case Acknowledged(code=code) if code < mqtt.REFUSED:
                self._window.acknowledged(event.number)
                self._broker_refuses = None
                if not self._taken:
                    self._taken = True
                    self._event("first_puback")
            case Acknowledged():
                raise LinkError(f"the broker refuses our batches: {event.text}", event.code)
            case Subscribed(code=code) if code >= mqtt.REFUSED:
                raise LinkError(f"the broker refuses us our receipts: {event.text}", event.code)
            case Closed():
                raise LinkError(event.reason, event.code)

    def _message(self, message: Message, now: float) -> None:
        from wire.receipt import open_receipt  # noqa: PLC0415  not before the first batch has left

        try:
            receipt = open_receipt(message.payload, self._known_key)
        except EnvelopeError as error:
            self._forged += 1
            self._event("receipt_ignored", reason=error.reason.value)
            return
        if receipt.hub != self._hub:
            self._forged += 1
            self._event("receipt_ignored", reason=Refusal.WRONG_HUB.value)
            return
        self._receipts += 1
        self._receipt_at = now
        try:
            confirmed = self._confirm(receipt)
        except WentBack as error:
            self._renew("store-went-back", str(error), now)
            return
        except OutboxFull as error:  # not even room to delete: the readings stay, and a later receipt says the same
            self._event("confirmation_failed", error=type(error).__name__, detail=str(error))
            self._window.refused(now)
            return
        self._follow(self._window.receipt(receipt, now, confirmed=confirmed), receipt, now)

    def _confirm(self, receipt: "VerifiedReceipt") -> int:
        """Let the outbox delete what the receipt's position covers."""
        if receipt.epoch is None or receipt.next is None or receipt.chain is None:
            return 0
        confirmed = self._outbox.confirm(receipt.epoch, receipt.next, receipt.chain)
        if confirmed:
            self._confirmed += confirmed
            self._event("readings_confirmed", count=confirmed, next=receipt.next)
        return confirmed

    def _follow(self, answer: Answer, receipt: "VerifiedReceipt", now: float) -> None:
        if answer.batch is not None:
            self._clock.trust(
                receipt.time_us, sent_mono_us=answer.batch.mono_us, received_mono_us=self._clock.now().mono_us
            )
        reason = receipt.refused.value if receipt.refused else None
        match answer.verdict:
            case Verdict.ANSWERED:
                self._bridge_refuses = None
                self._attempts = 0
                if reason is not None:
                    self._event("batch_answered", reason=reason, next=receipt.next)
            case Verdict.IGNORED:
                self._event("receipt_ignored", reason=reason or "old", next=receipt.next)
            case Verdict.REFUSED:
                self._bridge_refuses = f"the bridge refuses our batches: {reason}"
                self._event("batch_refused", reason=reason)
            case Verdict.RENEW:
                self._renew(reason or "", "the bridge refused a batch", now)

    def _renew(self, cause: str, detail: str, now: float) -> None:
        """Begin a new epoch, unless that has just been tried: then pause, and wait for a person."""
        never_accepted = self._outbox.oldest == 1 and self._outbox.born == cause
        recently = now - self._renewed_at.get(cause, float("-inf")) < RENEW_EVERY_S
        if never_accepted or recently:
            self._bridge_refuses = f"the bridge refuses our batches: {cause}, and a new epoch has not helped"
            self._window.refused(now)
            self._event("batch_refused", reason=cause)
            return
        self._renewed_at[cause] = now
        self._outbox.renew_epoch(cause, detail)
        self._renewals += 1
        self._window.renewed(self._outbox.epoch)
        self._event("epoch_renewed", cause=cause, epoch=self._outbox.epoch.hex())

    def _known_key(self, kid: bytes) -> PublicKey | None:
        return self._bridge_key if kid == self._bridge_kid else None

    def _event(self, name: str, **fields: Field) -> None:
        self._on_event(name, fields)
