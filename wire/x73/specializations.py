"""The device specializations ISO/IEEE 11073-104zz as data: what each kind of agent is, and how it reports.

No text of the standards was at hand. A *standard configuration* is here only if at least one independent open
implementation has it; `sources` says which, and where they disagree the other layouts are `variants`, told apart by
their size alone. Every specialization has a configuration of ours (`extended`) with the objects, codes and units that
open nomenclature files confirm; its handles and its order are our own, as an extended configuration's may be. What a
device reports beyond its specialization needs no entry here: it passes with its MDC code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from wire.x73.apdu import Attribute
from wire.x73.codes import Attr, MetricSpec, ObjectClass
from wire.x73.dim import CODES, FIRST_EXTENDED, TYPES, VALUE_MAP, Configuration, attribute, encoded, type_of
from wire.x73.mder import U16
from wire.x73.reports import ConfigObject, MapEntry

BASIC: Final = MapEntry(attribute=Attr.NU_VAL_OBS_BASIC, size=2)
SIMPLE: Final = MapEntry(attribute=Attr.NU_VAL_OBS_SIMP, size=4)
ABSOLUTE: Final = MapEntry(attribute=Attr.TIME_STAMP_ABS, size=8)
CODED: Final = MapEntry(attribute=Attr.ENUM_OBS_VAL_SIMP_OID, size=2)
BITS16: Final = MapEntry(attribute=Attr.ENUM_OBS_VAL_BASIC_BIT_STR, size=2)
BITS32: Final = MapEntry(attribute=Attr.ENUM_OBS_VAL_SIMP_BIT_STR, size=4)

STORED: Final = int(MetricSpec.AVAIL_STORED_DATA | MetricSpec.ACC_AGENT_INITIATED)
"""0x4040, as the oximeters' standard configurations have it."""
EPISODIC: Final = int(
    MetricSpec.AVAIL_INTERMITTENT
    | MetricSpec.AVAIL_STORED_DATA
    | MetricSpec.UPD_APERIODIC
    | MetricSpec.MSMT_APERIODIC
    | MetricSpec.ACC_AGENT_INITIATED
)
"""0xF040, as all the others have it."""

_PERCENT: Final = 544
_PER_MIN: Final = 2720
_MMHG: Final = 3872
_DEGC: Final = 6048
_KG: Final = 1731
_CM: Final = 1297
_KG_PER_M2: Final = 1952
_MG_PER_DL: Final = 2130
_LITRE: Final = 1600
_L_PER_MIN: Final = 3072
_MILLI_VOLT: Final = 4274
_INR: Final = 6608
_SECOND: Final = 2176
_HOUR: Final = 2240
_METRE: Final = 1280
_PER_HOUR: Final = 2560
_JOULE: Final = 3968
_ONE: Final = 512
_MILLI_G: Final = 1746

ANTIDOTE: Final = "signove/antidote src/specializations (LGPL, facts only)"
ANTIDOTE_SENDS: Final = "signove/antidote agent: what it sends, measured (docs of the protocol) and read"
LIBRESOFT: Final = "LibreSoft OpenHealth ieee_11073/part_104zz/manager (GPL, facts only)"
CONQLIMA: Final = "conqlima/Antidote src/specializations/thermometer.c (LGPL, facts only)"
OPENTELE: Final = "silverbullet-dk/opentele-client-android, recorded device reports (Apache-2.0)"
MEASURED: Final = "one session of two independent implementations over TCP, measured"
NOMENCLATURE: Final = "open nomenclature files: HL7 PHD guide, antidote, Lamprey, universAAL"
ONE_SOURCE: Final = "one open nomenclature file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Specialization:
    """One ISO/IEEE 11073-104zz."""

    number: int
    name: str
    profile: int
    """Its term in the partition of infrastructure, as in System-Type-Spec-List."""
    version: int
    extended: Configuration
    standard: tuple[Configuration, ...] = ()
    sources: tuple[str, ...]


def numeric(
    handle: int,
    code: int,
    unit: int,
    *,
    value: MapEntry = BASIC,
    stamp: MapEntry | None = ABSOLUTE,
    spec: int = EPISODIC,
    supplemental: tuple[int, ...] = (),
) -> ConfigObject:
    """A numeric object with one value."""
    return _metric(
        ObjectClass.METRIC_NU, handle, code, spec=spec, value=value, stamp=stamp, unit=unit, supplemental=supplemental
    )


