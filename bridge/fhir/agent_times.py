"""When an IEEE 11073-20601 agent measured: its clocks by the guide's table (`bridge.fhir.times`).

An agent says more of its clocks than a Bluetooth device. Base-offset time is UTC with an offset, absolute time is local,
and the MDS, which the hub read in the same association, shows the clock and says whether others keep it right.

That claim is believed only so far: a clock that is said to be synchronised and is minutes off is not. An agent with
nothing but a counter has no date at all; the hub's clock at the moment when it read the MDS gives it one.
"""

from datetime import datetime, timedelta, tzinfo

from bridge.fhir import Reason, Untranslatable
from bridge.fhir.times import (
    CURRENT,
    OLDEST,
    SYNC_TOLERANCE,
    Coincident,
    DeviceClock,
    TimeType,
    Timing,
    print_time,
    row,
    timing,
)
from wire.evidence import AgentReport
from wire.measurement import Measurement
from wire.x73.evidence import Counted, MdsRead, mds_of, mds_reads


class AgentTimes:
    """When the measurements of one report took place."""

    def __init__(self, report: AgentReport, *, received: datetime, zone: tzinfo) -> None:
        self._report = report
        self._received = received
        self._zone = zone
        self._mds = mds_of(report)
        self._read = self._when(self._mds)
        clocks = {
            base_offset: [
                clock
                for mds in mds_reads(report.context)
                if (clock := self._clock(mds, base_offset=base_offset)) is not None
            ]
            for base_offset in (False, True)
        }
        self._clocks = {
            base_offset: (each[-1] if each else None, tuple(each[:-1])) for base_offset, each in clocks.items()
        }

    def timing(self, measurement: Measurement, counted: Counted | None) -> Timing:
        """When a measurement took place; raises Untranslatable where the table says discard."""
        if counted is not None:
            return self._by_counter(counted)
        stamp = measurement.device_time
        base_offset = stamp is not None and stamp.offset_min is not None
        clock, before = self._clocks[base_offset]
        return timing(
            stamp,
            clock_set=measurement.clock_set,
            received=self._received,
            clock=clock,
            zone=self._zone,
            time_type=TimeType.UTC if base_offset else TimeType.LOCAL,
            before=before,
        )

    def _when(self, mds: MdsRead) -> datetime | None:
        """When the hub had the MDS, by its own (corrected) clock; None if it did not have it."""
        if not mds.attributes:
            return None
        try:
            return self._received + timedelta(microseconds=mds.mono_us - self._report.received.mono_us)
        except OverflowError:
            return None

    def _clock(self, mds: MdsRead, *, base_offset: bool) -> DeviceClock | None:
        shown, read = mds.clock(base_offset=base_offset), self._when(mds)
        if shown is None or read is None:
            return None
        return DeviceClock(
            phd=shown[0],
            phg=read,
            key=self._key(mds, shown[1]),
            tolerance=CURRENT if mds.synchronised(base_offset=base_offset) else SYNC_TOLERANCE,
        )

    def _key(self, mds: MdsRead, shown: bytes) -> bytes:
        return self._report.received.boot + f" {mds.mono_us} ".encode() + shown

    def _by_counter(self, counted: Counted) -> Timing:
        read, shown = self._read, self._mds.counter(high_resolution=counted.high_resolution)
        if counted.us is None or shown is None or read is None:
            raise Untranslatable(Reason.DEVICE_TIME, "the device's time is a counter that it does not show")
        instant = read + timedelta(microseconds=counted.us)
        if not self._received - OLDEST <= instant <= self._received + CURRENT:
            raise Untranslatable(Reason.DEVICE_TIME, "the device's counter was not running, or began anew")
        coincident = Coincident(
            phg=print_time(read, self._zone, "milliseconds"),
            phd=None,
            offset=False,
            key=self._key(self._mds, f"{counted.high_resolution} {shown[0]}".encode()),
            counter_us=shown[1],
            high_resolution=counted.high_resolution,
        )
        return Timing(
            row=row(TimeType.TICK, current=True),
            effective=print_time(instant, self._zone, "milliseconds"),
            coincident=coincident,
        )
