"""A session with a Nonin oximeter over a serial line: what is asked of it, and how its line is cut into frames.

Answers to commands are one byte, ACK or NAK. A Nonin in a continuous format listens to commands only in the first
seconds of a connection (Nonin9560_BluetoothSPP), so they follow each other at once.

The clock leaves the factory at 2007-10-01 and has no zone. The command that sets it and its answer stand alike in four
independent programs: NHS MediPi BTStreamEXT (Apache-2.0), MD PnP NoninPulseOx (BSD), mattjlewis/NoninPulseOx and
Nonin9560_BluetoothSPP; the one that reads it in the last three.

Spot-checks are stamped by the clock as it was, so it is read first, and its reply stands beside every frame. It is set
when all has come: after the live result, which is the last (MediPi), or when the line has been quiet for `QUIET_S`.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from wire.measurement import DeviceTime
from wire.serial.nonin import (
    CLOCK_DATA,
    CLOCK_REPLY,
    ETX,
    HEADER,
    LEAST_DATA,
    MOST_DATA,
    NO_PULSE,
    NO_SPO2,
    REPLY,
    REPLY_DATA,
    SMART_POINT,
    STX,
)
from wire.serial.stream import Counts, Found, Frame, Framer, Piece, Seen, SerialFormat

ACK: Final = 0x06
NAK: Final = 0x15

ASK_SERIAL_NUMBER: Final = bytes.fromhex("027402020203")
ANSWER_S: Final = 5.0
"""opentele gives a 9560 so long to answer."""
TRIES: Final = 3

RECONNECT_S: Final = 15.0
"""A 9560 takes no new connection sooner after the last (opentele)."""

QUIET_S: Final = 1.0
ASK_CLOCK: Final = bytes.fromhex("02720003")
_SET_CLOCK: Final = 0x72
_STORED_AT, _STORED_BIT = 14, 0x10
"""In a spot-check."""


def set_data_format(format_: SerialFormat, *, long: bool = False) -> bytes:
    """The command that chooses the data format; newer devices refuse it (NAK) without options and checksum."""
    number = 13 if format_ is SerialFormat.NONIN_DF13 else 8
    if not long:
        return bytes((STX, 0x70, 0x02, 0x02, number, ETX))
    body = bytes((0x70, 0x04, 0x02, number, 0x00))
    return bytes((STX, *body, sum(body) & 0xFF, ETX))


def set_clock(time: DeviceTime) -> bytes:
    """The command that sets the device's clock; it answers ACK or NAK. The year is told from 2000 on, there is no zone."""
    body = bytes((time.year % 100, time.month, time.day, time.hour, time.minute, time.second))
    return bytes((STX, _SET_CLOCK, len(body), *body, ETX))


