"""The values that people write on the command line, each with a sentence for the one who wrote it wrongly."""

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bridge.fhir.translate import PATIENT
from wire.topics import is_hub_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def hub(text: str) -> str:
    """A hub's id."""
    if not is_hub_id(text):
        raise ArgumentTypeError(f"{text!a} is no hub id: 1 to 36 of a-z, 0-9 and hyphen")
    return text


def patient(text: str) -> str:
    """A reference to a Patient, relative to the FHIR server or absolute."""
    if PATIENT.fullmatch(text) is None:
        raise ArgumentTypeError(f"{text!a} is no reference to a patient, such as Patient/abc")
    return text


def address(*counts: int) -> Callable[[str], bytes]:
    """So many bytes in hexadecimal; with colons or, as labels and FHIR have it, hyphens between them, or with nothing."""

    def parse(text: str) -> bytes:
        if re.fullmatch(r"[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2})*", text):
            octets = bytes.fromhex(re.sub("[:-]", "", text))
            if len(octets) in counts:
                return octets
        size = " or ".join(str(count) for count in counts)
        example = "AA:BB:CC:DD:EE:FF:00:11"[: 3 * counts[0] - 1]
        raise ArgumentTypeError(f"{text!a} is not {size} bytes in hexadecimal, such as {example}")

    return parse


def user(text: str) -> int:
    """A device's own number of a user."""
    if not text.isascii() or not text.isdigit() or int(text) > 254:
        raise ArgumentTypeError(f"{text!a} is no user number: 0 to 254 (255 means that the device does not know)")
    return int(text)


def moment(text: str) -> datetime:
    """A time with its offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ArgumentTypeError(f"{text!a} is no time with its offset, such as 2026-11-21T08:00:00+01:00")
    return found


def moment_us(text: str) -> int:
    """The same in microseconds since 1970."""
    return (moment(text) - _EPOCH) // timedelta(microseconds=1)
