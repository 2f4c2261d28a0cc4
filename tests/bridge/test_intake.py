"""The bridge's connection to real brokers: order, window, TLS, and coming back by itself."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from bridge.config import MqttConfig, Tls
from bridge.intake import Intake, TlsFilesError, tls_context
from bridge.log import listed
from bridge.relay import Delivery
from tests.bridge.hub import Hub, HubLink
from tests.bridge.rig import BRIDGE_KEY
from tests.brokers import BrokerProcess, mosquitto_broker
from wire.cose import KeySigner
from wire.receipt import Receipt, seal_receipt


async def soon(condition: Callable[[], object], *, within_s: float = 15) -> None:
    """Wait, with an end, for what a broker does."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - another process's doing; no event tells of it
            await asyncio.sleep(0.01)


class Running:
    """An intake in a task, and what came out of it."""

    def __init__(self, broker: BrokerProcess, **more: Any) -> None:
        config = MqttConfig(
            host=broker.host, port=broker.port, client_id="bridge-1", group="bridge", **{"tls": None} | more
        )
        self.deliveries: list[Delivery] = []
        self.connections = 0
        self.intake = Intake(config, deliver=self.deliveries.append, connected=self._connected)

    def _connected(self) -> None:
        self.connections += 1

    @property
    def payloads(self) -> list[bytes]:
        return [each.payload for each in self.deliveries]

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator["Running"]:
        task = asyncio.create_task(self.intake.run())
        try:
            await soon(lambda: self.connections)
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def hub() -> Hub:
    return Hub()


@contextlib.contextmanager
def linked(hub: Hub, broker: BrokerProcess) -> Any:
    with contextlib.closing(HubLink(hub, broker.host, broker.port, BRIDGE_KEY.public_key())) as link:
        yield link


async def test_batches_come_out_and_receipts_go_to_the_hub(any_broker: BrokerProcess, hub: Hub) -> None:
    receipt = seal_receipt(Receipt(hub=hub.name, time_us=1), KeySigner(BRIDGE_KEY))
    with linked(hub, any_broker) as link:
        async with Running(any_broker).connected() as running:
            link.publish(b"one")
            await soon(lambda: running.deliveries)
            (delivery,) = running.deliveries
            assert (delivery.topic, delivery.payload) == ("hub/hub-0001/batch", b"one")
            running.intake.publish("hub/hub-0001/receipt", receipt)
            assert delivery.acknowledge()
            await soon(lambda: link.receipts)
            assert running.intake.unsent == 0


async def test_acknowledgements_leave_in_the_order_of_the_messages_whatever_ends_first(
    any_broker: BrokerProcess, hub: Hub
) -> None:
    with linked(hub, any_broker) as link:
        async with Running(any_broker).connected() as running:
            for number in range(10):
                link.publish(b"%d" % number)
            await soon(lambda: len(running.deliveries) == 10)
            for delivery in reversed(running.deliveries):
                assert delivery.acknowledge()
            for number in range(10, 40):
                link.publish(b"%d" % number)
            await soon(lambda: len(running.deliveries) >= 30)
            for delivery in running.deliveries[10:]:
                delivery.acknowledge()
            await soon(lambda: len(running.deliveries) == 40)
            assert running.payloads == [b"%d" % number for number in range(40)]
            assert running.connections == 1


async def test_while_nothing_is_acknowledged_the_broker_sends_no_more_than_a_window(
    mosquitto: BrokerProcess, hub: Hub
) -> None:
    with linked(hub, mosquitto) as link:
        async with Running(mosquitto).connected() as running:
            for number in range(50):
                link.publish(b"%d" % number)
            await soon(lambda: len(running.deliveries) == 20)
            await asyncio.sleep(0.2)  # nothing more may come, and only time can tell
            assert len(running.deliveries) == 20
            running.deliveries[0].acknowledge()
            await soon(lambda: len(running.deliveries) > 20)


