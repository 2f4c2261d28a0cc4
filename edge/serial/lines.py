"""Collecting from serial devices (Nonin, Vitalograph): one task for each listed port.

    open the port -> read the clock, choose the format -> collect -> set the clock -> the port ends -> wait -> again

Every good frame is committed to the outbox inside the port's callback, and only then acknowledged: a device that waits
for an answer and gets none keeps the measurement and sends it again. A frame that came before, in this connection or an
earlier one, is answered and not kept twice; after a restart of the hub it is kept again, and the bridge, which knows a
measurement by device, code and the device's own time, makes no second Observation of it.

Data format 8 runs for as long as a finger is in. What of it is evidence, `_Pace` says.

Nothing that a port or a device does ends the hub: a port may be absent, forbidden, in use, unplugged in the middle of a
frame, or never stop talking.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from edge.clock import citizens_time
from edge.collects import DeviceState, age_s
from edge.intake import Intake
from edge.log import address_hash, event
from edge.serial.port import Framing, PortError, SerialPort
from wire.errors import DecodeError
from wire.evidence import Clock, ClockState, Device, SerialContext, SerialFrame
from wire.measurement import DeviceTime
from wire.reading import encode_reading
from wire.serial import (
    FORMAT_NUMBERS,
    Frame,
    LungMonitorStream,
    NoninMemoryStream,
    NoninStream,
    Seen,
    SerialFormat,
    SerialStream,
    shown_clock,
)
from wire.serial.nonin_memory import REMEMBERED as PIECES_REMEMBERED
from wire.serial.nonin_session import RECONNECT_S as NONIN_RECONNECT_S
from wire.serial.stream import REMEMBERED

TICK_S: Final = 5.0
"""The longest that a line sleeps without a sign of progress."""
ABSENT_S: Final = 5.0
"""How often a port that is not there is looked for: somebody plugs the cable in and waits."""
LONGEST_RETRY_S: Final = 30.0
"""A device that was used is asked within half a minute; a 9560 waits two minutes for that."""
FIRST_RETRY_S: Final = 1.0
PACE_S: Final = 0.75
"""Data format 8 has a value each second, some firmware three: less than a second apart, more than a half, so that a
device which is a little fast or late loses no second."""


class Kind(NamedTuple):
    """What is known of a format's lines."""

    reconnect_s: float
    """The least time between two connections."""
    framing: Framing = Framing()


KINDS: Final[Mapping[SerialFormat, Kind]] = MappingProxyType(
    {
        SerialFormat.NONIN_DF8: Kind(NONIN_RECONNECT_S),
        SerialFormat.NONIN_DF13: Kind(NONIN_RECONNECT_S),
        SerialFormat.NONIN_MEMORY: Kind(NONIN_RECONNECT_S),
        SerialFormat.VITALOGRAPH_LUNG_MONITOR: Kind(3.0),  # as opentele waits
    }
)


class Line(NamedTuple):
    """A port that may be read, as hub.toml lists it."""

    path: str
    format: SerialFormat
    address: bytes
    label: str = ""
    clear_store: bool = False
    """Clear a recorder's memory once all of it is in the outbox."""


class Port(Protocol):
    """What a line asks of an open port (`edge.serial.port.SerialPort`)."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Opens(Protocol):
    """Opens a port; PortError if it cannot be."""

    def __call__(
        self, path: str, framing: Framing, /, *, received: Callable[[bytes], None], gone: Callable[[], None]
    ) -> Port: ...


class SerialCollector:
    """Reads the listed ports, for ever."""

    def __init__(
        self, *, lines: Iterable[Line], intake: Intake, now: Callable[[], Clock], opens: Opens = SerialPort
    ) -> None:
        self._lines = tuple(_Attended(line, intake, now, opens) for line in lines)

    @property
    def progress(self) -> int:
        """The slowest line's."""
        return min((line.progress for line in self._lines), default=0)

    def states(self) -> tuple[DeviceState, ...]:
        """The listed ports' devices, for `status`."""
        now = asyncio.get_running_loop().time()
        return tuple(line.state(now) for line in self._lines)

    async def run(self) -> None:
        """Collect until cancelled, then close every port."""
        async with asyncio.TaskGroup() as group:
            for line in self._lines:
                group.create_task(line.run(), name=f"port {line.hash}")


def local_time(clock: Clock) -> DeviceTime | None:
    """What a device's clock is to show where the hub stands; None if the hub does not know the time itself."""
    if clock.state is not ClockState.SYNCHRONISED:
        return None
    there = _local(clock)
    return DeviceTime.of(there.replace(microsecond=0))


