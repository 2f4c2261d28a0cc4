"""The uplink with real brokers, a real outbox and a small bridge: what was stored arrives once, whatever happens."""

import asyncio
import random
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec

from edge.clock import SystemClock, SystemTime
from edge.mqtt import Broker, Tls
from edge.outbox import Outbox, OutboxFull
from edge.uplink import Uplink
from tests.brokers import BrokerProcess, mosquitto_broker
from tests.edge.readings import HUB, encoded
from tests.edge.scripted_server import CONNACK, server_that_says
from tests.edge.small_bridge import SmallBridge
from wire.cose import KeySigner
from wire.errors import Refusal
from wire.evidence import ClockState

HUB_KEY = ec.generate_private_key(ec.SECP256R1())
SIGNER = KeySigner(HUB_KEY)


class Hub:
    """A hub without devices: a test puts readings into its outbox."""

    def __init__(self, directory: Path, bridge: SmallBridge, **options: object) -> None:
        self.path = directory / "outbox.db"
        self.bridge = bridge
        self.options = options
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self.clock = SystemClock()

    @asynccontextmanager
    async def running(self, *, port: int, tls: Tls | None = None) -> AsyncIterator["Hub"]:
        with Outbox.open(self.path, hub=HUB) as self.outbox:
            self.uplink = Uplink(
                hub=HUB,
                outbox=self.outbox,
                signer=SIGNER,
                bridge_key=self.bridge.key.public_key(),
                broker=Broker(host="127.0.0.1", port=port, client_id=HUB, tls=tls),
                clock=self.clock,
                on_event=lambda name, fields: self.events.append((name, fields)),
                jitter=lambda: 0.1,
                **self.options,  # type: ignore[arg-type]
            )
            task = asyncio.create_task(self.uplink.run())
            try:
                yield self
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def put(self, numbers: range) -> None:
        self.outbox.put_many([encoded(number) for number in numbers])
        self.uplink.wake()

    def refused(self) -> str | None:
        return self.uplink.state.refused

    @property
    def pending(self) -> int:
        return self.outbox.next - self.outbox.oldest

    def happened(self, name: str) -> list[Mapping[str, object]]:
        return [fields for each, fields in self.events if each == name]


