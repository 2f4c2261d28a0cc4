"""From observations to measurements: what a scan report or a PM-segment means under its configuration.

A report is understood whole or not at all: a time on no calendar or a length that fits no layout is a `DecodeError`,
because the evidence stays and half a report would look like a whole one. Attributes that nobody here knows pass
without harm, and what an agent reports beyond its specialization passes with its MDC code.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wire.errors import DecodeError
from wire.measurement import DeviceTime, Measurement
from wire.x73.codes import Attr
from wire.x73.dim import HANDLE_MAPS, VALUE_MAP, Configuration, DimObject, read_all
from wire.x73.mder import U32, Reader, Tolerance, Tolerated
from wire.x73.reports import MapEntry, PersonScan, ScanReport
from wire.x73.services import SegmentEntryMap, SegmentStatics
from wire.x73.times import RELATIVE_TICK_US, decode_absolute, decode_base_offset, relative_to
from wire.x73.values import Layout, Metric, Raw, measure

_WRAP_TICKS: Final = 1 << 32
_WRAP_US: Final = 1 << 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """What the agent's clocks showed at one moment, as GET MDS returned it: only that gives a relative time a date."""

    absolute: DeviceTime | None = None
    relative: int | None = None
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
            high_resolution=int.from_bytes(high, "big") if len(high) == 8 else None,
        )

    def at_relative(self, ticks: int) -> DeviceTime | None:
        """When a RelativeTime was; the counter wraps after 6.2 days, so the nearest such moment is meant."""
        if self.absolute is None or self.relative is None:
            return None
        return relative_to(self.absolute, 0, _nearest(ticks - self.relative, _WRAP_TICKS) * RELATIVE_TICK_US)

    def at_high_resolution(self, us: int) -> DeviceTime | None:
        """When a HighResRelativeTime was."""
        if self.absolute is None or self.high_resolution is None:
            return None
        return relative_to(self.absolute, 0, _nearest(us - self.high_resolution, _WRAP_US))