def _off_s(reply: bytes, clock: Clock) -> float | None:
    """How many seconds a device's clock is ahead of the hub's, by its reply; None if it shows no time."""
    try:
        shown = datetime.fromisoformat(shown_clock(reply).isoformat())
    except (DecodeError, ValueError):  # an unset clock has zeros in its date
        return None
    return round((shown - _local(clock)).total_seconds(), 1)


def _local(clock: Clock) -> datetime:
    return citizens_time(clock).replace(tzinfo=None)


class _Pace:
    """Which frames of a device that never stops are evidence: one each `PACE_S`, and every SmartPoint.

    A number is the device's mean over four beats, told anew each second, so more would say nothing new and fill the
    outbox: a finger left in for a night is 28,800 of them. SmartPoint marks the values that may be recorded: such a
    frame is only left out if it is, byte for byte, what was kept last. Of a device without a finger one frame is kept,
    which says so.
    """

    def __init__(self) -> None:
        self._last = b""
        self._kept_at = float("-inf")

    def keeps(self, frame: Frame, now: float) -> bool:
        """Whether this frame is evidence."""
        if frame.format is not SerialFormat.NONIN_DF8:
            return True
        news = frame.data != self._last
        due = now >= self._kept_at + PACE_S
        if not (due or (frame.smart_point and news)) or (frame.empty and not news):
            return False
        self._last, self._kept_at = frame.data, now
        return True


class _Attended:
    """One port, and how it stands with it."""

    def __init__(self, line: Line, intake: Intake, now: Callable[[], Clock], opens: Opens) -> None:
        self.line = line
        self.hash = address_hash(line.address)
        self.kind = KINDS[line.format]
        self.device = Device(address=line.address)
        self.intake = intake
        self.now = now
        self.opens = opens
        self.forget()
        self.pace = _Pace()
        self.progress = 0
        self.sessions = self.readings = 0
        self.seen_at: float | None = None
        self.read_at: float | None = None
        self.clock_off_s: float | None = None
        self.clock_set_at: float | None = None
        self._connected = False
        self._fault: str | None = None

    def forget(self) -> None:
        """Know no frame any more: rather one kept twice than one that was never kept and is taken for a repetition."""
        self.seen = Seen(PIECES_REMEMBERED if self.line.format is SerialFormat.NONIN_MEMORY else REMEMBERED)

    def state(self, now: float) -> DeviceState:
        return DeviceState(
            device=self.hash,
            label=self.line.label,
            connected=self._connected,
            readings=self.readings,
            sessions=self.sessions,
            seen_s=age_s(self.seen_at, now),
            read_s=age_s(self.read_at, now),
            clock_off_s=self.clock_off_s,
            clock_set_s=age_s(self.clock_set_at, now),
        )

    async def run(self) -> None:
        """Open the port and collect, again and again."""
        retry_s = FIRST_RETRY_S
        while True:
            heard = False
            try:
                session = self._open()
                if session is not None:
                    heard = await self._collect(session)
            except Exception as error:  # noqa: BLE001  the task boundary: one port's trouble never ends the hub
                event("session_broke", logging.ERROR, device=self.hash, error=type(error).__name__)
                self.forget()
            retry_s = FIRST_RETRY_S if heard else min(2 * retry_s, LONGEST_RETRY_S)
            if self._fault is None:
                await self._pause(max(self.kind.reconnect_s, retry_s))
            else:
                await self._pause(min(retry_s, ABSENT_S) if self._fault == "not-there" else retry_s)

    def _open(self) -> "_Session | None":
        try:
            session = _Session(self)
        except PortError as error:
            if error.reason != self._fault:
                event(
                    "port_not_opened", logging.WARNING,
                    device=self.hash, port=self.line.path, reason=error.reason, detail=error.detail,
                )  # fmt: skip
            self._fault = error.reason
            return None
        if self._fault is not None:
            event("port_recovered", device=self.hash, port=self.line.path, reason=self._fault)
        self._fault = None
        return session

    async def _collect(self, session: "_Session") -> bool:
        """Until the port ends; whether the device said anything."""
        self._connected = True
        try:
            await session.run()
        finally:
            self._connected = False
            session.close()
        return session.heard

    async def _pause(self, seconds: float) -> None:
        while seconds > 0:
            self.progress += 1
            await asyncio.sleep(min(seconds, TICK_S))
            seconds -= TICK_S


