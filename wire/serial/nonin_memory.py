"""The memory of a Nonin WristOx2 3150 over a serial line: its playback, and the pieces in which that is evidence.

The recorder keeps studies: runs of pulse rate and SpO2 every 1, 2 or 4 seconds while a finger is in. `MPB?` is answered
by ACK and the whole memory, newest study first, in triplets of two bytes and their sum modulo 256:

    FE FD                                 a study (the third byte, FB, is the sum as everywhere)
    seconds per sample, format (2)
    month, day | year, minute | second, hour         when it was written
    the same three times three: when it stopped, and when it started
    pulse rate, SpO2                      the newest sample first, FF for none
    ...
    FE FD | 4, 2 | the clock now          the end; then, in newer firmware, EF and a sum, EE and a byte count
    six triplets of zeros

A night has thousands of samples, more than one reading takes, so a study is cut into pieces of `PIECE` samples, each
evidence by itself: the 33 bytes of the study's header, the number of samples that stand before these (u32, big-endian;
the only bytes that are not the device's own), and the triplets. The cuts are counted from the stop, which never
moves: a study that is played again gives the same pieces.

A pulse rate above 200 is compressed to steps of two; FB is "above 300". Samples are told oldest first, with the time of
the first. The memory is cleared (`MCL!`) only on request, and then only when a whole playback was acknowledged. The sum and the byte count at the end are read over: no public source says what exactly they cover, and every
triplet has its own sum.

Sources: fluxtream-ipy's Nonin3150 (after Nonin 7970-000 and "3150 Commands"), mobileappconsultant/isansys
NoninWristOxPlaybackDecoder and its generator of playbacks (after Nonin 110520-000 rev. B), charlesfracchia/pyBioLab. Only
the facts are theirs.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from functools import cache
from hashlib import sha256
from typing import Final

from wire.errors import DecodeError
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, Samples, Special
from wire.nomenclature import Mdc
from wire.serial.stream import Counts, Frame, Seen, SerialFormat

ASK_PLAYBACK: Final = b"MPB?\r\n"
ASK_CLOCK: Final = b"DTM?\r\n"
CLEAR: Final = b"MCL!\r\n"
ANSWER_S: Final = 5.0
SILENCE_S: Final = 4.0
"""A playback that stands still for so long is over: fluxtream waits as long, isansys a second more."""
TRIES: Final = 3
PIECE: Final = 150
"""Samples in one piece: ten minutes at the recorder's own rate, and 487 bytes, which fit a reading."""
_MOST_SAMPLES: Final = 1_000_000
"""270 hours at one sample a second are 972,000."""
REMEMBERED: Final = 8192
"""Pieces known by heart: a full memory (270 hours at one sample a second) has 6,480."""

_CLOCK_DIGITS: Final = 12

_ACK: Final = 0x06
_NAK: Final = 0x15
_STUDY: Final = b"\xfe\xfd\xfb"
_FORMAT: Final = 2
_HEADER_SIZE: Final = 33
_RATE_AT, _FORMAT_AT, _WRITTEN_AT, _STOP_AT, _START_AT = 3, 4, 6, 15, 24
_TIME_SIZE: Final = 9
_PLACE_SIZE: Final = 4
_SAMPLES_AT: Final = _HEADER_SIZE + _PLACE_SIZE
_TRAILER: Final = 0xEF
_END_SIZE: Final = 24
"""EF and EE with two bytes each, and the zeros."""
_NOTHING: Final = 0xFF
_ABOVE_300: Final = 251
_COMPRESSED: Final = 200

_STORED: Final = (MeasurementStatus.STORED,)


def set_clock(time: DeviceTime) -> bytes:
    """The command that sets the recorder's clock; it answers ACK and a line end."""
    return f"DTM={time.year % 100:02}{time.month:02}{time.day:02}{time.hour:02}{time.minute:02}{time.second:02}\r\n".encode()