def _nearest(difference: int, wrap: int) -> int:
    return (difference + wrap // 2) % wrap - wrap // 2


def observed_time(reported: Mapping[int, Raw], clocks: Clocks) -> DeviceTime | None:
    """The best of the observation's time stamps: base-offset says most, relative least."""
    if (raw := reported.get(Attr.TIME_STAMP_BO)) is not None:
        return decode_base_offset(raw.value, raw.at)
    if (raw := reported.get(Attr.TIME_STAMP_ABS)) is not None:
        return decode_absolute(raw.value, raw.at)
    if (raw := reported.get(Attr.TIME_STAMP_REL)) is not None:
        return clocks.at_relative(read_all(U32, raw.value, Attr.TIME_STAMP_REL, raw.at))
    if (raw := reported.get(Attr.TIME_STAMP_REL_HI_RES)) is not None:
        if len(raw.value) != 8:
            raise DecodeError(f"a high-resolution relative time of {len(raw.value)} bytes", raw.at)
        return clocks.at_high_resolution(int.from_bytes(raw.value, "big"))
    return None


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

    def decode(self, report: ScanReport, offset: int = 0) -> tuple[Measurement, ...]:
        """What a scan report says; `offset` is where its event-info begins in the APDU, for the place of a fault."""
        measurements: list[Measurement] = []
        for scan in report.scans:
            self._scan(report, scan, offset, measurements)
        return tuple(measurements)

    def _scan(self, report: ScanReport, scan: PersonScan, offset: int, out: list[Measurement]) -> None:
        for fixed in scan.fixed:
            data = fixed.data
            metric, layout = self._layout(fixed.handle, len(data), offset)
            if layout.warning is not None:
                self._let_pass(*layout.warning, offset)
            if layout.quick is None:
                self._observe(metric, _sliced(layout, data, offset), scan.person, out)
                continue
            content, start, end, stamp = layout.quick
            time = None if stamp is None else decode_absolute(data[stamp:], offset)
            measured = content(metric, data[start:end], offset, (time, (), scan.person))
            if measured is not None:
                out.append(measured)
        for variable in scan.variable:
            reported = {each.id: Raw(value=each.value, at=offset) for each in variable.attributes}
            metric_or_none = self._described(variable.handle, reported, offset)
            if metric_or_none is not None:
                self._observe(metric_or_none, reported, scan.person, out)
        for grouped in scan.grouped:
            self._grouped(report.handle, grouped, offset, scan.person, out)

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

    def _described(self, handle: int, reported: Mapping[int, Raw], offset: int) -> Metric | None:
        """The object of a self-describing observation. Undeclared and without a type it cannot be understood."""
        declared = self.configuration.by_handle.get(handle)
        if declared is not None:
            return self._metric(handle, declared)
        known = self._metrics.get(handle)
        self._let_pass(Tolerance.UNDECLARED_HANDLE, f"object {handle} is not declared", offset)
        if known is None and Attr.ID_TYPE in reported:
            known = self._metrics[handle] = Metric(handle, {})
        return known

    def _grouped(self, scanner: int, data: bytes, offset: int, person: int | None, out: list[Measurement]) -> None:
        declared = self.configuration.by_handle.get(scanner)
        raw = None if declared is None else declared.attributes.get(Attr.SCAN_HANDLE_ATTR_VAL_MAP)
        if raw is None:
            raise DecodeError(f"object {scanner} is no scanner with a handle attribute value map", offset)
        maps = read_all(HANDLE_MAPS, raw, Attr.SCAN_HANDLE_ATTR_VAL_MAP)
        size = sum(_size(each.value_map) for each in maps)
        if size != len(data):
            raise DecodeError(f"a grouped observation has {len(data)} bytes, its map {size}", offset)
        at = 0
        for each in maps:
            end = at + _size(each.value_map)
            found = self.configuration.by_handle.get(each.handle)
            if found is None:
                raise DecodeError(f"scanner {scanner} maps object {each.handle}, which is not declared", offset)
            self._observe(
                self._metric(each.handle, found),
                _sliced(Layout.of(each.value_map, None), data[at:end], offset),
                person,
                out,
            )
            at = end

    def _observe(self, metric: Metric, reported: Mapping[int, Raw], person: int | None, out: list[Measurement]) -> None:
        metric.change(reported)
        measured = measure(metric, reported, observed_time(reported, self.clocks), person)
        if measured is not None:
            out.append(measured)

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
        offset: int = 0,
    ) -> tuple[Measurement, ...]:
        """The measurements in the entries of a PM-segment; `offset` is where these begin in the APDU."""
        common = {(each.object_class, each.type.code32): each.attributes for each in statics}
        metrics: list[tuple[Metric, Layout, int]] = []
        for element in entry_map.elements:
            declared = self.configuration.by_handle.get(element.handle)
            attributes = dict(declared.attributes) if declared is not None else {}
            attributes[Attr.ID_TYPE] = element.type.encode()
            for each in common.get((element.object_class, element.type.code32), ()):
                attributes[each.id] = each.value
            metrics.append(
                (Metric(element.handle, attributes), Layout.of(element.value_map, None), _size(element.value_map))
            )
        # Read at their place in the APDU, so that a fault says where it is.
        reader = Reader(bytes(offset) + entries, offset)
        measurements: list[Measurement] = []
        if not entry_map.header & 0xE000 and not any(size for _, _, size in metrics):
            raise DecodeError("a segment whose entries have no bytes", 0)
        while reader.remaining:
            stamps = self._entry_time(entry_map.header, reader)
            for metric, layout, size in metrics:
                at = reader.offset
                raw = reader.take(size, "segment entry")
                self._observe(metric, stamps | _sliced(layout, raw, at), person, measurements)
        return tuple(measurements)

    @staticmethod
    def _entry_time(header: int, reader: Reader) -> dict[int, Raw]:
        stamps: dict[int, Raw] = {}
        for bit, attribute, size in (
            (0x8000, Attr.TIME_STAMP_ABS, 8),
            (0x4000, Attr.TIME_STAMP_REL, 4),
            (0x2000, Attr.TIME_STAMP_REL_HI_RES, 8),
            (0x1000, Attr.TIME_STAMP_BO, 8),
        ):
            if header & bit:
                at = reader.offset
                stamps[attribute] = Raw(value=reader.take(size, "time of a segment entry"), at=at)
        return stamps


def _size(entries: Sequence[MapEntry]) -> int:
    return sum(entry.size for entry in entries)


def _sliced(layout: Layout, data: bytes, offset: int) -> dict[int, Raw]:
    return {attribute: Raw(value=data[start:end], at=offset) for attribute, start, end in layout.entries}
