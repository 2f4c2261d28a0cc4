"""One Measurement to one Observation: which profile, which elements (docs/fhir.md, Kinds; PhdBaseObservation notes).

The shape follows from the content, never from the code. Two rules stand above the tables: a status of the device
outranks a special number, and a value is written with the digits that the device sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from bridge.fhir import Reason, Untranslatable
from bridge.fhir.codes import (
    COINCIDENT_REFERENCE,
    EVENT_WORDS,
    GATEWAY_DEVICE,
    MDC,
    MEASUREMENT_STATUS,
    OBSERVATION_IDENTIFIER,
    PHD,
    PHD_CATEGORY,
    TEST_LABEL,
    UCUM,
    VITAL_SIGNS,
    VITAL_SIGNS_CATEGORY,
    VitalSign,
    absent_concept,
    bit_concept,
    coding,
    mdc_concept,
    vital_sign_concept,
)
from bridge.fhir.json import Resource
from bridge.fhir.times import Coincident
from wire.measurement import Measurement, MeasurementStatus, Samples, Special
from wire.measurement_json import ABSENT_REASONS
from wire.nomenclature import Mdc

TEST: Final = frozenset({MeasurementStatus.TEST_DATA, MeasurementStatus.DEMO_DATA})
"""Nobody's measurement: labelled HTEST, and not uploaded."""

# The status that says there is no value, the strongest first, and the reason that it gives.
_NO_VALUE: Final = (
    (MeasurementStatus.INVALID, "error"),
    (MeasurementStatus.NOT_AVAILABLE, "not-performed"),
)

INTERPRETATION: Final[Mapping[MeasurementStatus, str]] = MappingProxyType(
    {
        MeasurementStatus.QUESTIONABLE: "questionable",
        MeasurementStatus.CALIBRATING: "calibration-ongoing",
        MeasurementStatus.VALIDATED: "validated-data",
        MeasurementStatus.EARLY_ESTIMATE: "early-indication",
        MeasurementStatus.ONGOING: "msmt-ongoing",
        MeasurementStatus.THRESHOLD_ERROR: "in-alarm",
        MeasurementStatus.THRESHOLDING_DISABLED: "alarm-inhibited",
    }
)
"""Status by status, the code that interpretation takes."""

NOTE: Final[Mapping[MeasurementStatus, str]] = MappingProxyType(
    {
        MeasurementStatus.MANUALLY_ENTERED: "The value was entered by hand.",
        MeasurementStatus.THRESHOLD_ERROR: "The value is outside the limits that are set in the device.",
        MeasurementStatus.THRESHOLDING_DISABLED: "The device does not compare the value with its limits.",
    }
)

# FLOAT reaches 8388605E+127. Beyond that no device speaks, and servers read infinity.
_MAX_EXPONENT: Final = 140
_DIMENSIONLESS: Final = "1"

_NUMERIC: Final = [PHD + "PhdNumericObservation"]
_COMPOUND_NUMERIC: Final = [PHD + "PhdCompoundNumericObservation"]
_COMPOUND: Final = [PHD + "PhdCompoundObservation"]
_CODED: Final = [PHD + "PhdCodedEnumerationObservation"]
_BITS: Final = [PHD + "PhdBitsEnumerationObservation"]
_RTSA: Final = [PHD + "PhdRtsaObservation"]
_COINCIDENT: Final = [PHD + "PhdCoincidentTimeStampObservation"]