def compound(handle: int, code: int, unit: int, parts: tuple[int, ...], *, spec: int = EPISODIC) -> ConfigObject:
    """A numeric object with several values, as SFLOATs."""
    value = MapEntry(attribute=Attr.NU_CMPD_VAL_OBS_BASIC, size=4 + 2 * len(parts))
    return _metric(ObjectClass.METRIC_NU, handle, code, spec=spec, value=value, unit=unit, parts=parts)


def enumeration(
    handle: int, code: int, *, value: MapEntry = CODED, spec: int = EPISODIC, partition: int | None = None
) -> ConfigObject:
    """An enumeration object: a code of the object's own partition or of another one, or bits."""
    return _metric(ObjectClass.METRIC_ENUM, handle, code, spec=spec, value=value, partition=partition)


def waveform(
    handle: int, code: int, unit: int, *, samples: int, period_ticks: int, low: int, high: int, top: int
) -> ConfigObject:
    """A real-time sample array of unsigned 16-bit samples: 0 stands for `low` and `top` for `high`."""
    value = MapEntry(attribute=Attr.SIMP_SA_OBS_VAL, size=2 + 2 * samples)
    base = _metric(ObjectClass.METRIC_SA_RT, handle, code, spec=EPISODIC, value=value, unit=unit)
    scale = b"".join(each.to_bytes(4, "big", signed=True)[1:].rjust(4, b"\0") for each in (low, high))
    more = (
        attribute(Attr.TIME_PD_SAMP, period_ticks.to_bytes(4, "big")),
        attribute(Attr.SCALE_SPECN_I16, scale + bytes(2) + top.to_bytes(2, "big")),
        attribute(Attr.SA_SPECN, samples.to_bytes(2, "big") + b"\x10\x10\x20\x00"),
    )
    return ConfigObject(
        object_class=base.object_class,
        handle=base.handle,
        attributes=base.attributes[:-1] + more + base.attributes[-1:],
    )


def _metric(
    object_class: int,
    handle: int,
    code: int,
    *,
    spec: int,
    value: MapEntry,
    stamp: MapEntry | None = ABSOLUTE,
    unit: int | None = None,
    parts: tuple[int, ...] = (),
    supplemental: tuple[int, ...] = (),
    partition: int | None = None,
) -> ConfigObject:
    attributes: list[Attribute] = [attribute(Attr.ID_TYPE, type_of(code))]
    if supplemental:
        attributes.append(
            attribute(Attr.SUPPLEMENTAL_TYPES, encoded(TYPES, tuple(type_of(each) for each in supplemental)))
        )
    attributes.append(attribute(Attr.METRIC_SPEC_SMALL, encoded(U16, spec)))
    if parts:
        attributes.append(attribute(Attr.METRIC_STRUCT_SMALL, bytes((3, len(parts)))))
        attributes.append(attribute(Attr.ID_PHYSIO_LIST, encoded(CODES, tuple(each & 0xFFFF for each in parts))))
    if partition is not None:
        attributes.append(attribute(Attr.ENUM_OBS_VAL_PART, encoded(U16, partition)))
    if unit is not None:
        attributes.append(attribute(Attr.UNIT_CODE, encoded(U16, unit)))
    layout = (value,) if stamp is None else (value, stamp)
    attributes.append(attribute(Attr.ATTRIBUTE_VAL_MAP, encoded(VALUE_MAP, layout)))
    return ConfigObject(object_class=int(object_class), handle=handle, attributes=tuple(attributes))


def _standard(config_id: int, *objects: ConfigObject, undeclared: tuple[ConfigObject, ...] = ()) -> Configuration:
    """A standard configuration, with the layouts that its agents in the field use instead of the declared one.

    Agents of one standard configuration send an SFLOAT or a FLOAT, alone or with an absolute time. The four have four
    sizes, so which one it is need not be guessed.
    """
    layouts = {
        BASIC.attribute: ((BASIC,), (BASIC, ABSOLUTE), (SIMPLE,), (SIMPLE, ABSOLUTE)),
        SIMPLE.attribute: ((BASIC,), (BASIC, ABSOLUTE), (SIMPLE,), (SIMPLE, ABSOLUTE)),
    }
    declared = Configuration(config_id=config_id, objects=objects)
    variants: dict[int, tuple[tuple[MapEntry, ...], ...]] = {}
    for each in declared.by_handle.values():
        value_map = each.value_map or ()
        own = layouts.get(value_map[0].attribute) or ((value_map[0],),)
        variants[each.handle] = tuple(layout for layout in own if layout != value_map)
    return Configuration(config_id=config_id, objects=objects, undeclared=undeclared, variants=variants)


