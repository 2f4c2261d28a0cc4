"""One line per event on stderr: JSON for the journal, text where a person looks on.

Privacy by shape: an event has a past-tense name and fields from one allow-list, `KEYS`. What is not on the list is not
written; only its name is, so that it is missed. Nothing on the list can carry a measured value, a key, a person or a
Bluetooth address in clear (`address_hash` is for that). Lines of libraries are kept from WARNING up, with anything
that looks like an address replaced.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, TextIO, TypeAlias

Field: TypeAlias = str | int | float | bool | None

KEYS: Final = frozenset(
    {
        # who and where
        "adapter", "broker", "device", "epoch", "file", "host", "hub", "kid", "port", "signal", "source", "task",
        "version",
        # which readings
        "bytes", "characteristic", "count", "digest", "first", "held", "ignored", "known", "last", "missing", "next",
        "oldest", "pending", "readings", "seq",
        # how it went
        "after_s", "age_s", "at", "attempt", "cause", "code", "connected", "delay_s", "detail", "devices", "elapsed_ms",
        "ended", "error", "line", "off_s", "reason", "resent", "sent", "state", "text", "uncertainty_ms", "within_s",
    }
)  # fmt: skip
"""What an event may say."""

MAX_TEXT: Final = 300
"""Characters of one field: a line must fit a journal entry, whatever a library puts into its message."""

_LOGGER: Final = logging.getLogger("stafet")
_ADDRESS: Final = re.compile(r"(?i)(?<![0-9a-f])[0-9a-f]{2}(?:[:_-][0-9a-f]{2}){5}(?![0-9a-f])")


def event(name: str, level: int = logging.INFO, **fields: Field) -> None:
    """Log what has happened: `event("batch_sent", first=1, last=3)`."""
    if _LOGGER.isEnabledFor(level):
        _LOGGER.log(level, name, extra={"fields": fields}, stacklevel=2)


def address_hash(address: bytes) -> str:
    """How a device is named in logs and status: enough to tell ten devices apart, not to find one."""
    return sha256(address).hexdigest()[:8]


def _without_addresses(text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        return address_hash(bytes.fromhex(re.sub("[:_-]", "", match[0])))

    return _ADDRESS.sub(replace, text)[:MAX_TEXT]


def _safe(value: Field) -> Field:
    return _without_addresses(value) if isinstance(value, str) else value


def _content(record: logging.LogRecord) -> tuple[str, dict[str, Field | list[str]]]:
    """The event's name and the fields that may be written."""
    fields: Mapping[str, Field] | None = getattr(record, "fields", None)
    if fields is None:
        said: dict[str, Field | list[str]] = {
            "source": record.name,
            "line": record.lineno,
            "text": _without_addresses(record.getMessage()),
        }
        if record.exc_info and record.exc_info[0] is not None:
            said["error"] = record.exc_info[0].__name__
        return "library_warned", said
    content: dict[str, Field | list[str]] = {key: _safe(value) for key, value in fields.items() if key in KEYS}
    if unlisted := sorted(fields.keys() - KEYS):
        content["unlisted"] = unlisted
    return record.getMessage(), content


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        name, content = _content(record)
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {"time": moment.replace("+00:00", "Z"), "level": record.levelname.lower(), "event": name}
        return json.dumps(head | content, ensure_ascii=False, separators=(",", ":"))


class Console(logging.Formatter):
    """The same for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        name, content = _content(record)
        moment = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        mark = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        details = "".join(f"  {key}={value}" for key, value in content.items()).replace("\n", " ")
        return f"{moment} {mark}{name.replace('_', ' ')}{details}"


class _FromWarningsUp(logging.Filter):
    """Ours at any level, libraries only when they warn."""

    def filter(self, record: logging.LogRecord) -> bool:
        return hasattr(record, "fields") or record.levelno >= logging.WARNING


def set_up(stream: TextIO | None = None) -> None:
    """Send every event of this process to `stream` (stderr)."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Console() if stream.isatty() else JsonLines())
    handler.addFilter(_FromWarningsUp())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _LOGGER.setLevel(logging.INFO)
