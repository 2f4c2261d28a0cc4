"""Code systems, profiles, and the table of FHIR vital signs (R4 `vitalsigns`, HL7 PHD `Nomenclaturecodes`).

The MDC code always stands, as a 32-bit decimal string. What is a FHIR vital sign carries the LOINC code and the category
that the R4 profile fixes, beside it. Codes that are in no table here pass through untouched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from bridge.fhir.json import Resource
from wire.gatt.glucose import SAMPLE_TYPES
from wire.nomenclature import Mdc, refid
from wire.x73 import specializations as agents
from wire.x73.codes import Partition, code32

MDC: Final = "urn:iso:std:iso:11073:10101"
LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
ASN1: Final = "http://terminology.hl7.org/CodeSystem/ASN1ToHL7"
"""Bits of BITS enumerations: MDC code, full stop, bit number; bit 0 is the most significant."""
ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
MEASUREMENT_STATUS: Final = "http://hl7.org/fhir/uv/pocd/CodeSystem/measurement-status"
DEVICE_IDENTIFIERS: Final = "http://terminology.hl7.org/CodeSystem/ContinuaDeviceIdentifiers"

PHD: Final = "http://hl7.org/fhir/uv/phd/StructureDefinition/"
FHIR: Final = "http://hl7.org/fhir/StructureDefinition/"
GATEWAY_DEVICE: Final = FHIR + "observation-gatewayDevice"
COINCIDENT_REFERENCE: Final = PHD + "CoincidentTimeStampReference"
DATA_ABSENT_REASON: Final = FHIR + "data-absent-reason"

EUI64: Final = "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680"
BLUETOOTH: Final = "http://hl7.org/fhir/sid/eui-48/bluetooth"

# Arc 2.25 of the OID tree belongs to whoever drew the UUID behind it (ITU-T X.667): ours, for all time.
OBSERVATION_IDENTIFIER: Final = "urn:oid:2.25.165983192788932259419647597413012105341"
"""System of the Observations' identifiers: a keyed hash each (docs/fhir.md)."""
CABLE_IDENTIFIER: Final = "urn:oid:2.25.47696200902617338412258081896021851839"
"""System of devices on a cable: the hub's name, a slash, and the address that its keeper gave the device."""
HUB_IDENTIFIER: Final = "urn:oid:2.25.98894870463188153049118459006128921367"
"""System of the hubs' identifiers: the hub's name in the trust registry."""

PHD_CATEGORY: Final[Resource] = {
    "coding": [{"system": "http://hl7.org/fhir/uv/phd/CodeSystem/PhdObservationCategories", "code": "phd"}]
}
VITAL_SIGNS_CATEGORY: Final[Resource] = {
    "coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"},
    ]
}
TEST_LABEL: Final[Resource] = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VitalSign:
    """A FHIR vital sign: its profile, its LOINC code, and the UCUM units that the profile allows.

    `value_required`: the profile has no room for a missing value. `components`: LOINC by MDC code; the profile wants
    those of `needed`.
    """

    profile: str
    loinc: str
    display: str
    units: frozenset[str]
    value_required: bool = False
    components: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    needed: frozenset[int] = frozenset()


_SPO2: Final = VitalSign(
    # 2708-6 alone: the R4 profile wants it, and dk-core allows one LOINC coding (docs/adr/0003).
    profile=FHIR + "oxygensat",
    loinc="2708-6",
    display="Oxygen saturation in Arterial blood",
    units=frozenset({"%"}),
)
_PULSE: Final = VitalSign(profile=FHIR + "heartrate", loinc="8867-4", display="Heart rate", units=frozenset({"/min"}))
_BLOOD_PRESSURE: Final = VitalSign(
    profile=FHIR + "bp",
    loinc="85354-9",
    display="Blood pressure panel with all children optional",
    units=frozenset({"mm[Hg]"}),
    components=MappingProxyType(
        {
            Mdc.PRESS_BLD_NONINV_SYS: ("8480-6", "Systolic blood pressure"),
            Mdc.PRESS_BLD_NONINV_DIA: ("8462-4", "Diastolic blood pressure"),
            Mdc.PRESS_BLD_NONINV_MEAN: ("8478-0", "Mean blood pressure"),
        }
    ),
    needed=frozenset({Mdc.PRESS_BLD_NONINV_SYS, Mdc.PRESS_BLD_NONINV_DIA}),
)
_TEMPERATURE: Final = VitalSign(
    profile=FHIR + "bodytemp", loinc="8310-5", display="Body temperature", units=frozenset({"Cel", "[degF]"})
)

