"""Events in the past tense with fixed keys: JSON lines on stderr, or plain text on a terminal.

Privacy by shape: a key that is not listed here is left out and only its name is shown (`unlisted`). There is no key
for values, patients, identifiers, device addresses or key material; what a FHIR server says about a resource goes to
quarantine and not here.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Final

LOGGER: Final = logging.getLogger("stafet.bridge")
LOGGER.addHandler(logging.NullHandler())  # a command that does not set the log up says only what it prints itself

KEYS: Final = frozenset(
    {
        "attempt",
        "batch",
        "client",
        "count",
        "delay_s",
        "detail",
        "epoch",
        "error",
        "fault",
        "first",
        "hub",
        "kid",
        "last",
        "ms",
        "next",
        "pending",
        "quarantined",
        "readings",
        "reason",
        "session",
        "status",
        "version",
        "where",
        "written",
    }
)
_FIELDS: Final = "stafet_fields"


def event(name: str, level: int = logging.INFO, **fields: object) -> None:
    """Log that `name` happened."""
    LOGGER.log(level, name, extra={_FIELDS: fields})


def fault(name: str, error: BaseException, **fields: object) -> None:
    """Log a fault of our own: its type and where it was raised, not its text, which may quote data."""
    frames = traceback.extract_tb(error.__traceback__)
    where = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames[-4:])
    event(name, logging.ERROR, error=type(error).__name__, where=where, **fields)


def set_up(*, terminal: bool | None = None) -> None:
    """Send events to stderr: text if that is a terminal, else JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        TextFormatter() if (sys.stderr.isatty() if terminal is None else terminal) else JsonFormatter()
    )
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": moment, "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps(line | listed(record), ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For people at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        words = " ".join(f"{key}={value}" for key, value in listed(record).items())
        mark = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return f"{moment} {mark}{record.getMessage().replace('_', ' ')}  {words}".rstrip()


def listed(record: logging.LogRecord) -> dict[str, object]:
    """The fields that may be shown, bytes as the first 8 hex digits."""
    fields: dict[str, object] = getattr(record, _FIELDS, {})
    shown: dict[str, object] = {
        key: value[:4].hex() if isinstance(value, bytes) else value if isinstance(value, int | float) else str(value)
        for key, value in fields.items()
        if key in KEYS and value is not None
    }
    unlisted = sorted(fields.keys() - KEYS)
    return shown | {"unlisted": unlisted} if unlisted else shown
