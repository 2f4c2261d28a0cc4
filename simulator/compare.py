"""Comparing what was measured with what the FHIR server holds: every value, both ways. No I/O.

Each measured value must be found once: the same patient, MDC code, number (as decimals, so 36.50 equals 36.5), unit
and, within a few seconds, time. What is found must have been measured. So a wrong, missing, doubled or foreign value
shows, and says which it is.

What was sent and is no result (`Record.expected`) must not be found: it would be foreign.

Observations that stand for no measured value (the relation of two clocks, bits of a status word) are left alone; they
are known by their MDC codes, which no device here measures.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from simulator.measured import Record
from simulator.values import Value

MDC = "urn:iso:std:iso:11073:10101"
UCUM = "http://unitsofmeasure.org"
TIME_TOLERANCE = timedelta(seconds=5)
"""A device's clock counts whole seconds, and relating it to the hub's may cost two more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One value in the FHIR server."""

    patient: str
    code: int
    value: Decimal
    unit: str | None
    effective: datetime
    updated: datetime
    observation: str
    """`Observation/id`."""


class Outcome(StrEnum):
    EQUAL = "equal"
    WRONG = "wrong"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One measured value and what became of it."""

    record: Record
    value: Value
    outcome: Outcome
    found: Found | None = None

    @property
    def delay(self) -> timedelta | None:
        """From the device to the FHIR server's commit."""
        return self.found.updated - self.record.sent if self.found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every measured value, and whatever the server holds beyond them."""

    values: tuple[Compared, ...]
    doubled: tuple[Found, ...]
    foreign: tuple[Found, ...]

    @property
    def all_equal(self) -> bool:
        return not (self.doubled or self.foreign) and all(one.outcome is Outcome.EQUAL for one in self.values)

    def count(self, outcome: Outcome) -> int:
        return sum(one.outcome is outcome for one in self.values)

    @property
    def readings_arrived(self) -> int:
        """Readings of which every value is there and equal."""
        arrived = {id(one.record): True for one in self.values}
        for one in self.values:
            arrived[id(one.record)] &= one.outcome is Outcome.EQUAL
        return sum(arrived.values())


def compare(records: Iterable[Record], observations: Iterable[Mapping[str, Any]], *, timezone: ZoneInfo) -> Comparison:
    """Compare; `timezone` is what the devices' clocks show."""
    expected: dict[tuple[str, int], list[tuple[Record, Value]]] = defaultdict(list)
    codes: set[int] = set()
    for record in records:
        for value in record.values:
            codes.add(value.code)
            if record.expected:
                expected[record.person, value.code].append((record, value))
    found: dict[tuple[str, int], list[Found]] = defaultdict(list)
    for observation in observations:
        for one in _found(observation):
            if one.code in codes:
                found[one.patient, one.code].append(one)
    values: list[Compared] = []
    doubled: list[Found] = []
    foreign: list[Found] = []
    for key in expected | found:
        outcomes, rest = _match(expected.get(key, []), found.get(key, []), timezone)
        values += outcomes
        known = {(one.value.value, one.value.unit) for one in outcomes}
        for one in rest:
            (doubled if (one.value, one.unit) in known else foreign).append(one)
    values.sort(key=lambda one: one.record.sent)
    return Comparison(values=tuple(values), doubled=tuple(doubled), foreign=tuple(foreign))


def _match(
    expected: Sequence[tuple[Record, Value]], found: Sequence[Found], timezone: ZoneInfo
) -> tuple[list[Compared], list[Found]]:
    """Pair one patient's values of one code: equal ones that are near in time first, then what is left as wrong."""
    moments = [_moment(record, timezone) for record, _ in expected]
    by_distance = sorted(
        (abs(one.effective - moment), number, place)
        for number, ((_, value), moment) in enumerate(zip(expected, moments, strict=True))
        for place, one in enumerate(found)
        if one.value == value.value and one.unit == value.unit and abs(one.effective - moment) <= TIME_TOLERANCE
    )
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, number, place in by_distance:  # the nearest first: a missing value must not take its neighbour's place
        if number not in pairs and place not in taken:
            pairs[number] = place
            taken.add(place)
    outcomes = [
        Compared(record=expected[number][0], value=expected[number][1], outcome=Outcome.EQUAL, found=found[place])
        for number, place in pairs.items()
    ]
    rest = [one for place, one in enumerate(found) if place not in taken]
    unpaired = [one for number, one in enumerate(expected) if number not in pairs]
    for record, value in unpaired:
        moment = _moment(record, timezone)
        near = [one for one in rest if abs(one.effective - moment) <= TIME_TOLERANCE or one.value == value.value]
        if near:
            nearest = min(near, key=lambda one: abs(one.effective - moment))
            rest.remove(nearest)
            outcomes.append(Compared(record=record, value=value, outcome=Outcome.WRONG, found=nearest))
        else:
            outcomes.append(Compared(record=record, value=value, outcome=Outcome.MISSING))
    return outcomes, rest


def _moment(record: Record, timezone: ZoneInfo) -> datetime:
    """When the measurement was taken: in truth, else by the device's clock, or when it was sent if it has none."""
    if record.taken is not None:
        return record.taken
    return record.device_time.replace(tzinfo=timezone) if record.device_time else record.sent


def _found(observation: Mapping[str, Any]) -> Iterator[Found]:
    """The coded values of one Observation: its own, or its components'."""
    effective = observation.get("effectiveDateTime") or observation.get("effectivePeriod", {}).get("end")
    updated = observation.get("meta", {}).get("lastUpdated")
    for part in (observation, *observation.get("component", ())):
        code = _mdc_code(part)
        quantity = part.get("valueQuantity", {})
        if code is None or "value" not in quantity or effective is None or updated is None:
            continue
        yield Found(
            patient=str(observation.get("subject", {}).get("reference", "")).rpartition("Patient/")[2],
            code=code,
            value=Decimal(str(quantity["value"])),
            unit=quantity.get("code") if quantity.get("system") == UCUM else None,
            effective=_instant(effective),
            updated=_instant(updated),
            observation=f"Observation/{observation.get('id')}",
        )


def _mdc_code(part: Mapping[str, Any]) -> int | None:
    for coding in part.get("code", {}).get("coding", ()):
        if coding.get("system") == MDC and str(coding.get("code", "")).isdecimal():
            return int(coding["code"])
    return None


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