VITAL_SIGNS: Final[Mapping[int, VitalSign]] = MappingProxyType(
    {
        Mdc.PULS_OXIM_SAT_O2: _SPO2,
        Mdc.PULS_OXIM_PULS_RATE: _PULSE,
        Mdc.PULS_RATE_NON_INV: _PULSE,
        Mdc.ECG_HEART_RATE: _PULSE,
        Mdc.PRESS_BLD_NONINV: _BLOOD_PRESSURE,
        Mdc.TEMP_BODY: _TEMPERATURE,
        Mdc.TEMP_AXILLA: _TEMPERATURE,
        Mdc.TEMP_EAR: _TEMPERATURE,
        Mdc.TEMP_FINGER: _TEMPERATURE,
        Mdc.TEMP_GIT: _TEMPERATURE,
        Mdc.TEMP_ORAL: _TEMPERATURE,
        Mdc.TEMP_RECT: _TEMPERATURE,
        Mdc.TEMP_TOE: _TEMPERATURE,
        Mdc.TEMP_TYMP: _TEMPERATURE,
        Mdc.MASS_BODY_ACTUAL: VitalSign(
            profile=FHIR + "bodyweight",
            loinc="29463-7",
            display="Body weight",
            units=frozenset({"kg", "g", "[lb_av]"}),
        ),
        Mdc.LEN_BODY_ACTUAL: VitalSign(
            profile=FHIR + "bodyheight",
            loinc="8302-2",
            display="Body height",
            units=frozenset({"cm", "[in_i]"}),
        ),
        Mdc.RATIO_MASS_BODY_LEN_SQ: VitalSign(
            profile=FHIR + "bmi",
            loinc="39156-5",
            display="Body mass index (BMI) [Ratio]",
            units=frozenset({"kg/m2"}),
            value_required=True,
        ),
    }
)
"""What FHIR calls a vital sign, by MDC code. Values are never converted: another unit is no claim (docs/fhir.md)."""

_PEAK_FLOW: Final = 528405
"""MDC_DEV_SPEC_PROFILE_PEAK_FLOW: spirometers, too."""

SPECIALIZATIONS: Final[Mapping[int, int]] = MappingProxyType(
    {
        # The other way round: of two kinds of device that measure the same, the first in the table is meant.
        **{
            declared.code: code32(Partition.INFRA, kind.profile)
            for kind in reversed(tuple(agents.SPECIALIZATIONS.values()))
            for declared in kind.extended.by_handle.values()
            if declared.code is not None
        },
        **{code: Mdc.DEV_SPEC_PROFILE_GLUCOSE for _, code in SAMPLE_TYPES.values()},
        Mdc.CONC_GLU_GEN: Mdc.DEV_SPEC_PROFILE_GLUCOSE,
        Mdc.CONC_GLU_ISF: Mdc.DEV_SPEC_PROFILE_CGM,
        Mdc.FLOW_AWAY_EXP_FORCED_25_75_FVC: _PEAK_FLOW,
        Mdc.PULS_OXIM_SAT_O2: Mdc.DEV_SPEC_PROFILE_PULS_OXIM,
        Mdc.PULS_OXIM_PULS_RATE: Mdc.DEV_SPEC_PROFILE_PULS_OXIM,
        Mdc.PRESS_BLD_NONINV: Mdc.DEV_SPEC_PROFILE_BP,
        Mdc.MASS_BODY_ACTUAL: Mdc.DEV_SPEC_PROFILE_SCALE,
        Mdc.ECG_HEART_RATE: Mdc.DEV_SUB_SPEC_PROFILE_HR,
        **{code: Mdc.DEV_SPEC_PROFILE_TEMP for code, sign in VITAL_SIGNS.items() if sign is _TEMPERATURE},
    }
)
"""What kind of device measures this, for who has the measurement alone: all that the 15 IEEE specializations know."""

EVENT_WORDS: Final = frozenset({150604, 150605, 8408608, 8410584, 8410608, 8417752, 8417909, 8418060})
"""BITS enumerations whose bits are all events (HL7 PHD `ASN1ToHL7`): a cleared bit is no news and is not reported.
Of every other word both values are reported."""

_BIT_NAMES: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {
        Mdc.PULS_OXIM_DEV_STATUS: (
            "sensor-disconnected",
            "sensor-malfunction",
            "sensor-displaced",
            "sensor-unsupported",
            "sensor-off",
            "sensor-interference",
            "signal-searching",
            "signal-pulse-questionable",
            "signal-non-pulsatile",
            "signal-erratic",
            "signal-low-perfusion",
            "signal-poor",
            "signal-inadequate",
            "signal-processing-irregularity",
            "device-equipment-malfunction",
            "device-extended-update",
        ),
        Mdc.BLOOD_PRESSURE_MEASUREMENT_STATUS: (
            "body-movement",
            "cuff-too-loose",
            "irregular-pulse",
            "pulse-over-range-limit",
            "pulse-under-range-limit",
            "improper-body-position",
        ),
    }
)


def coding(system: str, code: str, display: str | None = None) -> Resource:
    """A Coding."""
    return {"system": system, "code": code} if display is None else {"system": system, "code": code, "display": display}


@lru_cache(maxsize=1024)
def mdc_concept(code: int) -> Resource:
    """A CodeableConcept of one MDC code, with its reference identifier where we know it."""
    return {"coding": [coding(MDC, str(int(code)), refid(code))]}


@lru_cache(maxsize=1024)
def vital_sign_concept(code: int, loinc: str, display: str) -> Resource:
    """A CodeableConcept of an MDC code and the LOINC code that FHIR knows the vital sign by."""
    return {"coding": [coding(MDC, str(int(code)), refid(code)), coding(LOINC, loinc, display)]}


@lru_cache(maxsize=1024)
def bit_concept(code: int, bit: int) -> Resource:
    """A CodeableConcept of one bit of a BITS enumeration."""
    names = _BIT_NAMES.get(code, ())
    return {"coding": [coding(ASN1, f"{int(code)}.{bit}", names[bit] if bit < len(names) else None)]}


@lru_cache(maxsize=64)
def absent_concept(reason: str) -> Resource:
    """A CodeableConcept for dataAbsentReason."""
    return {"coding": [coding(ABSENT, reason)]}
