"""One MQTT connection, with real brokers: what it tells, what it refuses to do, and that it notices its own end."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from edge.mqtt import (
    MAX_INCOMING_BYTES,
    MAX_MESSAGES,
    NO_MATCHING_SUBSCRIBERS,
    NOT_AUTHORIZED,
    REFUSED,
    SUCCESS,
    WINDOW,
    Acknowledged,
    Broker,
    Closed,
    Connection,
    Event,
    LinkError,
    Message,
    Subscribed,
    Tls,
)
from simulator.stage.processes import steady_port
from tests.brokers import BrokerProcess, mosquitto_broker
from tests.edge.scripted_server import CONNACK, server_that_says


class Client:
    """A connection with everything that it told, and a way to wait for more."""

    def __init__(self, broker: Broker) -> None:
        self._news = asyncio.Event()
        self.events: list[Event] = []
        self.connection = Connection(broker, self._news.set)

    async def until(self, count: int, kind: type[Event], within_s: float = 10) -> None:
        async with asyncio.timeout(within_s):
            while len(self.of(kind)) < count:
                await self._news.wait()
                self._news.clear()
                self.events += self.connection.take()

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def address(
    broker: BrokerProcess, client_id: str = "hub-0001", *, tls: Tls | None = None, keepalive_s: int = 60
) -> Broker:
    return Broker(host=broker.host, port=broker.port, client_id=client_id, tls=tls, keepalive_s=keepalive_s)


@asynccontextmanager
async def connected(broker: Broker) -> AsyncIterator[Client]:
    client = Client(broker)
    await client.connection.open()
    try:
        yield client
    finally:
        client.connection.close()


async def test_a_message_goes_out_and_comes_back_and_is_acknowledged(any_broker: BrokerProcess) -> None:
    async with connected(address(any_broker)) as client:
        client.connection.subscribe("hub/hub-0001/receipt")
        number = client.connection.publish("hub/hub-0001/receipt", b"\x00\xff" * 1000)
        await client.until(1, Message)
        await client.until(1, Acknowledged)
        assert client.of(Subscribed) == [Subscribed(code=1, text="Granted QoS 1")]
        assert client.of(Message) == [Message(topic="hub/hub-0001/receipt", payload=b"\x00\xff" * 1000)]
        assert client.of(Acknowledged) == [Acknowledged(number=number, code=SUCCESS, text="Success")]


async def test_the_brokers_receive_maximum_is_respected(mosquitto: BrokerProcess) -> None:
    client = Client(address(mosquitto))
    limits = await client.connection.open()
    assert limits.receive_maximum == 20
    for _ in range(20):
        client.connection.publish("hub/hub-0001/batch", bytes(1000))
    with pytest.raises(LinkError, match="no more unacknowledged"):
        client.connection.publish("hub/hub-0001/batch", bytes(1000))
    await client.until(20, Acknowledged)
    client.connection.publish("hub/hub-0001/batch", bytes(1000))
    client.connection.close()


async def test_a_broker_without_a_receive_maximum_gets_no_wider_window(iotcore_broker: BrokerProcess) -> None:
    client = Client(address(iotcore_broker))
    assert (await client.connection.open()).receive_maximum == WINDOW
    client.connection.close()


async def test_600_messages_pass_in_windows_and_each_is_acknowledged_once(any_broker: BrokerProcess) -> None:
    async with connected(address(any_broker)) as client:
        for start in range(0, 600, WINDOW):
            for _ in range(WINDOW):
                client.connection.publish("hub/hub-0001/batch", bytes(300))
            await client.until(start + WINDOW, Acknowledged)
        numbers = [event.number for event in client.events if isinstance(event, Acknowledged)]
        assert len(set(numbers)) == len(numbers) == 600


async def test_the_broker_says_when_no_bridge_has_ever_subscribed(mosquitto: BrokerProcess) -> None:
    async with connected(address(mosquitto)) as client:
        client.connection.publish("hub/hub-0001/batch", b"x")
        await client.until(1, Acknowledged)
        (acknowledged,) = client.of(Acknowledged)
        assert isinstance(acknowledged, Acknowledged)
        assert acknowledged.code == NO_MATCHING_SUBSCRIBERS < REFUSED


async def test_a_denied_publish_is_told_and_not_taken_for_success(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("pattern write hub/%c/batch\npattern read hub/%c/receipt\n")
    broker = mosquitto_broker(tmp_path, f"allow_anonymous true\nacl_file {rules}\n")
    broker.start()
    try:
        async with connected(address(broker)) as client:
            client.connection.publish("hub/hub-0002/batch", b"x")
            await client.until(1, Acknowledged)
            assert client.of(Acknowledged) == [Acknowledged(number=1, code=NOT_AUTHORIZED, text="Not authorized")]
            client.connection.publish("hub/hub-0001/batch", b"x")
            await client.until(2, Acknowledged)
            assert client.events[-1].code == NO_MATCHING_SUBSCRIBERS  # type: ignore[union-attr]
    finally:
        broker.kill()


async def test_a_broker_that_wants_a_password_is_told_by_its_reason(tmp_path: Path) -> None:
    broker = mosquitto_broker(tmp_path, "allow_anonymous false\n")
    broker.start()
    try:
        with pytest.raises(LinkError, match="refuses the connection: Not authorized") as refused:
            await Client(address(broker)).connection.open()
        assert refused.value.code == NOT_AUTHORIZED
    finally:
        broker.kill()


async def test_a_killed_broker_is_noticed_at_once_and_nothing_can_be_sent_any_more(any_broker: BrokerProcess) -> None:
    async with connected(address(any_broker)) as client:
        any_broker.kill()
        await client.until(1, Closed, within_s=2)
        with pytest.raises(LinkError, match="no connection"):
            client.connection.publish("hub/hub-0001/batch", b"x")


async def test_a_second_client_of_the_same_name_ends_the_first(mosquitto: BrokerProcess) -> None:
    async with connected(address(mosquitto)) as first, connected(address(mosquitto)):
        await first.until(1, Closed)


async def test_a_link_that_died_in_silence_is_found_within_one_and_a_half_keepalives(
    any_broker: BrokerProcess,
) -> None:
    """With the 60 s that hubs use, that is 90 s."""
    async with connected(address(any_broker, keepalive_s=2)) as client:
        with any_broker.paused():
            before = time.monotonic()
            await client.until(1, Closed, within_s=5)
            assert time.monotonic() - before <= 3.2
        (closed,) = client.of(Closed)
        assert isinstance(closed, Closed)
        assert "nothing was heard" in closed.reason


async def test_an_idle_link_stays_open_because_it_pings(any_broker: BrokerProcess) -> None:
    async with connected(address(any_broker, keepalive_s=1)) as client:
        with pytest.raises(TimeoutError):
            await client.until(1, Closed, within_s=2.5)


async def test_nobody_listening_is_told_with_host_and_port() -> None:
    port = steady_port()
    with pytest.raises(LinkError, match=rf"no connection to 127\.0\.0\.1:{port}: .*refused"):
        await Client(Broker(host="127.0.0.1", port=port, client_id="hub-0001")).connection.open()
    with pytest.raises(LinkError, match=r"no connection to no\.such\.host\.invalid"):
        await Client(Broker(host="no.such.host.invalid", port=1883, client_id="hub-0001")).connection.open()


def test_a_connection_that_takes_too_long_is_given_up_and_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge.mqtt.CONNECT_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, and never says a word
        broker = Broker(host="127.0.0.1", port=server.getsockname()[1], client_id="hub-0001")

        async def attempt() -> None:
            with pytest.raises(LinkError, match="did not answer"):
                await Client(broker).connection.open()

        asyncio.run(attempt())
        peer, _ = server.accept()
        with peer:
            peer.settimeout(5)
            while peer.recv(1000):
                pass  # the CONNECT, then the end of the stream


def test_cancelling_while_connecting_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = Broker(host="127.0.0.1", port=server.getsockname()[1], client_id="hub-0001")

        async def attempt() -> None:
            opening = asyncio.create_task(Client(broker).connection.open())
            peer, _ = await asyncio.to_thread(server.accept)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            with peer:
                peer.settimeout(5)
                while await asyncio.to_thread(peer.recv, 1000):
                    pass

        asyncio.run(attempt())


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="a web server"),
        pytest.param(b"\x20\x02\x00\x01", id="a broker of MQTT 3.1.1"),
        pytest.param(b"\x20\x05\x00\x00\x02\xff\xff", id="unknown properties"),
        pytest.param(b"\x20\xff\xff\xff\xff\xff\xff", id="an endless length"),
        pytest.param(b"\xf0\x00" * 20, id="packets that no broker may send"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_a_server_that_is_no_mqtt_5_broker_is_refused_and_breaks_nothing(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.mqtt.CONNECT_TIMEOUT_S", 1.0)
    async with server_that_says(content) as server:
        with pytest.raises(LinkError):
            await Client(server).connection.open()


async def test_garbage_after_the_connack_ends_the_connection() -> None:
    async with server_that_says(CONNACK + b"\x40\x7f" + bytes(200)) as server, connected(server) as client:
        await client.until(1, Closed)


async def test_a_broker_that_ends_the_connection_gives_its_reason() -> None:
    async with server_that_says(CONNACK + b"\xe0\x02\x8e\x00") as server, connected(server) as client:
        await client.until(1, Closed)
        assert client.of(Closed) == [Closed(reason="the broker ended the connection: Session taken over", code=0x8E)]


async def test_a_refused_subscription_is_told() -> None:
    async with server_that_says(CONNACK + b"\x90\x04\x00\x01\x00\x87") as server, connected(server) as client:
        client.connection.subscribe("hub/hub-0001/receipt")
        await client.until(1, Subscribed)
        assert client.of(Subscribed) == [Subscribed(code=NOT_AUTHORIZED, text="Not authorized")]


async def test_messages_that_nobody_takes_are_bounded_and_counted(mosquitto: BrokerProcess) -> None:
    async with connected(address(mosquitto)) as client:
        client.connection.subscribe("hub/hub-0001/receipt")
        async with connected(address(mosquitto, "bridge-1")) as bridge:
            for start in range(0, MAX_MESSAGES + WINDOW + 4, WINDOW):
                for _ in range(WINDOW):
                    bridge.connection.publish("hub/hub-0001/receipt", b"receipt")
                await bridge.until(start + WINDOW, Acknowledged)
        async with asyncio.timeout(5):
            while client.connection.dropped < WINDOW:  # noqa: ASYNC110  (a dropped message makes no event)
                await asyncio.sleep(0.01)
        messages = [event for event in client.connection.take() if isinstance(event, Message)]
        assert len(messages) == MAX_MESSAGES


async def test_a_message_longer_than_any_receipt_is_not_delivered(mosquitto: BrokerProcess) -> None:
    async with connected(address(mosquitto)) as client:
        client.connection.subscribe("hub/hub-0001/receipt")
        client.connection.publish("hub/hub-0001/receipt", bytes(2 * MAX_INCOMING_BYTES))
        client.connection.publish("hub/hub-0001/receipt", b"short")
        await client.until(1, Message)
        assert [event.payload for event in client.events if isinstance(event, Message)] == [b"short"]


# --- TLS ---


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_broker(tmp_path: Path, authority: trustme.CA) -> Iterator[BrokerProcess]:
    """mosquitto that wants a client certificate, takes its common name as the user, and lets it write its own topic."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = authority.issue_cert("127.0.0.1")
    server.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    rules = tmp_path / "rules"
    rules.write_text("pattern write hub/%u/batch\npattern read hub/%u/receipt\n")
    broker = mosquitto_broker(
        tmp_path,
        f"cafile {tmp_path / 'ca.pem'}\ncertfile {tmp_path / 'server.pem'}\nkeyfile {tmp_path / 'server.pem'}\n"
        f"require_certificate true\nuse_identity_as_username true\nacl_file {rules}\n",
    )
    broker.start()
    yield broker
    broker.kill()


