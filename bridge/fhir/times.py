"""When it was measured: the PHD's time and the PHG's, related by the guide's table (PhdBaseObservation, Timestamp).

`ROWS` is that table, row for row. A Bluetooth device says neither whether its clock is set by others nor whether a stamp
is of its current timeline, so both are judged here (docs/fhir.md, Time):

- The hub read the device's clock in the same connection: the two clocks meet at that moment. They agree within
  `SYNC_TOLERANCE`: the device is synchronised and its stamps stand. They do not: the stamp is carried over by the
  difference. Where that leads past the reception or too far back, the clock was set since the stamp or since it was read.
- Otherwise the stamp is taken as local time where the hub is. Close to the reception it is of the current timeline; up to
  `OLDEST` before, an earlier measurement of a clock that is taken to be right; anywhere else it cannot be trusted.

The reception is itself corrected: a hub that woke without knowing the time learns it later in the same boot, and signs
what it then knows with the batch.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from bridge.fhir import Reason, Untranslatable
from wire.errors import DecodeError
from wire.evidence import Clock, ClockState, Reading, SerialFrame
from wire.gatt import cgm, decode_current_time, decode_date_time
from wire.gatt.elapsed_time import read_elapsed_time
from wire.gatt.reader import Reader
from wire.measurement import DeviceTime
from wire.serial import FORMAT_NUMBERS, SerialFormat, shown_clock

SYNC_TOLERANCE: Final = timedelta(seconds=2)
"""A device clock has a resolution of a second, and a read over BLE takes up to half of one: agreement is no closer."""
CURRENT: Final = timedelta(minutes=2)
"""A cuff or an oximeter sends what it just measured within seconds; its clock may be set by hand, to the minute."""
OLDEST: Final = timedelta(days=400)
"""No device here stores more than a year; an older stamp is a clock that was never set."""
_FIRST_HUB: Final = datetime(2024, 1, 1, tzinfo=UTC)
# Before, some zones had offsets that FHIR cannot write.
_FIRST_ZONE: Final = datetime(1980, 1, 1, tzinfo=UTC)
_LAST_HUB: Final = datetime(2200, 1, 1, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TimeType(StrEnum):
    """What kind of clock stamped the measurement."""

    UTC = "UTC"
    LOCAL = "Local"
    TICK = "Tick"
    NONE = "none"


class Effective(StrEnum):
    """How effective[x] comes from the stamp."""

    KEEP = "keep"
    KEEP_PHG_OFFSET = "keep+phg_offset"
    MAP_PHG_OFFSET = "map_to_phg+phg_offset"
    MAP_UTC_PHG_OFFSET = "map_to_phg_utc+phg_offset"
    TO_UTC_OFFSET = "to_utc_offset"
    TO_UTC_PHG_OFFSET = "to_utc_offset+phg_offset"
    RECEPTION = "reception"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the guide's table. None: the column does not apply."""

    time_type: TimeType
    current: bool | None
    synced: bool | None
    offset: bool | None
    mapping: Effective
    coincident: bool


def _row(time_type: TimeType, columns: str, mapping: Effective, coincident: str) -> Row:
    current, synced, offset = ({"y": True, "n": False, "-": None}[letter] for letter in columns)
    return Row(
        time_type=time_type,
        current=current,
        synced=synced,
        offset=offset,
        mapping=mapping,
        coincident=coincident == "yes",
    )


