"""Measurement: one decoded, observed value set, as the device meant it.

Numbers are `Decimal` with the device's own precision, or a `Special` value; never float. A measurement has exactly
one kind of content: a number, components, a coded value, bits or samples. Times are the device's own
(`DeviceTime`, which may be partly unknown) beside the hub's time of reception.
"""

import re
from calendar import isleap
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from wire.errors import WireError

# Proleptic dates before the Gregorian calendar have no meaning to anyone downstream (GATT Date Time, 2A08).
_FIRST_YEAR: Final = 1582
# With the month unknown any day up to 31, with the year unknown also 29 February.
_DAYS: Final = (31, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MAX_OFFSET_MIN: Final = 14 * 60
_ISO_TIME: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?"
    r"(?:(Z)|([+-])([0-9]{2}):([0-5][0-9]))?"
)


class Special(StrEnum):
    """The five special values of SFLOAT and FLOAT (IEEE 11073-20601 annex F); each says the FHIR data-absent-reason."""

    NAN = "not-a-number"
    POSITIVE_INFINITY = "positive-infinity"
    NEGATIVE_INFINITY = "negative-infinity"
    NRES = "nres"
    RESERVED = "reserved"

    @property
    def absent(self) -> str:
        """FHIR data-absent-reason code (HL7 PHD IG: NRes and reserved are `error`)."""
        return "error" if self in (Special.NRES, Special.RESERVED) else self.value


class MeasurementStatus(StrEnum):
    """What the device says about the quality of a value (HL7 PHD IG, PhdBaseObservation notes)."""

    INVALID = "invalid"
    QUESTIONABLE = "questionable"
    NOT_AVAILABLE = "not-available"
    CALIBRATING = "calibrating"
    TEST_DATA = "test-data"
    DEMO_DATA = "demo-data"
    VALIDATED = "validated"
    EARLY_ESTIMATE = "early-estimate"
    ONGOING = "ongoing"
    MANUALLY_ENTERED = "manually-entered"
    SETTING = "setting"
    THRESHOLD_ERROR = "threshold-error"
    THRESHOLDING_DISABLED = "thresholding-disabled"
    STORED = "stored"
    FULLY_QUALIFIED = "fully-qualified"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DeviceTime:
    """A time stamp as the device wrote it; year, month or day 0 means unknown (GATT Date Time, 2A08).

    `offset_min` is the device's offset from UTC in minutes where it reports one (most do not: local time).
    A time that no calendar or clock shows has no constructor: WireError.
    """

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    microsecond: int = 0
    offset_min: int | None = None

    def __post_init__(self) -> None:
        fault = calendar_fault(
            year=self.year, month=self.month, day=self.day, hour=self.hour, minute=self.minute, second=self.second
        )
        if fault is not None:
            raise WireError(f"no {fault} {getattr(self, fault)} in {self.isoformat()}")
        if not 0 <= self.microsecond <= 999_999:
            raise WireError(f"no microsecond {self.microsecond}")
        if self.offset_min is not None and not -_MAX_OFFSET_MIN <= self.offset_min <= _MAX_OFFSET_MIN:
            raise WireError(f"no offset of {self.offset_min} minutes from UTC")

    @classmethod
    def fromisoformat(cls, text: str) -> "DeviceTime":
        """What `isoformat` wrote; WireError for anything else."""
        match = _ISO_TIME.fullmatch(text)
        if match is None:
            raise WireError(f"{text[:40]!a} is no time: expected YYYY-MM-DDThh:mm:ss, zeros in the date if unknown")
        *fields, fraction, zulu, sign, hours, minutes = match.groups()
        year, month, day, hour, minute, second = map(int, fields)
        offset_min = 0 if zulu else None if sign is None else int(f"{sign}1") * (int(hours) * 60 + int(minutes))
        return cls(
            year=year,
            month=month,
            day=day,
            hour=hour,
            minute=minute,
            second=second,
            microsecond=int((fraction or "").ljust(6, "0")),
            offset_min=offset_min,
        )

    @classmethod
    def of(cls, moment: datetime, *, offset_min: int | None = None) -> "DeviceTime":
        """What a moment shows, whatever zone it has; WireError for a year that no device shows."""
        return cls(
            year=moment.year,
            month=moment.month,
            day=moment.day,
            hour=moment.hour,
            minute=moment.minute,
            second=moment.second,
            microsecond=moment.microsecond,
            offset_min=offset_min,
        )

    @property
    def known(self) -> bool:
        """True if the date is complete."""
        return bool(self.year and self.month and self.day)

    @property
    def wall(self) -> datetime:
        """As a datetime without a zone; ValueError where the date is not complete."""
        return datetime(  # noqa: DTZ001 - a device's own clock; its zone, if any, stays beside it
            self.year, self.month, self.day, self.hour, self.minute, self.second, self.microsecond
        )

    def shifted(self, *, us: int = 0, minutes: int = 0) -> "DeviceTime | None":
        """So much later, with the same offset from UTC; None where the date is not complete or off the calendar."""
        if not self.known:
            return None
        try:
            return DeviceTime.of(self.wall + timedelta(minutes=minutes, microseconds=us), offset_min=self.offset_min)
        except (OverflowError, WireError):
            return None

    def isoformat(self) -> str:
        """`2018-04-17T15:51:00`, with unknown parts as zeros, with an offset only if the device gave one."""
        text = f"{self.year:04}-{self.month:02}-{self.day:02}T{self.hour:02}:{self.minute:02}:{self.second:02}"
        if self.microsecond:
            text += f".{self.microsecond:06}".rstrip("0")
        if self.offset_min is not None:
            sign = "-" if self.offset_min < 0 else "+"
            text += f"{sign}{abs(self.offset_min) // 60:02}:{abs(self.offset_min) % 60:02}"
        return text


