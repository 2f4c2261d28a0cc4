"""Oximeters, cuffs, thermometers and heart rate straps (PLXS 1.0.1, BLS 1.1.1, HTS 1.0, HRS 1.0), and what some do otherwise.

A device rounds as its display does (whole percent, whole mmHg, 0.01 degree), and the value strings carry exactly that
precision.
"""

import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from simulator.ble.devices.kind import DATE_TIME, RACP, Delivery, Habit, Kind
from simulator.ble.devices.values import NAN, Measured, Moment, date_time
from simulator.values import Value, float32, rounded, sfloat

SPO2_FAST_LAG: Final = 1
"""Percent by which the faster averaging of a continuous oximeter is ahead of the normal one."""


def _oximetry(spo2: Decimal, pulse: Decimal) -> tuple[Value, Value]:
    return (
        Value(code=150456, refid="MDC_PULS_OXIM_SAT_O2", value=spo2, unit="%"),
        Value(code=149530, refid="MDC_PULS_OXIM_PULS_RATE", value=pulse, unit="/min"),
    )


def spot_check(moment: Moment, *, flags: int = 0x01, status: bytes = b"") -> Sequence[Measured]:
    """PLX Spot-Check Measurement, 2A5E (Pulse Oximeter Service 3.1): flags, SpO2, pulse rate, time stamp."""
    spo2, pulse = rounded(moment.vitals.spo2, "1"), rounded(moment.vitals.pulse, "1")
    flags |= 0 if moment.clock_set else 0x10
    return (
        Measured(
            characteristic=0x2A5E,
            data=bytes([flags]) + sfloat(spo2) + sfloat(pulse) + date_time(moment.at) + status,
            values=_oximetry(spo2, pulse),
            device_time=moment.at,
        ),
    )


def stored_spot_check(moment: Moment) -> Sequence[Measured]:
    """As `spot_check`, with the status word's bit 9: the value is from storage (PLXS 3.1.1.4)."""
    return spot_check(moment, flags=0x03, status=struct.pack("<H", 1 << 9))


def continuous_oximetry(moment: Moment) -> Sequence[Measured]:
    """PLX Continuous Measurement, 2A5F (PLXS 3.2): normal, fast, and the pulse amplitude index."""
    spo2, pulse = rounded(moment.vitals.spo2, "1"), rounded(moment.vitals.pulse, "1")
    fast = _oximetry(spo2 + SPO2_FAST_LAG, pulse + 2)
    amplitude = rounded(moment.further.perfusion_percent, "0.1")
    numbers = b"".join(sfloat(number) for number in (spo2, pulse, fast[0].value, fast[1].value, amplitude))
    return (
        Measured(
            characteristic=0x2A5F,
            data=bytes([0x01 | 0x10]) + numbers,
            values=(
                *_oximetry(spo2, pulse),
                *fast,
                Value(code=150320, refid="MDC_SAT_O2_QUAL", value=amplitude, unit="%"),
            ),
        ),
    )


def _pressures(moment: Moment) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    vitals = moment.vitals
    systolic, diastolic, mean, pulse = (
        rounded(number, "1") for number in (vitals.systolic, vitals.diastolic, vitals.mean_pressure, vitals.pulse)
    )
    return systolic, diastolic, mean, pulse


def _pressure_values(systolic: Decimal, diastolic: Decimal, mean: Decimal | None, pulse: Decimal) -> tuple[Value, ...]:
    values = [
        Value(code=150021, refid="MDC_PRESS_BLD_NONINV_SYS", value=systolic, unit="mm[Hg]"),
        Value(code=150022, refid="MDC_PRESS_BLD_NONINV_DIA", value=diastolic, unit="mm[Hg]"),
    ]
    if mean is not None:
        values.append(Value(code=150023, refid="MDC_PRESS_BLD_NONINV_MEAN", value=mean, unit="mm[Hg]"))
    return (*values, Value(code=149546, refid="MDC_PULS_RATE_NON_INV", value=pulse, unit="/min"))


def blood_pressure(moment: Moment) -> Sequence[Measured]:
    """Blood Pressure Measurement, 2A35 (Blood Pressure Service 3.1): mmHg, with time stamp, pulse, user and status."""
    systolic, diastolic, mean, pulse = _pressures(moment)
    user = moment.user_octet
    flags = 0x02 | 0x04 | 0x10 | (0x08 if user else 0)
    pressures = sfloat(systolic) + sfloat(diastolic) + sfloat(mean)
    return (
        Measured(
            characteristic=0x2A35,
            data=bytes([flags]) + pressures + date_time(moment.at) + sfloat(pulse) + user + bytes(2),
            values=_pressure_values(systolic, diastolic, mean, pulse),
            device_time=moment.at,
        ),
    )


def blood_pressure_record(moment: Moment) -> Sequence[Measured]:
    """Blood Pressure Record, 2B36 (BLS 1.1.1): whole in one segment, sequence number, and a 2A35 with its UUID before it."""
    (measurement,) = blood_pressure(moment)
    return (
        replace(
            measurement,
            characteristic=0x2B36,
            data=struct.pack("<BHH", 0x03, moment.number, 0x2A35) + measurement.data,
        ),
    )


