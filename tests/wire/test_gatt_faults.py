"""Noise: no decoder raises anything but its declared error, and whatever decodes can be printed and read back.

STAFET_FUZZ is the number of inputs for each decoder.
"""

import os
import random
from collections.abc import Callable

import pytest

from tests.wire.vectors import load
from wire.errors import DecodeError, WireError
from wire.evidence import Context
from wire.gatt import decode, describe, parse_uuid
from wire.gatt.device_information import device_information
from wire.measurement_json import dumps, loads

INPUTS = int(os.environ.get("STAFET_FUZZ", "100000"))

SEEDS: dict[int, list[bytes]] = {}
for vector in load("gatt.json"):
    SEEDS.setdefault(vector.characteristic, []).append(vector.value)
MEASURED = (0x2A18, 0x2A1C, 0x2A34, 0x2A35, 0x2A36, 0x2A37, 0x2A5E, 0x2A5F, 0x2A9C, 0x2A9D, 0x2AA7)
DESCRIBED = (
    *(0x2A08, 0x2A1D, 0x2A23, 0x2A29, 0x2A2B, 0x2A38, 0x2A49, 0x2A50, 0x2A51, 0x2A52, 0x2A60),
    *(0x2A9B, 0x2A9E, 0x2AA8, 0x2AA9, 0x2AAA, 0x2AAB),
)
# Bit fields of a fixed size and the parts of a session: a tenth meets every path many times over.
SIMPLE = {0x2A51, 0x2A52, 0x2A9B, 0x2AA8, 0x2AA9, 0x2AAA, 0x2AAB}


def noise(source: random.Random, seeds: list[bytes]) -> bytes:
    """Random bytes, or a good value with bits flipped, cut, doubled or lengthened."""
    dice = source.getrandbits(32)
    kind, size, where, seed = dice & 7, dice >> 3 & 31, dice >> 8 & 0xFFF, dice >> 20
    if kind < 3:
        return source.randbytes(size % 24)
    value = bytearray(seeds[seed % len(seeds)])
    if kind < 6:
        value[where % len(value)] ^= 1 << (size & 7)
    elif kind == 6:
        del value[where % len(value) :]
    else:
        value += source.randbytes(size & 7)
    return bytes(value)


def refusal(read: Callable[[int, bytes], object], characteristic: int, value: bytes) -> int | None:
    """The offset at which a value is refused, None if it is not; anything but DecodeError escapes and fails."""
    try:
        read(characteristic, value)
    except DecodeError as refused:
        return refused.offset
    return None


@pytest.mark.parametrize("characteristic", MEASURED, ids=lambda number: f"{number:04X}")
def test_noise_decodes_or_is_refused_with_an_offset_inside_it(characteristic: int) -> None:
    source = random.Random(characteristic)  # noqa: S311  (test data, not keys)
    good = 0
    for number in range(INPUTS):
        value = noise(source, SEEDS[characteristic])
        offset = refusal(decode, characteristic, value)
        if offset is not None:
            assert 0 <= offset <= len(value), value.hex()
            continue
        good += 1
        if number % 100 == 0:
            measurements = decode(characteristic, value)
            # A context may say nothing at all.
            assert measurements or characteristic == 0x2A34
            assert measurements == loads(dumps(measurements)), value.hex()
    # The walk is worth something only if it meets both ends.
    assert INPUTS // 100 <= good < INPUTS


@pytest.mark.parametrize("characteristic", DESCRIBED, ids=lambda number: f"{number:04X}")
def test_noise_in_a_context_value_is_described_or_refused(characteristic: int) -> None:
    source = random.Random(characteristic)  # noqa: S311  (test data, not keys)
    for _ in range(INPUTS // 10 if characteristic in SIMPLE else INPUTS):
        value = noise(source, SEEDS.get(characteristic, [b"\0"]))
        offset = refusal(describe, characteristic, value)
        assert offset is None or 0 <= offset <= len(value), value.hex()


def test_noise_in_device_information_costs_the_field_and_nothing_else() -> None:
    source = random.Random(0x180A)  # noqa: S311  (test data, not keys)
    for _ in range(INPUTS // 10):
        context = [
            Context(characteristic=number, mono_us=0, value=noise(source, SEEDS.get(number, [b"UA-651BLE"])))
            for number in (0x2A23, 0x2A24, 0x2A25, 0x2A26, 0x2A29, 0x2A50, 0x2A60)
        ]
        found = device_information(context)
        assert found.model is None or found.model.isprintable()


def test_noise_is_no_uuid_or_one_that_comes_back() -> None:
    source = random.Random(16)  # noqa: S311  (test data, not keys)
    alphabet = "0123456789abcdefABCDEF-xg \u0663"
    for _ in range(INPUTS // 10):
        text = "".join(source.choices(alphabet, k=source.choice((4, 6, 8, 32, 36))))
        try:
            uuid = parse_uuid(text)
        except WireError:
            continue
        assert isinstance(uuid, int) or len(uuid) == 16


def test_a_value_longer_than_any_attribute_is_refused() -> None:
    for characteristic in (*MEASURED, *DESCRIBED):
        with pytest.raises(DecodeError):
            decode(characteristic, b"\x10" + bytes(512))
