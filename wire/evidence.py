"""Evidence: the device's own bytes and what the hub knows of how they came (docs/wire.md, `reading`).

Each kind is self-contained: the bridge needs nothing else to decode it, today or in ten years.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from wire.clock import Clock, ClockState

__all__ = [
    "AgentContext",
    "AgentContextKind",
    "AgentReport",
    "Clock",
    "ClockState",
    "Context",
    "Device",
    "Evidence",
    "Reading",
    "SerialContext",
    "SerialFrame",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Which device: its address, whether that is a random one, and its local name.

    The address is a Bluetooth address (6 bytes, most significant first) or the system-id of a 20601 agent (EUI-64, 8
    bytes, as on the wire).
    """

    address: bytes
    random: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Another characteristic of the same device, read in the same connection (device information, features, clock)."""

    characteristic: int | bytes
    mono_us: int
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One GATT characteristic value as notified or indicated, with its context.

    `characteristic` is the 16-bit number of a Bluetooth SIG UUID, or the 16 bytes of any other, as its text has them.
    """

    device: Device
    received: Clock
    characteristic: int | bytes
    value: bytes
    context: tuple[Context, ...] = ()


class AgentContextKind(IntEnum):
    """What an `AgentContext` holds, as it stood on the wire (20601 A.11)."""

    MDS = 1
    """The attribute list of the MDS object, from the answer to GET (clocks, system model, specializations)."""
    STORE = 2
    """Handle and attribute list of the PM-store object."""
    SEGMENT = 3
    """The SegmentInfo of the PM-segment that the data are of."""
    ASSOCIATION = 4
    """The agent's AARQ, whole. It says whether this is a test association: there it must not be left out."""
    OBJECT = 5
    """Handle and attribute list of what earlier reports said of an object and what holds until it is said again (its
    unit, its supplemental types); only where it differs from the configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentContext:
    """Something else that the agent said in the same association, and when the hub received it."""

    kind: AgentContextKind
    mono_us: int
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReport:
    """One IEEE 11073-20601 event report (scan report or segment data) of an agent.

    `apdu` is the whole APDU (PRST with an event report, or a response that carries data). `configuration` is what it
    is understood by: the number of a standard configuration, or the ConfigReport that the agent sent in this
    association or an earlier one.
    """

    device: Device
    received: Clock
    configuration: int | bytes
    apdu: bytes
    context: tuple[AgentContext, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialContext:
    """Another frame of the same device in the same connection (what its clock shows), and when the hub received it."""

    format: int
    mono_us: int
    frame: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialFrame:
    """One frame of a serial device, from its first to its last byte; `format` is a number of `wire.serial`."""

    device: Device
    received: Clock
    format: int
    frame: bytes
    context: tuple[SerialContext, ...] = ()


Evidence: TypeAlias = Reading | AgentReport | SerialFrame
"""What an outbox keeps and a batch carries: one of the kinds 1, 2, 3."""
