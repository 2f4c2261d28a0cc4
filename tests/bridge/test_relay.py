"""The relay's promises against a FHIR server that behaves: what arrives, what is told to the hub, what is kept."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.assignment import Assignment
from bridge.database import DatabaseError
from bridge.fhir.translate import translate_reading
from bridge.plan import NO_PATIENT
from tests.bridge.fake_fhir import FakeFhir, answer, lost_answer, lost_request, outcome
from tests.bridge.hub import ADDRESS, START_US, Hub, stored_weight, undecodable, weight
from tests.bridge.rig import BRIDGE_KEY, bridge, enrol
from wire.batch import GENESIS
from wire.cose import KeySigner
from wire.errors import Refusal


async def test_a_batch_becomes_observations_and_a_receipt_that_covers_it(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(3)
    async with bridge(tmp_path, fhir) as rig:
        receipt = await rig.relayed(hub.batch())
        assert len(fhir.observations()) == 3
        assert (receipt.next, receipt.refused, receipt.epoch) == (4, None, hub.epoch)
        assert receipt.chain == hub.chain_before(4)
        assert rig.published[0][0] == "hub/hub-0001/receipt"
        assert rig.acknowledged == [hub.batch()]
        assert rig.ledger.summary().written == 3


async def test_a_batch_that_is_delivered_five_times_arrives_once(tmp_path: Path, hub: Hub, fhir: FakeFhir) -> None:
    hub.weigh(3)
    async with bridge(tmp_path, fhir) as rig:
        for _ in range(5):
            rig.deliver(hub.batch())
        await rig.relay.drained()
        assert len(fhir.observations()) == 3
        assert len(rig.acknowledged) == 5
        assert [receipt.next for receipt in rig.receipts] == [4] * 5
        assert [receipt.refused for receipt in rig.receipts] == [None] + [Refusal.REPLAYED] * 4
        (item,) = rig.ledger.quarantine.items()
        assert (item.reason, item.count) == ("replayed", 4)


async def test_a_batch_grouped_anew_after_a_restart_brings_only_what_is_new(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(5)
    async with bridge(tmp_path, fhir) as rig:
        await rig.relayed(hub.batch(1, 3))
        receipt = await rig.relayed(hub.batch(2, 5))
        assert (receipt.next, receipt.refused) == (6, None)
        assert len(fhir.observations()) == 5
        assert rig.ledger.quarantine.items() == ()


async def test_a_batch_after_a_gap_is_answered_with_what_is_expected_and_then_comes_whole(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(5)
    async with bridge(tmp_path, fhir) as rig:
        receipt = await rig.relayed(hub.batch(4, 5, oldest=1))
        assert (receipt.next, receipt.refused, receipt.chain) == (1, Refusal.GAP, GENESIS)
        assert rig.ledger.quarantine.items() == ()
        receipt = await rig.relayed(hub.batch(1, 5))
        assert (receipt.next, receipt.refused) == (6, None)
        assert len(fhir.observations()) == 5


async def test_readings_that_the_hub_no_longer_holds_are_counted_as_missing_and_the_rest_is_taken(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(5)
    async with bridge(tmp_path, fhir) as rig:
        receipt = await rig.relayed(hub.batch(4, 5, oldest=4))
        assert (receipt.next, receipt.refused) == (6, None)
        assert rig.ledger.summary().missing == 3
        late = await rig.relayed(hub.batch(2, 3, oldest=1))
        assert (late.next, late.refused) == (6, None)
        assert rig.ledger.summary().missing == 1
        assert len(fhir.observations()) == 4


async def test_another_reading_under_a_used_number_is_refused_and_the_accepted_one_stays(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(2)
    async with bridge(tmp_path, fhir) as rig:
        await rig.relayed(hub.batch())
        before = fhir.identifiers()
        hub.readings.clear()
        hub.take(weight(99_000), weight(98_000))
        receipt = await rig.relayed(hub.batch())
        assert (receipt.refused, receipt.next, receipt.epoch) == (Refusal.SEQUENCE_REUSED, None, hub.epoch)
        assert fhir.identifiers() == before
        assert [item.reason for item in rig.ledger.quarantine.items()] == ["sequence-reused"]


async def test_a_batch_after_another_history_is_refused(tmp_path: Path, hub: Hub, fhir: FakeFhir) -> None:
    hub.weigh(3)
    async with bridge(tmp_path, fhir) as rig:
        await rig.relayed(hub.batch(1, 2))
        receipt = await rig.relayed(hub.batch(3, 3, previous=b"\xff" * 32))
        assert receipt.refused is Refusal.BROKEN_CHAIN
        assert len(fhir.observations()) == 2


@pytest.mark.parametrize("kind", ["tampered", "truncated", "unknown-key", "wrong-topic", "noise", "empty"])
async def test_what_a_hub_did_not_sign_is_refused_kept_and_never_reaches_fhir(
    tmp_path: Path, hub: Hub, fhir: FakeFhir, kind: str
) -> None:
    hub.weigh(1)
    envelope = hub.batch()
    stranger = Hub(epoch=hub.epoch, readings=hub.readings)
    envelope, topic, reason = {
        "tampered": (envelope[:-70] + bytes([envelope[-70] ^ 1]) + envelope[-69:], None, "bad-signature"),
        "truncated": (envelope[:-1], None, "malformed"),
        "unknown-key": (stranger.batch(), None, "unknown-key"),
        "wrong-topic": (envelope, "hub/hub-0002/batch", "wrong-hub"),
        "noise": (b"\x00" * 100, None, "malformed"),
        "empty": (b"", None, "malformed"),
    }[kind]
    async with bridge(tmp_path, fhir) as rig:
        receipt = await rig.relayed(envelope, topic=topic)
        assert receipt.refused == reason
        assert (receipt.epoch, receipt.next, receipt.chain) == (None, None, None)
        (item,) = rig.ledger.quarantine.items()
        assert (item.reason, item.hub, item.count) == (reason, receipt.hub, 1)
        shown = rig.ledger.quarantine.item(item.id)
        assert shown is not None
        assert shown.octets == envelope
        assert rig.acknowledged == [envelope]
        assert fhir.requests == []
        assert rig.ledger.summary().batches == 0


async def test_a_message_on_a_topic_of_no_hub_is_kept_and_answered_to_nobody(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(1)
    async with bridge(tmp_path, fhir) as rig:
        rig.deliver(hub.batch(), topic="hub/NOT A HUB/batch")
        await rig.relay.drained()
        assert rig.published == []
        assert len(rig.acknowledged) == 1
        assert [item.reason for item in rig.ledger.quarantine.items()] == ["wrong-hub"]


async def test_a_revoked_hub_is_not_believed_and_its_old_evidence_still_opens(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(1)
    hub.take(undecodable())
    hub.weigh(1)
    async with bridge(tmp_path, fhir) as rig:
        await rig.relayed(hub.batch(1, 2))
        rig.ledger.registry.revoke(hub.name, now_us=START_US)
        receipt = await rig.relayed(hub.batch(3, 3))
        assert receipt.refused is Refusal.UNKNOWN_KEY
        assert len(fhir.observations()) == 1
        item = rig.ledger.quarantine.items()[-1]
        assert item.reading_id is not None
        tally = await rig.writer.redrive([item.reading_id])
        assert (tally.written, tally.quarantined) == (0, 1)


async def test_a_reading_that_cannot_be_decoded_is_quarantined_alone_and_counts_as_settled(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(1)
    hub.take(undecodable(1))
    hub.weigh(1)
    async with bridge(tmp_path, fhir) as rig:
        receipt = await rig.relayed(hub.batch())
        assert receipt.next == 4
        assert len(fhir.observations()) == 2
        (item,) = rig.ledger.quarantine.items()
        assert (item.kind, item.reason, item.seq, item.epoch) == ("reading", "undecodable", 2, hub.epoch)


async def test_a_reading_that_the_server_refuses_is_isolated_and_quarantined_with_the_servers_words(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(4)

    def heavy(resource: dict[str, Any]) -> str | None:
        return "too heavy" if resource.get("valueQuantity", {}).get("value") == 60.010 else None

    fhir.refuse = heavy
    async with bridge(tmp_path, fhir) as rig:
        receipt = await rig.relayed(hub.batch())
        assert (receipt.next, receipt.refused) == (5, None)
        assert len(fhir.observations()) == 3
        (item,) = rig.ledger.quarantine.items()
        assert (item.reason, item.detail, item.seq) == ("fhir-refused", "HTTP 422: too heavy", 3)
        fhir.refuse = lambda _: None
        assert item.reading_id is not None
        tally = await rig.writer.redrive([item.reading_id])
        assert (tally.written, tally.quarantined) == (1, 0)
        assert len(fhir.observations()) == 4
        assert rig.ledger.quarantine.items() == ()
        assert rig.ledger.quarantine.items(resolved=True)[0].resolved_us is not None


async def test_a_reading_of_nobody_waits_in_quarantine_until_its_device_is_assigned(
    tmp_path: Path, fhir: FakeFhir
) -> None:
    hub = Hub()
    enrol(tmp_path, hub, patient=None)
    hub.weigh(1)
    async with bridge(tmp_path, fhir) as rig:
        receipt = await rig.relayed(hub.batch())
        assert receipt.next == 2
        (item,) = rig.ledger.quarantine.items()
        assert item.reason == NO_PATIENT
        assert fhir.requests == []
        assert item.reading_id is not None
        assert (await rig.writer.redrive([item.reading_id])).quarantined == 1
        assert rig.ledger.quarantine.items()[0].count == 2
        rig.ledger.registry.assign(hub.name, Assignment(device=ADDRESS, patient="Patient/x"), now_us=START_US)
        assert (await rig.writer.redrive([item.reading_id])).written == 1
        assert [each["subject"]["reference"] for each in fhir.observations()] == ["Patient/x"]


async def test_a_user_of_the_device_that_nobody_is_assigned_to_is_nobody(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.take(weight(60_000, user=1), weight(70_000, after_us=1, user=2), weight(80_000, after_us=2))
    async with bridge(tmp_path, fhir) as rig:
        for_one = Assignment(device=ADDRESS, user=1, patient="Patient/one")
        rig.ledger.registry.assign(hub.name, for_one, now_us=START_US)
        await rig.relayed(hub.batch())
        assert [each["subject"]["reference"] for each in fhir.observations()] == ["Patient/one"]
        assert [(item.reason, item.seq) for item in rig.ledger.quarantine.items()] == [(NO_PATIENT, 3), (NO_PATIENT, 2)]


async def test_a_stored_measurement_that_a_device_sends_twice_is_written_once(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.take(stored_weight(60_000), stored_weight(60_000, after_us=1_000_000))
    hub.take(stored_weight(60_000, after_us=90_000_000))
    async with bridge(tmp_path, fhir) as rig:
        await rig.relayed(hub.batch(1, 2))
        weights = [each for each in fhir.observations() if each["subject"]["reference"] == "Patient/abc"]
        assert len(weights) == 1
        receipt = await rig.relayed(hub.batch(3, 3))
        assert receipt.next == 4
        summary = rig.ledger.summary()
        assert (summary.written, summary.quarantined) == (3, 0)
        weights = [each for each in fhir.observations() if each["subject"]["reference"] == "Patient/abc"]
        assert len(weights) == 1


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([lost_request], id="no connection"),
        pytest.param([lost_answer], id="time-out after the server did it"),
        pytest.param([answer(503), answer(500)], id="5xx"),
        pytest.param([answer(429, **{"retry-after": "0"})], id="429"),
        pytest.param([answer(401), answer(403), answer(404)], id="no access, wrong address"),
        pytest.param([answer(200)], id="an empty 200"),
        pytest.param([lost_answer, lost_request, answer(503), lost_answer], id="one after the other"),
        pytest.param([lambda *_: outcome(409, "conflict")], id="a conflict that passes"),
    ],
)
async def test_after_an_unknown_outcome_the_server_is_asked_first_and_nothing_is_written_twice(
    tmp_path: Path, hub: Hub, fhir: FakeFhir, faults: list[Any]
) -> None:
    hub.weigh(2)
    fhir.faults.extend(faults)
    async with bridge(tmp_path, fhir) as rig:
        receipt = await rig.relayed(hub.batch())
        assert (receipt.next, receipt.refused) == (3, None)
        assert len(fhir.identifiers()) == len(set(fhir.identifiers())) == 2
        assert rig.ledger.quarantine.items() == ()
        assert fhir.requests[1] == "/Observation/_search"


async def test_while_the_fhir_server_is_down_nothing_is_acknowledged_and_nothing_lost(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(2)
    down = True

    def dead(request: Any, work: Any) -> Any:
        fhir.faults.append(dead) if down else None
        return lost_request(request, work) if down else work()

    fhir.faults.append(dead)
    async with bridge(tmp_path, fhir) as rig:
        rig.deliver(hub.batch(1, 1))
        rig.deliver(hub.batch(2, 2))
        while len(fhir.requests) < 20:  # noqa: ASYNC110 - the server counts; it has no event to wait for
            await asyncio.sleep(0)
        assert rig.acknowledged == []
        assert rig.published == []
        down = False
        async with asyncio.timeout(5):
            await rig.relay.drained()
        assert len(rig.acknowledged) == 2
        assert len(set(fhir.identifiers())) == 2


async def test_an_observation_that_the_server_stored_without_saying_where_is_found_by_search(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(1)
    fhir.locations = False
    async with bridge(tmp_path, fhir) as rig:
        await rig.relayed(hub.batch())
        assert len(fhir.observations()) == 1
        assert rig.ledger.summary().written == 1


async def test_hubs_are_served_side_by_side_and_each_in_its_order(tmp_path: Path, fhir: FakeFhir) -> None:
    hubs = [Hub(name=f"hub-{number}") for number in range(8)]
    for number, hub in enumerate(hubs):
        enrol(tmp_path, hub)
        hub.take(*[weight(60_000, after_us=10 * number + each) for each in range(3)])
    async with bridge(tmp_path, fhir) as rig:
        for seq in (1, 2, 3):
            for hub in hubs:
                rig.deliver(hub.batch(seq, seq), hub=hub.name)
        async with asyncio.timeout(20):
            await rig.relay.drained()
        assert len(set(fhir.identifiers())) == 24
        for hub in hubs:
            assert [each.next for each in rig.receipts if each.hub == hub.name] == [2, 3, 4]


async def test_a_fault_of_ours_stops_one_batch_and_its_hub_keeps_its_readings(
    tmp_path: Path, hub: Hub, fhir: FakeFhir, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.weigh(2)
    async with bridge(tmp_path, fhir) as rig:
        with monkeypatch.context() as broken:
            broken.setattr(rig.ledger, "history", lambda _: 1 / 0)
            rig.deliver(hub.batch())
            async with asyncio.timeout(5):
                await rig.relay.drained()
        assert rig.published == []
        assert len(rig.acknowledged) == 1
        receipt = await rig.relayed(hub.batch())
        assert receipt.next == 3


async def test_a_redelivery_that_the_broker_owes_is_no_replay(tmp_path: Path, hub: Hub, fhir: FakeFhir) -> None:
    hub.weigh(1)
    async with bridge(tmp_path, fhir) as rig:
        rig.deliver(hub.batch(), heard=False)
        await rig.relay.drained()
        receipt = await rig.relayed(hub.batch())
        assert (receipt.refused, receipt.next) == (None, 2)
        assert rig.ledger.quarantine.items() == ()


async def test_the_bridges_own_key_signs_every_receipt(tmp_path: Path, hub: Hub, fhir: FakeFhir) -> None:
    hub.weigh(1)
    async with bridge(tmp_path, fhir) as rig:
        await rig.relayed(hub.batch())
        await rig.relayed(b"noise")
        assert {receipt.kid for receipt in rig.receipts} == {KeySigner(BRIDGE_KEY).kid}


@pytest.mark.parametrize("posted", [True, False], ids=["the server has it", "the server has it not"])
async def test_a_reading_that_would_be_translated_otherwise_today_is_still_written_once(
    tmp_path: Path, hub: Hub, fhir: FakeFhir, posted: bool
) -> None:
    hub.weigh(1)
    fhir.faults.append(lost_answer if posted else lost_request)
    async with bridge(tmp_path, fhir) as rig:
        fhir.faults.append(stall := Stall())
        rig.deliver(hub.batch())
        await stall.reached.wait()
    before = fhir.identifiers()
    assert len(before) == int(posted)
    async with bridge(tmp_path, fhir, identifier_key=b"another" + bytes(25)) as rig:
        async with asyncio.timeout(5):
            await rig.relay.drained()
        assert rig.ledger.summary().written == 1
        assert len(fhir.identifiers()) == 1
        assert not posted or fhir.identifiers() == before


class Stall:
    """A request that is never answered; the bridge dies meanwhile."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    def __call__(self, request: Any, _work: Any) -> Any:
        self.reached.set()
        return lost_request(request, _work)


