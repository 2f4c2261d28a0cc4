"""One story over four wires: whole, byte by byte, with noise between the frames, and cut."""

import random

import pytest

from tests.wire.test_serial_flags import blow, spot_check
from wire.errors import DecodeError
from wire.measurement import DeviceTime
from wire.serial import Frame, LungMonitorStream, NoninStream, SerialFormat, describe
from wire.serial.nonin_session import ASK_CLOCK, ASK_SERIAL_NUMBER, QUIET_S, set_clock, set_data_format
from wire.serial.stream import GAP_S

DF8, DF13, LUNG = SerialFormat.NONIN_DF8, SerialFormat.NONIN_DF13, SerialFormat.VITALOGRAPH_LUNG_MONITOR
REPLY = bytes.fromhex("02f40b02353031343933323030ca03")
ACK, NAK = b"\x06", b"\x15"

STORIES = {
    DF8: [bytes((0x80 | number % 2, 57 + number % 40, 90 + number % 10, 0x20)) for number in range(20)],
    # A memory playback, then the live result; ETX and STX inside.
    DF13: [spot_check(0x0210, pulse=2 + number, time=f"20260401120302{number:02}") for number in range(12)]
    + [spot_check(pulse=3, spo2=3)],
    LUNG: [blow(values=f"{number:03}399091404") for number in range(101, 110)],
}
FORMATS = list(STORIES)


def stream(format_: SerialFormat) -> NoninStream | LungMonitorStream:
    return LungMonitorStream() if format_ is LUNG else NoninStream(format_, now=0.0, configure=False)


def told(frames: tuple[Frame, ...]) -> list[bytes]:
    return [frame.data for frame in frames]


def nulls(data: bytes) -> int:
    """Null bytes stand between spot-checks: a stream that looks for the next one does not count them."""
    return data.count(0)


def noise(source: random.Random, size: int) -> bytes:
    """Bytes in which no frame of any format begins."""
    return bytes(source.choice((0x01, 0x04, 0x05, 0x10, 0x41, 0x7F)) for _ in range(size))


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_a_line_yields_every_frame_however_its_bytes_arrive(format_: SerialFormat, size: int) -> None:
    line, session, frames = b"".join(STORIES[format_]), stream(format_), []
    for at in range(0, len(line), size):
        frames += told(session.receive(line[at : at + size], 0.0))
    assert STORIES[format_] == frames
    assert (session.counts.frames, session.counts.skipped_bytes) == (len(frames), 0)
    assert session.deadline() is None


@pytest.mark.parametrize("format_", FORMATS)
def test_noise_between_frames_is_counted_and_loses_none(format_: SerialFormat) -> None:
    source, session, frames, sent = random.Random(7), stream(format_), [], 0  # noqa: S311  (test data, not keys)
    for frame in STORIES[format_]:
        between = noise(source, source.randrange(30))
        sent += len(between)
        frames += told(session.receive(between + frame, 0.0))
    assert STORIES[format_] == frames
    assert session.counts.skipped_bytes == sent


@pytest.mark.parametrize("format_", FORMATS)
def test_a_cut_frame_is_lost_and_no_other(format_: SerialFormat) -> None:
    first, second, third, *_ = STORIES[format_]
    for cut in range(1, len(second)):
        session = stream(format_)
        frames = told(session.receive(first + second[:cut] + third + first, 0.0))
        assert session.counts.skipped_bytes <= cut
        # What a false length swallowed comes out when the line is silent.
        frames += told(session.expire(GAP_S))
        assert [first, third, first] == frames, cut
        assert cut - nulls(second[:cut]) <= session.counts.skipped_bytes <= cut
        assert session.deadline() is None


@pytest.mark.parametrize("format_", FORMATS)
def test_a_session_that_begins_inside_a_frame_finds_the_next(format_: SerialFormat) -> None:
    first, second, *_ = STORIES[format_]
    for cut in range(1, len(first)):
        session = stream(format_)
        assert [second] == told(session.receive(first[cut:] + second, 0.0) + session.expire(GAP_S)), cut


