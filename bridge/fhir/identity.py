"""What makes two messages of a device the same measurement (docs/fhir.md, Identity).

A device tells what it measured more than once: it was cut off before it was answered, its memory is read again, a live
value comes later as a stored one. Then almost everything about the message may differ: invoke-id, report number,
the observations beside it, the layout, the number of records in a notification, the precision, the mark "stored". What
stays is what was measured, when the device says that it was, and the value. So these are the identity, and not bytes.

Measurements of GATT values that carry a time stamp of their own are known by those values, and were before there was
any other kind; their identities must not change.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

from wire.evidence import Evidence, Reading
from wire.gatt import short_uuid
from wire.gatt.enhanced_blood_pressure import recorded
from wire.measurement import Measurement, MeasurementStatus, Samples

_STAMPED: Final = frozenset({0x2A18, 0x2A1C, 0x2A35, 0x2A36, 0x2A5E, 0x2A9C, 0x2A9D})
"""Values whose bytes hold their time stamp, and which a device sends in one form only."""
_RECORD: Final = 0x2B36
"""A blood pressure record holds one of these, as it came when it was measured."""


def told(measurement: Measurement) -> bool:
    """Whether the device tells when it measured, by a clock that somebody has set."""
    stamp = measurement.device_time
    return stamp is not None and stamp.known and measurement.clock_set


class Identity(NamedTuple):
    """What a measurement is known by, beside its device, its code and its supplemental types.

    `several`: other measurements of the same reading may have the same, and are told apart by their order in it.
    """

    kind: str
    what: bytes
    several: bool = True


def identity(evidence: Evidence, measurement: Measurement, whole: bytes) -> Identity:
    """What a measurement of a reading is known by; `whole` is the reading as its hub sealed it."""
    if not told(measurement):
        return Identity("reading", whole)
    if isinstance(evidence, Reading):
        uuid, value = evidence.characteristic, evidence.value
        if uuid == _RECORD:
            uuid, value = recorded(value)
        if uuid in _STAMPED:
            return Identity("stored", f"{short_uuid(uuid)}\0".encode() + value)
    return Identity("stored", "\0".join(_substance(measurement)).encode(), several=False)


def _substance(measurement: Measurement) -> Iterator[str]:
    """Everything that was observed, and nothing of how it was told. The unit is left out: another unit, other digits."""
    stamp = measurement.device_time
    yield "" if stamp is None else stamp.isoformat()
    yield "" if measurement.user is None else str(measurement.user)
    yield _number(measurement.value)
    yield measurement.absent or ""
    yield "" if measurement.coded is None else str(int(measurement.coded))
    yield " ".join(str(bit) for bit, state in sorted(measurement.bits.items()) if state)
    yield " ".join(sorted(set(measurement.status) - {MeasurementStatus.STORED}))
    yield "" if measurement.samples is None else _samples(measurement.samples)
    for part in measurement.components:
        yield str(int(part.code))
        yield from _substance(part)


def _number(value: object) -> str:
    """A number whatever its precision: SFLOAT now and FLOAT from memory are one measurement."""
    return str(value.normalize()) if isinstance(value, Decimal) else "" if value is None else str(value)


def _samples(samples: Samples) -> str:
    return " ".join(map(_number, (samples.origin, samples.factor, samples.period_ms, *samples.data)))
