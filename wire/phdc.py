"""USB Personal Healthcare Device Class (USB-IF PHDC 1.0): its descriptors, and the preamble before its transfers.

The class carries the APDUs of ISO/IEEE 11073-20601 on bulk endpoints, each APDU in one transfer; an interrupt endpoint
may carry those that must arrive soon. A device may say before a group of transfers how fast and how surely they travel
(meta-data message preamble), but only after its host has switched that on, which this manager never does: it treats all
alike. A preamble that comes all the same is recognised and left out.

Numbers and layouts as in three vendors' stacks (NXP's host class `usb_host_phdc.h`, Micrium's `usbd_phdc.c`, Energy
Micro's and Lamprey's glucometer `phdc_descriptors.c`), which agree; the class document itself was not at hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from wire.errors import DecodeError

INTERFACE_CLASS: Final = 0x0F
PREAMBLE_SIGNATURE: Final = b"PhdcQoSSignature"
_PREAMBLE_BYTES: Final = 20
_QOS_VERSION: Final = 1


class DescriptorType(IntEnum):
    """Class-specific descriptors (PHDC 5.2)."""

    CLASS_FUNCTION = 0x20
    QOS = 0x21
    METADATA = 0x22
    FUNCTION_EXTENSION_11073 = 0x30


class DataCode(IntEnum):
    """bPHDCDataCode (5.2.1): what the transfers carry."""

    VENDOR = 1
    IEEE_11073_20601 = 2


class Qos(IntFlag):
    """bmLatencyReliability (5.2.3): latency and reliability of what an endpoint carries."""

    LOW_GOOD = 0x01
    """Under 20 ms; interrupt endpoints have this one alone."""
    MEDIUM_GOOD = 0x02
    MEDIUM_BETTER = 0x04
    MEDIUM_BEST = 0x08
    HIGH_BEST = 0x10
    VERYHIGH_BEST = 0x20


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """What an interface says of itself, between its descriptor and its endpoints."""

    data_code: int
    preambles: bool
    """It can put a preamble before transfers."""
    specializations: tuple[int, ...]
    """Terms of MDC specializations (4111: a glucometer), none if the device does not say."""

    @classmethod
    def of(cls, descriptors: bytes) -> "Function":
        """From the class-specific descriptors of an interface; DecodeError if they are none of this class."""
        function: bytes | None = None
        specializations: tuple[int, ...] = ()
        for kind, body, offset in _each(descriptors):
            if kind == DescriptorType.CLASS_FUNCTION:
                _need(len(body) >= 2, "a class function descriptor has 4 bytes", offset)
                function = body
            elif kind == DescriptorType.FUNCTION_EXTENSION_11073:
                _need(len(body) >= 2 and len(body) >= 2 + 2 * body[1], "more specializations than bytes", offset)
                listed = (int.from_bytes(body[2 + 2 * i : 4 + 2 * i], "little") for i in range(body[1]))
                specializations = tuple(each for each in listed if each)
        if function is None:
            raise DecodeError("an interface without a class function descriptor", len(descriptors))
        return cls(data_code=function[0], preambles=bool(function[1] & 1), specializations=specializations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preamble:
    """A meta-data message preamble (6): the next `transfers` transfers travel so."""

    transfers: int
    qos: Qos
    opaque: bytes = b""

    @classmethod
    def of(cls, transfer: bytes) -> "Preamble | None":
        """The preamble that a transfer is, None if it is none; DecodeError if it begins as one and is wrong."""
        if not transfer.startswith(PREAMBLE_SIGNATURE):
            return None
        _need(len(transfer) >= _PREAMBLE_BYTES, "a preamble has at least 20 bytes", len(transfer))
        transfers, version, qos, size = transfer[16:_PREAMBLE_BYTES]
        _need(transfers > 0, "a preamble of no transfers", 16)
        _need(version == _QOS_VERSION, f"a preamble of version {version}", 17)
        _need(qos.bit_count() == 1 and qos <= Qos.VERYHIGH_BEST, "a preamble of not one kind of travel", 18)
        _need(len(transfer) == _PREAMBLE_BYTES + size, "a preamble of another size than it says", 19)
        return cls(transfers=transfers, qos=Qos(qos), opaque=transfer[_PREAMBLE_BYTES:])

    def encode(self) -> bytes:
        head = bytes((self.transfers, _QOS_VERSION, self.qos, len(self.opaque)))
        return PREAMBLE_SIGNATURE + head + self.opaque


def _each(descriptors: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Kind, body and offset of each descriptor in a run of them."""
    at = 0
    while at < len(descriptors):
        size = descriptors[at]
        _need(2 <= size <= len(descriptors) - at, f"a descriptor of {size} bytes", at)
        yield descriptors[at + 1], descriptors[at + 2 : at + size], at
        at += size


def _need(holds: bool, message: str, offset: int) -> None:
    if not holds:
        raise DecodeError(message, offset)
