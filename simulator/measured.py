"""measured.jsonl: one line for each measurement that a device handed to a subscriber, for anyone to compare with.

A line is written when the value has left the device, and is flushed at once, so that a reader may follow the file.
A measurement that is sent again (docs/simulator.md, `resend`) has one line, with the time of its first sending.
What is sent and shall not arrive as a result of this person (a pressure while the cuff inflates, the reading of another
person, garbage) has its line too, which says so.
A 20601 agent's line is the same: `characteristic` is the event type and `hex` the APDU that left, or of a stored
measurement the entry of its segment.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from simulator.values import Other, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line: whose and which device's measurement, its bytes and values, the device's time and when it was sent."""

    person: str
    device: str
    label: str
    kind: str
    characteristic: int
    data: bytes
    values: tuple[Value, ...]
    device_time: datetime | None
    sent: datetime
    others: tuple[Other, ...] = ()
    taken: datetime | None = None
    """When it was measured in truth, whatever the device's clock said; None: when the device's clock says."""
    expected: bool = True
    """Whether it shall arrive as a result of this person."""

    def line(self) -> str:
        """The JSON line, with values as strings that keep the device's precision."""
        document: dict[str, Any] = {
            "person": self.person,
            "device": self.device,
            "label": self.label,
            "kind": self.kind,
            "characteristic": f"{self.characteristic:04X}",
            "hex": self.data.hex(),
            "values": [
                {"code": value.code, "refid": value.refid, "value": str(value.value), "unit": value.unit}
                for value in self.values
            ],
            "device_time": self.device_time.replace(tzinfo=None).isoformat() if self.device_time else None,
            "sent": self.sent.isoformat(timespec="microseconds"),
        }
        if self.taken is not None:
            document["taken"] = self.taken.isoformat()
        if not self.expected:
            document["expected"] = False
        if self.others:
            document["others"] = [other.document() for other in self.others]
        return json.dumps(document, ensure_ascii=False) + "\n"


def read(path: Path) -> Iterator[Record]:
    """The records of a file, in the order of sending; a last line that is still being written is left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield _record(json.loads(line))


def _record(document: dict[str, Any]) -> Record:
    device_time = document["device_time"]
    return Record(
        person=document["person"],
        device=document["device"],
        label=document["label"],
        kind=document["kind"],
        characteristic=int(document["characteristic"], 16),
        data=bytes.fromhex(document["hex"]),
        values=tuple(
            Value(code=value["code"], refid=value["refid"], value=Decimal(value["value"]), unit=value["unit"])
            for value in document["values"]
        ),
        device_time=datetime.fromisoformat(device_time) if device_time else None,
        sent=datetime.fromisoformat(document["sent"]),
        others=tuple(Other.of(other) for other in document.get("others", ())),
        taken=datetime.fromisoformat(document["taken"]) if "taken" in document else None,
        expected=document.get("expected", True),
    )
