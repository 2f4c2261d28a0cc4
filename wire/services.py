"""Which GATT services and characteristics Stafet knows: numbers and names, and nothing that decodes.

A hub that collects needs these and never a decoder, so they stand apart from `wire.gatt`, which gives them out too.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from wire.errors import WireError
from wire.quirks import AND_WEIGHT, NONIN_OXIMETRY


class ServiceInfo(NamedTuple):
    """A health service: what the device is (MDC specialization), what to subscribe to, what to read beside it."""

    name: str
    specialization: int
    measurements: tuple[int, ...]
    context: tuple[int, ...]


SERVICES: Final[Mapping[int, ServiceInfo]] = MappingProxyType(
    {
        0x1822: ServiceInfo(
            name="pulse oximeter",
            specialization=528388,  # MDC_DEV_SPEC_PROFILE_PULS_OXIM
            measurements=(0x2A5E, 0x2A5F),
            context=(0x2A60,),
        ),
        0x1810: ServiceInfo(
            name="blood pressure monitor",
            specialization=528391,  # MDC_DEV_SPEC_PROFILE_BP
            measurements=(0x2A35, 0x2B34, 0x2B36),
            context=(0x2A49,),
        ),
        0x181D: ServiceInfo(
            name="weight scale",
            specialization=528399,  # MDC_DEV_SPEC_PROFILE_SCALE
            measurements=(0x2A9D,),
            context=(0x2A9E,),
        ),
        0x180D: ServiceInfo(
            name="heart rate monitor",
            specialization=528525,  # MDC_DEV_SUB_SPEC_PROFILE_HR
            measurements=(0x2A37,),
            context=(0x2A38,),
        ),
        0x1809: ServiceInfo(
            name="thermometer",
            specialization=528392,  # MDC_DEV_SPEC_PROFILE_TEMP
            measurements=(0x2A1C,),
            context=(0x2A1D,),
        ),
        0x181B: ServiceInfo(
            name="body composition analyser",
            specialization=528404,  # MDC_DEV_SPEC_PROFILE_BCA
            measurements=(0x2A9C,),
            context=(0x2A9B,),
        ),
        0x1808: ServiceInfo(
            name="glucose meter",
            specialization=528401,  # MDC_DEV_SPEC_PROFILE_GLUCOSE
            measurements=(0x2A18, 0x2A34),
            context=(0x2A51,),
        ),
        0x181F: ServiceInfo(
            name="continuous glucose monitor",
            specialization=528409,  # MDC_DEV_SPEC_PROFILE_CGM
            measurements=(0x2AA7,),
            context=(0x2AA8, 0x2AA9, 0x2AAA, 0x2AAB),
        ),
        0x1840: ServiceInfo(
            name="generic health sensor",
            specialization=528384,  # MDC_DEV_SPEC_PROFILE_HYDRA: what it measures, each observation says
            measurements=(0x2B8B, 0x2BDD),
            context=(0x2BF3, 0x2BF2),
        ),
    }
)
"""The services that a hub looks for, by 16-bit UUID."""

STORED: Final[frozenset[int]] = frozenset({0x2A18, 0x2A34, 0x2AA7, 0x2B36, 0x2BDD})
"""What a device sends only, or without loss only, when its Record Access Control Point is asked for it."""

RACP: Final = 0x2A52
"""Record Access Control Point: `wire.gatt.racp` says what was written to it."""

MEASUREMENTS: Final[frozenset[int]] = (
    frozenset(characteristic for service in SERVICES.values() for characteristic in service.measurements) - STORED
)
"""What a hub subscribes to and waits for. Intermediate cuff pressure (2A36) decodes too, but is no result and is not collected."""

DEVICE_INFORMATION_SERVICE: Final = 0x180A
DEVICE_INFORMATION: Final = (0x2A29, 0x2A24, 0x2A25, 0x2A26, 0x2A27, 0x2A28, 0x2A23, 0x2A50)
"""What a hub reads of every device."""

BATTERY_LEVEL: Final = 0x2A19
"""Battery Service (180F). Read beside every measurement: a device that is about to fail shows it here first."""

CLOCK: Final = (0x2A2B, 0x2A08)
"""Where a device shows its clock, the better one first."""

_NAMES: Final[Mapping[int | bytes, str]] = {
    0x2A08: "Date Time",
    0x2A0F: "Local Time Information",
    0x2A14: "Reference Time Information",
    0x2A18: "Glucose Measurement",
    0x2A19: "Battery Level",
    0x2A1C: "Temperature Measurement",
    0x2A1D: "Temperature Type",
    0x2A1E: "Intermediate Temperature",
    0x2A21: "Measurement Interval",
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
    0x2AAC: "CGM Specific Ops Control Point",
    0x2B34: "Enhanced Blood Pressure Measurement",
    0x2B35: "Enhanced Intermediate Cuff Pressure",
    0x2B36: "Blood Pressure Record",
    0x2B8B: "Live Health Observations",
    0x2BDD: "Stored Health Observations",
    0x2BF1: "Observation Schedule Changed",
    0x2BF2: "Current Elapsed Time",
    0x2BF3: "Health Sensor Features",
    0x2BF4: "GHS Control Point",
    NONIN_OXIMETRY: "Nonin Continuous Oximetry",
    AND_WEIGHT: "A&D Weight Measurement",
}

_UUID: Final = re.compile("[0-9a-f]{4}|[0-9a-f]{8}|[0-9a-f]{32}")
_BASE_UUID: Final = bytes.fromhex("0000000000001000800000805F9B34FB")


def service_of(characteristic: int | bytes) -> ServiceInfo | None:
    """The service that a measurement characteristic belongs to."""
    return next((service for service in SERVICES.values() if characteristic in service.measurements), None)


def characteristic_name(characteristic: int | bytes) -> str | None:
    """The name of a characteristic that we know: the Bluetooth SIG's, or of a maker's own."""
    return _NAMES.get(characteristic)


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
