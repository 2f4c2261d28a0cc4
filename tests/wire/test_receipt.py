"""Receipts: what the bridge may say about a batch, and that a hub believes nobody else."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.envelopes import (
    BRIDGE_SIGNER,
    EPOCH,
    HUB,
    HUB_KEY,
    HUB_SIGNER,
    bridge_keys,
    numbers,
    sealed_batch,
)
from wire import cbor, cose, receipt
from wire.batch import GENESIS, MAX_INTEGER, digest
from wire.cose import PublicKey
from wire.errors import EnvelopeError, Refusal
from wire.receipt import Receipt, VerifiedReceipt, open_receipt, seal_receipt

DIGEST = digest(sealed_batch())
ACCEPTED = Receipt(hub=HUB, time_us=1, epoch=EPOCH, next=2, chain=bytes(range(32)), digest=DIGEST)
POSITION: dict[str, Any] = {"epoch": EPOCH, "next": 2, "chain": GENESIS}
EPOCH_ONLY: dict[str, Any] = {"epoch": EPOCH}
# What an answer to a batch must say of the position, written down a second time from docs/wire.md.
SAID: dict[Refusal | None, dict[str, Any]] = {
    None: POSITION,
    Refusal.REPLAYED: POSITION,
    Refusal.GAP: POSITION,
    Refusal.BROKEN_CHAIN: EPOCH_ONLY,
    Refusal.SEQUENCE_REUSED: EPOCH_ONLY,
    Refusal.MALFORMED: {},
    Refusal.UNKNOWN_KEY: {},
    Refusal.BAD_SIGNATURE: {},
    Refusal.WRONG_HUB: {},
}

positions = st.fixed_dictionaries(
    {
        "epoch": st.binary(min_size=8, max_size=8),
        "next": st.integers(1, MAX_INTEGER),
        "chain": st.binary(min_size=32, max_size=32),
    }
)
digests = st.binary(min_size=32, max_size=32)


def refusal(envelope: bytes, keys: Callable[[bytes], PublicKey | None] = bridge_keys) -> Refusal:
    with pytest.raises(EnvelopeError) as refused:
        open_receipt(envelope, keys)
    return refused.value.reason


def signed(payload: Any) -> bytes:
    data = payload if isinstance(payload, bytes) else cbor.dumps(payload)
    return cose.seal(data, receipt.CONTENT_TYPE, BRIDGE_SIGNER)


def payload_of(**changes: Any) -> dict[int, Any]:
    payload: Any = cbor.decode(cose.read(seal_receipt(ACCEPTED, BRIDGE_SIGNER), receipt.CONTENT_TYPE).payload)
    changed = payload | {int(key.removeprefix("key")): value for key, value in changes.items()}
    return {key: value for key, value in changed.items() if value is not ...}


@given(positions, numbers, digests)
def test_an_acceptance_opens_to_what_was_sealed(position: dict[str, Any], time_us: int, of: bytes) -> None:
    sealed = Receipt(hub=HUB, time_us=time_us, digest=of, **position)
    envelope = seal_receipt(sealed, BRIDGE_SIGNER)
    opened = open_receipt(envelope, bridge_keys)
    assert dataclasses.asdict(sealed) | {"kid": BRIDGE_SIGNER.kid} == dataclasses.asdict(opened)
    assert len(cose.read(envelope, receipt.CONTENT_TYPE).payload) <= receipt.MAX_RECEIPT_BYTES


@pytest.mark.parametrize("refused", [None, *Refusal], ids=str)
def test_every_answer_opens_to_what_was_sealed(refused: Refusal | None) -> None:
    sealed = Receipt(hub=HUB, time_us=7, refused=refused, digest=DIGEST, **SAID[refused])
    opened = open_receipt(seal_receipt(sealed, BRIDGE_SIGNER), bridge_keys)
    assert (refused, DIGEST) == (opened.refused, opened.digest)


@pytest.mark.parametrize("position", [{}, POSITION], ids=["the time", "the time and the position"])
def test_a_receipt_may_come_unasked(position: dict[str, Any]) -> None:
    opened = open_receipt(seal_receipt(Receipt(hub=HUB, time_us=7, **position), BRIDGE_SIGNER), bridge_keys)
    assert (opened.time_us, opened.refused, opened.digest) == (7, None, None)


@pytest.mark.parametrize("refused", [None, *Refusal], ids=str)
@pytest.mark.parametrize("names", [c for n in range(4) for c in itertools.combinations(POSITION, n)], ids=str)
def test_no_answer_says_more_or_less_of_the_position_than_it_may(
    refused: Refusal | None, names: tuple[str, ...]
) -> None:
    said = {name: POSITION[name] for name in names}
    if said == SAID[refused]:
        assert Receipt(hub=HUB, time_us=7, refused=refused, digest=DIGEST, **said).refused is refused
    else:
        with pytest.raises(EnvelopeError):
            Receipt(hub=HUB, time_us=7, refused=refused, digest=DIGEST, **said)


@pytest.mark.parametrize("names", [c for n in (1, 2) for c in itertools.combinations(POSITION, n)], ids=str)
def test_epoch_next_and_chain_come_unasked_together_or_not_at_all(names: tuple[str, ...]) -> None:
    with pytest.raises(EnvelopeError):
        Receipt(hub=HUB, time_us=7, **{name: POSITION[name] for name in names})


@pytest.mark.parametrize("refused", Refusal)
def test_a_refusal_names_what_it_refuses(refused: Refusal | None) -> None:
    with pytest.raises(EnvelopeError):
        Receipt(hub=HUB, time_us=7, refused=refused, **SAID[refused])


@pytest.mark.parametrize(
    "changes",
    [
        {"hub": "HUB"},
        {"hub": ""},
        {"time_us": -1},
        {"time_us": 1 << 53},
        {"epoch": bytes(7)},
        {"next": 0},
        {"next": 1 << 53},
        {"chain": bytes(31)},
        {"digest": bytes(31)},
    ],
    ids=str,
)
def test_a_receipt_out_of_bounds_does_not_exist(changes: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError):
        dataclasses.replace(ACCEPTED, **changes)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param([], id="an array"),
        pytest.param({}, id="an empty map"),
        pytest.param(payload_of(key1=2), id="version 2"),
        pytest.param(payload_of(key1=True), id="version true"),
        pytest.param(payload_of(key9=0), id="one key more"),
        pytest.param(payload_of(key3=...), id="no time"),
        pytest.param(payload_of(key3=True), id="time true"),
        pytest.param(payload_of(key2=b"hub-0001"), id="hub as bytes"),
        pytest.param(payload_of(key4=None), id="epoch null"),
        pytest.param(payload_of(key4=...), id="a position without epoch"),
        pytest.param(payload_of(key6=...), id="a position without chain"),
        pytest.param(payload_of(key5=0), id="next 0"),
        pytest.param(payload_of(key7="no such word"), id="an unknown word"),
        pytest.param(payload_of(key7="malformed"), id="a refusal with a position that it cannot know"),
        pytest.param(payload_of(key8=...) | {7: "gap"}, id="a refusal without digest"),
        pytest.param(payload_of(key8=bytes(600)), id="a long digest"),
        pytest.param(cbor.dumps(payload_of()) + b"\0", id="a byte after it"),
        pytest.param(b"\xb8\x07" + cbor.dumps(payload_of())[1:], id="a long head"),
    ],
)
def test_a_soundly_signed_payload_that_breaks_a_rule_is_malformed(payload: Any) -> None:
    assert refusal(signed(payload)) is Refusal.MALFORMED


def test_the_signed_helper_signs_what_opens() -> None:
    assert open_receipt(signed(payload_of()), bridge_keys).next == ACCEPTED.next


def test_a_hub_believes_only_its_bridge() -> None:
    assert refusal(seal_receipt(ACCEPTED, HUB_SIGNER)) is Refusal.UNKNOWN_KEY
    envelope = seal_receipt(ACCEPTED, BRIDGE_SIGNER)
    assert refusal(envelope, lambda kid: HUB_KEY.public_key()) is Refusal.BAD_SIGNATURE


def test_a_batch_is_not_a_receipt() -> None:
    assert refusal(sealed_batch(), lambda kid: HUB_KEY.public_key()) is Refusal.MALFORMED


def test_no_bit_of_a_receipt_can_be_flipped() -> None:
    envelope = seal_receipt(ACCEPTED, BRIDGE_SIGNER)
    for at in range(len(envelope) * 8):
        changed = bytearray(envelope)
        changed[at // 8] ^= 1 << at % 8
        assert refusal(bytes(changed)) in (Refusal.MALFORMED, Refusal.UNKNOWN_KEY, Refusal.BAD_SIGNATURE)


def test_only_opening_makes_a_verified_receipt() -> None:
    with pytest.raises(TypeError):
        VerifiedReceipt()
    opened = open_receipt(seal_receipt(ACCEPTED, BRIDGE_SIGNER), bridge_keys)
    with pytest.raises(TypeError):
        dataclasses.replace(opened, next=3)
