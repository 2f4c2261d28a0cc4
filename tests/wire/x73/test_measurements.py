"""Every value attribute, every clock and every word of status, each from bytes written by hand."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.x73.support import STAMP
from wire.errors import DecodeError
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, Special
from wire.measurement_json import dumps, loads
from wire.x73.apdu import Attribute
from wire.x73.codes import Attr, MetricSpec, Noti, ObjectClass
from wire.x73.dim import Configuration, attribute, type_of
from wire.x73.mder import Tolerated
from wire.x73.measurements import Clocks, ReportDecoder
from wire.x73.reports import ConfigObject, MapEntry, ObservationFixed, ObservationVar, PersonScan, ScanReport
from wire.x73.services import SegmentElement, SegmentEntryMap, SegmentStatics
from wire.x73.specializations import BASIC, SPECIALIZATIONS, compound, enumeration, numeric, waveform
from wire.x73.times import decode_absolute, decode_base_offset, encode_absolute, encode_base_offset
from wire.x73.units import ucum

SPO2 = numeric(1, 150456, 544)
SPO2_TYPE = type_of(150456)


def bits(hex_: str) -> bytes:
    return bytes.fromhex(hex_)


def observe(
    declared: ConfigObject, *attributes: tuple[int, str], clocks: Clocks | None = None
) -> tuple[Measurement, ...]:
    """What one variable observation of an object means."""
    decoder = ReportDecoder(Configuration(config_id=0x4000, objects=(declared,)), clocks=clocks)
    return decoder.decode(variable(declared.handle, attributes))


def variable(handle: int, attributes: Sequence[tuple[int, str]]) -> ScanReport:
    told = tuple(Attribute(id=int(id_), value=bits(value)) for id_, value in attributes)
    scan = PersonScan(person=None, variable=(ObservationVar(handle=handle, attributes=told),))
    return ScanReport(event_type=Noti.SCAN_REPORT_VAR, handle=0, data_req_id=0xF000, number=0, scans=(scan,))


def only_one(measurements: tuple[Measurement, ...]) -> Measurement:
    (measurement,) = measurements
    assert loads(dumps(measurements)) == measurements, "what is decoded can be printed and read again"
    return measurement


@pytest.mark.parametrize(
    ("attribute_", "raw", "value"),
    [
        (Attr.NU_VAL_OBS_BASIC, "e0c8", "2.00"),
        (Attr.NU_VAL_OBS_BASIC, "f3c5", "96.5"),
        (Attr.NU_VAL_OBS_BASIC, "0b2e", "-1234"),
        (Attr.NU_VAL_OBS_BASIC, "2002", "2E+2"),
        (Attr.NU_VAL_OBS_SIMP, "fe000e42", "36.50"),
        (Attr.NU_VAL_OBS_SIMP, "00fffb2e", "-1234"),
        (Attr.NU_VAL_OBS, "4bb84000022000000062", "98"),
    ],
)
def test_a_number_keeps_the_precision_that_the_device_gave_it(attribute_: int, raw: str, value: str) -> None:
    measured = only_one(observe(SPO2, (attribute_, raw)))
    assert (150456, value, "%") == (measured.code, str(measured.value), measured.unit)


@pytest.mark.parametrize(
    ("raw", "special"),
    [
        ("07ff", Special.NAN),
        ("07fe", Special.POSITIVE_INFINITY),
        ("0802", Special.NEGATIVE_INFINITY),
        ("0800", Special.NRES),
        ("0801", Special.RESERVED),
    ],
)
def test_special_values_keep_their_own_meaning_and_have_no_unit(raw: str, special: Special) -> None:
    measured = only_one(observe(SPO2, (Attr.NU_VAL_OBS_BASIC, raw)))
    assert (special, None) == (measured.value, measured.unit)


def test_the_observed_value_says_its_own_metric_unit_and_status() -> None:
    measured = only_one(observe(SPO2, (Attr.NU_VAL_OBS, "4bb8 4000 0f20 fe000e42".replace(" ", ""))))
    assert (measured.unit, measured.status) == ("mm[Hg]", (MeasurementStatus.QUESTIONABLE,))


def test_a_unit_that_was_changed_holds_until_it_is_changed_again() -> None:
    scale = numeric(1, 188736, 1731)
    decoder = ReportDecoder(Configuration(config_id=0x4000, objects=(scale,)))
    value = (Attr.NU_VAL_OBS_BASIC, "0050")
    units = []
    for told in ([value], [value, (Attr.UNIT_CODE, "06e0")], [value], [(Attr.UNIT_CODE, "06c3")], [value]):
        units += [m.unit for m in decoder.decode(variable(1, told))]
    assert units == ["kg", "[lb_av]", "[lb_av]", "kg"]


def test_a_status_and_a_time_hold_for_one_observation_only() -> None:
    decoder = ReportDecoder(Configuration(config_id=0x4000, objects=(SPO2,)))
    value = (Attr.NU_VAL_OBS_BASIC, "0050")
    (first,) = decoder.decode(variable(1, [value, (Attr.MSMT_STAT, "8000"), (Attr.TIME_STAMP_ABS, STAMP.hex())]))
    (second,) = decoder.decode(variable(1, [value]))
    assert (first.status, second.status) == ((MeasurementStatus.INVALID,), ())
    assert (first.device_time is not None, second.device_time) == (True, None)


def test_a_unit_without_a_name_is_kept_by_its_code() -> None:
    assert ucum(262144 + 31234) == "{mdc:293378}"
    measured = only_one(observe(SPO2, (Attr.NU_VAL_OBS_BASIC, "0050"), (Attr.UNIT_CODE, "7a02")))
    assert measured.unit == "{mdc:293378}"


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("8000", MeasurementStatus.INVALID),
        ("4000", MeasurementStatus.QUESTIONABLE),
        ("2000", MeasurementStatus.NOT_AVAILABLE),
        ("1000", MeasurementStatus.CALIBRATING),
        ("0800", MeasurementStatus.TEST_DATA),
        ("0400", MeasurementStatus.DEMO_DATA),
        ("0080", MeasurementStatus.VALIDATED),
        ("0040", MeasurementStatus.EARLY_ESTIMATE),
        ("0020", MeasurementStatus.ONGOING),
        ("0002", MeasurementStatus.THRESHOLD_ERROR),
        ("0001", MeasurementStatus.THRESHOLDING_DISABLED),
    ],
)
def test_each_bit_of_the_status_has_its_word(word: str, status: MeasurementStatus) -> None:
    measured = only_one(observe(SPO2, (Attr.NU_VAL_OBS_BASIC, "0050"), (Attr.MSMT_STAT, word)))
    assert (status,) == measured.status


def test_reserved_bits_of_the_status_pass_without_harm() -> None:
    measured = only_one(observe(SPO2, (Attr.NU_VAL_OBS_BASIC, "0050"), (Attr.MSMT_STAT, "831c")))
    assert measured.status == (MeasurementStatus.INVALID,)


def test_manual_entries_and_settings_say_so() -> None:
    manual = numeric(1, 188740, 1297, spec=MetricSpec.CAT_MANUAL | MetricSpec.CAT_SETTING)
    measured = only_one(observe(manual, (Attr.NU_VAL_OBS_BASIC, "00b4")))
    assert measured.status == (MeasurementStatus.MANUALLY_ENTERED, MeasurementStatus.SETTING)


@pytest.mark.parametrize(
    ("attribute_", "raw"),
    [
        (Attr.NU_CMPD_VAL_OBS_BASIC, "00030006007e00470056"),
        (Attr.NU_CMPD_VAL_OBS_SIMP, "0003000c0000007e0000004700000056"),
        (
            Attr.NU_CMPD_VAL_OBS,
            "0003001e4a0500000f200000007e4a0600000f20000000474a0700000f2000000056",
        ),
    ],
)
def test_a_compound_has_its_parts_in_order_with_code_and_unit(attribute_: int, raw: str) -> None:
    cuff = compound(1, 150020, 3872, (150021, 150022, 150023))
    measured = only_one(observe(cuff, (attribute_, raw)))
    assert [(150021, Decimal(126)), (150022, Decimal(71)), (150023, Decimal(86))] == [
        (part.code, part.value) for part in measured.components
    ]
    assert {"mm[Hg]"} == {part.unit for part in measured.components}
    assert (measured.code, measured.value) == (150020, None)


@pytest.mark.parametrize("raw", ["00020004007e0047", "00030006007e0047", "00030005007e00470056", "00000000", "00"])
def test_a_compound_that_does_not_agree_with_itself_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError):
        observe(compound(1, 150020, 3872, (150021, 150022, 150023)), (Attr.NU_CMPD_VAL_OBS_BASIC, raw))


def test_a_coded_value_is_of_the_object_s_partition_or_of_the_one_it_names() -> None:
    meal = enumeration(1, 8417864)
    assert only_one(observe(meal, (Attr.ENUM_OBS_VAL_SIMP_OID, "724c"))).coded == 8417868
    other = enumeration(1, 8417864, partition=2)
    assert only_one(observe(other, (Attr.ENUM_OBS_VAL_SIMP_OID, "4bb8"))).coded == 150456


@pytest.mark.parametrize(
    ("attribute_", "raw", "expected"),
    [
        (Attr.ENUM_OBS_VAL_BASIC_BIT_STR, "8001", {0: True, 15: True}),
        (Attr.ENUM_OBS_VAL_SIMP_BIT_STR, "40000001", {1: True, 31: True}),
        (Attr.VAL_ENUM_OBS, "4c4c 0000 0010 0002 8000".replace(" ", ""), {0: True}),
    ],
)
def test_bits_are_counted_from_the_most_significant(attribute_: int, raw: str, expected: dict[int, bool]) -> None:
    assert expected == only_one(observe(enumeration(1, 150604), (attribute_, raw))).bits


def test_a_word_without_a_set_bit_says_nothing() -> None:
    assert observe(enumeration(1, 150604), (Attr.ENUM_OBS_VAL_BASIC_BIT_STR, "0000")) == ()


def test_a_text_is_said_to_be_a_text() -> None:
    measured = only_one(
        observe(enumeration(1, 8417864), (Attr.ENUM_OBS_VAL_SIMP_STR, "00046162 6364".replace(" ", "")))
    )
    assert measured.absent == "as-text"
    coded = only_one(observe(enumeration(1, 8417864), (Attr.VAL_ENUM_OBS, "72480000000100027250")))
    assert (coded.code, coded.coded) == (8417864, 8417872)


def test_supplemental_types_say_how_and_where() -> None:
    spot = numeric(1, 150456, 544, supplemental=(150588,))
    assert only_one(observe(spot, (Attr.NU_VAL_OBS_BASIC, "0062"))).supplemental == (150588,)
    told = (Attr.SUPPLEMENTAL_TYPES, "00010004 00024c38".replace(" ", ""))
    assert only_one(observe(spot, (Attr.NU_VAL_OBS_BASIC, "0062"), told)).supplemental == (150584,)


def test_a_metric_id_says_what_exactly_was_measured() -> None:
    measured = only_one(observe(SPO2, (Attr.NU_VAL_OBS_BASIC, "0062"), (Attr.ID_PHYSIO, "4bb8")))
    assert measured.code == 150456
    measured = only_one(
        observe(SPO2, (Attr.NU_VAL_OBS_BASIC, "0062"), (Attr.ID_PHYSIO, "7208"), (Attr.METRIC_ID_PART, "0080"))
    )
    assert measured.code == 8388608 + 0x7208


def test_attributes_that_nobody_knows_pass_without_harm() -> None:
    measured = only_one(
        observe(SPO2, (0x7777, "00"), (Attr.NU_VAL_OBS_BASIC, "0062"), (Attr.NU_ACCUR_MSMT, "ff00000a"), (0xF001, ""))
    )
    assert Decimal(98) == measured.value


def test_an_observation_without_a_value_is_no_measurement() -> None:
    assert observe(SPO2, (Attr.UNIT_CODE, "0220"), (Attr.TIME_STAMP_ABS, STAMP.hex())) == ()


# Samples


def test_samples_are_scaled_and_timed_as_the_object_says() -> None:
    ecg = waveform(1, 131329, 4274, samples=4, period_ticks=32, low=-2, high=2, top=800)
    measured = only_one(observe(ecg, (Attr.SIMP_SA_OBS_VAL, "0008 0000 0190 0320 0191".replace(" ", ""))))
    assert measured.samples is not None
    samples = measured.samples
    assert (
        str(samples.origin + 0).rstrip("0").rstrip("."),
        str(samples.factor),
        str(samples.period_ms),
        samples.unit,
    ) == ("-2", "0.005", "4", "mV")
    assert samples.data == tuple(map(Decimal, (0, 400, 800, 401)))
    assert [Decimal(-2), Decimal(0), Decimal(2), Decimal("0.005")] == [
        samples.origin + samples.factor * datum for datum in samples.data if isinstance(datum, Decimal)
    ]


def test_samples_without_the_length_of_their_string_are_read_by_their_specification() -> None:
    ecg = waveform(1, 131329, 4274, samples=2, period_ticks=32, low=-2, high=2, top=800)
    assert only_one(observe(ecg, (Attr.SIMP_SA_OBS_VAL, "01900320"))).samples is not None
    with pytest.raises(DecodeError):
        observe(ecg, (Attr.SIMP_SA_OBS_VAL, "019003"))


def test_signed_samples_are_signed() -> None:
    ecg = waveform(1, 131329, 4274, samples=2, period_ticks=32, low=-2, high=2, top=800)
    told = ((Attr.SA_SPECN, "000210ff0000"), (Attr.SCALE_SPECN_I16, "00fffffe 00000002 fe70 0190".replace(" ", "")))
    measured = only_one(observe(ecg, *told, (Attr.SIMP_SA_OBS_VAL, "0004 ff38 00c8".replace(" ", ""))))
    assert measured.samples is not None
    assert measured.samples.data == (Decimal(-200), Decimal(200))
    assert [Decimal(-1), Decimal(1)] == [
        measured.samples.origin + measured.samples.factor * datum for datum in measured.samples.data
    ]


# Clocks


def test_an_absolute_time_is_the_device_s_own() -> None:
    measured = only_one(observe(SPO2, (Attr.NU_VAL_OBS_BASIC, "0062"), (Attr.TIME_STAMP_ABS, "2007100118482100")))
    assert measured.device_time is not None
    assert (
        measured.device_time.isoformat(),
        measured.device_time.offset_min,
        measured.clock_set,
    ) == ("2007-10-01T18:48:21", None, True)


def test_a_time_of_zeros_is_a_clock_that_was_never_set() -> None:
    measured = only_one(observe(SPO2, (Attr.NU_VAL_OBS_BASIC, "0062"), (Attr.TIME_STAMP_ABS, "00" * 8)))
    assert (measured.clock_set, measured.device_time is not None and measured.device_time.known) == (False, False)


@pytest.mark.parametrize("raw", ["2026133119334650", "2026112a19334650", "2026022919334650", "20261121193346"])
def test_a_time_on_no_calendar_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError):
        observe(SPO2, (Attr.NU_VAL_OBS_BASIC, "0062"), (Attr.TIME_STAMP_ABS, raw))


def test_a_base_offset_time_of_an_independent_implementation_is_the_moment_it_says() -> None:
    """HL7/phd, the FHIR guide's worked example (CC0): seconds since 1900 UTC, 1/65536 s, minutes to local time."""
    time = decode_base_offset(bytes.fromhex("d46740381314fed4"))
    assert (time.isoformat(), time.offset_min) == ("2012-12-03T10:14:00.074523-05:00", -300)


