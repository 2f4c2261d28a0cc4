"""The FHIR server of the tests keeps what bridge tests rely on: it is real, survives a kill, and judges structure."""

from decimal import Decimal

import httpx
import pytest

from tests.fhir_server import FhirServer


def test_the_fhir_server_keeps_its_store_over_a_kill(fhir_server: FhirServer) -> None:
    fhir_server.put({"resourceType": "Patient", "id": "abc"})
    fhir_server.kill()
    fhir_server.restart()
    assert fhir_server.read("Patient/abc")["id"] == "abc"
    assert fhir_server.observations() == []


def test_the_fhir_server_refuses_what_is_no_observation(fhir_server: FhirServer) -> None:
    with pytest.raises(httpx.HTTPStatusError) as refused:
        fhir_server.put({"resourceType": "Observation", "id": "abc", "status": "final"})
    assert refused.value.response.status_code == 400


def test_the_fhir_server_finds_every_match_over_pages_with_exact_numbers(fhir_server: FhirServer) -> None:
    for number in range(3):
        fhir_server.put(
            {
                "resourceType": "Observation",
                "id": f"o{number}",
                "status": "final",
                "code": {"text": "weight"},
                "valueQuantity": {"value": 36.5},
            }
        )
    found = fhir_server.search("Observation", _count="2")
    assert [o["valueQuantity"]["value"] for o in found] == [Decimal("36.5")] * 3
