"""Noise on a serial line: only the declared error, whatever decodes can be printed and read back, no stream breaks."""

import random
from functools import reduce
from operator import xor

import pytest

from tests.wire.noise import INPUTS, source_of
from tests.wire.vectors import load
from wire.errors import DecodeError
from wire.measurement_json import dumps, loads
from wire.serial import LungMonitorStream, NoninStream, SerialFormat, decode, describe
from wire.serial.stream import GAP_S

SEEDS: dict[SerialFormat, list[bytes]] = {format_: [] for format_ in SerialFormat}
for vector in load("serial.json"):
    SEEDS[SerialFormat(vector.kind.removeprefix("serial:"))].append(vector.value)


def noise(source: random.Random, format_: SerialFormat) -> bytes:
    """Random bytes, or a good frame cut, lengthened or with a bit flipped, every other time with a right checksum."""
    dice = source.getrandbits(32)
    kind, size, where, seed = dice & 15, dice >> 4 & 31, dice >> 9 & 0xFFF, dice >> 21
    if kind < 3:
        return source.randbytes(size)
    frame = bytearray(SEEDS[format_][seed % len(SEEDS[format_])])
    if kind == 3:
        del frame[where % len(frame) :]
    elif kind == 4:
        frame += source.randbytes(1 + (size & 3))
    else:
        place, bit = where % len(frame), 1 << (size & 7)
        frame[place] ^= bit
        if kind & 1 and format_ is SerialFormat.VITALOGRAPH_LUNG_MONITOR:
            frame[-1] ^= bit
        elif kind & 1 and format_ is not SerialFormat.NONIN_DF8:
            frame[-2] = sum(frame[5 if format_ is SerialFormat.NONIN_DF13 else 3 : -2]) & 0xFF
    return bytes(frame)


@pytest.mark.parametrize("format_", list(SerialFormat))
def test_noise_decodes_or_is_refused_with_an_offset_inside_it(format_: SerialFormat) -> None:
    source = source_of(format_.value)
    good = 0
    for number in range(INPUTS):
        frame = noise(source, format_)
        try:
            measurements = decode(format_, frame)
        except DecodeError as refused:
            assert 0 <= refused.offset <= len(frame), frame.hex()  # noqa: PT017  the offset is the point
            continue
        good += 1
        if number % 100 == 0:
            assert describe(format_, frame)
            assert measurements == loads(dumps(measurements)), frame.hex()
    # The walk is worth something only if it meets both ends.
    assert INPUTS // 100 <= good < INPUTS


LIVE = [f for f in SerialFormat if f not in {SerialFormat.NONIN_REPLY, SerialFormat.NONIN_MEMORY}]


@pytest.mark.parametrize("format_", LIVE)
def test_a_noisy_line_breaks_no_stream_and_every_frame_of_it_is_whole(format_: SerialFormat) -> None:
    source = source_of(f"{format_.value} line")
    lung = format_ is SerialFormat.VITALOGRAPH_LUNG_MONITOR
    session = LungMonitorStream() if lung else NoninStream(format_, now=0.0)
    now, frames = 0.0, 0
    for _ in range(INPUTS // 20):
        now += source.choice((0.0, 0.01, 2.0))
        for frame in (*session.expire(now), *session.receive(noise(source, format_), now)):
            frames += 1
            if frame.format is SerialFormat.NONIN_DF8:
                assert [bool(byte & 0x80) for byte in frame.data] == [True, False, False, False]
            elif lung:
                assert reduce(xor, frame.data) == 0
            else:
                assert frame.data[-1] == 3
        session.to_send()
        deadline = session.deadline()
        assert deadline is None or deadline <= now + max(GAP_S, 5.0)
    assert frames == session.counts.frames > INPUTS // 500
