"""The two Device resources behind an Observation: the PHD that measured, the PHG (hub) that received.

Both are found again by identifier (conditional create). The content comes from evidence alone, so the same device read
twice is the same resource. What the profile demands and the device did not say is marked unknown, not invented.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from bridge.fhir.codes import (
    BLUETOOTH,
    CABLE_IDENTIFIER,
    DATA_ABSENT_REASON,
    DEVICE_IDENTIFIERS,
    EUI64,
    HUB_IDENTIFIER,
    MDC,
    PHD,
    coding,
    mdc_concept,
)
from bridge.fhir.json import Resource
from wire.gatt import DeviceInformation

_NO_INFORMATION: Final = DeviceInformation()
_UNKNOWN: Final[Resource] = {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": "unknown"}]}

# MDC_MOC_VMS_MDS_SIMP, MDC_MOC_VMS_MDS_AHD: what every PHD, and every PHG, is.
_PHD_TYPE: Final[Resource] = {"coding": [coding(MDC, "65573", "MDC_MOC_VMS_MDS_SIMP")]}
_PHG_TYPE: Final[Resource] = {"coding": [coding(MDC, "531981", "MDC_MOC_VMS_MDS_AHD")]}
# MDC_DEV_SPEC_PROFILE_GENERIC: a PHG that takes whatever follows 11073; a PHD whose kind nobody told.
_GENERIC: Final = 528457
_HARDWARE, _SOFTWARE, _FIRMWARE, _PROTOCOL = 531974, 531975, 531976, 531977

# R4 string: no control characters; and nothing a terminal or a log could trip over.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Specialization(NamedTuple):
    """What kind of device it is, as an MDC code, and which version of that standard it follows (None: not told)."""

    code: int
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phd:
    """What we know of a personal health device.

    `address` is its Bluetooth address (6 bytes, most significant first) or its system-id (8 bytes). With `local_to`
    its hub's keeper made the address up, for a device on a cable, and it means nothing beside another hub.
    """

    address: bytes | None = None
    name: str = ""
    information: DeviceInformation = _NO_INFORMATION
    specializations: tuple[Specialization, ...] = ()
    local_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What we know of a hub: its name in the trust registry."""

    hub: str


def phd_identifier(phd: Phd) -> tuple[str, str, str]:
    """Type, system and value of a PHD's identifier: the system id, else the Bluetooth address; no type: our own."""
    if phd.information.system_id is not None:
        return "SYSID", EUI64, phd.information.system_id.hex("-").upper()
    address = (phd.address or bytes(6)).hex("-").upper()
    if phd.local_to:
        return "", CABLE_IDENTIFIER, f"{phd.local_to}/{address}"
    return "BTMAC", BLUETOOTH, address


def phd_device(phd: Phd) -> Resource:
    """PhdDevice."""
    kind, system, value = phd_identifier(phd)
    information = phd.information
    resource: Resource = {
        "resourceType": "Device",
        "meta": {"profile": [PHD + "PhdDevice"]},
        "identifier": [
            {"type": {"coding": [coding(DEVICE_IDENTIFIERS, kind)]}, "system": system, "value": value}
            if kind
            else {"system": system, "value": value}
        ],
    }
    _put(resource, "manufacturer", information.manufacturer)
    if serial := _text(information.serial):
        resource["serialNumber"] = serial
    if name := _text(phd.name):
        resource["deviceName"] = [{"name": name, "type": "user-friendly-name"}]
    _put(resource, "modelNumber", information.model)
    resource["type"] = _PHD_TYPE
    resource["specialization"] = [
        {"systemType": mdc_concept(code), "_version": _UNKNOWN}
        if version is None
        else {"systemType": mdc_concept(code), "version": str(version)}
        for code, version in phd.specializations or (Specialization(_GENERIC),)
    ]
    resource["version"] = _versions(
        (_FIRMWARE, information.firmware), (_HARDWARE, information.hardware), (_SOFTWARE, information.software)
    ) or [{"type": mdc_concept(_FIRMWARE), "_value": _UNKNOWN}]
    return resource


def phg_device(gateway: Gateway) -> Resource:
    """PhgDevice."""
    return {
        "resourceType": "Device",
        "meta": {"profile": [PHD + "PhgDevice"]},
        "identifier": [{"system": HUB_IDENTIFIER, "value": gateway.hub}],
        "deviceName": [{"name": "Stafet hub", "type": "model-name"}],
        "type": _PHG_TYPE,
        "specialization": [{"systemType": mdc_concept(_GENERIC)}],
        # The version of the wire format: all that a batch says of the software behind it.
        "version": [{"type": mdc_concept(_PROTOCOL), "value": "1"}],
    }


def _put(resource: Resource, name: str, text: str | None) -> None:
    """An element that the profile demands: the text, or the word that it is unknown."""
    if cleaned := _text(text):
        resource[name] = cleaned
    else:
        resource["_" + name] = _UNKNOWN


def _versions(*versions: tuple[int, str | None]) -> list[Resource]:
    return [{"type": mdc_concept(code), "value": text} for code, raw in versions if (text := _text(raw))]


def _text(text: str | None) -> str:
    return _UNPRINTABLE.sub("", text).strip() if text else ""
