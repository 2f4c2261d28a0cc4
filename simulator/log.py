"""What happened, for people on a terminal and as JSON lines elsewhere.

Events are in the past tense and carry only these keys. Measured values and Bluetooth addresses are not among them,
though everybody here is fictional: logs look the same as the hub's and the bridge's, and are read side by side.
"""

import json
import sys
from datetime import UTC, datetime
from typing import TextIO

KEYS = frozenset({"adapter", "count", "device", "error", "fault", "kind", "reason", "path", "person", "process", "url"})


class Log:
    """Writes events to one stream; `person` and `device` are the scenario's own names for them."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._json = not self._stream.isatty()

    def __call__(self, event: str, **fields: object) -> None:
        if unknown := fields.keys() - KEYS:
            raise ValueError(f"not loggable: {', '.join(sorted(unknown))}")
        now = datetime.now(UTC)
        if self._json:
            line = json.dumps({"time": now.isoformat(timespec="milliseconds"), "event": event} | fields)
        else:
            details = "  ".join(f"{key}={value}" for key, value in fields.items())
            line = f"{now.astimezone():%H:%M:%S} {event.replace('_', ' '):28} {details}".rstrip()
        self._stream.write(line + "\n")
        self._stream.flush()
