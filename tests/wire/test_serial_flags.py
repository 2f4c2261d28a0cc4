"""Every combination of flags of the serial formats, built here and not by what decodes them.

Bits and fields as in NHS MediPi's N9560Measurement and opentele's packets; the codes are the standard's numbers.
"""

import itertools
from functools import reduce
from operator import xor
from typing import TypeAlias

import pytest

from wire.errors import DecodeError
from wire.measurement import Measurement, Special
from wire.serial import SerialFormat, decode, describe

Row: TypeAlias = tuple[int, str | None, str | None, tuple[str, ...]]

DF8, DF13, REPLY = SerialFormat.NONIN_DF8, SerialFormat.NONIN_DF13, SerialFormat.NONIN_REPLY
LUNG = SerialFormat.VITALOGRAPH_LUNG_MONITOR


def spot_check(
    status: int = 0x0200, pulse: int = 60, spo2: int = 99, time: str = "2026040112153007", more: bytes = b""
) -> bytes:
    """A data format 13 frame with its checksum."""
    data = bytes.fromhex(time) + status.to_bytes(2, "big") + pulse.to_bytes(2, "big") + bytes((0, spo2)) + more
    return bytes.fromhex("02000d00") + bytes((len(data),)) + data + bytes((sum(data) % 256, 3))


def blow(
    values: str = "363399091404", settings: str = "000000095090000", time: str = "130528104418", end: str = "0923"
) -> bytes:
    """A lung monitor frame with its checksum."""
    body = b"\x02FTD0000129406" + (values + settings + time + end).encode() + b"\x03"
    return body + bytes((reduce(xor, body),))


def row(measurement: Measurement) -> Row:
    assert not isinstance(measurement.value, Special)
    value = None if measurement.value is None else str(measurement.value)
    assert (measurement.absent == "not-performed") == (value is None and not measurement.bits)
    return int(measurement.code), value, measurement.unit, tuple(status.value for status in measurement.status)


def test_every_combination_of_the_two_status_bytes_of_data_format_8() -> None:
    for first, last in itertools.product(range(0x80, 0x100), range(0x80)):
        measurements = decode(DF8, bytes((first, 57, 98, last)))
        pulse = 57 + 128 * (first % 4)
        doubtful = first & 0b0011_0100 or last & 0b0000_1000
        status = ("questionable",) if doubtful else ("fully-qualified",) if last & 0b0010_0000 else ()
        assert [(150456, "98", "%", status), (149530, str(pulse), "/min", status)] == list(map(row, measurements[:2]))
        bits = {
            *({4} if last & 8 else ()),
            *({7} if first & 4 else ()),
            *({10} if first & 16 else ()),
            *({11} if first & 8 else ()),
            *({12} if first & 32 else ()),
        }
        assert [(150604, dict.fromkeys(sorted(bits), True))] * bool(bits) == [
            (part.code, part.bits) for part in measurements[2:]
        ]
        described = describe(DF8, bytes((first, 57, 98, last)))
        assert described["low battery"] == bool(last & 1)


@pytest.mark.parametrize(
    ("spo2", "pulse", "expected"),
    [
        (98, 511, [("98", ("questionable",)), (None, ())]),
        (127, 60, [(None, ()), ("60", ("questionable",))]),
        (127, 511, [(None, ()), (None, ())]),
        (0, 0, [("0", ("fully-qualified",)), ("0", ("fully-qualified",))]),
        (100, 510, [("100", ("fully-qualified",)), ("510", ("fully-qualified",))]),
    ],
)
def test_missing_numbers_are_not_performed_and_their_companions_questionable(
    spo2: int, pulse: int, expected: list[tuple[str | None, tuple[str, ...]]]
) -> None:
    frame = bytes((0x80 | pulse >> 7, pulse & 0x7F, spo2, 0x20))
    assert expected == [(row(part)[1], row(part)[3]) for part in decode(DF8, frame)]
    spot = decode(DF13, spot_check(pulse=pulse, spo2=spo2))
    quality = {"fully-qualified": ()}
    assert [(value, quality.get("".join(status), status)) for value, status in expected] == [
        (row(part)[1], row(part)[3]) for part in spot
    ]


@pytest.mark.parametrize("spo2", [*range(101, 127), *range(128, 256)])
def test_a_saturation_that_cannot_be_is_refused_at_its_byte(spo2: int) -> None:
    with pytest.raises(DecodeError) as refused:
        decode(DF13, spot_check(spo2=spo2))
    assert refused.value.offset == 18
    if spo2 < 128:
        with pytest.raises(DecodeError) as refused:
            decode(DF8, bytes((0x80, 57, spo2, 0)))
        assert refused.value.offset == 2


@pytest.mark.parametrize("place", range(4))
def test_bit_7_is_set_in_the_first_byte_of_data_format_8_and_nowhere_else(place: int) -> None:
    frame = bytearray((0x80, 57, 98, 0x20))
    frame[place] ^= 0x80
    with pytest.raises(DecodeError) as refused:
        decode(DF8, bytes(frame))
    assert refused.value.offset == place


