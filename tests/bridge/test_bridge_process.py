"""The bridge as a process, with real brokers and a real FHIR server: kills, frauds, two bridges, an orderly end."""

import contextlib
import random
import secrets
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.bridge.hub import Hub, HubLink, stored_weight, undecodable, weight
from tests.bridge.process import BridgeProcess
from tests.brokers import BrokerProcess
from tests.fhir_server import FhirServer
from tests.support import eventually
from wire.errors import Refusal


@dataclass
class Scene:
    """A bridge between a real broker and a real FHIR server, with an enrolled hub and its link."""

    broker: BrokerProcess
    fhir: FhirServer
    directory: Path
    stack: contextlib.ExitStack
    hub: Hub = field(default_factory=Hub)
    patient: str = field(default_factory=lambda: f"Patient/{secrets.token_hex(8)}")
    """Of this test's own, for the FHIR server may be shared."""

    def __post_init__(self) -> None:
        self.bridge = self.another_bridge("bridge-1")
        self.bridge.enrol(self.hub, self.patient)

    def another_bridge(self, client: str) -> BridgeProcess:
        made = BridgeProcess(self.directory, broker=self.broker.port, fhir=self.fhir.base_url, client=client)
        self.stack.callback(made.kill)
        return made

    def start(self) -> HubLink:
        self.bridge.start()
        return self.link(self.hub)

    def link(self, hub: Hub) -> HubLink:
        made = HubLink(hub, self.broker.host, self.broker.port, self.bridge.public_key)
        self.stack.callback(made.close)
        return made

    def weights(self) -> list[float]:
        """What arrived for the patient; each once, or the promise is broken."""
        found = self.fhir.observations(subject=self.patient)
        identifiers = [each["identifier"][0]["value"] for each in found]
        assert len(identifiers) == len(set(identifiers)), "an Observation is there twice"
        return sorted(float(each["valueQuantity"]["value"]) for each in found)


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as opened:
        yield opened


@pytest.fixture
def scene(
    mosquitto: BrokerProcess, shared_fhir_server: FhirServer, tmp_path: Path, stack: contextlib.ExitStack
) -> Scene:
    """On mosquitto."""
    return Scene(mosquitto, shared_fhir_server, tmp_path / "bridge", stack)


@pytest.fixture
def each_scene(
    any_broker: BrokerProcess, shared_fhir_server: FhirServer, tmp_path: Path, stack: contextlib.ExitStack
) -> Scene:
    """On mosquitto, and again on iotcore."""
    return Scene(any_broker, shared_fhir_server, tmp_path / "bridge", stack)


@pytest.fixture
def mortal_scene(
    mosquitto: BrokerProcess, fhir_server: FhirServer, tmp_path: Path, stack: contextlib.ExitStack
) -> Scene:
    """With a FHIR server that may be killed."""
    return Scene(mosquitto, fhir_server, tmp_path / "bridge", stack)


def test_a_batch_delivered_five_times_arrives_once_and_every_copy_gets_its_receipt(each_scene: Scene) -> None:
    hub, link = each_scene.hub, each_scene.start()
    hub.weigh(5)
    for _ in range(5):
        link.publish(hub.batch())
    eventually(lambda: len(link.receipts) == 5, within_s=20, what="five receipts")
    assert [(each.next, each.refused) for each in link.receipts] == [(6, None)] + [(6, Refusal.REPLAYED)] * 4
    assert each_scene.weights() == [60.0, 60.005, 60.01, 60.015, 60.02]
    (item,) = each_scene.bridge.json("quarantine", "list")
    assert (item["reason"], item["count"]) == ("replayed", 4)


