"""MQTT at the bridge, and the only file of this room that imports paho.

paho is the transport and nothing else: a fresh client for each connection, every acknowledgement ours, reconnecting
ours. Its thread only hands over (`call_soon_threadsafe`); everything else happens in the event loop.

What was measured and shapes this file:

- rumqttd panics, for all its clients, when PUBACKs come in another order than the messages did. MQTT demands that
  order anyway (5.0, 4.6), so they are held back until those before them are due.
- A broker keeps handing a dead member's share to its session: with a session that outlives the connection, half the
  batches of two bridges wait for the dead one; and rumqttd panics when such a session is left with messages in flight.
  So the session ends with the connection (`session_expiry_s = 0`), unless an operator with a single bridge decides
  otherwise. Nothing is lost by it: only a receipt deletes, and a bridge that connects tells the hubs how far they are.
- rumqttd ignores Receive Maximum, and mosquitto 2.0.11 sends 20 more for each acknowledgement. So at `WINDOW_LIMIT`
  messages in hand paho's thread waits and TCP holds the broker back; keep-alive bounds how long that may last.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from logging import WARNING
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.backoff import Backoff
from bridge.config import MqttConfig, Tls
from bridge.log import event
from bridge.relay import Delivery
from wire.cose import MAX_ENVELOPE_BYTES
from wire.topics import BATCH_FILTER, shared

RECEIVE_MAXIMUM: Final = 20
"""What the broker may send ahead of our acknowledgements; measured, paho slows down from some hundred on."""
WINDOW_LIMIT: Final = 500
"""In hand, of a broker that does not keep to Receive Maximum: 32 MB at the very worst, some seconds of work."""
BLOCKED_S: Final = 20.0
"""Longer than this without one acknowledgement, and the broker would miss our keep-alive anyway."""
MAXIMUM_PACKET_BYTES: Final = MAX_ENVELOPE_BYTES + 1024
RECEIPTS_IN_FLIGHT: Final = 10
RECEIPTS_QUEUED: Final = 1_000
KEEPALIVE_S: Final = 30
CONNECT_TIMEOUT_S: Final = 5.0
HANDSHAKE_TIMEOUT_S: Final = 10.0
RECONNECT_CAP_S: Final = 10.0


class BrokerError(Exception):
    """No connection, and why; the next try may go better."""


class TlsFilesError(Exception):
    """The certificate, its key or the CA cannot be used: the operator must act."""


@dataclass(slots=True)
class _Unacknowledged:
    """A message in the order in which it came."""

    message_id: int
    qos: int
    settled: bool = False


class Intake:
    """Keeps a connection to the broker: deliveries come out of it, receipts go into it."""

    def __init__(
        self, config: MqttConfig, *, deliver: Callable[[Delivery], None], connected: Callable[[], None] = lambda: None
    ) -> None:
        self._config = config
        self._deliver = deliver
        self._connected = connected
        self._backoff = Backoff(cap_s=RECONNECT_CAP_S)
        self._connection: _Connection | None = None
        self.unsent = 0
        """Receipts that found no connection; their hubs send again."""

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        attempt = 0
        while True:
            connection = _Connection(self._config, self._deliver)
            try:
                await connection.open()
                attempt = 0
                self._connection = connection
                self._connected()
                await connection.lost.wait()
                event("broker_connection_lost", WARNING, detail=connection.why_lost)
            except BrokerError as error:
                event("broker_unreachable", WARNING, detail=str(error), attempt=attempt + 1)
            finally:
                self._connection = None
                await connection.close()
            await self._backoff.wait(attempt)
            attempt += 1

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a receipt if there is a connection. None is kept for later: the hub will ask again."""
        if self._connection is None or not self._connection.publish(topic, payload):
            self.unsent += 1

    def pause(self) -> None:
        """Take no new deliveries; those in hand can still be acknowledged."""
        if self._connection is not None:
            self._connection.pause()