async def test_a_broker_without_a_window_is_held_back_by_tcp_until_there_is_room(
    iotcore_broker: BrokerProcess, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.intake.WINDOW_LIMIT", 30)
    with linked(hub, iotcore_broker) as link:
        async with Running(iotcore_broker).connected() as running:
            for number in range(60):
                link.publish(b"%d" % number)
            await soon(lambda: len(running.deliveries) == 30)
            await asyncio.sleep(0.2)  # nothing more may come, and only time can tell
            assert len(running.deliveries) == 30
            for number in range(60):
                await soon(lambda: len(running.deliveries) > number)  # noqa: B023 - it is called at once
                assert running.deliveries[number].acknowledge()
            assert running.payloads == [b"%d" % number for number in range(60)]
            assert running.connections == 1


async def test_a_connection_on_which_nothing_is_ever_done_is_left(
    iotcore_broker: BrokerProcess, hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bridge.intake.WINDOW_LIMIT", 30)
    monkeypatch.setattr("bridge.intake.BLOCKED_S", 0.2)
    with linked(hub, iotcore_broker) as link:
        async with Running(iotcore_broker).connected() as running:
            for number in range(60):
                link.publish(b"%d" % number)
            await soon(lambda: running.connections == 2)
            assert len(running.deliveries) == 30
            assert not running.deliveries[0].acknowledge()
            assert "broker_connection_lost" in caplog.text


async def test_after_the_broker_died_the_bridge_is_back_and_old_acknowledgements_are_not_heard(
    any_broker: BrokerProcess, hub: Hub
) -> None:
    async with Running(any_broker).connected() as running:
        with linked(hub, any_broker) as link:
            link.publish(b"before")
            await soon(lambda: running.deliveries)
        await asyncio.to_thread(any_broker.restart)
        await soon(lambda: running.connections == 2)
        assert not running.deliveries[0].acknowledge()
        with linked(hub, any_broker) as link:
            link.publish(b"after")
            await soon(lambda: b"after" in running.payloads)


async def test_a_receipt_without_a_connection_is_counted_and_not_kept(mosquitto: BrokerProcess) -> None:
    running = Running(mosquitto)
    running.intake.publish("hub/hub-0001/receipt", b"lost")
    assert running.intake.unsent == 1


async def test_an_intake_that_was_paused_takes_nothing_new_but_still_acknowledges(
    mosquitto: BrokerProcess, hub: Hub
) -> None:
    with linked(hub, mosquitto) as link:
        async with Running(mosquitto).connected() as running:
            link.publish(b"one")
            await soon(lambda: running.deliveries)
            running.intake.pause()
            link.publish(b"two")
            await asyncio.sleep(0.1)  # nothing more may come, and only time can tell
            assert running.payloads == [b"one"]
            assert running.deliveries[0].acknowledge()


async def test_a_session_that_an_operator_wants_is_kept_for_the_bridge(mosquitto: BrokerProcess, hub: Hub) -> None:
    running = Running(mosquitto, session_expiry_s=60)
    async with running.connected():
        pass
    with linked(hub, mosquitto) as link:
        link.publish(b"while it was away")
        async with running.connected():
            await soon(lambda: running.payloads == [b"while it was away"])


async def test_a_broker_that_refuses_says_why_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = mosquitto_broker(tmp_path, "allow_anonymous false\n")
    broker.start()
    try:
        running = Running(broker)
        task = asyncio.create_task(running.intake.run())
        with caplog.at_level(logging.INFO):
            await soon(lambda: caplog.text.count("broker_unreachable") >= 2)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert details(caplog)[0] == "the broker refused the connection: Not authorized"
    finally:
        broker.stop()


async def test_a_broker_that_does_not_answer_is_given_up_in_time(
    mosquitto: BrokerProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bridge.intake.HANDSHAKE_TIMEOUT_S", 0.1)
    running = Running(mosquitto)
    with mosquitto.paused():
        task = asyncio.create_task(running.intake.run())
        await soon(lambda: "broker_unreachable" in caplog.text)
    await soon(lambda: running.connections)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def details(caplog: pytest.LogCaptureFixture) -> list[Any]:
    """Why the broker was not reached."""
    return [listed(record)["detail"] for record in caplog.records if record.message == "broker_unreachable"]


class Authority:
    """A CA with a broker's and a bridge's certificate, as files."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.ca = trustme.CA()
        self.files: dict[str, Path] = {"ca": directory / "ca.pem"}
        self.ca.cert_pem.write_to_path(str(self.files["ca"]))
        for name, identity in (("broker", "127.0.0.1"), ("bridge", "bridge-1")):
            issued = self.ca.issue_cert(identity, common_name=identity)
            self.files[name] = directory / f"{name}.pem"
            self.files[f"{name}-key"] = directory / f"{name}-key.pem"
            issued.cert_chain_pems[0].write_to_path(str(self.files[name]))
            issued.private_key_pem.write_to_path(str(self.files[f"{name}-key"]))

    @property
    def tls(self) -> Tls:
        return Tls(ca=self.files["ca"], certificate=self.files["bridge"], key=self.files["bridge-key"])

    def broker(self, directory: Path) -> BrokerProcess:
        lines = (
            f"cafile {self.files['ca']}",
            f"certfile {self.files['broker']}",
            f"keyfile {self.files['broker-key']}",
            "require_certificate true",
            "use_identity_as_username true",
            "",
        )
        return mosquitto_broker(directory, "\n".join(lines))


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # paho leaves a failed handshake's socket to the GC
async def test_the_bridge_shows_its_certificate_and_checks_the_brokers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours, alien = Authority(tmp_path / "ours"), Authority(tmp_path / "alien")
    broker = ours.broker(tmp_path)
    broker.start()
    try:
        async with Running(broker, tls=ours.tls).connected() as running:
            assert running.connections == 1
        stranger = Running(broker, tls=alien.tls)
        task = asyncio.create_task(stranger.intake.run())
        await soon(lambda: "broker_unreachable" in caplog.text)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert stranger.connections == 0
        assert "certificate verify failed" in details(caplog)[0]
    finally:
        broker.stop()


def test_tls_files_that_are_no_use_are_the_operators_to_mend(tmp_path: Path) -> None:
    ours, alien = Authority(tmp_path / "ours"), Authority(tmp_path / "alien")
    assert tls_context(ours.tls).check_hostname
    for wrong in (
        Tls(ca=tmp_path / "none", certificate=ours.tls.certificate, key=ours.tls.key),
        Tls(ca=ours.tls.ca, certificate=ours.tls.certificate, key=alien.tls.key),
        Tls(ca=ours.tls.key, certificate=ours.tls.certificate, key=ours.tls.key),
    ):
        with pytest.raises(TlsFilesError, match=r"mqtt\.tls"):
            tls_context(wrong)
