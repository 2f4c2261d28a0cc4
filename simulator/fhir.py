"""The clinician's side over HTTP: create patients, and read back what arrived. The only file here that imports httpx.

Numbers are read as `Decimal`: what is compared is what stands in the JSON, not what a float makes of it.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx

from simulator.people import Person

PAGE = 500
TIMEOUT_S = 30.0


class FhirClient:
    """A FHIR R4 server at `base_url`."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.Client(timeout=TIMEOUT_S, headers={"Accept": "application/fhir+json"})

    def close(self) -> None:
        self._http.close()

    def answers(self) -> bool:
        """Whether the server answers at all."""
        try:
            return self._http.get(f"{self.base_url}/Patient?_summary=count").is_success
        except httpx.HTTPError:
            return False

    def put_patient(self, someone: Person) -> str:
        """Create or update the Patient of a simulated person; its reference."""
        given, _, family = someone.name.rpartition(" ")
        patient = {
            "resourceType": "Patient",
            "id": someone.id,
            "name": [{"text": someone.name, "family": family, "given": given.split()}],
            "gender": someone.sex,
            "birthDate": str(someone.born),
        }
        self._http.put(f"{self.base_url}/Patient/{someone.id}", json=patient).raise_for_status()
        return f"Patient/{someone.id}"

    def count(self, resource_type: str) -> int:
        """How many resources of a type there are."""
        total = self._get(f"{self.base_url}/{resource_type}?_summary=count").get("total", 0)
        return int(total)

    def search(self, resource_type: str, **parameters: str) -> Iterator[dict[str, Any]]:
        """Every match, over all pages."""
        query = httpx.QueryParams({"_count": str(PAGE)} | parameters)
        url: str | None = f"{self.base_url}/{resource_type}?{query}"
        while url:
            page = self._get(url)
            for entry in page.get("entry", ()):
                if entry.get("search", {}).get("mode", "match") == "match":
                    yield entry["resource"]
            url = next((link["url"] for link in page.get("link", ()) if link["relation"] == "next"), None)

    def _get(self, url: str) -> dict[str, Any]:
        answer = self._http.get(url).raise_for_status()
        document: dict[str, Any] = json.loads(answer.content, parse_float=Decimal)
        return document