async def until(condition: Callable[[], object], *, within_s: float = 45) -> None:
    """Wait for the other processes of a test, with an end: more than the hub needs to notice that it must mend."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


@pytest.fixture
def bridge(any_broker: BrokerProcess) -> Iterator[SmallBridge]:
    bridge = SmallBridge(any_broker.port)
    bridge.enrol(HUB, HUB_KEY.public_key())
    bridge.start()
    yield bridge
    bridge.stop()


@pytest.fixture
def one_bridge(mosquitto: BrokerProcess) -> Iterator[SmallBridge]:
    """With mosquitto only, for what does not depend on the broker."""
    bridge = SmallBridge(mosquitto.port)
    bridge.enrol(HUB, HUB_KEY.public_key())
    bridge.start()
    yield bridge
    bridge.stop()


async def test_readings_arrive_in_order_and_are_let_go_when_the_bridge_has_signed_for_them(
    bridge: SmallBridge, tmp_path: Path
) -> None:
    async with Hub(tmp_path, bridge).running(port=bridge.port) as hub:
        hub.put(range(500))
        await until(lambda: hub.pending == 0)
        assert bridge.accepted == list(range(500))
        state = hub.uplink.state
        assert (state.connected, state.refused, state.sent, state.resent, state.confirmed) == (True, None, 500, 0, 500)
        for number in range(500, 520):
            hub.put(range(number, number + 1))
            await until(lambda: hub.pending == 0)
        assert bridge.accepted == list(range(520))
        assert (hub.uplink.state.resent, hub.uplink.state.as_dict()["confirmed"]) == (0, 520), hub.uplink.state


async def test_readings_stored_before_the_start_go_out_at_once(bridge: SmallBridge, tmp_path: Path) -> None:
    hub = Hub(tmp_path, bridge)
    with Outbox.open(hub.path, hub=HUB) as outbox:
        outbox.put(encoded(1))
    async with hub.running(port=bridge.port):
        await until(lambda: bridge.accepted == [1])
        await until(lambda: hub.pending == 0)
        await hub.uplink.drained()
        assert [name for name, _ in hub.events][:2] == ["connected", "batch_sent"]


async def test_a_broker_killed_with_300_queued_readings_loses_none(
    bridge: SmallBridge, any_broker: BrokerProcess, tmp_path: Path
) -> None:
    """The broker has acknowledged them, and forgets them; the bridge has seen none of them."""
    async with Hub(tmp_path, bridge).running(port=bridge.port) as hub:
        hub.put(range(64))
        await until(lambda: hub.pending == 0)
        bridge.mute = True
        hub.put(range(64, 364))
        await until(lambda: hub.uplink.state.sent == 364)
        await until(lambda: not hub.uplink._window._unacknowledged)
        any_broker.kill()
        await until(lambda: not hub.uplink.state.connected)
        assert hub.pending == 300
        bridge.mute = False
        any_broker.start()
        await until(lambda: hub.pending == 0)
        assert bridge.accepted == list(range(364))


async def test_ten_kills_of_the_broker_with_readings_flowing_lose_and_double_nothing(
    bridge: SmallBridge, any_broker: BrokerProcess, tmp_path: Path
) -> None:
    async with Hub(tmp_path, bridge, receipt_timeout_s=1.0).running(port=bridge.port) as hub:
        number = 0
        for _ in range(10):
            for _ in range(30):
                hub.put(range(number, number + 1))
                number += 1
                await asyncio.sleep(0.001)
            any_broker.restart()
        await until(lambda: hub.pending == 0)
        assert bridge.accepted == list(range(number))


async def test_the_hub_goes_on_where_it_was_after_a_restart(bridge: SmallBridge, tmp_path: Path) -> None:
    hub = Hub(tmp_path, bridge)
    for start in range(0, 300, 60):
        async with hub.running(port=bridge.port):
            hub.put(range(start, start + 60))
            await until(lambda: hub.uplink.state.sent > 0)
    async with hub.running(port=bridge.port):
        await until(lambda: hub.pending == 0)
    assert bridge.accepted == list(range(300))


async def test_while_the_bridge_is_away_readings_wait_and_then_all_arrive(
    one_bridge: SmallBridge, tmp_path: Path
) -> None:
    async with Hub(tmp_path, one_bridge, receipt_timeout_s=0.2).running(port=one_bridge.port) as hub:
        one_bridge.mute = True
        hub.put(range(200))
        await until(lambda: hub.uplink.state.timeouts >= 2)
        assert hub.pending == 200
        one_bridge.mute = False
        await until(lambda: hub.pending == 0)
        assert one_bridge.accepted == list(range(200))


async def test_a_bridge_that_came_back_may_ask_for_the_rest_at_once(one_bridge: SmallBridge, tmp_path: Path) -> None:
    async with Hub(tmp_path, one_bridge).running(port=one_bridge.port) as hub:
        one_bridge.mute = True
        hub.put(range(200))
        await until(lambda: hub.uplink.state.sent > 0)
        await asyncio.sleep(0.1)
        one_bridge.mute = False
        one_bridge.tell(HUB, one_bridge.seal(HUB, **one_bridge.position(HUB, hub.outbox.epoch)))
        await until(lambda: hub.pending == 0, within_s=5)
        assert one_bridge.accepted == list(range(200))


async def test_a_hub_that_is_not_enrolled_keeps_everything_says_so_and_delivers_when_it_is(
    one_bridge: SmallBridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.window.FIRST_PAUSE_S", 0.2)
    one_bridge.hubs.clear()
    async with Hub(tmp_path, one_bridge).running(port=one_bridge.port) as hub:
        hub.put(range(10))
        await until(lambda: hub.refused() is not None)
        assert hub.refused() == "the bridge refuses our batches: unknown-key"
        assert hub.pending == 10
        one_bridge.enrol(HUB, HUB_KEY.public_key())
        await until(lambda: hub.pending == 0)
        assert hub.refused() is None
        assert one_bridge.accepted == list(range(10))


async def test_a_store_restored_from_an_old_copy_loses_nothing_and_reuses_no_number(
    one_bridge: SmallBridge, tmp_path: Path
) -> None:
    hub = Hub(tmp_path, one_bridge)
    async with hub.running(port=one_bridge.port):
        hub.put(range(10))
        await until(lambda: hub.pending == 0)
    shutil.copy(hub.path, tmp_path / "old")
    async with hub.running(port=one_bridge.port):
        hub.put(range(10, 20))
        await until(lambda: hub.pending == 0)
        old_epoch = hub.outbox.epoch
    shutil.copy(tmp_path / "old", hub.path)
    async with hub.running(port=one_bridge.port):
        hub.put(range(100, 105))  # under numbers 11 to 15, which the bridge knows as others
        await until(lambda: hub.pending == 0)
        assert hub.outbox.epoch != old_epoch
        assert hub.outbox.born == "sequence-reused"
        assert hub.uplink.state.renewals == 1
    assert one_bridge.accepted == [*range(20), *range(100, 105)]


async def test_a_store_that_is_older_than_a_receipt_begins_a_new_epoch(one_bridge: SmallBridge, tmp_path: Path) -> None:
    hub = Hub(tmp_path, one_bridge)
    one_bridge.mute = True
    async with hub.running(port=one_bridge.port):
        hub.put(range(10))
    shutil.copy(hub.path, tmp_path / "old")
    one_bridge.mute = False
    async with hub.running(port=one_bridge.port):
        hub.put(range(10, 20))
        await until(lambda: hub.pending == 0)
    shutil.copy(tmp_path / "old", hub.path)
    async with hub.running(port=one_bridge.port):
        await until(lambda: hub.pending == 0)  # REPLAYED, with a position beyond what this store ever had
        assert hub.outbox.born == "store-went-back"
        assert [alarm.cause for alarm in hub.outbox.alarms()] == ["store-went-back"]
    # The ten arrive again, in another epoch; their Observations are the same, since these come from the evidence.
    assert sorted(one_bridge.accepted) == sorted([*range(20), *range(10)])


async def test_a_bridge_that_wants_a_new_epoch_again_and_again_gets_one_and_then_a_person_must_look(
    one_bridge: SmallBridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.window.FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(one_bridge, "_judge", lambda _: Refusal.BROKEN_CHAIN)
    async with Hub(tmp_path, one_bridge).running(port=one_bridge.port) as hub:
        hub.put(range(10))
        await until(lambda: len(hub.happened("batch_refused")) >= 3)
        assert hub.uplink.state.renewals == 1
        assert hub.refused() == ("the bridge refuses our batches: broken-chain, and a new epoch has not helped")
        assert hub.pending == 10


async def test_only_the_bridge_can_let_a_reading_go(one_bridge: SmallBridge, tmp_path: Path) -> None:
    async with Hub(tmp_path, one_bridge).running(port=one_bridge.port) as hub:
        hub.put(range(3))
        await until(lambda: hub.pending == 0)
        one_bridge.mute = True
        hub.put(range(3, 6))
        claim: dict[str, Any] = {"epoch": hub.outbox.epoch, "next": 7, "chain": hub.outbox._at.head_chain}
        stranger = KeySigner(ec.generate_private_key(ec.SECP256R1()))
        honest = one_bridge.seal(HUB, **one_bridge.position(HUB, hub.outbox.epoch))
        one_bridge.tell(HUB, one_bridge.seal(HUB, signer=stranger, **claim))
        one_bridge.tell(HUB, one_bridge.seal(HUB, signer=SIGNER, **claim))
        one_bridge.tell(HUB, one_bridge.seal("hub-0002", **claim))
        one_bridge.tell(HUB, one_bridge.seal(HUB, **claim)[:-1])
        one_bridge.tell(HUB, b"garbage")
        one_bridge.tell(HUB, b"")
        await until(lambda: hub.uplink.state.forged == 6)
        one_bridge.tell(HUB, one_bridge.seal(HUB, **(claim | {"epoch": b"old epoc"})))
        one_bridge.tell(HUB, one_bridge.seal(HUB, refused=Refusal.UNKNOWN_KEY, digest=bytes(32)))
        one_bridge.tell(HUB, honest)
        await until(lambda: hub.uplink.state.receipts >= 4)
        assert hub.pending == 3
        assert hub.refused() is None
        one_bridge.tell(HUB, one_bridge.seal(HUB, **claim))
        await until(lambda: hub.pending == 0)


async def test_a_receipt_sets_the_clock_of_a_hub_that_starts_in_1970(one_bridge: SmallBridge, tmp_path: Path) -> None:
    hub = Hub(tmp_path, one_bridge)
    hub.clock = SystemClock(system=lambda: SystemTime(0, time.monotonic_ns() // 1000, None))
    async with hub.running(port=one_bridge.port):
        assert hub.clock.now().state is ClockState.UNSET
        hub.put(range(1))
        await until(lambda: hub.pending == 0)
        now = hub.clock.now()
        assert now.state is ClockState.SYNCHRONISED
        assert now.uncertainty_ms is not None
        assert abs(now.wall_us - time.time_ns() // 1000) <= now.uncertainty_ms * 1000


async def test_a_broker_that_denies_our_topic_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic readwrite hub/hub-0002/#\n")
    broker = mosquitto_broker(tmp_path, f"allow_anonymous true\nacl_file {rules}\n")
    broker.start()
    bridge = SmallBridge(broker.port)
    bridge.enrol(HUB, HUB_KEY.public_key())
    try:
        async with Hub(tmp_path, bridge).running(port=broker.port) as hub:
            hub.put(range(10))
            await until(lambda: hub.refused() is not None)
            assert hub.refused() == "the broker refuses our batches: Not authorized"
            assert hub.pending == 10
            rules.write_text("topic readwrite #\n")
            broker.restart()
            bridge.start()
            await until(lambda: hub.pending == 0)
            assert hub.refused() is None
        assert bridge.accepted == list(range(10))
    finally:
        bridge.stop()
        broker.kill()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"\x20\x03\x00\x87\x00", "the broker refuses the connection: Not authorized"),
        (b"\x20\x03\x00\x85\x00", "the broker refuses the connection: Client identifier not valid"),
        (CONNACK + b"\x90\x04\x00\x01\x00\x87", "the broker refuses us our receipts: Not authorized"),
        (CONNACK + b"\xe0\x02\x8e\x00", "the broker ended the connection: Session taken over"),
    ],
)
async def test_what_the_broker_refuses_stands_in_the_status(answer: bytes, says: str, tmp_path: Path) -> None:
    async with server_that_says(answer) as server, Hub(tmp_path, SmallBridge(1)).running(port=server.port) as hub:
        hub.put(range(1))
        await until(lambda: hub.refused() == says)
        assert hub.pending == 1


async def test_a_broker_that_takes_only_small_packets_gets_small_batches(tmp_path: Path) -> None:
    broker = mosquitto_broker(tmp_path, "allow_anonymous true\nmax_packet_size 3000\n")
    broker.start()
    bridge = SmallBridge(broker.port)
    bridge.enrol(HUB, HUB_KEY.public_key())
    bridge.start()
    try:
        async with Hub(tmp_path, bridge).running(port=broker.port) as hub:
            hub.put(range(300))
            await until(lambda: hub.pending == 0)
            assert bridge.accepted == list(range(300))
            assert all(fields["bytes"] <= 3000 for fields in hub.happened("batch_sent"))  # type: ignore[operator]
            hub.outbox.put(bytes(2500))  # no such reading exists; a broker so configured would hold it up for ever
            hub.uplink.wake()
            await until(lambda: hub.refused() is not None)
            assert hub.refused() == "the broker takes no packet above 3000 bytes"
    finally:
        bridge.stop()
        broker.kill()


async def test_where_no_bridge_has_ever_been_the_status_says_so(
    mosquitto: BrokerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.window.FIRST_PAUSE_S", 0.2)
    bridge = SmallBridge(mosquitto.port)
    bridge.enrol(HUB, HUB_KEY.public_key())
    async with Hub(tmp_path, bridge).running(port=mosquitto.port) as hub:
        hub.put(range(3))
        await until(lambda: hub.refused() is not None)
        assert hub.refused() == "no bridge is subscribed at this broker"
        bridge.start()
        await until(lambda: hub.pending == 0)
        assert hub.refused() is None
        assert bridge.accepted == [0, 1, 2]
    bridge.stop()


async def test_the_whole_way_over_tls_with_client_certificates(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    hub_certificate = authority.issue_cert(common_name=HUB)
    hub_certificate.private_key_pem.write_to_path(tmp_path / "hub.key")
    hub_certificate.cert_chain_pems[0].write_to_path(tmp_path / "hub.crt")
    tls = Tls(ca=tmp_path / "ca.pem", certificate=tmp_path / "hub.crt", key=tmp_path / "hub.key")
    inner = mosquitto_broker(tmp_path)  # its port is the bridge's, without TLS
    tls_port = mosquitto_broker(tmp_path).port
    (tmp_path / f"mosquitto-{inner.port}.conf").write_text(
        f"user root\nper_listener_settings true\nlistener {inner.port} 127.0.0.1\nallow_anonymous true\n"
        f"listener {tls_port} 127.0.0.1\ncafile {tls.ca}\ncertfile {tmp_path / 'server.pem'}\n"
        f"keyfile {tmp_path / 'server.pem'}\nrequire_certificate true\nuse_identity_as_username true\n"
    )
    inner.start()
    bridge = SmallBridge(inner.port)
    bridge.enrol(HUB, HUB_KEY.public_key())
    bridge.start()
    try:
        async with Hub(tmp_path, bridge).running(port=tls_port, tls=tls) as hub:
            hub.put(range(1000))
            await until(lambda: hub.pending == 0)
        assert bridge.accepted == list(range(1000))
    finally:
        bridge.stop()
        inner.kill()


async def test_a_disk_without_room_even_to_delete_is_met_with_patience(
    one_bridge: SmallBridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.window.FIRST_PAUSE_S", 0.1)
    async with Hub(tmp_path, one_bridge).running(port=one_bridge.port) as hub:
        real = hub.outbox.confirm
        refusals = iter(range(3))

        def confirm(*receipt: Any) -> int:
            if next(refusals, None) is not None:
                raise OutboxFull("no room")
            return real(*receipt)

        monkeypatch.setattr(hub.outbox, "confirm", confirm)
        hub.put(range(10))
        await until(lambda: hub.pending == 0)
        assert len(hub.happened("confirmation_failed")) == 3
        assert len(hub.happened("batch_sent")) == 4
        assert one_bridge.accepted == list(range(10))


class Radio:
    """A TCP link that breaks, without warning, after every few thousand bytes."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self.cuts = 0
        self._port = port
        self._chance = chance
        self._ways: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        while self._ways:
            await asyncio.wait(self._ways)  # the hub has gone, so every way ends

    async def _serve(self, hub_in: asyncio.StreamReader, hub_out: asyncio.StreamWriter) -> None:
        broker_in, broker_out = await asyncio.open_connection("127.0.0.1", self._port)
        left = self._chance.randint(2_000, 20_000)

        async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            nonlocal left
            with suppress(OSError):
                while left > 0 and (content := await source.read(min(1000, left))):
                    left -= len(content)
                    target.write(content)
                    await target.drain()
            for writer in (hub_out, broker_out):
                writer.transport.abort()
            self.cuts += 1

        for source, target in ((hub_in, broker_out), (broker_in, hub_out)):
            way = asyncio.create_task(carry(source, target))
            self._ways.add(way)
            way.add_done_callback(self._ways.discard)


