"""A Generic Health Sensor (GHSS 1.0): an oximeter that says what it measures by MDC codes.

The layout is the one on which two independent implementations agree: ST's pulse oximeter (STM32CubeWBA,
BLE_GenericHealth_PulseOximeter, ghs_app.c, whose bundle is the test vector) and Realtek's service (ghss_gatt_svc.h), and
that of samples Realtek's and Philips' (BLE-GHS-Client-Example, ObservationValue.kt).
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from simulator.ble.devices.kind import GHS_CONTROL_POINT, RACP, Delivery, Kind
from simulator.ble.devices.values import Measured, Moment
from simulator.values import Other, Value, float32, rounded

OBSERVATIONS: Final = 0x2B8B
STORED_OBSERVATIONS: Final = 0x2BDD
ELAPSED_TIME_SERVICE: Final = 0x183F
ELAPSED_TIME: Final = 0x2BF2
"""Current Elapsed Time: where its clock stands."""
_BUNDLE, _NUMERIC, _SAMPLES = 0xFF, 0x01, 0x04
_TYPE, _TIME_STAMP, _SUPPLEMENTAL = 0x0001, 0x0002, 0x0040
_SPOT: Final = 150588
_PLETH: Final = 150452
_ONE: Final = 512
_STEP, _LOWEST, _PERIOD_S = Decimal("0.01"), Decimal(-1), Decimal("0.010")
"""How a wave is scaled: a sample of one byte is so many steps above the lowest."""
_SAMPLES_SENT: Final = 100
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


def _samples(code: int, unit: int, samples: Sequence[int]) -> bytes:
    scale = struct.pack("<H", unit) + float32(_STEP) + float32(_LOWEST) + float32(_PERIOD_S)
    counts = struct.pack("<BBI", 1, 1, len(samples))
    return _observation(_SAMPLES, struct.pack("<HI", _TYPE, code) + scale + counts + bytes(samples))


def _bundle(moment: Moment, *observations: bytes) -> bytes:
    """One message in one segment: the first, the last, counter 0."""
    body = (
        struct.pack("<H", _TIME_STAMP | _SUPPLEMENTAL)
        + elapsed_time(moment.at, clock_set=moment.clock_set)
        + struct.pack("<BI", 1, _SPOT)
        + bytes([len(observations)]) + b"".join(observations)
    )  # fmt: skip
    return b"\x03" + _observation(_BUNDLE, body)


def spot_check(moment: Moment) -> Sequence[Measured]:
    """A bundle of oxygen saturation and pulse rate."""
    return (_spot_check(moment),)


def spot_check_with_wave(moment: Moment) -> Sequence[Measured]:
    """A bundle of oxygen saturation, pulse rate, and a second of the pulse wave they were read from."""
    turn = 2 * math.pi * moment.vitals.pulse / 60 * float(_PERIOD_S)
    wave = [round(100 + 90 * math.sin(turn * each)) for each in range(_SAMPLES_SENT)]
    values = tuple(_LOWEST + _STEP * each for each in wave)
    return (
        replace(
            _spot_check(moment, _samples(_PLETH, _ONE, wave)),
            others=(Other(code=_PLETH, refid="MDC_PULS_OXIM_PLETH", samples=values, unit="1"),),
        ),
    )


def _spot_check(moment: Moment, *further: bytes) -> Measured:
    spo2, pulse = rounded(moment.vitals.spo2, "1"), rounded(moment.vitals.pulse, "1")
    return Measured(
        characteristic=OBSERVATIONS,
        data=_bundle(moment, _numeric(150456, 544, spo2), _numeric(149530, 2720, pulse), *further),
        values=(
            Value(code=150456, refid="MDC_PULS_OXIM_SAT_O2", value=spo2, unit="%"),
            Value(code=149530, refid="MDC_PULS_OXIM_PULS_RATE", value=pulse, unit="/min"),
        ),
        device_time=moment.at,
    )


def stored_spot_check(moment: Moment) -> Sequence[Measured]:
    """Stored Health Observations, 2BDD: the record's number in 32 bits, and then the observation."""
    live = _spot_check(moment)
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
WAVE_HEALTH_SENSOR = replace(
    HEALTH_SENSOR,
    name="health-sensor-wave",
    says="generic health sensor that sends a pulse wave, too",
    flag="notify",
    model="SimGhs 3",
    reads={0x2BF3: struct.pack("<BBIII", 0, 3, 150456, 149530, _PLETH)},
    segment_bytes=100,
    measure=spot_check_with_wave,
)
STORING_HEALTH_SENSOR = replace(
    HEALTH_SENSOR,
    name="health-sensor-storing",
    says="generic health sensor whose stored observations are asked for (2A52)",
    characteristic=STORED_OBSERVATIONS,
    flag="notify",
    model="SimGhs 2",
    beside={OBSERVATIONS: "notify", GHS_CONTROL_POINT: "indicate", RACP: "indicate"},
    delivery=Delivery.ASKED,
    wide=True,
    measure=stored_spot_check,
)
