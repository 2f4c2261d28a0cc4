"""What the bridge's tests ask for by name."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bridge.fhir import json as fhir_json
from bridge.fhir_target import Answer, FhirTarget
from tests.fhir_server import fhir_server, shared_fhir_server
from tests.phd import assert_all_conform

__all__ = ["fhir_server", "memory_path", "shared_fhir_server"]

MEMORY = Path("/dev/shm")  # noqa: S108 - only a place for a directory that `tempfile` makes


@pytest.fixture(autouse=True)
def every_resource_conforms(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever the bridge hands to its HTTP client in a test must satisfy its profiles."""
    sent: list[dict[str, Any]] = []
    write = FhirTarget.write

    async def judged(self: FhirTarget, bundle: Mapping[str, Any]) -> Answer:
        with contextlib.suppress(ValueError):  # what cannot be JSON is not sent either
            sent.extend(entry["resource"] for entry in fhir_json.loads(fhir_json.dumps(dict(bundle)))["entry"])
        return await write(self, bundle)

    monkeypatch.setattr(FhirTarget, "write", judged)
    yield
    assert_all_conform(sent)


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A directory that no disk slows down, for thousands of commits: no power is cut in a test that uses it."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Path(directory)
