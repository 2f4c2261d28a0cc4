"""One connection to an MQTT 5 broker, and nothing more: no queue, no retry, no memory. paho is a codec and a socket here.

1. A `Connection` is used once. Whoever wants another makes another; so nothing of paho's own queues outlives a link.
2. `publish` before the CONNACK, after the end, or beyond `receive_maximum` unacknowledged messages is an error. What
   waits, waits in the outbox.
3. Every reason code is told: CONNACK, SUBACK, PUBACK, DISCONNECT. (On MQTT 3.1.1 a denied publish is acknowledged like
   any other; therefore MQTT 5.)
4. Events are kept for `take`, in order. Messages above `MAX_MESSAGES` are dropped and counted: a receipt says what all
   receipts before it said.
5. A link that says nothing for one and a half keepalives is dead. Ours answers a PINGREQ after one.

Only connecting (name, TCP, TLS) blocks, so it has a thread of its own, which ends by itself; what it found is handed to
the event loop by call_soon_threadsafe. From then on the socket belongs to the loop and no callback of paho's runs
anywhere else.
"""

import asyncio
import importlib.util
import socket
import ssl
import sys
import threading
import types
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, cast

# paho imports urllib.request, and with it http.client and email, to look for a proxy, which only PySocks could use.
# Without PySocks it is spared that: a third of its start-up and 1.5 MB of a hub's memory.
_SPARED: Final = "urllib.request"
_is_spared: Final = _SPARED not in sys.modules and importlib.util.find_spec("socks") is None
if _is_spared:
    sys.modules[_SPARED] = types.ModuleType(_SPARED)

from paho.mqtt import client as paho  # noqa: E402  (see above)
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode  # noqa: E402
from paho.mqtt.packettypes import PacketTypes  # noqa: E402
from paho.mqtt.properties import Properties  # noqa: E402
from paho.mqtt.reasoncodes import ReasonCode  # noqa: E402

if _is_spared:
    del sys.modules[_SPARED]

WINDOW: Final = 20
"""Unacknowledged messages each way: what mosquitto announces by default. More gains nothing, and costs paho more."""
MAX_MESSAGES: Final = 256
MAX_INCOMING_BYTES: Final = 4096
"""The broker may send no larger packet. A receipt has at most 1 KB."""
CONNECT_TIMEOUT_S: Final = 10.0
"""For everything up to the CONNACK."""
KEEPALIVE_S: Final = 60
_CHECKS_PER_KEEPALIVE: Final = 12


class Tls(NamedTuple):
    """The CA of the broker's certificate, and the hub's own certificate with its key."""

    ca: Path
    certificate: Path
    key: Path


class Broker(NamedTuple):
    """Where the broker is and who we are there. `client_id` is the hub's id, which the broker holds us to."""

    host: str
    port: int
    client_id: str
    tls: Tls | None = None
    keepalive_s: int = KEEPALIVE_S


class Limits(NamedTuple):
    """What the CONNACK allows us."""

    receive_maximum: int
    maximum_packet_bytes: int | None


class Acknowledged(NamedTuple):
    """PUBACK of the message that `publish` gave this number; below 0x80 the broker has taken it."""

    number: int
    code: int
    text: str


class Subscribed(NamedTuple):
    """SUBACK; below 0x80 it holds."""

    code: int
    text: str


class Message(NamedTuple):
    """PUBLISH from the broker, already acknowledged."""

    topic: str
    payload: bytes


class Closed(NamedTuple):
    """The end, always the last event. `code` is the broker's reason where it gave one."""

    reason: str
    code: int | None = None


Event: TypeAlias = Acknowledged | Subscribed | Message | Closed

SUCCESS: Final = 0x00
NO_MATCHING_SUBSCRIBERS: Final = 0x10
REFUSED: Final = 0x80
"""This reason code and all above are refusals (MQTT 5.0, 2.4)."""
NOT_AUTHORIZED: Final = 0x87


