"""Glucose meter: Measurement (2A18), Measurement Context (2A34) and Feature (2A51), Bluetooth GLS 1.0.1.

Concentrations come in kg/L or mol/L, which no clinician reads and no profile allows. Both become what meters show, and
exactly: kg/L is 10**5 mg/dL and mol/L is 10**3 mmol/L, so only the exponent moves and every digit of the device stays.
The same holds for carbohydrates (kg to g) and medication (kg to mg, L to mL). mg/dL is never turned into mmol/L here:
that factor is no power of ten.

A record and its context are two notifications that share a sequence number and nothing else: a context has no time of
its own. `GlucoseRecord` and `GlucoseContext` keep the number, and `with_context` gives a context its record's time.

The sample type decides the MDC code, as in IEEE 11073-10417. What was taken from control solution, by type or by
location, is `CONC_GLU_CONTROL` and test data, never a citizen's glucose. The sensor status (GLS 3.1) has 10417's bits in 10417's
order, except bit 11: "time fault" here, a temperature there. It makes the time stamp evidence only (`clock_set`).

In the context, exercise duration and the meal "bedtime" have no code that the open tables agree on; they stay in the
`GlucoseContext` and are no measurements.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from wire.errors import WireError
from wire.gatt.date_time import read_date_time
from wire.gatt.reader import Reader
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, Special, numeric
from wire.nomenclature import Mdc
from wire.numbers import shifted

_TIME_OFFSET: Final = 0x01
_CONCENTRATION: Final = 0x02
_MOLAR: Final = 0x04
_STATUS: Final = 0x08
_CONTEXT_FOLLOWS: Final = 0x10

_CARBOHYDRATE: Final = 0x01
_MEAL: Final = 0x02
_TESTER_HEALTH: Final = 0x04
_EXERCISE: Final = 0x08
_MEDICATION: Final = 0x10
_LITRES: Final = 0x20
_HBA1C: Final = 0x40
_EXTENDED: Final = 0x80

# GLS 3.1: the user's clock is further from the base time than 16 bits of minutes can say.
_OFFSET_OVERRUN: Final = 0x7FFF
_OFFSET_UNDERRUN: Final = -0x8000
_EXERCISE_OVERRUN: Final = 0xFFFF
_TIME_FAULT: Final = 0x0800

SAMPLE_TYPES: Final[Mapping[int, tuple[str, Mdc]]] = MappingProxyType(
    {
        1: ("capillary whole blood", Mdc.CONC_GLU_CAPILLARY_WHOLEBLOOD),
        2: ("capillary plasma", Mdc.CONC_GLU_CAPILLARY_PLASMA),
        3: ("venous whole blood", Mdc.CONC_GLU_VENOUS_WHOLEBLOOD),
        4: ("venous plasma", Mdc.CONC_GLU_VENOUS_PLASMA),
        5: ("arterial whole blood", Mdc.CONC_GLU_ARTERIAL_WHOLEBLOOD),
        6: ("arterial plasma", Mdc.CONC_GLU_ARTERIAL_PLASMA),
        7: ("undetermined whole blood", Mdc.CONC_GLU_UNDETERMINED_WHOLEBLOOD),
        8: ("undetermined plasma", Mdc.CONC_GLU_UNDETERMINED_PLASMA),
        9: ("interstitial fluid", Mdc.CONC_GLU_ISF),
        10: ("control solution", Mdc.CONC_GLU_CONTROL),
    }
)
"""GLS 3.1, by value; all others are reserved and read as glucose in general."""

SAMPLE_LOCATIONS: Final[Mapping[int, tuple[str, Mdc | None]]] = MappingProxyType(
    {
        1: ("finger", Mdc.CTXT_GLU_SAMPLELOCATION_FINGER),
        2: ("alternate site", Mdc.CTXT_GLU_SAMPLELOCATION_AST),
        3: ("earlobe", Mdc.CTXT_GLU_SAMPLELOCATION_EARLOBE),
        4: ("control solution", Mdc.CTXT_GLU_SAMPLELOCATION_CTRLSOLUTION),
        # CGMS 3.2 only; one open table has a code for it, and the sample type says interstitial fluid anyway.
        5: ("subcutaneous tissue", None),
        15: ("not available", None),
    }
)
"""GLS 3.1, by value; all others are reserved."""
_CONTROL_SOLUTION: Final = 4

SENSOR_STATUS: Final = (
    "battery low",
    "sensor malfunction",
    "sample size insufficient",
    "strip insertion error",
    "strip type incorrect",
    "result too high",
    "result too low",
    "temperature too high",
    "temperature too low",
    "strip pulled too soon",
    "general device fault",
    "time fault",
)
"""GLS 3.1, by bit; bits 12 to 15 are reserved. HL7 PHD ASN1ToHL7 numbers the MDC bits 0 to 10 in the same order."""

FEATURES: Final = (
    "low battery detection",
    "sensor malfunction detection",
    "sample size detection",
    "strip insertion error detection",
    "strip type error detection",
    "result high and low detection",
    "temperature high and low detection",
    "read interrupt detection",
    "general device fault",
    "time fault",
    "multiple bonds",
)
"""GLS 3.3, by bit."""

_CARBOHYDRATES: Final = {
    1: Mdc.CTXT_GLU_CARB_BREAKFAST,
    2: Mdc.CTXT_GLU_CARB_LUNCH,
    3: Mdc.CTXT_GLU_CARB_DINNER,
    4: Mdc.CTXT_GLU_CARB_SNACK,
    5: Mdc.CTXT_GLU_CARB_DRINK,
    6: Mdc.CTXT_GLU_CARB_SUPPER,
    7: Mdc.CTXT_GLU_CARB_BRUNCH,
}
_MEALS: Final = {
    1: Mdc.CTXT_GLU_MEAL_PREPRANDIAL,
    2: Mdc.CTXT_GLU_MEAL_POSTPRANDIAL,
    3: Mdc.CTXT_GLU_MEAL_FASTING,
    4: Mdc.CTXT_GLU_MEAL_CASUAL,
}
_TESTERS: Final = {1: Mdc.CTXT_GLU_TESTER_SELF, 2: Mdc.CTXT_GLU_TESTER_HCP, 3: Mdc.CTXT_GLU_TESTER_LAB}
_HEALTHS: Final = {
    1: Mdc.CTXT_GLU_HEALTH_MINOR,
    2: Mdc.CTXT_GLU_HEALTH_MAJOR,
    3: Mdc.CTXT_GLU_HEALTH_MENSES,
    4: Mdc.CTXT_GLU_HEALTH_STRESS,
    5: Mdc.CTXT_GLU_HEALTH_NONE,
}
_MEDICATIONS: Final = {
    1: Mdc.CTXT_MEDICATION_RAPIDACTING,
    2: Mdc.CTXT_MEDICATION_SHORTACTING,
    3: Mdc.CTXT_MEDICATION_INTERMEDIATEACTING,
    4: Mdc.CTXT_MEDICATION_LONGACTING,
    5: Mdc.CTXT_MEDICATION_PREMIX,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GlucoseRecord:
    """One Glucose Measurement: `time` is the user's own (base time and offset), `base_time` orders records."""

    sequence: int
    base_time: DeviceTime
    time: DeviceTime
    clock_set: bool
    concentration: Decimal | Special | None = None
    unit: str = "mg/dL"
    kind: int = 0
    location: int = 0
    status: int = 0
    context_follows: bool = False

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """Glucose, where it was taken, and the sensor status; a record without a concentration says `unknown`."""
        time, clock_set = self.time, self.clock_set
        code = sample(self.kind, self.location)
        if self.concentration is None:
            glucose = Measurement(code=code, absent="unknown", device_time=time, clock_set=clock_set)
        else:
            glucose = numeric(code, self.concentration, self.unit, device_time=time, clock_set=clock_set)
        if code == Mdc.CONC_GLU_CONTROL:
            glucose = replace(glucose, status=(MeasurementStatus.TEST_DATA,))
        found = [glucose]
        _, location = SAMPLE_LOCATIONS.get(self.location, ("", None))
        if location is not None:
            where = Mdc.CTXT_GLU_SAMPLELOCATION
            found.append(Measurement(code=where, coded=location, device_time=time, clock_set=clock_set))
        bits = {bit: True for bit in range(11) if self.status >> bit & 1} if self.status else {}
        if bits:
            found.append(Measurement(code=Mdc.GLU_METER_DEV_STATUS, bits=bits, device_time=time, clock_set=clock_set))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlucoseContext:
    """One Glucose Measurement Context: what was eaten, done and taken around the record of the same sequence number."""

    sequence: int
    carbohydrate: int | None = None
    carbohydrate_g: Decimal | Special | None = None
    meal: int | None = None
    tester: int | None = None
    health: int | None = None
    exercise_s: int | None = None
    exercise_percent: int | None = None
    medication: int | None = None
    medication_amount: Decimal | Special | None = None
    medication_unit: str = "mg"
    hba1c_percent: Decimal | Special | None = None

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What the context says, without a time: `with_context` gives it its record's."""
        found: list[Measurement] = []
        if self.carbohydrate_g is not None:
            code = _CARBOHYDRATES.get(self.carbohydrate or 0, Mdc.CTXT_GLU_CARB)
            found.append(numeric(code, self.carbohydrate_g, "g"))
        for code, value, names in (
            (Mdc.CTXT_GLU_MEAL, self.meal, _MEALS),
            (Mdc.CTXT_GLU_TESTER, self.tester, _TESTERS),
            (Mdc.CTXT_GLU_HEALTH, self.health, _HEALTHS),
        ):
            coded = names.get(value or 0)
            if coded is not None:
                found.append(Measurement(code=code, coded=coded))
        if self.exercise_percent is not None:
            found.append(numeric(Mdc.CTXT_GLU_EXERCISE, Decimal(self.exercise_percent), "%"))
        if self.medication_amount is not None:
            code = _MEDICATIONS.get(self.medication or 0, Mdc.CTXT_MEDICATION)
            found.append(numeric(code, self.medication_amount, self.medication_unit))
        if self.hba1c_percent is not None:
            found.append(numeric(Mdc.CONC_HBA1C, self.hba1c_percent, "%"))
        return tuple(found)


