"""Vitalograph lung monitor (copd-6 family) over a serial line (Bluetooth SPP, names `LUNG_*`).

One blow is one frame: STX, 56 ASCII characters, ETX, and the XOR of all of these. The device sends it again until it is
answered, so the answer is a promise: ACK is sent when the caller says that the frame is durable, NAK at once for a
frame whose checksum is wrong.

FEV1, FEV6 and FEF25-75 are hundredths; nothing is rounded or scaled away. The ratio FEV1/FEV6 is told in percent, as
11073-10421 and the T-CABS FHIR profile have this code (188936): hundredths of one are whole percent, so 091 is 91 %
with the device's own precision, and a spirometer of either transport gives the same Observation. Zeros in a best value or a zone mean "not set"; a blow of 0.00 is no measurement of a lung, but nothing tells what
the device means by it, so it stays a number and is questionable. Personal best, zones, software version and the
identity of the device are settings, no measurements: `describe` has them. There is no PEF in this layout.

Source: opentele-client-android (Apache-2.0) `vitalographlungmonitor`. The unit L/s of FEF25-75 and the MDC codes of
ratio and FEF25-75 are from open tables (wire/nomenclature.py); the source names no units.
"""

from decimal import Decimal
from functools import reduce
from operator import xor
from typing import Final

from wire.errors import DecodeError, WireError
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, calendar_fault, numeric
from wire.nomenclature import Mdc
from wire.serial.stream import Counts, Found, Frame, Framer, Piece, Seen, SerialFormat

STX: Final = 0x02
ETX: Final = 0x03
ACK: Final = b"\x06"
NAK: Final = b"\x15"

MOST_NAKS: Final = 3
"""A frame that stays wrong so often in a row is not asked for again: the line is bad, and the device keeps the blow."""

REPEATS_S: Final = 5.0
"""A monitor that waits for an answer repeats within seconds; nobody blows twice in so short a time."""

_BEGINNING: Final = b"FTD"
_TEXT_SIZE: Final = 56
_LONGEST_TEXT: Final = 128
"""Another model's text may be longer than this one's, and is evidence all the same; beyond this it is noise."""

_SETTINGS: Final = ("FEV1 personal best", "FEV1 in percent of best", "green zone", "yellow zone", "orange zone")
_TIME_FIELDS: Final = ("year", "month", "day", "hour", "minute", "second")
_VALUES_AT: Final = 14
_VALUES: Final = (
    (_VALUES_AT, Mdc.VOL_AWAY_EXP_FORCED_1S, "L", -2),
    (_VALUES_AT + 3, Mdc.VOL_AWAY_EXP_FORCED_EXP_6S, "L", -2),
    (_VALUES_AT + 6, Mdc.RATIO_AWAY_EXP_FORCED_FEV1_FEV6, "%", 0),
    (_VALUES_AT + 9, Mdc.FLOW_AWAY_EXP_FORCED_25_75_FVC, "L/s", -2),
)
"""Where, what, and in which unit and power of ten the three digits count."""
_SETTINGS_AT: Final = _VALUES_AT + 3 * len(_VALUES)
_TIME_AT: Final = _SETTINGS_AT + 3 * len(_SETTINGS)
_NO_DATE: Final = b"0000"
_BAD_TEST_AT: Final = _TIME_AT + 2 * len(_TIME_FIELDS)
_VERSION_AT: Final = _BAD_TEST_AT + 1


def decode_lung_monitor(frame: bytes) -> tuple[Measurement, ...]:
    """FEV1, FEV6, FEV1/FEV6 and FEF25-75 of one blow; all questionable if the device calls the test bad."""
    _check(frame)
    time = _time(frame)
    bad = _flag(frame)
    measurements = []
    for at, code, unit, exponent in _VALUES:
        digits = int(frame[at : at + 3])
        status = (MeasurementStatus.QUESTIONABLE,) if bad or not digits else ()
        measurements.append(numeric(code, Decimal(digits).scaleb(exponent), unit, device_time=time, status=status))
    return tuple(measurements)


def describe_lung_monitor(frame: bytes) -> dict[str, str | bool]:
    """What the monitor says beside the blow; best and zones as the digits that it sends."""
    _check(frame)
    described: dict[str, str | bool] = {"device": _text(frame, 4, 10), "good test": not _flag(frame)}
    for place, name in enumerate(_SETTINGS):
        described[name] = _text(frame, _SETTINGS_AT + 3 * place, 3)
    described["software version"] = _text(frame, _VERSION_AT, 3)
    return described


