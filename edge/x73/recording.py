"""Recorded 20601 sessions: one APDU in hexadecimal a line, `A>M` or `M>A` before it, `#` for comments.

Rules of this file.
1. A recording names nobody: system-ids, serial numbers and attributes of the manufacturer's own are overwritten, each by
   as many fixed bytes, so that everything else stays as it was said. What is no APDU is left out, because nobody can
   tell what stands in it.
2. Bytes may stand as people write them (capitals, spaces, colons, 0x); of what they say the first fault ends reading,
   with its line and byte.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TextIO

from wire.errors import DecodeError
from wire.measurement import Measurement
from wire.x73.apdu import (
    PROTOCOL_20601,
    Aare,
    Aarq,
    Apdu,
    Attribute,
    EventReport,
    GetResult,
    PhdAssociation,
    Prst,
    association_of,
    decode_apdu,
)
from wire.x73.codes import MDS_HANDLE, Attr, Noti
from wire.x73.framing import Framer
from wire.x73.mder import Tolerated
from wire.x73.services import ProductionSpec
from wire.x73.transcript import Transcript

FROM_AGENT: Final = "A>M"
FROM_MANAGER: Final = "M>A"
MAX_APDUS: Final = 100_000
"""In one recording: a day of an oximeter that reports each second."""

_LINE: Final = re.compile(r"\s*((?:(?:A>M|M>A):?)?)([^#]*)(?:#.*)?", re.DOTALL | re.IGNORECASE)
_BETWEEN: Final = re.compile(r"(?:^|[\s:,_-]+)(?:0[xX])?")
"""What may stand between bytes, and before the first."""
_BOM: Final = "\xef\xbb\xbf"
"""What some editors begin a file with, as Latin-1."""
_PRIVATE: Final = 0xF000
"""Attributes from here on are the manufacturer's own, and may hold a serial number."""


class RecordingError(Exception):
    """The recording has a fault; the text says at which line and byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a recording says."""

    apdus: int
    measurements: tuple[Measurement, ...]
    """Test data are among them, with the status `test-data` or `demo-data`."""
    tolerated: tuple[tuple[int, Tolerated], ...]
    """What was let pass, with its line."""


def replay(lines: Iterable[str]) -> Replayed:
    """A recording's measurements, in the order in which they were reported; RecordingError at its first fault."""
    transcript = Transcript()
    measurements: list[Measurement] = []
    tolerated: list[tuple[int, Tolerated]] = []
    count = 0
    for number, raw in _apdus(lines):
        count += 1
        if count > MAX_APDUS:
            raise _fault(number, f"more than {MAX_APDUS} APDUs at byte 0", "divide the file between two associations")
        heard = transcript.hear(raw)
        if heard.fault is not None:
            begun_late = transcript.configuration is None and _is_report(heard.apdu)
            raise _fault(number, str(heard.fault), _WHOLE if begun_late else _MEND)
        measurements += heard.measurements + heard.test_measurements
        tolerated += ((number, each) for each in heard.tolerated)
    return Replayed(apdus=count, measurements=tuple(measurements), tolerated=tuple(tolerated))


def _apdus(lines: Iterable[str]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line.removeprefix(_BOM))
        direction, text = ("", line) if match is None else match.groups()
        digits = _BETWEEN.sub("", text)
        if not digits and direction:
            raise _fault(number, "no APDU at byte 0")
        if not digits:
            continue
        bad = re.search("[^0-9A-Fa-f]", digits)
        if bad is not None:
            raise _fault(number, f"{bad[0]!a} is not hexadecimal at byte {bad.start() // 2}")
        if len(digits) % 2:
            raise _fault(number, f"half a byte at byte {len(digits) // 2}")
        yield number, bytes.fromhex(digits)


def _is_report(apdu: Apdu | None) -> bool:
    return (
        isinstance(apdu, Prst) and isinstance(apdu.message, EventReport) and apdu.message.event_type != int(Noti.CONFIG)
    )


_MEND: Final = "correct the line, or put # before it"
_WHOLE: Final = "put the association before it, with the agent's configuration report"


def _fault(line: int, what: str, action: str = _MEND) -> RecordingError:
    return RecordingError(f"line {line}: {what}; {action}")


class Recorder:
    """Writes one connection's APDUs as they come; the file, at what `path` says then, is made with the first of them."""

    def __init__(self, path: Callable[[], Path]) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._framers = {FROM_AGENT: Framer(), FROM_MANAGER: Framer()}

    def said(self, direction: str, data: bytes) -> None:
        """Bytes that went over the wire, in any portions; OSError if they cannot be written."""
        apdus, fault = self._framers[direction].feed(data)
        for raw in apdus:
            try:
                self._write(f"{direction} {redacted(raw).hex()}")
            except DecodeError as error:
                self._write(f"# {direction} {len(raw)} bytes that are no APDU were left out: {error}")
        if fault is not None and data:
            self._write(f"# {direction} {len(data)} bytes with or after a fault were left out: {fault}")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, line: str) -> None:
        if self._file is None:
            # Vital values: for the owner alone, and never over another recording.
            descriptor = os.open(self._path(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(descriptor, "w", encoding="ascii", errors="backslashreplace")
        self._file.write(line + "\n")
        self._file.flush()


def redacted(raw: bytes) -> bytes:
    """An APDU of the same size that names neither device nor hub; DecodeError if it is none."""
    apdu = decode_apdu(raw, [])
    for found, replacement in _names(apdu):
        raw = raw.replace(found, replacement, 1)
    return raw


def _names(apdu: Apdu) -> Iterator[tuple[bytes, bytes]]:
    """What names somebody, each with the length before it, and what stands there instead."""
    if isinstance(apdu, Aarq | Aare):
        for protocol in apdu.protocols if isinstance(apdu, Aarq) else ():
            if protocol.id != PROTOCOL_20601:
                yield protocol.encode(), replace(protocol, info=bytes(len(protocol.info))).encode()
        peer = _peer(apdu)
        if peer is not None and peer.system_id:
            size = len(peer.system_id).to_bytes(2, "big")
            yield size + peer.system_id, size + bytes(len(peer.system_id))
    elif isinstance(apdu, Prst) and isinstance(apdu.message, GetResult) and apdu.message.handle == MDS_HANDLE:
        for attribute in apdu.message.attributes:
            value = attribute.value
            if attribute.id == Attr.SYS_ID or attribute.id >= _PRIVATE:
                # The octet string of a system-id states its own size, which stays.
                kept = 2 if attribute.id == Attr.SYS_ID else 0
                yield _replaced(attribute, value[:kept] + bytes(len(value[kept:])))
            elif attribute.id == Attr.ID_PROD_SPECN:
                yield _replaced(attribute, _without_serials(value))


def _peer(apdu: Aarq | Aare) -> PhdAssociation | None:
    if isinstance(apdu, Aarq):
        return association_of(apdu)
    try:
        return PhdAssociation.decode(apdu.protocol.info) if apdu.protocol.info else None
    except DecodeError:
        return None


def _replaced(attribute: Attribute, value: bytes) -> tuple[bytes, bytes]:
    changed = Attribute(id=attribute.id, value=value)
    return attribute.encode(), changed.encode()


def _without_serials(value: bytes) -> bytes:
    """All strings of a production specification: serial numbers stand under several of its kinds."""
    try:
        entries = ProductionSpec.decode(value).entries
    except DecodeError:
        return bytes(len(value))
    same = (replace(entry, spec=b"0" * len(entry.spec)) for entry in entries)
    return ProductionSpec(entries=tuple(same)).encode()