def client_certificate(authority: trustme.CA, directory: Path, name: str) -> Tls:
    issued = authority.issue_cert(common_name=name, organization_name="Stafet tests")
    authority.cert_pem.write_to_path(directory / "trusted.pem")
    issued.cert_chain_pems[0].write_to_path(directory / f"{name}.crt")
    issued.private_key_pem.write_to_path(directory / f"{name}.key")
    return Tls(ca=directory / "trusted.pem", certificate=directory / f"{name}.crt", key=directory / f"{name}.key")


async def test_over_tls_a_hub_is_who_its_certificate_says(
    tls_broker: BrokerProcess, authority: trustme.CA, tmp_path: Path
) -> None:
    tls = client_certificate(authority, tmp_path, "hub-0001")
    async with connected(address(tls_broker, tls=tls)) as client:
        client.connection.subscribe("hub/hub-0001/receipt")
        for _ in range(15):
            client.connection.publish("hub/hub-0001/batch", bytes(60_000))
        client.connection.publish("hub/hub-0002/batch", b"another hub's")
        await client.until(16, Acknowledged)
        codes = [event.code for event in client.events if isinstance(event, Acknowledged)]
        assert codes == [NO_MATCHING_SUBSCRIBERS] * 15 + [NOT_AUTHORIZED]


