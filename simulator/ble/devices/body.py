"""Scales and body composition analysers (WSS 1.0.1, BCS 1.0): steps of 5 g, 0.1 % and 1 mm."""

import struct
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from simulator.ble.devices.kind import DATE_TIME, Habit, Kind
from simulator.ble.devices.values import Measured, Moment, date_time
from simulator.values import Value, rounded

_STEP: Final = "0.005"


def _steps(mass: Decimal) -> int:
    return int(mass / Decimal(_STEP))


def weight(moment: Moment) -> Sequence[Measured]:
    """Weight Measurement, 2A9D (Weight Scale Service 3.2): units of 5 g, with time stamp and user."""
    mass, user = rounded(moment.vitals.weight_kg, _STEP), moment.user_octet
    return (
        Measured(
            characteristic=0x2A9D,
            data=bytes([0x02 | (0x04 if user else 0)]) + struct.pack("<H", _steps(mass)) + date_time(moment.at) + user,
            values=(Value(code=188736, refid="MDC_MASS_BODY_ACTUAL", value=mass, unit="kg"),),
            device_time=moment.at,
        ),
    )


def body_composition(moment: Moment) -> Sequence[Measured]:
    """Body Composition Measurement, 2A9C (BCS 3.2): fat, time, user, fat-free mass, water, weight, height.

    The longest such value fits the shortest ATT_MTU, so it never needs a second packet.
    """
    fat = rounded(moment.further.body_fat_percent, "0.1")
    mass = rounded(moment.vitals.weight_kg, _STEP)
    fat_free = rounded(float(mass) * (1 - float(fat) / 100), _STEP)
    water = rounded(moment.further.body_water_kg, _STEP)
    height = rounded(moment.who.height_m, "0.001")
    user = moment.user_octet
    flags = 0x0002 | (0x0004 if user else 0) | 0x0040 | 0x0100 | 0x0400 | 0x0800
    return (
        Measured(
            characteristic=0x2A9C,
            data=struct.pack("<HH", flags, int(fat * 10))
            + date_time(moment.at)
            + user
            + struct.pack("<HHHH", _steps(fat_free), _steps(water), _steps(mass), int(height * 1000)),
            values=(
                Value(code=188748, refid="MDC_BODY_FAT", value=fat, unit="%"),
                Value(code=188756, refid="MDC_MASS_BODY_FAT_FREE", value=fat_free, unit="kg"),
                Value(code=188764, refid="MDC_BODY_WATER", value=water, unit="kg"),
                Value(code=188736, refid="MDC_MASS_BODY_ACTUAL", value=mass, unit="kg"),
                Value(code=188740, refid="MDC_LEN_BODY_ACTUAL", value=height, unit="m"),
            ),
            device_time=moment.at,
        ),
    )


SCALE = Kind(
    name="scale",
    says="weight scale",
    service=0x181D,
    characteristic=0x2A9D,
    flag="indicate",
    appearance=0x0C80,
    model="SimScale 1",
    # Weight Scale Feature: time stamps, resolution 5 g.
    reads={0x2A9E: struct.pack("<I", 0x01 | 7 << 3)},
    users=True,
    measure=weight,
)
BODY_COMPOSITION = Kind(
    name="body-composition",
    says="body composition analyser",
    service=0x181B,
    characteristic=0x2A9C,
    flag="indicate",
    appearance=0x0C80,
    model="SimBody 1",
    # Body Composition Feature: time stamp, users, fat-free mass, water, weight, height; 5 g and 1 mm.
    reads={0x2A9B: struct.pack("<I", 0x01 | 0x02 | 1 << 5 | 1 << 7 | 1 << 9 | 1 << 10 | 7 << 11 | 3 << 15)},
    users=True,
    battery=True,
    measure=body_composition,
)
AANDD_SCALE = replace(
    SCALE,
    name="scale-aandd",
    says="as an A&D UC-352BLE: its clock must be set first, in every session",
    model="UC-352BLE",
    manufacturer="A&D Medical",
    firmware="CWSP008_108",
    advertised="A&D_UC-352BLE_520001",
    habit=Habit.CLOCK_FIRST,
    clock_at=DATE_TIME,
    battery=True,
)
"""Where its Date Time stands is from a real one's table: HEADS-project/ThingML-BLE, AND_Medical_UC352BLE.md."""