class _Connection:
    """One connection, from CONNECT to its end. Callbacks of paho's thread only schedule methods of this class."""

    def __init__(self, config: MqttConfig, deliver: Callable[[Delivery], None]) -> None:
        self._config = config
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._window: deque[_Unacknowledged] = deque()
        self._room = threading.Semaphore(WINDOW_LIMIT)
        self._paused = False
        self.lost = asyncio.Event()
        self.why_lost = ""
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=config.client_id,
            protocol=mqtt.MQTTv5,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        self._client.connect_timeout = CONNECT_TIMEOUT_S
        self._client.max_inflight_messages_set(RECEIPTS_IN_FLIGHT)
        self._client.max_queued_messages_set(RECEIPTS_QUEUED)
        self._client.on_socket_open = _no_delay
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._client.on_disconnect = self._on_disconnect

    async def open(self) -> None:
        """Connect and subscribe; BrokerError if that fails."""
        config = self._config
        if config.tls is not None:
            self._client.tls_set_context(tls_context(config.tls))
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types there
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        properties.MaximumPacketSize = MAXIMUM_PACKET_BYTES
        if config.session_expiry_s:
            properties.SessionExpiryInterval = config.session_expiry_s
        connect = partial(
            self._client.connect,
            config.host,
            config.port,
            keepalive=KEEPALIVE_S,
            clean_start=not config.session_expiry_s,
            properties=properties,
        )
        try:
            await asyncio.to_thread(connect)
        except (OSError, ValueError) as error:
            raise BrokerError(str(error) or type(error).__name__) from error
        self._client.loop_start()
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await self._ready
        except TimeoutError:
            raise BrokerError(f"the broker did not answer within {HANDSHAKE_TIMEOUT_S:.0f} s") from None

    async def close(self) -> None:
        """Say goodbye if anybody is there, and end the thread."""
        self._lose("closed")
        if not self._ready.done():
            self._ready.cancel()
        elif not self._ready.cancelled():
            self._ready.exception()
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def publish(self, topic: str, payload: bytes) -> bool:
        if self.lost.is_set():
            return False
        return self._client.publish(topic, payload, qos=1).rc == mqtt.MQTT_ERR_SUCCESS

    def pause(self) -> None:
        self._paused = True

    # In paho's thread

    def _hop(self, step: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
            self._loop.call_soon_threadsafe(step, *arguments)

    def _on_connect(self, _client: mqtt.Client, _data: object, flags: Any, reason: Any, _properties: object) -> None:
        self._hop(self._accepted, reason.is_failure, str(reason), bool(flags.session_present))

    def _on_subscribe(self, _client: mqtt.Client, _data: object, _id: int, reasons: Any, _properties: object) -> None:
        self._hop(self._subscribed, reasons[0].is_failure, str(reasons[0]))

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        if not self._room.acquire(timeout=BLOCKED_S):
            self._hop(self._lose, f"{WINDOW_LIMIT} messages in hand, and none done for {BLOCKED_S:.0f} s")
            return
        self._hop(self._take, message.mid, message.qos, topic, bytes(message.payload))

    def _on_publish(self, client: mqtt.Client, _data: object, _id: int, reason: Any, _properties: object) -> None:
        _acknowledge_now(client.socket())
        if reason.is_failure:
            self._hop(partial(event, "receipt_refused_by_broker", WARNING, detail=str(reason)))

    def _on_disconnect(
        self, _client: mqtt.Client, _data: object, _flags: object, reason: Any, _properties: object
    ) -> None:
        self._hop(self._lose, str(reason))

    # In the event loop

    def _accepted(self, failed: bool, reason: str, session: bool) -> None:
        if failed:
            self._fail(f"the broker refused the connection: {reason}")
            return
        event("broker_connected", client=self._config.client_id, session="resumed" if session else "new")
        self._client.subscribe(shared(self._config.group, BATCH_FILTER), qos=1)

    def _subscribed(self, failed: bool, reason: str) -> None:
        if failed:
            self._fail(f"the broker refused the subscription: {reason}")
        elif not self._ready.done():
            self._ready.set_result(None)

    def _fail(self, why: str) -> None:
        if not self._ready.done():
            self._ready.set_exception(BrokerError(why))

    def _take(self, message_id: int, qos: int, topic: str, payload: bytes) -> None:
        if self.lost.is_set() or self._paused:
            return
        unacknowledged = _Unacknowledged(message_id, qos)
        self._window.append(unacknowledged)
        acknowledge = partial(self._acknowledge, unacknowledged)
        self._deliver(Delivery(topic=topic, payload=payload, acknowledge=acknowledge))

    def _acknowledge(self, unacknowledged: _Unacknowledged) -> bool:
        """PUBACK this message once all before it are acknowledged; False if the broker is gone."""
        if self.lost.is_set():
            return False
        unacknowledged.settled = True
        while self._window and self._window[0].settled:
            first = self._window.popleft()
            self._client.ack(first.message_id, first.qos)
            self._room.release()
        return True

    def _lose(self, why: str) -> None:
        if not self.lost.is_set():
            self.why_lost = why
            self.lost.set()
            self._room.release(WINDOW_LIMIT)
            self._fail(why)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """TLS with our certificate, to a broker that the CA vouches for; TlsFilesError if the files are no use."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ValueError) as error:
        raise TlsFilesError(f"mqtt.tls: {tls.ca}, {tls.certificate} or {tls.key} cannot be used: {error}") from error
    return context


def _acknowledge_now(sock: Any) -> None:
    """Let TCP acknowledge the PUBACK that came: brokers that keep Nagle's algorithm hold the next batch back until then."""
    if sock is not None and hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _no_delay(_client: mqtt.Client, _data: object, sock: Any) -> None:
    """A receipt is followed by a PUBACK; Nagle's algorithm would hold the second back for 40 ms."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
