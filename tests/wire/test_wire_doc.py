"""docs/wire.md is true: its worked example is rebuilt from its own numbers, and its tables are those of the code."""

import json
import re
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from wire import batch, cose, receipt
from wire import reading as reading_codec
from wire.batch import GENESIS, HubKey, VerifiedBatch, encode_reading, open_batch, seal_batch
from wire.cose import KeySigner
from wire.errors import Refusal
from wire.evidence import (
    AgentContext,
    AgentContextKind,
    AgentReport,
    Clock,
    ClockState,
    Context,
    Device,
    Evidence,
    Reading,
    SerialFrame,
)
from wire.receipt import Receipt, open_receipt, seal_receipt

DOCUMENT = (Path(__file__).parents[2] / "docs" / "wire.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"<!-- example: (\w+) -->\n```\w*\n(.*?)```", DOCUMENT, re.DOTALL))
GIVEN = json.loads(BLOCKS["given"])
HUB_KEY, BRIDGE_KEY = (
    ec.derive_private_key(int(GIVEN[name], 16), ec.SECP256R1()) for name in ("hub_private_key", "bridge_private_key")
)
EPOCH = bytes.fromhex(GIVEN["epoch"])


def octets(name: str) -> bytes:
    """The bytes of a block of hex, without its comments."""
    return bytes.fromhex(re.sub(r"#.*", "", BLOCKS[name]))


def clock(item: list[Any]) -> Clock:
    wall_us, mono_us, boot, state, uncertainty_ms = item
    return Clock(
        wall_us=wall_us,
        mono_us=mono_us,
        boot=bytes.fromhex(boot),
        state=ClockState(state),
        uncertainty_ms=uncertainty_ms,
    )


def reading(item: dict[str, Any]) -> Reading:
    device = item["device"]
    return Reading(
        device=Device(address=bytes.fromhex(device["address"]), random=device["random"], name=device["name"]),
        received=clock(item["received"]),
        characteristic=int(item["characteristic"], 16),
        value=bytes.fromhex(item["value"]),
        context=tuple(
            Context(characteristic=int(characteristic, 16), mono_us=mono_us, value=bytes.fromhex(value))
            for characteristic, mono_us, value in item["context"]
        ),
    )


def reading_of_another_kind(item: dict[str, Any]) -> Evidence:
    named, received = item["device"], clock(item["received"])
    device = Device(address=bytes.fromhex(named["address"]), random=named["random"], name=named["name"])
    if item["kind"] == 3:
        return SerialFrame(device=device, received=received, format=item["format"], frame=bytes.fromhex(item["frame"]))
    assert item["kind"] == 2
    return AgentReport(
        device=device,
        received=received,
        configuration=item["configuration"],
        apdu=bytes.fromhex(item["apdu"]),
        context=tuple(
            AgentContext(kind=AgentContextKind(kind), mono_us=mono_us, value=bytes.fromhex(value))
            for kind, mono_us, value in item["context"]
        ),
    )


def opened() -> VerifiedBatch:
    return open_batch(octets("batch"), lambda kid: HubKey(hub=GIVEN["hub"], public_key=HUB_KEY.public_key()))


def test_the_example_batch_is_what_its_numbers_make() -> None:
    envelope = seal_batch(
        hub=GIVEN["hub"],
        epoch=EPOCH,
        first=GIVEN["first"],
        previous=GENESIS,
        oldest=GIVEN["oldest"],
        readings=[encode_reading(reading(item)) for item in GIVEN["readings"]],
        sealed=clock(GIVEN["sealed"]),
        signer=KeySigner(HUB_KEY),
    )
    assert octets("batch") == envelope
    assert "The batch, 392 bytes:" in DOCUMENT
    assert len(envelope) == 392


def test_the_example_batch_opens_to_its_numbers() -> None:
    batch_ = opened()
    assert [reading(item) for item in GIVEN["readings"]] == [each.reading for each in batch_.readings]
    assert BLOCKS["chain"].split() == [each.chain.hex() for each in batch_.readings]


def test_the_example_receipt_is_what_its_numbers_make() -> None:
    batch_, said = opened(), GIVEN["receipt"]
    sealed = Receipt(
        hub=GIVEN["hub"],
        time_us=said["time_us"],
        epoch=EPOCH,
        next=said["next"],
        chain=batch_.readings[-1].chain,
        digest=batch_.digest,
    )
    assert octets("receipt") == seal_receipt(sealed, KeySigner(BRIDGE_KEY))
    assert "254 bytes" in DOCUMENT
    assert len(octets("receipt")) == 254
    verified = open_receipt(octets("receipt"), lambda kid: BRIDGE_KEY.public_key())
    assert (said["next"], batch_.digest) == (verified.next, verified.digest)


def test_the_example_kids_are_those_of_the_keys() -> None:
    assert BLOCKS["kids"].split() == [cose.thumbprint(key.public_key()).hex() for key in (HUB_KEY, BRIDGE_KEY)]


def test_the_examples_of_the_other_kinds_are_what_their_numbers_make() -> None:
    encoded = [encode_reading(reading_of_another_kind(item)) for item in json.loads(BLOCKS["more"])]
    assert octets("encoded") == b"".join(encoded)


def test_the_document_has_every_word_of_refusal_and_no_other() -> None:
    stated = re.search(r"^refusal = (.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert stated
    assert {word.value for word in Refusal} == set(re.findall(r'"([a-z-]+)"', stated[1]))


def test_the_documents_table_of_answers_is_the_codes() -> None:
    rows = re.findall(r"^\| (accepted|`.*?`) \| (yes|) ?\| (yes|) ?\| (yes|) ?\| yes \|$", DOCUMENT, re.MULTILINE)
    stated: dict[Refusal | None, frozenset[str]] = {}
    for answers, epoch, position, _ in rows:
        said = frozenset({"epoch"} if epoch else ()) | frozenset({"next", "chain"} if position else ())
        for word in re.findall(r"`([a-z-]+)`", answers) or [None]:
            stated[Refusal(word) if word else None] = said
    assert stated == receipt._RULES


def test_the_document_names_the_content_types_and_bounds_of_the_code() -> None:
    for stated in (
        batch.CONTENT_TYPE,
        receipt.CONTENT_TYPE,
        f"1*{batch.MAX_READINGS} reading",
        f"0..{batch.MAX_INTEGER}",
    ):
        assert stated in DOCUMENT
    assert f"(0..{reading_codec.MAX_VALUE_BYTES})" in DOCUMENT
    assert f"(1..{reading_codec.MAX_NAME_BYTES})" in DOCUMENT
    assert f"1*{reading_codec.MAX_CONTEXT} context" in DOCUMENT
    assert f"1*{reading_codec.MAX_AGENT_CONTEXT} agent-context" in DOCUMENT
    assert f"(1..{reading_codec.MAX_APDU_BYTES})" in DOCUMENT
    assert f"(1..{reading_codec.MAX_CONFIGURATION_BYTES})" in DOCUMENT
    assert f"(0..{reading_codec.MAX_AGENT_CONTEXT_BYTES})" in DOCUMENT
    assert f"(1..{reading_codec.MAX_FRAME_BYTES})" in DOCUMENT
    assert f"1*{reading_codec.MAX_SERIAL_CONTEXT} serial-context" in DOCUMENT
    assert f"{batch.MAX_READING_BYTES:,} bytes" in DOCUMENT
    assert f"{cose.MAX_ENVELOPE_BYTES:,} bytes" in DOCUMENT
