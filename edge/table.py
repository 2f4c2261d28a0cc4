"""Measurements as a table for people: what `decode` prints without --json."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Context, Decimal
from typing import Final

from wire.measurement import Measurement, Samples, Special
from wire.nomenclature import refid

Row = tuple[str, str, str, str]
_SHOWN: Final = Context(prec=6)
"""A scaled sample: more than any analogue converter at home resolves, and no thirds to their 28th digit."""


def measurement_table(measurements: Iterable[Measurement]) -> str:
    """One line per value: name, code, value, unit; what belongs to a whole measurement stands under it."""
    return _aligned([row for measurement in measurements for row in _rows(measurement, "")])


def described_table(described: Mapping[str, str | bool]) -> str:
    """What a characteristic that is no measurement says."""
    return _aligned([(name, "", _yes(value), "") for name, value in described.items()])


def _rows(measurement: Measurement, indent: str) -> Iterator[Row]:
    code = int(measurement.code)
    yield f"{indent}{refid(code) or 'MDC code'}", str(code), _value(measurement), measurement.unit or ""
    inner = f"{indent}  "
    for component in measurement.components:
        yield from _rows(component, inner)
    for bit, state in sorted(measurement.bits.items()):
        yield f"{inner}bit {bit}", f"{code}.{bit}", _yes(state), ""
    if measurement.samples is not None:
        data = " ".join(_sample(measurement.samples, each) for each in measurement.samples.data)
        yield f"{inner}samples", "", data, measurement.samples.unit
    if measurement.device_time is not None:
        time = measurement.device_time
        note = "" if time.known and measurement.clock_set else "not set"
        yield f"{inner}device time", "", time.isoformat(), note
    if measurement.status:
        yield f"{inner}status", "", ", ".join(status.value for status in measurement.status), ""
    for supplemental in measurement.supplemental:
        yield f"{inner}supplemental", str(int(supplemental)), refid(supplemental) or "", ""
    if measurement.user is not None:
        yield f"{inner}user", "", str(measurement.user), ""


def _sample(samples: Samples, datum: Decimal | Special) -> str:
    """A sample in the unit that stands beside it; in JSON it is as the device sent it, with its scale."""
    if isinstance(datum, Special):
        return datum.value
    if not samples.origin and samples.factor == 1:
        return f"{datum:f}"
    return f"{_SHOWN.normalize(samples.origin + samples.factor * datum):f}"


def _value(measurement: Measurement) -> str:
    if isinstance(measurement.value, Special):
        return measurement.value.value
    if measurement.value is not None:
        return f"{measurement.value:f}"
    if measurement.coded is not None:
        return refid(measurement.coded) or str(int(measurement.coded))
    return measurement.absent or ""


def _yes(state: str | bool) -> str:
    return {True: "yes", False: "no"}[state] if isinstance(state, bool) else state


def _aligned(rows: list[Row]) -> str:
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = (
        f"{name:<{widths[0]}}  {code:>{widths[1]}}  {value:<{widths[2]}}  {unit}" for name, code, value, unit in rows
    )
    return "\n".join(line.rstrip() for line in lines)
