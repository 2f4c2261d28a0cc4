"""Bluetooth LE health characteristics: which there are, and what their values mean.

`decode_reading` turns a reading into measurements: its value by the standard, with what its context adds (the session
of a glucose sensor, the request for stored values) and what its device does otherwise (`wire.quirks`). `decode` knows
only a value, by the standard; `describe` says for a technician what a value of the other kind (features, clock, device
information) contains. All raise `DecodeError` and nothing else. Reserved flag bits are tolerated, and so are octets after
the last field that a measurement's flags announce, as the profiles ask of a Collector; what such a value says is then
questionable. Both together are refused: nobody knows which field a reserved bit announces, and where it stands.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from wire.errors import DecodeError
from wire.evidence import Reading
from wire.gatt import (
    blood_pressure,
    body_composition,
    cgm,
    cgm_control,
    date_time,
    device_information,
    elapsed_time,
    enhanced_blood_pressure,
    ghs,
    glucose,
    heart_rate,
    nonin,
    plx,
    racp,
    temperature,
    weight,
)
from wire.gatt.date_time import decode_current_time, decode_date_time
from wire.gatt.device_information import DeviceInformation, PnpId
from wire.gatt.quirky import corrected, doubted, quirk_of
from wire.gatt.reader import ExtraOctetsError
from wire.measurement import Measurement, MeasurementStatus
from wire.quirks import AND_WEIGHT, NONIN_OXIMETRY, Quirk
from wire.services import (
    CLOCK,
    DEVICE_INFORMATION,
    DEVICE_INFORMATION_SERVICE,
    MEASUREMENTS,
    RACP,
    SERVICES,
    STORED,
    ServiceInfo,
    characteristic_name,
    format_uuid,
    parse_uuid,
    service_of,
    short_uuid,
)

__all__ = [
    "CLOCK",
    "DEVICE_INFORMATION",
    "DEVICE_INFORMATION_SERVICE",
    "MEASUREMENTS",
    "RACP",
    "SERVICES",
    "STORED",
    "DeviceInformation",
    "PnpId",
    "ServiceInfo",
    "characteristic_name",
    "decode",
    "decode_as",
    "decode_current_time",
    "decode_date_time",
    "decode_reading",
    "describe",
    "format_uuid",
    "parse_uuid",
    "service_of",
    "short_uuid",
]


_DECODERS: Final[Mapping[int | bytes, Callable[[bytes], tuple[Measurement, ...]]]] = {
    0x2A18: glucose.decode_measurement,
    0x2A1C: temperature.decode_temperature,
    0x2A1E: temperature.decode_intermediate_temperature,
    0x2A34: glucose.decode_context,
    0x2A35: blood_pressure.decode_blood_pressure,
    0x2A36: blood_pressure.decode_intermediate_cuff_pressure,
    0x2A37: heart_rate.decode_heart_rate,
    0x2A5E: plx.decode_spot_check,
    0x2A5F: plx.decode_continuous,
    0x2A9C: body_composition.decode_body_composition,
    0x2A9D: weight.decode_weight,
    0x2AA7: cgm.decode_measurement,
    0x2B34: enhanced_blood_pressure.decode_enhanced,
    0x2B35: enhanced_blood_pressure.decode_enhanced_cuff_pressure,
    0x2B36: enhanced_blood_pressure.decode_record,
    0x2B8B: ghs.decode_live,
    0x2BDD: ghs.decode_stored,
    NONIN_OXIMETRY: nonin.decode_oximetry,
    AND_WEIGHT: weight.decode_and_weight,
}

_DESCRIBERS: Final[Mapping[int, Callable[[bytes], dict[str, str | bool]]]] = {
    0x2A08: date_time.describe_date_time,
    0x2A0F: date_time.describe_local_time,
    0x2A14: date_time.describe_reference_time,
    0x2A19: device_information.describe_battery,
    0x2A1D: temperature.describe_type,
    0x2A21: temperature.describe_interval,
    0x2A2B: date_time.describe_current_time,
    0x2A38: heart_rate.describe_location,
    0x2A49: blood_pressure.describe_feature,
    0x2A51: glucose.describe_feature,
    RACP: racp.describe,
    0x2A60: plx.describe_features,
    0x2A9B: body_composition.describe_feature,
    0x2A9E: weight.describe_feature,
    0x2AA8: cgm.describe_feature,
    0x2AA9: cgm.describe_status,
    0x2AAA: cgm.describe_session_start,
    0x2AAB: cgm.describe_run_time,
    0x2AAC: cgm_control.describe,
    0x2BF1: ghs.describe_schedule,
    0x2BF2: elapsed_time.describe_current,
    0x2BF3: ghs.describe_features,
    **dict.fromkeys(device_information.TEXTS, device_information.describe_text),
    device_information.SYSTEM_ID: device_information.describe_system_id,
    device_information.PNP_ID: device_information.describe_pnp_id,
}

_RESERVED: Final[Mapping[int | bytes, int]] = {
    0x2A18: 0xE0,
    0x2A1C: 0xF8,
    0x2A1E: 0xF8,
    0x2A34: 0,
    0x2A35: 0xE0,
    0x2A36: 0xE0,
    0x2A37: 0xE0,
    0x2A5E: 0xE0,
    0x2A5F: 0xE0,
    0x2A9C: 0xE000,
    0x2A9D: 0xF0,
    0x2B34: 0x80,
    0x2B35: 0x80,
}
"""Reserved flag bits, little-endian, of those whose flags alone say where the fields end. All others have a size, or are of one."""
_PRESSURE: Final = 0x2A35
_CGM: Final = 0x2AA7
# Requests to the Record Access Control Point that stand in the context of what was sent in answer: report, and GHSS's
# combined report.
_REPORT_STORED: Final = (b"\x01", b"\x07")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def decode(characteristic: int | bytes, value: bytes) -> tuple[Measurement, ...]:
    """The measurements in one characteristic value; none for context (features, clock, device information)."""
    decoder = _DECODERS.get(characteristic)
    if decoder is not None:
        try:
            return decoder(value)
        except ExtraOctetsError as extra:
            if characteristic not in _RESERVED or int.from_bytes(value[:2], "little") & _RESERVED[characteristic]:
                raise
            return doubted(decoder(value[: extra.offset]))
    describe(characteristic, value)
    return ()


def decode_as(quirk: Quirk, characteristic: int | bytes, value: bytes) -> tuple[Measurement, ...]:
    """The same of a device with ways of its own (`wire.quirks.quirk_for`)."""
    if characteristic == _PRESSURE and (quirk.big_endian or quirk.unflagged):
        return corrected(blood_pressure.decode_blood_pressure(value, quirk), quirk)
    return corrected(decode(characteristic, value), quirk)


def describe(characteristic: int | bytes, value: bytes) -> dict[str, str | bool]:
    """What a context value says, for a technician: names and what they are or whether they hold."""
    describer = _DESCRIBERS.get(characteristic) if isinstance(characteristic, int) else None
    if describer is None:
        raise DecodeError(f"no decoder for {short_uuid(characteristic)}", 0)
    return describer(value)


def decode_reading(reading: Reading) -> tuple[Measurement, ...]:
    """The measurements of a reading, each with the hub's time of reception (as uncertain as `reading.received`)."""
    try:
        received = _EPOCH + timedelta(microseconds=reading.received.wall_us)
    except OverflowError:
        raise DecodeError("the hub's clock was out of any calendar", 0) from None
    quirk = quirk_of(reading)
    context = {item.characteristic: item.value for item in reading.context}
    if reading.characteristic == _CGM:
        found = corrected(_cgm(reading.value, context), quirk)
    else:
        found = decode_as(quirk, reading.characteristic, reading.value)
    stored = context.get(RACP, b"")[:1] in _REPORT_STORED
    return tuple(
        replace(part, received=received, status=_stored(part.status) if stored else part.status) for part in found
    )


def _cgm(value: bytes, context: Mapping[int | bytes, bytes]) -> tuple[Measurement, ...]:
    """A glucose sensor's values with the time and kind that Session Start Time and Feature in the context tell."""
    start = feature = None
    # A context that does not decode costs what it would have told, never the values.
    with contextlib.suppress(DecodeError):
        start = cgm.decode_session_start(context[0x2AAA]) if 0x2AAA in context else None
    with contextlib.suppress(DecodeError):
        feature = cgm.decode_feature(context[0x2AA8]) if 0x2AA8 in context else None
    return cgm.decode_records(value, start=start, feature=feature)


def _stored(status: tuple[MeasurementStatus, ...]) -> tuple[MeasurementStatus, ...]:
    return status if MeasurementStatus.STORED in status else (*status, MeasurementStatus.STORED)
