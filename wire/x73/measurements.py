"""From observations to measurements: what a scan report or a PM-segment means under its configuration.

A report is understood whole or not at all: a length that fits no layout is a `DecodeError` that names the observation,
because the evidence stays and half a report would look like a whole one (one report is one reading, with one outcome).
Attributes that nobody here knows pass without harm, and what an agent reports beyond its specialization passes with its
MDC code. A time on no calendar costs the reading its time and not its value, if the caller hands in a list for what was
tolerated: agents that write hours in binary are in the field.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wire.errors import DecodeError
from wire.measurement import DeviceTime, Measurement
from wire.x73.codes import LASTING, MDS_HANDLE, Attr
from wire.x73.dim import HANDLE_MAPS, VALUE_MAP, Configuration, DimObject, read_all
from wire.x73.mder import U32, Reader, Tolerance, Tolerated
from wire.x73.reports import MapEntry, ObservationVar, PersonScan, ScanReport
from wire.x73.services import SegmentElement, SegmentEntryMap, SegmentStatics
from wire.x73.times import ABSOLUTE_BYTES, RELATIVE_TICK_US, decode_absolute, decode_base_offset, relative_tick_us
from wire.x73.values import CONTENTS, FRAMING, Content, Layout, Metric, measure

_WRAP_TICKS: Final = 1 << 32
_WRAP_US: Final = 1 << 64
# Plain integers: a member of an enum costs twice a dictionary's lookup.
_STAMP_BO: Final = int(Attr.TIME_STAMP_BO)
_UNIT_CODE: Final = int(Attr.UNIT_CODE)
_STAMP_ABS: Final = int(Attr.TIME_STAMP_ABS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """What the agent's clocks showed at one moment, as GET MDS returned it: only that gives a relative time a date."""

    absolute: DeviceTime | None = None
    relative: int | None = None
    relative_tick_us: int = RELATIVE_TICK_US
    high_resolution: int | None = None

    @classmethod
    def of(cls, attributes: Mapping[int, bytes]) -> "Clocks":
        """From the attributes of the MDS; a clock that it does not show properly is one that it does not have."""
        absolute: DeviceTime | None = None
        for attribute, decode in ((Attr.TIME_BO, decode_base_offset), (Attr.TIME_ABS, decode_absolute)):
            if absolute is None and (raw := attributes.get(attribute)) is not None:
                try:
                    absolute = decode(raw)
                except DecodeError:
                    continue
                absolute = absolute if absolute.known else None
        relative, high = attributes.get(Attr.TIME_REL, b""), attributes.get(Attr.TIME_REL_HI_RES, b"")
        return cls(
            absolute=absolute,
            relative=int.from_bytes(relative, "big") if len(relative) == 4 else None,
            relative_tick_us=relative_tick_us(attributes),
            high_resolution=int.from_bytes(high, "big") if len(high) == 8 else None,
        )

    def at_relative(self, ticks: int) -> DeviceTime | None:
        """When a RelativeTime was; the counter wraps after 6.2 days, so the nearest such moment is meant."""
        if self.absolute is None or self.relative is None:
            return None
        return self.absolute.shifted(us=_nearest(ticks - self.relative, _WRAP_TICKS) * self.relative_tick_us)

    def at_high_resolution(self, us: int) -> DeviceTime | None:
        """When a HighResRelativeTime was."""
        if self.absolute is None or self.high_resolution is None:
            return None
        return self.absolute.shifted(us=_nearest(us - self.high_resolution, _WRAP_US))