def decode_piece(piece: bytes) -> tuple[Measurement, ...]:
    """SpO2 and pulse rate of one piece of a study, each a run of samples from the oldest on."""
    place, count = _check(piece)
    rate_s = piece[_RATE_AT]
    stop = _time(piece, _STOP_AT)
    time = None
    if stop is not None:
        oldest = stop - timedelta(seconds=rate_s * (place + count - 1))
        time = DeviceTime.of(oldest)
    period_ms = Decimal(1000 * rate_s)
    pulses, saturations = piece[_SAMPLES_AT::3][::-1], piece[_SAMPLES_AT + 1 :: 3][::-1]
    runs: tuple[tuple[int, str, tuple[Decimal | Special, ...]], ...] = (
        (Mdc.PULS_OXIM_SAT_O2, "%", tuple(map(_saturation, saturations))),
        (Mdc.PULS_OXIM_PULS_RATE, "/min", tuple(map(_pulse, pulses))),
    )
    return tuple(
        Measurement(
            code=code,
            samples=Samples(origin=Decimal(0), unit=unit, period_ms=period_ms, data=data),
            device_time=time,
            status=_STORED,
            clock_set=time is not None,
        )
        for code, unit, data in runs
    )


def describe_piece(piece: bytes) -> dict[str, str | bool]:
    """Which study it is of, and where in it."""
    place, count = _check(piece)
    start, stop = _time(piece, _START_AT), _time(piece, _STOP_AT)
    return {
        "study started": start.isoformat() if start else "clock not set",
        "study stopped": stop.isoformat() if stop else "clock not set",
        "seconds per sample": str(piece[_RATE_AT]),
        "samples": f"{place + 1} to {place + count} before the stop",
    }


