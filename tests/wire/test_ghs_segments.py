"""Segments of a health observation: a whole message, or nothing and a count."""

from decimal import Decimal

import pytest

from tests.wire.envelopes import CLOCK
from tests.wire.noise import inputs, source_of
from tests.wire.vectors import load
from wire.evidence import Device, Reading
from wire.gatt import decode
from wire.ghs_segments import MAX_MESSAGE, Segments
from wire.reading import encode_reading, parse_reading

(WHOLE,) = (vector.value for vector in load("gatt.json") if vector.id == "st/ghs_compound")


def cut(message: bytes, size: int, counter: int = 0) -> list[bytes]:
    """The notifications of a message with so many bytes of it in each."""
    pieces = [message[at : at + size] for at in range(1, len(message), size)]
    last = len(pieces) - 1
    return [
        bytes(((counter + at) % 64 << 2 | (at == last) << 1 | (at == 0),)) + piece for at, piece in enumerate(pieces)
    ]


@pytest.mark.parametrize("size", [1, 2, 19, 20, 55, 56, 200])
@pytest.mark.parametrize("counter", [0, 62])
def test_a_message_is_whole_again_however_it_was_cut(size: int, counter: int) -> None:
    segments = Segments()
    *before, message = [segments.receive(each) for each in cut(WHOLE, size, counter)]
    assert before == [None] * len(before)
    assert message is not None
    assert decode(0x2B8B, message) == decode(0x2B8B, WHOLE)
    assert segments.dropped == 0


def test_a_message_in_one_notification_is_itself() -> None:
    assert Segments().receive(WHOLE) == WHOLE


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_a_lost_segment_costs_its_message_and_not_the_next(lost: int) -> None:
    segments = Segments()
    first = cut(WHOLE, 14)
    assert len(first) == 4
    del first[lost]
    assert [segments.receive(each) for each in first] == [None] * 3
    assert segments.receive(WHOLE) == WHOLE
    assert segments.dropped > 0


def test_a_segment_twice_or_a_message_longer_than_a_value_is_dropped() -> None:
    segments = Segments()
    one, two, *rest = cut(WHOLE, 14)
    assert [segments.receive(each) for each in (one, two, two, *rest)] == [None] * 5
    assert segments.dropped == 4
    long = cut(bytes(MAX_MESSAGE + 1), 100)
    assert [segments.receive(each) for each in long] == [None] * len(long)
    *before, longest = [segments.receive(each) for each in cut(bytes(MAX_MESSAGE), 511)]
    assert before == [None] * len(before)
    assert len(longest or b"") == MAX_MESSAGE
    assert segments.receive(b"") is None


def test_half_a_minute_of_an_ecg_in_segments_is_one_reading_of_all_its_samples() -> None:
    """512 samples of two bytes a second, otherwise as in the vector `ours/ghs_samples`."""
    count = 30 * 512
    fields = bytes.fromhex("010001010200b2104c060000000800000a0000fd0102") + count.to_bytes(4, "little")
    samples = b"".join(sample.to_bytes(2, "little") for sample in range(count))
    said = b"\x03\x04" + len(fields + samples).to_bytes(2, "little") + fields + samples
    segments = Segments()
    *_, message = [segments.receive(each) for each in cut(said, 243)]
    reading = Reading(device=Device(address=bytes(6)), received=CLOCK, characteristic=0x2B8B, value=message or b"")
    evidence = parse_reading(encode_reading(reading))
    assert isinstance(evidence, Reading)
    (measurement,) = decode(0x2B8B, evidence.value)
    assert measurement.samples is not None
    assert measurement.samples.data == tuple(map(Decimal, range(count)))


def test_noise_never_breaks_the_joining() -> None:
    source = source_of("segments")
    segments = Segments()
    for _ in range(inputs()):
        message = segments.receive(source.randbytes(source.getrandbits(5)))
        assert message is None or (message[0] & 3 == 3 and len(message) <= MAX_MESSAGE)
    assert segments.receive(WHOLE) == WHOLE
