"""Records that devices store: glucose with its context, continuous glucose, body composition, and how they are asked for.

The copied vectors' words are checked against the typed records; `test_gatt_vectors` holds the measurements.
"""

from decimal import Decimal
from typing import Any

import pytest

from tests.wire.vectors import Vector, load
from wire.errors import DecodeError, WireError
from wire.gatt import body_composition, cgm, glucose, racp
from wire.gatt.date_time import DST_MIN
from wire.gatt.racp import Count, Opcode, Operator, Request, Response, Result
from wire.measurement import DeviceTime, Measurement
from wire.nomenclature import Mdc

VECTORS = [v for v in load("gatt.json") if not v.id.startswith("ours/") and "invalid" not in v.expected]


def of(characteristic: int) -> list[Vector]:
    return [vector for vector in VECTORS if vector.characteristic == characteristic]


def at(text: str) -> DeviceTime:
    return DeviceTime.fromisoformat(text)


# Glucose


@pytest.mark.parametrize("vector", of(0x2A18), ids=str)
def test_a_glucose_record_of_another_implementation_means_what_its_source_states(vector: Vector) -> None:
    record = glucose.read_record(vector.value)
    factor, unit = {"kg/L": (100_000, "mg/dL"), "mol/L": (1000, "mmol/L")}[vector.expected["unit"]]
    assert record.concentration == Decimal(vector.expected["concentration"]) * factor
    said: dict[str, Any] = {
        "seq": record.sequence,
        "type": record.kind,
        "location": record.location,
        "status": record.status,
        "context_follows": record.context_follows,
        "timestamp": record.time.isoformat(),
    }
    assert record.unit == unit
    for word in vector.expected.keys() - {"unit", "concentration"}:
        assert vector.expected[word] == said[word], word


@pytest.mark.parametrize("vector", of(0x2A34), ids=str)
def test_a_glucose_context_of_another_implementation_means_what_its_source_states(vector: Vector) -> None:
    context = glucose.read_context(vector.value)
    for word, stated in vector.expected.items():
        assert getattr(context, word if word != "seq" else "sequence") == stated, word


def test_a_context_takes_the_time_of_the_record_with_its_number() -> None:
    record = glucose.read_record(bytes.fromhex("0a2a00ea0702110800006900110008"))
    context = glucose.read_context(bytes.fromhex("022a0003"))
    assert [(m.code, m.coded) for m in context.measurements] == [(Mdc.CTXT_GLU_MEAL, Mdc.CTXT_GLU_MEAL_FASTING)]
    assert context.measurements[0].device_time is None
    joined = glucose.with_context(record, context)
    assert joined[: len(record.measurements)] == record.measurements
    assert joined[-1].code == Mdc.CTXT_GLU_MEAL
    assert {m.device_time for m in joined} == {record.time}
    assert {m.clock_set for m in joined} == {False}


def test_a_context_of_another_record_is_not_joined() -> None:
    record = glucose.read_record(bytes.fromhex("002a00ea070211080000"))
    with pytest.raises(WireError, match="context 43 does not belong to record 42"):
        glucose.with_context(record, glucose.read_context(bytes.fromhex("002b00")))


def test_an_offset_on_an_unknown_date_leaves_the_base_time_as_evidence() -> None:
    record = glucose.read_record(bytes.fromhex("012a000000021108000005" + "00"))
    assert (record.time.isoformat(), record.clock_set) == ("0000-02-17T08:00:00", False)


def test_no_offset_on_an_unknown_date_is_no_fault() -> None:
    record = glucose.read_record(bytes.fromhex("012a0000000211080000" + "0000"))
    assert (record.time.isoformat(), record.clock_set) == ("0000-02-17T08:00:00", True)


def test_the_base_time_orders_records_whatever_the_user_does_to_the_clock() -> None:
    record = glucose.read_record(bytes.fromhex("012a00ea0702110800003c00"))
    assert (record.base_time, record.time) == (at("2026-02-17T08:00:00"), at("2026-02-17T09:00:00"))


@pytest.mark.parametrize("octet", range(256))
def test_type_and_location_share_a_byte_and_control_solution_is_no_ones_glucose(octet: int) -> None:
    codes = {1: 160184, 2: 160188, 3: 160192, 4: 160196, 5: 160200, 6: 160204, 7: 160364, 8: 160368, 9: 160212}
    kind, location = octet & 15, octet >> 4
    code = 160208 if kind == 10 or location == 4 else codes.get(kind, 160020)
    record = glucose.read_record(bytes.fromhex("022a00ea070211080000" + "69b0") + bytes((octet,)))
    found = record.measurements
    assert (found[0].code, str(found[0].value)) == (code, "105")
    sites = {1: 8417848, 2: 8417852, 3: 8417856, 4: 8417860}
    assert [m.coded for m in found[1:]] == ([sites[location]] if location in sites else [])