def read_record(value: bytes) -> GlucoseRecord:
    """Glucose Measurement (2A18, GLS 3.1)."""
    reader = Reader(value)
    flags = reader.u8("flags")
    sequence = reader.u16("sequence number")
    base = read_date_time(reader)
    offset = _signed(reader.u16("time offset")) if flags & _TIME_OFFSET else 0
    amount: Decimal | Special | None = None
    kind = location = 0
    if flags & _CONCENTRATION:
        amount = _shifted(reader.sfloat("glucose concentration"), 3 if flags & _MOLAR else 5)
        octet = reader.u8("type and sample location")
        kind, location = octet & 0x0F, octet >> 4
    status = reader.u16("sensor status") if flags & _STATUS else 0
    reader.end()
    time = base
    told = not status & _TIME_FAULT
    if offset:
        moved = None if offset in (_OFFSET_OVERRUN, _OFFSET_UNDERRUN) else base.shifted(minutes=offset)
        # An offset that cannot be added leaves the base time, which is not what the user's clock showed.
        time, told = (base, False) if moved is None else (moved, told)
    return GlucoseRecord(
        sequence=sequence,
        base_time=base,
        time=time,
        clock_set=told,
        concentration=amount,
        unit="mmol/L" if flags & _MOLAR else "mg/dL",
        kind=kind,
        location=location,
        status=status,
        context_follows=bool(flags & _CONTEXT_FOLLOWS),
    )