class NoninMemoryStream:
    """A session with a recorder: reads its clock, asks for the playback, yields pieces, sets the clock; with `clear` it
    clears a memory that was played back whole and acknowledged to its last piece.

    A playback with a triplet whose sum is wrong is given up until the line is silent, then asked for again; what was
    whole in it has been yielded. A recorder that answers nothing is left alone.
    """

    __slots__ = (
        "_at", "_buffer", "_clear", "_clear_due", "_clock", "_ended", "_outgoing", "_owed", "_place", "_samples",
        "_seen", "_shown", "_step", "_study", "_tries", "clock_set", "counts",
    )  # fmt: skip

    def __init__(
        self,
        *,
        now: float,
        clock: Callable[[], DeviceTime | None] = lambda: None,
        clear: bool = False,
        seen: Seen | None = None,
    ) -> None:
        self.counts = Counts()
        self.clock_set = False
        """Whether the recorder took the time in this session."""
        self._clock = clock
        self._clear = clear
        self._seen = Seen(REMEMBERED) if seen is None else seen
        self._outgoing = b""
        self._buffer = bytearray()
        self._shown = b""
        self._study: bytes | None = None
        self._samples = bytearray()
        self._place = 0
        self._owed = 0
        """Pieces that were given and are not acknowledged."""
        self._ended = self._clear_due = False
        """A whole playback lies behind and is to be cleared; all of it is acknowledged."""
        self._at: float | None = None
        """When what is waited for is over."""
        self._step = _Step.DONE
        self._tries = 0
        self._begin(_Step.READING, now)

    @property
    def configured(self) -> bool:
        """Whether nothing is waited for any more."""
        return self._step is _Step.DONE

    def receive(self, data: bytes, now: float) -> tuple[Frame, ...]:
        """Take bytes from the line; the pieces that are whole now."""
        frames: list[Frame] = []
        self._buffer += data
        while self._buffer:
            if self._step is _Step.PLAYING:
                self._at = now + SILENCE_S
                if not self._take_triplet(frames, now):
                    break
            elif self._step is _Step.LOST:
                self._at = now + SILENCE_S
                self._skip(len(self._buffer))
            elif not self._take_answer(frames, now):
                break
        return tuple(frames)

    def acknowledge(self, frame: Frame) -> None:  # noqa: ARG002  one is as good as another: all must come
        """A piece is durable. When all of a whole playback are, the recorder may forget them."""
        self._owed -= 1
        if self._ended and not self._owed:
            self._ended, self._clear_due = False, True
            if self._step is _Step.DONE:
                self._rest()

    def forget(self, frame: Frame) -> None:
        """A piece could not be kept: nothing of this playback is cleared."""
        self._seen.forget(_identity(frame.data))

    def to_send(self) -> bytes:
        """What is to be written to the line now."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def deadline(self) -> float | None:
        """When `expire` is to be called, if nothing comes."""
        return self._at

    def expire(self, now: float) -> tuple[Frame, ...]:
        """Give up what did not go on; ask again what was not answered or not whole."""
        if self._at is None or now < self._at:
            return ()
        if self._step is _Step.PLAYING and self._at_the_end():
            self._end(now)
            return ()
        self.counts.cut += self._step is _Step.PLAYING
        self._skip(len(self._buffer))
        step = _Step.ASKING if self._step in {_Step.PLAYING, _Step.LOST} else self._step
        if self._tries < (1 if step is _Step.READING else TRIES):
            self._ask(step, now)
        else:
            self.counts.unanswered += 1
            self._go_on(step, now)
        return ()

    # What is asked

    def _begin(self, step: "_Step", now: float) -> None:
        self._tries = 0
        self._ask(step, now)

    def _ask(self, step: "_Step", now: float) -> None:
        command = _COMMANDS.get(step)
        if command is None:
            time = self._clock()
            if time is None:
                self._rest()
                return
            command = set_clock(time)
        self._step, self._at = step, now + ANSWER_S
        self._tries += 1
        self._outgoing += command

    def _go_on(self, step: "_Step", now: float) -> None:
        """What comes after an answer, or after none."""
        if step is _Step.READING:
            self._begin(_Step.ASKING, now)
        elif step is _Step.ASKING:
            self._begin(_Step.SETTING, now)
        else:
            self._rest()

    def _rest(self) -> None:
        self._step, self._at = _Step.DONE, None
        if self._clear_due:
            self._clear_due, self._step = False, _Step.CLEARING
            self._outgoing += CLEAR

    def _take_answer(self, frames: list[Frame], now: float) -> bool:
        """Take what stands at the front; False if more must come first."""
        answer, step = self._buffer[0], self._step
        if answer == _ACK and step is _Step.READING:
            if len(self._buffer) <= _CLOCK_DIGITS:
                return False
            shown = bytes(self._buffer[1 : 1 + _CLOCK_DIGITS])
            if shown.isdigit():
                self._shown = shown
                frames.append(Frame(format=SerialFormat.NONIN_REPLY, data=shown))
            del self._buffer[: 1 + _CLOCK_DIGITS]
            self._go_on(step, now)
        elif answer == _ACK and step is _Step.ASKING:
            del self._buffer[0]
            self._step, self._study, self._at = _Step.PLAYING, None, now + SILENCE_S
            self._samples.clear()
        elif answer in {_ACK, _NAK} and step is not _Step.DONE:
            del self._buffer[0]
            self.clock_set |= answer == _ACK and step is _Step.SETTING
            self.counts.refused += answer == _NAK
            self._go_on(step, now)
        elif answer in b"\r\n":
            del self._buffer[0]  # the line end after an answer says nothing
        else:
            self._skip(1)
        return True

    # What is played

    def _take_triplet(self, frames: list[Frame], now: float) -> bool:
        """Take what stands at the front; False if more must come first."""
        buffer = self._buffer
        # Behind the clock the end stands where a study has its stop.
        if self._study is not None and len(self._study) == _STOP_AT and buffer[0] == _TRAILER:
            if len(buffer) < _END_SIZE:
                return False
            del buffer[:_END_SIZE]
            self._end(now)
            return True
        if len(buffer) < 3:
            return False
        triplet = bytes(buffer[:3])
        if (triplet[0] + triplet[1]) & 0xFF != triplet[2] or not self._fits(triplet):
            self.counts.spoiled += 1
            self._step = _Step.LOST
            return True
        del buffer[:3]
        if triplet == _STUDY:
            self._cut(frames)
            self._study, self._place = triplet, 0
        elif self._study is not None and len(self._study) < _HEADER_SIZE:
            self._study += triplet
        else:
            self._samples += triplet
            if len(self._samples) == 3 * PIECE:
                self._cut(frames)
        return True

    def _fits(self, triplet: bytes) -> bool:
        """Whether a right triplet may stand here: a header never inside a header, nothing before the first one."""
        if self._study is None or triplet == _STUDY:
            return triplet == _STUDY and (self._study is None or len(self._study) == _HEADER_SIZE)
        if len(self._study) == _RATE_AT:
            return triplet[1] == _FORMAT and triplet[0] > 0
        return True

    def _cut(self, frames: list[Frame]) -> None:
        if self._study is None or not self._samples:
            return
        piece = self._study + self._place.to_bytes(_PLACE_SIZE) + bytes(self._samples)
        self._place += len(self._samples) // 3
        self._samples.clear()
        duplicate = self._seen.again(_identity(piece))
        self.counts.frames += 1
        self.counts.duplicates += duplicate
        self._owed += 1
        frames.append(Frame(format=SerialFormat.NONIN_MEMORY, data=piece, duplicate=duplicate, clock=self._shown))

    def _at_the_end(self) -> bool:
        """Older firmware ends with a header of zeros and silence."""
        study = self._study
        return study is not None and len(study) == _HEADER_SIZE and not any(study[_STOP_AT:]) and not self._samples

    def _end(self, now: float) -> None:
        self._study = None
        self._ended = self._clear and self._owed > 0
        self._begin(_Step.SETTING, now)

    def _skip(self, size: int) -> None:
        del self._buffer[:size]
        self.counts.skipped_bytes += size


class _Step(Enum):
    """What a session waits for."""

    READING = auto()
    """The clock."""
    ASKING = auto()
    PLAYING = auto()
    LOST = auto()
    """Something was wrong in the playback: the line must be silent before it can be asked for again."""
    SETTING = auto()
    CLEARING = auto()
    DONE = auto()


_COMMANDS: Final = {_Step.READING: ASK_CLOCK, _Step.ASKING: ASK_PLAYBACK, _Step.CLEARING: CLEAR}
"""What is asked; for SETTING it is the time."""


def _identity(piece: bytes) -> bytes:
    """All but when the study was written, which may be told anew."""
    return sha256(piece[:_WRITTEN_AT] + piece[_STOP_AT:]).digest()[:12]


def _check(piece: bytes) -> tuple[int, int]:
    """The place of a piece in its study and the number of its samples; every sum must be right."""
    if piece[:3] != _STUDY:
        raise DecodeError("no study begins here", 0)
    if len(piece) < _SAMPLES_AT + 3:
        raise DecodeError(f"{len(piece)} bytes, expected {_SAMPLES_AT + 3} at least", len(piece))
    if (len(piece) - _SAMPLES_AT) % 3:
        raise DecodeError("the last triplet is not whole", len(piece) - (len(piece) - _SAMPLES_AT) % 3)
    if len(piece) > _SAMPLES_AT + 3 * PIECE:
        raise DecodeError(f"more than {PIECE} samples", _SAMPLES_AT + 3 * PIECE)
    for begin, end in ((0, _HEADER_SIZE), (_SAMPLES_AT, len(piece))):
        part = piece[begin:end]
        for number, (first, second, total) in enumerate(zip(part[::3], part[1::3], part[2::3], strict=True)):
            if (first + second) & 0xFF != total:
                raise DecodeError(f"checksum {total}, expected {(first + second) & 0xFF}", begin + 3 * number + 2)
    for number, byte in enumerate(piece[_SAMPLES_AT + 1 :: 3]):
        if 100 < byte < _NOTHING:
            raise DecodeError(f"no saturation is {byte} %", _SAMPLES_AT + 1 + 3 * number)
    if piece[_FORMAT_AT] != _FORMAT:
        raise DecodeError(f"memory format {piece[_FORMAT_AT]}, expected {_FORMAT}", _FORMAT_AT)
    if not piece[_RATE_AT]:
        raise DecodeError("0 seconds per sample", _RATE_AT)
    place = int.from_bytes(piece[_HEADER_SIZE:_SAMPLES_AT])
    if place > _MOST_SAMPLES:
        raise DecodeError(f"no memory holds {place} samples", _HEADER_SIZE)
    return place, (len(piece) - _SAMPLES_AT) // 3


def _time(piece: bytes, at: int) -> datetime | None:
    """A time in three triplets; None if the clock was not set (month or day 0). DecodeError where no calendar has it."""
    month, day, _, year, minute, _, second, hour, _ = piece[at : at + _TIME_SIZE]
    if not month or not day:
        return None
    try:
        return datetime(2000 + year, month, day, hour, minute, second)  # noqa: DTZ001  the recorder knows no zone
    except ValueError as error:
        raise DecodeError(str(error), at) from None


@cache
def _saturation(byte: int) -> Decimal | Special:
    return Special.NAN if byte == _NOTHING else Decimal(byte)


@cache
def _pulse(byte: int) -> Decimal | Special:
    if byte == _NOTHING:
        return Special.NAN
    if byte == _ABOVE_300:
        return Special.POSITIVE_INFINITY
    if byte > _ABOVE_300:
        return Special.RESERVED
    return Decimal(byte if byte <= _COMPRESSED else _COMPRESSED + 2 * (byte - _COMPRESSED))
