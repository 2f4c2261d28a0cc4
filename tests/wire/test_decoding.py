"""Evidence of every kind explains itself: what others recorded, what only the context tells, and bytes gone wrong."""

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.wire.agents import (
    COUNTED,
    MDS_READ,
    SEGMENT_STORE,
    attribute_list,
    context,
    cut_anywhere,
    fixed,
    full_mds,
    mds,
    recorded,
    report,
    segment_data,
    segment_info,
    variable,
)
from tests.wire.envelopes import CLOCK, changed_bytes
from tests.wire.vectors import Vector, load
from tests.wire.x73.support import AGENT_ID, SESSION, STAMP, VECTORS
from tests.wire.x73.support import CLOCK as SHOWN
from wire.decoding import information_of, meaning_of, specializations_of
from wire.errors import DecodeError
from wire.evidence import AgentContextKind, AgentReport, Context, Device, Reading, SerialFrame
from wire.measurement import DeviceTime, Measurement, MeasurementStatus
from wire.serial import FORMAT_NUMBERS, SerialFormat
from wire.x73.codes import Attr
from wire.x73.evidence import Counted

OXIMETER = report(SESSION["report"], 0x0190, context(AgentContextKind.MDS, MDS_READ))
FLOAT_2_40 = bytes.fromhex("fe0000f0")
POUNDS = b"\x06\xe0"


def values(evidence: AgentReport) -> list[tuple[int, str, str | None]]:
    return [(each.code, str(each.value), each.unit) for each in meaning_of(evidence).everything]


def times(measured: tuple[Measurement, ...]) -> list[str | None]:
    return [each.device_time.isoformat() if each.device_time else None for each in measured]


# Reports of 20601 agents.


def test_the_measured_report_means_what_its_session_said() -> None:
    assert values(OXIMETER) == [(150456, "96.5", "%"), (149530, "63.5", "/min")]
    assert times(meaning_of(OXIMETER).everything) == ["2026-11-21T19:33:46.5"] * 2
    assert meaning_of(OXIMETER).counted == (None, None)
    assert not meaning_of(OXIMETER).stored


@pytest.mark.parametrize("case", [v for v in VECTORS.values() if "values" in v.expected], ids=str)
def test_reports_recorded_by_others_are_understood_from_their_bytes_alone(case: Vector) -> None:
    measured = meaning_of(recorded(case.id)).everything
    assert case.expected["values"] == [
        [each.code, str(each.value), each.unit, time] for each, time in zip(measured, times(measured), strict=True)
    ]


def test_the_cuff_that_sends_pressure_and_pulse_apart_means_both() -> None:
    pressures, pulses = recorded("opentele/and_ua767_pressure"), recorded("opentele/and_ua767_pulse")
    assert {each.code for each in meaning_of(pressures).everything} == {150020}
    assert {each.code for each in meaning_of(pulses).everything} == {149546}
    assert set(times(meaning_of(pulses).everything)) == set(times(meaning_of(pressures).everything))


def test_a_report_under_a_configuration_of_the_agents_own_is_read_by_it() -> None:
    evidence = report(fixed((4, b"\xf2\xbc")), COUNTED.encode())
    assert values(evidence) == [(188736, "70.0", "kg")]


def test_a_unit_that_an_earlier_report_changed_still_holds() -> None:
    apdu = variable((1, attribute_list((Attr.NU_VAL_OBS_SIMP, FLOAT_2_40), (Attr.TIME_STAMP_ABS, STAMP))))
    changed = context(AgentContextKind.OBJECT, b"\x00\x01" + attribute_list((Attr.UNIT_CODE, POUNDS)))
    assert values(report(apdu, 0x05DC)) == [(188736, "2.40", "kg")]
    assert values(report(apdu, 0x05DC, changed)) == [(188736, "2.40", "[lb_av]")]


def test_all_of_a_test_association_is_test_data() -> None:
    aarq = bytearray(SESSION["aarq"])
    same = context(AgentContextKind.ASSOCIATION, bytes(aarq))
    assert not meaning_of(replace(OXIMETER, context=(same,))).test
    at = aarq.index(bytes.fromhex("008000000008")) - 4
    assert aarq[at : at + 4] == bytes(4)
    aarq[at] = 0x20
    for said in (bytes(aarq), bytes(aarq[:-1]), b""):
        meaning = meaning_of(replace(OXIMETER, context=(context(AgentContextKind.ASSOCIATION, said),)))
        assert meaning.measurements == ()
        assert [each.code for each in meaning.test] == [150456, 149530]
        assert all(MeasurementStatus.TEST_DATA in each.status for each in meaning.test)


