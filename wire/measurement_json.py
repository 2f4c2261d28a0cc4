"""Measurement JSON: what `stafet-hub decode --json` prints and `stafet-bridge translate` reads.

The form is docs/measurement.schema.json. Values are strings, because a JSON number would cost the device's precision
on its way through almost any tool; a JSON number where a value belongs is a fault. Reading is strict: unknown and
repeated names and two kinds of content are refused, each with its place and byte.

A special value is printed as the FHIR data-absent-reason it becomes. Two of the five share the reason `error`; there
`special` says which, so that reading returns exactly what was printed.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeVar

from wire.errors import WireError
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, Samples, Special
from wire.nomenclature import code_of, refid
from wire.positioned_json import Place, parse

MAX_MEASUREMENTS: Final = 10_000
"""One notification holds at most some 250 (RR intervals), a file of a citizen's month a few thousand."""
MAX_COMPONENTS: Final = 64
MAX_SUPPLEMENTAL: Final = 64
MAX_STATUSES: Final = 64
MAX_SAMPLES: Final = 100_000
MAX_DIMENSIONS: Final = 255

ABSENT_REASONS: Final = frozenset(
    {
        "unknown",
        "asked-unknown",
        "temp-unknown",
        "not-asked",
        "asked-declined",
        "masked",
        "not-applicable",
        "unsupported",
        "as-text",
        "error",
        "not-a-number",
        "negative-infinity",
        "positive-infinity",
        "not-performed",
        "not-permitted",
    }
)
"""http://terminology.hl7.org/CodeSystem/data-absent-reason"""

_CONTENTS: Final = ("value", "absent", "components", "coded", "bits", "samples")
_FIELDS: Final = frozenset(
    {
        "code",
        "refid",
        *_CONTENTS,
        "unit",
        "special",
        "device_time",
        "received",
        "supplemental",
        "status",
        "user",
        "clock_set",
    }
)
_OF_A_STREAM: Final = _FIELDS | {"agent"}
_SAMPLES_FIELDS: Final = frozenset({"origin", "factor", "unit", "period_ms", "lower", "upper", "dimensions", "data"})

_MAX_CODE: Final = 0xFFFF_FFFF
_MAX_USER: Final = 0xFE
_MAX_BIT: Final = 31

_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,31})(?:\.[0-9]{1,31})?(?:[eE][+-]?[0-9]{1,3})?")
_UNIT: Final = re.compile(r"[!-~]{1,64}")
_REFID: Final = re.compile(r"MDCX?_[0-9A-Za-z_]{1,120}")
_AGENT: Final = re.compile("[0-9a-f]{8}")
_BIT: Final = re.compile(r"([1-9][0-9]{0,9})\.(0|[1-9][0-9]?)")
_RECEIVED: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_STATUSES: Final = {status.value: status for status in MeasurementStatus}
_SPECIALS: Final = {special.value: special for special in Special}
_NUMBER_SPECIALS: Final = {special.value: special for special in Special if special.absent == special.value}
_ERROR_SPECIALS: Final = {special.value: special for special in Special if special.absent == "error"}

_T = TypeVar("_T")


def dumps(measurements: Iterable[Measurement], indent: int | None = None) -> str:
    """The measurements as a JSON array."""
    return json.dumps([_written(measurement) for measurement in measurements], indent=indent)


def dumps_line(measurement: Measurement, *, agent: str) -> str:
    """One measurement as a line, for a stream of them from several agents; which one is for people, and not read back."""
    return json.dumps({"agent": agent, **_written(measurement)})


def loads(text: bytes | str) -> tuple[Measurement, ...]:
    """The measurements in a JSON array; MeasurementError says what is wrong, where, and at which byte."""
    return tuple(_measurement(place) for place in parse(text).items(0, MAX_MEASUREMENTS))


