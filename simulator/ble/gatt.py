"""What a simulated device is to its stack, whichever that is: services, characteristics, and how it refuses. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Step(Enum):
    """What a central did; the last may be our doing, too."""

    CONNECT = "connect"
    READ = "read"
    WRITE = "write"
    SUBSCRIBE = "subscribe"
    DISCONNECT = "disconnect"


class AttError(Exception):
    """A request that the device refuses; `code` is the ATT error, 0x80 to 0x9F a profile's own, 0x0D a wrong length."""

    INVALID_LENGTH: Final = 0x0D

    def __init__(self, code: int) -> None:
        super().__init__(f"ATT error 0x{code:02X}")
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Characteristic:
    """One characteristic of a service: UUID, GATT flags, what a read gives, and what a write does.

    `flags` are BlueZ's words: `read`, `write`, `notify`, `indicate`. `write` is called with the value before the
    central has its answer; what it raises as AttError is the answer.
    """

    uuid: int
    flags: tuple[str, ...]
    read: Callable[[], bytes] | None = None
    write: Callable[[bytes], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One primary GATT service."""

    uuid: int
    characteristics: tuple[Characteristic, ...]


def full_uuid(short: int) -> str:
    """The 128-bit text of a Bluetooth SIG UUID (Core, Vol 3 Part B, 2.5.1)."""
    return f"{short:08x}-0000-1000-8000-00805f9b34fb"
