"""An agent's PM-store: segments of stored measurements, listed, transferred in portions, and cleared (20601 6.3.7)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wire.errors import WireError
from wire.x73.apdu import Attribute
from wire.x73.codes import Attr, SegmentStatus
from wire.x73.dim import attribute, encoded
from wire.x73.mder import U16, U32
from wire.x73.services import SegmentDataDescr, SegmentDataEvent, SegmentEntryMap, SegmentInfo

MAX_PORTION = 4_096
"""Bytes of entries in one event: far below an APDU's limit, so that a lost one costs little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One PM-segment: how its entries are laid out, and the entries, each of the map's size."""

    instance: int
    entry_map: SegmentEntryMap
    entries: tuple[bytes, ...]
    transfer_ticks: int = 60 * 8_000
    """How long the manager shall wait for each portion: of the segment, in eighths of a millisecond."""
    attributes: tuple[Attribute, ...] = ()

    def info(self) -> SegmentInfo:
        """What a listing says of it."""
        own = (
            attribute(Attr.ID_INSTNO, encoded(U16, self.instance)),
            attribute(Attr.PM_SEG_MAP, self.entry_map),
            attribute(Attr.OP_STAT, encoded(U16, 0)),
            attribute(Attr.SEG_USAGE_CNT, encoded(U32, len(self.entries))),
            attribute(Attr.TRANSFER_TIMEOUT, encoded(U32, self.transfer_ticks)),
        )
        return SegmentInfo(instance=self.instance, attributes=own + self.attributes)

    def portions(self) -> Iterator[SegmentDataEvent]:
        """The events that transfer it."""
        entries = self.entries
        start = 0
        while start < len(entries):
            end, size = start, 0
            while end < len(entries) and (size + len(entries[end]) <= MAX_PORTION or end == start):
                size += len(entries[end])
                end += 1
            status = (SegmentStatus.FIRST_ENTRY if start == 0 else SegmentStatus(0)) | (
                SegmentStatus.LAST_ENTRY if end == len(entries) else SegmentStatus(0)
            )
            descr = SegmentDataDescr(
                instance=self.instance, entry_index=start, entry_count=end - start, status=int(status)
            )
            yield SegmentDataEvent(descr=descr, entries=b"".join(entries[start:end]))
            start = end


@dataclass(slots=True, kw_only=True)
class Store:
    """A PM-store object's content."""

    handle: int
    segments: dict[int, Segment] = field(default_factory=dict)
    attributes: tuple[Attribute, ...] = ()

    def described(self, declared: Mapping[int, bytes]) -> tuple[Attribute, ...]:
        """What a GET says of it: as it was declared, and as it is now."""
        now = {each.id: each.value for each in self.attributes}
        now[Attr.NUM_SEG] = encoded(U16, len(self.segments))
        return tuple(Attribute(id=int(id_), value=value) for id_, value in {**declared, **now}.items())

    def add(self, segment: Segment) -> None:
        """Put a segment in; instance numbers are the store's keys."""
        if segment.instance in self.segments:
            raise WireError(f"segment {segment.instance} exists already")
        self.segments[segment.instance] = segment