@pytest.mark.parametrize("format_", FORMATS)
def test_a_frame_that_does_not_go_on_is_given_up_at_the_deadline_and_not_before(format_: SerialFormat) -> None:
    frame, session = STORIES[format_][0], stream(format_)
    assert session.receive(frame[:-1], 5.0) == ()
    assert session.deadline() == 5.0 + GAP_S
    assert session.expire(5.9) == ()
    assert session.counts.cut == 0
    assert session.expire(6.0) == ()
    assert session.counts.cut == 1
    assert len(frame) - 1 - nulls(frame) <= session.counts.skipped_bytes <= len(frame) - 1
    assert session.deadline() is None
    assert [frame] == told(session.receive(frame, 7.0))


@pytest.mark.parametrize("format_", FORMATS)
def test_no_line_makes_a_stream_hold_more_than_one_frame(format_: SerialFormat) -> None:
    source, session = random.Random(1), stream(format_)  # noqa: S311  (test data, not keys)
    for _ in range(200):
        session.receive(source.randbytes(100), 0.0)
        session.receive(b"\x02" * 3 + b"A" * 200 + b"\x02\x00\x0d\x00\x40", 0.0)
        assert len(session._framer._buffer) <= 131
        session.to_send()


def test_the_bytes_of_frames_and_those_skipped_are_all_that_came() -> None:
    source = random.Random(3)  # noqa: S311  (test data, not keys)
    for format_ in FORMATS:
        session, sent, got = stream(format_), 0, 0
        for _ in range(300):
            piece = bytearray(source.choice(STORIES[format_]))
            if source.random() < 0.5:
                piece[source.randrange(len(piece))] ^= 1 << source.randrange(8)
            sent += len(piece)
            got += sum(map(len, told(session.receive(bytes(piece), 0.0))))
        got += sum(map(len, told(session.expire(GAP_S))))
        fillers = sent - got - session.counts.skipped_bytes
        assert fillers >= 0
        assert fillers == 0 or format_ is DF13, "only the null byte between spot-checks is not counted"


def test_a_null_byte_before_a_spot_check_is_no_noise() -> None:
    session = stream(DF13)
    frames = session.receive(b"".join(b"\0" + frame for frame in STORIES[DF13]), 0.0)
    assert STORIES[DF13] == told(frames)
    assert session.counts.skipped_bytes == 0


def test_as_in_opentele_spot_checks_and_a_reply_come_in_one_stream() -> None:
    session = stream(DF13)
    stored = bytes.fromhex("02000d000e20071001184821000210003400636203")
    live = bytes.fromhex("02000d000e20071001000054000200003c00632d03")
    frames = session.receive(b"\0" + stored + REPLY + b"\0" + live, 0.0)
    assert [(DF13, stored), (SerialFormat.NONIN_REPLY, REPLY), (DF13, live)] == [(f.format, f.data) for f in frames]
    spoiled = bytes.fromhex("02000d000e20071001000054000200004c00632d03")
    assert session.receive(b"\0" + spoiled + REPLY[:8] + b"\x36" + REPLY[9:], 0.0) == ()
    assert session.counts.spoiled == 2


# duplicates


def test_a_result_that_was_live_and_comes_again_from_memory_is_a_duplicate() -> None:
    session = stream(DF13)
    live, memory, other = spot_check(0x0200), spot_check(0x0210), spot_check(0x0210, time="2026040112153008")
    frames = session.receive(live + memory + other, 0.0)
    assert [frame.duplicate for frame in frames] == [False, True, False]
    assert session.counts.duplicates == 1


def test_the_same_second_twice_in_data_format_8_is_no_duplicate() -> None:
    frames = stream(DF8).receive(STORIES[DF8][0] * 2, 0.0)
    assert [frame.duplicate for frame in frames] == [False, False]