# type, columns: current timeline, synced, offset; mapping; coincident time stamp required
ROWS: Final[tuple[Row, ...]] = (
    _row(TimeType.UTC, "yyy", Effective.KEEP, "no"),
    _row(TimeType.UTC, "yyn", Effective.KEEP_PHG_OFFSET, "no"),
    _row(TimeType.UTC, "yny", Effective.MAP_PHG_OFFSET, "yes"),
    _row(TimeType.UTC, "ynn", Effective.MAP_UTC_PHG_OFFSET, "yes"),
    _row(TimeType.UTC, "nyy", Effective.KEEP, "no"),
    _row(TimeType.UTC, "nyn", Effective.KEEP_PHG_OFFSET, "no"),
    _row(TimeType.UTC, "nny", Effective.DISCARD, "-"),
    _row(TimeType.UTC, "nnn", Effective.DISCARD, "-"),
    _row(TimeType.LOCAL, "yyy", Effective.TO_UTC_OFFSET, "yes"),
    _row(TimeType.LOCAL, "yyn", Effective.TO_UTC_PHG_OFFSET, "yes"),
    _row(TimeType.LOCAL, "yny", Effective.MAP_PHG_OFFSET, "yes"),
    _row(TimeType.LOCAL, "ynn", Effective.MAP_PHG_OFFSET, "yes"),
    _row(TimeType.LOCAL, "nyy", Effective.TO_UTC_OFFSET, "no"),
    _row(TimeType.LOCAL, "nyn", Effective.TO_UTC_PHG_OFFSET, "no"),
    _row(TimeType.LOCAL, "nny", Effective.DISCARD, "-"),
    _row(TimeType.LOCAL, "nnn", Effective.DISCARD, "-"),
    _row(TimeType.TICK, "y--", Effective.MAP_PHG_OFFSET, "yes"),
    _row(TimeType.TICK, "n--", Effective.DISCARD, "-"),
    _row(TimeType.NONE, "---", Effective.RECEPTION, "no"),
)
"""PhdBaseObservation notes, Timestamp; the last row is the sentence above that table. Bluetooth SIG measurements use
the Local rows and the last, but for health observations (GHS), which tell their offset; the others are of 20601 agents
(`bridge.fhir.agent_times`)."""

_BY_COLUMNS: Final = {(row.time_type, row.current, row.synced, row.offset): row for row in ROWS}


def row(
    time_type: TimeType, *, current: bool | None = None, synced: bool | None = None, offset: bool | None = None
) -> Row:
    """The row that applies."""
    if time_type is TimeType.NONE:
        current = synced = offset = None
    elif time_type is TimeType.TICK:
        synced = offset = None
    return _BY_COLUMNS[time_type, current, synced, offset]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceClock:
    """The device's clock as the hub read it, and the hub's (corrected) time at that moment; `key` names the read."""

    phd: DeviceTime
    phg: datetime
    key: bytes
    tolerance: timedelta = SYNC_TOLERANCE
    """How far it may be from the hub's clock and still agree with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coincident:
    """A coincident time stamp: what the PHD's clock showed (None: not readable) at the PHG's time; `key` as above.

    `counter_us`: it has no clock but a counter, which showed this, in microseconds.
    """

    phg: str
    phd: str | None
    offset: bool
    key: bytes
    counter_us: int | None = None
    high_resolution: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a measurement took place, and by which row we know."""

    row: Row
    effective: str
    coincident: Coincident | None = None


def reception(received: Clock, sealed: Clock) -> datetime:
    """When the hub received a reading, by the best clock that it has signed for (UTC)."""
    known = received.corrected(sealed)
    if known.state is ClockState.UNSET:
        raise Untranslatable(Reason.HUB_TIME, "the hub's clock was not set when it received and sealed this reading")
    try:
        instant = _EPOCH + timedelta(microseconds=known.wall_us)
    except OverflowError:
        instant = _EPOCH
    if not _FIRST_HUB <= instant < _LAST_HUB:
        raise Untranslatable(Reason.HUB_TIME, "the hub's clock was set to a time before hubs or long after us")
    return instant


def _elapsed_time(value: bytes) -> DeviceTime | None:
    """Current Elapsed Time; None from a counter, or where nobody has set it."""
    elapsed = read_elapsed_time(Reader(value))
    return elapsed.time if elapsed.clock_set else None


_DATE_TIME: Final = 0x2A08
_SENSOR_STATUS, _SESSION_START = 0x2AA9, 0x2AAA
_MINUTE: Final = timedelta(minutes=1) + SYNC_TOLERANCE
_CLOCKS: Final[Mapping[int | bytes, Callable[[bytes], DeviceTime | None]]] = MappingProxyType(
    {0x2A2B: decode_current_time, _DATE_TIME: decode_date_time, 0x2BF2: _elapsed_time}
)
"""The characteristics that show a device's clock."""


