"""A Generic Health Sensor (GHSS 1.0): an oximeter that says what it measures by MDC codes.

The layout is the one on which two independent implementations agree: ST's pulse oximeter (STM32CubeWBA,
BLE_GenericHealth_PulseOximeter, ghs_app.c, whose bundle is the test vector) and Realtek's service (ghss_gatt_svc.h).
"""

import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from simulator.ble.devices.kind import GHS_CONTROL_POINT, RACP, Delivery, Kind
from simulator.ble.devices.values import Measured, Moment
from simulator.values import Value, float32, rounded

OBSERVATIONS: Final = 0x2B8B
STORED_OBSERVATIONS: Final = 0x2BDD
ELAPSED_TIME_SERVICE: Final = 0x183F
ELAPSED_TIME: Final = 0x2BF2
"""Current Elapsed Time: where its clock stands."""
_BUNDLE, _NUMERIC = 0xFF, 0x01
_TYPE, _TIME_STAMP, _SUPPLEMENTAL = 0x0001, 0x0002, 0x0040
_SPOT: Final = 150588
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_UTC_WITH_ZONE, _ON_TIMELINE = 0x02 | 0x10, 0x20
_OTHER_SOURCE: Final = 0


def elapsed_time(at: datetime, *, clock_set: bool = True) -> bytes:
    """Elapsed Time (ETS): flags, seconds since 2000 in 48 bits, source, quarters of an hour from UTC."""
    flags = _UTC_WITH_ZONE | (_ON_TIMELINE if clock_set else 0)
    seconds = (at - _EPOCH) // timedelta(seconds=1)
    offset = (at.utcoffset() or timedelta()) // timedelta(minutes=15)
    return bytes([flags]) + struct.pack("<Q", seconds)[:6] + struct.pack("<Bb", _OTHER_SOURCE, offset)


def read_elapsed_time(data: bytes) -> datetime:
    """The moment that somebody wrote, in seconds and UTC (other resolutions are not ours); ValueError if it is none."""
    if len(data) != 9 or data[0] & 0x0F != 0x02:
        raise ValueError("not an Elapsed Time in seconds of UTC")
    return _EPOCH + timedelta(seconds=int.from_bytes(data[1:7], "little"))


def _observation(kind: int, body: bytes) -> bytes:
    return struct.pack("<BH", kind, len(body)) + body


def _numeric(code: int, unit: int, value: Decimal) -> bytes:
    return _observation(_NUMERIC, struct.pack("<HIH", _TYPE, code, unit) + float32(value))


def spot_check(moment: Moment) -> Sequence[Measured]:
    """A bundle of oxygen saturation and pulse rate, as one segment: the first, the last, counter 0."""
    spo2, pulse = rounded(moment.vitals.spo2, "1"), rounded(moment.vitals.pulse, "1")
    body = (
        struct.pack("<H", _TIME_STAMP | _SUPPLEMENTAL)
        + elapsed_time(moment.at, clock_set=moment.clock_set)
        + struct.pack("<BI", 1, _SPOT)
        + b"\x02" + _numeric(150456, 544, spo2) + _numeric(149530, 2720, pulse)
    )  # fmt: skip
    return (
        Measured(
            characteristic=OBSERVATIONS,
            data=b"\x03" + _observation(_BUNDLE, body),
            values=(
                Value(code=150456, refid="MDC_PULS_OXIM_SAT_O2", value=spo2, unit="%"),
                Value(code=149530, refid="MDC_PULS_OXIM_PULS_RATE", value=pulse, unit="/min"),
            ),
            device_time=moment.at,
        ),
    )


def stored_spot_check(moment: Moment) -> Sequence[Measured]:
    """Stored Health Observations, 2BDD: the record's number in 32 bits, and then the observation."""
    (live,) = spot_check(moment)
    data = live.data[:1] + struct.pack("<I", moment.number) + live.data[1:]
    return (replace(live, characteristic=STORED_OBSERVATIONS, data=data),)


HEALTH_SENSOR = Kind(
    name="health-sensor",
    says="generic health sensor (GHSS): an oximeter, once it is told to start",
    service=0x1840,
    characteristic=OBSERVATIONS,
    flag="indicate",
    appearance=0x0C41,
    model="SimGhs 1",
    # Health Sensor Features: no flags; two types of observation.
    reads={0x2BF3: struct.pack("<BBII", 0, 2, 150456, 149530)},
    beside={GHS_CONTROL_POINT: "indicate"},
    delivery=Delivery.STARTED,
    segment_bytes=20,  # the shortest ATT_MTU, 23
    clock_at=ELAPSED_TIME,
    battery=True,
    measure=spot_check,
)
STORING_HEALTH_SENSOR = Kind(
    name="health-sensor-storing",
    says="generic health sensor whose stored observations are asked for (2A52)",
    service=0x1840,
    characteristic=STORED_OBSERVATIONS,
    flag="notify",
    appearance=0x0C41,
    model="SimGhs 2",
    reads={0x2BF3: struct.pack("<BBII", 0, 2, 150456, 149530)},
    beside={OBSERVATIONS: "notify", GHS_CONTROL_POINT: "indicate", RACP: "indicate"},
    delivery=Delivery.ASKED,
    segment_bytes=20,
    wide=True,
    clock_at=ELAPSED_TIME,
    battery=True,
    measure=stored_spot_check,
)
