"""A serial device whose clock is wrong: what it showed in the same connection tells when its readings were made."""

from datetime import datetime, timedelta

import pytest

from tests.bridge.fhir.corpus import RECEIVED
from tests.bridge.fhir.test_agents import NOW, frame, written
from tests.bridge.fhir.translated import reason
from tests.wire.test_serial_flags import spot_check
from wire.evidence import SerialContext, SerialFrame
from wire.serial import SerialFormat

LOCAL = RECEIVED.replace(tzinfo=None) + timedelta(hours=1)
"""What a right clock shows in Copenhagen in November."""
READ_AGO = timedelta(seconds=3)


def reply(shown: datetime) -> bytes:
    return bytes((2, 0xF2, 6, shown.year - 2000, shown.month, shown.day, shown.hour, shown.minute, shown.second, 3))


def digits(shown: datetime) -> bytes:
    return shown.strftime("%y%m%d%H%M%S").encode()


def checked(stamp: datetime, *, stored: bool, clock: bytes | None) -> SerialFrame:
    """A spot-check, received now; the clock was read a moment ago."""
    text = stamp.strftime("%Y%m%d%H%M%S") + "00"
    evidence = frame(SerialFormat.NONIN_DF13, spot_check(0x0210 if stored else 0x0200, time=text))
    context: tuple[SerialContext, ...] = ()
    if clock is not None:
        mono_us = NOW.mono_us - READ_AGO // timedelta(microseconds=1)
        context = (SerialContext(format=3, mono_us=mono_us, frame=clock),)
    return SerialFrame(
        device=evidence.device, received=NOW, format=evidence.format, frame=evidence.frame, context=context
    )


def effective(evidence: SerialFrame) -> datetime:
    (when,) = {row[2] for row in written(evidence)}
    return datetime.fromisoformat(when).replace(tzinfo=None)


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("off", [timedelta(days=-3), timedelta(days=3), datetime(2007, 10, 1, 0, 10) - LOCAL])  # noqa: DTZ001
def test_a_reading_of_a_clock_that_is_off_is_written_at_its_true_time(off: timedelta, *, stored: bool) -> None:
    off = timedelta(seconds=round(off.total_seconds()))
    shown = (LOCAL - READ_AGO + off).replace(microsecond=0)
    made = LOCAL - timedelta(minutes=5)
    for form in (reply, digits):
        evidence = checked(made + off, stored=stored, clock=form(shown))
        assert abs(effective(evidence) - made) <= timedelta(seconds=1)


def test_a_clock_that_agrees_leaves_the_stamp_as_it_is() -> None:
    made = (LOCAL - timedelta(minutes=5)).replace(microsecond=0)
    evidence = checked(made, stored=True, clock=reply(LOCAL - READ_AGO))
    assert effective(evidence) == made


def test_a_stored_reading_of_a_clock_from_the_factory_that_nobody_read_has_no_time() -> None:
    stamp = datetime(2007, 10, 1, 0, 5)  # noqa: DTZ001  a device's clock
    assert reason(checked(stamp, stored=True, clock=None)) == "device-time"
    assert reason(checked(stamp, stored=True, clock=b"000000000000")) == "device-time"


def test_a_reading_from_before_the_clock_was_set_has_no_time() -> None:
    stamp = datetime(2007, 10, 1, 0, 5)  # noqa: DTZ001  a device's clock
    assert reason(checked(stamp, stored=True, clock=reply(LOCAL - READ_AGO))) == "device-time"