def _written(measurement: Measurement) -> dict[str, object]:
    """One measurement, its fields in the order in which people read them."""
    written: dict[str, object] = {"code": int(measurement.code)}
    if (name := refid(measurement.code)) is not None:
        written["refid"] = name
    if isinstance(measurement.value, Special):
        written["absent"] = measurement.value.absent
        if measurement.value.absent != measurement.value.value:
            written["special"] = measurement.value.value
    elif measurement.value is not None:
        written["value"] = str(measurement.value)
        written["unit"] = measurement.unit
    if measurement.absent is not None:
        written["absent"] = measurement.absent
    if measurement.components:
        written["components"] = [_written(component) for component in measurement.components]
    if measurement.coded is not None:
        written["coded"] = int(measurement.coded)
    if measurement.bits:
        written["bits"] = {f"{int(measurement.code)}.{bit}": state for bit, state in sorted(measurement.bits.items())}
    if measurement.samples is not None:
        written["samples"] = _written_samples(measurement.samples)
    if measurement.device_time is not None:
        written["device_time"] = measurement.device_time.isoformat()
    if measurement.received is not None:
        written["received"] = measurement.received.isoformat()
    if measurement.supplemental:
        written["supplemental"] = [int(code) for code in measurement.supplemental]
    if measurement.status:
        written["status"] = [status.value for status in measurement.status]
    if measurement.user is not None:
        written["user"] = measurement.user
    if not measurement.clock_set:
        written["clock_set"] = False
    return written


def _written_samples(samples: Samples) -> dict[str, object]:
    written: dict[str, object] = {
        "origin": str(samples.origin),
        "factor": str(samples.factor),
        "unit": samples.unit,
        "period_ms": str(samples.period_ms),
    }
    if samples.lower is not None:
        written["lower"] = str(samples.lower)
    if samples.upper is not None:
        written["upper"] = str(samples.upper)
    if samples.dimensions != 1:
        written["dimensions"] = samples.dimensions
    written["data"] = [datum.value if isinstance(datum, Special) else str(datum) for datum in samples.data]
    return written


def _measurement(place: Place, *, component: bool = False) -> Measurement:
    members = place.members(_FIELDS if component else _OF_A_STREAM)
    if "agent" in members:
        members["agent"].matching(_AGENT, "agent")
    code = _code(_required(place, members, "code"))
    if "refid" in members:
        _check_refid(members["refid"], code)
    contents = [name for name in _CONTENTS if name in members]
    if len(contents) != 1:
        raise place.fault(f"expected one of {', '.join(_CONTENTS)}; found {' and '.join(contents) or 'none'}")
    if "unit" in members and contents[0] not in ("value", "absent"):
        raise members["unit"].fault(f"a unit beside {contents[0]}")
    if component and "components" in members:
        raise members["components"].fault("a component has no components")
    value, absent = _value_or_absent(members)
    return Measurement(
        code=code,
        value=value,
        unit=_read_unit(place, members),
        absent=absent,
        components=_optional(members, "components", _components) or (),
        coded=_optional(members, "coded", _code),
        bits=_bits(members["bits"], code) if "bits" in members else {},
        samples=_optional(members, "samples", _samples),
        device_time=_optional(members, "device_time", _device_time),
        received=_optional(members, "received", _received),
        supplemental=_optional(members, "supplemental", _supplemental) or (),
        status=_optional(members, "status", _status) or (),
        user=_optional(members, "user", _user),
        clock_set=_optional(members, "clock_set", Place.boolean) is not False,
    )


def _required(place: Place, members: Mapping[str, Place], name: str) -> Place:
    if name not in members:
        raise place.fault(f"{name} is missing")
    return members[name]


def _optional(members: Mapping[str, Place], name: str, read: Callable[[Place], _T]) -> _T | None:
    return read(members[name]) if name in members else None


