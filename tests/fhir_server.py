"""A real, independent FHIR R4 server (sekmet-fhir) in a process of its own: killed and restarted at will.

It validates what it receives (structure, strict), keeps its store on disk, and comes back on the same port. The port
lies below the kernel's ephemeral range, so that no outgoing connection takes it while the server is dead.
"""

import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from json import loads
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.phd import assert_all_conform
from tests.support import eventually, stop

SETTINGS = """\
base_url: {base_url}
db_path: {directory}/fhir.db
data_dir: {directory}
log_inbound: false
validation: {{inbound: {validation}}}
simulator: {{enabled: false}}
server_auth: {{types: [none]}}
"""


def steady_port() -> int:
    """A TCP port on 127.0.0.1 that is free now and that the kernel hands to nobody by itself."""
    for _ in range(100):
        port = random.randint(20_000, 30_000)  # noqa: S311 - a port, not a secret
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 20000 and 30000")


class FhirServer:
    """One sekmet-fhir on loopback; `start`, `kill` (SIGKILL), `restart` on the same port and store."""

    def __init__(self, directory: Path, *, port: int | None = None, validation: str = "strict") -> None:
        self.port = port or steady_port()
        self.base_url = f"http://127.0.0.1:{self.port}/fhir"
        self.directory = directory
        self.log = directory / "sekmet.log"
        self._settings = directory / "settings.yaml"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self._settings.write_text(
            SETTINGS.format(base_url=self.base_url, directory=directory, validation=validation), encoding="utf-8"
        )

    def start(self, *, wait: bool = True) -> None:
        program = Path(sys.executable).with_name("sekmet")
        if not program.exists():
            pytest.fail("sekmet is not in this environment: make setup")
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(program), "serve", "-c", str(self._settings), "--host", "127.0.0.1", "--port", str(self.port)],
                cwd=self.directory,
                stdout=output,
                stderr=output,
            )
        if wait:
            eventually(self.answers, within_s=30, what="sekmet answers")

    def answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail(f"sekmet ended with status {self._process.returncode}: {self.log.read_text()[-2000:]}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL: what a power cut leaves."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)

    def restart(self, *, wait: bool = True) -> None:
        self.stop()
        self.start(wait=wait)

    def search(self, resource_type: str, **parameters: str) -> list[dict[str, Any]]:
        """Every match, over all pages; numbers are Decimal."""
        query = httpx.QueryParams({"_count": "500", **parameters})
        url: str | None = f"{self.base_url}/{resource_type}?{query}"
        found: list[dict[str, Any]] = []
        while url:
            page = self._get(url)
            found += [e["resource"] for e in page.get("entry", ()) if e.get("search", {}).get("mode") == "match"]
            url = next((link["url"] for link in page.get("link", ()) if link["relation"] == "next"), None)
        return found

    def observations(self, **parameters: str) -> list[dict[str, Any]]:
        return self.search("Observation", **parameters)

    def read(self, reference: str) -> dict[str, Any]:
        """The resource at `Type/id` or at an absolute URL of this server."""
        url = reference if reference.startswith("http") else f"{self.base_url}/{reference}"
        return self._get(url)

    def put(self, resource: dict[str, Any]) -> None:
        """Store a resource under an id of ours, such as the patient of a test."""
        url = f"{self.base_url}/{resource['resourceType']}/{resource['id']}"
        httpx.put(url, json=resource, timeout=30).raise_for_status()

    def assert_conformant(self) -> None:
        """Whatever a test has written here through the bridge must satisfy its profiles."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        assert_all_conform([*self.search("Observation"), *self.search("Device")])

    @staticmethod
    def _get(url: str) -> dict[str, Any]:
        answer = httpx.get(url, timeout=30).raise_for_status()
        document: dict[str, Any] = loads(answer.content, parse_float=Decimal)
        return document


@pytest.fixture
def fhir_server(tmp_path: Path) -> Iterator[FhirServer]:
    """A FHIR server of this test's own, started; the test may kill and restart it."""
    server = FhirServer(tmp_path / "fhir")
    try:
        server.start()
        yield server
        server.assert_conformant()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def shared_fhir_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirServer]:
    """A FHIR server for many tests, each with patients of its own; it is never killed."""
    server = FhirServer(tmp_path_factory.mktemp("fhir"))
    try:
        server.start()
        yield server
        server.assert_conformant()
    finally:
        server.stop()