def test_a_blow_whose_ack_was_lost_comes_again_and_is_known_and_answered_again() -> None:
    session = LungMonitorStream()
    for duplicate in (False, True):
        (frame,) = session.receive(blow(), 0.0)
        assert frame.duplicate == duplicate
        assert session.to_send() == b"", "nothing is promised before it is durable"
        session.acknowledge(frame)
        assert session.to_send() == ACK
    assert session.to_send() == b""


def test_a_blow_without_a_date_is_only_known_by_coming_again_at_once() -> None:
    session, undated = LungMonitorStream(), blow(time="000000000000")
    told_at = [(0.0, False), (3.0, True), (6.0, True), (20.0, False), (20.5, True)]
    for now, duplicate in told_at:
        (frame,) = session.receive(undated, now)
        assert frame.duplicate == duplicate, now
    session.forget(frame)
    assert [frame.duplicate for frame in session.receive(undated, 21.0)] == [False]


# answers


def test_a_spoiled_blow_is_refused_and_the_next_one_taken() -> None:
    session = LungMonitorStream()
    spoiled = bytearray(blow())
    spoiled[-1] ^= 1
    assert session.receive(bytes(spoiled), 0.0) == ()
    assert session.to_send() == NAK
    assert [blow()] == told(session.receive(blow(), 0.0))


def test_a_blow_that_stays_spoiled_is_not_asked_for_for_ever() -> None:
    session = LungMonitorStream()
    spoiled = bytearray(blow())
    spoiled[-1] ^= 1
    answers = b""
    for _ in range(20):
        session.receive(bytes(spoiled), 0.0)
        answers += session.to_send()
    assert answers == NAK * 3
    session.receive(blow(), 0.0)
    session.receive(bytes(spoiled), 0.0)
    assert session.to_send() == NAK, "a good frame begins the count anew"


def test_a_blow_that_was_cut_is_asked_for_again() -> None:
    session = LungMonitorStream()
    session.receive(blow()[:30], 0.0)
    assert session.to_send() == b""
    session.expire(GAP_S)
    assert session.to_send() == NAK


def test_a_right_frame_of_another_model_is_evidence_even_if_we_cannot_read_it() -> None:
    session = LungMonitorStream()
    other = b"\x02XYZ\x03" + bytes((0x02 ^ 0x58 ^ 0x59 ^ 0x5A ^ 0x03,))
    assert [other] == told(session.receive(other, 0.0))


# the session with a Nonin


def test_a_session_asks_for_the_serial_number_then_chooses_the_format_then_listens() -> None:
    session = NoninStream(DF8, now=0.0)
    assert session.to_send() == ASK_SERIAL_NUMBER == bytes.fromhex("027402020203")
    assert told(session.receive(REPLY, 1.0)) == [REPLY]
    assert session.to_send() == bytes.fromhex("027002020803")
    assert session.deadline() == 6.0
    assert STORIES[DF8] == told(session.receive(ACK + b"".join(STORIES[DF8]), 2.0))
    assert session.configured
    assert (session.deadline(), session.to_send()) == (None, b"")


def test_a_device_that_refuses_the_short_command_is_given_the_long_one() -> None:
    session = NoninStream(DF8, now=0.0)
    session.receive(REPLY, 0.0)
    session.to_send()
    session.receive(NAK, 0.0)
    assert session.to_send() == set_data_format(DF8, long=True) == bytes.fromhex("0270040208007e03")
    session.receive(NAK, 0.0)
    assert (session.configured, session.counts.refused, session.to_send()) == (True, 1, b"")
    assert set_data_format(DF13) == bytes.fromhex("027002020d03")


def test_a_device_that_answers_nothing_is_asked_three_times_for_each_and_then_heard() -> None:
    session, now, asked = NoninStream(DF13, now=0.0), 0.0, b""
    while not session.configured:
        asked += session.to_send()
        deadline = session.deadline()
        assert deadline is not None
        assert session.expire(deadline - 0.1) == ()
        assert session.to_send() == b""
        now = deadline
        session.expire(now)
    assert asked == ASK_SERIAL_NUMBER * 3 + ASK_CLOCK + set_data_format(DF13) * 3
    assert (now, session.counts.unanswered) == (35.0, 3)
    assert [STORIES[DF13][0]] == told(session.receive(STORIES[DF13][0], 36.0))


