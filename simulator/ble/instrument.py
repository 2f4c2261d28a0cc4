"""A device at work: its clock, what it holds, what it answers, and what it sends next. No I/O; `now` is the truth's.

`simulator.play` moves its bytes. A session is from the first subscription to the end of the last one, or of the link.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Final
from zoneinfo import ZoneInfo

from simulator.ble.cgm_session import CgmSession
from simulator.ble.clock import FACTORY, DeviceClock
from simulator.ble.devices import Delivery, Habit, Kind, Measured, Moment, current_time, date_time, device_information
from simulator.ble.devices.glucose import RUN_TIME, RUN_TIME_H, SESSION_START, STATUS
from simulator.ble.devices.health_sensor import ELAPSED_TIME, ELAPSED_TIME_SERVICE, elapsed_time, read_elapsed_time
from simulator.ble.devices.kind import (
    BATTERY_LEVEL,
    BATTERY_SERVICE,
    CGM_CONTROL_POINT,
    CURRENT_TIME,
    CURRENT_TIME_SERVICE,
    DATE_TIME,
    DEVICE_INFORMATION,
    GHS_CONTROL_POINT,
    RACP,
)
from simulator.ble.devices.values import read_date_time
from simulator.ble.faults import DISCONNECT
from simulator.ble.gatt import AttError, Characteristic, Service, Step
from simulator.ble.memory import SETTLE_S, Memory
from simulator.ble.racp import RecordAccess
from simulator.people import Condition, Person, further, person, vitals

GARBAGE: Final = b"\xff"
"""Flags that promise every field, and not one of them: no characteristic's value."""
DATA_FIELD_IGNORED: Final = 0x80
"""ATT error: the clock does not take this (CTS 1.6)."""
COMMAND_NOT_SUPPORTED: Final = 0x81
"""ATT error (GHSS 1.6)."""
_OMRON_TOLERANCE: Final = timedelta(minutes=10)
_ZONE_UNKNOWN: Final = -128
_SAVING_MIN: Final = {0: 0, 2: 30, 4: 60, 8: 120}
"""DST Offset, 2A0D."""
_START_LIVE, _STOP_LIVE, _LIVE_DONE = b"\x01", b"\x02", b"\x80"


