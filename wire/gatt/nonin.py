"""Nonin 3230 and 3150: the oximetry value of their own Bluetooth LE service, once a second while a finger is in.

Ten bytes or more, the first is how many; numbers are big-endian. SpO2 127 and pulse 511 mean "not measured", as in
Nonin's serial formats (`wire.serial.nonin`), and a value that passed SmartPoint is fully qualified, as there. The
battery's voltage and the counter of seconds are the device's own affairs and no measurements.

The layout is Nonin's, as in its iOS sample "NONIN3230 Mini" and in a public Python client of the 3150.
"""

from typing import Final

from wire.errors import DecodeError
from wire.gatt.reader import Reader
from wire.measurement import Measurement, MeasurementStatus, numeric
from wire.nomenclature import Mdc
from wire.numbers import scaled

SYNCHRONISED: Final = 0x01
WEAK_SIGNAL: Final = 0x02
SMARTPOINT: Final = 0x04
SEARCHING: Final = 0x08
CORRECT_CHECK: Final = 0x10
LOW_BATTERY: Final = 0x20
"""Status: the display shows the same; little pulsation; good data; no pulse yet; the finger is in; change the battery."""

_LENGTH: Final = 10
_SPO2_MISSING: Final = 127
_PULSE_MISSING: Final = 511
# Bits of MDC_PULS_OXIM_DEV_STATUS from the most significant, as in `wire.gatt.plx`.
_SENSOR_DISPLACED: Final = 2
_SENSOR_OFF: Final = 4
_POOR_SIGNAL: Final = 11
_INADEQUATE_SIGNAL: Final = 12


def decode_oximetry(value: bytes) -> tuple[Measurement, ...]:
    """The measurements in one value: SpO2, pulse rate, pulse amplitude, and the sensor's status where it says something."""
    reader = Reader(value)
    length = reader.u8("length")
    if length < _LENGTH or length != len(value):
        raise DecodeError(f"a value of {len(value)} bytes says that it has {length}", 0)
    status = reader.u8("status")
    reader.u8("battery voltage")
    amplitude = _big(reader, "pulse amplitude index")
    _big(reader, "counter")
    spo2 = reader.u8("SpO2")
    pulse = _big(reader, "pulse rate")
    qualified = (MeasurementStatus.FULLY_QUALIFIED,) if status & SMARTPOINT else ()
    found = [
        _measured(Mdc.PULS_OXIM_SAT_O2, spo2, _SPO2_MISSING, "%", qualified),
        _measured(Mdc.PULS_OXIM_PULS_RATE, pulse, _PULSE_MISSING, "/min", qualified),
        numeric(Mdc.SAT_O2_QUAL, scaled(amplitude, -2), "%", status=qualified),
    ]
    bits = {}
    if not status & CORRECT_CHECK:
        # The finger is not in, or not well.
        bits[_SENSOR_OFF if spo2 == _SPO2_MISSING else _SENSOR_DISPLACED] = True
    if status & WEAK_SIGNAL:
        bits[_POOR_SIGNAL] = True
    if status & SEARCHING:
        bits[_INADEQUATE_SIGNAL] = True
    if bits:
        found.append(Measurement(code=Mdc.PULS_OXIM_DEV_STATUS, bits=bits))
    return tuple(found)


def _measured(code: int, number: int, missing: int, unit: str, status: tuple[MeasurementStatus, ...]) -> Measurement:
    if number == missing:
        return Measurement(code=code, absent="not-performed", status=status)
    return numeric(code, scaled(number, 0), unit, status=status)


def _big(reader: Reader, what: str) -> int:
    return reader.u8(what) << 8 | reader.u8(what)
