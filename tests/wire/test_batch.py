"""Batches: readings survive, the chain holds over every grouping, and nothing but what a hub signed is opened."""

import dataclasses
import hashlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.envelopes import (
    AGENT_REPORT,
    BOOT,
    BRIDGE_KEY,
    BRIDGE_SIGNER,
    CLOCK,
    EPOCH,
    HUB,
    HUB_KEY,
    HUB_SIGNER,
    READING,
    SERIAL_FRAME,
    clocks,
    evidence,
    hub_keys,
    numbers,
    opened_batch,
    sealed_again,
    sealed_batch,
)
from wire import batch, cbor, cose, sealing
from wire.batch import (
    GENESIS,
    MAX_INTEGER,
    MAX_READING_BYTES,
    HubKey,
    VerifiedBatch,
    VerifiedReading,
    chain,
    count_that_fit,
    encode_reading,
    open_batch,
    parse_reading,
    seal_batch,
)
from wire.errors import EnvelopeError, Refusal
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
    SerialContext,
    SerialFrame,
)
from wire.reading import (
    MAX_AGENT_CONTEXT_BYTES,
    MAX_APDU_BYTES,
    MAX_CONFIGURATION_BYTES,
    MAX_FRAME_BYTES,
    MAX_VALUE_BYTES,
)
from wire.receipt import Receipt, seal_receipt
from wire.x73.apdu import MAX_APDU

LARGEST = Reading(
    device=Device(address=bytes(6), random=True, name="x" * 248),
    received=Clock(
        wall_us=MAX_INTEGER, mono_us=MAX_INTEGER, boot=BOOT, state=ClockState.UNSET, uncertainty_ms=MAX_INTEGER
    ),
    characteristic=bytes(range(16)),
    value=bytes(MAX_VALUE_BYTES),
    context=(Context(characteristic=bytes(range(16)), mono_us=MAX_INTEGER, value=bytes(512)),) * 32,
)

LONGEST_NAME = Device(address=bytes(8), name="x" * 248)
LARGEST_OF_AN_AGENT = (
    AgentReport(
        device=LONGEST_NAME,
        received=LARGEST.received,
        configuration=bytes(MAX_CONFIGURATION_BYTES),
        apdu=bytes(23 * 1024),
        context=(AgentContext(kind=AgentContextKind.MDS, mono_us=MAX_INTEGER, value=bytes(MAX_AGENT_CONTEXT_BYTES)),)
        * 8,
    ),
    AgentReport(device=LONGEST_NAME, received=LARGEST.received, configuration=0x3FFF, apdu=bytes(MAX_APDU_BYTES)),
)
LARGEST_FRAME = SerialFrame(
    device=LARGEST.device,
    received=LARGEST.received,
    format=255,
    frame=bytes(MAX_FRAME_BYTES),
    context=(SerialContext(format=255, mono_us=MAX_INTEGER, frame=bytes(MAX_FRAME_BYTES)),) * 4,
)


def refusal(envelope: bytes, keys: Callable[[bytes], HubKey | None] = hub_keys) -> Refusal:
    with pytest.raises(EnvelopeError) as refused:
        open_batch(envelope, keys)
    return refused.value.reason


def payload_of(**changes: Any) -> dict[int, Any]:
    """The decoded payload of a sound batch of one reading, with other values under some keys."""
    payload: Any = cbor.decode(cose.read(sealed_batch(), batch.CONTENT_TYPE).payload)
    payload |= {int(key.removeprefix("key")): value for key, value in changes.items()}
    return dict(payload)


def signed(payload: Any) -> bytes:
    """An envelope with this hub's sound signature over any payload."""
    data = payload if isinstance(payload, bytes) else cbor.dumps(payload)
    return cose.seal(data, batch.CONTENT_TYPE, HUB_SIGNER)


def with_reading(of: Evidence = READING, **changes: Any) -> dict[int, Any]:
    """A payload whose reading has other values under some keys."""
    reading: Any = cbor.decode(encode_reading(of))
    changed = reading | {int(key.removeprefix("key")): value for key, value in changes.items()}
    return payload_of(key7=[{key: value for key, value in changed.items() if value is not ...}])


# Readings.


@given(evidence)
def test_every_reading_survives_storing(reading: Evidence) -> None:
    encoded = encode_reading(reading)
    again = parse_reading(encoded)
    assert reading == again
    assert encoded == encode_reading(again)