def _extended(*objects: ConfigObject) -> Configuration:
    return Configuration(config_id=FIRST_EXTENDED, objects=objects)


_SPOT: Final = (150588,)

# antidote and LibreSoft map the value alone; antidote's agent and the Nonin 9560 send value and time.
OXIMETER_0190: Final = _standard(
    0x0190, numeric(1, 150456, _PERCENT, spec=STORED), numeric(10, 149530, _PER_MIN, spec=STORED)
)
OXIMETER_0191: Final = _standard(
    0x0191,
    numeric(1, 150456, _PERCENT, spec=STORED, supplemental=_SPOT),
    numeric(10, 149530, _PER_MIN, spec=STORED, supplemental=_SPOT),
)
PRESSURE_02BC: Final = _standard(
    0x02BC, compound(1, 150020, _MMHG, (150021, 150022, 150023)), numeric(2, 149546, _PER_MIN)
)
# LibreSoft declares an SFLOAT; conqlima's and Freescale's agents send a FLOAT.
THERMOMETER_0320: Final = _standard(0x0320, numeric(1, 150364, _DEGC))
SCALE_05DC: Final = _standard(
    0x05DC,
    numeric(1, 188736, _KG, value=SIMPLE),
    # antidote's agent sends the body mass index as object 3 under this configuration.
    undeclared=(numeric(3, 188752, _KG_PER_M2, value=SIMPLE),),
)
# antidote declares an SFLOAT and sends a FLOAT.
GLUCOSE_06A4: Final = _standard(0x06A4, numeric(1, 160184, _MG_PER_DL))

