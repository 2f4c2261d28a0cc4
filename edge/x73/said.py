"""What an agent has said in an association that its reports are understood by: the context of their evidence."""

from collections.abc import Callable
from typing import Final

from wire.evidence import AgentContext, AgentContextKind
from wire.x73.apdu import Attribute
from wire.x73.codes import LASTING
from wire.x73.dim import ATTRIBUTES, Configuration, encoded, read_all
from wire.x73.events import Configured, Reported, SegmentData, by_id
from wire.x73.reports import ScanReport
from wire.x73.services import SegmentInfo

MAX_OBJECTS: Final = 5
"""Objects whose changes go with a report: what a reading has room for beside MDS, store and segment."""


class Said:
    """Begins anew with each configuration that is agreed."""

    def __init__(self, mono_us: Callable[[], int]) -> None:
        self._mono_us = mono_us
        self.configuration: int | bytes = 0
        """The number of one that the standard fixes; else the configuration report."""
        self.mds: AgentContext | None = None
        self._first_mds: AgentContext | None = None
        """As it was before the hub set the clock: stamps from before that mean something only beside it."""
        self._declared: Configuration | None = None
        self._stored: dict[tuple[int, ...], AgentContext] = {}
        """What is known of a store (handle) and of a segment (handle, instance)."""
        self._changed: dict[int, AgentContext] = {}
        """What reports have said of objects and the configuration does not say."""

    def forget(self) -> None:
        """Forget all but the configuration: what is told after the end still is of it."""
        self.mds = self._first_mds = None
        self._stored.clear()
        self._changed.clear()

    def configured(self, agreed: Configured) -> None:
        self.forget()
        self._declared = agreed.configuration
        ours = self._declared.standard and not agreed.reported
        self.configuration = self._declared.config_id if ours else self._declared.encode()

    def mds_read(self, attributes: bytes) -> None:
        if self._first_mds is None:
            self._first_mds = self.mds
        self.mds = self._now(AgentContextKind.MDS, attributes)

    def store_read(self, handle: int, attributes: bytes) -> None:
        self._stored[(handle,)] = self._now(AgentContextKind.STORE, _two(handle) + attributes)

    def segment_listed(self, handle: int, segment: SegmentInfo) -> None:
        self._stored[handle, segment.instance] = self._now(AgentContextKind.SEGMENT, segment.encode())

    def reported(self, report: ScanReport) -> None:
        """A variable report may change an object until it is said again; those after it are understood by that."""
        declared = {} if self._declared is None else self._declared.by_handle
        for observation in (each for scan in report.scans for each in scan.variable):
            lasting = {each.id: each.value for each in observation.attributes if each.id in LASTING}
            handle = observation.handle
            before = self._changed.get(handle)
            if not lasting or (before is None and len(self._changed) == MAX_OBJECTS):
                continue
            own = dict(declared[handle].attributes) if handle in declared else {}
            now = own | ({} if before is None else by_id(read_all(ATTRIBUTES, before.value[2:], 0))) | lasting
            changed = tuple(Attribute(id=id_, value=raw) for id_, raw in now.items() if own.get(id_) != raw)
            value = _two(handle) + encoded(ATTRIBUTES, changed)
            if not changed:
                self._changed.pop(handle, None)
            elif before is None or before.value != value:
                self._changed[handle] = self._now(AgentContextKind.OBJECT, value)

    def context(self, report: Reported | SegmentData) -> tuple[AgentContext, ...]:
        """What goes with a report."""
        if isinstance(report, SegmentData):
            handle = report.handle
            others = [self._stored.get((handle,)), self._stored.get((handle, report.descr.instance))]
        else:
            others = [*self._changed.values()]
        return tuple(each for each in (self._first_mds, self.mds, *others) if each is not None)

    def _now(self, kind: AgentContextKind, value: bytes) -> AgentContext:
        return AgentContext(kind=kind, mono_us=self._mono_us(), value=value)


def _two(handle: int) -> bytes:
    return handle.to_bytes(2, "big")
