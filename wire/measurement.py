"""Measurement: one decoded, observed value set, as the device meant it.

Numbers are `Decimal` with the device's own precision, or a `Special` value; never float. A measurement has exactly
one kind of content: a number, components, a coded value, bits or samples. Times are the device's own
(`DeviceTime`, which may be partly unknown) beside the hub's time of reception.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


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
    """

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    microsecond: int = 0
    offset_min: int | None = None

    @property
    def known(self) -> bool:
        """True if the date is complete."""
        return bool(self.year and self.month and self.day)

    def isoformat(self) -> str:
        """`2018-04-17T15:51:00`, with unknown parts as zeros, with an offset only if the device gave one."""
        text = f"{self.year:04}-{self.month:02}-{self.day:02}T{self.hour:02}:{self.minute:02}:{self.second:02}"
        if self.microsecond:
            text += f".{self.microsecond:06}".rstrip("0")
        if self.offset_min is not None:
            sign = "-" if self.offset_min < 0 else "+"
            text += f"{sign}{abs(self.offset_min) // 60:02}:{abs(self.offset_min) % 60:02}"
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A run of equidistant samples: value = origin + factor * datum (FHIR SampledData)."""

    origin: Decimal
    unit: str
    period_ms: Decimal
    data: tuple[Decimal | Special, ...]
    factor: Decimal = Decimal(1)
    lower: Decimal | None = None
    upper: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One value set. Exactly one of value, absent, components, coded, bits, samples is set.

    `absent` is a FHIR data-absent-reason where the device said "no value" in a way that is no Special
    (for example weight 0xFFFF, "measurement unsuccessful"). `bits` maps bit numbers as the MDC code counts them
    (bit 0 = most significant, IEEE 11073-20601 BITS) to their state. `user` is the device's own user index.
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