SPECIALIZATIONS: Final[Mapping[int, Specialization]] = MappingProxyType(
    {
        each.number: each
        for each in (
            Specialization(
                number=10404,
                name="oximeter",
                profile=4100,
                version=1,
                standard=(OXIMETER_0190, OXIMETER_0191),
                extended=_extended(
                    numeric(1, 150456, _PERCENT, spec=STORED),
                    numeric(10, 149530, _PER_MIN, spec=STORED),
                    numeric(11, 150448, _PERCENT, spec=STORED),
                    enumeration(12, 150604, value=BITS16),
                ),
                sources=(ANTIDOTE, LIBRESOFT, MEASURED, ANTIDOTE_SENDS),
            ),
            Specialization(
                number=10406,
                name="ecg",
                profile=4102,
                version=1,
                extended=_extended(
                    numeric(1, 147842, _PER_MIN),
                    waveform(2, 131329, _MILLI_VOLT, samples=50, period_ticks=32, low=-2, high=2, top=800),
                ),
                sources=(NOMENCLATURE, "conqlima/Antidote src/specializations/basic_ECG.c (an extended configuration)"),
            ),
            Specialization(
                number=10407,
                name="blood-pressure",
                profile=4103,
                version=1,
                standard=(PRESSURE_02BC,),
                extended=_extended(compound(1, 150020, _MMHG, (150021, 150022, 150023)), numeric(2, 149546, _PER_MIN)),
                sources=(ANTIDOTE, OPENTELE),
            ),
            Specialization(
                number=10408,
                name="thermometer",
                profile=4104,
                version=1,
                standard=(THERMOMETER_0320,),
                extended=_extended(numeric(1, 150364, _DEGC, value=SIMPLE)),
                sources=(LIBRESOFT, CONQLIMA),
            ),
            Specialization(
                number=10415,
                name="scale",
                profile=4111,
                version=1,
                standard=(SCALE_05DC,),
                extended=_extended(
                    numeric(1, 188736, _KG, value=SIMPLE),
                    numeric(2, 188740, _CM, value=SIMPLE),
                    numeric(3, 188752, _KG_PER_M2, value=SIMPLE),
                ),
                sources=(ANTIDOTE, ANTIDOTE_SENDS, OPENTELE),
            ),
            Specialization(
                number=10417,
                name="glucometer",
                profile=4113,
                version=1,
                standard=(GLUCOSE_06A4,),
                extended=_extended(
                    numeric(1, 160184, _MG_PER_DL),
                    numeric(2, 160220, _PERCENT),
                    enumeration(3, 8417864),
                    enumeration(4, 8417752, value=BITS16),
                ),
                sources=(ANTIDOTE, ANTIDOTE_SENDS),
            ),
            Specialization(
                number=10418,
                name="coagulation",
                profile=4114,
                version=1,
                extended=_extended(numeric(1, 160260, _INR), numeric(2, 160264, _SECOND), numeric(3, 160268, _PERCENT)),
                sources=(NOMENCLATURE,),
            ),
            Specialization(
                number=10420,
                name="body-composition",
                profile=4116,
                version=1,
                extended=_extended(
                    numeric(1, 188748, _PERCENT),
                    numeric(2, 188736, _KG, value=SIMPLE),
                    numeric(3, 188740, _CM, value=SIMPLE),
                    numeric(4, 188752, _KG_PER_M2, value=SIMPLE),
                    numeric(5, 188756, _KG, value=SIMPLE),
                    numeric(6, 188764, _KG, value=SIMPLE),
                ),
                sources=(NOMENCLATURE,),
            ),
            Specialization(
                number=10421,
                name="spirometer",
                profile=4117,
                version=1,
                extended=_extended(
                    numeric(1, 152584, _L_PER_MIN),
                    numeric(2, 152585, _L_PER_MIN),
                    numeric(3, 152586, _LITRE),
                    numeric(4, 152587, _LITRE),
                    numeric(5, 188936, _PERCENT),
                    numeric(6, 188928, _LITRE),
                    numeric(7, 188948, _PERCENT),
                    enumeration(8, 8419328, value=BITS16),
                ),
                sources=(NOMENCLATURE, "FVC and the ratios, partition 2: two open files"),
            ),
            Specialization(
                number=10424,
                name="sleep-apnoea",
                profile=4120,
                version=1,
                # The block of the pressures is numbered in two ways in open files (IPAP-SET is 8410976 or 8410984), and
                # a wrong name for a pressure is worse than none: our agent has no such object. Those of others pass.
                extended=_extended(numeric(1, 8410792, _PER_HOUR), numeric(2, 8410712, _HOUR)),
                sources=(ONE_SOURCE, "AHI, in events per hour: the T-CABS and the Belgian FHIR guides"),
            ),
            Specialization(
                number=10425,
                name="cgm",
                profile=4121,
                version=1,
                extended=_extended(numeric(1, 160212, _MG_PER_DL), enumeration(2, 8418060, value=BITS32)),
                sources=(NOMENCLATURE,),
            ),
            Specialization(
                number=10441,
                name="cardio",
                profile=4137,
                version=1,
                extended=_extended(
                    numeric(1, 8454247, _METRE, value=SIMPLE),
                    numeric(2, 8454258, _PER_MIN),
                    numeric(3, 8454263, _JOULE, value=SIMPLE),
                    # What the session was (a code of partition 129) and how long it was are two objects.
                    enumeration(4, 8454267),
                    numeric(5, 8454269, _SECOND, value=SIMPLE),
                ),
                sources=(NOMENCLATURE, "session as a code: HL7 v2 examples of 11073-10441"),
            ),
            Specialization(
                number=10442,
                name="strength",
                profile=4138,
                version=1,
                extended=_extended(numeric(1, 8454346, _ONE), numeric(2, 8454347, _KG, value=SIMPLE)),
                sources=(ONE_SOURCE,),
            ),
            Specialization(
                number=10471,
                name="activity-hub",
                profile=4167,
                version=1,
                extended=_extended(
                    enumeration(1, 8519681, value=BITS32),
                    enumeration(2, 8519687, value=BITS32),
                    enumeration(3, 8519690, value=BITS32),
                ),
                sources=(NOMENCLATURE,),
            ),
            Specialization(
                number=10472,
                name="medication",
                profile=4168,
                version=1,
                extended=_extended(
                    numeric(1, 8532992, _ONE), numeric(2, 8532993, _MILLI_G), enumeration(3, 8532994, value=BITS16)
                ),
                sources=(NOMENCLATURE,),
            ),
        )
    }
)
"""By the last digits of the standard's number."""

STANDARD: Final[Mapping[int, Configuration]] = MappingProxyType(
    {each.config_id: each for spec in SPECIALIZATIONS.values() for each in spec.standard}
)
"""The standard configurations that a manager knows without asking."""

BY_NAME: Final[Mapping[str, Specialization]] = MappingProxyType({each.name: each for each in SPECIALIZATIONS.values()})