def inflating_blood_pressure(moment: Moment) -> Sequence[Measured]:
    """Two Intermediate Cuff Pressures, 2A36 (BLS 3.2; the other two fields are NaN), then the result."""
    steps = (rounded(moment.vitals.systolic * share, "1") for share in (0.6, 1.2))
    return (
        *(
            Measured(
                characteristic=0x2A36,
                data=b"\0" + sfloat(pressure) + NAN + NAN,
                values=(Value(code=150300, refid="MDC_PRESS_CUFF", value=pressure, unit="mm[Hg]"),),
                expected=False,
            )
            for pressure in steps
        ),
        *blood_pressure(moment),
    )


def beurer_blood_pressure(moment: Moment) -> Sequence[Measured]:
    """2A35 as a Beurer BM85 sends it: a reserved flag, no mean, no seconds; pulse and status big-endian, a user unflagged.

    Four values of a real one are in derdilla/blood-pressure-monitor-fl, ble_measurement_data_test.dart.
    """
    systolic, diastolic, _, pulse = _pressures(moment)
    at = moment.at.replace(second=0)
    user = bytes([(moment.user or 1) - 1])
    pressures = sfloat(systolic) + sfloat(diastolic) + bytes(2)
    return (
        Measured(
            characteristic=0x2A35,
            data=bytes([0x56]) + pressures + date_time(at) + sfloat(pulse)[::-1] + user + bytes(2),
            values=_pressure_values(systolic, diastolic, None, pulse),
            device_time=at,
        ),
    )


def temperature(moment: Moment) -> Sequence[Measured]:
    """Temperature Measurement, 2A1C (Health Thermometer Service 3.1): Celsius, with time stamp; the type is in 2A1D."""
    shown = rounded(moment.vitals.temperature_cel, "0.01")
    return (
        Measured(
            characteristic=0x2A1C,
            data=bytes([0x02]) + float32(shown) + date_time(moment.at),
            values=(Value(code=150364, refid="MDC_TEMP_BODY", value=shown, unit="Cel"),),
            device_time=moment.at,
        ),
    )


def rising_temperature(moment: Moment) -> Sequence[Measured]:
    """Two Intermediate Temperatures, 2A1E (HTS 3.3: the bytes of 2A1C), then the result."""
    steps = (rounded(moment.vitals.temperature_cel - below, "0.01") for below in (2.5, 0.6))
    return (
        *(
            Measured(
                characteristic=0x2A1E,
                data=bytes([0x00]) + float32(shown),
                values=(Value(code=150364, refid="MDC_TEMP_BODY", value=shown, unit="Cel"),),
                expected=False,
            )
            for shown in steps
        ),
        *temperature(moment),
    )


def heart_rate(moment: Moment) -> Sequence[Measured]:
    """Heart Rate Measurement, 2A37 (Heart Rate Service 3.1): one byte of beats a minute; worn. It knows no time."""
    rate = rounded(moment.vitals.pulse, "1")
    return (
        Measured(
            characteristic=0x2A37,
            data=bytes([0x02 | 0x04, int(rate)]),
            values=(Value(code=147842, refid="MDC_ECG_HEART_RATE", value=rate, unit="/min"),),
        ),
    )


def heart_rate_with_intervals(moment: Moment) -> Sequence[Measured]:
    """2A37 with two bytes of rate, energy expended (kJ) and two RR intervals in 1/1024 s (HRS 3.1.1.1)."""
    rate = rounded(moment.vitals.pulse, "1")
    energy = rounded(moment.number * 0.3, "1")
    # Breathing moves the beat a little: two intervals around the mean one.
    ticks = tuple(round(60 * 1024 / moment.vitals.pulse * share) for share in (0.98, 1.02))
    return (
        Measured(
            characteristic=0x2A37,
            data=bytes([0x01 | 0x06 | 0x08 | 0x10]) + struct.pack("<HH2H", int(rate), int(energy), *ticks),
            values=(
                Value(code=147842, refid="MDC_ECG_HEART_RATE", value=rate, unit="/min"),
                Value(code=8454263, refid="MDC_HF_ENERGY", value=energy, unit="kJ"),
                *(
                    Value(code=147240, refid="MDC_ECG_TIME_PD_RR_GL", value=Decimal(tick) * 1000 / 1024, unit="ms")
                    for tick in ticks
                ),
            ),
        ),
    )


