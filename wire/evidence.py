"""Evidence: the device's own bytes and what the hub knows of how they came (docs/wire.md, `reading`).

A `Reading` is self-contained: the bridge needs nothing else to decode it, today or in ten years.
"""

from dataclasses import dataclass
from enum import IntEnum


class ClockState(IntEnum):
    """How far the hub trusts its own wall clock."""

    UNSET = 0
    """Never set since boot; the wall time is only good for ordering."""
    UNSYNCHRONISED = 1
    """Set once (from a battery clock or the last saved time), not disciplined now."""
    SYNCHRONISED = 2
    """Disciplined by NTP or by a signed receipt, within `uncertainty_ms`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The hub's clock at one moment: wall time, and monotonic time within one boot, so that it can be corrected later.

    `wall_us` and `mono_us` are microseconds (Unix epoch UTC; since an arbitrary point of this boot), from 0 to
    2**53 - 1; `boot` is 16 bytes, new at every boot; `uncertainty_ms` is None where the hub cannot tell.
    """

    wall_us: int
    mono_us: int
    boot: bytes
    state: ClockState
    uncertainty_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Which device: Bluetooth address (6 bytes, most significant first), whether it is random, and its local name."""

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