class _Session:
    """One time that a port is open; PortError if it cannot be."""

    def __init__(self, owner: _Attended) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self._stream = self._new_stream()
        self._news = asyncio.Event()
        self._ended = ""
        self._brought = 0
        self._replies: dict[bytes, SerialContext] = {}
        """What the device has shown of its clock; it is asked once."""
        self.heard = False
        """Whether the device has said anything: over SPP a port opens although no device is near."""
        self._port = owner.opens(
            owner.line.path, owner.kind.framing, received=self._received, gone=lambda: self._end("device")
        )

    async def run(self) -> None:
        """Until the port ends: what is to be said is said, and what does not go on is given up in time."""
        self._say()
        while not self._ended:
            self._owner.progress += 1
            self._news.clear()
            tick = self._loop.time() + TICK_S
            try:
                async with asyncio.timeout_at(min(tick, self._stream.deadline() or tick)):
                    await self._news.wait()
            except TimeoutError:
                self._take(self._stream.expire(self._loop.time()))

    def close(self) -> None:
        self._port.close()
        if not self.heard:
            return
        counts = self._stream.counts
        event(
            "session_ended",
            logging.WARNING if self._ended == "fault" else logging.INFO,
            device=self._owner.hash,
            readings=self._brought,
            ended=self._ended or "stopping",
            bytes=counts.skipped_bytes,
            missing=counts.spoiled + counts.cut,
            elapsed_ms=round(1000 * (self._loop.time() - self._begun)),
        )

    def _new_stream(self) -> SerialStream:
        def clock() -> DeviceTime | None:
            return local_time(self._owner.now())

        format_, seen = self._owner.line.format, self._owner.seen
        if format_ is SerialFormat.VITALOGRAPH_LUNG_MONITOR:
            return LungMonitorStream(seen=seen)
        if format_ is SerialFormat.NONIN_MEMORY:
            return NoninMemoryStream(now=self._begun, clock=clock, clear=self._owner.line.clear_store, seen=seen)
        return NoninStream(format_, now=self._begun, clock=clock, seen=seen)

    def _received(self, data: bytes) -> None:
        if self._ended:
            return
        if not self.heard:
            self.heard = True
            self._owner.sessions += 1
            event("device_connected", device=self._owner.hash)
        now = self._owner.seen_at = self._loop.time()
        clock_was_set = self._stream.clock_set
        try:
            self._take(self._stream.receive(data, now))
        except Exception as error:  # noqa: BLE001  a callback's boundary: what one device says never ends the hub
            event("session_broke", logging.ERROR, device=self._owner.hash, error=type(error).__name__)
            self._owner.forget()
            self._end("fault")
        if self._stream.clock_set and not clock_was_set:
            event("clock_written", device=self._owner.hash, off_s=self._owner.clock_off_s)
            self._owner.clock_set_at = now
        self._news.set()

    def _take(self, frames: tuple[Frame, ...]) -> None:
        """Commit what is evidence, acknowledge what is durable, and say what is to be said."""
        for frame in frames:
            if frame.format is SerialFormat.NONIN_REPLY:
                self._shown(frame.data)
            elif self._keep(frame):
                self._stream.acknowledge(frame)
        self._say()

    def _shown(self, reply: bytes) -> None:
        now = self._owner.now()
        number = FORMAT_NUMBERS[SerialFormat.NONIN_REPLY]
        self._replies = {reply: SerialContext(format=number, mono_us=now.mono_us, frame=reply)}
        off_s = _off_s(reply, now)
        if off_s is not None:
            self._owner.clock_off_s = off_s

    def _keep(self, frame: Frame) -> bool:
        """Whether the frame is durable now, by this or an earlier commit, or is no evidence."""
        owner, intake, now = self._owner, self._owner.intake, self._loop.time()
        if frame.duplicate:
            intake.retry()
            return not intake.held
        if not owner.pace.keeps(frame, now):
            return True
        dropped = intake.dropped
        number = FORMAT_NUMBERS[frame.format]
        clock = self._replies.get(frame.clock)
        evidence = SerialFrame(
            device=owner.device,
            received=owner.now(),
            format=number,
            frame=frame.data,
            context=() if clock is None else (clock,),
        )
        seq = intake.take(encode_reading(evidence))
        if seq is None:
            if intake.dropped > dropped:
                self._stream.forget(frame)
            return False
        self._brought += 1
        owner.readings += 1
        owner.read_at = now
        event("reading_stored", device=owner.hash, bytes=len(frame.data), seq=seq)
        return True

    def _say(self) -> None:
        data = self._stream.to_send()
        if not data or self._ended:
            return
        try:
            self._port.write(data)
        except PortError as error:
            event("port_failed", logging.WARNING, device=self._owner.hash, reason=error.reason, detail=error.detail)
            self._end("fault")

    def _end(self, ended: str) -> None:
        self._ended = self._ended or ended
        self._news.set()
