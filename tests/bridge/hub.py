"""A hub as the bridge sees it: a key, readings in a chain, sealed batches; and its two topics over a real broker."""

import secrets
import socket
import threading
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion

from tests.support import eventually
from wire.batch import GENESIS, chain, encode_reading, seal_batch
from wire.cose import KeySigner, PublicKey, public_key_pem, thumbprint
from wire.evidence import Clock, ClockState, Device, Evidence, Reading
from wire.receipt import VerifiedReceipt, open_receipt
from wire.topics import batch_topic, receipt_topic

ADDRESS = bytes.fromhex("AABBCCDDEE01")
BOOT = bytes(range(16))
START_US = 1_790_000_000_000_000
"""2026-09-21."""


def clock(after_us: int = 0, *, state: ClockState = ClockState.SYNCHRONISED, boot: bytes = BOOT) -> Clock:
    return Clock(wall_us=START_US + after_us, mono_us=10_000_000 + after_us, boot=boot, state=state, uncertainty_ms=50)


def weight(grams: int, *, after_us: int = 0, address: bytes = ADDRESS, user: int | None = None) -> Reading:
    """A weight without the scale's own time: two such readings are never the same measurement."""
    units = round(grams / 5)
    value = bytes([0x00 if user is None else 0x04]) + units.to_bytes(2, "little")
    value += b"" if user is None else bytes([user])
    return Reading(device=Device(address=address), received=clock(after_us), characteristic=0x2A9D, value=value)


def stored_weight(grams: int, *, after_us: int = 0, minute: int = 0) -> Reading:
    """A weight with the scale's own time: sent again on another day it is still the same measurement."""
    value = b"\x02" + round(grams / 5).to_bytes(2, "little")
    value += (2026).to_bytes(2, "little") + bytes([9, 21, 8, minute, 0])
    return Reading(device=Device(address=ADDRESS), received=clock(after_us), characteristic=0x2A9D, value=value)


def undecodable(after_us: int = 0) -> Reading:
    """A weight of one byte."""
    return Reading(device=Device(address=ADDRESS), received=clock(after_us), characteristic=0x2A9D, value=b"\x00")


@dataclass
class Hub:
    """Signs whatever a test wants signed; keeps every reading, so that any of them can be sent again."""

    name: str = "hub-0001"
    epoch: bytes = field(default_factory=lambda: secrets.token_bytes(8))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    readings: list[bytes] = field(default_factory=list)

    @property
    def public_pem(self) -> bytes:
        return public_key_pem(self.key.public_key())

    @property
    def kid(self) -> bytes:
        return KeySigner(self.key).kid

    def take(self, *readings: Evidence) -> None:
        self.readings += [encode_reading(reading) for reading in readings]

    def weigh(self, count: int) -> None:
        """Take `count` weights, each unlike any other."""
        begin = len(self.readings)
        self.take(*[weight(60_000 + 5 * each, after_us=each * 1_000_000) for each in range(begin, begin + count)])

    def chain_before(self, seq: int) -> bytes:
        value = GENESIS
        for encoded in self.readings[: seq - 1]:
            value = chain(value, encoded)
        return value

    def batch(
        self,
        first: int = 1,
        last: int | None = None,
        *,
        oldest: int | None = None,
        previous: bytes | None = None,
        name: str | None = None,
        sealed_us: int = 3_600_000_000,
    ) -> bytes:
        """Readings `first` to `last` (both included, the default is all), sealed."""
        return seal_batch(
            hub=name or self.name,
            epoch=self.epoch,
            first=first,
            previous=self.chain_before(first) if previous is None else previous,
            oldest=first if oldest is None else oldest,
            readings=self.readings[first - 1 : last],
            sealed=clock(sealed_us),
            signer=KeySigner(self.key),
        )


class HubLink:
    """A hub's MQTT client: publishes what it is given, collects the receipts that come."""

    def __init__(self, hub: Hub, host: str, port: int, bridge_key: PublicKey) -> None:
        self.hub = hub
        self.receipts: list[VerifiedReceipt] = []
        self._keys = {thumbprint(bridge_key): bridge_key}
        self._subscribed = threading.Event()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"{hub.name}-{secrets.token_hex(4)}", protocol=mqtt.MQTTv5
        )
        self._client.on_connect = lambda client, *_: client.subscribe(receipt_topic(hub.name), qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.on_socket_open = lambda _client, _data, sock: _option(sock, socket.TCP_NODELAY)
        self._client.on_publish = lambda client, *_: _option(client.socket(), socket.TCP_QUICKACK)
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        self._client.connect(host, port, keepalive=10, clean_start=True)
        self._client.loop_start()
        assert self._subscribed.wait(10), "the hub's client did not subscribe"

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self.receipts.append(open_receipt(bytes(message.payload), self._keys.get))

    def publish(self, envelope: bytes, *, topic: str | None = None) -> None:
        self._client.publish(topic or batch_topic(self.hub.name), envelope, qos=1)

    def receipt_for(self, envelope: bytes, *, within_s: float = 20) -> VerifiedReceipt:
        """The (last) receipt that answers this envelope."""
        name = sha256(envelope).digest()
        found: list[VerifiedReceipt] = []

        def answered() -> bool:
            found[:] = [receipt for receipt in self.receipts if receipt.digest == name]
            return bool(found)

        eventually(answered, within_s=within_s, what="a receipt for the batch")
        return found[-1]

    @property
    def next(self) -> int:
        """What the bridge has confirmed: everything below it."""
        return max([each.next for each in self.receipts if each.next and each.epoch == self.hub.epoch], default=1)

    def send_until_confirmed(self, *, resend_s: float = 1.0, within_s: float = 60, group: int = 4) -> None:
        """Send everything that is not confirmed, and again, until a receipt covers the last reading: what a hub does."""
        deadline = time.monotonic() + within_s
        while self.next <= len(self.hub.readings):
            first = self.next
            last = min(first + group - 1, len(self.hub.readings))
            self.publish(self.hub.batch(first, last))
            patience = time.monotonic() + resend_s
            while self.next <= last and time.monotonic() < patience:
                time.sleep(0.005)
            assert time.monotonic() < deadline, f"confirmed up to {self.next} of {len(self.hub.readings)}"

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def _option(sock: Any, option: int) -> None:
    """Without these, TCP holds a receipt back for 40 ms."""
    sock.setsockopt(socket.IPPROTO_TCP, option, 1)
