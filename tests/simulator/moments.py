"""Moments of a person at which a simulated device measures, for tests."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from simulator.ble.devices import KINDS, Measured, Moment
from simulator.people import further, person, vitals

AT = datetime(2025, 5, 21, 10, 30, 45, tzinfo=UTC)


def moment(*, at: datetime = AT, who: str = "p", **signals: Any) -> Moment:
    """Of a fictional person; `signals` replaces fields of the moment, of its vitals or of what else is true."""
    someone = person(1, 0, id_=who)
    now = Moment(who=someone, vitals=vitals(someone, at), further=further(someone, at), at=at)
    for name, value in signals.items():
        for part in ("vitals", "further", "who"):
            if name in type(getattr(now, part)).__slots__:
                now = replace(now, **{part: replace(getattr(now, part), **{name: value})})
                break
        else:
            now = replace(now, **{name: value})
    return now


def measured(kind: str, *, at: datetime = AT, who: str = "p", **signals: Any) -> Sequence[Measured]:
    """What a device of this kind sends for one measurement."""
    return KINDS[kind].measure(moment(at=at, who=who, **signals))