@given(evidence)
def test_readings_are_written_as_any_deterministic_cbor_encoder_would_write_them(reading: Evidence) -> None:
    encoded = encode_reading(reading)
    assert encoded == cbor.dumps(cbor.loads(encoded, max_bytes=batch.MAX_READING_BYTES))


@pytest.mark.parametrize(
    "largest", [LARGEST, *LARGEST_OF_AN_AGENT, LARGEST_FRAME], ids=lambda each: type(each).__name__
)
def test_the_largest_lawful_readings_survive_storing_and_fit_a_batch(largest: Evidence) -> None:
    encoded = encode_reading(largest)
    assert len(encoded) <= MAX_READING_BYTES
    assert parse_reading(encoded) == largest
    assert count_that_fit([encoded]) == 1
    assert opened_batch(sealed_batch(largest)).readings[0].reading == largest


def in_the_worst_envelope(encoded: list[bytes]) -> bytes:
    """These readings in the envelope that takes most beside them."""
    return seal_batch(
        hub="h" * 36,
        epoch=EPOCH,
        first=MAX_INTEGER - 64,
        previous=bytes(32),
        oldest=MAX_INTEGER - 64,
        readings=encoded,
        sealed=LARGEST.received,
        signer=HUB_SIGNER,
    )


def test_a_reading_of_the_most_bytes_fits_the_worst_envelope() -> None:
    largest = LARGEST_OF_AN_AGENT[1]
    room = MAX_READING_BYTES - len(encode_reading(largest)) + 1
    fullest = dataclasses.replace(largest, configuration=bytes(room))
    encoded = encode_reading(fullest)
    assert len(encoded) == MAX_READING_BYTES
    assert count_that_fit([encoded]) == 1
    envelope = in_the_worst_envelope([encoded])
    assert len(envelope) <= cose.MAX_ENVELOPE_BYTES
    with pytest.raises(EnvelopeError):
        encode_reading(dataclasses.replace(fullest, configuration=bytes(room + 1)))


def test_the_longest_apdu_that_is_stored_is_the_longest_of_the_standard() -> None:
    assert MAX_APDU_BYTES == MAX_APDU


