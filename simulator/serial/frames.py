"""The bytes of serial devices, from what is true of a person: written from the sources that `wire.serial` names too, and
with nothing of it, so that a fault in one cannot hide in the other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from simulator.people import Person, further, nth_moment, vitals
from simulator.values import Other, Value

SERIAL_NUMBER: Final = "SIM%06d"
STUDY_SAMPLES: Final = 90
STUDY_RATE_S: Final = 4

SPO2, PULSE = (150456, "MDC_PULS_OXIM_SAT_O2"), (149530, "MDC_PULS_OXIM_PULS_RATE")
FEV1, FEV6 = (152586, "MDC_VOL_AWAY_EXP_FORCED_1S"), (152587, "MDC_VOL_AWAY_EXP_FORCED_EXP_6S")
RATIO = (188936, "MDC_RATIO_AWAY_EXP_FORCED_FEV1_FEV6")
FLOW = (188960, "MDC_FLOW_AWAY_EXP_FORCED_25_75_FVC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One frame, the values that it says, and its time stamp."""

    data: bytes
    values: tuple[Value, ...] = ()
    others: tuple[Other, ...] = ()
    time: datetime | None = None
    key: bytes = b""
    """What makes it the same reading when it is sent again."""


def oxygen(who: Person, index: int) -> tuple[int, int]:
    """SpO2 and pulse rate as a display shows them."""
    now = vitals(who, nth_moment(index))
    return _whole(now.spo2), _whole(now.pulse)


def running(who: Person, index: int) -> Said:
    """Data format 8: status and high bits of the pulse, the low ones, SpO2, SmartPoint in every fourth."""
    spo2, pulse = oxygen(who, index)
    data = bytes((0x80 | pulse >> 7, pulse & 0x7F, spo2, 0x20 if index % 4 == 3 else 0x00))
    return Said(data=data, values=_oxygen_values(spo2, pulse))


def spot_check(who: Person, index: int, at: datetime, *, stored: bool) -> Said:
    """Data format 13: STX, 0, 13, length of two bytes, decimal time, status, pulse, 0, SpO2, sum, ETX; SmartPoint."""
    spo2, pulse = oxygen(who, index)
    at = at.replace(microsecond=at.microsecond // 10_000 * 10_000)
    stamp = bytes.fromhex(at.strftime("%Y%m%d%H%M%S") + f"{at.microsecond // 10_000:02}")
    body = stamp + bytes((0x02, 0x10 if stored else 0x00)) + pulse.to_bytes(2) + bytes((0, spo2))
    data = bytes((0x02, 0x00, 0x0D, 0x00, len(body))) + body + bytes((sum(body) % 256, 0x03))
    return Said(data=data, values=_oxygen_values(spo2, pulse), time=at, key=stamp)


def blow(who: Person, index: int, at: datetime | None, serial: int) -> Said:
    """A lung monitor's blow: STX, 56 characters, ETX, exclusive or of all; digits are hundredths, the ratio's too."""
    now = further(who, nth_moment(index))
    fev1, fev6, flow = _whole(100 * now.fev1_l), _whole(100 * now.fev6_l), _whole(60 * now.fev1_l)
    ratio = _whole(100 * fev1 / fev6)
    stamp = "000000000000" if at is None else at.strftime("%y%m%d%H%M%S")
    text = f"FTD{serial:010}{fev1:03}{fev6:03}{ratio:03}{flow:03}{fev1 + 20:03}095090000000{stamp}0923"
    body = b"\x02" + text.encode("ascii") + b"\x03"
    check = 0
    for byte in body:
        check ^= byte
    hundredth = Decimal("0.01")
    values = (
        Value(code=FEV1[0], refid=FEV1[1], value=fev1 * hundredth, unit="L"),
        Value(code=FEV6[0], refid=FEV6[1], value=fev6 * hundredth, unit="L"),
        Value(code=RATIO[0], refid=RATIO[1], value=Decimal(ratio), unit="%"),
        Value(code=FLOW[0], refid=FLOW[1], value=flow * hundredth, unit="L/s"),
    )
    return Said(
        data=body + bytes((check,)),
        values=values,
        time=None if at is None else at.replace(microsecond=0),
        key=body + bytes((index,)),
    )


def study(who: Person, index: int, stop: datetime | None, written: datetime) -> Said:
    """One study of a recorder: header, times and samples in triplets with their sums, the newest sample first."""
    samples = [oxygen(who, index * STUDY_SAMPLES + number) for number in range(STUDY_SAMPLES)]
    start = None if stop is None else stop - timedelta(seconds=STUDY_RATE_S * STUDY_SAMPLES)
    data = _pairs((0xFE, 0xFD), (STUDY_RATE_S, 2)) + clock(written) + clock(stop) + clock(start)
    data += _pairs(*((pulse, spo2) for spo2, pulse in reversed(samples)))
    others = tuple(
        Other(code=code, refid=refid, samples=tuple(Decimal(each[place]) for each in samples), unit=unit)
        for (code, refid), unit, place in ((SPO2, "%", 0), (PULSE, "/min", 1))
    )
    oldest = None if stop is None else stop - timedelta(seconds=STUDY_RATE_S * (STUDY_SAMPLES - 1))
    return Said(data=data, others=others, time=oldest, key=data)


def playback(studies: list[Said], now: datetime) -> bytes:
    """All studies as they stand, then the end: a header with the clock, a sum, a count, and zeros."""
    data = b"".join(each.data for each in studies) + _pairs((0xFE, 0xFD), (4, 2)) + clock(now)
    return data + b"\xef" + (sum(data) % 65536).to_bytes(2) + b"\xee" + (len(data) % 65536).to_bytes(2) + bytes(18)


def serial_reply(number: int) -> bytes:
    """What a Nonin answers when it is asked for its serial number."""
    body = bytes((0x0B, 0x02)) + (SERIAL_NUMBER % number).encode("ascii")
    return b"\x02\xf4" + body + bytes((sum(body[1:]) % 256, 0x03))


def clock_reply(at: datetime) -> bytes:
    """What a Nonin answers when it is asked for its clock."""
    return bytes((0x02, 0xF2, 6, at.year - 2000, at.month, at.day, at.hour, at.minute, at.second, 0x03))


def clock(at: datetime | None) -> bytes:
    """A recorder's time in three triplets; zeros if it was never set."""
    if at is None:
        return bytes(9)
    return _pairs((at.month, at.day), (at.year - 2000, at.minute), (at.second, at.hour))


def _pairs(*pairs: tuple[int, int]) -> bytes:
    return b"".join(bytes((first, other, (first + other) % 256)) for first, other in pairs)


def _whole(number: float) -> int:
    return int(Decimal(number).quantize(Decimal(1), ROUND_HALF_UP))


def _oxygen_values(spo2: int, pulse: int) -> tuple[Value, ...]:
    return (
        Value(code=SPO2[0], refid=SPO2[1], value=Decimal(spo2), unit="%"),
        Value(code=PULSE[0], refid=PULSE[1], value=Decimal(pulse), unit="/min"),
    )