def test_a_base_offset_time_says_when_it_was() -> None:
    """NTP's example: 2208988800 s lie between 1900 and 1970."""
    raw = (2208988800).to_bytes(4, "big") + b"\x80\x00" + (60).to_bytes(2, "big")
    measured = only_one(observe(SPO2, (Attr.NU_VAL_OBS_BASIC, "0062"), (Attr.TIME_STAMP_BO, raw.hex())))
    assert measured.device_time is not None
    assert measured.device_time.isoformat() == "1970-01-01T01:00:00.5+01:00"


@given(
    st.datetimes(datetime(1900, 1, 2), datetime(2036, 2, 6)),  # noqa: DTZ001 - the zone is added
    st.integers(-14 * 60, 14 * 60),
)
def test_a_base_offset_time_reads_what_it_wrote(local: datetime, minutes: int) -> None:
    time = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    if time.astimezone(UTC) < datetime(1900, 1, 1, tzinfo=UTC):
        return
    again = decode_base_offset(encode_base_offset(time))
    assert again.offset_min == minutes
    near = datetime.fromisoformat(again.isoformat())
    assert abs(near - time) <= timedelta(microseconds=16)


@given(st.datetimes(datetime(1582, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001 - a device's wall clock
def test_an_absolute_time_reads_what_it_wrote(local: datetime) -> None:
    time = decode_absolute(encode_absolute(local))
    assert local.replace(microsecond=local.microsecond // 10_000 * 10_000).isoformat()[:19] == time.isoformat()[:19]
    assert time.microsecond == local.microsecond // 10_000 * 10_000


CLOCKS = Clocks.of(
    {
        Attr.TIME_ABS: bits("2026112119334650"),
        Attr.TIME_REL: (8000).to_bytes(4, "big"),
        Attr.TIME_REL_HI_RES: (5_000_000).to_bytes(8, "big"),
    }
)


@pytest.mark.parametrize(
    ("attribute_", "raw", "expected"),
    [
        (Attr.TIME_STAMP_REL, (16000).to_bytes(4, "big"), "2026-11-21T19:33:47.5"),
        (Attr.TIME_STAMP_REL, (0).to_bytes(4, "big"), "2026-11-21T19:33:45.5"),
        (Attr.TIME_STAMP_REL, (0xFFFF_FFFF - 7999).to_bytes(4, "big"), "2026-11-21T19:33:44.5"),
        (Attr.TIME_STAMP_REL_HI_RES, (4_000_000).to_bytes(8, "big"), "2026-11-21T19:33:45.5"),
    ],
)
def test_a_relative_time_has_a_date_beside_the_agent_s_other_clock(attribute_: int, raw: bytes, expected: str) -> None:
    told = ((Attr.NU_VAL_OBS_BASIC, "0062"), (attribute_, raw.hex()))
    measured = only_one(observe(SPO2, *told, clocks=CLOCKS))
    assert measured.device_time is not None
    assert expected == measured.device_time.isoformat()
    assert only_one(observe(SPO2, *told)).device_time is None, "and none without it"


def test_an_unset_clock_gives_relative_times_no_date() -> None:
    unset = Clocks.of({Attr.TIME_ABS: bytes(8), Attr.TIME_REL: bytes(4)})
    told = ((Attr.NU_VAL_OBS_BASIC, "0062"), (Attr.TIME_STAMP_REL, "00000000"))
    assert only_one(observe(SPO2, *told, clocks=unset)).device_time is None
    assert Clocks() == Clocks.of({Attr.TIME_ABS: b"\xff" * 8, Attr.TIME_BO: b"1"})


@pytest.mark.parametrize("kind", ["fixed", "variable"])
def test_what_an_agent_reports_of_itself_is_no_measurement_and_costs_none(kind: str) -> None:
    """Object 0 is the MDS: its battery may stand in a report, by a map that only the MDS itself tells."""
    told = tuple(Attribute(id=int(id_), value=bits(raw)) for id_, raw in ((Attr.VAL_BATT_CHARGE, "0046"),))
    scan = (
        PersonScan(
            person=None,
            fixed=(
                ObservationFixed(handle=0, data=bits("0046")),
                ObservationFixed(handle=1, data=bits("0062") + STAMP),
            ),
        )
        if kind == "fixed"
        else PersonScan(person=None, variable=(ObservationVar(handle=0, attributes=told),))
    )
    tolerated: list[Tolerated] = []
    decoder = ReportDecoder(Configuration(config_id=0x4000, objects=(SPO2,)), tolerated=tolerated)
    report = ScanReport(event_type=Noti.SCAN_REPORT_FIXED, handle=0, data_req_id=0xF000, number=0, scans=(scan,))
    assert [str(each.value) for each in decoder.decode(report)] == (["98"] if kind == "fixed" else [])
    assert tolerated == []


# Segments


def test_a_segment_s_statics_and_times_hold_for_all_its_entries() -> None:
    element = SegmentElement(
        object_class=ObjectClass.METRIC_NU,
        type=SPO2_TYPE,
        handle=77,
        value_map=(),
    )
    with pytest.raises(DecodeError):
        ReportDecoder(Configuration(config_id=1, objects=())).decode_segment(
            SegmentEntryMap(header=0, elements=(element,)), b"\0\0"
        )
    mapped = SegmentEntryMap(header=0x4000, elements=(replace_map(element, BASIC),))
    statics = SegmentStatics(
        object_class=ObjectClass.METRIC_NU,
        type=SPO2_TYPE,
        attributes=(attribute(Attr.UNIT_CODE, bits("0220")),),
    )
    decoder = ReportDecoder(Configuration(config_id=1, objects=()), clocks=CLOCKS)
    measured = decoder.decode_segment(mapped, bits("00001f40 0062 00003e80 0061".replace(" ", "")), statics=(statics,))
    assert [(str(m.value), m.unit, m.device_time.isoformat() if m.device_time else None) for m in measured] == [
        ("98", "%", "2026-11-21T19:33:46.5"),
        ("97", "%", "2026-11-21T19:33:47.5"),
    ]
    with pytest.raises(DecodeError):
        decoder.decode_segment(mapped, bits("00001f400062 0000".replace(" ", "")))


def test_an_element_that_names_no_object_is_the_declared_one_of_its_type() -> None:
    """What it was declared with holds, the unit above all; of two alike it could be either."""
    element = SegmentElement(object_class=ObjectClass.METRIC_NU, type=SPO2_TYPE, handle=0, value_map=(BASIC,))
    mapped = SegmentEntryMap(header=0x8000, elements=(element,))
    entry = bits("20261121193346500062")
    (measured,) = ReportDecoder(Configuration(config_id=0x4000, objects=(SPO2,))).decode_segment(mapped, entry)
    assert (measured.code, measured.unit) == (150456, "%")
    alike = Configuration(config_id=0x4000, objects=(SPO2, numeric(2, 150456, 0x0200)))
    (measured,) = ReportDecoder(alike).decode_segment(mapped, entry)
    assert measured.unit == "1"


@pytest.mark.parametrize("header", [0x0800, 0x8001, 0x4400])
def test_entries_that_begin_with_something_unknown_are_refused_and_not_misread(header: int) -> None:
    """antidote's manager refuses them, too: what stands there has no known size."""
    element = SegmentElement(object_class=ObjectClass.METRIC_NU, type=SPO2_TYPE, handle=1, value_map=(BASIC,))
    decoder = ReportDecoder(Configuration(config_id=0x4000, objects=(SPO2,)))
    with pytest.raises(DecodeError):
        decoder.decode_segment(SegmentEntryMap(header=header, elements=(element,)), bits("20261121193346500062"))


def replace_map(element: SegmentElement, *entries: MapEntry) -> SegmentElement:
    return SegmentElement(
        object_class=element.object_class, type=element.type, handle=element.handle, value_map=entries
    )


# Noise


@given(st.data())
def test_noise_in_any_attribute_is_refused_with_the_declared_error_or_understood(data: st.DataObject) -> None:
    specialization = data.draw(st.sampled_from(list(SPECIALIZATIONS.values())))
    declared = data.draw(st.sampled_from(specialization.extended.objects))
    told = data.draw(
        st.lists(st.tuples(st.sampled_from(list(Attr)), st.binary(max_size=24).map(bytes.hex)), max_size=5)
    )
    tolerated: list[Tolerated] = []
    decoder = ReportDecoder(specialization.extended, clocks=CLOCKS, tolerated=tolerated)
    try:
        measured = decoder.decode(variable(declared.handle, told))
    except DecodeError:
        return
    assert loads(dumps(measured)) == measured


def test_a_measurement_carries_no_time_that_the_device_did_not_send() -> None:
    measured = only_one(observe(SPO2, (Attr.NU_VAL_OBS_BASIC, "0062")))
    assert (measured.device_time, measured.clock_set) == (None, True)
    assert isinstance(CLOCKS.absolute, DeviceTime)