class NoninStream:
    """A session with a Nonin oximeter: asks for serial number and clock, chooses the data format, yields, sets the clock.

    What comes before the device has answered is a frame too, and a device that answers nothing may be set already:
    after `TRIES` the session only listens. `expects` is the data format; replies are yielded in both. `clock` is asked
    for the time of day at the moment when it is sent; None leaves the device's clock alone.
    """

    __slots__ = (
        "_ask_at", "_clock", "_clock_due", "_expects", "_framer", "_heard", "_outgoing", "_seen", "_shown", "_step",
        "_tries", "clock_set",
    )  # fmt: skip

    def __init__(
        self,
        expects: SerialFormat,
        *,
        now: float,
        configure: bool = True,
        clock: Callable[[], DeviceTime | None] = lambda: None,
        seen: Seen | None = None,
    ) -> None:
        if expects not in {SerialFormat.NONIN_DF8, SerialFormat.NONIN_DF13}:
            raise ValueError(f"no Nonin data format: {expects}")
        self._expects = expects
        self._clock = clock
        self._framer = Framer(self._scan)
        self._seen = Seen() if seen is None else seen
        self._outgoing = b""
        self._step = _Step.LISTENING
        self._tries = 0
        self._ask_at: float | None = None
        self._shown = b""
        self._heard = now
        self._clock_due = configure
        """The clock is still to be set, when all has come."""
        self.clock_set = False
        """Whether the device took the time in this session."""
        if configure:
            self._begin(_Step.SERIAL_NUMBER, now)

    @property
    def counts(self) -> Counts:
        """What happened on the line."""
        return self._framer.counts

    @property
    def configured(self) -> bool:
        """Whether no answer is waited for any more."""
        return self._step is _Step.LISTENING

    def receive(self, data: bytes, now: float) -> tuple[Frame, ...]:
        """Take bytes from the line; the frames that are whole now."""
        self._heard = now
        return self._taken(self._framer.receive(data, now), now)

    def acknowledge(self, frame: Frame) -> None:
        """The frame is durable. A Nonin is not told: no public source has it wait for an answer to a result."""

    def forget(self, frame: Frame) -> None:
        """The frame could not be kept."""
        if frame.format is SerialFormat.NONIN_DF13:
            self._seen.forget(_identity(frame.data))

    def to_send(self) -> bytes:
        """What is to be written to the line now."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def deadline(self) -> float | None:
        """When `expire` is to be called, if nothing comes."""
        quiet = self._heard + QUIET_S if self._clock_due and self._step is _Step.LISTENING else None
        return min((at for at in (self._framer.deadline(), self._ask_at, quiet) if at is not None), default=None)

    def expire(self, now: float) -> tuple[Frame, ...]:
        """Give up what did not go on; ask again what was not answered."""
        frames = self._taken(self._framer.expire(now), now)
        if self._ask_at is not None and now >= self._ask_at:
            if self._tries < (1 if self._step is _Step.CLOCK else TRIES):
                self._ask(now)
            else:
                self.counts.unanswered += 1
                self._go_on(now)
        elif self._clock_due and self._step is _Step.LISTENING and now >= self._heard + QUIET_S:
            self._begin(_Step.SETTING, now)
        return frames

    def _begin(self, step: "_Step", now: float) -> None:
        self._step, self._tries, self._ask_at = step, 0, None
        if step is not _Step.LISTENING:
            self._ask(now)

    def _ask(self, now: float) -> None:
        command = self._command()
        if command is None:
            self._go_on(now)
            return
        self._tries += 1
        self._outgoing += command
        self._ask_at = now + ANSWER_S

    def _command(self) -> bytes | None:
        if self._step is _Step.SERIAL_NUMBER:
            return ASK_SERIAL_NUMBER
        if self._step is _Step.CLOCK:
            return ASK_CLOCK
        if self._step is _Step.SETTING:
            self._clock_due = False
            time = self._clock()
            return None if time is None else set_clock(time)
        return set_data_format(self._expects, long=self._step is _Step.LONG_DATA_FORMAT)

    def _go_on(self, now: float) -> None:
        step = _NEXT[self._step]
        if self._expects is SerialFormat.NONIN_DF8:  # nothing is stamped, and the line is never quiet
            step = _Step.DATA_FORMAT if step is _Step.CLOCK else step
            step = _Step.SETTING if step is _Step.LISTENING and self._clock_due else step
        self._begin(step, now)

    def _taken(self, pieces: list[Piece], now: float) -> tuple[Frame, ...]:
        frames = []
        for found, data in pieces:
            if found is Found.ANSWER:
                self._answered(data[0], now)
            elif found is Found.FRAME:
                frames.append(self._frame(data, now))
        return tuple(frames)

    def _answered(self, answer: int, now: float) -> None:
        if self._step is _Step.LISTENING:
            self.counts.skipped_bytes += 1
        elif answer == ACK:
            # The serial number itself is the answer to the first command, the clock to the second.
            if self._step not in {_Step.SERIAL_NUMBER, _Step.CLOCK}:
                if self._step is _Step.SETTING:
                    self.clock_set, self._shown = True, b""
                self._go_on(now)
        elif self._step is _Step.DATA_FORMAT:
            self._begin(_Step.LONG_DATA_FORMAT, now)
        else:
            self.counts.refused += 1
            self._go_on(now)

    def _frame(self, data: bytes, now: float) -> Frame:
        self.counts.frames += 1
        if data[0] & 0x80:
            return Frame(
                format=SerialFormat.NONIN_DF8,
                data=data,
                smart_point=bool(data[3] & SMART_POINT),
                empty=data[2] == NO_SPO2 and (data[0] & 3) << 7 | data[1] == NO_PULSE,
            )
        if data[1] == CLOCK_REPLY:
            self._shown = data
        if data[1] in {REPLY, CLOCK_REPLY}:
            if self._step is (_Step.SERIAL_NUMBER if data[1] == REPLY else _Step.CLOCK):
                self._go_on(now)
            return Frame(format=SerialFormat.NONIN_REPLY, data=data)
        duplicate = self._seen.again(_identity(data))
        self.counts.duplicates += duplicate
        frame = Frame(format=SerialFormat.NONIN_DF13, data=data, duplicate=duplicate, clock=self._shown)
        if self._clock_due and self._step is _Step.LISTENING and not data[_STORED_AT] & _STORED_BIT:
            self._begin(_Step.SETTING, now)
        return frame

    def _scan(self, buffer: bytearray) -> tuple[Found, int]:
        first = buffer[0]
        if first == STX:
            return _scan_packet(buffer)
        if first in {ACK, NAK}:
            return Found.ANSWER, 1
        if self._expects is SerialFormat.NONIN_DF13:
            return (Found.JUNK if first else Found.FILLER), 1
        if not first & 0x80 or any(byte & 0x80 for byte in buffer[1:4]):
            return Found.JUNK, 1
        return (Found.FRAME, 4) if len(buffer) >= 4 else (Found.MORE, 0)


class _Step(Enum):
    """What a session waits for an answer to."""

    SERIAL_NUMBER = auto()
    CLOCK = auto()
    DATA_FORMAT = auto()
    LONG_DATA_FORMAT = auto()
    """With options and checksum, for who refused the short command."""
    LISTENING = auto()
    SETTING = auto()


_NEXT: Final = {
    _Step.SERIAL_NUMBER: _Step.CLOCK,
    _Step.CLOCK: _Step.DATA_FORMAT,
    _Step.DATA_FORMAT: _Step.LISTENING,
    _Step.LONG_DATA_FORMAT: _Step.LISTENING,
    _Step.SETTING: _Step.LISTENING,
}
"""After an answer, or after `TRIES` without one."""


def _identity(spot_check: bytes) -> bytes:
    """Time and numbers, not the status: a result that was sent live comes from memory with another status."""
    return spot_check[5:13] + spot_check[15:19]


def _scan_packet(buffer: bytearray) -> tuple[Found, int]:
    """A frame with STX, length, checksum and ETX: a spot-check or a reply. The clock's reply has no checksum."""
    operation = buffer[1] if len(buffer) > 1 else 0
    header = _REPLIES.get(operation, HEADER)
    if buffer[: len(header)] != header[: len(buffer)]:
        return Found.JUNK, 1
    if operation == CLOCK_REPLY:
        size = CLOCK_DATA + 4
        if len(buffer) < size:
            return Found.MORE, 0
        return (Found.FRAME if buffer[size - 1] == ETX else Found.SPOILED), size
    if operation == REPLY:
        start, end = 3, 3 + REPLY_DATA - 1
    elif len(buffer) <= len(header):
        return Found.MORE, 0
    else:
        start, end = 5, 5 + buffer[4]
        if not LEAST_DATA <= buffer[4] <= MOST_DATA:
            return Found.JUNK, 1
    if len(buffer) < end + 2:
        return Found.MORE, 0
    right = buffer[end] == sum(buffer[start:end]) & 0xFF and buffer[end + 1] == ETX
    return (Found.FRAME if right else Found.SPOILED), end + 2


_REPLIES: Final = {REPLY: bytes((STX, REPLY, REPLY_DATA)), CLOCK_REPLY: bytes((STX, CLOCK_REPLY, CLOCK_DATA))}
