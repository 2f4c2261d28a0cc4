"""The 20601 agents as data: what each shows, from what is true of a person to the bytes of an observation.

Configurations and messages are `wire`'s: an agent and a manager that read the standard differently would not meet, and
independent managers judge them. The values are written here, from annex F alone, with nothing of `wire`'s numbers and
times, so that a fault in one cannot hide in the other. An object shows a quantity by its MDC code, whatever the device.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from simulator.people import Further, Person, Vitals, further, vitals
from simulator.values import Other, Value, float32, rounded, sfloat
from wire.x73.codes import Attr, ObjectClass
from wire.x73.dim import FIRST_EXTENDED, METRICS, Configuration, DimObject, attribute
from wire.x73.reports import ConfigObject, MapEntry, ObservationFixed, Type
from wire.x73.services import SegmentElement, SegmentEntryMap
from wire.x73.specializations import Specialization
from wire.x73.store import Segment, Store

STORE_HANDLE: Final = 100
STORING_CONFIG: Final = FIRST_EXTENDED + 1
"""A configuration with a store is another one: managers keep configurations by system-id and config-id."""
_ABSOLUTE_IN_ENTRY: Final = 0x8000
_MINUTE_TICKS: Final = 60 * 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """A person at the moment of one reading, and which reading it is."""

    who: Person
    vitals: Vitals
    further: Further
    index: int

    @classmethod
    def of(cls, who: Person, at: datetime, index: int) -> "Now":
        return cls(who=who, vitals=vitals(who, at), further=further(who, at), index=index)


@dataclass(frozen=True, slots=True)
class Number:
    """A number with the step of the display: `step` where an SFLOAT holds it, `fine` in a FLOAT."""

    refid: str
    unit: str
    step: str
    of: Callable[[Now], float]
    fine: str = ""


@dataclass(frozen=True, slots=True)
class Coded:
    """One of some codes, in turn."""

    refid: str
    choices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bits:
    """A bit that is set in every other reading, counted from the most significant."""

    refid: str
    bit: int


@dataclass(frozen=True, slots=True)
class Wave:
    """Samples: `low` and a factor to each step, as the configuration's scale says."""

    refid: str
    unit: str
    low: str
    factor: str
    shape: Callable[[int], int]


Quantity = Number | Coded | Bits | Wave


def _bmi(now: Now) -> float:
    return now.vitals.weight_kg / now.who.height_m**2


def _fat_free(now: Now) -> float:
    return now.vitals.weight_kg * (1 - now.further.body_fat_percent / 100)


def _beat(sample: int) -> int:
    """A heartbeat in steps of 5 uV around 0 mV, which is 400: a P wave, a QRS complex, a T wave."""
    return 400 + {10: 20, 11: 24, 12: 20, 19: -24, 20: 110, 21: 240, 22: 90, 23: -56, 33: 30, 34: 44, 35: 30}.get(
        sample, 0
    )


