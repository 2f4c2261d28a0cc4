"""Bluetooth LE health characteristics: which there are, and what their values mean.

`decode` turns the value of one characteristic into measurements; `describe` says for a technician what a value of the
other kind (features, clock, device information) contains. Both raise `DecodeError` and nothing else. Reserved flag
bits are tolerated, as the specifications ask; bytes after the last flagged field are not.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from wire.errors import DecodeError, WireError
from wire.evidence import Reading
from wire.gatt import (
    blood_pressure,
    body_composition,
    cgm,
    date_time,
    device_information,
    glucose,
    heart_rate,
    plx,
    racp,
    temperature,
    weight,
)
from wire.gatt.date_time import decode_current_time, decode_date_time
from wire.gatt.device_information import DeviceInformation, PnpId
from wire.measurement import Measurement
from wire.nomenclature import Mdc

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
    "decode_current_time",
    "decode_date_time",
    "decode_reading",
    "describe",
    "format_uuid",
    "parse_uuid",
    "service_of",
    "short_uuid",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceInfo:
    """A health service: what the device is (MDC specialization), what to subscribe to, what to read beside it."""

    name: str
    specialization: int
    measurements: tuple[int, ...]
    context: tuple[int, ...]


SERVICES: Final[Mapping[int, ServiceInfo]] = MappingProxyType(
    {
        0x1822: ServiceInfo(
            name="pulse oximeter",
            specialization=Mdc.DEV_SPEC_PROFILE_PULS_OXIM,
            measurements=(0x2A5E, 0x2A5F),
            context=(0x2A60,),
        ),
        0x1810: ServiceInfo(
            name="blood pressure monitor",
            specialization=Mdc.DEV_SPEC_PROFILE_BP,
            measurements=(0x2A35,),
            context=(0x2A49,),
        ),
        0x181D: ServiceInfo(
            name="weight scale",
            specialization=Mdc.DEV_SPEC_PROFILE_SCALE,
            measurements=(0x2A9D,),
            context=(0x2A9E,),
        ),
        0x180D: ServiceInfo(
            name="heart rate monitor",
            specialization=Mdc.DEV_SUB_SPEC_PROFILE_HR,
            measurements=(0x2A37,),
            context=(0x2A38,),
        ),
        0x1809: ServiceInfo(
            name="thermometer",
            specialization=Mdc.DEV_SPEC_PROFILE_TEMP,
            measurements=(0x2A1C,),
            context=(0x2A1D,),
        ),
        0x181B: ServiceInfo(
            name="body composition analyser",
            specialization=Mdc.DEV_SPEC_PROFILE_BCA,
            measurements=(0x2A9C,),
            context=(0x2A9B,),
        ),
        0x1808: ServiceInfo(
            name="glucose meter",
            specialization=Mdc.DEV_SPEC_PROFILE_GLUCOSE,
            measurements=(0x2A18, 0x2A34),
            context=(0x2A51,),
        ),
        0x181F: ServiceInfo(
            name="continuous glucose monitor",
            specialization=Mdc.DEV_SPEC_PROFILE_CGM,
            measurements=(0x2AA7,),
            context=(0x2AA8, 0x2AA9, 0x2AAA, 0x2AAB),
        ),
    }
)
"""The services that a hub looks for, by 16-bit UUID."""

STORED: Final[frozenset[int]] = frozenset({0x2A18, 0x2A34, 0x2AA7})
"""What a device sends only, or without loss only, when its Record Access Control Point is asked for it."""

RACP: Final = 0x2A52
"""Record Access Control Point: `wire.gatt.racp` has what is written to it."""

MEASUREMENTS: Final[frozenset[int]] = (
    frozenset(characteristic for service in SERVICES.values() for characteristic in service.measurements) - STORED
)
"""What a hub subscribes to and waits for. Intermediate cuff pressure (2A36) decodes too, but is no result and is not collected."""

DEVICE_INFORMATION_SERVICE: Final = 0x180A
DEVICE_INFORMATION: Final = (*device_information.TEXTS, device_information.SYSTEM_ID, device_information.PNP_ID)
"""What a hub reads of every device."""

CLOCK: Final = (0x2A2B, 0x2A08)
"""Where a device shows its clock, the better one first."""

_DECODERS: Final[Mapping[int, Callable[[bytes], tuple[Measurement, ...]]]] = {
    0x2A18: glucose.decode_measurement,
    0x2A1C: temperature.decode_temperature,
    0x2A34: glucose.decode_context,
    0x2A35: blood_pressure.decode_blood_pressure,
    0x2A36: blood_pressure.decode_intermediate_cuff_pressure,
    0x2A37: heart_rate.decode_heart_rate,
    0x2A5E: plx.decode_spot_check,
    0x2A5F: plx.decode_continuous,
    0x2A9C: body_composition.decode_body_composition,
    0x2A9D: weight.decode_weight,
    0x2AA7: cgm.decode_measurement,
}

_DESCRIBERS: Final[Mapping[int, Callable[[bytes], dict[str, str | bool]]]] = {
    0x2A08: date_time.describe_date_time,
    0x2A1D: temperature.describe_type,
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
    **dict.fromkeys(device_information.TEXTS, device_information.describe_text),
    device_information.SYSTEM_ID: device_information.describe_system_id,
    device_information.PNP_ID: device_information.describe_pnp_id,
}

_NAMES: Final[Mapping[int, str]] = {
    0x2A08: "Date Time",
    0x2A18: "Glucose Measurement",
    0x2A1C: "Temperature Measurement",
    0x2A1D: "Temperature Type",
    0x2A23: "System ID",
    0x2A24: "Model Number String",
    0x2A25: "Serial Number String",
    0x2A26: "Firmware Revision String",
    0x2A27: "Hardware Revision String",
    0x2A28: "Software Revision String",
    0x2A29: "Manufacturer Name String",
    0x2A2B: "Current Time",
    0x2A34: "Glucose Measurement Context",
    0x2A35: "Blood Pressure Measurement",
    0x2A36: "Intermediate Cuff Pressure",
    0x2A37: "Heart Rate Measurement",
    0x2A38: "Body Sensor Location",
    0x2A49: "Blood Pressure Feature",
    0x2A50: "PnP ID",
    0x2A51: "Glucose Feature",
    0x2A52: "Record Access Control Point",
    0x2A5E: "PLX Spot-Check Measurement",
    0x2A5F: "PLX Continuous Measurement",
    0x2A60: "PLX Features",
    0x2A9B: "Body Composition Feature",
    0x2A9C: "Body Composition Measurement",
    0x2A9D: "Weight Measurement",
    0x2A9E: "Weight Scale Feature",
    0x2AA7: "CGM Measurement",
    0x2AA8: "CGM Feature",
    0x2AA9: "CGM Status",
    0x2AAA: "CGM Session Start Time",
    0x2AAB: "CGM Session Run Time",
}

_UUID: Final = re.compile("[0-9a-f]{4}|[0-9a-f]{8}|[0-9a-f]{32}")
_BASE_UUID: Final = bytes.fromhex("0000000000001000800000805F9B34FB")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def decode(characteristic: int | bytes, value: bytes) -> tuple[Measurement, ...]:
    """The measurements in one characteristic value; none for context (features, clock, device information)."""
    decoder = _DECODERS.get(characteristic) if isinstance(characteristic, int) else None
    if decoder is not None:
        return decoder(value)
    describe(characteristic, value)
    return ()


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
    return tuple(
        replace(measurement, received=received) for measurement in decode(reading.characteristic, reading.value)
    )


def service_of(characteristic: int | bytes) -> ServiceInfo | None:
    """The service that a measurement characteristic belongs to."""
    return next((service for service in SERVICES.values() if characteristic in service.measurements), None)


def characteristic_name(characteristic: int | bytes) -> str | None:
    """The Bluetooth SIG's name of a characteristic that we know."""
    return _NAMES.get(characteristic) if isinstance(characteristic, int) else None


def parse_uuid(text: str) -> int | bytes:
    """A UUID as people and BlueZ write it: `2A5E`, `0x2a5e` or 128 bits; a SIG number becomes an int."""
    digits = text.strip().lower().removeprefix("0x").replace("-", "")
    if _UUID.fullmatch(digits) is None:
        raise WireError(f"{text!a} is no UUID: expected 4, 8 or 32 hexadecimal digits")
    raw = bytes.fromhex(digits)
    if len(raw) < 16:
        raw = raw.rjust(4, b"\0") + _BASE_UUID[4:]
    if raw[:2] == b"\0\0" and raw[4:] == _BASE_UUID[4:]:
        return int.from_bytes(raw[2:4], "big")
    return raw


def format_uuid(uuid: int | bytes) -> str:
    """128 bits in lower case with dashes, as BlueZ and bleak write it."""
    raw = uuid if isinstance(uuid, bytes) else uuid.to_bytes(4, "big") + _BASE_UUID[4:]
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def short_uuid(uuid: int | bytes) -> str:
    """`2A5E` for a SIG number, else all 128 bits: for people."""
    return f"{uuid:04X}" if isinstance(uuid, int) else format_uuid(uuid)