def test_a_demonstration_beside_a_measurement_is_kept_apart() -> None:
    def observed(value: str, status: str) -> bytes:
        return attribute_list((Attr.NU_VAL_OBS_BASIC, bytes.fromhex(value)), (Attr.MSMT_STAT, bytes.fromhex(status)))

    meaning = meaning_of(report(variable((1, observed("0061", "0000")), (10, observed("0048", "0400")))))
    assert [(each.code, each.value) for each in meaning.measurements] == [(150456, Decimal(97))]
    assert [(each.code, each.value) for each in meaning.test] == [(149530, Decimal(72))]


def test_a_counter_beside_a_clock_has_a_date_and_alone_a_distance() -> None:
    apdu = fixed((1, b"\x00\x61" + (80_000).to_bytes(4, "big")), (2, b"\x00\x48" + (3_000_000).to_bytes(8, "big")))
    counters = ((Attr.TIME_REL, (160_000).to_bytes(4, "big")), (Attr.TIME_REL_HI_RES, (2_000_000).to_bytes(8, "big")))
    beside = meaning_of(report(apdu, COUNTED.encode(), mds((Attr.TIME_ABS, STAMP), *counters)))
    assert times(beside.measurements) == ["2026-11-21T19:33:36.5", "2026-11-21T19:33:47.5"]
    assert beside.counted == (None, None)
    alone = meaning_of(report(apdu, COUNTED.encode(), mds(*counters)))
    assert times(alone.measurements) == [None, None]
    assert alone.counted == (
        Counted(us=-10_000_000, high_resolution=False),
        Counted(us=1_000_000, high_resolution=True),
    )
    nothing = meaning_of(report(apdu, COUNTED.encode()))
    assert nothing.counted == (Counted(us=None, high_resolution=False), Counted(us=None, high_resolution=True))


def test_a_pen_whose_counter_is_in_seconds_gave_its_doses_when_it_says() -> None:
    """xDrip's tests read the same bytes so: the first dose 66 s before the scan."""
    pen = {id_.removeprefix("novopen/"): each.value for id_, each in VECTORS.items() if id_.startswith("novopen/")}
    own = context(AgentContextKind.MDS, pen["mds"][14:])
    listed = context(AgentContextKind.SEGMENT, pen["listed"][22:])
    meaning = meaning_of(report(pen["doses"], pen["config"][22:], own, listed))
    assert str(meaning.measurements[0].value) == "3.0"
    first, *_ = meaning.counted
    assert first == Counted(us=-66_000_000, high_resolution=False)


@pytest.mark.parametrize(
    ("resolution", "shown", "us"), [(8000, 160_000, -10_000_000), (8, 160_001, -10_000_125), (0, 3, 0)]
)
def test_a_counter_that_keeps_to_its_resolution_or_has_a_fine_one_is_in_eighths_of_milliseconds(
    resolution: int, shown: int, us: int
) -> None:
    info = bytes(10) + resolution.to_bytes(2, "big") + bytes(4)
    beside = mds((Attr.TIME_REL, shown.to_bytes(4, "big")), (Attr.MDS_TIME_INFO, info))
    then = shown if not resolution else 80_000
    meaning = meaning_of(report(fixed((1, b"\x00\x61" + then.to_bytes(4, "big"))), COUNTED.encode(), beside))
    assert meaning.counted == (Counted(us=us, high_resolution=False),)


def test_a_counter_that_began_anew_since_is_not_a_week_away() -> None:
    apdu = fixed((1, b"\x00\x61" + (0xFFFF_FF00).to_bytes(4, "big")))
    meaning = meaning_of(report(apdu, COUNTED.encode(), mds((Attr.TIME_REL, (0x100).to_bytes(4, "big")))))
    assert meaning.counted == (Counted(us=-0x200 * 125, high_resolution=False),)


def test_a_base_offset_time_comes_with_its_offset_from_utc() -> None:
    # The guide's own example: 3563536440 s, 4884/65536 s, -300 min (HL7 PHD, reported time stamp identifier).
    apdu = fixed((3, b"\x00\x61" + bytes.fromhex("D46740381314FED4")))
    (measured,) = meaning_of(report(apdu, COUNTED.encode())).everything
    assert measured.device_time == DeviceTime(
        year=2012, month=12, day=3, hour=10, minute=14, second=0, microsecond=74523, offset_min=-300
    )


def test_stored_entries_mean_what_the_segments_map_says() -> None:
    entry = STAMP + FLOAT_2_40
    segment = context(AgentContextKind.SEGMENT, segment_info())
    meaning = meaning_of(report(segment_data(entry, entry), 0x05DC, segment))
    assert [(each.code, str(each.value)) for each in meaning.measurements] == [(188736, "2.40")] * 2
    assert times(meaning.measurements) == ["2026-11-21T19:33:46.5"] * 2
    assert meaning.stored