@dataclass(slots=True, eq=False, kw_only=True)
class Taken:
    """One measurement that was taken: its values, when in truth, of whom, and which of them have left already."""

    values: tuple[Measured, ...]
    at: datetime
    true: datetime
    who: Person
    guest: bool = False
    left: set[int] = field(default_factory=set)
    kept: bool = False
    """Nobody needs to be asked for it any more."""

    def true_time(self, value: Measured) -> datetime:
        """When it was, as finely as the value's time stamp says it."""
        return self.true if value.device_time is None else self.true - (self.at - value.device_time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One value to send; `taken` and `value` say what it is of, if it is of a measurement."""

    characteristic: int
    data: bytes
    taken: Taken | None = None
    value: Measured | None = None
    last: bool = False
    """It completes its measurement."""
    garbage: bool = False
    ends_procedure: bool = False

    @property
    def first_time(self) -> bool:
        """It was never sent before."""
        return self.taken is not None and self.value is not None and id(self.value) not in self.taken.left


class Instrument:
    """One device of a kind, with its faults and habits."""

    def __init__(
        self,
        *,
        kind: Kind,
        who: Person,
        zone: ZoneInfo,
        now: Callable[[], datetime],
        faults: dict[str, int] | None = None,
        stored: int = 0,
        paired: bool = True,
        resend: bool = False,
    ) -> None:
        self.kind = kind
        self.subscribed: Callable[[int], bool] = lambda _: False
        self.changed: Callable[[], None] = lambda: None
        self._who = who
        self._guest = person(who.seed, 1, id_=f"{who.id}-guest", condition=Condition.HEALTHY)
        self._now = now
        self._faults = dict(faults or {})
        self._paired = paired
        self._resend = resend and kind.clock
        self._memory: Memory[Taken] = Memory(resend=self._resend)
        self._records: RecordAccess[Taken] = RecordAccess(wide=kind.wide)
        self._held: list[Taken] = []
        self._number = 0
        self._last_true: datetime | None = None
        start = now().replace(microsecond=0)
        began = start - (stored + 1) * kind.interval
        self._clock = self._new_clock(zone, began)
        self._cgm = CgmSession(began, check=kind.crc)
        self._reset()
        for back in range(stored, 0, -1):
            self.take(start - back * kind.interval)

    def _new_clock(self, zone: ZoneInfo, powered: datetime) -> DeviceClock:
        if self.kind.stale is not None or "clock-unset" in self._faults:
            return DeviceClock(zone, powered=powered, shows=self.kind.stale or FACTORY)
        return DeviceClock(zone, off=timedelta(seconds=self._faults.get("clock-off", 0)))

    # Measuring

    def take(self, true: datetime | None = None) -> None:
        """Take a measurement: whole seconds, never two with the same time stamp."""
        true = (true or self._now()).replace(microsecond=0)
        if self._last_true is not None and true <= self._last_true:
            true = self._last_true + timedelta(seconds=1)
        self._last_true = true
        self._number += 1
        second = "second-person" in self._faults
        guest = second and self._number % 2 == 0
        who = self._guest if guest else self._who
        moment = Moment(
            who=who,
            vitals=vitals(who, true.astimezone(self._clock.zone)),
            further=further(who, true),
            at=self._clock.shown(true),
            number=self._number,
            user=(2 if guest else 1) if second else None,
            clock_set=self._clock.is_set,
            session=self._clock.shown(self._cgm.began),
        )
        taken = Taken(values=tuple(self.kind.measure(moment)), at=moment.at, true=true, who=who, guest=guest)
        if self.kind.delivery is Delivery.ASKED:
            self._records.store(moment.minutes if self.kind.clock_at == SESSION_START else self._number, taken)
            self._held.append(taken)
            if self.kind.live and self._cgm.running and self.subscribed(self.kind.characteristic):
                self._report.append(taken)
        else:
            self._memory.put(taken)
        self.changed()

    @property
    def anything(self) -> bool:
        """Whether it has a reason to be found."""
        return self._memory.anything or any(not taken.kept for taken in self._held)

    @property
    def resent(self) -> int:
        """How many measurements it sent again because of doubt."""
        return self._memory.resent

    # A session

    def _reset(self) -> None:
        self._answers: deque[Sending] = deque()
        self._report: deque[Taken] = deque()
        self._then: bytes | None = None
        self._sending: deque[Sending] = deque()
        self._sent: list[Taken] = []
        self._last_sent = 0.0
        self._clock_told = False
        self._live = False
        self._indicated = False
        self._segment = 0
        self._cut = False

    def begin(self) -> None:
        """Somebody subscribed."""
        self._memory.begin(latest_first="out-of-order" in self._faults)

    def end(self, now: float, *, hub_hung_up: bool) -> None:
        """The session is over; `now` is of the same clock as `sent`'s."""
        in_peace = hub_hung_up and now - self._last_sent >= SETTLE_S
        answered = not self._cut and not self._report and self._then is None
        if answered and (in_peace or not self._resend):
            for taken in self._sent:
                taken.kept = True
        self._memory.end(now, hub_hung_up=hub_hung_up and not self._cut)
        if self.kind.habit is Habit.CLOCK_FIRST and self._clock_told:
            self._paired = True
        self._faults.pop("silence", None)
        self._records.finished()
        self._reset()

    def step(self, step: Step) -> bool:
        """What a central did; whether the device hangs up on it."""
        return self._cut_by(f"{DISCONNECT}{step.value}")

    def next(self) -> Sending | None:
        """What to send now; None if there is nothing, or `hangs_up`."""
        if "silence" in self._faults:
            return None
        while not self.hangs_up and (self._sending or self._prepare()):
            sending = self._sending[0]
            if self.subscribed(sending.characteristic):
                return sending
            if not self.subscribed(self.kind.characteristic):
                return None
            self._done(self._sending.popleft())  # nobody wants the context, or what is shown in between
        return None

    @property
    def hangs_up(self) -> bool:
        """It ends the link now, whatever the other side wants."""
        return self._cut

    @property
    def patient(self) -> bool:
        """It waits for the hub to end the link, instead of ending it when it has said everything."""
        return self._resend or "silence" in self._faults

    def sent(self, now: float) -> None:
        """What `next` gave has left."""
        sending = self._sending.popleft()
        self._last_sent = now
        self._indicated = self._indicated or sending.taken is not None
        if sending.taken is not None and sending.value is not None:
            sending.taken.left.add(id(sending.value))
        self._done(sending)

    def _done(self, sending: Sending) -> None:
        if sending.ends_procedure:
            self._records.finished()
        if not sending.last or sending.taken is None:
            return
        self._sent.append(sending.taken)
        if self.kind.delivery is not Delivery.ASKED:
            self._memory.sent(self._last_sent)
        if self._faults.pop("garbage", None) is not None:
            self._sending.append(Sending(characteristic=self.kind.characteristic, data=GARBAGE, garbage=True))
        if self._faults.get(f"{DISCONNECT}record") == len(self._sent):
            self._cut_by(f"{DISCONNECT}record")

    def _prepare(self) -> bool:
        """Find what is to be sent next; False if there is nothing."""
        if self._answers:
            self._sending.append(self._answers.popleft())
        elif self._report:
            self._sending.extend(self._values(self._report.popleft()))
        elif self._then is not None:
            if self._cut_by("disconnect-before-response"):
                return False
            self._sending.append(Sending(characteristic=RACP, data=self._then, ends_procedure=True))
            self._then = None
        elif self._may_speak() and (waiting := self._memory.next()) is not None:
            self._sending.extend(self._values(waiting))
        return bool(self._sending)

    def _values(self, taken: Taken) -> Iterator[Sending]:
        values = taken.values * (2 if "duplicate" in self._faults else 1)
        for index, value in enumerate(values, 1):
            *before, data = self._segments(value.data)
            yield from (Sending(characteristic=value.characteristic, data=piece) for piece in before)
            yield Sending(
                characteristic=value.characteristic,
                data=data,
                taken=taken,
                value=value,
                last=index == len(values),
            )

    def _segments(self, value: bytes) -> list[bytes]:
        """A value in pieces with a header each: b0 first, b1 last, then a counter that goes on through the session."""
        room = self.kind.segment_bytes - 1
        if room < 0:
            return [value]
        body = value[1:]
        pieces = [body[at : at + room] for at in range(0, len(body), room)]
        segments = []
        for index, piece in enumerate(pieces):
            ends = (0x01 if index == 0 else 0) | (0x02 if index == len(pieces) - 1 else 0)
            segments.append(bytes([ends | self._segment % 64 << 2]) + piece)
            self._segment += 1
        return segments

    def _may_speak(self) -> bool:
        if not self.subscribed(self.kind.characteristic):
            return False
        if self.kind.delivery is Delivery.STARTED:
            return self._live
        return self.kind.habit is not Habit.CLOCK_FIRST or (self._paired and self._clock_told)

    def _cut_by(self, fault: str) -> bool:
        """Whether this fault cuts the session now; each does so once."""
        if self._faults.pop(fault, None) is None:
            return False
        self._cut = True
        self.changed()
        return True

    # What it answers

    def services(self, address: str) -> tuple[Service, ...]:
        """Its GATT services; the first is its own."""
        kind = self.kind
        own = [Characteristic(uuid=kind.characteristic, flags=(kind.flag,))]
        for uuid, flag in kind.beside.items():
            write = {
                RACP: self._asked, CGM_CONTROL_POINT: self._cgm_told, GHS_CONTROL_POINT: self._ghs_told,
            }.get(uuid)  # fmt: skip
            own.append(Characteristic(uuid=uuid, flags=(flag, "write") if write else (flag,), write=write))
        own += [_constant(uuid, value) for uuid, value in kind.reads.items()]
        if kind.clock_at == DATE_TIME:
            own.append(_clock(DATE_TIME, lambda: date_time(self._shown()), self._date_time_told))
        elif kind.clock_at == SESSION_START:
            own += [
                Characteristic(uuid=STATUS, flags=("read",), read=lambda: self._cgm.status(self._minutes())),
                _clock(SESSION_START, self._session_start, self._session_start_told),
                _constant(RUN_TIME, self._cgm.checked(RUN_TIME_H.to_bytes(2, "little"))),
            ]
        information = tuple(_constant(uuid, value) for uuid, value in device_information(kind, address))
        services = [
            Service(uuid=kind.service, characteristics=tuple(own)),
            Service(uuid=DEVICE_INFORMATION, characteristics=information),
        ]
        if kind.clock_at == CURRENT_TIME:
            clock = _clock(CURRENT_TIME, lambda: current_time(self._shown()), self._current_time_told)
            services.append(Service(uuid=CURRENT_TIME_SERVICE, characteristics=(clock,)))
        elif kind.clock_at == ELAPSED_TIME:
            clock = _clock(ELAPSED_TIME, self._elapsed_time, self._elapsed_time_told)
            services.append(Service(uuid=ELAPSED_TIME_SERVICE, characteristics=(clock,)))
        if kind.battery:
            level = Characteristic(uuid=BATTERY_LEVEL, flags=("read",), read=self._battery)
            services.append(Service(uuid=BATTERY_SERVICE, characteristics=(level,)))
        return tuple(services)

    def _battery(self) -> bytes:
        """Battery Level, 2A19: a percent for every hundred measurements."""
        return bytes([max(5, 95 - self._number // 100)])

    def _shown(self) -> datetime:
        return self._clock.shown(self._now())

    def _set_clock(self, shown: datetime) -> None:
        now = self._now()
        if self.kind.habit is Habit.CLOCK_LATE and (
            not self._indicated or self._clock.error(shown, now) < _OMRON_TOLERANCE
        ):
            raise AttError(DATA_FIELD_IGNORED)
        self._clock.set(shown, now)
        self._clock_told = True
        self.changed()

    def _date_time_told(self, value: bytes) -> None:
        if len(value) != 7:
            raise AttError(AttError.INVALID_LENGTH)
        self._set_clock(_date_time(value))

    def _current_time_told(self, value: bytes) -> None:
        if len(value) != 10:
            raise AttError(AttError.INVALID_LENGTH)
        self._set_clock(_date_time(value))

    def _elapsed_time(self) -> bytes:
        """Current Elapsed Time (ETS): the time, whether the clock needs to be set, and no capabilities."""
        is_set = self._clock.is_set
        return elapsed_time(self._shown(), clock_set=is_set) + bytes([0 if is_set else 1, 0])

    def _elapsed_time_told(self, value: bytes) -> None:
        try:
            self._set_clock(read_elapsed_time(value))
        except ValueError as error:
            raise AttError(0x81) from error  # ETS: incorrect time format

    def _minutes(self) -> int:
        return (self._now() - self._cgm.began) // timedelta(minutes=1)

    def _session_start(self) -> bytes:
        """CGM Session Start Time (CGMS 3.4); the zone with daylight saving in it, as that is what the clock knows."""
        shown = self._clock.shown(self._cgm.began)
        if not self._clock.is_set:
            return self._cgm.checked(bytes(7) + b"\x80\xff")
        quarters = (shown.utcoffset() or timedelta()) // timedelta(minutes=15)
        return self._cgm.checked(date_time(shown) + quarters.to_bytes(1, "little", signed=True) + b"\x00")

    def _session_start_told(self, value: bytes) -> None:
        """The time now, with its zone if that is known, from which the sensor counts back to the start of its session."""
        body = self._cgm.unchecked(value)
        if len(body) != 9:
            raise AttError(AttError.INVALID_LENGTH)
        told, quarters, saving = _date_time(body), int.from_bytes(body[7:8], signed=True), _SAVING_MIN.get(body[8])
        if quarters != _ZONE_UNKNOWN and saving is not None:
            told = told.replace(tzinfo=timezone(timedelta(minutes=15 * quarters + saving)))
        self._set_clock(told)

    def _asked(self, value: bytes) -> None:
        """The Record Access Control Point was written."""
        configured = self.subscribed(RACP) and self.subscribed(self.kind.characteristic)
        procedure = self._records.write(value, configured=configured, busy=self.kind.wide and self._live)
        records = list(procedure.records)
        if "out-of-order" in self._faults:
            records.reverse()
        # An abort ends what runs after the measurement that is leaving.
        self._report = deque(records)
        self._then = procedure.then
        self.changed()

    def _cgm_told(self, value: bytes) -> None:
        began = self._cgm.began
        answer = self._cgm.control(value, self._now().replace(microsecond=0))
        if self._cgm.began != began:  # a new session counts its records anew, and those before are gone
            self._records = RecordAccess(wide=self.kind.wide)
            self._held.clear()
        self._answers.append(Sending(characteristic=CGM_CONTROL_POINT, data=answer))
        self.changed()

    def _ghs_told(self, value: bytes) -> None:
        if value not in (_START_LIVE, _STOP_LIVE):
            raise AttError(COMMAND_NOT_SUPPORTED)
        self._live = value == _START_LIVE
        self._answers.append(Sending(characteristic=GHS_CONTROL_POINT, data=_LIVE_DONE))
        self.changed()


def _date_time(value: bytes) -> datetime:
    try:
        return read_date_time(value)
    except ValueError as error:
        raise AttError(DATA_FIELD_IGNORED) from error


def _constant(uuid: int, value: bytes) -> Characteristic:
    return Characteristic(uuid=uuid, flags=("read",), read=lambda: value)


def _clock(uuid: int, read: Callable[[], bytes], write: Callable[[bytes], None]) -> Characteristic:
    return Characteristic(uuid=uuid, flags=("read", "write"), read=read, write=write)
