"""When an IEEE 11073-20601 agent measured: its clocks by the guide's table (`bridge.fhir.times`).

An agent says more of its clocks than a Bluetooth device. Base-offset time is UTC with an offset, absolute time is local,
and the MDS, which the hub read in the same association, shows the clock and says whether others keep it right.

That claim is believed only so far: a clock that is said to be synchronised and is minutes off is not. An agent with
nothing but a counter has no date at all; the hub's clock at the moment when it read the MDS gives it one.
"""

from datetime import datetime, timedelta, tzinfo
from typing import Final

from bridge.fhir import Reason, Untranslatable
from bridge.fhir.times import (
    CURRENT,
    OLDEST,
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
from wire.x73.evidence import Counted, MdsRead, mds_of

_TICK_US: Final = 125
"""A relative time counts eighths of milliseconds; FHIR is told microseconds (PhdCoincidentTimeStampObservation)."""


def agent_timing(
    measurement: Measurement, counted: Counted | None, *, report: AgentReport, received: datetime, zone: tzinfo
) -> Timing:
    """When a measurement of a report took place; raises Untranslatable where the table says discard."""
    mds = mds_of(report)
    read = _read(report, mds, received)
    if counted is not None:
        return _by_counter(counted, mds, read=read, report=report, received=received, zone=zone)
    stamp = measurement.device_time
    base_offset = stamp is not None and stamp.offset_min is not None
    return timing(
        stamp,
        clock_set=measurement.clock_set,
        received=received,
        clock=_clock(report, mds, read, base_offset=base_offset),
        zone=zone,
        time_type=TimeType.UTC if base_offset else TimeType.LOCAL,
    )


def _read(report: AgentReport, mds: MdsRead, received: datetime) -> datetime | None:
    """When the hub had the MDS, by its own (corrected) clock; None if it did not have it."""
    if not mds.attributes:
        return None
    try:
        return received + timedelta(microseconds=mds.mono_us - report.received.mono_us)
    except OverflowError:
        return None


def _clock(report: AgentReport, mds: MdsRead, read: datetime | None, *, base_offset: bool) -> DeviceClock | None:
    shown = mds.clock(base_offset=base_offset)
    if shown is None or read is None:
        return None
    return DeviceClock(
        phd=shown[0],
        phg=read,
        key=_key(report, mds, shown[1]),
        claims_synced=mds.synchronised(base_offset=base_offset),
    )


def _key(report: AgentReport, mds: MdsRead, shown: bytes) -> bytes:
    return report.received.boot + f" {mds.mono_us} ".encode() + shown


def _by_counter(
    counted: Counted, mds: MdsRead, *, read: datetime | None, report: AgentReport, received: datetime, zone: tzinfo
) -> Timing:
    shown = mds.counter(high_resolution=counted.high_resolution)
    if counted.us is None or shown is None or read is None:
        raise Untranslatable(Reason.DEVICE_TIME, "the device's time is a counter that it does not show")
    instant = read + timedelta(microseconds=counted.us)
    if not received - OLDEST <= instant <= received + CURRENT:
        raise Untranslatable(Reason.DEVICE_TIME, "the device's counter was not running, or began anew")
    counter_us = shown if counted.high_resolution else shown * _TICK_US
    return Timing(
        row=row(TimeType.TICK, current=True),
        effective=print_time(instant, zone, "milliseconds"),
        coincident=Coincident(
            phg=print_time(read, zone, "milliseconds"),
            phd=None,
            offset=False,
            key=_key(report, mds, f"{counted.high_resolution} {shown}".encode()),
            counter_us=counter_us,
            high_resolution=counted.high_resolution,
        ),
    )
