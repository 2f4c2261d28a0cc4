"""Bytes gone wrong in 100,000 ways: only EnvelopeError is raised, and nothing is accepted that was not sealed.

STAFET_FUZZ is the number of envelopes in all; the seed is fixed, so that a failure comes again.
"""

import os
import random
from collections.abc import Callable
from typing import Any

import cbor2
import pytest

from tests.wire.envelopes import (
    AGENT_REPORT,
    BRIDGE_SIGNER,
    EPOCH,
    HUB,
    HUB_SIGNER,
    READING,
    SERIAL_FRAME,
    bridge_keys,
    changed_bytes,
    changed_value,
    loose,
    opened_batch,
    sealed_again,
    sealed_batch,
)
from wire import batch, cose, receipt
from wire.batch import encode_reading, parse_reading
from wire.cose import Signer
from wire.errors import EnvelopeError, Refusal
from wire.evidence import Context, Device, Reading
from wire.receipt import Receipt, VerifiedReceipt, open_receipt, seal_receipt

COUNT = int(os.environ.get("STAFET_FUZZ", "100000"))
# Of COUNT; the other 75 percent are unsigned. Making a payload of values is the slow part.
HUB_PERCENT = {"bytes": 10, "values": 4, "form": 4}
BRIDGE_PERCENT = {"bytes": 3, "values": 2, "form": 2}
SECOND = Reading(
    device=Device(address=bytes.fromhex("c0ffee000002"), random=True),
    received=READING.received,
    characteristic=bytes(range(16)),
    value=b"",
    context=(Context(characteristic=bytes(range(16)), mono_us=0, value=bytes(24)),),
)
BATCH = sealed_batch(READING, SECOND, AGENT_REPORT, SERIAL_FRAME)
RECEIPT = seal_receipt(
    Receipt(hub=HUB, time_us=1, refused=Refusal.GAP, epoch=EPOCH, next=3, chain=bytes(32), digest=bytes(32)),
    BRIDGE_SIGNER,
)
BATCH_PAYLOAD = cose.read(BATCH, batch.CONTENT_TYPE).payload
RECEIPT_PAYLOAD = cose.read(RECEIPT, receipt.CONTENT_TYPE).payload


def opened_receipt(envelope: bytes) -> VerifiedReceipt:
    return open_receipt(envelope, bridge_keys)


@pytest.mark.parametrize(
    ("sound", "opened", "percent"), [(BATCH, opened_batch, 45), (RECEIPT, opened_receipt, 30)], ids=["batch", "receipt"]
)
def test_no_changed_envelope_is_accepted(sound: bytes, opened: Callable[[bytes], Any], percent: int) -> None:
    chance = repeatable(percent)
    assert opened(sound)
    for _ in range(COUNT * percent // 100):
        changed = changed_bytes(sound, chance) if chance.random() < 0.97 else chance.randbytes(chance.randrange(400))
        if changed != sound:
            with pytest.raises(EnvelopeError):
                opened(changed)


@pytest.mark.parametrize("how", ["bytes", "values", "form"])
def test_a_hub_with_a_sound_key_cannot_make_the_bridge_stumble(how: str) -> None:
    signed_and_opened(
        how=how,
        payload=BATCH_PAYLOAD,
        content_type=batch.CONTENT_TYPE,
        signer=HUB_SIGNER,
        opened=opened_batch,
        again=sealed_again,
        count=COUNT * HUB_PERCENT[how] // 100,
    )


@pytest.mark.parametrize("how", ["bytes", "values", "form"])
def test_a_bridge_with_a_sound_key_cannot_make_a_hub_stumble(how: str) -> None:
    signed_and_opened(
        how=how,
        payload=RECEIPT_PAYLOAD,
        content_type=receipt.CONTENT_TYPE,
        signer=BRIDGE_SIGNER,
        opened=opened_receipt,
        again=lambda opened: seal_receipt(opened, BRIDGE_SIGNER),
        count=COUNT * BRIDGE_PERCENT[how] // 100,
    )


def test_a_damaged_store_gives_a_reading_back_whole_or_not_at_all() -> None:
    chance = repeatable(3)
    stored = [encode_reading(each) for each in (READING, AGENT_REPORT, SERIAL_FRAME)]
    reasons: set[Refusal] = set()
    for turn in range(COUNT // 3):
        damaged = changed_bytes(stored[turn % 3], chance)
        try:
            reading = parse_reading(damaged)
        except EnvelopeError as error:
            reasons.add(error.reason)
        else:
            assert damaged == encode_reading(reading)
    assert reasons == {Refusal.MALFORMED}


def signed_and_opened(
    *,
    how: str,
    payload: bytes,
    content_type: str,
    signer: Signer,
    opened: Callable[[bytes], Any],
    again: Callable[[Any], bytes],
    count: int,
) -> None:
    """Sign changed payloads: each must be refused, or be the one form of what it is read as."""
    chance = repeatable(how)
    value = cbor2.loads(payload)
    accepted = 0
    reasons: set[Refusal] = set()
    for _ in range(count):
        match how:
            case "bytes":
                changed = changed_bytes(payload, chance)
            case "values":
                changed = loose(changed_value(value, chance), chance, 0)
            case _:
                changed = loose(value, chance, 0.01)
        envelope = cose.seal(changed, content_type, signer)
        try:
            message = opened(envelope)
        except EnvelopeError as error:
            reasons.add(error.reason)
        else:
            assert envelope == again(message)
            accepted += 1
    assert Refusal.MALFORMED in reasons
    assert reasons <= {Refusal.MALFORMED, Refusal.WRONG_HUB}
    assert 0 < accepted < count


def repeatable(seed: int | str) -> random.Random:
    return random.Random(seed)  # noqa: S311  (a test that can be repeated, not a secret)
