"""The vectors in tests/vectors: device bytes with what they mean, each with its source and licence."""

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from wire.services import parse_uuid

FOLDER = Path(__file__).parent.parent / "vectors"


@dataclass(frozen=True)
class Vector:
    """One vector; numbers in `expected` are exact decimals."""

    id: str
    source: str
    licence: str
    kind: str
    hex: str
    expected: dict[str, Any]
    note: str = ""
    device: str = ""
    name: str = ""

    @property
    def value(self) -> bytes:
        return bytes.fromhex(self.hex)

    @property
    def characteristic(self) -> int:
        assert self.kind.startswith("gatt:")
        return int(self.kind.removeprefix("gatt:"), 16)

    @property
    def uuid(self) -> int | bytes:
        assert self.kind.startswith("gatt:")
        return parse_uuid(self.kind.removeprefix("gatt:"))

    def __str__(self) -> str:
        return self.id


def load(name: str) -> list[Vector]:
    """All vectors of one file."""
    return [Vector(**item) for item in json.loads((FOLDER / name).read_text("utf-8"), parse_float=Decimal)]
