"""Every value that others recorded, of every characteristic that decodes, through the whole translation."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.fhir import Untranslatable
from bridge.fhir.translate import bundle
from tests import phd
from tests.bridge.fhir.corpus import MONO_US, clock, reading
from tests.bridge.fhir.translated import translate
from tests.wire.vectors import Vector, load
from wire.evidence import Context, Device, Reading
from wire.gatt import decode_reading
from wire.gatt.elapsed_time import read_elapsed_time
from wire.gatt.reader import Reader
from wire.measurement import DeviceTime

VECTORS = [
    each
    for name in ("gatt.json", "devices.json", "records.json")
    for each in load(name)
    if each.kind.startswith("gatt:") and not {"invalid", "error"} & set(each.expected)
]


def shown(stamp: DeviceTime) -> bytes:
    """Date Time (2A08) a minute after a stamp."""
    later = datetime.fromisoformat(stamp.isoformat()) + timedelta(minutes=1)
    return later.year.to_bytes(2, "little") + bytes((later.month, later.day, later.hour, later.minute, later.second))


def with_its_clock(case: Vector) -> Reading:
    """A reading of a device whose clock shows a time after its stamps, whatever year they are of."""
    device = Device(address=bytes.fromhex("001C05FFE874"), name=case.name)
    bare = Reading(device=device, received=clock(), characteristic=case.uuid, value=case.value)
    stamps = [each.device_time for each in decode_reading(bare) if each.device_time and each.device_time.known]
    stamp = max(stamps, default=None)
    clocks = [] if stamp is None else [Context(characteristic=0x2A08, mono_us=MONO_US, value=shown(stamp))]
    return replace(bare, context=tuple(clocks))


def test_every_recorded_value_becomes_conformant_observations_or_has_a_reason() -> None:
    made: list[dict[str, Any]] = []
    characteristics: set[int | bytes] = set()
    reasons: dict[str, int] = {}
    for case in VECTORS:
        try:
            translated = translate(with_its_clock(case))
        except Untranslatable as refusal:
            reasons[refusal.reason] = reasons.get(refusal.reason, 0) + 1
            continue
        characteristics.add(case.uuid)
        made += [entry.resource for entry in translated.entries]
        assert phd.lint(bundle([translated])) == [], case.id
    judged = {(str(each["code"]), *sorted(each)): each for each in made if "code" in each}
    phd.assert_all_conform(judged.values())
    assert characteristics >= {0x2A18, 0x2A1C, 0x2A35, 0x2A37, 0x2A5E, 0x2A5F, 0x2A9C, 0x2A9D, 0x2AA7, 0x2B8B}
    assert set(reasons) <= {"nothing-to-report", "test-data", "device-time", "undecodable"}, reasons


def health_observation(name: str) -> bytes:
    return next(each.value for each in VECTORS if each.id == name)


GHS = health_observation("st/ghs_bundle")


def test_a_health_observation_is_carried_over_by_the_sensors_elapsed_time() -> None:
    elapsed = GHS.index(bytes.fromhex("22729d2b29"))
    stamp = GHS[elapsed : elapsed + 9]
    told = read_elapsed_time(Reader(stamp))
    assert told.time is not None
    assert told.time.offset_min == 0
    later = stamp[:1] + (int.from_bytes(stamp[1:7], "little") + 20).to_bytes(6, "little") + stamp[7:]
    context = [Context(characteristic=0x2BF2, mono_us=MONO_US - 10_000_000, value=later + bytes(2))]
    made = bundle([translate(reading(0x2B8B, GHS, context=context))])
    measured = phd.observations(made)
    assert {each["effectiveDateTime"] for each in measured} == {"2026-11-21T10:29:45+01:00"}
    (time_stamp,) = phd.time_stamps(made)
    assert {each["code"] for each in time_stamp["code"]["coding"]} == {"68226", "68225"}
    phd.assert_conformant(made)


def test_a_health_observation_of_a_clock_that_is_right_stands_in_utc() -> None:
    elapsed = GHS.index(bytes.fromhex("22729d2b29"))
    now_s = int((datetime(2026, 11, 21, 9, 30, 0, tzinfo=UTC) - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds())
    value = GHS[: elapsed + 1] + now_s.to_bytes(6, "little") + GHS[elapsed + 7 :]
    made = bundle([translate(reading(0x2B8B, value, context=(), received=clock()))])
    assert {each["effectiveDateTime"] for each in phd.observations(made)} == {"2026-11-21T09:30:00+00:00"}
    assert phd.time_stamps(made) == []


def test_samples_of_a_health_sensor_are_sampled_data_and_what_has_no_place_there_says_why() -> None:
    told = {
        name: phd.observations(bundle([translate(reading(0x2B8B, health_observation(name), context=()))]))
        for name in ("ours/ghs_samples", "ours/ghs_axes", "ours/ghs_string", "ours/ghs_tlvs")
    }
    (ecg,), (axes,), (text,), (tlvs,) = told.values()
    assert ecg["valueSampledData"] == {
        "origin": {"value": 2048, "unit": "mV", "system": "http://unitsofmeasure.org", "code": "mV"},
        "period": 10,
        "factor": 1612,
        "dimensions": 1,
        "data": "2041 2043 2037",
    }
    assert axes["valueSampledData"]["dimensions"] == 3
    assert axes["valueSampledData"]["data"] == "0 2048 4294967295 1 2 3"
    assert [each["dataAbsentReason"]["coding"][0]["code"] for each in (text, tlvs)] == ["as-text", "unsupported"]
