"""Portions of stored segments that the outbox has had already: an agent that keeps its store sends it at each association.

A portion is known by what gives its entries their meaning (entry map, static attributes, person) and by the entries
themselves. That names measurements only where every entry has a date of its own, and a date that is set; any other
portion is taken again, and the bridge knows its measurements by what they say. What is remembered lies in the store,
written in the same transaction as the reading (`Outbox.put_noted`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import Final, Protocol

from edge.store import Recalled
from edge.x73.association import Told
from wire.errors import DecodeError
from wire.x73.codes import Attr
from wire.x73.events import SegmentData, by_id
from wire.x73.services import SegmentEntryMap

_SOURCE: Final = b"\x00pm-store"
_DATED: Final = 0x9000
"""SegmEvtHdr (A.11.7): an absolute or base-offset time before each entry."""
_UNSET: Final = bytes(8)
_MEANING: Final = (Attr.PM_SEG_MAP, Attr.PM_SEG_ELEM_STAT_ATTR, Attr.PM_SEG_PERSON_ID)


class Memory(Protocol):
    """What the outbox remembers beside readings (`edge.outbox.Outbox`)."""

    def put_noted(self, encoded: bytes, *, source: bytes, notes: Sequence[bytes]) -> int: ...

    def recall(self, source: bytes) -> Recalled: ...


class Portions:
    """What is remembered of all agents' stores."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._known: dict[bytes, set[bytes]] = {}

    def forget(self, system_id: bytes) -> None:
        """Ask the outbox again: after damage it has perhaps lost what was remembered, and the readings with it."""
        self._known.pop(system_id, None)

    def known(self, told: Told) -> bool:
        """Whether the outbox has had this. May raise OutboxError."""
        digest = _digest(told)
        return digest is not None and digest in self._of(told.system_id)

    def put(self, told: Told) -> Callable[[bytes], int] | None:
        """How to commit it so that it is remembered; None: as any other."""
        digest = _digest(told)
        return None if digest is None else partial(self._put, told.system_id, digest)

    def _put(self, system_id: bytes, digest: bytes, encoded: bytes) -> int:
        seq = self._memory.put_noted(encoded, source=system_id + _SOURCE, notes=(digest,))
        if system_id in self._known:  # else it is read with the others; what fails from here on must not undo a commit
            self._known[system_id].add(digest)
        return seq

    def _of(self, system_id: bytes) -> set[bytes]:
        if system_id not in self._known:
            self._known[system_id] = set(self._memory.recall(system_id + _SOURCE).notes)
        return self._known[system_id]


def _digest(told: Told) -> bytes | None:
    data = told.report
    if not isinstance(data, SegmentData) or data.segment is None or _UNSET in data.entries:
        return None
    attributes = by_id(data.segment.attributes)
    try:
        if not SegmentEntryMap.decode(attributes.get(Attr.PM_SEG_MAP, b"")).header & _DATED:
            return None
    except DecodeError:
        return None
    meaning = b"".join(len(value).to_bytes(2, "big") + value for value in (attributes.get(a, b"") for a in _MEANING))
    where = data.handle.to_bytes(2, "big") + data.descr.instance.to_bytes(2, "big")
    return sha256(where + meaning + data.entries).digest()[:16]
