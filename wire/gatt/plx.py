"""Pulse oximeter: PLX Spot-Check (2A5E), PLX Continuous (2A5F) and PLX Features (2A60), Bluetooth PLXS 1.0.1.

Both measurements are flag-driven. SpO2 and pulse rate are always there; they may be NaN. The measurement status
(PLXS 3.1.1.4) speaks of the whole value set, so every number of it carries that status. The device and sensor status
(3.1.1.5) is IEEE 11073-10404's device status with the bits counted from the other end: BLE bit 0 is MDC bit 15.
"""

from typing import Final

from wire.gatt.date_time import read_date_time
from wire.gatt.reader import Reader
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, numeric
from wire.nomenclature import Mdc

# Plain integers: an IntFlag costs more than the rest of a decoder (0.6 us a test against 0.05).
_SPOT_TIME_STAMP: Final = 0x01
_SPOT_MEASUREMENT_STATUS: Final = 0x02
_SPOT_SENSOR_STATUS: Final = 0x04
_SPOT_PULSE_AMPLITUDE: Final = 0x08
_SPOT_CLOCK_NOT_SET: Final = 0x10

_CONTINUOUS_FAST: Final = 0x01
_CONTINUOUS_SLOW: Final = 0x02
_CONTINUOUS_MEASUREMENT_STATUS: Final = 0x04
_CONTINUOUS_SENSOR_STATUS: Final = 0x08
_CONTINUOUS_PULSE_AMPLITUDE: Final = 0x10

_NORMAL: Final[tuple[int, ...]] = ()
_SPOT: Final[tuple[int, ...]] = (Mdc.MODALITY_SPOT,)
_FAST: Final[tuple[int, ...]] = (Mdc.MODALITY_FAST,)
_SLOW: Final[tuple[int, ...]] = (Mdc.MODALITY_SLOW,)

MEASUREMENT_STATUS: Final = {
    5: MeasurementStatus.ONGOING,
    6: MeasurementStatus.EARLY_ESTIMATE,
    7: MeasurementStatus.VALIDATED,
    8: MeasurementStatus.FULLY_QUALIFIED,
    9: MeasurementStatus.STORED,
    10: MeasurementStatus.DEMO_DATA,
    11: MeasurementStatus.TEST_DATA,
    12: MeasurementStatus.CALIBRATING,
    13: MeasurementStatus.NOT_AVAILABLE,
    14: MeasurementStatus.QUESTIONABLE,
    15: MeasurementStatus.INVALID,
}
"""PLXS 3.1.1.4, by bit counted from the least significant; bits 0 to 4 are reserved."""

SENSOR_STATUS: Final = (
    "extended display update ongoing",
    "equipment malfunction",
    "signal processing irregularity",
    "inadequate signal",
    "poor signal",
    "low perfusion",
    "erratic signal",
    "non-pulsatile signal",
    "questionable pulse",
    "signal analysis ongoing",
    "sensor interference",
    "sensor not on the user",
    "unknown sensor connected",
    "sensor displaced",
    "sensor malfunction",
    "sensor disconnected",
)
"""PLXS 3.1.1.5, by bit counted from the least significant; bits 16 to 23 are reserved."""

FEATURES: Final = (
    "measurement status",
    "device and sensor status",
    "measurement storage",
    "time stamp",
    "fast SpO2 and pulse",
    "slow SpO2 and pulse",
    "pulse amplitude index",
    "multiple bonds",
)
"""PLXS 3.3.1, by bit."""

# What a device says of the record rather than of a value: it holds for the sensor status of that record too.
_OF_THE_RECORD: Final = {MeasurementStatus.STORED, MeasurementStatus.DEMO_DATA, MeasurementStatus.TEST_DATA}