def test_frauds_are_refused_kept_with_their_reason_told_to_the_hub_and_never_reach_fhir(each_scene: Scene) -> None:
    hub, bridge, other = each_scene.hub, each_scene.bridge, Hub(name="hub-0002")
    bridge.enrol(other, each_scene.patient)
    link = each_scene.start()
    hub.weigh(1)
    genuine = hub.batch()
    link.publish(genuine)
    link.receipt_for(genuine)
    hub.weigh(1)
    fresh, stranger = hub.batch(2, 2), Hub(epoch=hub.epoch, readings=hub.readings)
    frauds = {
        "bad-signature": fresh[:-1] + bytes([fresh[-1] ^ 1]),
        "malformed": fresh[: len(fresh) // 2],
        "unknown-key": stranger.batch(2, 2, previous=hub.chain_before(2)),
        "wrong-hub": Hub(name=other.name, key=other.key, readings=hub.readings).batch(),
        "broken-chain": hub.batch(2, 2, previous=bytes(31) + b"\x01"),
        "replayed": genuine,
    }
    for reason, envelope in frauds.items():
        link.receipts.clear()
        link.publish(envelope)
        assert link.receipt_for(envelope).refused == reason
    items = {item["reason"]: item for item in bridge.json("quarantine", "list")}
    assert set(items) == set(frauds)
    assert all(item["hub"] == hub.name for item in items.values())
    shown = bridge.json("quarantine", "show", str(items["bad-signature"]["id"]))
    assert shown["evidence"] == frauds["bad-signature"].hex()
    assert each_scene.weights() == [60.0]
    bridge.command("hub", "revoke", "--id", hub.name)
    link.publish(fresh)
    assert link.receipt_for(fresh).refused is Refusal.UNKNOWN_KEY
    assert each_scene.weights() == [60.0]


def test_a_fhir_server_killed_midway_delays_readings_and_loses_none(mortal_scene: Scene) -> None:
    hub, bridge, link = mortal_scene.hub, mortal_scene.bridge, mortal_scene.start()
    hub.weigh(2)
    link.send_until_confirmed()
    mortal_scene.fhir.kill()
    hub.weigh(6)
    for seq in range(3, 9):
        link.publish(hub.batch(seq, seq))
    eventually(lambda: len(bridge.events("fhir_unavailable")) > 1, what="the bridge finds no FHIR server")
    status = bridge.json("status")
    assert (status["running"], status["readings_written"], status["readings_pending"]) == (True, 2, 1)
    assert link.next == 3
    mortal_scene.fhir.restart()
    eventually(lambda: link.next == 9, within_s=40, what="receipts for what waited")
    assert len(mortal_scene.weights()) == 8
    assert bridge.json("status")["readings_quarantined"] == 0


def test_a_bridge_killed_again_and_again_loses_nothing_and_writes_nothing_twice(scene: Scene) -> None:
    hub, bridge, link = scene.hub, scene.bridge, scene.start()
    hub.weigh(100)
    hub.take(stored_weight(80_000), stored_weight(80_000, after_us=5_000_000))
    chance = random.Random(20261121)  # noqa: S311 - a repeatable test, not a secret
    with ThreadPoolExecutor() as pool:
        sender = pool.submit(link.send_until_confirmed, resend_s=0.5, within_s=90)
        for _ in range(4):
            time.sleep(chance.uniform(0.05, 0.4))  # what is tested is the instant of the kill
            bridge.restart()
        sender.result(90)
    assert link.next == 103
    assert len(scene.weights()) == 101
    status = bridge.json("status")
    assert (status["readings_written"], status["readings_pending"], status["readings_missing"]) == (102, 0, 0)


def test_a_broker_killed_and_restarted_is_found_again(each_scene: Scene) -> None:
    hub, link = each_scene.hub, each_scene.start()
    hub.weigh(1)
    link.send_until_confirmed()
    each_scene.broker.restart()
    ready = each_scene.bridge.events
    eventually(lambda: len(ready("intake_ready")) == 2, within_s=30, what="the bridge is back at the broker")
    link = each_scene.link(hub)
    hub.weigh(2)
    link.send_until_confirmed()
    assert each_scene.weights() == [60.0, 60.005, 60.01]


def test_a_bridge_that_connects_tells_hubs_how_far_they_are_so_that_they_need_not_wait(scene: Scene) -> None:
    hub, link = scene.hub, scene.start()
    hub.weigh(2)
    link.send_until_confirmed()
    link.receipts.clear()
    scene.bridge.restart()
    eventually(lambda: len(link.receipts) == 1, what="a receipt that nobody asked for")
    receipt = link.receipts[0]
    assert (receipt.digest, receipt.epoch, receipt.next) == (None, hub.epoch, 3)
    assert receipt.chain == hub.chain_before(3)


def test_two_bridges_share_the_work_on_one_ledger_and_one_goes_on_when_the_other_dies(scene: Scene) -> None:
    twin = scene.another_bridge("bridge-2")
    hubs = [Hub(name=f"hub-{number}") for number in range(6)]
    for number, hub in enumerate(hubs):
        scene.bridge.enrol(hub, scene.patient)
        hub.take(*[weight(60_000 + 100 * number + 5 * each, after_us=each) for each in range(12)])
    scene.bridge.start()
    twin.start()
    links = [scene.link(hub) for hub in hubs]
    with ThreadPoolExecutor() as pool:
        senders = [pool.submit(each.send_until_confirmed, group=2) for each in links]
        both = (scene.bridge, twin)
        eventually(lambda: all(each.events("batch_settled") for each in both), within_s=20, what="both bridges work")
        twin.kill()
        for sender in senders:
            sender.result(90)
    assert len(scene.weights()) == 72
    assert scene.bridge.json("status")["readings_missing"] == 0


def test_what_was_quarantined_is_written_after_a_mend(scene: Scene) -> None:
    bridge, hub = scene.bridge, Hub(name="hub-0002")
    bridge.enrol(hub, None)
    bridge.start()
    link = scene.link(hub)
    hub.weigh(1)
    hub.take(undecodable(1_000_000))
    link.send_until_confirmed()

    def in_quarantine() -> list[tuple[str, int, int]]:
        items = bridge.json("quarantine", "list")
        return [(item["reason"], item["seq"], item["id"]) for item in items if item["kind"] == "reading"]

    assert [(reason, seq) for reason, seq, _ in in_quarantine()] == [("no-patient", 2), ("no-patient", 1)]
    assert scene.weights() == []
    bridge.command("assign", "--hub", hub.name, "--device", "AA:BB:CC:DD:EE:01", "--patient", scene.patient)
    assert bridge.json("quarantine", "redrive", "--all") == {"written": 1, "quarantined": 1}
    assert scene.weights() == [60.0]
    ((reason, seq, left),) = in_quarantine()
    assert (reason, seq) == ("undecodable", 2)
    shown = bridge.json("quarantine", "show", str(left))
    assert (shown["characteristic"], shown["value"], shown["device"]) == ("2A9D", "00", "AA:BB:CC:DD:EE:01")


def test_systemd_hears_when_the_bridge_is_ready_and_sigterm_ends_it_after_what_is_in_hand(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, bridge = scene.hub, scene.bridge
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        link = scene.start()
        assert systemd.recv(100) == b"READY=1"
        assert systemd.recv(100) == b"WATCHDOG=1"
        hub.weigh(60)
        envelope = hub.batch()
        link.publish(envelope)
        eventually(lambda: bridge.json("status")["batches"], what="the batch is in hand")
        assert bridge.stop() == 0
        assert link.receipt_for(envelope).next == 61
    assert len(scene.weights()) == 60
    assert bridge.events("bridge_stopped")
    assert bridge.json("status")["running"] is False


def test_sigterm_ends_a_bridge_that_waits_for_a_dead_fhir_server_and_nothing_is_lost(mortal_scene: Scene) -> None:
    hub, bridge, link = mortal_scene.hub, mortal_scene.bridge, mortal_scene.start()
    mortal_scene.fhir.kill()
    hub.weigh(1)
    link.publish(hub.batch())
    eventually(lambda: bridge.events("fhir_unavailable"), what="the bridge waits for FHIR")
    began = time.monotonic()
    assert bridge.stop() == 0
    assert time.monotonic() - began < 5
    assert link.receipts == []
    mortal_scene.fhir.restart()
    bridge.start()
    eventually(lambda: link.next == 2, within_s=30, what="the pending reading is written at start, and the hub told")
    assert mortal_scene.weights() == [60.0]


def test_the_log_holds_no_value_no_patient_and_no_address(scene: Scene) -> None:
    hub, bridge, link = scene.hub, scene.bridge, scene.start()
    hub.take(weight(77_345), undecodable(1))
    link.publish(b"noise")
    link.send_until_confirmed()
    assert bridge.stop() == 0
    log = bridge.log.read_text()
    assert "batch_settled" in log
    for secret in ("77.345", scene.patient.partition("/")[2], "Patient", "AA:BB", "aabbcc", "AABBCC"):
        assert secret not in log
    assert log.splitlines()[-1].endswith('"event": "bridge_stopped"}')
