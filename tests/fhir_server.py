"""The stage's independent FHIR R4 server (sekmet-fhir), for tests of one room: killed and restarted at will.

It validates what it receives (structure, strict), keeps its store on disk, and comes back on the same port.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulator.fhir import FhirClient
from simulator.stage.parts import fhir_server as stage_part
from simulator.stage.processes import steady_port
from tests.phd import assert_all_conform


class FhirServer:
    """One server on loopback; `start`, `kill` (SIGKILL), `restart` on the same port and store."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port or steady_port()
        self._process, self.base_url = stage_part(directory, self.port)
        self._client = FhirClient(self.base_url)

    def start(self, *, wait: bool = True) -> None:
        self._process.launch()
        if wait:
            self._process.wait_ready()

    def kill(self) -> None:
        """SIGKILL: what a power cut leaves."""
        self._process.kill()

    def stop(self) -> None:
        self._process.stop()

    def restart(self, *, wait: bool = True) -> None:
        self.stop()
        self.start(wait=wait)

    def close(self) -> None:
        self._client.close()
        self.stop()

    def search(self, resource_type: str, **parameters: str) -> list[dict[str, Any]]:
        """Every match, over all pages; numbers are Decimal."""
        return list(self._client.search(resource_type, **parameters))

    def observations(self, **parameters: str) -> list[dict[str, Any]]:
        return self.search("Observation", **parameters)

    def read(self, reference: str) -> dict[str, Any]:
        """The resource at `Type/id` or at an absolute URL of this server."""
        return self._client.read(reference)

    def put(self, resource: dict[str, Any]) -> None:
        """Store a resource under an id of ours, such as the patient of a test."""
        url = f"{self.base_url}/{resource['resourceType']}/{resource['id']}"
        httpx.put(url, json=resource, timeout=30).raise_for_status()

    def assert_conformant(self) -> None:
        """Whatever a test has written here through the bridge must satisfy its profiles."""
        if not self._process.running:
            self.start()
        assert_all_conform([*self.search("Observation"), *self.search("Device")])


@pytest.fixture
def fhir_server(tmp_path: Path) -> Iterator[FhirServer]:
    """A FHIR server of this test's own, started; the test may kill and restart it."""
    yield from _running(tmp_path)


@pytest.fixture(scope="session")
def shared_fhir_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirServer]:
    """A FHIR server for all tests that do with patients of their own; it is never killed."""
    yield from _running(tmp_path_factory.mktemp("stage"))


def _running(directory: Path) -> Iterator[FhirServer]:
    server = FhirServer(directory)
    try:
        server.start()
        yield server
        server.assert_conformant()
    finally:
        server.close()