def _nearest(difference: int, wrap: int) -> int:
    return (difference + wrap // 2) % wrap - wrap // 2


_UNREADABLE: Final = DeviceTime(year=0, month=0, day=0, hour=0, minute=0, second=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """When entries without a time of their own were: a segment's start, and the sample period of it or its store."""

    start: DeviceTime
    period_ticks: int
    first: int
    """The number in the segment of the first entry here."""

    def at(self, index: int) -> DeviceTime | None:
        """When the entry with this number, counted from the first one here, was."""
        return self.start.shifted(us=(self.first + index) * self.period_ticks * RELATIVE_TICK_US)


_OF_ITSELF: Final = Layout(entries=(), quick=None, warning=None)
"""What an agent reports of itself, its battery: the MDS tells the map, and it is no measurement."""


class ReportDecoder:
    """Decodes the reports of one association, in the order in which they came."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        clocks: Clocks | None = None,
        tolerated: list[Tolerated] | None = None,
    ) -> None:
        self.configuration = configuration
        self.clocks = clocks or Clocks()
        self._tolerated = tolerated
        self._metrics: dict[int, Metric] = {}
        self._stamp = b""
        self._time: DeviceTime | None = None
        self._groups: dict[int, list[tuple[Metric, Layout, int]]] = {}

    def decode(self, report: ScanReport, offset: int = 0) -> tuple[Measurement, ...]:
        """What a scan report says; `offset` is where its event-info begins in the APDU, for the place of a fault."""
        measurements: list[Measurement] = []
        for scan in report.scans:
            self._scan(report, scan, offset, measurements)
        return tuple(measurements)

    def _scan(self, report: ScanReport, scan: PersonScan, offset: int, out: list[Measurement]) -> None:
        for fixed in scan.fixed:
            data = fixed.data
            try:
                metric, layout = self._layout(fixed.handle, len(data), offset)
                if layout.warning is not None:
                    self._let_pass(*layout.warning, offset)
                if layout.quick is None:
                    self._observe(metric, layout.slices(data), offset, scan.person, out)
                    continue
                content, start, end, stamp = layout.quick
                time = None
                if stamp is not None:
                    raw = data[stamp:]
                    # The observations of one report mostly share their time.
                    if raw != self._stamp:
                        try:
                            self._time, self._stamp = decode_absolute(raw, offset), raw
                        except DecodeError as error:
                            self._time, self._stamp = self._unreadable(raw, error), raw
                    time = self._time
                measured = content(metric, data[start:end], offset, (time, (), scan.person))
            except DecodeError as error:
                raise _of(error, scan.fixed.index(fixed), fixed.handle) from None
            if measured is not None:
                out.append(measured)
        for variable in scan.variable:
            try:
                self._variable(variable, scan.person, offset, out)
            except DecodeError as error:
                raise _of(error, scan.variable.index(variable), variable.handle) from None
        for grouped in scan.grouped:
            self._grouped(report.handle, grouped, offset, scan.person, out)

    def _variable(self, scanned: ObservationVar, person: int | None, offset: int, out: list[Measurement]) -> None:
        """An observation that names its attributes. Mostly it is a value, a time, and a unit that did not change."""
        metric = self._metrics.get(scanned.handle)
        if metric is None or scanned.handle not in self.configuration.by_handle:
            reported = {each.id: each.value for each in scanned.attributes}
            metric = self._described(scanned.handle, reported, offset)
            if metric is not None:
                self._observe(metric, reported, offset, person, out)
            return
        content: Content | None = None
        value, stamp = b"", None
        for each in scanned.attributes:
            id_ = each.id
            found = CONTENTS.get(id_)
            if found is not None and content is None:
                content, value = found, each.value
            elif id_ == _STAMP_ABS and stamp is None:
                stamp = each.value
            elif id_ == _UNIT_CODE:
                metric.change_unit(each.value)
            elif found is not None or id_ in FRAMING or (id_ in LASTING and metric.attributes.get(id_) != each.value):
                reported = {each.id: each.value for each in scanned.attributes}
                self._observe(metric, reported, offset, person, out)
                return
        if content is not None:
            try:
                time = None if stamp is None else decode_absolute(stamp, offset)
            except DecodeError as error:
                time = self._unreadable(stamp, error)
            measured = content(metric, value, offset, (time, (), person))
            if measured is not None:
                out.append(measured)

    def _metric(self, handle: int, declared: DimObject) -> Metric:
        metric = self._metrics.get(handle)
        if metric is None:
            metric = self._metrics[handle] = Metric(handle, declared.attributes)
        return metric

    def _layout(self, handle: int, size: int, offset: int) -> tuple[Metric, Layout]:
        """The object and the layout that an observation of this size in a fixed report has."""
        metric = self._metrics.get(handle)
        if metric is None or size not in metric.layouts:
            metric = self._laid_out(handle, size, offset)
        return metric, metric.layouts[size]

    def _laid_out(self, handle: int, size: int, offset: int) -> Metric:
        """Find the layout of an object's observations of one size: the declared one, or one known from the field."""
        configuration = self.configuration
        warning: tuple[Tolerance, str] | None = None
        declared = configuration.by_handle.get(handle)
        if declared is None and handle == MDS_HANDLE:
            itself = self._metrics.setdefault(handle, Metric(handle, {}))
            itself.layouts[size] = _OF_ITSELF
            return itself
        if declared is None:
            declared = configuration.undeclared_by_handle.get(handle)
            if declared is None:
                raise DecodeError(f"object {handle} is not in configuration {configuration.config_id:#06x}", offset)
            warning = Tolerance.UNDECLARED_HANDLE, f"object {handle} is not declared"
        metric = self._metric(handle, declared)
        raw = metric.attributes.get(Attr.ATTRIBUTE_VAL_MAP)
        if raw is None:
            raise DecodeError(f"object {handle} has no attribute value map", offset)
        entries = read_all(VALUE_MAP, raw, Attr.ATTRIBUTE_VAL_MAP)
        if _size(entries) == size:
            metric.layouts[size] = Layout.of(entries, warning)
            return metric
        for variant in configuration.variants.get(handle, ()):
            if _size(variant) == size:
                warning = Tolerance.VALUE_MAP_VARIANT, f"an observation of object {handle} has {size} bytes"
                metric.layouts[size] = Layout.of(variant, warning)
                return metric
        raise DecodeError(f"an observation of object {handle} has {size} bytes, its map {_size(entries)}", offset)

    def _described(self, handle: int, reported: Mapping[int, bytes], offset: int) -> Metric | None:
        """The object of a self-describing observation. Undeclared and without a type it cannot be understood."""
        declared = self.configuration.by_handle.get(handle)
        if declared is not None:
            return self._metric(handle, declared)
        if handle == MDS_HANDLE:
            return None
        known = self._metrics.get(handle)
        self._let_pass(Tolerance.UNDECLARED_HANDLE, f"object {handle} is not declared", offset)
        if known is None and Attr.ID_TYPE in reported:
            known = self._metrics[handle] = Metric(handle, {})
        return known

    def _grouped(self, scanner: int, data: bytes, offset: int, person: int | None, out: list[Measurement]) -> None:
        group = self._groups.get(scanner)
        if group is None:
            group = self._groups[scanner] = self._group(scanner, offset)
        size = group[-1][2] if group else 0
        if size != len(data) or not size:
            raise DecodeError(f"a grouped observation has {len(data)} bytes, its map {size}", offset)
        at = 0
        for metric, layout, end in group:
            self._observe(metric, layout.slices(data[at:end]), offset, person, out)
            at = end

    def _group(self, scanner: int, offset: int) -> list[tuple[Metric, Layout, int]]:
        """A scanner's objects: each with its layout, and where it ends."""
        declared = self.configuration.by_handle.get(scanner)
        raw = None if declared is None else declared.attributes.get(Attr.SCAN_HANDLE_ATTR_VAL_MAP)
        if raw is None:
            raise DecodeError(f"object {scanner} is no scanner with a handle attribute value map", offset)
        group: list[tuple[Metric, Layout, int]] = []
        end = 0
        for each in read_all(HANDLE_MAPS, raw, Attr.SCAN_HANDLE_ATTR_VAL_MAP):
            found = self.configuration.by_handle.get(each.handle)
            if found is None:
                raise DecodeError(f"scanner {scanner} maps object {each.handle}, which is not declared", offset)
            layout = Layout.of(each.value_map, None)
            end += _bytes_of(layout, each.handle, offset)
            group.append((self._metric(each.handle, found), layout, end))
        return group

    def _observe(
        self,
        metric: Metric,
        reported: Mapping[int, bytes],
        at: int,
        person: int | None,
        out: list[Measurement],
        *,
        otherwise: DeviceTime | None = None,
    ) -> None:
        """Append what an observation says; `otherwise` is its time where it has none of its own."""
        metric.change(reported)
        measured = measure(metric, reported, at, self._time_of(reported, at) or otherwise, person)
        if measured is not None:
            out.append(measured)

    def _time_of(self, reported: Mapping[int, bytes], at: int) -> DeviceTime | None:
        """The best of the observation's time stamps: base-offset says most, relative least."""
        if (raw := reported.get(_STAMP_BO)) is not None:
            return decode_base_offset(raw, at)
        if (raw := reported.get(_STAMP_ABS)) is not None:
            try:
                return decode_absolute(raw, at)
            except DecodeError as error:
                return self._unreadable(raw, error)
        if (raw := reported.get(Attr.TIME_STAMP_REL)) is not None:
            return self.clocks.at_relative(read_all(U32, raw, Attr.TIME_STAMP_REL, at))
        if (raw := reported.get(Attr.TIME_STAMP_REL_HI_RES)) is not None:
            if len(raw) != 8:
                raise DecodeError(f"a high-resolution relative time of {len(raw)} bytes", at)
            return self.clocks.at_high_resolution(int.from_bytes(raw, "big"))
        return None

    def _unreadable(self, raw: bytes | None, error: DecodeError) -> DeviceTime:
        """An absolute time that no clock shows is one that the agent does not know; another length is a fault."""
        if raw is None or len(raw) != ABSOLUTE_BYTES:
            raise error
        self._let_pass(Tolerance.TIME_STAMP, error.message, error.offset)
        return _UNREADABLE

    def _let_pass(self, tolerance: Tolerance, detail: str, offset: int) -> None:
        if self._tolerated is None:
            raise DecodeError(detail, offset)
        self._tolerated.append(Tolerated(tolerance=tolerance, offset=offset, detail=detail))

    def decode_segment(
        self,
        entry_map: SegmentEntryMap,
        entries: bytes,
        *,
        statics: Iterable[SegmentStatics] = (),
        person: int | None = None,
        rhythm: Rhythm | None = None,
        offset: int = 0,
    ) -> tuple[Measurement, ...]:
        """The measurements in the entries of a PM-segment; `offset` is where these begin in the APDU.

        `rhythm` dates the entries that have no time, neither before them nor in an element.
        """
        common = {(each.object_class, each.type.code32): each.attributes for each in statics}
        metrics: list[tuple[Metric, Layout, int]] = []
        for element in entry_map.elements:
            attributes = dict(self._declared(element))
            attributes[Attr.ID_TYPE] = element.type.encode()
            for each in common.get((element.object_class, element.type.code32), ()):
                attributes[each.id] = each.value
            layout = Layout.of(element.value_map, None)
            metrics.append((Metric(element.handle, attributes), layout, _bytes_of(layout, element.handle, offset)))
        # Read at their place in the APDU, so that a fault says where it is.
        reader = Reader(bytes(offset) + entries, offset)
        measurements: list[Measurement] = []
        if not metrics:
            raise DecodeError("a segment whose entries have no elements", offset)
        if entry_map.header & ~_KNOWN_TIMES:
            raise DecodeError("a segment whose entries begin with something that nobody knows", offset)
        index = 0
        while reader.remaining:
            stamps = self._entry_time(entry_map.header, reader)
            otherwise = None if stamps or rhythm is None else rhythm.at(index)
            for metric, layout, size in metrics:
                at = reader.offset
                raw = reader.take(size, "segment entry")
                self._observe(metric, stamps | layout.slices(raw), at, person, measurements, otherwise=otherwise)
            index += 1
        return tuple(measurements)

    def _declared(self, element: SegmentElement) -> Mapping[int, bytes]:
        """What was declared of an element's object. Without its handle it is the one of the same class and type."""
        declared = self.configuration.by_handle.get(element.handle)
        if declared is not None:
            return declared.attributes
        code = element.type.code32
        alike = [each for each in self.configuration.of_class(element.object_class) if each.code == code]
        return alike[0].attributes if len(alike) == 1 else {}

    @staticmethod
    def _entry_time(header: int, reader: Reader) -> dict[int, bytes]:
        return {
            attribute: reader.take(size, "time of a segment entry")
            for bit, attribute, size in _ENTRY_TIMES
            if header & bit
        }


_ENTRY_TIMES: Final = (
    (0x8000, Attr.TIME_STAMP_ABS, 8),
    (0x4000, Attr.TIME_STAMP_REL, 4),
    (0x2000, Attr.TIME_STAMP_REL_HI_RES, 8),
    (0x1000, Attr.TIME_STAMP_BO, 8),
)
"""SegmEntryHeader (A.11.7), in the order in which the times stand before an entry. The last is of 20601:2014."""
_KNOWN_TIMES: Final = sum(bit for bit, _, _ in _ENTRY_TIMES)


def _of(error: DecodeError, index: int, handle: int) -> DecodeError:
    """The fault, and which observation has it."""
    return DecodeError(f"observation {index + 1}, of object {handle}: {error.message}", error.offset)


def _size(entries: Sequence[MapEntry]) -> int:
    return sum(entry.size for entry in entries)


def _bytes_of(layout: Layout, handle: int, offset: int) -> int:
    """How many bytes one observation has. None at all would let a few bytes stand for any number of observations."""
    size = layout.entries[-1][2] if layout.entries else 0
    if not size:
        raise DecodeError(f"the map of object {handle} has no bytes", offset)
    return size
