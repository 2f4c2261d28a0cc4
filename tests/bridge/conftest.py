"""What the bridge's tests ask for by name."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fhir_server import fhir_server, shared_fhir_server

__all__ = ["fhir_server", "memory_path", "shared_fhir_server"]

MEMORY = Path("/dev/shm")  # noqa: S108 - only a place for a directory that `tempfile` makes


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A directory that no disk slows down, for thousands of commits: no power is cut in a test that uses it."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Path(directory)