def device_clock(evidence: Reading | SerialFrame, received: datetime) -> DeviceClock | None:
    """The device's clock in a reading's context: the last one read, Date Time only where there is no other."""
    shown = [each for each in _shown_clocks(evidence) if each.time.known]
    if not shown:
        return None
    best = max(shown, key=lambda each: (each.mono_us, each.exact))
    try:
        phg = received + timedelta(microseconds=best.mono_us - evidence.received.mono_us)
    except OverflowError:
        return None
    key = evidence.received.boot + f" {best.mono_us} ".encode() + best.value
    return DeviceClock(phd=best.time, phg=phg, key=key, tolerance=best.tolerance)


class _Shown(NamedTuple):
    """What a clock showed, and when the hub read it."""

    mono_us: int
    exact: bool
    value: bytes
    time: DeviceTime
    tolerance: timedelta = SYNC_TOLERANCE


def _shown_clocks(evidence: Reading | SerialFrame) -> Iterator[_Shown]:
    """Every clock in the context that can be read."""
    if isinstance(evidence, SerialFrame):
        for reply in evidence.context:
            if reply.format == FORMAT_NUMBERS[SerialFormat.NONIN_REPLY]:
                with contextlib.suppress(DecodeError):
                    yield _Shown(reply.mono_us, exact=True, value=reply.frame, time=shown_clock(reply.frame))
        return
    if (session := _session(evidence)) is not None:
        yield session
    for item in evidence.context:
        decode = _CLOCKS.get(item.characteristic)
        if decode is None:
            continue
        with contextlib.suppress(DecodeError):
            time = decode(item.value)
            if time is not None:
                yield _Shown(item.mono_us, exact=item.characteristic != _DATE_TIME, value=item.value, time=time)


def _session(reading: Reading) -> _Shown | None:
    """The clock of a glucose sensor: the start of its session and the minutes since, whole ones."""
    context = {item.characteristic: item for item in reading.context}
    status = context.get(_SENSOR_STATUS)
    if status is None or _SESSION_START not in context:
        return None
    with contextlib.suppress(DecodeError):
        elapsed_min, _ = cgm.decode_status(status.value)
        time = cgm.decode_session_start(context[_SESSION_START].value).at(elapsed_min)
        if time is not None:
            return _Shown(status.mono_us, exact=False, value=status.value, time=time, tolerance=_MINUTE)
    return None


def timing(
    stamp: DeviceTime | None,
    *,
    clock_set: bool,
    received: datetime,
    clock: DeviceClock | None,
    zone: tzinfo,
    time_type: TimeType = TimeType.LOCAL,
    before: Sequence[DeviceClock] = (),
) -> Timing:
    """When a measurement took place, by a stamp of this type; raises Untranslatable where the table says discard.

    `before` is the clock as it was read earlier in the same connection, and perhaps set since.
    """
    if not _FIRST_ZONE <= received < _LAST_HUB:
        raise Untranslatable(Reason.HUB_TIME, "the time of reception is not of our age")
    if stamp is None or not stamp.known or not clock_set:
        return Timing(row=row(TimeType.NONE), effective=print_time(received, zone, "milliseconds"))
    for each in () if clock is None else _that_made(stamp, clock, before, zone):
        timed = _by_clock(stamp, received, each, zone, time_type)
        if timed is not None:
            return timed
    return _by_stamp(stamp, received, zone, time_type)


def at_its_word(stamp: DeviceTime | None, *, clock_set: bool, zone: tzinfo) -> Timing:
    """When nobody says when it was received: the stamp as it stands, as local time where the hub is."""
    if stamp is None or not stamp.known or not clock_set:
        raise Untranslatable(Reason.HUB_TIME, "neither a device time nor a time of reception")
    instant = _instant(stamp, zone, None)
    if instant is None or not _FIRST_ZONE <= instant < _LAST_HUB:
        raise Untranslatable(Reason.DEVICE_TIME, "the device's time is not of our age")
    found = row(TimeType.LOCAL, current=False, synced=True, offset=stamp.offset_min is not None)
    return Timing(row=found, effective=_print_stamp(instant, stamp, zone))


def print_time(instant: datetime, zone: tzinfo, timespec: str = "seconds") -> str:
    """A FHIR dateTime with the zone's offset; times are cut, not rounded, so that nothing moves past its reception."""
    return instant.astimezone(zone).isoformat(timespec=timespec)