class LinkError(Exception):
    """There is no connection (any more); `code` is the broker's reason where it gave one."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Connection:
    """One connection, from CONNECT to its end. Belongs to one event loop; `notify` is called there at each event."""

    def __init__(self, broker: Broker, notify: Callable[[], None]) -> None:
        self.dropped = 0
        """Messages that came while `MAX_MESSAGES` waited."""
        self._broker = broker
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._events: list[Event] = []
        self._messages_waiting = 0
        self._connack: asyncio.Future[Limits] = self._loop.create_future()
        self._unacknowledged = 0
        self._limits: Limits | None = None
        self._socket: Any = None
        self._writing = False
        self._heard = 0.0
        self._check: asyncio.TimerHandle | None = None
        self._over = False
        self._client = self._make_client()

    async def open(self) -> Limits:
        """Connect, with a clean start, and wait for the CONNACK; LinkError if the broker or the network refuses."""
        connected: asyncio.Future[None] = self._loop.create_future()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                threading.Thread(target=self._connect, args=(connected,), name="mqtt connect", daemon=True).start()
                await connected
                self._attach()
                self._limits = await self._connack
        except TimeoutError as error:
            raise LinkError(f"the broker did not answer within {CONNECT_TIMEOUT_S:.0f} s") from error
        finally:
            if self._limits is None:
                self._drop()
        return self._limits

    def subscribe(self, topic_filter: str) -> None:
        """With QoS 1; the answer is an event."""
        self._flush(self._client.subscribe(topic_filter, qos=1)[0])

    def publish(self, topic: str, payload: bytes) -> int:
        """With QoS 1; the number that the acknowledgement will have."""
        if self._limits is None or self._over:
            raise LinkError("there is no connection")
        if self._unacknowledged >= self._limits.receive_maximum:
            raise LinkError("the broker takes no more unacknowledged messages")
        info = self._client.publish(topic, payload, qos=1)
        self._unacknowledged += 1
        self._flush(info.rc)
        return info.mid

    def take(self) -> list[Event]:
        """What has happened since the last call."""
        events, self._events, self._messages_waiting = self._events, [], 0
        return events

    def close(self) -> None:
        """DISCONNECT, if that can still be sent at once, and the end. Gives no further event."""
        if not self._over:
            self._over = True
            self._client.disconnect()
            self._client.loop_write()
        self._drop()

    # --- paho's callbacks, on the event loop ---

    def _make_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, self._broker.client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(WINDOW)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = _nothing  # or paho would write in whatever thread it is called from
        return client

    def _on_connect(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if self._connack.done():
            return
        if reason.value >= REFUSED:
            self._connack.set_exception(LinkError(f"the broker refuses the connection: {reason}", reason.value))
            return
        maximum = getattr(properties, "ReceiveMaximum", 65_535)
        size = getattr(properties, "MaximumPacketSize", None)
        self._connack.set_result(Limits(receive_maximum=min(maximum, WINDOW), maximum_packet_bytes=size))

    def _on_disconnect(self, _client: paho.Client, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._end(f"the broker ended the connection: {reason}", reason.value)
        else:
            self._end("the connection broke")

    def _on_publish(self, _client: paho.Client, _data: Any, number: int, reason: ReasonCode, _properties: Any) -> None:
        self._unacknowledged -= 1
        self._add(Acknowledged(number=number, code=reason.value, text=str(reason)))

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, _number: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        self._add(Subscribed(code=reasons[0].value, text=str(reasons[0])))

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if self._messages_waiting >= MAX_MESSAGES:
            self.dropped += 1
            return
        self._messages_waiting += 1
        self._add(Message(topic=message.topic, payload=bytes(message.payload)))

    def _on_socket_open(self, _client: paho.Client, _data: Any, sock: Any) -> None:
        """In the connecting thread. A batch must not wait for the acknowledgement of the one before (Nagle)."""
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_socket_close(self, _client: paho.Client, _data: Any, _socket: Any) -> None:
        """Just before the descriptor goes, which the next connection may get."""
        self._detach()

    # --- the socket ---

    def _connect(self, connected: "asyncio.Future[None]") -> None:
        """In a thread: name, TCP, TLS. The CONNECT is written from the loop."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # (paho's own)
        properties.ReceiveMaximum = WINDOW
        properties.MaximumPacketSize = MAX_INCOMING_BYTES
        failure: LinkError | None = None
        try:
            if self._broker.tls is not None:
                self._client.tls_set_context(_tls_context(self._broker.tls))
            self._client.connect(
                _host(self._broker.host),
                self._broker.port,
                keepalive=self._broker.keepalive_s,
                clean_start=True,
                properties=properties,
            )
        except (OSError, ValueError) as error:  # ValueError: a host name that is none, a certificate that is none
            failure = LinkError(f"no connection to {self._broker.host}:{self._broker.port}: {error}")

        def hand_over() -> None:
            if connected.done():  # nobody waits any more
                self._drop()
            elif failure is not None:
                connected.set_exception(failure)
            else:
                connected.set_result(None)

        try:
            self._loop.call_soon_threadsafe(hand_over)
        except RuntimeError:  # the loop is closed: the program has ended meanwhile
            self._close_socket()

    def _attach(self) -> None:
        self._socket = self._client.socket()
        if self._socket is None:
            raise LinkError("the connection broke")
        self._heard = self._loop.time()
        self._loop.add_reader(self._socket, self._readable)
        self._check_later()
        self._flush(MQTTErrorCode.MQTT_ERR_SUCCESS)
        if self._is_read_ahead():
            self._readable()

    def _readable(self) -> None:
        self._heard = self._loop.time()
        try:
            rc = self._client.loop_read()
            while rc == MQTTErrorCode.MQTT_ERR_SUCCESS and self._is_read_ahead():
                rc = self._client.loop_read()
        except Exception as error:  # noqa: BLE001  (paho raises many things at bytes that are no MQTT)
            self._end(f"the broker does not speak MQTT 5: {type(error).__name__}: {error}")
            return
        self._answer_quickly()
        self._flush(rc)

    def _answer_quickly(self) -> None:
        """Have the kernel acknowledge now. It would wait 40 ms, and the broker (Nagle) with the receipt for it.

        The kernel forgets this setting, so it is made after each read.
        """
        if self._socket is not None:
            with suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _is_read_ahead(self) -> bool:
        """TLS holds decrypted bytes of which the event loop knows nothing."""
        sock = self._client.socket()
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def _writable(self) -> None:
        self._flush(MQTTErrorCode.MQTT_ERR_SUCCESS)

    def _flush(self, rc: MQTTErrorCode) -> None:
        """After each use of paho: write what can be written, watch for room if some is left, notice the end."""
        if rc == MQTTErrorCode.MQTT_ERR_SUCCESS and self._client.want_write():
            rc = self._client.loop_write()
        if rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._end(f"the connection broke: {paho.error_string(rc)}")
        elif self._socket is not None and self._client.want_write() != self._writing:
            self._writing = not self._writing
            if self._writing:
                self._loop.add_writer(self._socket, self._writable)
            else:
                self._loop.remove_writer(self._socket)

    def _check_later(self) -> None:
        self._check = self._loop.call_later(self._broker.keepalive_s / _CHECKS_PER_KEEPALIVE, self._check_link)

    def _check_link(self) -> None:
        """Let paho send its PINGREQ, and end a link that has been silent for too long."""
        keepalive_s = self._broker.keepalive_s
        silent_s = self._loop.time() - self._heard
        if silent_s > keepalive_s * (1.5 - 1 / _CHECKS_PER_KEEPALIVE):
            self._end(f"nothing was heard for {silent_s:.0f} s")
            return
        self._flush(self._client.loop_misc())
        if not self._over:
            self._check_later()

    def _detach(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket = None
            self._writing = False
        if self._check is not None:
            self._check.cancel()
            self._check = None

    def _add(self, event: Event) -> None:
        if not self._over:
            self._events.append(event)
            self._notify()

    def _end(self, reason: str, code: int | None = None) -> None:
        if not self._connack.done():
            self._connack.set_exception(LinkError(reason, code))
        self._add(Closed(reason=reason, code=code))
        self._drop()

    def _drop(self) -> None:
        self._over = True
        self._detach()
        self._close_socket()
        if self._connack.done() and not self._connack.cancelled():
            self._connack.exception()  # seen, also if nobody waited for it
        self._connack.cancel()

    def _close_socket(self) -> None:
        sock = self._client.socket()
        if sock is not None:
            sock.close()


def _nothing(*_: object) -> None:
    pass


class _Socket(ssl.SSLSocket):
    """Closed when the handshake fails; paho leaves that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _host(name: str) -> str:
    """The name as ASCII bytes where it is that: for a str, Python loads IDNA tables of 0.7 MB that nothing else needs."""
    return cast("str", name.encode()) if name.isascii() else name


def _tls_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or later, the broker's name checked against its certificate, only the given CA trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _Socket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(tls.ca)
    context.load_cert_chain(tls.certificate, tls.key)
    return context
