"""What the bridge's tests ask for by name."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bridge.fhir import json as fhir_json
from bridge.fhir_target import Answer, FhirTarget
from tests import phd
from tests.bridge.fake_fhir import FakeFhir
from tests.bridge.hub import Hub
from tests.bridge.rig import enrol
from tests.fhir_server import fhir_server, shared_fhir_server

__all__ = ["fhir_server", "memory_path", "shared_fhir_server"]

MEMORY = Path("/dev/shm")  # noqa: S108 - only a place for a directory that `tempfile` makes


@pytest.fixture(autouse=True)
def every_resource_conforms(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever the bridge hands to its HTTP client in a test must satisfy its profiles."""
    sent: set[bytes] = set()
    write = FhirTarget.write

    async def judged(self: FhirTarget, bundle: Mapping[str, Any]) -> Answer:
        with contextlib.suppress(ValueError):  # what cannot be JSON is not sent either
            sent.add(fhir_json.dumps(dict(bundle)))
        return await write(self, bundle)

    monkeypatch.setattr(FhirTarget, "write", judged)
    yield
    phd.assert_all_conform(entry["resource"] for each in sent for entry in fhir_json.loads(each)["entry"])


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """A hub that the ledger in `tmp_path` knows."""
    hub = Hub()
    enrol(tmp_path, hub)
    return hub


@pytest.fixture
def fhir() -> Iterator[FakeFhir]:
    """Whatever it is sent keeps to the profiles."""
    server = FakeFhir()
    yield server
    if server.bundles:
        phd.assert_conformant(server.bundles[0])
        phd.assert_conformant(server.bundles[-1])


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A directory that no disk slows down, for thousands of commits: no power is cut in a test that uses it."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Path(directory)
