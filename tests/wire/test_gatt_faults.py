"""Noise: no decoder raises anything but its declared error, and whatever decodes can be printed and read back."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.wire.noise import inputs, noise, source_of
from tests.wire.test_gatt_devices import reading_of
from tests.wire.vectors import load
from wire.advertisement import decode_mi_scale
from wire.errors import DecodeError, WireError
from wire.evidence import Context
from wire.gatt import decode, decode_reading, describe, parse_uuid
from wire.gatt.device_information import device_information
from wire.measurement import Measurement
from wire.measurement_json import dumps, loads
from wire.omron import decode_record14

SEEDS: dict[int, list[bytes]] = {}
for vector in load("gatt.json"):
    SEEDS.setdefault(vector.characteristic, []).append(vector.value)
MEASURED = (
    *(0x2A18, 0x2A1C, 0x2A1E, 0x2A34, 0x2A35, 0x2A36, 0x2A37, 0x2A5E, 0x2A5F, 0x2A9C, 0x2A9D, 0x2AA7),
    *(0x2B34, 0x2B35, 0x2B36, 0x2B8B, 0x2BDD),
)
DESCRIBED = (
    *(
        0x2A08,
        0x2A0F,
        0x2A14,
        0x2A19,
        0x2A1D,
        0x2A21,
        0x2A23,
        0x2A29,
        0x2A2B,
        0x2A38,
        0x2A49,
        0x2A50,
        0x2A51,
        0x2A52,
        0x2A60,
    ),
    *(0x2A9B, 0x2A9E, 0x2AA8, 0x2AA9, 0x2AAA, 0x2AAB, 0x2AAC, 0x2BF1, 0x2BF2, 0x2BF3),
)
MAY_SAY_NOTHING = {0x2A34, 0x2B8B, 0x2BDD}
"""A context without a field, a bundle without an observation."""


def refusal(read: Callable[[int, bytes], object], characteristic: int, value: bytes) -> int | None:
    """The offset at which a value is refused, None if it is not; anything but DecodeError escapes and fails."""
    try:
        read(characteristic, value)
    except DecodeError as refused:
        return refused.offset
    return None


@pytest.mark.parametrize("characteristic", MEASURED, ids=lambda number: f"{number:04X}")
def test_noise_decodes_or_is_refused_with_an_offset_inside_it(characteristic: int) -> None:
    source = source_of(f"{characteristic:04X}")
    good, count = 0, inputs()
    for number in range(count):
        value = noise(source, SEEDS[characteristic])
        offset = refusal(decode, characteristic, value)
        if offset is not None:
            assert 0 <= offset <= len(value), value.hex()
            continue
        good += 1
        if number % 100 == 0:
            measurements = decode(characteristic, value)
            assert measurements or characteristic in MAY_SAY_NOTHING
            assert measurements == loads(dumps(measurements)), value.hex()
    # The walk is worth something only if it meets both ends.
    assert count // 100 <= good < count


@pytest.mark.parametrize("characteristic", DESCRIBED, ids=lambda number: f"{number:04X}")
def test_noise_in_a_context_value_is_described_or_refused(characteristic: int) -> None:
    source = source_of(f"{characteristic:04X}")
    for _ in range(inputs()):
        value = noise(source, SEEDS.get(characteristic, [b"\0"]))
        offset = refusal(describe, characteristic, value)
        assert offset is None or 0 <= offset <= len(value), value.hex()


DEVICES: dict[tuple[int | bytes, str], list[bytes]] = {}
for each in load("devices.json"):
    DEVICES.setdefault((each.uuid, each.name), []).append(each.value)
CONTEXTS = ((0x2AA7, 0x2AAA), (0x2AA7, 0x2AA8))


@pytest.mark.parametrize(("uuid", "name"), DEVICES, ids=str)
def test_noise_of_a_device_with_its_own_ways_decodes_or_is_refused(uuid: int | bytes, name: str) -> None:
    source = source_of(name)
    device = reading_of(uuid, b"", name=name)
    good, count = 0, inputs()
    for number in range(count):
        value = noise(source, DEVICES[uuid, name])
        try:
            measurements = decode_reading(replace(device, value=value))
        except DecodeError as refused:
            assert 0 <= refused.offset <= len(value), value.hex()  # noqa: PT017  the offset is the point
            continue
        good += 1
        if number % 100 == 0:
            assert measurements == loads(dumps(measurements)), value.hex()
    assert count // 100 <= good < count


@pytest.mark.parametrize(("characteristic", "beside"), CONTEXTS, ids=lambda number: f"{number:04X}")
def test_noise_beside_a_value_costs_what_it_would_have_told_and_nothing_else(characteristic: int, beside: int) -> None:
    source = source_of(f"{characteristic:04X} beside {beside:04X}")
    values = [value for value in SEEDS[characteristic] if refusal(decode, characteristic, value) is None]
    told = {value: len(decode(characteristic, value)) for value in values}
    for number in range(inputs(20)):
        value, context = values[number % len(values)], noise(source, SEEDS[beside])
        said = Context(characteristic=beside, mono_us=0, value=context)
        reading = replace(reading_of(characteristic, value), context=(said,))
        assert len(decode_reading(reading)) == told[value], context.hex()


RECORDS: dict[str, list[bytes]] = {}
for record in load("records.json"):
    RECORDS.setdefault(record.kind, []).append(record.value)


@pytest.mark.parametrize(
    ("kind", "read"), [("omron-record14", decode_record14), ("service-data:181D", decode_mi_scale)]
)
def test_noise_is_no_record_or_one_that_comes_back(kind: str, read: Callable[[bytes], tuple[Measurement, ...]]) -> None:
    source = source_of(kind)
    for number in range(inputs()):
        value = noise(source, RECORDS[kind])
        try:
            measurements = read(value)
        except DecodeError as refused:
            assert 0 <= refused.offset <= len(value), value.hex()  # noqa: PT017  the offset is the point
            continue
        if number % 100 == 0:
            assert measurements == loads(dumps(measurements)), value.hex()


def test_noise_in_device_information_costs_the_field_and_nothing_else() -> None:
    source = source_of("device information")
    for _ in range(inputs(10)):
        context = [
            Context(characteristic=number, mono_us=0, value=noise(source, SEEDS.get(number, [b"UA-651BLE"])))
            for number in (0x2A23, 0x2A24, 0x2A25, 0x2A26, 0x2A29, 0x2A50, 0x2A60)
        ]
        found = device_information(context)
        assert found.model is None or found.model.isprintable()


def test_noise_is_no_uuid_or_one_that_comes_back() -> None:
    source = source_of("uuid")
    alphabet = "0123456789abcdefABCDEF-xg \u0663"
    for _ in range(inputs()):
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
