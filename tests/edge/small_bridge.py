"""A bridge in a hundred lines, for tests of the uplink: opens batches, keeps a ledger in memory, answers receipts.

It follows docs/wire.md and ADR 0004: its session ends with its connection, and after each connection it tells every hub
unasked where it stands. It runs on a thread of paho's. What it accepted stays in `accepted` when it is stopped and
started again, as a ledger on disk would.
"""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.edge.readings import number_of
from wire import batch, topics
from wire.batch import GENESIS, HubKey, VerifiedBatch
from wire.cose import KeySigner, PublicKey, thumbprint
from wire.errors import EnvelopeError, Refusal
from wire.receipt import Receipt, seal_receipt


@dataclass
class Ledger:
    """What was accepted of one epoch: the readings by number from 1, and the chain after each."""

    readings: list[bytes] = field(default_factory=list)
    chains: list[bytes] = field(default_factory=lambda: [GENESIS])

    @property
    def next(self) -> int:
        return len(self.readings) + 1


class SmallBridge:
    """Knows the hubs in `hubs`; `mute` makes it deaf and dumb without its broker noticing."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", client_id: str = "bridge-1") -> None:
        self.host, self.port, self.client_id = host, port, client_id
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.signer = KeySigner(self.key)
        self.hubs: dict[bytes, HubKey] = {}
        self.epochs: dict[tuple[str, bytes], Ledger] = {}
        self.answers: list[Refusal | None] = []
        self.received = 0
        """Readings in all batches that could be opened, duplicates too."""
        self.mute = False
        self.clock_ahead_us = 0
        self._client: paho.Client | None = None
        self._subscribed = threading.Event()

    def enrol(self, hub: str, key: PublicKey) -> None:
        self.hubs[thumbprint(key)] = HubKey(hub=hub, public_key=key)

    @property
    def accepted(self) -> list[int]:
        """The numbers of all readings that were accepted, in every epoch, in order."""
        return [number_of(each) for ledger in self.epochs.values() for each in ledger.readings]

    def start(self) -> None:
        self._subscribed.clear()
        client = self._client = paho.Client(CallbackAPIVersion.VERSION2, self.client_id, protocol=paho.MQTTv5)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.reconnect_delay_set(1, 1)
        client.connect_async(self.host, self.port, clean_start=True)
        client.loop_start()
        assert self._subscribed.wait(10), "the bridge could not subscribe"

    def stop(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def tell(self, hub: str, envelope: bytes) -> None:
        """Send bytes to a hub's receipt topic, whatever they are."""
        assert self._client is not None
        self._client.publish(topics.receipt_topic(hub), envelope, qos=1)

    def seal(self, hub: str, *, signer: KeySigner | None = None, **parts: Any) -> bytes:
        time_us = time.time_ns() // 1000 + self.clock_ahead_us
        return seal_receipt(Receipt(hub=hub, time_us=time_us, **parts), signer or self.signer)

    def position(self, hub: str, epoch: bytes) -> dict[str, Any]:
        ledger = self.epochs.setdefault((hub, epoch), Ledger())
        return {"epoch": epoch, "next": ledger.next, "chain": ledger.chains[-1]}

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        client.subscribe(topics.shared("group", topics.BATCH_FILTER), qos=1)

    def _on_subscribe(self, *_: object) -> None:
        for hub, epoch in list(self.epochs):
            if not self.mute:
                self.tell(hub, self.seal(hub, **self.position(hub, epoch)))
        self._subscribed.set()

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        if self.mute:
            return
        hub = topics.hub_of(message.topic)
        assert hub is not None
        envelope = bytes(message.payload)
        digest = batch.digest(envelope)
        try:
            opened = batch.open_batch(envelope, self.hubs.get)
        except EnvelopeError as error:
            self.answers.append(error.reason)
            self.tell(hub, self.seal(hub, refused=error.reason, digest=digest))
            return
        self.received += len(opened.readings)
        refused = self._judge(opened)
        self.answers.append(refused)
        if refused in (Refusal.SEQUENCE_REUSED, Refusal.BROKEN_CHAIN):
            self.tell(hub, self.seal(hub, epoch=opened.epoch, refused=refused, digest=digest))
        else:
            self.tell(hub, self.seal(hub, refused=refused, digest=digest, **self.position(hub, opened.epoch)))

    def _judge(self, opened: VerifiedBatch) -> Refusal | None:
        ledger = self.epochs.setdefault((opened.hub, opened.epoch), Ledger())
        if opened.first > ledger.next:
            assert opened.oldest < opened.first, "the hub let go of readings that were never accepted"
            return Refusal.GAP
        if opened.previous != ledger.chains[opened.first - 1]:
            return Refusal.BROKEN_CHAIN
        for each in opened.readings:
            if each.seq < ledger.next and ledger.chains[each.seq] != each.chain:
                return Refusal.SEQUENCE_REUSED
        if opened.last < ledger.next:
            return Refusal.REPLAYED
        for each in opened.readings[ledger.next - opened.first :]:
            ledger.readings.append(each.encoded)
            ledger.chains.append(each.chain)
        return None