async def test_a_link_that_is_cut_every_few_thousand_bytes_brings_everything_with_few_duplicates(
    one_bridge: SmallBridge, tmp_path: Path
) -> None:
    radio = Radio(one_bridge.port, random.Random(3))  # noqa: S311  (repeatable)
    async with radio as port, Hub(tmp_path, one_bridge).running(port=port) as hub:
        hub.put(range(3000))
        await until(lambda: hub.pending == 0)
        assert one_bridge.accepted == list(range(3000))
    assert radio.cuts > 40  # each counted at both ends
    assert one_bridge.received <= 3300


async def test_stopping_is_quick_and_says_goodbye_to_the_broker(
    one_bridge: SmallBridge, mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    async with Hub(tmp_path, one_bridge).running(port=one_bridge.port) as hub:
        await until(lambda: hub.uplink.state.connected)
        before = time.monotonic()
    assert time.monotonic() - before < 1
    await until(lambda: f"Client {HUB} disconnected." in mosquitto.log.read_text())


async def test_without_a_broker_the_uplink_tries_on_and_shows_progress_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.uplink.FIRST_RETRY_S", 0.01)
    monkeypatch.setattr("edge.uplink.LONGEST_RETRY_S", 0.1)
    bridge = SmallBridge(1)
    async with Hub(tmp_path, bridge).running(port=1) as hub:
        hub.put(range(1))
        await until(lambda: len(hub.happened("connection_failed")) > 20)
        state = hub.uplink.state
        assert (state.connected, state.refused, state.connections) == (False, None, 0)
        assert state.last_error is not None
        assert "127.0.0.1:1" in state.last_error
        assert hub.uplink.progress > 20
        await hub.uplink.drained()