_SUPPLEMENTAL_TYPES: Final = mdc_concept(Mdc.ATTR_SUPPLEMENTAL_TYPES)
# Absolute time without offset, and with. For the latter the guide's text says 68225 and its value set 68226.
_ABSOLUTE_TIME: Final[Resource] = {"coding": [coding(MDC, "67975", "MDC_ATTR_TIME_ABS")]}
_BASE_OFFSET_TIME: Final[Resource] = {
    "coding": [coding(MDC, "68226", "MDC_ATTR_TIME_STAMP_BO"), coding(MDC, "68225", "MDC_ATTR_TIME_BO")]
}
_COUNTERS: Final[tuple[Resource, Resource]] = (
    {"coding": [coding(MDC, "67983", "MDC_ATTR_TIME_REL")]},
    {"coding": [coding(MDC, "68072", "MDC_ATTR_TIME_REL_HI_RES")]},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the Observations of one reading have in common; the references are literal."""

    patient: str
    phd: str
    phg: str


def observation(
    measurement: Measurement,
    frame: Frame,
    *,
    identifier: str,
    effective: str,
    coincident: str | None,
    vital_signs_first: bool,
) -> Resource | None:
    """The Observation of one measurement; None if it has nothing to say (events of which none is set)."""
    status = measurement.status
    missing = _missing(measurement)
    vital = None if MeasurementStatus.SETTING in status else VITAL_SIGNS.get(measurement.code)
    content, profile, conforms = _content(measurement, missing, vital)
    if content is None:
        return None
    method = None
    if supplemental := measurement.supplemental:
        if vital is not None and conforms and vital_signs_first and len(supplemental) == 1:
            method = mdc_concept(supplemental[0])
        else:
            # R4 binds every component value of a vital sign to UCUM units: no room for a supplemental type.
            conforms = False
            content["component"] = [
                *content.get("component", ()),
                *({"code": _SUPPLEMENTAL_TYPES, "valueCodeableConcept": mdc_concept(code)} for code in supplemental),
            ]
    meta: Resource = {"profile": profile if vital is None or not conforms else [*profile, vital.profile]}
    extension = [{"url": GATEWAY_DEVICE, "valueReference": {"reference": frame.phg}}]
    if coincident is not None:
        extension.append({"url": COINCIDENT_REFERENCE, "valueReference": {"reference": coincident}})
    resource: Resource = {
        "resourceType": "Observation",
        "meta": meta,
        "extension": extension,
        "identifier": [{"system": OBSERVATION_IDENTIFIER, "value": identifier}],
        "status": "final",
        "category": [PHD_CATEGORY] if vital is None else [PHD_CATEGORY, VITAL_SIGNS_CATEGORY],
        "code": mdc_concept(measurement.code)
        if vital is None
        else vital_sign_concept(measurement.code, vital.loinc, vital.display),
        "subject": {"reference": frame.patient},
        "effectiveDateTime": effective,
        "device": {"reference": frame.phd},
        **content,
    }
    if method is not None:
        resource["method"] = method
    if status:
        _apply_status(resource, status, frame, missing)
    return resource


def coincident_time_stamp(frame: Frame, coincident: Coincident, *, identifier: str) -> Resource:
    """PhdCoincidentTimeStampObservation: the PHD's clock as the PHG saw it; about the PHD, made by the PHG."""
    resource: Resource = {
        "resourceType": "Observation",
        "meta": {"profile": _COINCIDENT},
        "identifier": [{"system": OBSERVATION_IDENTIFIER, "value": identifier}],
        "status": "final",
        "code": _clock_concept(coincident),
        "subject": {"reference": frame.phd},
        "effectiveDateTime": coincident.phg,
        "device": {"reference": frame.phg},
    }
    if coincident.counter_us is not None:
        resource["valueQuantity"] = {"value": coincident.counter_us, "unit": "us", "system": UCUM, "code": "us"}
    elif coincident.phd is None:
        resource["dataAbsentReason"] = absent_concept("unknown")
    else:
        resource["valueDateTime"] = coincident.phd
    return resource


def _clock_concept(coincident: Coincident) -> Resource:
    if coincident.counter_us is not None:
        return _COUNTERS[coincident.high_resolution]
    return _BASE_OFFSET_TIME if coincident.offset else _ABSOLUTE_TIME


def _missing(measurement: Measurement) -> str | None:
    """Why there is no value, if there is none: a status outranks what stands where the number would."""
    if measurement.status:
        for status, word in _NO_VALUE:
            if status in measurement.status:
                return word
    reason = measurement.value.absent if isinstance(measurement.value, Special) else measurement.absent
    if reason is None:
        return None
    if MeasurementStatus.ONGOING in measurement.status:
        return "temp-unknown"
    if reason not in ABSENT_REASONS:
        raise Untranslatable(Reason.UNREPRESENTABLE, "a data-absent-reason that FHIR does not know")
    return reason


def _content(
    measurement: Measurement, missing: str | None, vital: VitalSign | None
) -> tuple[Resource | None, list[str], bool]:
    """The value elements, the PHD profile, and whether the vital sign's profile holds; no elements: nothing to say."""
    if measurement.components:
        return _compound(measurement, missing, vital)
    if measurement.samples is not None:
        value = {"valueSampledData": _sampled(measurement.samples)} if missing is None else _absent(missing)
        return value, _RTSA, False
    if measurement.bits:
        if missing is not None:
            return _absent(missing), _BITS, False
        events = measurement.code in EVENT_WORDS
        bits = [
            {"code": bit_concept(measurement.code, bit), "valueBoolean": state}
            for bit, state in sorted(measurement.bits.items())
            if state or not events
        ]
        return {"component": bits} if bits else None, _BITS, False
    if measurement.coded is not None:
        if missing is not None:
            return _absent(missing), _CODED, False
        return {"valueCodeableConcept": mdc_concept(measurement.coded)}, _CODED, False
    if missing is not None:
        return _absent(missing), _NUMERIC, vital is not None and not vital.value_required and not vital.components
    value = _quantity(measurement)
    return (
        {"valueQuantity": value},
        _NUMERIC,
        vital is not None and not vital.components and value["code"] in vital.units,
    )


def _compound(
    measurement: Measurement, missing: str | None, vital: VitalSign | None
) -> tuple[Resource, list[str], bool]:
    components = []
    numeric = True
    conforms = vital is not None
    seen = set()
    for part in measurement.components:
        if part.components or part.bits or part.supplemental or part.code == Mdc.ATTR_SUPPLEMENTAL_TYPES:
            raise Untranslatable(Reason.UNREPRESENTABLE, "a component that the compound profile has no place for")
        absent = missing or _missing(part)
        loinc = vital.components.get(part.code) if vital is not None else None
        component: Resource = {
            "code": mdc_concept(part.code) if loinc is None else vital_sign_concept(part.code, *loinc)
        }
        if absent is not None:
            component["dataAbsentReason"] = absent_concept(absent)
        elif part.samples is not None:
            numeric = False
            component["valueSampledData"] = _sampled(part.samples, limits=True)
        elif part.coded is not None:
            numeric = False
            component["valueCodeableConcept"] = mdc_concept(part.coded)
        else:
            component["valueQuantity"] = quantity = _quantity(part)
            conforms = conforms and vital is not None and quantity["code"] in vital.units
        if part.status and (interpretation := _interpretation(part.status, absent)):
            component["interpretation"] = interpretation
        seen.add(part.code)
        components.append(component)
    content: Resource = {} if missing is None else _absent(missing)
    content["component"] = components
    conforms = (
        conforms
        and numeric
        and vital is not None
        and bool(vital.needed)
        and vital.needed <= seen
        and len(seen) == len(components)
    )
    return content, _COMPOUND_NUMERIC if numeric else _COMPOUND, conforms


def _quantity(measurement: Measurement) -> Resource:
    value = measurement.value
    if not isinstance(value, Decimal):
        raise Untranslatable(Reason.EMPTY, "a measurement without any content")
    unit = measurement.unit or _DIMENSIONLESS
    return {"value": _number(value), "unit": unit, "system": UCUM, "code": unit}


def _number(value: Decimal) -> Decimal:
    if not value.is_finite() or abs(value.adjusted()) > _MAX_EXPONENT:
        raise Untranslatable(Reason.UNREPRESENTABLE, "a number beyond any device's")
    return value


def _sampled(samples: Samples, *, limits: bool = False) -> Resource:
    sampled: Resource = {
        "origin": {"value": _number(samples.origin), "unit": samples.unit, "system": UCUM, "code": samples.unit},
        "period": _number(samples.period_ms),
        "factor": _number(samples.factor),
    }
    if samples.lower is not None:
        sampled["lowerLimit"] = _number(samples.lower)
    if samples.upper is not None:
        sampled["upperLimit"] = _number(samples.upper)
    if limits and (samples.lower is None or samples.upper is None):
        raise Untranslatable(Reason.UNREPRESENTABLE, "samples without limits inside a compound")
    sampled["dimensions"] = samples.dimensions
    sampled["data"] = " ".join(map(_datum, samples.data))
    return sampled


def _datum(datum: Decimal | Special) -> str:
    """SampledData has no exponents, and three letters for what is no number."""
    if isinstance(datum, Decimal):
        return format(_number(datum), "f")
    return {Special.POSITIVE_INFINITY: "U", Special.NEGATIVE_INFINITY: "L"}.get(datum, "E")


def _absent(reason: str) -> Resource:
    return {"dataAbsentReason": absent_concept(reason)}


def _interpretation(status: tuple[MeasurementStatus, ...], missing: str | None) -> list[Resource]:
    # Of a value that is not there, only what stands with the reason is worth saying.
    return [
        {"coding": [coding(MEASUREMENT_STATUS, INTERPRETATION[one])]}
        for one in dict.fromkeys(status)
        if one in INTERPRETATION and (missing is None or one is not MeasurementStatus.ONGOING)
    ]


def _apply_status(resource: Resource, status: tuple[MeasurementStatus, ...], frame: Frame, missing: str | None) -> None:
    if MeasurementStatus.INVALID in status:
        resource["status"] = "entered-in-error"
    elif MeasurementStatus.EARLY_ESTIMATE in status:
        resource["status"] = "preliminary"
    if not TEST.isdisjoint(status):
        resource["meta"] = {**resource["meta"], "security": [TEST_LABEL]}
    if interpretation := _interpretation(status, missing):
        resource["interpretation"] = interpretation
    if notes := [{"text": NOTE[one]} for one in dict.fromkeys(status) if one in NOTE]:
        resource["note"] = notes
    if MeasurementStatus.SETTING in status:
        resource["subject"] = {"reference": frame.phd}
