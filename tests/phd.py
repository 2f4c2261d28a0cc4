"""Is it what the guide asks for? Three judges of what the bridge wants to send.

- `validate`: the profiles themselves, by ../shared/tools/phdvalidate.py (elsewhere by STAFET_SHARED).
- `lint`: what profiles with open slices let pass: a missing MDC coding, a bit of another word, a dangling reference.
- `structure`: fhir.resources, which knows nothing of us.

`assert_conformant` asks all three; without ../shared it asks the two that came with us.
"""

import importlib.util
import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from bridge.fhir import json as fhir_json
from bridge.fhir.codes import (
    ASN1,
    COINCIDENT_REFERENCE,
    FHIR,
    GATEWAY_DEVICE,
    LOINC,
    MDC,
    OBSERVATION_IDENTIFIER,
    PHD,
    VITAL_SIGNS,
)

SHARED = Path(os.environ.get("STAFET_SHARED", Path(__file__).parents[2] / "shared"))
NOT_SHARED = "the profiles are not part of the repository: set STAFET_SHARED to where fhir/packages and tools are"

_VALUES = ("valueQuantity", "valueCodeableConcept", "valueSampledData", "valueDateTime", "valueString", "valueBoolean")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{3})?[+-]\d{2}:\d{2}")
_CODE = re.compile(r"[1-9][0-9]{0,9}")

Resource = dict[str, Any]


def available() -> bool:
    """True where the profiles and their validator are at hand."""
    return (SHARED / "tools" / "phdvalidate.py").exists()