QUANTITIES: Final[Mapping[int, Quantity]] = MappingProxyType(
    {
        131329: Wave("MDC_ECG_ELEC_POTL_I", "mV", "-2", "0.005", _beat),
        147842: Number("MDC_ECG_HEART_RATE", "/min", "1", lambda now: now.vitals.pulse),
        149530: Number("MDC_PULS_OXIM_PULS_RATE", "/min", "1", lambda now: now.vitals.pulse),
        149546: Number("MDC_PULS_RATE_NON_INV", "/min", "1", lambda now: now.vitals.pulse),
        150021: Number("MDC_PRESS_BLD_NONINV_SYS", "mm[Hg]", "1", lambda now: now.vitals.systolic),
        150022: Number("MDC_PRESS_BLD_NONINV_DIA", "mm[Hg]", "1", lambda now: now.vitals.diastolic),
        150023: Number("MDC_PRESS_BLD_NONINV_MEAN", "mm[Hg]", "1", lambda now: now.vitals.mean_pressure),
        150364: Number("MDC_TEMP_BODY", "Cel", "0.1", lambda now: now.vitals.temperature_cel, "0.01"),
        150448: Number("MDC_PULS_OXIM_PERF_REL", "%", "0.1", lambda now: now.further.perfusion_percent),
        150456: Number("MDC_PULS_OXIM_SAT_O2", "%", "1", lambda now: now.vitals.spo2),
        150604: Bits("MDC_PULS_OXIM_DEV_STATUS", 10),
        152584: Number("MDC_FLOW_AWAY_EXP_FORCED_PEAK", "L/min", "1", lambda now: now.further.peak_flow_l_min),
        152585: Number("MDC_FLOW_AWAY_EXP_FORCED_PEAK_PB", "L/min", "1", lambda now: now.further.best_peak_flow_l_min),
        152586: Number("MDC_VOL_AWAY_EXP_FORCED_1S", "L", "0.01", lambda now: now.further.fev1_l),
        152587: Number("MDC_VOL_AWAY_EXP_FORCED_EXP_6S", "L", "0.01", lambda now: now.further.fev6_l),
        160184: Number("MDC_CONC_GLU_CAPILLARY_WHOLEBLOOD", "mg/dL", "1", lambda now: now.further.glucose_mg_dl),
        160212: Number("MDC_CONC_GLU_ISF", "mg/dL", "1", lambda now: now.further.tissue_glucose_mg_dl),
        160220: Number("MDC_CONC_HBA1C", "%", "0.1", lambda now: now.further.hba1c_percent),
        160260: Number("MDC_RATIO_INR_COAG", "{INR}", "0.1", lambda now: now.further.inr),
        160264: Number("MDC_TIME_PD_COAG", "s", "0.1", lambda now: now.further.prothrombin_s),
        160268: Number("MDC_QUICK_VALUE_COAG", "%", "1", lambda now: now.further.quick_percent),
        188736: Number("MDC_MASS_BODY_ACTUAL", "kg", "0.1", lambda now: now.vitals.weight_kg, "0.05"),
        188740: Number("MDC_LEN_BODY_ACTUAL", "cm", "0.5", lambda now: now.who.height_m * 100),
        188748: Number("MDC_BODY_FAT", "%", "0.1", lambda now: now.further.body_fat_percent),
        188752: Number("MDC_RATIO_MASS_BODY_LEN_SQ", "kg/m2", "0.1", _bmi),
        188756: Number("MDC_MASS_BODY_FAT_FREE", "kg", "0.1", _fat_free),
        188764: Number("MDC_BODY_WATER", "kg", "0.1", lambda now: now.further.body_water_kg),
        188928: Number("MDC_VOL_AWAY_EXP_FORCED_CAPACITY", "L", "0.01", lambda now: now.further.fvc_l),
        188936: Number(
            "MDC_RATIO_AWAY_EXP_FORCED_FEV1_FEV6", "%", "0.1", lambda now: 100 * now.further.fev1_l / now.further.fev6_l
        ),
        188948: Number(
            "MDC_RATIO_AWAY_EXP_FORCED_1S_FVC", "%", "0.1", lambda now: 100 * now.further.fev1_l / now.further.fvc_l
        ),
        8410712: Number("MDC_SABTE_TIME_PD_USAGE_TOTAL", "h", "0.1", lambda now: now.further.sleep_h),
        8410792: Number("MDC_SABTE_AHI_TOTAL", "/h", "0.1", lambda now: now.further.apnoea_index),
        8417752: Bits("MDC_GLU_METER_DEV_STATUS", 0),
        8417864: Coded("MDC_CTXT_GLU_MEAL", (8417868, 8417872, 8417876, 8417880)),
        8418060: Bits("MDC_CGM_DEV_STAT", 0),
        8419328: Bits("MDC_PEFM_READING_STATUS", 0),
        8454247: Number("MDC_HF_DISTANCE", "m", "1", lambda now: now.further.distance_m),
        8454258: Number("MDC_HF_HR", "/min", "1", lambda now: now.vitals.pulse + 35),
        8454263: Number("MDC_HF_ENERGY", "J", "1", lambda now: now.further.energy_j),
        8454267: Coded("MDC_HF_SESSION", (8455144, 8455149)),
        8454269: Number("MDC_HF_ACTIVITY_TIME", "s", "1", lambda now: now.further.session_s),
        8454346: Number("MDC_HF_REPETITION_COUNT", "1", "1", lambda now: now.further.repetitions),
        8454347: Number("MDC_HF_RESISTANCE", "kg", "0.5", lambda now: now.further.resistance_kg),
        8519681: Bits("MDC_AI_TYPE_SENSOR_FALL", 0),
        8519687: Bits("MDC_AI_TYPE_SENSOR_MOTION", 0),
        8519690: Bits("MDC_AI_TYPE_SENSOR_CONTACTCLOSURE", 0),
        8532992: Number("MDC_AI_MED_DISPENSED_FIXED", "1", "1", lambda now: now.further.tablets),
        8532993: Number("MDC_AI_MED_DISPENSED_VARIABLE", "mg", "1", lambda now: now.further.dose_mg),
        8532994: Bits("MDC_AI_MED_STATUS", 0),
    }
)
"""By MDC code; the names are those of open nomenclature files, as `wire.x73.specializations` has the codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What one object shows at one moment: its value's bytes, and what they say."""

    data: bytes
    values: tuple[Value, ...] = ()
    others: tuple[Other, ...] = ()


def configuration_of(specialization: Specialization, *, standard: bool, store: bool) -> Configuration:
    """The configuration that an agent offers; ValueError with a sentence for its user where there is none."""
    if not standard:
        offered = specialization.extended
        return _with_store(offered) if store else offered
    if not specialization.standard:
        raise ValueError(
            f"{specialization.name} (11073-{specialization.number}) has no public standard configuration;"
            " use --config extended"
        )
    if store:
        raise ValueError("no standard configuration has a PM-store; use --config extended with --store")
    return specialization.standard[0]


