"""Reports of 20601 agents and frames of serial devices, from their bytes to the profiles; and each measurement once."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bridge.fhir import Untranslatable
from bridge.fhir.codes import CABLE_IDENTIFIER, EUI64, SPECIALIZATIONS
from bridge.fhir.times import CURRENT, SYNC_TOLERANCE
from bridge.fhir.translate import Translated, bundle
from tests import phd
from tests.bridge.fhir.corpus import COPENHAGEN, HUB, MONO_US, RECEIVED, clock, local, reading
from tests.bridge.fhir.translated import read_back, reason, translate
from tests.wire.agents import (
    COUNTED,
    attribute_list,
    context,
    fixed,
    full_mds,
    mds,
    recorded,
    report,
    segment_data,
    segment_info,
    variable,
    with_invoke_id,
)
from tests.wire.envelopes import changed_bytes
from tests.wire.vectors import Vector, load
from tests.wire.x73.support import AGENT_ID, SESSION, VECTORS
from wire.decoding import meaning_of
from wire.evidence import AgentContext, AgentContextKind, AgentReport, Clock, ClockState, Device, Evidence, SerialFrame
from wire.serial import FORMAT_NUMBERS, SerialFormat
from wire.x73 import specializations as agents
from wire.x73.codes import Attr
from wire.x73.times import encode_absolute, encode_base_offset

NOW = clock()
JUST_NOW = local(timedelta(seconds=5))
SAMPLES = {
    Attr.NU_VAL_OBS_BASIC: "f2bc",
    Attr.NU_VAL_OBS_SIMP: "fe0000f0",
    Attr.NU_CMPD_VAL_OBS_BASIC: "0003 0006 0078 0050 005d",
    Attr.ENUM_OBS_VAL_SIMP_OID: "7148",
    Attr.ENUM_OBS_VAL_BASIC_BIT_STR: "8001",
    Attr.ENUM_OBS_VAL_SIMP_BIT_STR: "80000001",
    Attr.SIMP_SA_OBS_VAL: "0064" + "0190" * 50,
}


def sent(*several: Translated) -> dict[str, Any]:
    """The Bundle as it leaves the bridge, sound in every way that we can judge."""
    made = read_back(*several)
    phd.assert_conformant(made)
    return made


def written(evidence: Evidence) -> list[tuple[int, str | None, str]]:
    """Of each Observation the code, the number and the effective time."""
    return [
        (
            phd.mdc_code(one["code"]),
            str(one["valueQuantity"]["value"]) if "valueQuantity" in one else None,
            one["effectiveDateTime"],
        )
        for one in phd.observations(sent(translate(evidence)))
    ]


def measured(evidence: Evidence) -> list[str]:
    """The identifiers of the measurements, without time stamps."""
    return [one["identifier"][0]["value"] for one in phd.observations(bundle([translate(evidence)]))]


def shows(
    moment: datetime, *, before: timedelta = timedelta(seconds=1), state: int = 0, read_us: int | None = None
) -> AgentContext:
    """The MDS with an absolute clock, as the hub read it."""
    info = state.to_bytes(2, "big") + bytes(14)
    before_us = before // timedelta(microseconds=1) if read_us is None else read_us
    return mds((Attr.TIME_ABS, encode_absolute(moment)), (Attr.MDS_TIME_INFO, info), before_us=before_us, clock=NOW)


def spo2(stamp: datetime, *items: AgentContext, value: str = "0061", invoke_id: int = 1) -> AgentReport:
    apdu = fixed((1, bytes.fromhex(value) + encode_absolute(stamp)), invoke_id=invoke_id)
    return report(apdu, 0x0190, *items, received=NOW)


# What agents and serial devices send becomes Observations.


def test_the_measured_session_becomes_an_oximeters_observations() -> None:
    there = clock(datetime(2026, 11, 21, 18, 33, 47, tzinfo=RECEIVED.tzinfo))
    evidence = report(SESSION["report"], 0x0190, context(AgentContextKind.MDS, SESSION["mds"][20:]), received=there)
    assert written(evidence) == [
        (150456, "96.5", "2026-11-21T19:33:46.500+01:00"),
        (149530, "63.5", "2026-11-21T19:33:46.500+01:00"),
    ]
    made = sent(translate(evidence))
    assert {(phd.vital_signs_profile(one) or "").rpartition("/")[2] for one in phd.observations(made)} == {
        "oxygensat",
        "heartrate",
    }
    (device,) = (each["resource"] for each in made["entry"] if "PhdDevice" in each["resource"]["meta"]["profile"][0])
    (identifier,) = device["identifier"]
    assert (identifier["system"], identifier["value"]) == (EUI64, "11-33-55-77-99-BB-DD-FF")
    assert [each["systemType"]["coding"][0]["code"] for each in device["specialization"]] == ["528388"]


@pytest.mark.parametrize("case", [v for v in VECTORS.values() if {"values", "pressures"} & set(v.expected)], ids=str)
def test_what_real_devices_stored_years_ago_by_their_clock_comes_with_the_right_distance(case: Vector) -> None:
    stamps = [
        datetime.fromisoformat(each.device_time.isoformat())
        for each in meaning_of(recorded(case.id)).everything
        if each.device_time
    ]
    shown = max(stamps) + timedelta(minutes=10)
    evidence = recorded(case.id, shows(shown), received=NOW)
    read = RECEIVED - timedelta(seconds=1)
    assert [datetime.fromisoformat(row[2]) for row in written(evidence)] == [
        (read - (shown - stamp)).replace(microsecond=0 if not stamp.microsecond else read.microsecond)
        for stamp in stamps
    ]
    assert len(phd.time_stamps(sent(translate(evidence)))) == 1


@pytest.mark.parametrize("number", sorted(agents.SPECIALIZATIONS))
def test_everything_that_a_specialization_knows_becomes_conformant_observations(number: int) -> None:
    kind = agents.SPECIALIZATIONS[number]
    observations = []
    for each in kind.extended.by_handle.values():
        data = b""
        for entry in each.value_map or ():
            stamp = encode_absolute(JUST_NOW)
            data += stamp if entry.attribute == Attr.TIME_STAMP_ABS else bytes.fromhex(SAMPLES[Attr(entry.attribute)])
        observations.append((each.handle, data))
    evidence = report(
        fixed(*observations),
        kind.extended.encode(),
        full_mds(number, kind.extended.config_id, local(timedelta(seconds=1)), clock=NOW),
        received=NOW,
    )
    made = sent(translate(evidence))
    assert [phd.mdc_code(one["code"]) for one in phd.observations(made)] == [
        each.code for each in kind.extended.by_handle.values()
    ]
    assert {one["effectiveDateTime"] for one in phd.observations(made)} == {"2026-11-21T10:30:10.250+01:00"}
    (device,) = (each["resource"] for each in made["entry"] if "PhdDevice" in each["resource"]["meta"]["profile"][0])
    assert (device["manufacturer"], device["modelNumber"], device["serialNumber"]) == (
        "A&D Medical",
        "UC-321PBT-C",
        "5061250042",
    )
    (specialization,) = device["specialization"]
    assert specialization["systemType"]["coding"][0]["code"] == str((8 << 16) + kind.profile)
    assert specialization["version"] == "1"
    assert all(
        one["device"]["reference"] in {each["fullUrl"] for each in made["entry"]} for one in phd.observations(made)
    )
    for each in kind.extended.by_handle.values():
        assert each.code in SPECIALIZATIONS


def frame(format_: SerialFormat, data: bytes, address: str = "001C05FFE874", received: Clock = NOW) -> SerialFrame:
    device = Device(address=bytes.fromhex(address))
    return SerialFrame(device=device, received=received, format=FORMAT_NUMBERS[format_], frame=data)


_SERIAL = [
    (SerialFormat(kind.removeprefix("serial:")), each)
    for each in load("serial.json")
    if (kind := each.kind) != "serial:nonin-reply" and "invalid" not in each.expected
]


@pytest.mark.parametrize(("format_", "case"), _SERIAL, ids=[str(each) for _, each in _SERIAL])
def test_every_frame_of_a_serial_device_becomes_conformant_observations_or_has_a_reason(
    format_: SerialFormat, case: Vector
) -> None:
    evidence = frame(format_, case.value)
    stamps = [each.device_time for each in meaning_of(evidence).everything]
    if format_ is SerialFormat.NONIN_DF8:
        assert {row[2] for row in written(evidence)} == {"2026-11-21T10:30:15.250+01:00"}
        return
    known = [stamp for stamp in stamps if stamp is not None and stamp.known]
    if not known:
        assert reason(evidence) == "device-time"
        return
    shown = datetime.fromisoformat(known[0].isoformat())
    there = clock(shown.replace(tzinfo=COPENHAGEN) + timedelta(seconds=3))
    if shown.year < 2024:
        assert reason(replace(evidence, received=there)) in {"hub-time-unknown", "device-time"}
        return
    assert {row[2][:19] for row in written(replace(evidence, received=there))} == {known[0].isoformat()}


def test_a_spirometers_blow_is_written_at_its_local_time() -> None:
    text = b"FTD0000012946363399091404363086000000000" + b"261121103010" + b"0" + b"100"
    body = b"\x02" + text + b"\x03"
    checksum = 0
    for octet in body:
        checksum ^= octet
    rows = written(frame(SerialFormat.VITALOGRAPH_LUNG_MONITOR, body + bytes((checksum,))))
    assert {row[2] for row in rows} == {"2026-11-21T10:30:10+01:00"}
    assert [row[0] for row in rows] == [152586, 152587, 188936, 188960]


def test_a_device_on_a_cable_is_its_hubs_and_no_bluetooth_device() -> None:
    evidence = frame(SerialFormat.NONIN_DF8, bytes.fromhex("80486220"), address="020000000001")
    devices = [translate(evidence, hub=hub).entries[0].resource for hub in (HUB, "hub-0002")]
    assert [each["identifier"] for each in devices] == [
        [{"system": CABLE_IDENTIFIER, "value": f"{hub}/02-00-00-00-00-01"}] for hub in (HUB, "hub-0002")
    ]
    sent(translate(evidence))


# When.


def test_a_clock_that_agrees_leaves_the_stamp_as_it_is_and_is_documented() -> None:
    made = sent(translate(spo2(JUST_NOW, shows(local(timedelta(seconds=1))))))
    (one,) = phd.observations(made)
    assert one["effectiveDateTime"] == "2026-11-21T10:30:10.250+01:00"
    (time_stamp,) = phd.time_stamps(made)
    assert time_stamp["valueDateTime"] == time_stamp["effectiveDateTime"] == "2026-11-21T10:30:14.250+01:00"


@pytest.mark.parametrize(
    ("behind", "state", "effective"),
    [
        (timedelta(seconds=30), 0x0000, "2026-11-21T10:30:10.250+01:00"),
        (timedelta(seconds=30), 0x0080, "2026-11-21T10:29:40.250+01:00"),
        (timedelta(minutes=30), 0x0080, "2026-11-21T10:30:10.250+01:00"),
    ],
    ids=["no claim: carried over", "a claim within two minutes: believed", "a claim that is hours off: not believed"],
)
def test_a_clock_that_claims_to_be_kept_right_is_believed_within_reason(
    behind: timedelta, state: int, effective: str
) -> None:
    assert SYNC_TOLERANCE < timedelta(seconds=30) < CURRENT < timedelta(minutes=30)
    evidence = spo2(JUST_NOW - behind, shows(local(timedelta(seconds=1)) - behind, state=state))
    assert written(evidence)[0][2] == effective


def base_offset(stamp: datetime, *items: AgentContext) -> AgentReport:
    apdu = fixed((3, b"\x00\x61" + encode_base_offset(stamp)))
    return report(apdu, COUNTED.encode(), *items, received=NOW)


def test_a_base_offset_time_that_agrees_is_kept_with_its_own_offset_and_needs_no_time_stamp() -> None:
    away = RECEIVED.astimezone(datetime.fromisoformat("2026-01-01T00:00:00-05:00").tzinfo)
    shown = mds((Attr.TIME_BO, encode_base_offset(away - timedelta(seconds=1))), clock=NOW)
    made = sent(translate(base_offset(away - timedelta(seconds=5), shown)))
    (one,) = phd.observations(made)
    assert one["effectiveDateTime"] == "2026-11-21T04:30:10.250-05:00"
    assert phd.time_stamps(made) == []


def test_a_base_offset_time_that_is_off_is_carried_over_and_its_clock_documented() -> None:
    away = RECEIVED.astimezone(datetime.fromisoformat("2026-01-01T00:00:00-05:00").tzinfo) - timedelta(days=300)
    shown = mds((Attr.TIME_BO, encode_base_offset(away - timedelta(seconds=1))), clock=NOW)
    made = sent(translate(base_offset(away - timedelta(seconds=5), shown)))
    (one,) = phd.observations(made)
    assert one["effectiveDateTime"] == "2026-11-21T10:30:10.250+01:00"
    (time_stamp,) = phd.time_stamps(made)
    assert {each["code"] for each in time_stamp["code"]["coding"]} == {"68226", "68225"}
    assert time_stamp["valueDateTime"] == "2026-01-25T04:30:14.250-05:00"


def test_a_base_offset_time_of_an_agent_that_shows_no_clock_is_trusted_as_far_as_any_other() -> None:
    assert written(base_offset(RECEIVED - timedelta(days=3)))[0][2] == "2026-11-18T09:30:15.250+00:00"
    assert reason(base_offset(RECEIVED - timedelta(days=500))) == "device-time"


@pytest.mark.parametrize(("object_", "size", "per_s", "code"), [(1, 4, 8000, "67983"), (2, 8, 1_000_000, "68072")])
def test_a_counter_is_given_a_date_by_the_hubs_clock_and_shown_in_microseconds(
    object_: int, size: int, per_s: int, code: str
) -> None:
    attribute = Attr.TIME_REL if size == 4 else Attr.TIME_REL_HI_RES
    apdu = fixed((object_, b"\x00\x61" + (100 * per_s).to_bytes(size, "big")))
    shown = mds((attribute, (102 * per_s).to_bytes(size, "big")), clock=NOW)
    made = sent(translate(report(apdu, COUNTED.encode(), shown, received=NOW)))
    (one,) = phd.observations(made)
    assert one["effectiveDateTime"] == "2026-11-21T10:30:12.250+01:00"
    (time_stamp,) = phd.time_stamps(made)
    assert time_stamp["code"]["coding"][0]["code"] == code
    assert time_stamp["effectiveDateTime"] == "2026-11-21T10:30:14.250+01:00"
    assert (time_stamp["valueQuantity"]["value"], time_stamp["valueQuantity"]["code"]) == (102_000_000, "us")


def test_a_counter_that_the_agent_does_not_show_or_that_points_past_us_is_refused() -> None:
    apdu = fixed((1, b"\x00\x61" + (8000 * 600).to_bytes(4, "big")))
    assert reason(report(apdu, COUNTED.encode(), received=NOW)) == "device-time"
    stopped = mds((Attr.TIME_REL, bytes(4)), clock=NOW)
    assert reason(report(apdu, COUNTED.encode(), stopped, received=NOW)) == "device-time"


def test_a_live_value_without_a_time_was_measured_when_it_came() -> None:
    assert written(report(fixed((4, b"\xf2\xbc")), COUNTED.encode(), received=NOW)) == [
        (188736, "70.0", "2026-11-21T10:30:15.250+01:00")
    ]


def entry(stamp: datetime, value: str = "fe001b58") -> bytes:
    return encode_absolute(stamp) + bytes.fromhex(value)


SEGMENT = context(AgentContextKind.SEGMENT, segment_info(), clock=NOW)


def test_a_stored_value_that_nobody_dated_never_gets_the_time_of_reception() -> None:
    unset = report(segment_data(bytes(8) + bytes.fromhex("fe001b58")), 0x05DC, SEGMENT, received=NOW)
    assert reason(unset) == "device-time"
    dateless = context(AgentContextKind.SEGMENT, segment_info(absolute=False), clock=NOW)
    assert reason(report(segment_data(bytes.fromhex("fe001b58")), 0x05DC, dateless, received=NOW)) == "device-time"
    assert reason(reading(0x2A18, "0A 0500 EA070B150A1E00 5AB0 11 0008")) == "device-time"
    assert reason(reading(0x2A34, "02 0500 03")) == "device-time"


def test_a_spot_check_from_an_oximeters_memory_has_its_own_time_or_none() -> None:
    asked = (replace(reading(0x2A5E, "").context[0], characteristic=0x2A52, value=b"\x01\x01"),)
    stamp = "EA07 0B 12 07 1E 00"
    assert {row[2] for row in written(reading(0x2A5E, "01 6200 4800" + stamp, context=asked))} == {
        "2026-11-18T07:30:00+01:00"
    }
    for unset in ("11 6200 4800" + stamp, "01 6200 4800 0000 0B 12 07 1E 00", "00 6200 4800"):
        assert reason(reading(0x2A5E, unset, context=asked)) == "device-time"
        assert {row[2] for row in written(reading(0x2A5E, unset))} == {"2026-11-21T10:30:15.250+01:00"}


@pytest.mark.parametrize("off", [timedelta(minutes=-30), timedelta(minutes=7), timedelta(days=-6000)], ids=str)
def test_each_stamp_is_dated_by_the_clock_that_made_it_when_the_hub_has_set_it(off: timedelta) -> None:
    """The MDS was read, the clock set, the MDS read again; what was stored before keeps its stamps."""
    before = shows(local(timedelta(seconds=20)) + off, read_us=20_000_000)
    after = shows(local(timedelta(seconds=18)), read_us=18_000_000)
    two_days, three_minutes = timedelta(days=2), timedelta(minutes=3)
    for ago in (two_days, three_minutes):
        stored = spo2(local(ago) + off, before, after)
        assert written(stored)[0][2] == (RECEIVED - ago).astimezone(COPENHAGEN).isoformat(timespec="milliseconds")
    live = spo2(JUST_NOW, before, after)
    assert written(live)[0][2] == "2026-11-21T10:30:10.250+01:00"
    assert measured(live) == measured(spo2(JUST_NOW))


def test_a_hub_that_learnt_the_time_later_dates_an_agents_report_too() -> None:
    unset = clock(RECEIVED - timedelta(days=9000), state=ClockState.UNSET)
    evidence = report(fixed((4, b"\xf2\xbc")), COUNTED.encode(), received=unset)
    assert reason(evidence) == "hub-time-unknown"
    sealed = clock(RECEIVED + timedelta(minutes=1), mono_us=MONO_US + 60_000_000)
    (one,) = phd.observations(bundle([translate(evidence, sealed=sealed)]))
    assert one["effectiveDateTime"] == "2026-11-21T10:30:15.250+01:00"


# Whose, and whether anybody's.


def test_a_test_association_and_a_demonstration_are_nobodys_measurements() -> None:
    aarq = bytearray(SESSION["aarq"])
    aarq[aarq.index(bytes.fromhex("008000000008")) - 4] = 0x20
    said = context(AgentContextKind.ASSOCIATION, bytes(aarq), clock=NOW)
    assert reason(spo2(JUST_NOW, said)) == "test-data"
    observed = ((Attr.NU_VAL_OBS_BASIC, b"\x00\x61"), (Attr.MSMT_STAT, b"\x04\x00"))
    assert reason(report(variable((1, attribute_list(*observed))), received=NOW)) == "test-data"


def test_beside_a_demonstration_a_measurement_is_still_the_citizens() -> None:
    demonstration = attribute_list((Attr.NU_VAL_OBS_BASIC, b"\x00\x61"), (Attr.MSMT_STAT, b"\x04\x00"))
    apdu = variable((1, demonstration), (10, attribute_list((Attr.NU_VAL_OBS_BASIC, b"\x00\x48"))))
    assert [row[:2] for row in written(report(apdu, received=NOW))] == [(149530, "72")]


def test_whatever_an_agent_says_is_written_or_has_a_reason() -> None:
    chance = random.Random(7)  # noqa: S311  (a test that can be repeated, not a secret)
    sound = (
        spo2(JUST_NOW, shows(local(timedelta(seconds=1)))),
        base_offset(RECEIVED, mds((Attr.TIME_BO, encode_base_offset(RECEIVED)), clock=NOW)),
        report(segment_data(entry(JUST_NOW)), 0x05DC, SEGMENT, received=NOW),
    )
    ends = set()
    for turn in range(400):
        evidence = sound[turn % 3]
        item = evidence.context[0]
        if chance.random() < 0.3:
            item = replace(
                item, value=changed_bytes(item.value, chance), mono_us=chance.choice((0, item.mono_us, 1 << 52))
            )
            evidence = replace(evidence, context=(item,))
        else:
            evidence = replace(evidence, apdu=changed_bytes(evidence.apdu, chance))
        try:
            translate(evidence)
        except Untranslatable as refusal:
            ends.add(refusal.reason)
        else:
            ends.add("written")
    assert {"written", "undecodable", "device-time"} <= ends


# Once.


def later(evidence: AgentReport, apdu: bytes | None = None, *, days: int = 1) -> AgentReport:
    """The same report when the agent associates again: read by a hub that has restarted, on another day."""
    moved = clock(RECEIVED + timedelta(days=days), mono_us=77_000_000, boot=bytes(16))
    items = tuple(
        replace(each, mono_us=moved.mono_us - 500_000)
        if each.kind is not AgentContextKind.MDS
        else mds(
            (Attr.TIME_ABS, encode_absolute(local(timedelta(seconds=0.5)) + timedelta(days=days))),
            before_us=500_000,
            clock=moved,
        )
        for each in evidence.context
    )
    return replace(evidence, received=moved, context=items, apdu=apdu or evidence.apdu)


def test_a_confirmed_report_that_is_sent_again_after_a_cut_is_the_same_observations() -> None:
    first = spo2(JUST_NOW, shows(local(timedelta(seconds=1))))
    again = later(first, with_invoke_id(first.apdu, 99))
    assert measured(first) == measured(again)
    assert measured(first) != measured(replace(first, device=Device(address=AGENT_ID[:-1] + b"\x01")))


def test_a_measurement_is_the_same_in_whatever_company_layout_and_precision_it_comes() -> None:
    alone = spo2(JUST_NOW, value="03CA")
    in_company = report(
        fixed(
            (10, b"\x00\x48" + encode_absolute(JUST_NOW)),
            (1, b"\xf0\x61" + encode_absolute(JUST_NOW - timedelta(minutes=1))),
            (1, b"\x03\xca" + encode_absolute(JUST_NOW)),
            number=7,
        ),
        received=NOW,
    )
    as_variable = report(
        variable(
            (
                1,
                attribute_list(
                    (Attr.NU_VAL_OBS_SIMP, bytes.fromhex("FF0025E4")), (Attr.TIME_STAMP_ABS, encode_absolute(JUST_NOW))
                ),
            )
        ),
        received=NOW,
    )
    assert measured(alone)[0] in measured(in_company)
    assert measured(alone) == measured(as_variable)
    assert len(set(measured(in_company))) == 3


@pytest.mark.parametrize(
    "other",
    [
        spo2(JUST_NOW, value="0062"),
        spo2(JUST_NOW + timedelta(seconds=1)),
        report(fixed((10, b"\x00\x61" + encode_absolute(JUST_NOW))), received=NOW),
        report(fixed((1, b"\x00\x61" + encode_absolute(JUST_NOW))), 0x0191, received=NOW),
    ],
    ids=["value", "time", "code", "supplemental type"],
)
def test_measurements_that_differ_are_different_observations(other: AgentReport) -> None:
    assert set(measured(spo2(JUST_NOW))).isdisjoint(measured(other))


def test_a_segment_that_is_transferred_again_in_other_portions_adds_nothing() -> None:
    stamps = [local(timedelta(days=day)) for day in (3, 2, 1)]
    entries = [entry(stamp, f"fe001b5{digit}") for digit, stamp in enumerate(stamps)]

    def transferred(*portions: Sequence[bytes]) -> list[AgentReport]:
        return [report(segment_data(*portion), 0x05DC, SEGMENT, received=NOW) for portion in portions]

    first = transferred(entries)
    again = [later(each) for each in transferred(entries[:1], entries[1:])]
    assert [one for each in first for one in measured(each)] == [one for each in again for one in measured(each)]
    live = report(fixed((1, bytes.fromhex("fe001b50") + encode_absolute(stamps[0]))), 0x05DC, received=NOW)
    assert measured(live) == measured(first[0])[:1]


def test_a_value_without_a_time_is_another_one_each_time_it_comes() -> None:
    evidence = report(fixed((4, b"\xf2\xbc")), COUNTED.encode(), received=NOW)
    assert measured(evidence) == measured(evidence)
    assert measured(evidence) != measured(later(evidence))


def test_a_glucose_sensors_value_is_the_same_live_and_among_the_records() -> None:
    start = reading(0x2AAA, "EA07 0B 15 08 00 00 04 00").value
    session = [replace(item, characteristic=0x2AAA, value=start) for item in reading(0x2A5E, "").context[:1]]
    live = reading(0x2AA7, "06 00 5A00 5500", context=session)
    stored = reading(
        0x2AA7,
        "06 00 5900 5000 06 00 5A00 5500",
        context=[*session, replace(session[0], characteristic=0x2A52, value=b"\x01\x01")],
    )
    assert measured(live)[0] == measured(stored)[1]
    assert [row[2] for row in written(stored)] == ["2026-11-21T09:20:00+01:00", "2026-11-21T09:25:00+01:00"]


def test_a_glucose_sensor_whose_clock_is_a_day_fast_is_carried_over_by_its_session() -> None:
    bare = reading(0x2A5E, "").context[0]
    start = replace(bare, characteristic=0x2AAA, value=bytes.fromhex("EA07 0B 16 08 00 00 04 00".replace(" ", "")))
    status = replace(bare, characteristic=0x2AA9, mono_us=MONO_US, value=(150).to_bytes(2, "little") + bytes(3))
    asked = replace(bare, characteristic=0x2A52, value=b"\x01\x01")
    value = reading(0x2AA7, "06 00 5A00 5500", context=[start, status, asked])
    assert [row[2] for row in written(value)] == ["2026-11-21T09:25:15+01:00"]
    right = replace(start, value=bytes.fromhex("EA070B1508000004 00".replace(" ", "")))
    assert [row[2] for row in written(replace(value, context=(right, status, asked)))] == ["2026-11-21T09:25:00+01:00"]


def test_a_stored_result_is_the_same_whether_or_not_the_device_says_that_it_is_stored() -> None:
    shown = JUST_NOW.strftime("%Y%m%d%H%M%S")
    frames = []
    for status in ("0000", "0010"):
        body = bytes.fromhex(f"{shown}00{status}00480062")
        assert len(body) == 14
        frames.append(bytes.fromhex("0002000d000e") + body + bytes((sum(body) & 0xFF, 0x03)))
    live, repeated = (frame(SerialFormat.NONIN_DF13, each) for each in frames)
    assert measured(live) == measured(repeated)