def calendar_fault(*, year: int, month: int, day: int, hour: int, minute: int, second: int) -> str | None:
    """The first field that no calendar or clock shows; zeros in the date mean unknown and are no fault."""
    if year and not _FIRST_YEAR <= year <= 9999:
        return "year"
    if not 0 <= month <= 12:
        return "month"
    if not 0 <= day <= _DAYS[month] or (day == 29 and month == 2 and year and not isleap(year)):
        return "day"
    if not 0 <= hour <= 23:
        return "hour"
    if not 0 <= minute <= 59:
        return "minute"
    return None if 0 <= second <= 59 else "second"


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A run of equidistant samples: value = origin + factor * datum (FHIR SampledData).

    `dimensions` samples, such as three of an acceleration, are of one moment and follow each other in `data`.
    """

    origin: Decimal
    unit: str
    period_ms: Decimal
    data: tuple[Decimal | Special, ...]
    factor: Decimal = Decimal(1)
    lower: Decimal | None = None
    upper: Decimal | None = None
    dimensions: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One value set. Exactly one of value, absent, components, coded, bits, samples is set.

    `absent` is a FHIR data-absent-reason where the device said "no value" in a way that is no Special
    (for example weight 0xFFFF, "measurement unsuccessful"). `bits` maps bit numbers as the MDC code counts them
    (bit 0 = most significant, IEEE 11073-20601 BITS) to their state. `user` is the device's own user index.
    `clock_set` is False where the device says that its clock was never set: its `device_time` is then only evidence.
    """

    code: int
    value: Decimal | Special | None = None
    unit: str | None = None
    absent: str | None = None
    components: "tuple[Measurement, ...]" = ()
    coded: int | None = None
    bits: Mapping[int, bool] = field(default_factory=dict)
    samples: Samples | None = None
    device_time: DeviceTime | None = None
    received: datetime | None = None
    supplemental: tuple[int, ...] = ()
    status: tuple[MeasurementStatus, ...] = ()
    user: int | None = None
    clock_set: bool = True


def numeric(
    code: int,
    value: Decimal | Special,
    unit: str,
    *,
    device_time: DeviceTime | None = None,
    supplemental: tuple[int, ...] = (),
    status: tuple[MeasurementStatus, ...] = (),
    user: int | None = None,
    clock_set: bool = True,
) -> Measurement:
    """One number with its unit; a special value is no number and has none."""
    return Measurement(
        code=code,
        value=value,
        unit=None if isinstance(value, Special) else unit,
        device_time=device_time,
        supplemental=supplemental,
        status=status,
        user=user,
        clock_set=clock_set,
    )
