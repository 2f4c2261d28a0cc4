"""Encodings against vectors made elsewhere, or by hand from the service definitions; each with its source."""

from decimal import Decimal
from typing import Any

import pytest

from simulator.ble.devices import (
    KINDS,
    Measured,
    current_time,
    date_time,
    device_information,
    system_id,
)
from simulator.values import float32, rounded, sfloat
from tests.simulator.moments import AT
from tests.simulator.moments import measured as all_measured

SIGNALS: dict[str, Any] = {
    "spo2": 91.4, "pulse": 78.6, "systolic": 131.8, "diastolic": 83.2, "weight_kg": 70.0012, "temperature_cel": 36.966,
}  # fmt: skip


def measured(kind: str, **signals: Any) -> Measured:
    (one,) = all_measured(kind, **(SIGNALS | signals))
    return one


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        # HL7/phd input/pagecontent/FLOATS.md, as in the reference's table (little-endian here)
        ("2", "0200"),
        ("2.0", "14f0"),
        ("2.00", "c8e0"),
        ("2E+2", "0220"),
        ("-1234", "2e0b"),
        # NordicSemiconductor/Android-BLE-Common-Library@c078e25 BloodPressureMeasurementDataCallbackTest: 18.9 kPa
        ("18.9", "bdf0"),
    ],
)
def test_an_sfloat_keeps_value_and_precision(value: str, encoded: str) -> None:
    assert sfloat(Decimal(value)).hex() == encoded


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("2.00", "c80000fe"),
        # NordicSemiconductor/IOS-nRF-Toolbox@1fbf62e nRF-ToolboxTests: 36.97
        ("36.97", "710e00fe"),
        # NordicSemiconductor/Android-nRF-Toolbox@3271714 profile-parsers: 25.00
        ("25.00", "c40900fe"),
    ],
)
def test_a_float_keeps_value_and_precision(value: str, encoded: str) -> None:
    assert float32(Decimal(value)).hex() == encoded


@pytest.mark.parametrize("value", ["2046", "-2046", "2E+8", "2E-9"])
def test_an_sfloat_refuses_what_it_cannot_hold_or_keeps_for_special_values(value: str) -> None:
    with pytest.raises(ValueError, match="fits no 12-bit mantissa"):
        sfloat(Decimal(value))


def test_a_time_stamp_is_the_one_that_a_nordic_thermometer_sends() -> None:
    # the time in nrfios/hts: 2025-05-21T10:30:45
    assert date_time(AT).hex() == "e90705150a1e2d"


def test_the_current_time_ends_with_weekday_and_fraction() -> None:
    # Current Time Service 1.1, 3.1: Exact Time 256 (day date time, fractions 1/256 s), then the adjust reason
    assert current_time(AT.replace(microsecond=500_000)).hex() == "e90705150a1e2d" + "03" + "80" + "00"


def test_a_thermometer_sends_hundredths_and_the_time() -> None:
    # as nrfios/hts (06 710e00fe e90705150a1e2d 01), without the type field, which stands in 2A1D
    reading = measured("thermometer")
    assert reading.data.hex() == "02" + "710e00fe" + "e90705150a1e2d"
    assert str(reading.values[0].value) == "36.97"


def test_a_scale_sends_steps_of_five_grams_and_says_three_decimals() -> None:
    # btsig/wss1: 70.0 kg is b036
    reading = measured("scale")
    assert reading.data.hex() == "02" + "b036" + "e90705150a1e2d"
    assert str(reading.values[0].value) == "70.000"


def test_an_oximeter_sends_whole_percents_with_the_time() -> None:
    # by hand from Pulse Oximeter Service 1.0, 3.1.1: flags, SpO2 91, pulse 79, time stamp
    reading = measured("oximeter")
    assert reading.data.hex() == "01" + "5b00" + "4f00" + "e90705150a1e2d"
    assert [(value.code, str(value.value), value.unit) for value in reading.values] == [
        (150456, "91", "%"),
        (149530, "79", "/min"),
    ]


def test_a_cuff_sends_three_pressures_time_pulse_and_status() -> None:
    # by hand from Blood Pressure Service 1.1, 3.1.1: mean = 83.2 + (131.8 - 83.2) / 3 = 99.4
    reading = measured("cuff")
    assert reading.data.hex() == "16" + "840053006300" + "e90705150a1e2d" + "4f00" + "0000"
    assert [str(value.value) for value in reading.values] == ["132", "83", "99", "79"]


def test_a_worn_strap_sends_one_byte_and_knows_no_time() -> None:
    # nrfios/hrm_contact: 06aa is 170 with contact
    reading = measured("strap", pulse=170.0)
    assert reading.data.hex() == "06aa"
    assert reading.device_time is None


def test_a_system_id_is_the_eui_64_of_the_address() -> None:
    # Device Information Service 1.1, 3.7: company 123456, manufacturer FFFE9ABCDE reads DE BC 9A FE FF 56 34 12
    assert system_id("12:34:56:9A:BC:DE").hex() == "debc9afeff563412"


def test_every_device_says_who_made_it_and_which_one_it_is() -> None:
    information = dict(device_information(KINDS["scale"], "02:57:AF:E7:00:03"))
    assert set(information) == {0x2A29, 0x2A24, 0x2A25, 0x2A26, 0x2A23}
    assert information[0x2A25] == b"SIM-E70003"


@pytest.mark.parametrize(
    ("number", "step", "shown"),
    [
        (36.5, "0.01", "36.50"),
        (72.3124, "0.005", "72.310"),
        (91.5, "1", "92"),
        (90.5, "1", "90"),
        (-0.04, "0.1", "0.0"),
    ],
)
def test_a_display_rounds_to_its_step(number: float, step: str, shown: str) -> None:
    assert str(rounded(number, step)) == shown