@pytest.mark.parametrize(
    "changes",
    [
        {"value": bytes(32 * 1024 + 1)},
        {"characteristic": -1},
        {"characteristic": 0x10000},
        {"characteristic": bytes(15)},
        {"characteristic": bytes.fromhex("00002a5e00001000800000805f9b34fb")},
        {"context": (Context(characteristic=1, mono_us=0, value=b""),) * 33},
        {"context": (Context(characteristic=1, mono_us=-1, value=b""),)},
        {"context": (Context(characteristic=1, mono_us=0, value=bytes(513)),)},
        {"device": Device(address=bytes(5))},
        {"device": Device(address=bytes(6), name="æ" * 125)},
        {"device": Device(address=bytes(6), name="\ud800")},
        {"received": dataclasses.replace(CLOCK, wall_us=-1)},
        {"received": dataclasses.replace(CLOCK, mono_us=1 << 53)},
        {"received": dataclasses.replace(CLOCK, boot=bytes(15))},
        {"received": dataclasses.replace(CLOCK, uncertainty_ms=-1)},
    ],
    ids=str,
)
def test_a_reading_out_of_bounds_is_not_stored(changes: dict[str, Any]) -> None:
    not_stored(dataclasses.replace(READING, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"device": Device(address=bytes(6))},
        {"device": Device(address=bytes(8), random=True)},
        {"configuration": 0},
        {"configuration": 0x4000},
        {"configuration": b""},
        {"configuration": bytes(8 * 1024 + 1)},
        {"apdu": b""},
        {"apdu": bytes(64_513)},
        {"context": AGENT_REPORT.context * 9},
        {"context": (AgentContext(kind=AgentContextKind.MDS, mono_us=-1, value=b""),)},
        {"context": (AgentContext(kind=AgentContextKind.MDS, mono_us=0, value=bytes(4097)),)},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_an_agents_report_out_of_bounds_is_not_stored(changes: dict[str, Any]) -> None:
    not_stored(dataclasses.replace(AGENT_REPORT, **changes))


@pytest.mark.parametrize(
    "changes",
    [{"device": Device(address=bytes(8))}, {"format": 0}, {"format": 256}, {"frame": b""}, {"frame": bytes(513)}],
    ids=lambda changes: str(changes)[:60],
)
def test_a_frame_out_of_bounds_is_not_stored(changes: dict[str, Any]) -> None:
    not_stored(dataclasses.replace(SERIAL_FRAME, **changes))


def not_stored(reading: Evidence) -> None:
    with pytest.raises(EnvelopeError) as refused:
        encode_reading(reading)
    assert refused.value.reason is Refusal.MALFORMED


def test_a_hub_that_stores_readings_loads_no_decoder() -> None:
    loaded = "import sys, wire.batch; print(*(name for name in sys.modules if name.startswith('wire.')))"
    names = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.split()
    assert "wire.reading" in names
    assert not [name for name in names if name.startswith(("wire.x73", "wire.serial", "wire.gatt", "wire.measurement"))]


def test_uuids_that_only_resemble_short_ones_are_written_in_full() -> None:
    for uuid in ("00012a5e00001000800000805f9b34fb", "00002a5e00001000800000805f9b34fc"):
        reading = dataclasses.replace(READING, characteristic=bytes.fromhex(uuid))
        assert reading == parse_reading(encode_reading(reading))


@pytest.mark.parametrize("damage", [b"", b"\xa0", b"\x80", b"\x01", b"\xff", bytes(64 * 1024)], ids=len)
def test_damaged_readings_are_not_parsed(damage: bytes) -> None:
    with pytest.raises(EnvelopeError):
        parse_reading(damage)
    with pytest.raises(EnvelopeError):
        parse_reading(encode_reading(READING) + damage[:1] if damage else b"")


# The chain.


def test_the_chain_is_the_hash_that_the_document_says() -> None:
    encoded = encode_reading(READING)
    expected = hashlib.sha256(GENESIS + hashlib.sha256(encoded).digest()).digest()
    assert expected == chain(GENESIS, encoded) == opened_batch(sealed_batch()).readings[0].chain


@given(st.lists(evidence, min_size=1, max_size=8), st.data())
@settings(max_examples=30)
def test_every_grouping_into_batches_proves_the_same_chain(several: list[Evidence], data: st.DataObject) -> None:
    whole = opened_batch(sealed_batch(*several))
    cut = data.draw(st.integers(1, len(several)))
    head = opened_batch(sealed_batch(*several[:cut]))
    parts = list(head.readings)
    if cut < len(several):
        tail = opened_batch(sealed_batch(*several[cut:], first=cut + 1, previous=head.readings[-1].chain))
        parts += tail.readings
    assert [(each.seq, each.encoded, each.chain) for each in whole.readings] == [
        (each.seq, each.encoded, each.chain) for each in parts
    ]


# Batches.


@given(
    several=st.lists(evidence, min_size=1, max_size=4),
    header=st.fixed_dictionaries(
        {
            "epoch": st.binary(min_size=8, max_size=8),
            "first": st.integers(2, MAX_INTEGER - 10),
            "previous": st.binary(min_size=32, max_size=32),
            "sealed": clocks,
        }
    ),
    data=st.data(),
)
def test_every_batch_opens_to_what_was_sealed_and_seals_to_the_same_bytes(
    several: list[Evidence], header: dict[str, Any], data: st.DataObject
) -> None:
    header["oldest"] = data.draw(st.integers(1, header["first"]))
    envelope = sealed_batch(*several, **header)
    opened = opened_batch(envelope)
    assert opened.hub == HUB
    assert header == {name: getattr(opened, name) for name in header}
    assert several == [each.reading for each in opened.readings]
    assert [encode_reading(each) for each in several] == [each.encoded for each in opened.readings]
    assert list(range(header["first"], opened.last + 1)) == [each.seq for each in opened.readings]
    assert (hashlib.sha256(envelope).digest(), HUB_SIGNER.kid) == (opened.digest, opened.kid)
    assert envelope == sealed_again(opened)


def test_sixty_four_ordinary_readings_fit_and_a_sixty_fifth_is_left() -> None:
    encoded = [encode_reading(READING)] * 65
    assert count_that_fit(encoded) == 64
    assert opened_batch(sealed_batch(*[READING] * 64)).last == 64
    with pytest.raises(EnvelopeError):
        sealed_batch(*[READING] * 65)


@pytest.mark.parametrize(
    ("large", "most", "count"),
    [*((dataclasses.replace(LARGEST, value=bytes(512)), 3, count) for count in (1, 2, 3)), (LARGEST, 1, 1)],
)
def test_as_many_large_readings_are_taken_as_surely_fit(large: Reading, most: int, count: int) -> None:
    encoded = [encode_reading(large)] * count
    fitting = count_that_fit(encoded)
    assert fitting == count
    envelope = in_the_worst_envelope(encoded)
    assert len(envelope) <= cose.MAX_ENVELOPE_BYTES
    assert count_that_fit([*encoded, *[encode_reading(large)] * 3]) == most


def test_all_of_an_envelope_but_its_readings_is_within_the_room_kept_for_it() -> None:
    encoded = encode_reading(READING)
    envelope = in_the_worst_envelope([encoded])
    assert len(envelope) - len(encoded) + 5 <= sealing._BATCH_OVERHEAD_BYTES


def test_nothing_fits_of_nothing() -> None:
    assert count_that_fit([]) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"hub": ""},
        {"hub": "h" * 37},
        {"hub": "Hub"},
        {"hub": "hub/1"},
        {"hub": "hub-1\n"},
        {"epoch": bytes(7)},
        {"previous": bytes(31)},
        {"previous": b"\1" * 32},
        {"first": 0},
        {"first": -1},
        {"oldest": 0},
        {"oldest": 2},
        {"first": MAX_INTEGER, "previous": b"\1" * 32},
        {"sealed": dataclasses.replace(CLOCK, boot=b"")},
    ],
    ids=str,
)
def test_a_batch_out_of_bounds_is_not_sealed(changes: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError) as refused:
        sealed_batch(**changes)
    assert refused.value.reason is Refusal.MALFORMED