def test_a_reading_before_any_answer_is_a_reading() -> None:
    session = NoninStream(DF13, now=0.0)
    assert [STORIES[DF13][0]] == told(session.receive(STORIES[DF13][0], 0.1))
    assert not session.configured


CLOCK = bytes.fromhex("02f2060709010c000003")
NOON = DeviceTime(year=2026, month=4, day=1, hour=12, minute=0, second=9)


def test_the_clock_is_read_before_anything_is_stamped_and_set_when_the_live_result_has_come() -> None:
    session = NoninStream(DF13, now=0.0, clock=lambda: NOON)
    session.receive(REPLY, 0.0)
    assert session.to_send().endswith(ASK_CLOCK)
    early, answer, stored = session.receive(STORIES[DF13][0] + CLOCK + STORIES[DF13][1], 0.1)
    assert (early.clock, answer.data, stored.clock) == (b"", CLOCK, CLOCK)
    assert describe(SerialFormat.NONIN_REPLY, CLOCK) == {"clock": "2007-09-01T12:00:00"}
    assert session.to_send() == set_data_format(DF13)
    (live,) = session.receive(ACK + spot_check(), 0.2)
    assert (live.clock, session.to_send()) == (CLOCK, set_clock(NOON))
    assert set_clock(NOON) == bytes.fromhex("0272061a04010c000903")
    (after,) = session.receive(ACK + spot_check(time="2026040112010000"), 9.0)
    assert (session.clock_set, after.clock) == (True, b"")


@pytest.mark.parametrize("answer", [b"", NAK])
def test_a_clock_is_set_when_the_line_is_quiet_also_of_a_device_that_does_not_show_it(answer: bytes) -> None:
    session, now = NoninStream(DF13, now=0.0, clock=lambda: NOON), 0.0
    session.receive(REPLY + answer, now)
    if not answer:
        session.expire(now := 5.0)
    session.to_send()
    session.receive(ACK + STORIES[DF13][0], now)
    assert (session.to_send(), session.deadline()) == (b"", now + QUIET_S)
    session.expire(now + QUIET_S)
    assert session.to_send() == set_clock(NOON)
    session.receive(ACK, now + QUIET_S)
    assert (session.clock_set, session.deadline()) == (True, None)


def test_without_a_time_to_set_no_clock_is_set() -> None:
    session = NoninStream(DF13, now=0.0)
    session.receive(REPLY + CLOCK, 0.0)
    session.receive(ACK + spot_check(), 0.0)
    session.expire(60.0)
    assert (session.to_send()[-6:], session.clock_set, session.deadline()) == (set_data_format(DF13), False, None)


def test_a_clocks_reply_that_is_damaged_is_no_clock() -> None:
    session = NoninStream(DF13, now=0.0)
    session.receive(REPLY, 0.0)
    assert session.receive(CLOCK[:-1] + b"\x04", 0.0) == ()
    assert session.counts.spoiled == 1
    for wrong in (
        CLOCK[:9],
        CLOCK + b"\0",
        b"\x02\xf2\x06\x07\x0d" + CLOCK[5:],
        b"261301120000",
        b"26040112000",
        b"2604011200xx",
    ):
        with pytest.raises(DecodeError):
            describe(SerialFormat.NONIN_REPLY, wrong)


def test_an_answer_that_nobody_asked_for_changes_nothing() -> None:
    session = stream(DF13)
    session.receive(ACK + NAK, 0.0)
    assert (session.to_send(), session.counts.skipped_bytes) == (b"", 2)


def test_a_stream_expects_a_data_format() -> None:
    with pytest.raises(ValueError, match="no Nonin data format"):
        NoninStream(SerialFormat.NONIN_REPLY, now=0.0)