def decode_measurement(value: bytes) -> tuple[Measurement, ...]:
    """The measurements in a Glucose Measurement (2A18)."""
    return read_record(value).measurements


def read_context(value: bytes) -> GlucoseContext:
    """Glucose Measurement Context (2A34, GLS 3.2)."""
    reader = Reader(value)
    flags = reader.u8("flags")
    sequence = reader.u16("sequence number")
    if flags & _EXTENDED:
        reader.u8("extended flags")
    carbohydrate = reader.u8("carbohydrate") if flags & _CARBOHYDRATE else None
    eaten = _shifted(reader.sfloat("carbohydrate amount"), 3) if flags & _CARBOHYDRATE else None
    meal = reader.u8("meal") if flags & _MEAL else None
    people = reader.u8("tester and health") if flags & _TESTER_HEALTH else None
    duration = reader.u16("exercise duration") if flags & _EXERCISE else None
    intensity = reader.u8("exercise intensity") if flags & _EXERCISE else None
    medication = reader.u8("medication") if flags & _MEDICATION else None
    taken = _shifted(reader.sfloat("medication amount"), 3 if flags & _LITRES else 6) if flags & _MEDICATION else None
    hba1c = reader.sfloat("HbA1c") if flags & _HBA1C else None
    reader.end()
    return GlucoseContext(
        sequence=sequence,
        carbohydrate=carbohydrate,
        carbohydrate_g=eaten,
        meal=meal,
        tester=None if people is None else people & 0x0F,
        health=None if people is None else people >> 4,
        exercise_s=None if duration == _EXERCISE_OVERRUN else duration,
        exercise_percent=intensity,
        medication=medication,
        medication_amount=taken,
        medication_unit="mL" if flags & _LITRES else "mg",
        hba1c_percent=hba1c,
    )


def decode_context(value: bytes) -> tuple[Measurement, ...]:
    """The measurements in a Glucose Measurement Context (2A34) by itself: they have no time."""
    return read_context(value).measurements


def with_context(record: GlucoseRecord, context: GlucoseContext) -> tuple[Measurement, ...]:
    """The measurements of a record and its context, all with the record's time."""
    if record.sequence != context.sequence:
        raise WireError(f"context {context.sequence} does not belong to record {record.sequence}")
    rest = (
        replace(measurement, device_time=record.time, clock_set=record.clock_set)
        for measurement in context.measurements
    )
    return (*record.measurements, *rest)


def describe_feature(value: bytes) -> dict[str, str | bool]:
    """Glucose Feature (2A51, GLS 3.3): what the meter can detect."""
    reader = Reader(value)
    supported = reader.u16("feature")
    reader.end()
    return {name: bool(supported >> bit & 1) for bit, name in enumerate(FEATURES)}


def sample(kind: int, location: int) -> Mdc:
    """The MDC code of glucose in a sample of this type, taken there."""
    if location == _CONTROL_SOLUTION:
        return Mdc.CONC_GLU_CONTROL
    return SAMPLE_TYPES[kind][1] if kind in SAMPLE_TYPES else Mdc.CONC_GLU_GEN


def _shifted(value: Decimal | Special, places: int) -> Decimal | Special:
    return value if isinstance(value, Special) else shifted(value, places)


def _signed(word: int) -> int:
    return word - 0x10000 if word & 0x8000 else word
