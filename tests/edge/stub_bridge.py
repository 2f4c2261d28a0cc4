"""As much of a bridge as a hub can see: it opens batches, keeps what continues the chain, and signs receipts."""

import threading
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from wire import batch, topics
from wire.cose import KeySigner, PublicKey, public_key_pem, thumbprint
from wire.evidence import Reading
from wire.receipt import Receipt, seal_receipt


class StubBridge:
    """Answers one hub. `silent` holds receipts back."""

    def __init__(self, port: int, hub: str, hub_key: PublicKey, key: ec.EllipticCurvePrivateKey) -> None:
        self.readings: list[Reading] = []
        self.batches_at: list[float] = []
        self.silent = False
        self._hub = batch.HubKey(hub=hub, public_key=hub_key)
        self._kid = thumbprint(hub_key)
        self._signer = KeySigner(key)
        self._chains: dict[bytes, tuple[int, bytes]] = {}
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bridge", protocol=paho.MQTTv5)
        self._client.on_connect = self._connected
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._received
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    @staticmethod
    def public_key_to(path: Path) -> ec.EllipticCurvePrivateKey:
        """A new key of a bridge, its public half in a file."""
        key = ec.generate_private_key(ec.SECP256R1())
        path.write_bytes(public_key_pem(key.public_key()))
        return key

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(topics.BATCH_FILTER, qos=1)

    def _received(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        self.batches_at.append(time.monotonic())
        opened = batch.open_batch(bytes(message.payload), lambda kid: self._hub if kid == self._kid else None)
        expected, chain = self._chains.get(opened.epoch, (1, batch.GENESIS))
        assert opened.first <= expected, "a gap"
        for reading in opened.readings:
            if reading.seq >= expected:
                assert isinstance(reading.reading, Reading)
                self.readings.append(reading.reading)
                expected, chain = reading.seq + 1, reading.chain
        self._chains[opened.epoch] = expected, chain
        if not self.silent:
            receipt = Receipt(
                hub=opened.hub,
                time_us=time.time_ns() // 1000,
                epoch=opened.epoch,
                next=expected,
                chain=chain,
                digest=opened.digest,
            )
            client.publish(topics.receipt_topic(opened.hub), seal_receipt(receipt, self._signer), qos=1)