def _value_or_absent(members: Mapping[str, Place]) -> tuple[Decimal | Special | None, str | None]:
    """`value` and `absent` of a measurement: a reason that a special value stands for becomes that value."""
    absent = members["absent"].one_of(ABSENT_REASONS) if "absent" in members else None
    if "special" in members:
        special = members["special"].one_of(_ERROR_SPECIALS)
        if absent != "error":
            raise members["special"].fault("special belongs to absent `error`")
        return _ERROR_SPECIALS[special], None
    if absent in _NUMBER_SPECIALS:
        return _NUMBER_SPECIALS[absent], None
    return _optional(members, "value", _decimal), absent


def _read_unit(place: Place, members: Mapping[str, Place]) -> str | None:
    """The unit that a value must have; beside `absent` it may stand, and says nothing."""
    if "value" in members:
        return _unit(_required(place, members, "unit"))
    if "unit" in members:
        _unit(members["unit"])
    return None


def _components(place: Place) -> tuple[Measurement, ...]:
    return tuple(_measurement(item, component=True) for item in place.items(1, MAX_COMPONENTS))


def _check_refid(place: Place, code: int) -> None:
    """The code decides, and tables differ in names; but the name of another quantity says that one of the two is wrong."""
    text = place.matching(_REFID, "reference identifier")
    named = code_of(text)
    if named is not None and named != code:
        raise place.fault(f"{text} is {named}, not {code}")


def _code(place: Place) -> int:
    return place.integer(1, _MAX_CODE)


def _user(place: Place) -> int:
    return place.integer(0, _MAX_USER)


def _supplemental(place: Place) -> tuple[int, ...]:
    return tuple(_code(item) for item in place.items(0, MAX_SUPPLEMENTAL))


def _decimal(place: Place) -> Decimal:
    return Decimal(place.matching(_DECIMAL, "decimal number"))


def _unit(place: Place) -> str:
    return place.matching(_UNIT, "UCUM unit")


def _bits(place: Place, code: int) -> dict[int, bool]:
    bits: dict[int, bool] = {}
    for name, state in place.members().items():
        match = _BIT.fullmatch(name)
        if match is None or int(match[1]) != code or int(match[2]) > _MAX_BIT:
            raise state.fault(f"{name[:40]!a} is no bit of {code}: expected {code}.0 to {code}.{_MAX_BIT}")
        bits[int(match[2])] = state.boolean()
    if not bits:
        raise place.fault("expected at least one bit")
    return bits


def _samples(place: Place) -> Samples:
    members = place.members(_SAMPLES_FIELDS)
    return Samples(
        origin=_decimal(_required(place, members, "origin")),
        unit=_unit(_required(place, members, "unit")),
        period_ms=_decimal(_required(place, members, "period_ms")),
        data=tuple(_datum(item) for item in _required(place, members, "data").items(1, MAX_SAMPLES)),
        factor=_decimal(members["factor"]) if "factor" in members else Decimal(1),
        lower=_optional(members, "lower", _decimal),
        upper=_optional(members, "upper", _decimal),
        dimensions=_optional(members, "dimensions", _dimensions) or 1,
    )


def _dimensions(place: Place) -> int:
    return place.integer(1, MAX_DIMENSIONS)


def _datum(place: Place) -> Decimal | Special:
    text = place.string()
    return _SPECIALS[text] if text in _SPECIALS else _decimal(place)


def _device_time(place: Place) -> DeviceTime:
    try:
        return DeviceTime.fromisoformat(place.string())
    except WireError as error:
        raise place.fault(str(error)) from None


def _received(place: Place) -> datetime:
    text = place.matching(_RECEIVED, "time with an offset from UTC")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise place.fault(f"{text!a} is on no calendar") from None


def _status(place: Place) -> tuple[MeasurementStatus, ...]:
    if isinstance(place.node.value, str):
        return (_STATUSES[place.one_of(_STATUSES)],)
    return tuple(_STATUSES[item.one_of(_STATUSES)] for item in place.items(0, MAX_STATUSES))