OXIMETER = Kind(
    name="oximeter",
    says="pulse oximeter, spot-check",
    service=0x1822,
    characteristic=0x2A5E,
    flag="indicate",
    appearance=0x0C41,  # fingertip pulse oximeter
    model="SimOx 1",
    # PLX Features: a time stamp for spot-check; measurement storage would oblige it to a control point (PLXS 1.0.1, 3).
    reads={0x2A60: bytes.fromhex("0800")},
    measure=spot_check,
)
CUFF = Kind(
    name="cuff",
    says="blood pressure monitor",
    service=0x1810,
    characteristic=0x2A35,
    flag="indicate",
    appearance=0x0381,  # arm blood pressure monitor
    model="SimCuff 1",
    # Blood Pressure Feature: irregular pulse detection is supported.
    reads={0x2A49: bytes.fromhex("0400")},
    users=True,
    measure=blood_pressure,
)
THERMOMETER = Kind(
    name="thermometer",
    says="thermometer",
    service=0x1809,
    characteristic=0x2A1C,
    flag="indicate",
    appearance=0x0300,
    model="SimTemp 1",
    # Temperature Type: body, general.
    reads={0x2A1D: bytes([2])},
    measure=temperature,
)
STRAP = Kind(
    name="strap",
    says="heart rate belt",
    service=0x180D,
    characteristic=0x2A37,
    flag="notify",
    appearance=0x0341,  # heart rate belt
    model="SimBeat 1",
    # Body Sensor Location: chest.
    reads={0x2A38: bytes([1])},
    delivery=Delivery.LISTENED,
    clock=False,
    clock_at=None,
    measure=heart_rate,
)
FURTHER: Final = (
    replace(
        OXIMETER,
        name="oximeter-continuous",
        says="pulse oximeter with continuous measurements (2A5F)",
        characteristic=0x2A5F,
        flag="notify",
        model="SimOx 2",
        # PLX Features: fast values and the pulse amplitude index.
        reads={0x2A60: bytes.fromhex("5000")},
        delivery=Delivery.LISTENED,
        clock=False,
        clock_at=None,
        battery=True,
        measure=continuous_oximetry,
    ),
    replace(
        OXIMETER,
        name="oximeter-storing",
        says="pulse oximeter whose stored spot-checks are asked for (2A52)",
        model="SimOx 3",
        # PLX Features: measurement status (of which: from storage), storage, time stamp.
        reads={0x2A60: bytes.fromhex("0d000002")},
        beside={RACP: "indicate"},
        delivery=Delivery.ASKED,
        battery=True,
        measure=stored_spot_check,
    ),
    replace(
        CUFF,
        name="cuff-storing",
        says="blood pressure monitor whose stored records (2B36) are asked for (2A52)",
        characteristic=0x2B36,
        flag="notify",
        model="SimCuff 3",
        beside={0x2A35: "indicate", RACP: "indicate"},
        delivery=Delivery.ASKED,
        battery=True,
        measure=blood_pressure_record,
    ),
    replace(
        CUFF,
        name="cuff-inflating",
        says="blood pressure monitor that shows the pressure while it inflates (2A36)",
        model="SimCuff 2",
        beside={0x2A36: "notify"},
        battery=True,
        measure=inflating_blood_pressure,
    ),
    replace(
        THERMOMETER,
        name="thermometer-rising",
        says="thermometer that shows the temperature while it rises (2A1E)",
        model="SimTemp 2",
        reads={0x2A1D: bytes([6])},  # mouth
        beside={0x2A1E: "notify"},
        battery=True,
        measure=rising_temperature,
    ),
    replace(
        STRAP,
        name="strap-rr",
        says="heart rate belt with RR intervals and energy expended",
        model="SimBeat 2",
        battery=True,
        measure=heart_rate_with_intervals,
    ),
    replace(
        CUFF,
        name="cuff-aandd",
        says="as an A&D UA-651BLE: its clock must be set first, in every session",
        model="UA-651BLE",
        manufacturer="A&D Medical",
        firmware="BLP008_d016",
        advertised="A&D_UA-651BLE_510001",
        habit=Habit.CLOCK_FIRST,
        clock_at=DATE_TIME,
        battery=True,
    ),
    replace(
        CUFF,
        name="cuff-omron",
        says="as an Omron: refuses to have its clock set too early, or when it is right",
        model="HEM-7322T",
        manufacturer="OMRON HEALTHCARE",
        advertised="BLESmart_00000116005FBF000001",
        # Blood Pressure Feature: body movement, cuff fit and irregular pulse detection.
        reads={0x2A49: bytes.fromhex("0700")},
        habit=Habit.CLOCK_LATE,
        battery=True,
    ),
    replace(
        CUFF,
        name="cuff-beurer",
        says="as a Beurer BM85: pulse and status big-endian, a user without its flag",
        model="BM85",
        manufacturer="Beurer GmbH",
        advertised="BM85",
        least_every_s=60.0,
        measure=beurer_blood_pressure,
    ),
    replace(
        OXIMETER,
        name="oximeter-choicemmed",
        says="as a ChoiceMMed: a clock that is not set, and cannot be",
        model="MD300C228",
        manufacturer="ChoiceMMed",
        advertised="e-Oximeter",
        reads={0x2A60: bytes.fromhex("0800")},
        clock_at=None,
        stale=datetime(2015, 1, 1),  # noqa: DTZ001 - a device's clock has no zone
    ),
)
"""Kinds beside the four plain ones."""