def validate(resource: Resource, *, profile: str | None = None, bundle: Resource | None = None) -> list[str]:
    """What breaks the profiles that a resource claims, or the one named; of a Bundle, of every resource in it."""
    if resource["resourceType"] == "Bundle":
        return [
            f"{entry['fullUrl']} {fault}"
            for entry in resource["entry"]
            for fault in validate(entry["resource"], profile=profile, bundle=resource)
        ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _validator().validate(resource, profile=profile, bundle=bundle)
    return [f"{place}: {fault}" for severity, place, fault in found if severity == "error"]


def assert_conformant(bundle: Resource) -> None:
    """Fail with everything that is wrong with a transaction Bundle."""
    sent = fhir_json.loads(fhir_json.dumps(bundle))
    faults = [*lint(sent), *structure(sent)]
    if available():
        faults += validate(sent)
    assert not faults, "\n".join(faults)


_judged: set[str] = set()
_VOLATILE = {"value", "reference", "effectiveDateTime", "valueDateTime", "lastUpdated", "id", "versionId", "fullUrl"}


def assert_all_conform(resources: Iterable[Resource]) -> None:
    """Fail with what is wrong with resources of the guide, wherever they were caught; others are not the bridge's.

    The profiles do not care which number or time it is, so of resources that differ in nothing else one is looked at.
    """
    if not available():
        return
    faults = []
    for resource in resources:
        if not any(profile.startswith(PHD) for profile in resource.get("meta", {}).get("profile", ())):
            continue
        shape = json.dumps(_shape(resource), sort_keys=True)
        if shape not in _judged:
            _judged.add(shape)
            faults += validate(resource)
    assert not faults, "\n".join(faults)


def _shape(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            name: type(inner).__name__ if name in _VOLATILE and not isinstance(inner, (dict, list)) else _shape(inner)
            for name, inner in part.items()
        }
    return [_shape(inner) for inner in part] if isinstance(part, list) else str(part)


def structure(bundle: Resource) -> list[str]:
    """What a FHIR R4 library that is not ours does not take."""
    from fhir.resources.R4B import get_fhir_model_class

    faults = []
    for entry in bundle["entry"]:
        resource = entry["resource"]
        try:
            get_fhir_model_class(resource["resourceType"]).model_validate(resource)
        except ValueError as fault:
            faults.append(f"{entry['fullUrl']} fhir.resources: {fault}")
    return faults


def lint(bundle: Resource) -> list[str]:
    """What validation lets pass."""
    entries = {entry["fullUrl"]: entry for entry in bundle["entry"]}
    faults = []
    if bundle["type"] != "transaction" or len(entries) != len(bundle["entry"]):
        faults.append("no transaction, or a fullUrl that comes twice")
    for url, entry in entries.items():
        resource = entry["resource"]
        check = _lint_observation if resource["resourceType"] == "Observation" else _lint_device
        faults += [f"{url} {fault}" for fault in (*check(resource, entries), *_lint_request(entry))]
    return faults


def observations(bundle: Resource) -> list[Resource]:
    """The Observations of a Bundle, without coincident time stamps."""
    resources = [entry["resource"] for entry in bundle["entry"]]
    return [one for one in resources if one["resourceType"] == "Observation" and not is_time_stamp(one)]


def time_stamps(bundle: Resource) -> list[Resource]:
    """The coincident time stamps of a Bundle."""
    resources = [entry["resource"] for entry in bundle["entry"]]
    return [one for one in resources if one["resourceType"] == "Observation" and is_time_stamp(one)]


def is_time_stamp(resource: Resource) -> bool:
    return PHD + "PhdCoincidentTimeStampObservation" in resource["meta"]["profile"]


def mdc_code(concept: Resource) -> int:
    """The MDC code of a CodeableConcept."""
    (code,) = (one["code"] for one in concept["coding"] if one["system"] == MDC)
    return int(code)


def vital_signs_profile(resource: Resource) -> str | None:
    """The FHIR vital signs profile that an Observation claims."""
    claimed = [one for one in resource["meta"]["profile"] if one.startswith(FHIR)]
    assert len(claimed) <= 1
    return claimed[0] if claimed else None


def _lint_request(entry: Resource) -> Iterator[str]:
    resource, request = entry["resource"], entry["request"]
    identifier = resource["identifier"][0]
    if request != {
        "method": "POST",
        "url": resource["resourceType"],
        "ifNoneExist": f"identifier={identifier['system']}|{identifier['value']}",
    }:
        yield f"request {request}"
    if not entry["fullUrl"].startswith("urn:uuid:"):
        yield "fullUrl"


def _lint_device(resource: Resource, entries: dict[str, Resource]) -> Iterator[str]:
    if len(resource["identifier"]) != 1:
        yield "more than one identifier"
    if any(not one.get("value") and "_value" not in one for one in resource["version"]):
        yield "a version without value"


def _lint_observation(resource: Resource, entries: dict[str, Resource]) -> Iterator[str]:
    def kind(reference: Resource | None) -> str | None:
        """The PHD profile of what a reference leads to, within the Bundle."""
        entry = entries.get((reference or {}).get("reference", ""))
        return entry["resource"]["meta"]["profile"][0].removeprefix(PHD) if entry else None

    (identifier,) = resource["identifier"]
    if identifier["system"] != OBSERVATION_IDENTIFIER or re.fullmatch("[0-9a-f]{32}", identifier["value"]) is None:
        yield f"identifier {identifier}"
    codings = resource["code"]["coding"]
    if codings[0]["system"] != MDC or _CODE.fullmatch(codings[0]["code"]) is None:
        yield "the first coding is not MDC"
    if any("display" in one and not one["display"] for one in codings):
        yield "an empty display"
    if _TIME.fullmatch(resource["effectiveDateTime"]) is None:
        yield f"effective {resource['effectiveDateTime']}"
    if is_time_stamp(resource):
        if kind(resource["subject"]) != "PhdDevice" or kind(resource["device"]) != "PhgDevice":
            yield "a time stamp is about the PHD, made by the PHG"
        if len({"valueDateTime", "valueQuantity", "dataAbsentReason"} & resource.keys()) != 1:
            yield "a time stamp has a time, or a count, or the reason why not"
        return
    if len({one["system"] for one in codings}) != len(codings):
        yield "two codings of one system (dk-core allows one)"
    yield from _lint_references(resource, kind)
    yield from _lint_values(resource)
    vital = VITAL_SIGNS.get(int(codings[0]["code"]))
    labelled = any(one["code"] == "vital-signs" for concept in resource["category"] for one in concept["coding"])
    about_patient = "Patient/" in resource["subject"]["reference"]
    if (vital is not None and about_patient) != labelled or labelled != (LOINC in {one["system"] for one in codings}):
        yield "a vital sign has category and LOINC code, and nothing else has"


def _lint_references(resource: Resource, kind: Any) -> Iterator[str]:
    extensions = {one["url"]: one["valueReference"] for one in resource["extension"]}
    if kind(extensions.get(GATEWAY_DEVICE)) != "PhgDevice" or kind(resource["device"]) != "PhdDevice":
        yield "gatewayDevice is not the PHG, or device not the PHD"
    if COINCIDENT_REFERENCE in extensions and (
        kind(extensions[COINCIDENT_REFERENCE]) != "PhdCoincidentTimeStampObservation"
    ):
        yield "a coincident time stamp that is not there"


def _lint_values(resource: Resource) -> Iterator[str]:
    code = resource["code"]["coding"][0]["code"]
    values = [name for name in _VALUES if name in resource]
    if len(values) + ("dataAbsentReason" in resource) > 1:
        yield "a value beside another, or beside the reason why there is none"
    components = resource.get("component", [])
    if not values and "dataAbsentReason" not in resource and not components:
        yield "says nothing"
    if resource["status"] == "entered-in-error" and values:
        yield "an invalid measurement with a value"
    for component in components:
        first = component["code"]["coding"][0]
        has = [name for name in _VALUES if name in component]
        if len(has) + ("dataAbsentReason" in component) != 1:
            yield f"component {first['code']} says nothing or two things"
        if "valueBoolean" in component:
            if first["system"] != ASN1 or re.fullmatch(rf"{code}\.[0-9]+", first["code"]) is None:
                yield f"bit {first['code']} in {code}"
        elif first["system"] != MDC:
            yield f"component {first['code']} without MDC"
        if first["code"] == "68193" and mdc_code(component["valueCodeableConcept"]) == 0:
            yield "a supplemental type that is no MDC code"
    for quantity in (resource.get("valueQuantity"), *(one.get("valueQuantity") for one in components)):
        if quantity is not None and (
            not isinstance(quantity["value"], (int, Decimal)) or quantity["unit"] != quantity["code"]
        ):
            yield f"quantity {quantity}"


@cache
def _validator() -> Any:
    path = SHARED / "tools" / "phdvalidate.py"
    spec = importlib.util.spec_from_file_location("phdvalidate", path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Validator()
