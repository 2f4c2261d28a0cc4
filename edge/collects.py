"""What the hub asks of whoever collects, whatever the transport: `edge.ble.collect` (Bluetooth LE) and its neighbours."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """What `status` shows of one listed device; ages in seconds."""

    device: str
    label: str
    connected: bool
    readings: int
    sessions: int
    seen_s: float | None
    read_s: float | None
    records: int = 0
    """Of the readings, those that the device had kept and was asked for."""
    clock_off_s: float | None = None
    """How far its clock was ahead of the hub's when last read."""
    clock_set_s: float | None = None
    """Since when it has the hub's time."""


def age_s(moment: float | None, now: float) -> float | None:
    """How long ago, as a `DeviceState` says it; both by the loop's clock. None: never."""
    return None if moment is None else round(now - moment, 1)


class Collects(Protocol):
    """One kind of transport with all its devices. It commits readings through an `edge.intake.Intake`."""

    @property
    def progress(self) -> int:
        """Rises at least every 10 s while it lives; the watchdog looks at it."""
        ...

    def states(self) -> tuple[DeviceState, ...]:
        """Its devices, for `status`."""
        ...

    async def run(self) -> None:
        """Collect until cancelled, then let go within 4 s. No device, port or adapter ends it."""
        ...
