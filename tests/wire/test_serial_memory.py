"""The playback of a recorder's memory: whole, byte by byte, damaged and cut; asked for, acknowledged, cleared."""

import random
from decimal import Decimal

import pytest

from wire.errors import DecodeError
from wire.measurement import DeviceTime, MeasurementStatus, Special
from wire.serial import Frame, NoninMemoryStream, Seen, SerialFormat, decode, describe
from wire.serial.nonin_memory import ANSWER_S, ASK_CLOCK, ASK_PLAYBACK, CLEAR, PIECE, REMEMBERED, SILENCE_S

MEMORY = SerialFormat.NONIN_MEMORY
ACK, NAK, LINE = b"\x06", b"\x15", b"\r\n"
NOON = DeviceTime(year=2026, month=4, day=1, hour=12, minute=0, second=9)


def triplets(*pairs: tuple[int, int]) -> bytes:
    return b"".join(bytes((first, second, (first + second) & 0xFF)) for first, second in pairs)


def moment(day: int, hour: int, minute: int = 0, second: int = 0) -> bytes:
    return triplets((4, day), (26, minute), (second, hour))


def study(day: int, samples: list[tuple[int, int]], rate_s: int = 4) -> bytes:
    """`samples` are pulse and saturation, newest first, as the recorder has them."""
    seconds = rate_s * len(samples)
    stop = moment(day, 8 + seconds // 3600, seconds // 60 % 60, seconds % 60)
    return triplets((0xFE, 0xFD), (rate_s, 2)) + moment(9, 9) + stop + moment(day, 8) + triplets(*samples)


NIGHT = [(60 + number % 40, 88 + number % 10) for number in range(2 * PIECE + 7)]
SHORT = [(255, 255), (250, 99), (251, 100), (72, 0)]
STUDIES = study(2, NIGHT) + study(1, SHORT)
END = triplets((0xFE, 0xFD), (4, 2)) + moment(9, 9) + bytes.fromhex("ef1234ee5678") + bytes(18)
PLAYBACK = STUDIES + END


def play(session: NoninMemoryStream, line: bytes, now: float = 0.0, size: int = 10_000) -> list[Frame]:
    frames: list[Frame] = []
    for at in range(0, len(line), size):
        frames += session.receive(line[at : at + size], now)
    return frames


def asked(*, clear: bool = True) -> NoninMemoryStream:
    session = NoninMemoryStream(now=0.0, clear=clear)
    assert session.to_send() == ASK_CLOCK
    session.receive(NAK, 0.0)
    assert session.to_send() == ASK_PLAYBACK
    return session


def samples_of(frames: list[Frame]) -> list[tuple[object, object]]:
    """Pulse and saturation of all pieces, newest first again."""
    told: list[tuple[object, object]] = []
    for frame in frames:
        saturation, pulse = decode(MEMORY, frame.data)
        assert saturation.samples is not None
        assert pulse.samples is not None
        told += reversed(list(zip(pulse.samples.data, saturation.samples.data, strict=True)))
    return told


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_a_playback_gives_every_sample_of_every_study_however_its_bytes_arrive(size: int) -> None:
    frames = play(session := asked(), ACK + PLAYBACK, size=size)
    assert [len(frame.data) for frame in frames] == [37 + 3 * PIECE] * 2 + [37 + 21, 37 + 12]
    plain = [(Decimal(pulse), Decimal(saturation)) for pulse, saturation in NIGHT]
    odd: list[tuple[object, object]] = [
        (Special.NAN, Special.NAN),
        (Decimal(300), Decimal(99)),
        (Special.POSITIVE_INFINITY, Decimal(100)),
        (Decimal(72), Decimal(0)),
    ]
    assert samples_of(frames) == [*plain, *odd]
    assert session.counts.skipped_bytes == session.counts.spoiled == 0


def test_a_piece_tells_the_time_of_its_oldest_sample_and_that_it_was_stored() -> None:
    first, second, third, _ = play(asked(), ACK + PLAYBACK)
    times = [decode(MEMORY, frame.data)[0].device_time for frame in (third, second, first)]
    # 307 samples of 4 s, the last of them at the stop; the oldest is 4 s after the start.
    assert [time.isoformat() for time in times if time] == [
        "2026-04-02T08:00:04", "2026-04-02T08:00:32", "2026-04-02T08:10:32",
    ]  # fmt: skip
    for part in decode(MEMORY, first.data):
        assert part.status == (MeasurementStatus.STORED,)
        assert part.samples is not None
        assert part.samples.period_ms == 4000
    assert describe(MEMORY, second.data)["samples"] == "151 to 300 before the stop"


def test_a_study_of_a_recorder_whose_clock_was_not_set_has_no_time_and_says_so() -> None:
    unset = triplets((0xFE, 0xFD), (4, 2)) + bytes(27) + triplets((70, 95))
    (frame,) = play(asked(), ACK + unset + END)
    for part in decode(MEMORY, frame.data):
        assert (part.device_time, part.clock_set) == (None, False)
    assert describe(MEMORY, frame.data)["study stopped"] == "clock not set"


# the promise


def test_the_memory_is_cleared_when_the_last_piece_of_a_whole_playback_is_durable_and_not_before() -> None:
    session = asked()
    frames = play(session, ACK + PLAYBACK)
    for frame in frames:
        assert session.to_send() == b""
        session.acknowledge(frame)
    assert session.to_send() == CLEAR
    session.receive(ACK + LINE, 1.0)
    assert (session.configured, session.deadline(), session.counts.skipped_bytes) == (True, None, 0)


def test_pieces_that_were_acknowledged_before_the_end_came_are_cleared_at_its_coming_of_the_last() -> None:
    session = asked()
    for frame in play(session, ACK + STUDIES):
        session.acknowledge(frame)
    # The last piece is cut by the header of the end.
    for frame in play(session, END):
        session.acknowledge(frame)
    assert session.to_send() == CLEAR


def test_a_playback_with_a_piece_that_could_not_be_kept_is_never_cleared() -> None:
    session = asked()
    first, *others = play(session, ACK + PLAYBACK)
    session.forget(first)
    for frame in others:
        session.acknowledge(frame)
    assert session.to_send() == b""


def test_without_being_told_to_nothing_is_cleared() -> None:
    session = asked(clear=False)
    for frame in play(session, ACK + PLAYBACK):
        session.acknowledge(frame)
    assert (session.to_send(), session.configured) == (b"", True)


def test_an_empty_memory_is_not_cleared() -> None:
    session = asked()
    assert play(session, ACK + END) == []
    assert (session.to_send(), session.configured) == (b"", True)


def test_older_firmware_ends_with_zeros_and_silence() -> None:
    session = asked()
    frames = play(session, ACK + STUDIES + triplets((0xFE, 0xFD), (4, 2)) + moment(9, 9) + bytes(18))
    for frame in frames:
        session.acknowledge(frame)
    assert (len(frames), session.to_send(), session.deadline()) == (4, b"", SILENCE_S)
    session.expire(SILENCE_S)
    assert session.counts.cut == 0
    assert session.configured


# damage


def test_a_playback_cut_at_any_byte_is_asked_for_again_and_nothing_is_lost_or_new() -> None:
    whole = [frame.data for frame in play(asked(), ACK + PLAYBACK)]
    for cut in range(1, len(PLAYBACK), 5):
        session = asked()
        frames = play(session, ACK + PLAYBACK[:cut])
        for frame in frames:
            session.acknowledge(frame)
        assert CLEAR not in session.to_send(), cut
        now = SILENCE_S
        session.expire(now)
        assert session.to_send() == ASK_PLAYBACK, cut
        again = play(session, ACK + PLAYBACK, now)
        assert [frame.data for frame in again] == whole
        assert [frame.data for frame in frames + again if not frame.duplicate] == whole
        for frame in again:
            session.acknowledge(frame)
        assert session.to_send() == CLEAR


def test_a_damaged_byte_spoils_the_playback_and_only_right_pieces_are_given() -> None:
    whole = [frame.data for frame in play(asked(), ACK + PLAYBACK)]
    source = random.Random(5)  # noqa: S311  (test data, not keys)
    for _ in range(300):
        damaged = bytearray(STUDIES)
        damaged[source.randrange(len(damaged))] ^= 1 << source.randrange(8)
        session = asked()
        frames = play(session, ACK + bytes(damaged) + END)
        assert all(frame.data in whole for frame in frames)
        assert session.counts.spoiled == 1
        session.expire(SILENCE_S)
        assert session.to_send() == ASK_PLAYBACK


def test_a_playback_that_stays_damaged_is_not_asked_for_for_ever() -> None:
    session, now = asked(), 0.0
    for _ in range(2):
        play(session, ACK + PLAYBACK[:-60] + b"\0", now)
        now += SILENCE_S
        session.expire(now)
        assert session.to_send() == ASK_PLAYBACK
    play(session, ACK + b"\0\0\1", now)
    session.expire(now + SILENCE_S)
    assert (session.to_send(), session.configured, session.counts.unanswered) == (b"", True, 1)


def test_what_was_seen_in_an_earlier_connection_is_a_duplicate_even_if_it_says_anew_when_it_was_written() -> None:
    seen = Seen(REMEMBERED)
    for duplicate, written in ((False, moment(9, 9)), (True, moment(9, 10))):
        session = NoninMemoryStream(now=0.0, seen=seen)
        frames = play(session, NAK + ACK + PLAYBACK.replace(moment(9, 9), written))
        assert {frame.duplicate for frame in frames} == {duplicate}


# commands


SHOWN = b"260401115803"


def test_the_clock_is_read_before_the_playback_and_set_after_it() -> None:
    session = NoninMemoryStream(now=0.0, clock=lambda: NOON, clear=True)
    assert session.to_send() == ASK_CLOCK
    (reply,) = session.receive(ACK + SHOWN + LINE, 0.1)
    assert describe(reply.format, reply.data) == {"clock": "2026-04-01T11:58:03"}
    assert session.to_send() == ASK_PLAYBACK
    frames = play(session, ACK + PLAYBACK, 0.2)
    assert {frame.clock for frame in frames} == {SHOWN}
    assert session.to_send() == b"DTM=260401120009\r\n"
    for frame in frames:
        session.acknowledge(frame)
    assert (session.clock_set, session.to_send()) == (False, b"")
    session.receive(ACK + LINE, 0.3)
    assert (session.clock_set, session.to_send()) == (True, CLEAR)
    session.receive(ACK + LINE, 0.4)
    assert (session.configured, session.deadline()) == (True, None)


@pytest.mark.parametrize("answer", [NAK, ACK + b"what is t" + LINE + b"?", b"", ACK])
def test_a_recorder_that_does_not_show_its_clock_is_played_back_all_the_same(answer: bytes) -> None:
    session, now = NoninMemoryStream(now=0.0), 0.0
    session.receive(answer, 0.0)
    if ASK_PLAYBACK not in session.to_send():
        session.expire(now := ANSWER_S)
        assert session.to_send() == ASK_PLAYBACK
    frames = play(session, ACK + PLAYBACK, now)
    assert [frame.clock for frame in frames] == [b""] * 4


def test_a_recorder_that_refuses_the_playback_is_told_the_time_all_the_same() -> None:
    session = NoninMemoryStream(now=0.0, clock=lambda: NOON)
    session.receive(NAK, 0.0)
    session.to_send()
    session.receive(NAK, 0.0)
    assert (session.to_send(), session.counts.refused) == (b"DTM=260401120009\r\n", 2)


def test_a_recorder_that_answers_nothing_is_asked_and_left_alone() -> None:
    session, sent = NoninMemoryStream(now=0.0), b""
    while not session.configured:
        sent += session.to_send()
        deadline = session.deadline()
        assert deadline is not None
        session.expire(deadline)
    assert (sent, session.counts.unanswered) == (ASK_CLOCK + ASK_PLAYBACK * 3, 2)


def test_no_line_makes_the_stream_hold_more_than_a_piece() -> None:
    source, session = random.Random(1), asked()  # noqa: S311  (test data, not keys)
    for now in range(200):
        session.receive(ACK + source.randbytes(200) + STUDIES[:500], float(now))
        session.expire(float(now))
        session.to_send()
        assert len(session._buffer) < 24
        assert len(session._samples) < 3 * PIECE


# decoding


def test_a_piece_with_any_wrong_byte_outside_its_place_is_refused_at_it() -> None:
    piece = play(asked(), ACK + PLAYBACK)[-1].data
    for place in range(len(piece)):
        damaged = bytearray(piece)
        damaged[place] ^= 0x10
        if 33 <= place < 37:
            continue
        with pytest.raises(DecodeError) as refused:
            decode(MEMORY, bytes(damaged))
        assert refused.value.offset <= place + 2
    for length in range(40):
        with pytest.raises(DecodeError):
            decode(MEMORY, piece[:length])
    with pytest.raises(DecodeError, match="no memory holds"):
        decode(MEMORY, piece[:33] + b"\xff" * 4 + piece[37:])
    with pytest.raises(DecodeError, match="no saturation is 101 %"):
        decode(MEMORY, piece[:37] + triplets((70, 101)))