def test_a_batch_without_readings_is_not_sealed() -> None:
    with pytest.raises(EnvelopeError):
        seal_batch(
            hub=HUB, epoch=EPOCH, first=1, previous=GENESIS, oldest=1, readings=[], sealed=CLOCK, signer=HUB_SIGNER
        )


# Refusals.


def test_the_signed_helper_signs_what_opens() -> None:
    for each in (READING, AGENT_REPORT, SERIAL_FRAME):
        assert opened_batch(signed(with_reading(each))).readings[0].reading == each
    assert opened_batch(signed(payload_of())) == opened_batch(sealed_batch())
    assert opened_batch(signed(with_reading(key6=...))).readings[0].reading == dataclasses.replace(READING, context=())


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param([], id="an array"),
        pytest.param({}, id="an empty map"),
        pytest.param(payload_of(key1=0), id="version 0"),
        pytest.param(payload_of(key1=2), id="version 2"),
        pytest.param(payload_of(key1=True), id="version true"),
        pytest.param(payload_of(key9=0), id="one key more"),
        pytest.param({key: value for key, value in payload_of().items() if key != 8}, id="one key less"),
        pytest.param(payload_of(key2=b"hub-0001"), id="hub as bytes"),
        pytest.param(payload_of(key2="HUB"), id="hub in capitals"),
        pytest.param(payload_of(key3=bytes(9)), id="a long epoch"),
        pytest.param(payload_of(key4=0), id="first 0"),
        pytest.param(payload_of(key4=-1), id="first -1"),
        pytest.param(payload_of(key4=True), id="first true"),
        pytest.param(payload_of(key4=1 << 53), id="first 2^53"),
        pytest.param(payload_of(key5=b"\1" * 32), id="something before the first"),
        pytest.param(payload_of(key5=bytes(31)), id="a short chain value"),
        pytest.param(payload_of(key6=2), id="oldest after first"),
        pytest.param(payload_of(key6=0), id="oldest 0"),
        pytest.param(payload_of(key7=[]), id="no readings"),
        pytest.param(payload_of(key7={}), id="readings as a map"),
        pytest.param(payload_of(key7=payload_of()[7] * 65), id="65 readings"),
        pytest.param(payload_of(key7=[encode_reading(READING)]), id="a reading in a byte string"),
        pytest.param(payload_of(key8=[]), id="no clock"),
        pytest.param(payload_of(key8=[0, 0, BOOT, 3, None]), id="clock state 3"),
        pytest.param(payload_of(key8=[0, 0, BOOT, False, None]), id="clock state false"),
        pytest.param(payload_of(key8=[0, 0, BOOT, 0]), id="a short clock"),
        pytest.param(payload_of(key8=[0, 0, BOOT, 0, None, 0]), id="a long clock"),
        pytest.param(payload_of(key8=[-1, 0, BOOT, 0, None]), id="a clock before 1970"),
        pytest.param(payload_of(key8=[1 << 53, 0, BOOT, 0, None]), id="a clock after 2255"),
        pytest.param(payload_of(key8=[0, 0, BOOT[1:], 0, None]), id="a short boot id"),
        pytest.param(with_reading(key1=0), id="a reading of kind 0"),
        pytest.param(with_reading(key1=4), id="a reading of kind 4"),
        pytest.param(with_reading(key1=True), id="a reading of kind true"),
        pytest.param(with_reading(key1=[]), id="a reading of kind array"),
        pytest.param(with_reading(key1=2), id="a GATT value that says it is an agent's report"),
        pytest.param(with_reading(key1=3), id="a GATT value that says it is a frame"),
        pytest.param(with_reading(key7=0), id="a reading with one key more"),
        pytest.param(with_reading(key5=...), id="a reading without value"),
        pytest.param(with_reading(key2={}), id="a device without address"),
        pytest.param(with_reading(key2={1: bytes(7)}), id="a long address"),
        pytest.param(with_reading(key2={1: bytes(6), 2: False}), id="a default that is present: random"),
        pytest.param(with_reading(key2={1: bytes(6), 2: 1}), id="random as a number"),
        pytest.param(with_reading(key2={1: bytes(6), 3: ""}), id="a default that is present: name"),
        pytest.param(with_reading(key2={1: bytes(6), 3: b"x"}), id="name as bytes"),
        pytest.param(with_reading(key2={1: bytes(6), 3: "x" * 249}), id="a long name"),
        pytest.param(with_reading(key2={1: bytes(6), 4: 0}), id="a device with one key more"),
        pytest.param(with_reading(key4=0x10000), id="a characteristic of 17 bits"),
        pytest.param(with_reading(key4=bytes(4)), id="a characteristic of 4 bytes"),
        pytest.param(
            with_reading(key4=bytes.fromhex("00002a5e00001000800000805f9b34fb")), id="a short UUID written in full"
        ),
        pytest.param(with_reading(key5="text"), id="value as text"),
        pytest.param(with_reading(key5=bytes(32 * 1024 + 1)), id="a long value"),
        pytest.param(with_reading(key6=[]), id="a default that is present: context"),
        pytest.param(with_reading(key6={}), id="context as a map"),
        pytest.param(with_reading(key6=[[1, 0]]), id="a short context item"),
        pytest.param(with_reading(key6=[[1, 0, b"", 0]]), id="a long context item"),
        pytest.param(with_reading(key6=[[1, None, b""]]), id="a context item without time"),
        pytest.param(with_reading(key6=[[1, 0, b""]] * 33), id="33 context items"),
        pytest.param(with_reading(AGENT_REPORT, key1=1), id="an agent's report that says it is a GATT value"),
        pytest.param(with_reading(AGENT_REPORT, key2={1: bytes(6)}), id="an agent with a Bluetooth address"),
        pytest.param(with_reading(AGENT_REPORT, key2={1: bytes(8), 2: True}), id="a random system-id"),
        pytest.param(with_reading(AGENT_REPORT, key4=0), id="configuration 0"),
        pytest.param(with_reading(AGENT_REPORT, key4=0x4000), id="an extended configuration by its number"),
        pytest.param(with_reading(AGENT_REPORT, key4="x"), id="configuration as text"),
        pytest.param(with_reading(AGENT_REPORT, key5=...), id="a report without an APDU"),
        pytest.param(with_reading(AGENT_REPORT, key5=b""), id="an empty APDU"),
        pytest.param(with_reading(AGENT_REPORT, key6=[]), id="a default that is present: context of an agent"),
        pytest.param(with_reading(AGENT_REPORT, key6=[[0, 0, b""]]), id="context of kind 0"),
        pytest.param(with_reading(AGENT_REPORT, key6=[[6, 0, b""]]), id="context of kind 6"),
        pytest.param(with_reading(AGENT_REPORT, key6=[[True, 0, b""]]), id="context of kind true"),
        pytest.param(with_reading(AGENT_REPORT, key6=[[1, 0, b""]] * 9), id="9 context items of an agent"),
        pytest.param(with_reading(AGENT_REPORT, key6=[[1, 0, bytes(4097)]]), id="a long context item of an agent"),
        pytest.param(with_reading(SERIAL_FRAME, key2={1: bytes(8)}), id="a frame with a system-id"),
        pytest.param(with_reading(SERIAL_FRAME, key4=0), id="format 0"),
        pytest.param(with_reading(SERIAL_FRAME, key4=bytes(2)), id="format as bytes"),
        pytest.param(with_reading(SERIAL_FRAME, key5=b""), id="an empty frame"),
        pytest.param(with_reading(SERIAL_FRAME, key6=[]), id="a frame with an empty context"),
        pytest.param(with_reading(SERIAL_FRAME, key6=[[1, 0, b""]]), id="a frame with context"),
    ],
)
def test_a_soundly_signed_payload_that_breaks_a_rule_is_malformed(payload: Any) -> None:
    assert refusal(signed(payload)) is Refusal.MALFORMED


