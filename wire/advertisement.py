"""Measurements that a device puts into its advertisement: service data of the Weight Scale Service (181D).

Xiaomi's Mi Scale sends its weight like this, ten bytes: a control byte, the weight, a date and time. The control byte
tells the unit, whether the weight has settled, and whether the user has stepped off.

Source: sputnikdev/bluetooth-gatt-parser (the vector) and the many public clients that agree on the bits. A hub collects no
advertisements: this is for a bench and for what a technician copies from a sniffer.
"""

from typing import Final

from wire.gatt.date_time import read_date_time
from wire.gatt.reader import Reader
from wire.measurement import Measurement, MeasurementStatus, numeric
from wire.nomenclature import Mdc
from wire.numbers import scaled

_POUNDS: Final = 0x01
_SETTLED: Final = 0x20


def decode_mi_scale(value: bytes) -> tuple[Measurement, ...]:
    """Service data 181D of a Mi Scale: the weight; one that has not settled yet is `ongoing`."""
    reader = Reader(value)
    control = reader.u8("control")
    raw = reader.u16("weight")
    time = read_date_time(reader)
    reader.end()
    # Kilograms in 0.005 kg; jin, of which two are a kilogram, in 0.01: the same number. Pounds in 0.01 lb.
    weight, unit = (scaled(raw, -2), "[lb_av]") if control & _POUNDS else (scaled(raw * 5, -3), "kg")
    status = () if control & _SETTLED else (MeasurementStatus.ONGOING,)
    return (numeric(Mdc.MASS_BODY_ACTUAL, weight, unit, device_time=time, status=status),)
