"""What a serial device can be and what can be wrong with it, as tables that cost nothing to load.

Each fault is one row, and the device does what the row says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

DEVICES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "nonin-df8": "a Nonin oximeter with a finger in: a value each second (data format 8)",
        "nonin-df13": "a Nonin 9560: spot-checks, the stored ones first (data format 13)",
        "nonin-memory": "a Nonin WristOx2 recorder: studies of 90 samples, played back when asked",
        "lung-monitor": "a Vitalograph lung monitor: blows, each sent until it is acknowledged",
    }
)
NONIN: Final = ("nonin-df8", "nonin-df13", "nonin-memory")
LUNG: Final = ("lung-monitor",)
STEPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "connection": "as soon as the port is opened",
        "command": "at the first command, unanswered",
        "frame": "in the middle of the first frame",
        "reading": "after the first frame",
        "ack": "when the first ACK comes, before it is understood",
    }
)
"""Where a link can be cut, once; the device is plugged in again half a second later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way in which a serial device misbehaves, or lives under bad conditions; `devices` can have it."""

    name: str
    help: str
    devices: tuple[str, ...] = (*NONIN, *LUNG)
    cut_at: str = ""
    silent: bool = False
    noise: bool = False
    """Bytes that are no frame before every frame."""
    twice: bool = False
    reversed: bool = False
    unset: bool = False
    """The clock is as it left the factory."""
    behind_days: int = 0
    deaf_to: int = 0
    """ACKs that do not arrive."""
    damaged: bool = False
    """Every frame has a wrong byte when it is sent first."""


NONE: Final = Fault(name="none", help="behave")

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        fault.name: fault
        for fault in (
            Fault(name="clock-unset", help="the clock is as from the factory, until it is set", unset=True),
            Fault(name="clock-wrong", help="the clock is three days behind, until it is set", behind_days=3),
            Fault(name="silence", help="say nothing and answer nothing", silent=True),
            *(
                Fault(
                    name=f"disconnect-at-{step}",
                    help=f"cut the link {when} (needs --link)",
                    devices=LUNG if step == "ack" else NONIN if step == "command" else (*NONIN, *LUNG),
                    cut_at=step,
                )
                for step, when in STEPS.items()
            ),
            Fault(
                name="garbage", help="noise before every frame", devices=("nonin-df8", "nonin-df13", *LUNG), noise=True
            ),
            Fault(name="duplicate", help="every reading twice", devices=("nonin-df13", *LUNG), twice=True),
            Fault(name="out-of-order", help="the latest reading first", devices=("nonin-df13", *LUNG), reversed=True),
            Fault(name="lost-ack", help="every other ACK does not arrive", devices=LUNG, deaf_to=2),
            Fault(name="damaged", help="every frame is wrong when it is sent first", devices=LUNG, damaged=True),
        )
    }
)
"""None of these formats can say whose reading it is, so there is no second person among them."""
