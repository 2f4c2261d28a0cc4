"""The FHIR server of the tests keeps what bridge tests rely on: it is real, and judges structure.

That it survives a kill is what `test_bridge_process` kills it for.
"""

from decimal import Decimal

import httpx
import pytest

from tests.fhir_server import FhirServer


def test_the_fhir_server_refuses_what_is_no_observation(shared_fhir_server: FhirServer) -> None:
    with pytest.raises(httpx.HTTPStatusError) as refused:
        shared_fhir_server.put({"resourceType": "Observation", "id": "abc", "status": "final"})
    assert refused.value.response.status_code == 400


def test_the_fhir_server_finds_every_match_over_pages_with_exact_numbers(shared_fhir_server: FhirServer) -> None:
    for number in range(3):
        shared_fhir_server.put(
            {
                "resourceType": "Observation",
                "id": f"pages-{number}",
                "status": "final",
                "code": {"text": "weight"},
                "subject": {"reference": "Patient/pages"},
                "valueQuantity": {"value": 36.5},
            }
        )
    found = shared_fhir_server.observations(subject="Patient/pages", _count="2")
    assert [o["valueQuantity"]["value"] for o in found] == [Decimal("36.5")] * 3