def test_an_exercise_longer_than_its_field_has_no_duration() -> None:
    context = glucose.read_context(bytes.fromhex("082a00ffff3c"))
    assert (context.exercise_s, context.exercise_percent) == (None, 60)


def test_a_meal_or_helper_without_a_code_stays_in_the_record_alone() -> None:
    context = glucose.read_context(bytes.fromhex("062a0005ff"))
    assert (context.meal, context.tester, context.health) == (5, 15, 15)
    assert context.measurements == ()


@pytest.mark.parametrize(
    ("minutes", "moved"),
    [
        (0, "2024-02-29T23:59:59"),
        (1, "2024-03-01T00:00:59"),
        (-1440, "2024-02-28T23:59:59"),
        (32767, "2024-03-23T18:06:59"),
    ],
)
def test_a_time_moves_over_days_and_leap_years(minutes: int, moved: str) -> None:
    assert at("2024-02-29T23:59:59").shifted(minutes=minutes) == at(moved)


@pytest.mark.parametrize("edge", ["9999-12-31T23:59:59", "1582-01-01T00:00:00"])
def test_a_time_does_not_move_off_the_calendar(edge: str) -> None:
    assert at(edge).shifted(us=1 << 80) is None
    assert at(edge).shifted(minutes=1 if edge > "2" else -1) is None


# Record Access Control Point


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("0101", Request(opcode=Opcode.REPORT, operator=Operator.ALL)),
        ("0105", Request(opcode=Opcode.REPORT, operator=Operator.FIRST)),
        ("010301 2a00", Request(opcode=Opcode.REPORT, operator=Operator.AT_LEAST, operand=bytes.fromhex("012a00"))),
        ("0401", Request(opcode=Opcode.COUNT, operator=Operator.ALL)),
        ("0300", Request(opcode=Opcode.ABORT, operator=Operator.NULL)),
        ("0500 f401", Count(records=500)),
        ("0600 0106", Response(request=1, result=Result.NO_RECORDS)),
    ],
)
def test_requests_and_answers_are_the_bytes_of_the_specification(
    text: str, meaning: Request | Count | Response
) -> None:
    assert racp.decode(bytes.fromhex(text)) == meaning


@pytest.mark.parametrize("vector", of(0x2A52), ids=str)
def test_a_racp_value_of_another_implementation_means_what_its_source_states(vector: Vector) -> None:
    found = racp.decode(vector.value)
    said: dict[str, int] = {"opcode": vector.value[0]}
    if isinstance(found, Count):
        said |= {"count": found.records}
    elif isinstance(found, Response):
        said |= {"request": found.request, "result": found.result}
    else:
        said |= {"operator": found.operator, "opcode": found.opcode}
    for word, stated in vector.expected.items():
        assert said[word] == stated, word


@pytest.mark.parametrize(
    "text", ["", "01", "05", "0500", "0600", "060001", "06000101" + "00", "0301", "0102", "010201"]
)
def test_half_a_racp_value_and_more_than_one_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        racp.decode(bytes.fromhex(text))


# Continuous glucose


def test_the_crc_is_the_published_one() -> None:
    assert cgm.crc(b"123456789") == 0x6F91  # CRC-16/MCRF4XX in every catalogue of CRCs


@pytest.mark.parametrize("vector", of(0x2AA7), ids=str)
def test_a_cgm_notification_of_another_implementation_means_what_its_source_states(vector: Vector) -> None:
    records = cgm.read_records(vector.value)
    for record, stated in zip(records, vector.expected["records"], strict=True):
        assert record.concentration == Decimal(stated["concentration"])
        assert record.offset_min == stated["offset_min"]
        assert record.status == stated.get("status24", 0)
        assert record.trend == stated.get("trend")
        assert record.quality == stated.get("quality")
        assert record.crc_checked == stated.get("crc_ok", False)