class LungMonitorStream:
    """A session with a lung monitor. Every frame wants `acknowledge` once it is durable.

    No public source has a command that sets its clock, so nothing does. A blow of a monitor whose clock was never set
    has no time to know it by: it is a duplicate only if it comes again within `REPEATS_S`.
    """

    __slots__ = ("_framer", "_last", "_naks", "_outgoing", "_seen")

    clock_set = False

    def __init__(self, *, seen: Seen | None = None) -> None:
        self._framer = Framer(_scan)
        self._seen = Seen() if seen is None else seen
        self._last: tuple[bytes, float] = (b"", 0.0)
        self._outgoing = b""
        self._naks = 0

    @property
    def counts(self) -> Counts:
        """What happened on the line."""
        return self._framer.counts

    def receive(self, data: bytes, now: float) -> tuple[Frame, ...]:
        """Take bytes from the line; the frames that are whole now."""
        return self._taken(self._framer.receive(data, now), now)

    def acknowledge(self, _: Frame) -> None:
        """The frame is durable: the device may forget it. A duplicate is answered too, or it comes for ever."""
        self._outgoing += ACK

    def forget(self, frame: Frame) -> None:
        """The frame could not be kept; it is not acknowledged, and comes again."""
        self._seen.forget(frame.data)
        self._last = (b"", 0.0)

    def to_send(self) -> bytes:
        """What is to be written to the line now."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def deadline(self) -> float | None:
        """When `expire` is to be called, if nothing comes."""
        return self._framer.deadline()

    def expire(self, now: float) -> tuple[Frame, ...]:
        """Give up a frame that did not go on, and ask for it again."""
        cut = self.counts.cut
        frames = self._taken(self._framer.expire(now), now)
        if self.counts.cut > cut and not frames:
            self._refuse()
        return frames

    def _taken(self, pieces: list[Piece], now: float) -> tuple[Frame, ...]:
        frames = []
        for found, data in pieces:
            if found is Found.SPOILED:
                self._refuse()
                continue
            self._naks = 0
            self.counts.frames += 1
            duplicate = self._again(data, now)
            self.counts.duplicates += duplicate
            frames.append(Frame(format=SerialFormat.VITALOGRAPH_LUNG_MONITOR, data=data, duplicate=duplicate))
        return tuple(frames)

    def _again(self, data: bytes, now: float) -> bool:
        if data[_TIME_AT:][:4] != _NO_DATE:
            return self._seen.again(data)
        last, at = self._last
        self._last = (data, now)
        return data == last and now < at + REPEATS_S

    def _refuse(self) -> None:
        if self._naks < MOST_NAKS:
            self._naks += 1
            self._outgoing += NAK


def _scan(buffer: bytearray) -> tuple[Found, int]:
    if buffer[0] != STX:
        return Found.JUNK, 1
    for place, byte in enumerate(buffer[1:], 1):
        if byte == ETX:
            if len(buffer) < place + 2:
                return Found.MORE, 0
            right = reduce(xor, buffer[: place + 1]) == buffer[place + 1]
            return (Found.FRAME if right else Found.SPOILED), place + 2
        if not 0x20 <= byte <= 0x7E or place > _LONGEST_TEXT:
            return Found.JUNK, 1
    return Found.MORE, 0


def _check(frame: bytes) -> None:
    """Frame, checksum, the fixed letters, and digits where digits are."""
    size = _TEXT_SIZE + 3
    if frame[:1] != bytes((STX,)):
        raise DecodeError("no STX", 0)
    if len(frame) < size:
        raise DecodeError(f"{len(frame)} bytes, expected {size}", len(frame))
    if frame[size - 2] != ETX:
        raise DecodeError("no ETX", size - 2)
    if len(frame) > size:
        raise DecodeError(f"{len(frame) - size} bytes after the frame", size)
    checksum = reduce(xor, frame[:-1])
    if checksum != frame[-1]:
        raise DecodeError(f"checksum {frame[-1]}, expected {checksum}", size - 1)
    for place, letter in enumerate(_BEGINNING, 1):
        if frame[place] != letter:
            raise DecodeError(f"{frame[place]:02X}, expected {chr(letter)}", place)
    for place, byte in enumerate(frame[4:_VALUES_AT], 4):
        if not 0x20 <= byte <= 0x7E:
            raise DecodeError(f"{byte:02X} in the identity of the device", place)
    _check_digits(frame)


def _check_digits(frame: bytes) -> None:
    """All fields after the identity are digits; the walk says which one is not."""
    if not frame[_VALUES_AT:-2].isdigit():
        place = next(place for place in range(_VALUES_AT, len(frame) - 2) if not 0x30 <= frame[place] <= 0x39)
        raise DecodeError(f"{frame[place]:02X}, expected a digit", place)


def _flag(frame: bytes) -> bool:
    flag = frame[_BAD_TEST_AT]
    if flag not in b"01":
        raise DecodeError(f"bad test flag {chr(flag)}, expected 0 or 1", _BAD_TEST_AT)
    return flag == ord("1")


def _text(frame: bytes, at: int, size: int) -> str:
    return frame[at : at + size].decode("ascii").strip()


def _time(frame: bytes) -> DeviceTime:
    """Six times two digits; the year counts from 2000, and a month or day 00 is unknown."""
    of_century, month, day, hour, minute, second = (int(frame[at : at + 2]) for at in range(_TIME_AT, _BAD_TEST_AT, 2))
    year = 2000 + of_century
    try:
        return DeviceTime(year=year, month=month, day=day, hour=hour, minute=minute, second=second)
    except WireError as error:
        fault = calendar_fault(year=year, month=month, day=day, hour=hour, minute=minute, second=second)
        raise DecodeError(str(error), _TIME_AT + 2 * _TIME_FIELDS.index(fault or "year")) from None
