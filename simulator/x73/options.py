"""What a 20601 agent can be and what can be wrong with it, as tables that cost nothing to load.

Each fault is one row, and the agent does what the row says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

STEPS: Final = ("request", "association", "configuration", "report", "confirmation", "release")
"""Where a link can be cut: after the AARQ left, the AARE came, the configuration was agreed, the first report left,
it was confirmed, and the RLRQ left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way in which an agent misbehaves, or lives under bad conditions."""

    name: str
    help: str
    cut_after: str = ""
    silent: bool = False
    """Answers nothing any more, once it is configured."""
    garbage: bool = False
    """Bytes that are no APDU instead of the second report."""
    twice: bool = False
    reversed: bool = False
    unset: bool = False
    persons: int = 1
    test: bool = False
    stored: bool = False
    """Can be played with a PM-store, too."""


NONE: Final = Fault(name="none", help="behave", stored=True)

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        fault.name: fault
        for fault in (
            Fault(
                name="clock-unset",
                help="clock and time stamps are zero until the manager sets them",
                unset=True,
                stored=True,
            ),
            Fault(name="silence", help="associate, then say nothing more", silent=True, stored=True),
            *(
                Fault(
                    name=f"disconnect-after-{step}",
                    help=f"cut the link after the {'first ' if step in ('report', 'confirmation') else ''}{step}",
                    cut_after=step,
                    stored=step in STEPS[:3],
                )
                for step in STEPS
            ),
            Fault(name="garbage", help="one report, then bytes that are no APDU", garbage=True),
            Fault(name="duplicate", help="every reading in two reports", twice=True),
            Fault(name="out-of-order", help="the latest reading first", reversed=True, stored=True),
            Fault(name="second-person", help="readings of two persons in turn, in multi-person reports", persons=2),
            Fault(name="test-association", help="ask for a test association", test=True, stored=True),
        )
    }
)

DEVICES: Final[Mapping[str, tuple[int, bool]]] = MappingProxyType(
    {
        "oximeter": (10404, True),
        "ecg": (10406, False),
        "blood-pressure": (10407, True),
        "thermometer": (10408, True),
        "scale": (10415, True),
        "glucometer": (10417, True),
        "coagulation": (10418, False),
        "body-composition": (10420, False),
        "spirometer": (10421, False),
        "sleep-apnoea": (10424, False),
        "cgm": (10425, False),
        "cardio": (10441, False),
        "strength": (10442, False),
        "activity-hub": (10471, False),
        "medication": (10472, False),
    }
)
"""The devices of `wire.x73.specializations`, their numbers, and whether there is a public standard configuration."""
