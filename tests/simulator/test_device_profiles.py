"""The further kinds' encodings against bytes of real devices and of other implementations, or by hand from the services."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from simulator.ble.cgm_session import CgmSession
from simulator.ble.devices import KINDS, Measured
from simulator.ble.devices.values import crc
from simulator.ble.faults import FAULTS
from tests.simulator.moments import AT, measured, moment
from wire.evidence import Clock, ClockState, Context, Device, Reading
from wire.gatt import decode_reading

STAMP = "e90705150a1e2d"


def said(value: Measured) -> list[tuple[int, str, str]]:
    return [(one.code, str(one.value), one.unit) for one in value.values]


@pytest.mark.parametrize(
    ("data", "sum_"),
    [
        # NordicSemiconductor/Android-BLE-Common-Library@c078e25, 0c84d7a, 1c86e44: a measurement, a feature, a status,
        # a session start, a run time
        ("0fe3d2e405000214ff02f0e5f3", "8e3f"),
        ("6e9e0116", "8ac1"),
        ("05003f3fff", "a7e0"),
        ("e20704180d08180804", "e0c2"),
        ("0200", "08c3"),
    ],
)
def test_an_e2e_crc_is_the_one_that_nordics_library_accepts(data: str, sum_: str) -> None:
    assert crc(bytes.fromhex(data)).hex() == sum_


def test_a_beurer_cuff_sends_what_a_real_bm85_sent() -> None:
    # derdilla/blood-pressure-monitor-fl@17aba3d ble_measurement_data_test.dart, recorded from a BM85: users 1 and 2
    at = datetime(2026, 8, 11, 18, 31, 44, tzinfo=UTC)
    (first,) = measured("cuff-beurer", at=at, systolic=106.0, diastolic=71.0, pulse=63.0)
    assert first.data == bytes([86, 106, 0, 71, 0, 0, 0, 234, 7, 8, 11, 18, 31, 0, 0, 63, 0, 0, 0])
    assert said(first) == [(150021, "106", "mm[Hg]"), (150022, "71", "mm[Hg]"), (149546, "63", "/min")]
    at = datetime(2026, 8, 11, 20, 56, tzinfo=UTC)
    (second,) = measured("cuff-beurer", at=at, systolic=113.0, diastolic=73.0, pulse=65.0, user=2)
    assert second.data == bytes([86, 113, 0, 73, 0, 0, 0, 234, 7, 8, 11, 20, 56, 0, 0, 65, 1, 0, 0])


def test_a_health_sensor_sends_the_bundle_of_sts_pulse_oximeter() -> None:
    # STMicroelectronics/STM32CubeWBA BLE_GenericHealth_PulseOximeter/STM32_WPAN/App/ghs_app.c, ObservationBundle
    theirs = bytes.fromhex(
        "ff2f004200" "22729d2b2900000600" "013c4c0200" "02"
        "010c000100b84b0200200262000000" "010c0001001a480200a00a62000000"
    )  # fmt: skip
    at = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=0x292B9D72)
    (bundle,) = measured("health-sensor", at=at, spo2=98.0, pulse=98.0)
    assert bundle.data[0] == 0x03, "the first segment and the last: before it is cut into pieces"
    # Ours tells its zone (flag 0x10), and does not know who set its clock (source 0): the rest is theirs, byte for byte.
    assert bundle.data[1:] == theirs[:5] + b"\x32" + theirs[6:12] + b"\x00" + theirs[13:]


def test_a_glucose_meter_sends_kilograms_a_litre_and_every_other_time_what_was_eaten() -> None:
    # by hand from GLS 1.0.1, 3.1 and 3.2; 105e-5 kg/L is 69b0 as in the vectors of wire
    (alone,) = measured("glucose-meter", number=41, glucose_mg_dl=105.2)
    assert alone.data.hex() == "022900" + STAMP + "69b011"
    assert said(alone) == [(160184, "105", "mg/dL")]
    record, meal = measured("glucose-meter", number=42, glucose_mg_dl=105.2)
    assert record.data.hex() == "122a00" + STAMP + "69b011"
    assert meal.data.hex() == "372a00011ed002510150a0"
    assert said(meal) == [(8417768, "30", "g"), (8417800, "0.080", "mL")]


def test_a_glucose_meter_without_a_time_says_so_in_its_status() -> None:
    # GLS 1.0.1, 3.1: sensor status bit 11 is a time fault
    (record,) = measured("glucose-meter-molar", number=1, glucose_mg_dl=108.1, clock_set=False)
    assert record.data.hex() == "0e0100" + STAMP + "3cc0110008"
    assert said(record) == [(160184, "6.0", "mmol/L")]


def test_a_glucose_sensor_sends_minutes_since_its_start_with_and_without_a_check_sum() -> None:
    # by hand from CGMS 1.0.2, 3.1: size, flags (trend), concentration, time offset, trend
    signals: dict[str, Any] = {"tissue_glucose_mg_dl": 118.0, "session": AT - timedelta(minutes=6, seconds=9)}
    (plain,) = measured("cgm-plain", **signals)
    assert plain.data.hex() == "08017600060005f0"
    (checked,) = measured("cgm", **signals)
    assert checked.data == b"\x0a" + plain.data[1:] + crc(b"\x0a" + plain.data[1:])
    assert said(checked) == [(160212, "118", "mg/dL"), (8418008, "0.5", "mg/dL/min")]


def test_a_continuous_oximeter_sends_two_averages_and_the_perfusion() -> None:
    # by hand from PLXS 1.0.1, 3.2.1: b0 fast, b4 pulse amplitude index
    (value,) = measured("oximeter-continuous", spo2=96.0, pulse=70.0, perfusion_percent=2.44)
    assert value.data.hex() == "11600046006100480018f0"


def test_a_stored_spot_check_says_that_it_is_from_storage() -> None:
    # PLXS 1.0.1, 3.1.1.4: bit 9
    (value,) = measured("oximeter-storing", spo2=91.0, pulse=79.0)
    assert value.data.hex() == "035b004f00" + STAMP + "0002"


def test_a_cuffs_record_is_a_measurement_with_its_number_and_kind_before_it() -> None:
    # Bluetooth BLS 1.1.1: segmentation header, sequence number, UUID, value
    (record,) = measured("cuff-storing", number=7, systolic=131.8, diastolic=83.2, pulse=78.6)
    assert record.data.hex() == "030700352a16840053006300" + STAMP + "4f000000"


def test_a_cuff_and_a_thermometer_show_what_is_no_result_before_the_result() -> None:
    # by hand from BLS 1.1.1, 3.2 (unused fields are NaN, as 006e00ff07ff07 in the vectors) and HTS 1.0, 3.3
    *shown, result = measured("cuff-inflating", systolic=100.0)
    assert [one.data.hex() for one in shown] == ["003c00ff07ff07", "007800ff07ff07"]
    assert [one.characteristic for one in (*shown, result)] == [0x2A36, 0x2A36, 0x2A35]
    *shown, result = measured("thermometer-rising", temperature_cel=36.97)
    assert [one.data.hex() for one in shown] == ["00770d00fe", "00350e00fe"]
    assert [(one.characteristic, one.expected) for one in (*shown, result)] == [
        (0x2A1E, False), (0x2A1E, False), (0x2A1C, True),
    ]  # fmt: skip


def test_a_belt_sends_intervals_of_a_1024th_of_a_second() -> None:
    # by hand from HRS 1.0, 3.1.1: two bytes of rate, energy, two intervals
    (value,) = measured("strap-rr", pulse=75.0, number=20)
    assert value.data.hex() == "1f4b00060023034403"
    assert said(value)[2:] == [(147240, "784.1796875", "ms"), (147240, "816.40625", "ms")]


def test_a_body_composition_fits_the_shortest_link() -> None:
    # by hand from BCS 1.0, 3.2; 70.000 kg is 36b0 as in btsig/wss1
    signals: dict[str, Any] = {"weight_kg": 70.0, "body_fat_percent": 25.0, "body_water_kg": 40.0, "height_m": 1.75}
    (value,) = measured("body-composition", **signals, user=2)
    assert value.data.hex() == "460dfa00" + STAMP + "020429401fb036d606"
    assert len(value.data) <= 23 - 3, "an ATT_MTU of 23"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_bridge_reads_what_the_device_wrote(kind: str) -> None:
    """Our encoder against our decoder proves little; it catches a device that the hub would not know."""
    one = KINDS[kind]
    session = CgmSession(AT - timedelta(minutes=30), check=one.crc)
    context = [
        Context(characteristic=uuid, mono_us=0, value=value)
        for uuid, value in (*one.reads.items(), (0x2A29, one.manufacturer.encode()), (0x2A24, one.model.encode()))
    ]
    if kind.startswith("cgm"):
        start = session.checked(bytes.fromhex(STAMP) + b"\x00\x00")
        context.append(Context(characteristic=0x2AAA, mono_us=0, value=start))
    now = moment(number=2, session=session.began)
    for value in one.measure(now):
        reading = Reading(
            device=Device(address=bytes(6), name=one.advertised or one.model),
            received=Clock(wall_us=0, mono_us=0, boot=bytes(16), state=ClockState.UNSET),
            characteristic=value.characteristic,
            value=value.data,
            context=tuple(context),
        )
        numbers: list[tuple[int, str, str | None]] = []
        waves: list[tuple[Decimal, ...]] = []
        for measurement in decode_reading(reading):
            if measurement.samples is not None:
                scale = measurement.samples
                waves.append(tuple(scale.origin + scale.factor * Decimal(datum) for datum in scale.data))
            numbers += [
                (part.code, str(part.value), part.unit)
                for part in (measurement, *measurement.components)
                if part.value is not None
            ]
        assert numbers == said(value)
        assert waves == [other.samples for other in value.others if other.samples]


def test_every_kind_and_every_fault_has_a_line_for_who_writes_a_scenario() -> None:
    assert all(kind.says for kind in KINDS.values())
    assert all(fault.help for fault in FAULTS.values())
