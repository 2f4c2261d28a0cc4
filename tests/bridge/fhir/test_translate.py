"""Identity, and what follows from it: once, whoever sends it and however often."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.fhir import json as fhir_json
from bridge.fhir.translate import (
    SYSTEM,
    Gateway,
    Phd,
    Translated,
    Untranslatable,
    bundle,
    translate_measurements,
)
from tests import phd
from tests.bridge.fhir.corpus import (
    CASES,
    COPENHAGEN,
    HUB,
    INFORMATION,
    MONO_US,
    PATIENT,
    RECEIVED,
    SYSTEM_ID,
    clock,
    date_time,
    local,
    reading,
    reads,
)
from tests.bridge.fhir.translated import read_back, reason, translate
from tests.wire.measurements import measurements
from wire.batch import encode_reading
from wire.evidence import Clock, ClockState, Context, Device, Reading
from wire.gatt import MEASUREMENTS
from wire.gatt.cgm import crc
from wire.measurement import Measurement

STAMPED = reading(0x2A5E, "01 C5F3 7BF2" + date_time(local()).hex())
BARE = reading(0x2A5E, "00 C5F3 7BF2")
LATER = clock(RECEIVED + timedelta(days=1), mono_us=MONO_US + 86_400_000_000)


def measured(one: Translated) -> tuple[str, ...]:
    """Identifiers of the measurements alone, without coincident time stamps."""
    return tuple(resource["identifier"][0]["value"] for resource in phd.observations(bundle([one])))


def written(*several: Translated) -> str:
    return fhir_json.dumps(bundle(several)).decode()


def test_several_values_of_a_kind_in_one_reading_are_all_observations() -> None:
    made = translate(reading(0x2A37, "10 4B 0404 0804 0404"))
    assert len(set(measured(made))) == 4


def test_the_same_reading_is_the_same_bundle_byte_for_byte() -> None:
    for case in CASES:
        again = replace(case.reading, context=tuple(replace(item) for item in case.reading.context))
        assert written(translate(case.reading)) == written(translate(again))


def test_the_encoded_reading_spares_work_and_changes_nothing() -> None:
    assert written(translate(BARE)) == written(translate(BARE, encoded=encode_reading(BARE)))


def test_a_stored_measurement_sent_again_is_the_same_observation_whoever_sends_it() -> None:
    other_day = replace(STAMPED, received=LATER, context=())
    assert measured(translate(STAMPED)) == measured(translate(other_day))
    assert measured(translate(STAMPED)) == measured(translate(STAMPED, hub="hub-0002"))


def test_a_blood_pressure_is_one_observation_whether_it_came_live_or_in_a_record() -> None:
    value = "1E 7A00 5000 5E00" + date_time(local()).hex() + "4800 01 0000"
    header = "03 0700 352A"
    record = bytes.fromhex(header + value)
    checked = record + crc(record).to_bytes(2, "little")
    live = measured(translate(reading(0x2A35, value)))
    assert live
    assert measured(translate(reading(0x2B36, record.hex()))) == live
    assert measured(translate(reading(0x2B36, checked.hex()))) == live


def test_a_measurement_without_a_time_of_its_own_is_new_each_time_it_is_received() -> None:
    for one in (
        BARE,
        reading(0x2A5E, "11 C5F3 7BF2" + date_time(local()).hex()),
        reading(0x2A1C, "02 6D0100FF" + "0000 0B 15 0A1E00"),
    ):
        assert not set(measured(translate(one))) & set(measured(translate(replace(one, received=LATER))))


@pytest.mark.parametrize("one", [STAMPED, BARE], ids=["stamped", "without time"])
def test_another_patient_device_or_key_is_another_observation(one: Reading) -> None:
    elsewhere = replace(one, device=Device(address=bytes(6)))
    several = (
        translate(one),
        translate(one, patient="Patient/other"),
        translate(one, identifier_key=bytes(32)),
        translate(elsewhere),
    )
    for first, second in combinations(map(measured, several), 2):
        assert not set(first) & set(second)


def test_equal_values_within_one_reading_stay_apart() -> None:
    intervals = translate(reading(0x2A37, "10 4B 0404 0404 0404"))
    assert len(set(intervals.observations)) == 4


def test_identifiers_come_in_entry_order_and_carry_the_conditional_create() -> None:
    made = translate(STAMPED)
    entries = [entry for entry in made.entries if entry.resource["resourceType"] == "Observation"]
    assert made.observations == tuple(entry.resource["identifier"][0]["value"] for entry in entries)
    assert [entry.request["ifNoneExist"] for entry in entries] == [
        f"identifier={SYSTEM}|{value}" for value in made.observations
    ]
    assert phd.is_time_stamp(entries[0].resource)


def test_no_observation_shows_the_devices_address_the_patients_number_or_a_long_identifier() -> None:
    for case in CASES:
        made = translate(case.reading, patient="Patient/0101701234")
        for entry in made.entries:
            if entry.resource["resourceType"] == "Observation":
                assert re.fullmatch("[0-9a-f]{32}", entry.resource["identifier"][0]["value"])
                assert "0101701234" not in entry.request["ifNoneExist"]
                assert not re.search(
                    "001C05FFE874|00-1C-05-FF-E8-74", fhir_json.dumps(entry.resource).decode(), re.IGNORECASE
                )


def test_a_bundle_holds_devices_and_what_was_sent_twice_once() -> None:
    again = replace(STAMPED, received=LATER, context=())
    sent = bundle([translate(STAMPED), translate(BARE), translate(again), translate(STAMPED)])
    urls = [entry["fullUrl"] for entry in sent["entry"]]
    assert len(set(urls)) == len(urls)
    assert len([one for one in sent["entry"] if one["resource"]["resourceType"] == "Device"]) == 2
    assert len(phd.observations(sent)) == 4
    phd.assert_conformant(sent)


def test_measurements_of_one_connection_share_one_coincident_time_stamp() -> None:
    context = (*INFORMATION, SYSTEM_ID, reads(local(timedelta(seconds=30))))
    older = date_time(local(timedelta(days=2))).hex()
    sent = bundle(
        [
            translate(reading(0x2A5E, "01 C5F3 7BF2" + date_time(local()).hex(), context=context)),
            translate(reading(0x2A5E, "01 C5F3 7BF2" + older, context=context)),
        ]
    )
    assert len(phd.time_stamps(sent)) == 1
    assert len(phd.observations(sent)) == 4
    phd.assert_conformant(sent)


def test_a_measurement_sent_twice_by_a_device_whose_clock_nobody_can_read_has_one_time_stamp() -> None:
    again = replace(STAMPED, received=clock(RECEIVED + timedelta(seconds=40), mono_us=MONO_US + 40_000_000))
    sent = bundle([translate(STAMPED), translate(again)])
    assert len(phd.time_stamps(sent)) == 1
    assert len(phd.observations(sent)) == 2


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (reading(0x2A5E, "00"), "undecodable"),
        (reading(0x2AFF, "00"), "undecodable"),
        (reading(0x2A24, b"Model"), "nothing-to-report"),
        (reading(0x2A5E, "02 6200 4800 0008"), "test-data"),
        (reading(0x2A5E, "02 6200 4800 0004"), "test-data"),
        (reading(0x2A5E, "01 6200 4800" + "D007 01 01 00 00 00"), "device-time"),
        (replace(BARE, received=clock(state=ClockState.UNSET)), "hub-time-unknown"),
    ],
    ids=["cut short", "unknown characteristic", "no measurement", "test", "demonstration", "year 2000", "hub unset"],
)
def test_what_cannot_be_an_observation_is_quarantined_with_its_reason(one: Reading, expected: str) -> None:
    assert reason(one) == expected


def test_a_refusal_says_nothing_of_values_patient_or_device() -> None:
    with pytest.raises(Untranslatable) as refusal:
        translate(BARE, patient="0101701234")
    assert refusal.value.reason == "unrepresentable"
    assert "0101701234" not in str(refusal.value)


def test_a_reading_received_before_the_hub_knew_the_time_gets_its_time_from_the_batch() -> None:
    unset = replace(BARE, received=clock(RECEIVED - timedelta(days=20_000), state=ClockState.UNSET))
    sealed = clock(RECEIVED + timedelta(minutes=1), mono_us=MONO_US + 60_000_000)
    (first, _) = phd.observations(bundle([translate(unset, sealed=sealed)]))
    assert first["effectiveDateTime"] == "2026-11-21T10:30:15.250+01:00"


def test_test_data_is_labelled_where_it_is_only_printed() -> None:
    printed = without_evidence(
        '[{"code": 150456, "value": "98", "unit": "%", "status": "test-data", "received": "2026-11-21T10:30:15+01:00"}]'
    )
    assert phd.observations(printed)[0]["meta"]["security"][0]["code"] == "HTEST"


def without_evidence(text: str) -> dict[str, Any]:
    from wire.measurement_json import loads

    return translate_measurements(
        loads(text),
        phd=Phd(address=bytes(6)),
        gateway=Gateway(hub=HUB),
        patient=PATIENT,
        timezone=COPENHAGEN,
    )


def test_a_measurement_without_evidence_and_without_time_says_which_one_it_is() -> None:
    with pytest.raises(Untranslatable, match=r"\[1\]: neither a device time nor a time of reception"):
        without_evidence(
            '[{"code": 1, "value": "1", "unit": "%", "device_time": "2026-11-21T10:30:15"},'
            '{"code": 1, "value": "1", "unit": "%"}]'
        )


@given(several=st.lists(measurements, min_size=1, max_size=3), vital_signs_first=st.booleans())
def test_any_measurement_becomes_a_sound_bundle_or_is_refused(
    several: Sequence[Measurement], *, vital_signs_first: bool
) -> None:
    try:
        made = translate_measurements(
            several,
            phd=Phd(address=bytes(6)),
            gateway=Gateway(hub=HUB),
            patient=PATIENT,
            timezone=COPENHAGEN,
            received=RECEIVED,
            vital_signs_first=vital_signs_first,
        )
    except Untranslatable:
        return
    sent = fhir_json.loads(fhir_json.dumps(made))
    assert phd.lint(sent) == []


contexts = st.builds(
    Context,
    characteristic=st.sampled_from([0x2A2B, 0x2A08, 0x2A23, 0x2A24, 0x2A29, 0x2A26]),
    mono_us=st.integers(0, 2**53 - 1),
    value=st.binary(max_size=12),
)
clocks = st.builds(
    Clock,
    wall_us=st.integers(0, 2**53 - 1),
    mono_us=st.integers(0, 2**53 - 1),
    boot=st.sampled_from([bytes(16), bytes(range(16))]),
    state=st.sampled_from(ClockState),
)
readings = st.builds(
    Reading,
    device=st.builds(Device, address=st.binary(min_size=6, max_size=6), name=st.text(max_size=5)),
    received=clocks,
    characteristic=st.sampled_from(sorted(MEASUREMENTS)),
    value=st.sampled_from([case.reading.value for case in CASES]) | st.binary(max_size=25),
    context=st.lists(contexts, max_size=4).map(tuple),
)


@given(one=readings, sealed=clocks)
def test_any_evidence_becomes_a_sound_bundle_or_is_refused(one: Reading, sealed: Clock) -> None:
    try:
        made = translate(one, sealed=sealed)
    except Untranslatable:
        return
    assert phd.lint(read_back(made)) == []