async def test_an_observation_that_the_server_says_it_stored_but_never_finds_is_not_waited_for_for_ever(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(1)
    empty = {"resourceType": "Bundle", "entry": []}
    fhir.faults.extend([lambda *_: httpx.Response(200, json=empty)] * 20)
    async with bridge(tmp_path, fhir) as rig:
        receipt = await rig.relayed(hub.batch())
        assert receipt.next == 2
        assert [item.reason for item in rig.ledger.quarantine.items()] == ["fhir-not-found"]


async def test_a_conflict_that_does_not_pass_is_not_waited_for_for_ever(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(1)

    def conflict(request: Any, work: Any) -> Any:
        fhir.faults.append(conflict)
        return work() if request.url.path.endswith("_search") else outcome(409, "conflict")

    fhir.faults.append(conflict)
    async with bridge(tmp_path, fhir) as rig:
        await rig.relayed(hub.batch())
        (item,) = rig.ledger.quarantine.items()
        assert (item.reason, item.detail) == ("fhir-refused", "HTTP 409: conflict")


async def test_observations_that_are_there_twice_already_count_as_there(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(1)
    async with bridge(tmp_path, fhir) as rig:
        await rig.relayed(hub.batch())
    (url,) = [each for each in fhir.resources if each.startswith("Observation")]
    fhir.resources["Observation/twin"] = fhir.resources[url]
    (tmp_path / "other").mkdir()
    enrol(tmp_path / "other", hub)
    async with bridge(tmp_path / "other", fhir) as rig:
        receipt = await rig.relayed(hub.batch())
        assert (receipt.next, rig.ledger.summary().written) == (2, 1)
        assert rig.ledger.quarantine.items() == ()


async def test_a_server_that_cannot_search_is_left_to_conditional_create(
    tmp_path: Path, hub: Hub, fhir: FakeFhir
) -> None:
    hub.weigh(1)
    fhir.faults.extend([lost_answer, lambda *_: outcome(400, "no _search here")])
    async with bridge(tmp_path, fhir) as rig:
        await rig.relayed(hub.batch())
        assert len(fhir.identifiers()) == 1
        assert rig.ledger.summary().written == 1


async def test_a_ledger_that_cannot_be_written_holds_the_batch_until_it_can(
    tmp_path: Path, hub: Hub, fhir: FakeFhir, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.weigh(1)
    async with bridge(tmp_path, fhir) as rig:
        admit, failures = rig.ledger.admit, iter(range(3))

        def full_disk(*arguments: Any, **named: Any) -> None:
            if next(failures, None) is not None:
                raise DatabaseError("database or disk is full")
            admit(*arguments, **named)

        monkeypatch.setattr(rig.ledger, "admit", full_disk)
        receipt = await rig.relayed(hub.batch())
        assert receipt.next == 2
        assert len(fhir.identifiers()) == 1


async def test_a_fault_in_a_translation_quarantines_that_reading_and_spares_the_others(
    tmp_path: Path, hub: Hub, fhir: FakeFhir, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.weigh(3)
    translate = translate_reading

    def faulty(reading: Any, **named: Any) -> Any:
        if reading == weight(60_005, after_us=1_000_000):
            raise AssertionError("a fault of ours, with a value in its text: 60.005")
        return translate(reading, **named)

    monkeypatch.setattr("bridge.plan.translate_reading", faulty)
    async with bridge(tmp_path, fhir) as rig:
        receipt = await rig.relayed(hub.batch())
        assert receipt.next == 4
        (item,) = rig.ledger.quarantine.items()
        assert (item.seq, item.reason) == (2, "internal-error")
        assert "60.005" not in item.detail