def decode_spot_check(value: bytes) -> tuple[Measurement, ...]:
    """PLX Spot-Check Measurement (2A5E, PLXS 3.1)."""
    reader = Reader(value)
    flags = reader.u8("flags")
    spo2 = reader.sfloat("SpO2")
    pulse = reader.sfloat("pulse rate")
    time = read_date_time(reader) if flags & _SPOT_TIME_STAMP else None
    status = _status(reader.u16("measurement status")) if flags & _SPOT_MEASUREMENT_STATUS else ()
    sensor = reader.u24("device and sensor status") if flags & _SPOT_SENSOR_STATUS else 0
    clock_set = not flags & _SPOT_CLOCK_NOT_SET
    measurements = [
        numeric(
            Mdc.PULS_OXIM_SAT_O2,
            spo2,
            "%",
            device_time=time,
            supplemental=_SPOT,
            status=status,
            clock_set=clock_set,
        ),
        numeric(
            Mdc.PULS_OXIM_PULS_RATE,
            pulse,
            "/min",
            device_time=time,
            supplemental=_SPOT,
            status=status,
            clock_set=clock_set,
        ),
    ]
    if flags & _SPOT_PULSE_AMPLITUDE:
        amplitude = reader.sfloat("pulse amplitude index")
        measurements.append(
            numeric(Mdc.SAT_O2_QUAL, amplitude, "%", device_time=time, status=status, clock_set=clock_set)
        )
    reader.end()
    _add_sensor_status(measurements, sensor, status, time, clock_set)
    return tuple(measurements)


def decode_continuous(value: bytes) -> tuple[Measurement, ...]:
    """PLX Continuous Measurement (2A5F, PLXS 3.2)."""
    reader = Reader(value)
    flags = reader.u8("flags")
    series = [(_NORMAL, reader.sfloat("SpO2"), reader.sfloat("pulse rate"))]
    if flags & _CONTINUOUS_FAST:
        series.append((_FAST, reader.sfloat("fast SpO2"), reader.sfloat("fast pulse rate")))
    if flags & _CONTINUOUS_SLOW:
        series.append((_SLOW, reader.sfloat("slow SpO2"), reader.sfloat("slow pulse rate")))
    status = _status(reader.u16("measurement status")) if flags & _CONTINUOUS_MEASUREMENT_STATUS else ()
    sensor = reader.u24("device and sensor status") if flags & _CONTINUOUS_SENSOR_STATUS else 0
    measurements: list[Measurement] = []
    for modality, spo2, pulse in series:
        measurements.append(numeric(Mdc.PULS_OXIM_SAT_O2, spo2, "%", supplemental=modality, status=status))
        measurements.append(numeric(Mdc.PULS_OXIM_PULS_RATE, pulse, "/min", supplemental=modality, status=status))
    if flags & _CONTINUOUS_PULSE_AMPLITUDE:
        measurements.append(numeric(Mdc.SAT_O2_QUAL, reader.sfloat("pulse amplitude index"), "%", status=status))
    reader.end()
    _add_sensor_status(measurements, sensor, status, None, clock_set=True)
    return tuple(measurements)


def describe_features(value: bytes) -> dict[str, str | bool]:
    """PLX Features (2A60, PLXS 3.3): what the oximeter can say."""
    reader = Reader(value)
    supported = reader.u16("supported features")
    described: dict[str, str | bool] = {name: bool(supported >> bit & 1) for bit, name in enumerate(FEATURES)}
    if supported & 1:
        states = reader.u16("measurement status support")
        described["measurement states"] = ", ".join(
            MEASUREMENT_STATUS[bit] for bit in range(5, 16) if states >> bit & 1
        )
    if supported & 2:
        states = reader.u24("device and sensor status support")
        described["sensor states"] = ", ".join(name for bit, name in enumerate(SENSOR_STATUS) if states >> bit & 1)
    reader.end()
    return described


def _status(word: int) -> tuple[MeasurementStatus, ...]:
    return tuple(status for bit, status in MEASUREMENT_STATUS.items() if word >> bit & 1)


def _add_sensor_status(
    measurements: list[Measurement],
    word: int,
    status: tuple[MeasurementStatus, ...],
    time: DeviceTime | None,
    clock_set: bool,
) -> None:
    """Append the sensor status; all its bits are events (HL7 PHD ASN1ToHL7), so only set ones are reported."""
    if word & 0xFFFF:
        bits = {15 - bit: True for bit in range(15, -1, -1) if word >> bit & 1}
        measurements.append(
            Measurement(
                code=Mdc.PULS_OXIM_DEV_STATUS,
                bits=bits,
                device_time=time,
                status=tuple(state for state in status if state in _OF_THE_RECORD),
                clock_set=clock_set,
            )
        )
