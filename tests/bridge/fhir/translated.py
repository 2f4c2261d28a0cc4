"""Readings of the corpus as the bridge would write them, or why it would not."""

from typing import Any

import pytest

from bridge.fhir import Untranslatable
from bridge.fhir import json as fhir_json
from bridge.fhir.translate import Translated, bundle, translate_reading
from tests.bridge.fhir.corpus import COPENHAGEN, HUB, KEY, PATIENT
from wire.evidence import Evidence


def translate(evidence: Evidence, **changes: Any) -> Translated:
    """For the corpus's patient and hub, sealed as it was received; `changes` are arguments that shall be others."""
    arguments: dict[str, Any] = {
        "sealed": evidence.received,
        "hub": HUB,
        "patient": PATIENT,
        "timezone": COPENHAGEN,
        "identifier_key": KEY,
    }
    return translate_reading(evidence, **(arguments | changes))


def read_back(*several: Translated) -> dict[str, Any]:
    """The Bundle as it leaves the bridge, read back."""
    document: dict[str, Any] = fhir_json.loads(fhir_json.dumps(bundle(several)))
    return document


def reason(evidence: Evidence, **changes: Any) -> str:
    """Why it cannot be written."""
    with pytest.raises(Untranslatable) as refusal:
        translate(evidence, **changes)
    return refusal.value.reason
