"""When it was measured, row by row."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from bridge.fhir import Untranslatable
from bridge.fhir.times import (
    OLDEST,
    ROWS,
    DeviceClock,
    Effective,
    TimeType,
    at_its_word,
    device_clock,
    reception,
    row,
    timing,
)
from tests.bridge.fhir.corpus import BOOT, COPENHAGEN, MONO_US, RECEIVED, clock, reading, reads
from tests.wire.measurements import device_times
from wire.evidence import Clock, ClockState, Context
from wire.measurement import DeviceTime

GUIDE = json.loads((Path(__file__).parents[2] / "vectors" / "fhir_timestamp_mapping.json").read_text())


def stamp(text: str) -> DeviceTime:
    return DeviceTime.fromisoformat(text)


def by_stamp(text: str, received: datetime = RECEIVED, zone: ZoneInfo = COPENHAGEN) -> str:
    return timing(stamp(text), clock_set=True, received=received, clock=None, zone=zone).effective


def shows(text: str, before: timedelta = timedelta(seconds=30)) -> DeviceClock:
    return DeviceClock(phd=stamp(text), phg=RECEIVED - before, key=b"key")


def refused(text: str, received: datetime = RECEIVED, shown: DeviceClock | None = None) -> str:
    with pytest.raises(Untranslatable) as refusal:
        timing(stamp(text), clock_set=True, received=received, clock=shown, zone=COPENHAGEN)
    return refusal.value.reason


def test_the_table_is_the_guides_row_for_row() -> None:
    def written(value: bool | None) -> int | None:
        return None if value is None else int(value)

    ours = [
        [
            one.time_type.value,
            written(one.current),
            written(one.synced),
            written(one.offset),
            one.mapping.value,
            None if one.mapping is Effective.DISCARD else int(one.coincident),
        ]
        for one in ROWS
        if one.time_type is not TimeType.NONE
    ]
    assert GUIDE["rows"] == ours


@pytest.mark.parametrize("time_type", TimeType)
@pytest.mark.parametrize("current", [True, False])
@pytest.mark.parametrize("synced", [True, False])
@pytest.mark.parametrize("offset", [True, False])
def test_one_row_applies_to_every_combination(
    time_type: TimeType, *, current: bool, synced: bool, offset: bool
) -> None:
    found = row(time_type, current=current, synced=synced, offset=offset)
    assert found in ROWS
    assert found.time_type is time_type
    assert found.current in (current, None)
    assert found.synced in (synced, None)


@pytest.mark.parametrize("text", [None, "0000-00-00T10:30:00", "2026-00-21T10:30:00", "2026-11-00T10:30:00"])
def test_no_time_or_a_time_without_a_date_is_the_time_of_reception(text: str | None) -> None:
    found = timing(stamp(text) if text else None, clock_set=True, received=RECEIVED, clock=None, zone=COPENHAGEN)
    assert found.effective == "2026-11-21T10:30:15.250+01:00"
    assert found.row.time_type is TimeType.NONE
    assert found.coincident is None


def test_the_time_of_a_clock_that_was_never_set_is_the_time_of_reception() -> None:
    found = timing(
        stamp("2026-11-21T10:30:00"),
        clock_set=False,
        received=RECEIVED,
        clock=shows("2026-11-21T10:30:00"),
        zone=COPENHAGEN,
    )
    assert found.effective == "2026-11-21T10:30:15.250+01:00"
    assert found.coincident is None


def test_a_clock_that_agrees_is_taken_at_its_word() -> None:
    found = timing(
        stamp("2026-11-21T10:30:10"),
        clock_set=True,
        received=RECEIVED,
        clock=shows("2026-11-21T10:29:44"),
        zone=COPENHAGEN,
    )
    assert found.row == row(TimeType.LOCAL, current=True, synced=True, offset=False)
    assert found.effective == "2026-11-21T10:30:10+01:00"
    assert found.coincident is not None
    assert found.coincident.phg == "2026-11-21T10:29:45.250+01:00"
    assert found.coincident.phd == "2026-11-21T10:29:44+01:00"


def test_a_clock_that_is_six_minutes_behind_is_carried_over_by_six_minutes() -> None:
    # The example of the guide: PHG 10:29:45.250, PHD 10:23:45.
    found = timing(
        stamp("2026-11-21T10:24:10"),
        clock_set=True,
        received=RECEIVED,
        clock=shows("2026-11-21T10:23:45"),
        zone=COPENHAGEN,
    )
    assert found.row == row(TimeType.LOCAL, current=True, synced=False, offset=False)
    assert found.row.mapping is Effective.MAP_PHG_OFFSET
    assert found.effective == "2026-11-21T10:30:10+01:00"
    assert found.coincident is not None
    assert found.coincident.phd == "2026-11-21T10:23:45+01:00"


def test_a_stored_measurement_of_a_factory_clock_is_carried_over_across_summer_time() -> None:
    # Stored 40 days ago, in summer time, by a clock that stands at 2007 and knows no summer time.
    found = timing(
        stamp("2007-11-01T00:00:00"),
        clock_set=True,
        received=RECEIVED,
        clock=shows("2007-12-11T00:00:00", timedelta()),
        zone=COPENHAGEN,
    )
    assert found.effective == "2026-10-12T11:30:15+02:00"
    assert found.coincident is not None
    assert found.coincident.phd == "2007-12-11T00:00:00+01:00"


def test_a_clock_that_was_set_after_it_was_read_does_not_cost_the_measurement() -> None:
    # The hub read 2007, wrote the time, and the cuff then stamped its result with the new one.
    found = timing(
        stamp("2026-11-21T10:30:10"),
        clock_set=True,
        received=RECEIVED,
        clock=shows("2007-10-01T00:00:00"),
        zone=COPENHAGEN,
    )
    assert found.effective == "2026-11-21T10:30:10+01:00"
    assert found.row == row(TimeType.LOCAL, current=True, synced=True, offset=False)
    assert found.coincident is not None
    assert found.coincident.phd is None


def test_a_measurement_of_before_its_clock_was_set_is_quarantined() -> None:
    assert refused("2007-10-01T00:10:00", shown=shows("2026-11-21T10:29:45")) == "device-time"


def test_a_measurement_just_taken_by_a_clock_that_nobody_can_read_is_of_the_current_timeline() -> None:
    found = timing(stamp("2026-11-21T10:29:00"), clock_set=True, received=RECEIVED, clock=None, zone=COPENHAGEN)
    assert found.row == row(TimeType.LOCAL, current=True, synced=True, offset=False)
    assert found.effective == "2026-11-21T10:29:00+01:00"
    assert found.coincident is not None
    assert (found.coincident.phg, found.coincident.phd) == ("2026-11-21T10:30:15.250+01:00", None)


def test_an_earlier_measurement_of_a_clock_that_nobody_can_read_keeps_its_local_time() -> None:
    found = timing(stamp("2026-07-01T08:00:00"), clock_set=True, received=RECEIVED, clock=None, zone=COPENHAGEN)
    assert found.row == row(TimeType.LOCAL, current=False, synced=True, offset=False)
    assert found.effective == "2026-07-01T08:00:00+02:00"
    assert found.coincident is None


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("2026-11-21T10:32:15", True),
        ("2026-11-21T10:32:16", False),
        ("2025-10-17T11:30:16", True),
        ("2025-10-17T11:30:15", False),
        ("2000-01-01T00:00:00", False),
        ("2107-01-01T00:00:00", False),
        ("9999-12-31T23:59:59", False),
        ("1582-01-01T00:00:00", False),
    ],
)
def test_a_stamp_of_the_future_or_of_long_ago_is_quarantined(text: str, *, accepted: bool) -> None:
    if accepted:
        assert by_stamp(text)[:19] == text
    else:
        assert refused(text) == "device-time"


def test_the_devices_own_offset_is_kept() -> None:
    assert by_stamp("2026-11-21T09:30:00Z") == "2026-11-21T09:30:00+00:00"
    assert by_stamp("2026-11-21T14:59:30+05:30") == "2026-11-21T14:59:30+05:30"


def test_a_clock_with_an_offset_is_compared_as_an_instant() -> None:
    found = timing(
        stamp("2026-11-21T09:30:10Z"),
        clock_set=True,
        received=RECEIVED,
        clock=shows("2026-11-21T09:29:45Z"),
        zone=COPENHAGEN,
    )
    assert found.row == row(TimeType.LOCAL, current=True, synced=True, offset=True)
    assert found.effective == "2026-11-21T09:30:10+00:00"
    assert found.coincident is not None
    assert found.coincident.offset
    assert found.coincident.phd == "2026-11-21T09:29:45+00:00"


@pytest.mark.parametrize(
    ("received", "effective"),
    [
        (datetime(2026, 10, 25, 0, 30, 10, tzinfo=UTC), "2026-10-25T02:30:00+02:00"),
        (datetime(2026, 10, 25, 1, 30, 10, tzinfo=UTC), "2026-10-25T02:30:00+01:00"),
        (datetime(2026, 10, 27, 8, 0, 0, tzinfo=UTC), "2026-10-25T02:30:00+01:00"),
    ],
)
def test_the_hour_that_comes_twice_is_the_one_that_does_not_lie_after_the_reception(
    received: datetime, effective: str
) -> None:
    assert by_stamp("2026-10-25T02:30:00", received) == effective


def test_the_hour_that_never_was_is_of_a_clock_that_did_not_jump() -> None:
    received = datetime(2026, 3, 29, 1, 30, 20, tzinfo=UTC)
    assert by_stamp("2026-03-29T02:30:00", received) == "2026-03-29T03:30:00+02:00"


def test_fractions_of_a_second_are_printed_where_the_device_gave_them() -> None:
    assert by_stamp("2026-11-21T10:30:00.5") == "2026-11-21T10:30:00.500+01:00"


def test_without_a_reception_the_stamp_stands_as_it_is() -> None:
    found = at_its_word(stamp("2018-04-17T15:51:00"), clock_set=True, zone=COPENHAGEN)
    assert found.effective == "2018-04-17T15:51:00+02:00"


@pytest.mark.parametrize(("text", "reason"), [(None, "hub-time-unknown"), ("1700-01-01T00:00:00", "device-time")])
def test_without_a_reception_and_without_a_usable_stamp_there_is_no_time(text: str | None, reason: str) -> None:
    with pytest.raises(Untranslatable) as refusal:
        at_its_word(stamp(text) if text else None, clock_set=True, zone=COPENHAGEN)
    assert refusal.value.reason == reason


UNSET = clock(datetime(1970, 1, 1, 0, 1, tzinfo=UTC), state=ClockState.UNSET)


def test_a_hub_that_knew_the_time_is_believed() -> None:
    assert reception(clock(), UNSET) == RECEIVED
    drifting = clock(state=ClockState.UNSYNCHRONISED)
    assert reception(drifting, drifting) == RECEIVED


def test_a_hub_that_learned_the_time_before_it_sealed_dates_what_it_received_before() -> None:
    sealed = clock(RECEIVED + timedelta(hours=2), mono_us=MONO_US + 7_200_000_000)
    assert reception(UNSET, sealed) == RECEIVED
    drifting = clock(RECEIVED + timedelta(minutes=7), state=ClockState.UNSYNCHRONISED)
    assert reception(drifting, sealed) == RECEIVED


@pytest.mark.parametrize(
    "sealed",
    [
        UNSET,
        clock(boot=bytes(16)),
        clock(mono_us=MONO_US - 1),
        replace(clock(), wall_us=2**53 - 1),
        clock(datetime(1999, 1, 1, tzinfo=UTC)),
    ],
    ids=["still unset", "another boot", "sealed before it was received", "year 2255", "year 1999"],
)
def test_a_hub_that_never_knew_the_time_has_its_reading_quarantined(sealed: Clock) -> None:
    with pytest.raises(Untranslatable) as refusal:
        reception(UNSET, sealed)
    assert refusal.value.reason == "hub-time-unknown"


def test_the_last_reading_of_the_clock_counts_and_malformed_or_dateless_ones_do_not() -> None:
    seconds = timedelta(seconds=1)
    shown = datetime(2026, 11, 21, 10, 29, 0)  # noqa: DTZ001
    context = (
        reads(shown, before=30 * seconds),
        reads(shown + 10 * seconds, before=20 * seconds, exact=False),
        Context(characteristic=0x2A2B, mono_us=MONO_US - 1, value=b"\x00"),
        Context(characteristic=0x2A08, mono_us=MONO_US - 1, value=bytes(7)),
        Context(characteristic=0x2A29, mono_us=MONO_US - 1, value=b"Nonin"),
    )
    found = device_clock(reading(0x2A5E, "00 6100 3B00", context=context), RECEIVED)
    assert found is not None
    assert found.phd == stamp("2026-11-21T10:29:10")
    assert found.phg == RECEIVED - 20 * seconds
    assert found.key.startswith(BOOT)
    assert device_clock(reading(0x2A5E, "00 6100 3B00"), RECEIVED) is None


@given(
    stamp=device_times,
    shown=st.none() | device_times,
    before=st.timedeltas(timedelta(), timedelta(days=300)),
    received=st.datetimes(datetime(2024, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    zone=st.sampled_from(["Europe/Copenhagen", "America/Nuuk", "Asia/Kathmandu", "UTC", "Australia/Lord_Howe"]),
)
def test_no_effective_time_is_far_from_its_reception(
    stamp: DeviceTime, shown: DeviceTime | None, before: timedelta, received: datetime, zone: str
) -> None:
    known = DeviceClock(phd=shown, phg=received - before, key=b"") if shown is not None and shown.known else None
    try:
        found = timing(stamp, clock_set=True, received=received, clock=known, zone=ZoneInfo(zone))
    except Untranslatable as refusal:
        event(refusal.reason)
        return
    effective = datetime.fromisoformat(found.effective)
    assert received - OLDEST - timedelta(seconds=1) <= effective <= received + timedelta(minutes=2)
    assert found.row.mapping is not Effective.DISCARD
    assert found.row.coincident == (found.coincident is not None)
