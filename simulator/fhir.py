"""The clinician's side over HTTP: create patients, and read back what arrived. The only file here that imports httpx.

Numbers are read as `Decimal`: what is compared is what stands in the JSON, not what a float makes of it.
"""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import httpx

from simulator.people import Person

PAGE = 500
TIMEOUT_S = 30.0


class FhirError(Exception):
    """The FHIR server did not answer, or refused; the text says what it was asked for."""


class FhirClient:
    """A FHIR R4 server at `base_url`."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.Client(timeout=TIMEOUT_S, headers={"Accept": "application/fhir+json"})

    def close(self) -> None:
        self._http.close()

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
        self._ask("PUT", f"{self.base_url}/Patient/{someone.id}", patient)
        return f"Patient/{someone.id}"

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

    def read(self, reference: str) -> dict[str, Any]:
        """The resource at `Type/id`, or at an absolute URL of this server."""
        return self._get(reference if reference.startswith("http") else f"{self.base_url}/{reference}")

    def _get(self, url: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._ask("GET", url), parse_float=Decimal)
        return document

    def _ask(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> bytes:
        try:
            return self._http.request(method, url, json=body).raise_for_status().content
        except httpx.HTTPError as error:
            raise FhirError(f"{method} {url}: {error}") from error
