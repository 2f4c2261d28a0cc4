"""What `wire.quirks` says of a device, applied to what its values decode to."""

from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Final

from wire.errors import DecodeError
from wire.evidence import Reading
from wire.gatt.device_information import FIRMWARE, MANUFACTURER, MODEL, decode_text
from wire.measurement import Measurement, MeasurementStatus
from wire.nomenclature import Mdc
from wire.quirks import Quirk, quirk_for

_FIELDS: Final = {
    "SpO2": (Mdc.PULS_OXIM_SAT_O2,),
    "pulse": (Mdc.PULS_OXIM_PULS_RATE, Mdc.PULS_RATE_NON_INV),
    "mean": (Mdc.PRESS_BLD_NONINV_MEAN,),
}
"""The measurements of a field that `Quirk.zero_is_absent` names."""
_OFF_THE_USER: Final = {0, 4}
"""Bits of MDC_PULS_OXIM_DEV_STATUS: sensor disconnected, sensor not on the user."""


def quirk_of(reading: Reading) -> Quirk:
    """What is asked for with the device of a reading, by its name and what stands in the reading's context."""
    said = {item.characteristic: item.value for item in reading.context}
    return _quirk(reading.device.name, *(said.get(number, b"") for number in (MANUFACTURER, MODEL, FIRMWARE)))


def corrected(measurements: tuple[Measurement, ...], quirk: Quirk) -> tuple[Measurement, ...]:
    """The measurements without what its device sends and does not mean: zeros, stale numbers, times nobody has set."""
    if quirk.zero_is_absent:
        zeros = {code for field in quirk.zero_is_absent for code in _FIELDS[field]}
        measurements = tuple(_without_zeros(measurement, zeros) for measurement in measurements)
    if quirk.stale_without_sensor and any(
        part.code == Mdc.PULS_OXIM_DEV_STATUS and _OFF_THE_USER & part.bits.keys() for part in measurements
    ):
        measurements = doubted(measurements)
    if quirk.clock_since:
        measurements = tuple(_told(measurement, quirk.clock_since) for measurement in measurements)
    return measurements


def doubted(measurements: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
    """The measurements, with every number of them questionable."""
    return tuple(
        replace(each, status=(*each.status, MeasurementStatus.QUESTIONABLE))
        if (isinstance(each.value, Decimal) or each.components) and MeasurementStatus.QUESTIONABLE not in each.status
        else each
        for each in measurements
    )


# Three dozen devices in a home at most, thousands at a bridge: the table is walked once for each.
@lru_cache(maxsize=4096)
def _quirk(name: str, manufacturer: bytes, model: bytes, firmware: bytes) -> Quirk:
    return quirk_for(name=name, manufacturer=_text(manufacturer), model=_text(model), firmware=_text(firmware))


def _text(value: bytes) -> str:
    try:
        return decode_text(value)
    except DecodeError:
        return ""


def _without_zeros(measurement: Measurement, zeros: set[Mdc]) -> Measurement:
    if measurement.code in zeros and measurement.value == 0:
        return replace(measurement, value=None, unit=None, absent="not-performed")
    if measurement.components and any(part.code in zeros for part in measurement.components):
        return replace(measurement, components=tuple(_without_zeros(part, zeros) for part in measurement.components))
    return measurement


def _told(measurement: Measurement, since: int) -> Measurement:
    time = measurement.device_time
    if time is not None and 0 < time.year < since:
        return replace(measurement, clock_set=False)
    return measurement
