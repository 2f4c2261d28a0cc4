"""What an association has told so far, and what its reports therefore mean: for the manager and for recorded sessions.

Reports mean nothing without the configuration, the MDS (its clocks), the entry maps of segments, and whether the
association is a test. Whoever follows an association puts these in here as they come, and gets measurements out, with
test and demonstration data always apart.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from wire.errors import DecodeError
from wire.measurement import Measurement, MeasurementStatus
from wire.x73.apdu import EVENT_INFO_AT
from wire.x73.codes import UNKNOWN_PERSON, Attr
from wire.x73.dim import Configuration, read_all
from wire.x73.events import by_id
from wire.x73.mder import U16, U32, ListOf, Tolerated
from wire.x73.reports import ScanReport
from wire.x73.services import SegmentDataEvent, SegmentEntryMap, SegmentInfo, SegmentStatics
from wire.x73.times import decode_absolute, decode_base_offset

if TYPE_CHECKING:
    from wire.x73.measurements import ReportDecoder, Rhythm

_TEST: Final = frozenset({MeasurementStatus.TEST_DATA, MeasurementStatus.DEMO_DATA})
_STATICS: Final[ListOf[SegmentStatics]] = ListOf(SegmentStatics)
_SEGMENT_ENTRIES_AT: Final = EVENT_INFO_AT + 14
"""Where the entries begin in an APDU with segment data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """What a report means. With a `fault` it was not understood, and there is nothing."""

    measurements: tuple[Measurement, ...] = ()
    test_measurements: tuple[Measurement, ...] = ()
    fault: DecodeError | None = None


def _marked(measurement: Measurement) -> Measurement:
    """Wherever it goes from here, it says itself that it is no patient data."""
    if _TEST.intersection(measurement.status):
        return measurement
    return replace(measurement, status=(*measurement.status, MeasurementStatus.TEST_DATA))


class Understanding:
    """The context of one association's reports.

    With `decode` False nothing is decoded and every report means nothing: for a hub that passes evidence on, and need
    not load what decodes it.
    """

    def __init__(self, *, decode: bool = True) -> None:
        self._decode = decode
        self.configuration: Configuration | None = None
        self.test = False
        self._tolerated: list[Tolerated] = []
        self._decoder: ReportDecoder | None = None
        self._segments: dict[tuple[int, int], SegmentInfo] = {}

    def configure(self, configuration: Configuration, *, test: bool) -> None:
        """The configuration is agreed; what an earlier association said is forgotten."""
        self.configuration = configuration
        self.test = test
        self._segments.clear()
        if self._decode:
            from wire.x73.measurements import ReportDecoder  # noqa: PLC0415  a megabyte that only decoding needs

            self._decoder = ReportDecoder(configuration, tolerated=self._tolerated)

    def read_mds(self, attributes: Mapping[int, bytes]) -> None:
        """The MDS's attributes: its clocks give relative times a date."""
        if self._decoder is not None:
            from wire.x73.measurements import Clocks  # noqa: PLC0415  as above

            self._decoder.clocks = Clocks.of(attributes)

    def list_segments(self, handle: int, segments: Iterable[SegmentInfo]) -> None:
        """What the segments of a store hold."""
        self._segments |= {(handle, each.instance): each for each in segments}

    def listed(self, handle: int, instance: int) -> SegmentInfo | None:
        """What was said of one segment."""
        return self._segments.get((handle, instance))

    def end(self) -> None:
        """The association is over."""
        self._decoder = None
        self._segments.clear()

    def warnings(self) -> list[Tolerated]:
        """What was let pass since the last call."""
        tolerated = self._tolerated.copy()
        self._tolerated.clear()
        return tolerated

    def report(self, scan: ScanReport) -> Understood:
        """What a scan report means."""
        if not self._decode:
            return Understood()
        if self._decoder is None:
            return Understood(fault=DecodeError("no configuration is known", EVENT_INFO_AT))
        try:
            return self._divided(self._decoder.decode(scan, EVENT_INFO_AT))
        except DecodeError as error:
            return Understood(fault=error)

    def segment(self, handle: int, data: SegmentDataEvent) -> Understood:
        """What the entries of a segment mean."""
        if not self._decode:
            return Understood()
        try:
            return self._divided(self._entries(handle, data))
        except DecodeError as error:
            return Understood(fault=error)

    def _entries(self, handle: int, data: SegmentDataEvent) -> tuple[Measurement, ...]:
        if not data.entries:
            return ()
        segment = self._segments.get((handle, data.descr.instance))
        if segment is None or self._decoder is None:
            raise DecodeError(f"segment {data.descr.instance} was not listed", EVENT_INFO_AT)
        attributes = by_id(segment.attributes)
        entry_map = attributes.get(Attr.PM_SEG_MAP)
        if entry_map is None:
            raise DecodeError(f"segment {segment.instance} has no entry map", EVENT_INFO_AT)
        statics = attributes.get(Attr.PM_SEG_ELEM_STAT_ATTR)
        common: tuple[SegmentStatics, ...] = ()
        if statics is not None:
            common = read_all(_STATICS, statics, Attr.PM_SEG_ELEM_STAT_ATTR)
        person = attributes.get(Attr.PM_SEG_PERSON_ID)
        whose = UNKNOWN_PERSON if person is None else read_all(U16, person, Attr.PM_SEG_PERSON_ID)
        return self._decoder.decode_segment(
            SegmentEntryMap.decode(entry_map),
            data.entries,
            statics=common,
            person=None if whose == UNKNOWN_PERSON else whose,
            rhythm=self._rhythm(handle, attributes, data.descr.entry_index),
            offset=_SEGMENT_ENTRIES_AT,
        )

    def _rhythm(self, handle: int, segment: Mapping[int, bytes], first: int) -> "Rhythm | None":
        """When the entries of a periodic segment were. A start that no clock shows dates nothing, and costs no value."""
        from wire.x73.measurements import Rhythm  # noqa: PLC0415  as above

        store = None if self.configuration is None else self.configuration.by_handle.get(handle)
        period = segment.get(Attr.TIME_PD_SAMP, b"" if store is None else store.attributes.get(Attr.TIME_PD_SAMP, b""))
        for attribute, decode in ((Attr.TIME_START_SEG_BO, decode_base_offset), (Attr.TIME_START_SEG, decode_absolute)):
            with contextlib.suppress(DecodeError):
                start = decode(segment.get(attribute, b""))
                ticks = read_all(U32, period, Attr.TIME_PD_SAMP)
                return Rhythm(start=start, period_ticks=ticks, first=first) if ticks and start.known else None
        return None

    def _divided(self, measured: tuple[Measurement, ...]) -> Understood:
        """What may become patient data, and what is test or demonstration."""
        if self.test:
            return Understood(test_measurements=tuple(map(_marked, measured)))
        test = tuple(each for each in measured if _TEST.intersection(each.status))
        if not test:
            return Understood(measurements=measured)
        return Understood(
            measurements=tuple(each for each in measured if not _TEST.intersection(each.status)), test_measurements=test
        )