def _with_store(plain: Configuration) -> Configuration:
    store = ConfigObject(
        object_class=int(ObjectClass.PMSTORE),
        handle=STORE_HANDLE,
        attributes=(
            attribute(Attr.METRIC_STORE_SAMPLE_ALG, bytes(2)),
            # Any number of segments, entries of single readings; a segment can be cleared by its number and is gone then.
            attribute(Attr.PM_STORE_CAPAB, b"\x89\x40"),
            attribute(Attr.OP_STAT, bytes(2)),
            attribute(Attr.NUM_SEG, b"\0\1"),
            attribute(Attr.CLEAR_TIMEOUT, _MINUTE_TICKS.to_bytes(4, "big")),
        ),
    )
    return Configuration(config_id=STORING_CONFIG, objects=(*plain.objects, store))


def metrics(configuration: Configuration) -> tuple[DimObject, ...]:
    """The objects that have values."""
    return configuration.of_class(*METRICS)


def show(metric: DimObject, now: Now) -> Shown:
    """What an object shows now, in the value attribute that its map names."""
    entry = _value_entry(metric)
    if entry.attribute == Attr.NU_CMPD_VAL_OBS_BASIC:
        listed = metric.attributes[Attr.ID_PHYSIO_LIST]
        terms = [int.from_bytes(listed[at : at + 2], "big") for at in range(4, len(listed), 2)]
        partition = (metric.code or 0) >> 16
        parts = [_number(partition << 16 | term, now, fine=False) for term in terms]
        head = len(parts).to_bytes(2, "big") + (2 * len(parts)).to_bytes(2, "big")
        return Shown(
            data=head + b"".join(_sfloat(part.value) for part in parts),
            values=tuple(parts),
        )
    code = metric.code or 0
    quantity = QUANTITIES[code]
    if isinstance(quantity, Number):
        fine = entry.attribute == Attr.NU_VAL_OBS_SIMP
        value = _number(code, now, fine=fine)
        return Shown(data=float32(value.value)[::-1] if fine else _sfloat(value.value), values=(value,))
    if isinstance(quantity, Coded):
        coded = quantity.choices[now.index % len(quantity.choices)]
        other = Other(code=code, refid=quantity.refid, coded=coded)
        return Shown(data=(coded & 0xFFFF).to_bytes(2, "big"), others=(other,))
    if isinstance(quantity, Bits):
        if now.index % 2:
            return Shown(data=bytes(entry.size))
        other = Other(code=code, refid=quantity.refid, bits=(quantity.bit,))
        return Shown(data=(1 << (8 * entry.size - 1 - quantity.bit)).to_bytes(entry.size, "big"), others=(other,))
    raw = [quantity.shape(sample) for sample in range((entry.size - 2) // 2)]
    samples = tuple(Decimal(quantity.low) + Decimal(quantity.factor) * each for each in raw)
    other = Other(code=code, refid=quantity.refid, samples=samples, unit=quantity.unit)
    data = (2 * len(raw)).to_bytes(2, "big") + b"".join(each.to_bytes(2, "big") for each in raw)
    return Shown(data=data, others=(other,))


def observe(metric: DimObject, now: Now, clock: datetime | None) -> tuple[ObservationFixed, Shown]:
    """One observation of a fixed report, with the time where the object's map has one."""
    shown = show(metric, now)
    stamped = any(entry.attribute == Attr.TIME_STAMP_ABS for entry in metric.value_map or ())
    data = shown.data + absolute(clock) if stamped else shown.data
    return ObservationFixed(handle=metric.handle, data=data), shown


def absolute(clock: datetime | None) -> bytes:
    """AbsoluteTime (A.2.13): BCD; eight zeros from a clock that was never set."""
    if clock is None:
        return bytes(8)
    return bytes.fromhex(clock.strftime("%Y%m%d%H%M%S") + f"{clock.microsecond // 10_000:02}")


def stored(configuration: Configuration, entries: tuple[bytes, ...]) -> Store:
    """A PM-store with one segment."""
    elements = tuple(
        SegmentElement(
            object_class=metric.object_class,
            type=Type(partition=(metric.code or 0) >> 16, code=(metric.code or 0) & 0xFFFF),
            handle=metric.handle,
            value_map=(_value_entry(metric),),
        )
        for metric in metrics(configuration)
    )
    store = Store(handle=STORE_HANDLE)
    entry_map = SegmentEntryMap(header=_ABSOLUTE_IN_ENTRY, elements=elements)
    store.add(Segment(instance=1, entry_map=entry_map, entries=entries))
    return store


def _value_entry(metric: DimObject) -> MapEntry:
    return next(entry for entry in metric.value_map or () if entry.attribute != Attr.TIME_STAMP_ABS)


def _number(code: int, now: Now, *, fine: bool) -> Value:
    quantity = QUANTITIES[code]
    if not isinstance(quantity, Number):
        raise TypeError(f"{quantity.refid} is no number")
    step = quantity.fine if fine and quantity.fine else quantity.step
    return Value(code=code, refid=quantity.refid, value=rounded(quantity.of(now), step), unit=quantity.unit)


def _sfloat(value: Decimal) -> bytes:
    return sfloat(value)[::-1]