@pytest.mark.parametrize("listed", [(), (context(AgentContextKind.SEGMENT, segment_info(8)),)], ids=["none", "another"])
def test_stored_entries_without_their_segment_mean_nothing(listed: tuple[()]) -> None:
    with pytest.raises(DecodeError, match="not listed"):
        meaning_of(report(segment_data(STAMP + FLOAT_2_40), 0x05DC, *listed))


def test_an_answer_to_a_data_request_is_a_report_too() -> None:
    info = SESSION["report"][22:]
    args = bytes(4) + bytes(2) + b"\x0d\x1d" + len(info).to_bytes(2, "big") + info
    act = b"\x00\x00\x0c\x1b" + len(args).to_bytes(2, "big") + args
    rose = b"\x00\x01\x02\x07" + len(act).to_bytes(2, "big") + act
    apdu = b"\xe7\x00" + (len(rose) + 2).to_bytes(2, "big") + len(rose).to_bytes(2, "big") + rose
    assert values(report(apdu)) == values(OXIMETER)


def test_what_the_mds_says_of_the_device_is_read_and_a_bad_mds_costs_nothing() -> None:
    evidence = recorded("opentele/and_uc321_kg", full_mds(10415, 0x05DC, SHOWN))
    said = information_of(evidence)
    assert (said.manufacturer, said.model, said.serial) == ("A&D Medical", "UC-321PBT-C", "5061250042")
    assert said.system_id == AGENT_ID
    assert specializations_of(evidence) == ((528399, 1),)
    whole = evidence.context[0].value
    for damaged in cut_anywhere(whole):
        bad = replace(evidence, context=(replace(evidence.context[0], value=damaged),))
        assert information_of(bad).manufacturer is None
        assert specializations_of(bad) == ()
        assert values(bad) == values(evidence)


def test_a_production_specification_that_names_itself_is_the_number_alone() -> None:
    # As an Accu-Chek Guide sends them (emogenet/accuchek, from captures): trailing zeros, one with a component.
    def entry(spec_type: int, text: bytes, component: int = 0) -> bytes:
        return spec_type.to_bytes(2, "big") + component.to_bytes(2, "big") + len(text).to_bytes(2, "big") + text

    entries = (
        entry(1, b"serial-number: 92500000042\0\0"),
        entry(3, b"hw-revision: G\0\0", 0x1000),
        entry(5, b"fw-revision: v1.9.6\0"),
    )
    body = b"".join(entries)
    spec = len(entries).to_bytes(2, "big") + len(body).to_bytes(2, "big") + body
    said = information_of(replace(OXIMETER, context=(mds((Attr.ID_PROD_SPECN, spec)),)))
    assert (said.serial, said.hardware, said.firmware) == ("92500000042", "G", "v1.9.6")


def test_a_control_solution_is_nobodys_glucose_though_its_code_alone_says_so() -> None:
    apdu = variable(
        (1, attribute_list((Attr.ID_TYPE, b"\x00\x02\x71\xd0"), (Attr.NU_VAL_OBS_BASIC, b"\x00\x61"))),
        (10, attribute_list((Attr.NU_VAL_OBS_BASIC, b"\x00\x48"))),
    )
    meaning = meaning_of(report(apdu))
    assert [each.code for each in meaning.measurements] == [149530]
    assert [each.code for each in meaning.test] == [160208]
    assert meaning.counted == (None,)


def test_a_configuration_that_nobody_knows_is_a_fault_and_no_guess() -> None:
    for configuration in (0x0192, b"\x40\x00", bytes(64)):
        with pytest.raises(DecodeError):
            meaning_of(replace(OXIMETER, configuration=configuration))
    for apdu in (SESSION["aarq"], SESSION["get"], SESSION["mds"], SESSION["rlrq"]):
        with pytest.raises(DecodeError, match="no report"):
            meaning_of(replace(OXIMETER, apdu=apdu))