@pytest.mark.parametrize("vector", [v for v in of(0x2AAA) if "timestamp" in v.expected], ids=str)
def test_a_session_start_of_another_implementation_means_what_its_source_states(vector: Vector) -> None:
    start = cgm.decode_session_start(vector.value)
    assert start.time.isoformat()[:19] == vector.expected["timestamp"]
    assert (start.zone_quarters, start.dst) == (vector.expected["tz_15min"], vector.expected["dst"])
    assert start.time.offset_min == start.zone_quarters * 15 + DST_MIN[start.dst]  # type: ignore[operator, index]  # both are known


def test_a_cgm_record_gets_its_time_from_the_session_and_its_kind_from_the_feature() -> None:
    start = cgm.decode_session_start(bytes.fromhex("ea0702110800000400"))
    feature = cgm.decode_feature(bytes.fromhex("00000059ffff"))
    measurements = cgm.decode_records(bytes.fromhex("060064009001060064009101"), start=start, feature=feature)
    assert [(m.code, m.device_time) for m in measurements] == [
        (Mdc.CONC_GLU_ISF, at("2026-02-17T14:40:00+01:00")),
        (Mdc.CONC_GLU_ISF, at("2026-02-17T14:41:00+01:00")),
    ]


def test_a_session_that_started_on_an_unknown_day_gives_no_times() -> None:
    start = cgm.decode_session_start(bytes.fromhex("000004180d08180802"))
    assert cgm.decode_records(bytes.fromhex("060064000500"), start=start)[0].device_time is None


def cgm_bits(measurements: tuple[Measurement, ...]) -> set[str]:
    return {f"{int(m.code)}.{bit}" for m in measurements for bit in m.bits}


@pytest.mark.parametrize("bit", range(24))
def test_every_status_bit_is_its_own_event_in_the_open_tables(bit: int) -> None:
    # HL7 PHD 2.0.0 CodeSystem ASN1ToHL7, by what its entries say; reserved bits are tolerated and say nothing.
    stated = {
        0: "8418060.0",
        1: "8408608.25",
        2: "8418060.2",
        3: "8418060.3",
        4: "8418060.4",
        5: "8408608.5",
        8: "8408608.16",
        9: "8418060.7",
        10: "8418060.8",
        11: "8418060.9",
        12: "8418060.10",
        13: "8418060.11",
        16: "8418060.12",
        17: "8418060.13",
        18: "8418060.14",
        19: "8418060.15",
        20: "8418060.16",
        21: "8418060.17",
        22: "8418060.18",
        23: "8418060.19",
    }
    value = bytes.fromhex("09e064000500") + (1 << bit).to_bytes(3, "little")
    assert cgm_bits(cgm.decode_measurement(value)) == ({stated[bit]} if bit in stated else set())


def test_every_bit_of_a_protected_record_that_flips_is_noticed() -> None:
    value = bytes.fromhex("0fe3d2e405000214ff02f0e5f38e3f")
    for place in range(8, len(value) * 8):
        flipped = bytearray(value)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(DecodeError):
            cgm.read_records(bytes(flipped))


def test_a_notification_of_no_record_is_refused() -> None:
    with pytest.raises(DecodeError, match="record size needs 1 byte"):
        cgm.read_records(b"")


# Body composition


@pytest.mark.parametrize("vector", of(0x2A9C), ids=str)
def test_a_body_composition_of_another_implementation_means_what_its_source_states(vector: Vector) -> None:
    found = body_composition.read_body_composition(vector.value)
    words = {"body_fat_pct": "fat_percent", "muscle_pct": "muscle_percent"}
    for word, stated in vector.expected.items():
        assert getattr(found, words.get(word, word)) == Decimal(stated), word


def test_a_body_composition_in_pounds_says_so() -> None:
    found = body_composition.read_body_composition(bytes.fromhex("2100ea00b80b"))
    assert (str(found.muscle_mass), found.mass_unit, found.height_unit) == ("30.00", "[lb_av]", "[in_i]")


def test_the_first_of_two_packets_holds_the_body_fat_and_the_second_adds_to_it() -> None:
    first = body_composition.decode_body_composition(bytes.fromhex("0010ea00"))
    second = body_composition.decode_body_composition(bytes.fromhex("0014ffffb036"))
    assert [m.code for m in (*first, *second)] == [Mdc.BODY_FAT, Mdc.MASS_BODY_ACTUAL]
    assert body_composition.read_body_composition(bytes.fromhex("0010ea00")).multiple_packets


def test_two_empty_packets_still_say_that_the_measurement_failed() -> None:
    (fat,) = body_composition.decode_body_composition(bytes.fromhex("0010ffff"))
    assert (fat.code, fat.absent) == (Mdc.BODY_FAT, "error")