def test_a_soundly_signed_payload_in_another_form_is_malformed() -> None:
    sound = cose.read(sealed_batch(), batch.CONTENT_TYPE).payload
    for changed in (
        sound + b"\0",
        sound.replace(b"\x04\x01\x05", b"\x04\x18\x01\x05", 1),
        sound.replace(b"\x06\x01\x07\x81", b"\x06\x01\x07\x98\x01", 1),
        sound.replace(b"\x07\x81", b"\x07\x9f", 1),
        b"\xd9\xd9\xf7" + sound,
        b"\xb8\x08" + sound[1:],
        sound.replace(b"\xa8\x01\x01", b"\xa8\x01\xf9\x3c\x00", 1),
    ):
        assert changed != sound
        assert refusal(signed(changed)) is Refusal.MALFORMED


def test_a_truncated_batch_is_malformed() -> None:
    envelope = sealed_batch()
    for length in range(len(envelope)):
        assert refusal(envelope[:length]) is Refusal.MALFORMED


def test_no_bit_of_a_batch_can_be_flipped() -> None:
    envelope = sealed_batch()
    for at in range(0, len(envelope) * 8, 3):
        changed = bytearray(envelope)
        changed[at // 8] ^= 1 << at % 8
        assert refusal(bytes(changed)) in (Refusal.MALFORMED, Refusal.UNKNOWN_KEY, Refusal.BAD_SIGNATURE)


def test_a_batch_of_a_stranger_is_of_an_unknown_key() -> None:
    assert refusal(sealed_batch(signer=BRIDGE_SIGNER)) is Refusal.UNKNOWN_KEY


def test_a_batch_whose_readings_were_exchanged_has_a_bad_signature() -> None:
    one = sealed_batch()
    other = sealed_batch(dataclasses.replace(READING, value=bytes.fromhex("0063004800")))
    assert refusal(other[:-64] + one[-64:]) is Refusal.BAD_SIGNATURE


def test_a_hub_cannot_speak_for_another() -> None:
    assert refusal(sealed_batch(hub="hub-0002")) is Refusal.WRONG_HUB


def test_a_key_registered_to_another_hub_cannot_speak_for_this_one() -> None:
    other = HubKey(hub="hub-0002", public_key=HUB_KEY.public_key())
    assert refusal(sealed_batch(), lambda kid: other) is Refusal.WRONG_HUB


def test_a_receipt_is_not_a_batch() -> None:
    envelope = seal_receipt(Receipt(hub=HUB, time_us=0), BRIDGE_SIGNER)
    stranger = HubKey(hub=HUB, public_key=BRIDGE_KEY.public_key())
    assert refusal(envelope, lambda kid: stranger) is Refusal.MALFORMED


@given(numbers)
def test_refusals_tell_no_values(seq: int) -> None:
    with pytest.raises(EnvelopeError) as refused:
        opened_batch(signed(payload_of(key1=seq + 2)))
    assert str(seq + 2) not in str(refused.value).replace("than 1", "")


# Verified is a type.


@pytest.mark.parametrize("kind", [VerifiedBatch, VerifiedReading])
def test_only_opening_makes_a_verified_value(kind: type) -> None:
    with pytest.raises(TypeError):
        kind()


def test_a_verified_batch_cannot_be_changed_or_copied_with_changes() -> None:
    opened = opened_batch(sealed_batch())
    with pytest.raises(TypeError):
        dataclasses.replace(opened, hub="hub-0002")
    with pytest.raises(dataclasses.FrozenInstanceError):
        opened.hub = "hub-0002"  # type: ignore[misc]  # that it is read-only is the point


def test_verified_values_have_all_their_fields() -> None:
    opened = opened_batch(sealed_batch())
    for value in (opened, opened.readings[0]):
        assert repr(value)
        assert all(hasattr(value, field.name) for field in dataclasses.fields(value))