def test_evidence_gone_wrong_is_a_decode_error_and_nothing_else() -> None:
    chance = random.Random(20601)  # noqa: S311  (a test that can be repeated, not a secret)
    sound = (
        recorded("opentele/and_ua767_pressure", full_mds(10407, 0x02BC, SHOWN)),
        report(
            segment_data(STAMP + FLOAT_2_40),
            COUNTED.encode(),
            context(AgentContextKind.SEGMENT, segment_info()),
            context(AgentContextKind.STORE, SEGMENT_STORE.to_bytes(2, "big") + attribute_list()),
        ),
        report(fixed((1, b"\x00\x61" + bytes(4))), COUNTED.encode(), mds((Attr.TIME_REL, bytes(4)))),
    )
    refused = 0
    for turn in range(1500):
        evidence = sound[turn % 3]
        place = chance.randrange(3)
        if place == 0 and isinstance(evidence.configuration, bytes):
            evidence = replace(evidence, configuration=changed_bytes(evidence.configuration, chance))
        elif place == 1:
            first, *rest = evidence.context
            evidence = replace(evidence, context=(replace(first, value=changed_bytes(first.value, chance)), *rest))
        else:
            evidence = replace(evidence, apdu=changed_bytes(evidence.apdu, chance))
        try:
            meaning = meaning_of(evidence)
        except DecodeError:
            refused += 1
        else:
            assert len(meaning.counted) == len(meaning.measurements)
        information_of(evidence)
        specializations_of(evidence)
    assert refused > 300


# Serial frames and GATT values.

LUNG = next(each.value for each in load("serial.json") if each.kind == "serial:vitalograph-lung-monitor")


def serial_frame(format_: SerialFormat, frame: bytes) -> SerialFrame:
    return SerialFrame(
        device=Device(address=bytes.fromhex("001c05000001")),
        received=CLOCK,
        format=FORMAT_NUMBERS[format_],
        frame=frame,
    )


def test_a_frame_is_read_by_the_number_of_its_format() -> None:
    evidence = serial_frame(SerialFormat.NONIN_DF8, bytes.fromhex("80486220"))
    assert [(each.code, each.value) for each in meaning_of(evidence).everything] == [
        (150456, Decimal(98)),
        (149530, Decimal(72)),
    ]
    with pytest.raises(DecodeError):
        meaning_of(replace(evidence, format=200))


def test_an_oximeter_that_counts_from_its_factorys_date_tells_no_time() -> None:
    stored = bytes.fromhex("0002000d000e20071001184821000210003400636203")
    measured = meaning_of(serial_frame(SerialFormat.NONIN_DF13, stored)).everything
    assert {each.clock_set for each in measured} == {False}


def test_the_lung_monitor_is_known_by_the_number_in_its_frames() -> None:
    evidence = serial_frame(SerialFormat.VITALOGRAPH_LUNG_MONITOR, LUNG)
    assert information_of(evidence).serial
    assert information_of(replace(evidence, frame=LUNG[:-1])).serial is None


def glucose(characteristic: int, value: str, *beside: str) -> Reading:
    return Reading(
        device=Device(address=bytes(6)),
        received=CLOCK,
        characteristic=characteristic,
        value=bytes.fromhex(value),
        context=tuple(Context(characteristic=0x2A18, mono_us=0, value=bytes.fromhex(each)) for each in beside),
    )


RECORD = "12 0500 EA070B150A1E00 5AB0 11"
OTHER = "12 0600 EA070B150B1E00 5AB0 11"
CONTROL = "12 0500 EA070B150A1E00 5AB0 4A"
FASTING = "02 0500 03"


def test_a_glucose_context_has_the_time_of_the_record_with_its_number() -> None:
    (meal,) = meaning_of(glucose(0x2A34, FASTING, OTHER, RECORD)).everything
    assert (meal.code, meal.coded) == (8417864, 8417876)
    assert times((meal,)) == ["2026-11-21T10:30:00"]
    (alone,) = meaning_of(glucose(0x2A34, FASTING, OTHER)).everything
    assert times((alone,)) == [None]
    (padded,) = meaning_of(glucose(0x2A34, FASTING + "00", RECORD + "00")).everything
    assert padded == meal


def test_the_context_of_a_control_solution_is_a_test_as_its_record_is() -> None:
    for reading in (glucose(0x2A34, FASTING, CONTROL), glucose(0x2A18, CONTROL)):
        meaning = meaning_of(reading)
        assert meaning.measurements == ()
        assert meaning.test


@pytest.mark.parametrize(
    ("reading", "stored"),
    [
        (glucose(0x2A18, RECORD), True),
        (glucose(0x2A34, FASTING), True),
        (glucose(0x2A5E, "00 6100 3B00"), False),
        (
            replace(
                glucose(0x2A5E, "00 6100 3B00"), context=(Context(characteristic=0x2A52, mono_us=0, value=b"\1\1"),)
            ),
            True,
        ),
    ],
)
def test_what_came_from_a_memory_is_told_from_what_was_measured_just_now(reading: Reading, *, stored: bool) -> None:
    assert meaning_of(reading).stored is stored