def _that_made(
    stamp: DeviceTime, clock: DeviceClock, before: Sequence[DeviceClock], zone: tzinfo
) -> tuple[DeviceClock, ...]:
    """The clocks that may have made a stamp, the likeliest first.

    What the clock as it is now would have stamped before it was first read was stamped by the clock as it was then.
    """
    if not before:
        return (clock,)
    there = clock.phg.astimezone(zone).utcoffset() or timedelta()
    # Offsets apart, for a stamp may stand at the very end of the calendar.
    elapsed = stamp.wall - clock.phd.wall - (_own_offset(stamp, there) - _own_offset(clock.phd, there))
    earlier = tuple(each for each in before if elapsed < each.phg - clock.phg)
    return (*earlier, clock, *(each for each in before if each not in earlier))


def _by_clock(
    stamp: DeviceTime, received: datetime, clock: DeviceClock, zone: tzinfo, time_type: TimeType
) -> Timing | None:
    """By the device's clock, or None where it was set between the stamp and its reading, or later."""
    there = clock.phg.astimezone(zone).utcoffset() or timedelta()
    shown = clock.phd.wall
    try:
        elapsed = stamp.wall - _own_offset(stamp, there) - (shown - _own_offset(clock.phd, there))
        carried = clock.phg + elapsed
        difference = clock.phg.replace(tzinfo=None) - (shown - _own_offset(clock.phd, there))
    except OverflowError:
        return None
    synced = abs(difference) <= clock.tolerance
    own = _instant(stamp, zone, received) if synced else None
    instant = carried if own is None else own
    if not received - OLDEST <= instant <= received + SYNC_TOLERANCE:
        return None
    phd_offset = timezone(_own_offset(clock.phd, there))
    coincident = Coincident(
        phg=print_time(clock.phg, zone, "milliseconds"),
        phd=shown.replace(tzinfo=phd_offset).isoformat(timespec="milliseconds" if shown.microsecond else "seconds"),
        offset=clock.phd.offset_min is not None,
        key=clock.key,
    )
    found = row(time_type, current=True, synced=synced, offset=stamp.offset_min is not None)
    effective = _print_stamp(instant, stamp if synced else replace(stamp, offset_min=None), zone)
    return Timing(row=found, effective=effective, coincident=coincident if found.coincident else None)


def _by_stamp(stamp: DeviceTime, received: datetime, zone: tzinfo, time_type: TimeType) -> Timing:
    """By the stamp alone."""
    instant = _instant(stamp, zone, received)
    offset = stamp.offset_min is not None
    if instant is None or not received - OLDEST <= instant <= received + CURRENT:
        found = row(time_type, current=False, synced=False, offset=offset)
    else:
        found = row(time_type, current=instant >= received - CURRENT, synced=True, offset=offset)
    if instant is None or found.mapping is Effective.DISCARD:
        side = "after" if instant is not None and instant > received else "long before"
        raise Untranslatable(Reason.DEVICE_TIME, f"the device's time is {side} the reception, and its clock unknown")
    coincident = None
    if found.coincident:
        coincident = Coincident(phg=print_time(received, zone, "milliseconds"), phd=None, offset=offset, key=b"")
    return Timing(row=found, effective=_print_stamp(instant, stamp, zone), coincident=coincident)


def _own_offset(stamp: DeviceTime, otherwise: timedelta) -> timedelta:
    return otherwise if stamp.offset_min is None else timedelta(minutes=stamp.offset_min)


def _instant(stamp: DeviceTime, zone: tzinfo, received: datetime | None) -> datetime | None:
    """The stamp as an instant. An hour that comes twice is the later one, unless that lies after the reception."""
    naive = stamp.wall
    try:
        if stamp.offset_min is not None:
            return (naive - timedelta(minutes=stamp.offset_min)).replace(tzinfo=UTC)
        first, second = (naive.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    except OverflowError:
        return None
    # In the gap of spring fold 1 comes out earlier than fold 0; such a stamp is of a clock that did not jump.
    if second <= first or received is None:
        return first
    return first if second > received + CURRENT else second


def _print_stamp(instant: datetime, stamp: DeviceTime, zone: tzinfo) -> str:
    if stamp.offset_min is not None:
        zone = timezone(timedelta(minutes=stamp.offset_min))
    return print_time(instant, zone, "milliseconds" if stamp.microsecond else "seconds")
