"""A scenario: who measures what, with which device, when (TOML, docs/simulator.md).

Reading one finds all its faults at once, each with its place: whoever writes a scenario mends it in one go.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from simulator.ble import faults as device_faults
from simulator.ble.devices import KINDS, Kind
from simulator.people import Condition, Person, person

MAX_READINGS = 100_000
"""More than a year of a reading every five minutes: a larger number is a slip of the finger."""

MAX_STORED = 20_000
"""Sequence numbers have 16 bits, and a minute's offset too."""

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
"""A person's id is also the id of their Patient resource (FHIR R4, datatype id)."""
_ADAPTER = re.compile(r"hci\d{1,3}|(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")


class ScenarioError(Exception):
    """A scenario that cannot be played; `faults` has one line for each fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One peripheral: what it is, whose readings it takes, where and when.

    The first reading is taken `start_s` after the scenario began, the next ones `every_s` apart. With `resend` it is a
    device that keeps its measurements: it waits for the hub to hang up, and sends a session's measurements again if
    the session did not end so. Otherwise it hangs up itself, `hang_up_s` after its last value.
    """

    label: str
    kind: Kind
    person: Person
    adapter: str
    readings: int
    start_s: float
    every_s: float
    hang_up_s: float
    resend: bool
    stored: int = 0
    """Readings that it holds from before the scenario began."""
    paired: bool = True
    """False: a device whose first session only pairs has not had it yet."""
    faults: Mapping[str, int] = field(default_factory=dict)
    """`simulator.ble.faults`: name and number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """People, their devices, the time zone that the devices' clocks show, and where the measured values are written."""

    seed: int
    timezone: str
    output: Path
    people: tuple[Person, ...]
    devices: tuple[Device, ...]


def load(path: Path) -> Scenario:
    """Read a scenario file; ScenarioError names every fault, OSError is the caller's."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError([f"not TOML: {error}"]) from error
    return parse(document, directory=path.parent)


def parse(document: Mapping[str, object], *, directory: Path) -> Scenario:
    """Check a scenario document; `output` is relative to `directory`."""
    faults: list[str] = []
    top = _Table(document, "", faults)
    seed = top.integer("seed", default=1, low=0, high=2**31)
    output = top.text("output", default="measured.jsonl")
    timezone = top.text("timezone", default="Europe/Copenhagen")
    if timezone and not _is_timezone(timezone):
        faults.append(f"timezone: no time zone {timezone!r} on this machine")
    resend = top.flag("resend", default=False)
    hang_up_s = top.seconds("hang_up_s", default=2.0)
    people: dict[str, Person] = {}
    for number, table in enumerate(top.tables("person")):
        id_ = table.text("id", pattern=_ID)
        condition = table.text("condition", default=Condition.COPD, allowed=tuple(Condition))
        name = table.text("name", default="")
        table.no_more()
        if id_ in people:
            faults.append(f"{table.place}id: {id_!r} is another person's")
        elif condition in tuple(Condition) and id_:
            people[id_] = person(seed, number, id_=id_, condition=Condition(condition), name=name)
    devices: list[Device] = []
    adapters: dict[str, str] = {}
    for table in top.tables("device"):
        kind = table.text("kind", allowed=tuple(KINDS))
        whose = table.text("person")
        adapter = table.text("adapter", pattern=_ADAPTER)
        label = table.text("label", default=f"{whose} {kind}")
        stored = table.integer("stored", default=0, low=0, high=MAX_STORED)
        readings = table.integer("readings", default=1, low=0 if stored else 1, high=MAX_READINGS)
        start_s = table.seconds("start_s", default=0.0)
        # Device clocks count whole seconds, or minutes: readings closer together would share a time stamp.
        least_s = KINDS[kind].least_every_s if kind in KINDS else 1.0
        every_s = table.seconds("every_s", default=max(10.0, least_s), low=least_s)
        paired = table.flag("paired", default=True)
        words = table.words("faults")
        device_resend = table.flag("resend", default=resend)
        device_hang_up_s = table.seconds("hang_up_s", default=hang_up_s)
        table.no_more()
        wrong_with: Mapping[str, int] = {}
        if kind in KINDS:
            wrong_with, teaching = device_faults.parse(words, KINDS[kind])
            faults += [f"{table.place}faults: {line}" for line in teaching]
            if stored and not KINDS[kind].clock:
                faults.append(f"{table.place}stored: a {kind} has no clock, and stores nothing")
        if whose and whose not in people:
            faults.append(f"{table.place}person: there is no person {whose!r}")
        if adapter and (taken := adapters.setdefault(adapter.upper(), table.place)) != table.place:
            faults.append(
                f"{table.place}adapter: {adapter} is {taken.rstrip('.')}'s already; an adapter has one address, so one device"
            )
        if kind in KINDS and whose in people:
            devices.append(
                Device(
                    label=label,
                    kind=KINDS[kind],
                    person=people[whose],
                    adapter=adapter,
                    readings=readings,
                    start_s=start_s,
                    every_s=every_s,
                    hang_up_s=device_hang_up_s,
                    resend=device_resend,
                    stored=stored,
                    paired=paired,
                    faults=wrong_with,
                )
            )
    top.no_more()
    if faults:
        raise ScenarioError(faults)
    return Scenario(
        seed=seed,
        timezone=timezone,
        output=directory / output,
        people=tuple(people.values()),
        devices=tuple(devices),
    )


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a directory, a path that leaves the database, no such zone
        return False
    return True


class _Table:
    """One TOML table under check: each value is asked for once; faults go to the common list."""

    def __init__(self, table: Mapping[str, object], place: str, faults: list[str]) -> None:
        self.place = place
        self._rest = dict(table)
        self._faults = faults

    def text(
        self,
        key: str,
        *,
        default: str | None = None,
        allowed: Sequence[str] = (),
        pattern: re.Pattern[str] | None = None,
    ) -> str:
        value = self._take(key, default)
        if value is None:
            return ""
        if not isinstance(value, str):
            self._fault(key, "must be text")
        elif allowed and value not in allowed:
            self._fault(key, f"{value!r} is none of {', '.join(allowed)}")
        elif pattern is not None and not pattern.fullmatch(value):
            self._fault(key, f"{value!r} does not look like one")
        else:
            return value
        return ""

    def integer(self, key: str, *, default: int, low: int, high: int) -> int:
        value = self._take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self._fault(key, f"must be a whole number from {low} to {high}")
            return default
        return value

    def seconds(self, key: str, *, default: float, low: float = 0.0) -> float:
        value = self._take(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= 86_400:
            self._fault(key, f"must be a number of seconds from {low:g} to 86400")
            return default
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._take(key, default)
        if not isinstance(value, bool):
            self._fault(key, "must be true or false")
            return default
        return value

    def words(self, key: str) -> list[str]:
        value = self._rest.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self._fault(key, 'must be a list of texts, as in ["garbage", "clock-off=3600"]')
            return []
        return value

    def tables(self, key: str) -> "list[_Table]":
        value = self._rest.pop(key, None)
        if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
            self._fault(key, f"at least one [[{key}]] is needed")
            return []
        return [_Table(one, f"{self.place}{key}[{number}].", self._faults) for number, one in enumerate(value)]

    def no_more(self) -> None:
        for key in self._rest:
            self._fault(key, "is not a setting (misspelt?)")

    def _take(self, key: str, default: object) -> object:
        value = self._rest.pop(key, default)
        if value is None:
            self._fault(key, "is missing")
        return value

    def _fault(self, key: str, text: str) -> None:
        self._faults.append(f"{self.place}{key}: {text}")
