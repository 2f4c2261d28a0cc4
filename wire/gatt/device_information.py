"""Device Information Service 1.1: who made this device, which one is it, what runs on it; and Battery Level (2A19).

Each decoder is strict. `device_information` is not: a label that a maker wrote badly must not cost a reading, so a
field that does not decode is absent there; the bytes stay in the reading's context as evidence.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from wire.errors import DecodeError
from wire.evidence import Context
from wire.gatt.reader import Reader

SYSTEM_ID: Final = 0x2A23
MODEL: Final = 0x2A24
SERIAL: Final = 0x2A25
FIRMWARE: Final = 0x2A26
HARDWARE: Final = 0x2A27
SOFTWARE: Final = 0x2A28
MANUFACTURER: Final = 0x2A29
PNP_ID: Final = 0x2A50

TEXTS: Final[Mapping[int, str]] = {
    MANUFACTURER: "manufacturer",
    MODEL: "model",
    SERIAL: "serial",
    FIRMWARE: "firmware",
    HARDWARE: "hardware",
    SOFTWARE: "software",
}
"""The characteristics that are text (DIS 3.1 to 3.6), by the field of `DeviceInformation` that they fill."""

_VENDOR_SOURCES: Final = {1: "Bluetooth SIG", 2: "USB Implementer's Forum"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PnpId:
    """PnP ID (2A50, DIS 3.9): whose numbering, vendor, product, version."""

    vendor_source: int
    vendor: int
    product: int
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInformation:
    """What a device says about itself. `system_id` is an EUI-64, most significant byte first."""

    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None
    hardware: str | None = None
    software: str | None = None
    system_id: bytes | None = None
    pnp: PnpId | None = None


def decode_text(value: bytes) -> str:
    """A UTF-8 string (DIS 3.1 to 3.6), without the NULs and blanks that many devices pad it with."""
    reader = Reader(value)
    try:
        text = reader.take(len(value), "text").decode("utf-8").rstrip("\0 \t\r\n")
    except UnicodeDecodeError as fault:
        raise DecodeError("no UTF-8", fault.start) from None
    for at, letter in enumerate(text):
        if not letter.isprintable():
            raise DecodeError("a character that cannot be printed", len(text[:at].encode()))
    return text.lstrip()


def decode_system_id(value: bytes) -> bytes:
    """System ID (2A23, DIS 3.7): 40 bits of maker's number and 24 of OUI, little-endian, as an EUI-64."""
    reader = Reader(value)
    raw = reader.take(8, "system id")
    reader.end()
    return raw[::-1]


def decode_pnp_id(value: bytes) -> PnpId:
    """PnP ID (2A50, DIS 3.9)."""
    reader = Reader(value)
    pnp = PnpId(
        vendor_source=reader.u8("vendor source"),
        vendor=reader.u16("vendor"),
        product=reader.u16("product"),
        version=reader.u16("version"),
    )
    reader.end()
    return pnp


def device_information(context: Iterable[Context]) -> DeviceInformation:
    """All that a reading's context says about the device; what is missing, empty or malformed is None."""
    texts: dict[str, str] = {}
    system_id: bytes | None = None
    pnp: PnpId | None = None
    for item in context:
        if not isinstance(item.characteristic, int):
            continue
        try:
            if item.characteristic in TEXTS:
                if text := decode_text(item.value):
                    texts[TEXTS[item.characteristic]] = text
            elif item.characteristic == SYSTEM_ID:
                # All zeros is what makers leave when they never wrote it; it identifies nothing.
                system_id = decode_system_id(item.value) if any(item.value) else None
            elif item.characteristic == PNP_ID:
                pnp = decode_pnp_id(item.value)
        except DecodeError:
            continue
    return DeviceInformation(**texts, system_id=system_id, pnp=pnp)


def describe_text(value: bytes) -> dict[str, str | bool]:
    """A string of the Device Information Service for a technician."""
    return {"text": decode_text(value)}


def describe_system_id(value: bytes) -> dict[str, str | bool]:
    """System ID in the form in which FHIR and labels write an EUI-64."""
    return {"system id": decode_system_id(value).hex("-").upper()}


def describe_pnp_id(value: bytes) -> dict[str, str | bool]:
    """PnP ID for a technician."""
    pnp = decode_pnp_id(value)
    return {
        "vendor source": _VENDOR_SOURCES.get(pnp.vendor_source, "reserved"),
        "vendor": f"0x{pnp.vendor:04X}",
        "product": f"0x{pnp.product:04X}",
        "version": f"0x{pnp.version:04X}",
    }


def describe_battery(value: bytes) -> dict[str, str | bool]:
    """Battery Level (2A19, BAS 3.1)."""
    reader = Reader(value)
    percent = reader.u8("battery level")
    reader.end()
    if percent > 100:
        raise DecodeError(f"a battery level of {percent} %", 0)
    return {"battery": f"{percent} %"}
