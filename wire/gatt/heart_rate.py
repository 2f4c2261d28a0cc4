"""Heart rate strap: Measurement (2A37) and Body Sensor Location (2A38), Bluetooth HRS 1.0.

A strap that can feel the skin and does not is still sending numbers: they are marked questionable. RR intervals are
counted in 1/1024 s; 1024 is a power of two, so each has an exact decimal in milliseconds.
"""

from typing import Final

from wire.gatt.reader import Reader
from wire.measurement import Measurement, MeasurementStatus, numeric
from wire.nomenclature import Mdc
from wire.numbers import ratio, scaled

_UINT16: Final = 0x01
_CONTACT: Final = 0x06
_CONTACT_LOST: Final = 0x04
_ENERGY: Final = 0x08
_RR_INTERVALS: Final = 0x10

LOCATIONS: Final = ("other", "chest", "wrist", "finger", "hand", "ear lobe", "foot")
"""HRS 3.2."""

_QUESTIONABLE: Final = (MeasurementStatus.QUESTIONABLE,)


def decode_heart_rate(value: bytes) -> tuple[Measurement, ...]:
    """Heart Rate Measurement (2A37, HRS 3.1).

    The RR flag without an interval is accepted: the list may be empty, and the heart rate before it is whole.
    """
    reader = Reader(value)
    flags = reader.u8("flags")
    status = _QUESTIONABLE if flags & _CONTACT == _CONTACT_LOST else ()
    rate = reader.u16("heart rate") if flags & _UINT16 else reader.u8("heart rate")
    measurements = [numeric(Mdc.ECG_HEART_RATE, scaled(rate, 0), "/min", status=status)]
    if flags & _ENERGY:
        measurements.append(numeric(Mdc.HF_ENERGY, scaled(reader.u16("energy expended"), 0), "kJ"))
    if flags & _RR_INTERVALS:
        while reader.remaining:
            interval = ratio(reader.u16("RR interval") * 1000, 1024)
            measurements.append(numeric(Mdc.ECG_TIME_PD_RR_GL, interval, "ms", status=status))
    reader.end()
    return tuple(measurements)


def describe_location(value: bytes) -> dict[str, str | bool]:
    """Body Sensor Location (2A38, HRS 3.2)."""
    reader = Reader(value)
    location = reader.u8("body sensor location")
    reader.end()
    return {"location": LOCATIONS[location] if location < len(LOCATIONS) else "reserved"}
