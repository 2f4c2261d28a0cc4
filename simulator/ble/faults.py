"""What can be wrong with a simulated BLE device, or with the conditions it lives under: one row each.

A fault is named in a scenario as `garbage`, or with a number as `clock-off=-3600`. Those that break a session do so
once, in the first session that gets so far; then the device behaves, so that everything can arrive in the end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from simulator.ble.devices import Delivery, Kind

MAX_NUMBER: Final = 10**9
DISCONNECT: Final = "disconnect-after-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row: what it is called and does; whether it takes a number, and which kinds can have it."""

    name: str
    help: str
    number: str = ""
    """What its number is, if it takes one."""
    low: int = 1
    needs: str = ""
    """What a kind must have: `clock`, `users`, `racp` or `memory`."""


FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        fault.name: fault
        for fault in (
            Fault(
                name="clock-off",
                help="its clock is so many seconds fast (negative: slow) until it is set",
                number="seconds",
                low=-MAX_NUMBER,
                needs="clock",
            ),
            Fault(name="clock-unset", help="its clock begins at 2000-01-01 and is not set", needs="clock"),
            Fault(name="silence", help="in its first session it says nothing at all"),
            Fault(name="garbage", help="after its first measurement, bytes that are none"),
            Fault(name="duplicate", help="every measurement is sent twice"),
            Fault(name="out-of-order", help="the latest of what it holds goes first", needs="memory"),
            Fault(name="second-person", help="every other measurement is of its user 2", needs="users"),
            Fault(name="disconnect-after-connect", help="it hangs up when it is connected to"),
            Fault(name="disconnect-after-read", help="it hangs up at the first read"),
            Fault(name="disconnect-after-write", help="it hangs up at the first write"),
            Fault(name="disconnect-after-subscribe", help="it hangs up at the first subscription"),
            Fault(name="disconnect-after-record", help="it hangs up after so many measurements", number="measurements"),
            Fault(
                name="disconnect-before-response",
                help="it hangs up after the last record, without the response",
                needs="racp",
            ),
        )
    }
)


def parse(words: Sequence[str], kind: Kind) -> tuple[dict[str, int], list[str]]:
    """The faults in a scenario's words, with their numbers (0 where there is none), and what is wrong with the words."""
    found: dict[str, int] = {}
    wrong: list[str] = []
    for word in words:
        name, equals, text = word.partition("=")
        fault = FAULTS.get(name)
        if fault is None:
            wrong.append(f"{name!r} is none of {', '.join(FAULTS)}")
        elif name in found:
            wrong.append(f"{name} stands there twice")
        elif not fault.number and equals:
            wrong.append(f"{name} takes no number")
        elif fault.number and not _is_number(text, fault.low):
            wrong.append(f"{name} needs a number of {fault.number}, as in {name}={max(fault.low, 3)}")
        elif missing := _missing(fault, kind):
            wrong.append(f"{name} does not go with a {kind.name}, which {missing}")
        else:
            found[name] = int(text) if fault.number else 0
    if "clock-off" in found and "clock-unset" in found:
        wrong.append("clock-off and clock-unset exclude each other")
    return found, wrong


def _is_number(text: str, low: int) -> bool:
    return text.removeprefix("-").isdecimal() and low <= int(text) <= MAX_NUMBER


def _missing(fault: Fault, kind: Kind) -> str:
    """What this kind has not that the fault needs."""
    lacks = {
        "clock": (not kind.clock or kind.stale is not None, "has no clock that anybody sets"),
        "users": (not kind.users, "does not tell its users apart"),
        "racp": (not kind.stores, "has no Record Access Control Point"),
        "memory": (kind.delivery is Delivery.LISTENED, "keeps nothing"),
    }
    lacking, text = lacks.get(fault.needs, (False, ""))
    return text if lacking else ""