async def test_a_hub_without_the_right_certificate_is_not_let_in(
    tls_broker: BrokerProcess, authority: trustme.CA, tmp_path: Path
) -> None:
    stranger = trustme.CA()
    (tmp_path / "stranger").mkdir()
    tls = client_certificate(stranger, tmp_path / "stranger", "hub-0001")
    authority.cert_pem.write_to_path(tls.ca)
    with pytest.raises(LinkError):
        await Client(address(tls_broker, tls=tls)).connection.open()


async def test_a_broker_that_is_not_the_regions_is_not_told_anything(
    tls_broker: BrokerProcess, authority: trustme.CA, tmp_path: Path
) -> None:
    tls = client_certificate(authority, tmp_path, "hub-0001")
    trustme.CA().cert_pem.write_to_path(tls.ca)
    with pytest.raises(LinkError, match="certificate verify failed"):
        await Client(address(tls_broker, tls=tls)).connection.open()
    authority.cert_pem.write_to_path(tls.ca)
    elsewhere = Broker(host="localhost", port=tls_broker.port, client_id="hub-0001", tls=tls)
    with pytest.raises(LinkError, match="certificate verify failed"):
        await Client(elsewhere).connection.open()


async def test_a_missing_certificate_file_is_named(tls_broker: BrokerProcess, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.pem"
    tls = Tls(ca=missing, certificate=missing, key=missing)
    with pytest.raises(LinkError, match="No such file"):
        await Client(address(tls_broker, tls=tls)).connection.open()