def test_every_status_word_of_data_format_13() -> None:
    for status in range(0x10000):
        if status & 0xFCEE and status % 31:
            continue  # reserved bits: a sample of them
        frame = spot_check(status)
        stored = ("stored",) * bool(status & 0x0010)
        questionable = ("questionable",) * (not status & 0x0200)
        if status & 0x0100:
            expected: list[Row] = [(150456, None, None, stored), (149530, None, None, stored)]
        else:
            expected = [(150456, "99", "%", stored + questionable), (149530, "60", "/min", stored + questionable)]
        measurements = decode(DF13, frame)
        assert expected == list(map(row, measurements))
        assert {(150588,)} == {part.supplemental for part in measurements}
        assert {"2026-04-01T12:15:30.07"} == {part.device_time.isoformat() for part in measurements if part.device_time}
        assert describe(DF13, frame)["low battery"] == bool(status & 1)


def test_a_longer_spot_check_has_the_serial_number_or_what_is_to_come() -> None:
    with_number = spot_check(more=b"501493200")
    assert len(with_number) == 30
    assert describe(DF13, with_number)["serial number"] == "501493200"
    assert decode(DF13, with_number) == decode(DF13, spot_check())
    longer = spot_check(more=b"501493200" + bytes(range(41)))
    assert describe(DF13, longer)["serial number"] == "501493200"
    for size in (13, 65, 255):
        with pytest.raises(DecodeError) as refused:
            decode(DF13, bytes.fromhex("02000d00") + bytes((size,)) + bytes(size + 2))
        assert refused.value.offset == 4


def test_an_etx_inside_a_spot_check_does_not_end_it() -> None:
    assert str(decode(DF13, spot_check(pulse=0x03, spo2=3, time="2003030303030303"))[0].value) == "3"


@pytest.mark.parametrize(
    ("time", "offset"),
    [
        ("2026130112153000", 7),
        ("2026023012153000", 8),
        ("2026040124153000", 9),
        ("2026040112603000", 10),
        ("2026040112156000", 11),
        ("202604011215300A", 12),
        ("A026040112153000", 5),
        ("202F040112153000", 6),
        ("0001040112153000", 6),
    ],
)
def test_a_time_on_no_calendar_is_refused_at_its_byte(time: str, offset: int) -> None:
    with pytest.raises(DecodeError) as refused:
        decode(DF13, spot_check(time=time))
    assert refused.value.offset == offset


def test_an_unknown_date_is_kept_as_unknown() -> None:
    (spo2, _) = decode(DF13, spot_check(time="0000000012153000"))
    assert spo2.device_time is not None
    assert (spo2.device_time.isoformat(), spo2.device_time.known) == ("0000-00-00T12:15:30", False)


def test_a_bad_test_makes_every_value_of_the_blow_questionable() -> None:
    for end, status in (("0923", ()), ("1923", ("questionable",))):
        measurements = decode(LUNG, blow(end=end))
        assert {status} == {row(part)[3] for part in measurements}
        assert describe(LUNG, blow(end=end))["good test"] == (end[0] == "0")


def test_every_number_of_a_blow_has_its_place_and_two_decimals() -> None:
    expected = [(152586, "1.20", "L"), (152587, "3.45", "L"), (188936, "6", "%"), (188960, "9.99", "L/s")]
    assert expected == [row(part)[:3] for part in decode(LUNG, blow(values="120345006999"))]
    described = describe(LUNG, blow(settings="001002003004005", end="0678"))
    assert list(described.values()) == ["0000129406", True, "001", "002", "003", "004", "005", "678"]


def test_a_blow_of_nothing_is_a_number_and_questionable() -> None:
    assert [(row(part)[1], row(part)[3]) for part in decode(LUNG, blow(values="000399091404"))[:2]] == [
        ("0.00", ("questionable",)),
        ("3.99", ()),
    ]


@pytest.mark.parametrize(
    ("changed", "offset"),
    [
        ({"values": "3 3399091404"}, 15),
        ({"values": "36339909140x"}, 25),
        ({"settings": "000000095090-00"}, 38),
        ({"time": "13x528104418"}, 43),
        ({"time": "131328104418"}, 43),
        ({"time": "130231104418"}, 45),
        ({"time": "130528244418"}, 47),
        ({"time": "130528106018"}, 49),
        ({"time": "130528104460"}, 51),
        ({"end": "2923"}, 53),
        ({"end": "092 "}, 56),
    ],
)
def test_a_field_against_the_layout_of_a_blow_is_refused_at_its_byte(changed: dict[str, str], offset: int) -> None:
    with pytest.raises(DecodeError) as refused:
        decode(LUNG, blow(**changed))
    assert refused.value.offset == offset


def test_a_reply_with_another_beginning_or_end_is_refused_at_its_byte() -> None:
    reply = bytes.fromhex("02f40b02353031343933323030ca03")
    for place, offset in ((0, 0), (1, 1), (2, 2), (3, 3), (13, 13), (14, 14)):
        damaged = bytearray(reply)
        damaged[place] ^= 0x40
        with pytest.raises(DecodeError) as refused:
            decode(REPLY, bytes(damaged))
        assert refused.value.offset == offset
