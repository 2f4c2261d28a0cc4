"""Collecting from serial devices, with ports that behave as ordered and a clock that costs no time."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import reduce
from operator import xor

import pytest

from edge.intake import MAX_HELD, Intake
from edge.outbox import OutboxFull
from edge.serial import lines as serial_lines
from edge.serial.lines import ABSENT_S, LONGEST_RETRY_S, Line, SerialCollector, local_time
from edge.serial.port import Framing, PortError
from tests.edge.collecting import running
from tests.wire.test_serial_flags import blow, spot_check
from wire.batch import parse_reading
from wire.evidence import Clock, ClockState, SerialFrame
from wire.serial import SerialFormat, decode, format_of
from wire.serial.nonin_memory import ASK_PLAYBACK, CLEAR
from wire.serial.nonin_session import ASK_CLOCK, ASK_SERIAL_NUMBER, QUIET_S, RECONNECT_S, set_data_format

pytestmark = pytest.mark.looptime

DF8, DF13, MEMORY, LUNG = (
    SerialFormat.NONIN_DF8,
    SerialFormat.NONIN_DF13,
    SerialFormat.NONIN_MEMORY,
    SerialFormat.VITALOGRAPH_LUNG_MONITOR,
)
ADDRESS = bytes.fromhex("001C05010203")
REPLY = bytes.fromhex("02f40b02353031343933323030ca03")
ACK, NAK = b"\x06", b"\x15"
CLOCK = bytes.fromhex("02f20607090a0c000003")
RECORDER_CLOCK = ACK + b"260401115803\r\n"


class Store:
    """An outbox in memory that may refuse."""

    def __init__(self) -> None:
        self.evidence: list[SerialFrame] = []
        self.refuses = False
        self.when_put: Callable[[], None] = lambda: None

    def put(self, encoded: bytes) -> int:
        self.when_put()
        if self.refuses:
            raise OutboxFull("no room")
        frame = parse_reading(encoded)
        assert isinstance(frame, SerialFrame)
        self.evidence.append(frame)
        return len(self.evidence)

    @property
    def frames(self) -> list[bytes]:
        return [each.frame for each in self.evidence]


class FakePort:
    """One opening of the port. Whatever is written is answered by `answers`, a moment later."""

    def __init__(self, owner: "Ports", received: Callable[[bytes], None], gone: Callable[[], None]) -> None:
        self.owner, self._received, self._gone = owner, received, gone
        self.written = b""
        self.closed = False
        self.refuses = False

    def say(self, data: bytes) -> None:
        assert not self.closed
        self._received(data)

    def unplug(self) -> None:
        self._gone()

    def write(self, data: bytes) -> None:
        assert not self.closed
        if self.refuses:
            raise PortError("fault", "the port takes no more")
        self.written += data

    def close(self) -> None:
        self.closed = True


class Ports:
    """Where ports are opened; `fault` is why they cannot be."""

    def __init__(self) -> None:
        self.opened: list[FakePort] = []
        self.tried: list[float] = []
        self.fault: PortError | None = None

    def __call__(
        self, path: str, framing: Framing, *, received: Callable[[bytes], None], gone: Callable[[], None]
    ) -> FakePort:
        assert (path, framing) == ("/dev/rfcomm0", Framing(baud=9600, bits=8, parity="N", stop=1))
        self.tried.append(asyncio.get_running_loop().time())
        if self.fault is not None:
            raise self.fault
        self.opened.append(FakePort(self, received, gone))
        return self.opened[-1]

    @property
    def now(self) -> FakePort:
        assert not self.opened[-1].closed
        return self.opened[-1]


def clock(state: ClockState = ClockState.SYNCHRONISED) -> Clock:
    seconds = asyncio.get_running_loop().time()
    return Clock(wall_us=1_775_037_609_000_000, mono_us=int(seconds * 1e6), boot=bytes(16), state=state)


@asynccontextmanager
async def collecting(
    ports: Ports, store: Store, format_: SerialFormat, now: Callable[[], Clock] = clock
) -> AsyncIterator[SerialCollector]:
    intake = Intake(put=store.put, stored=lambda: None)
    collector = SerialCollector(
        lines=[Line("/dev/rfcomm0", format_, ADDRESS, "oximeter", clear_store=True)],
        intake=intake,
        now=now,
        opens=ports,
    )
    async with running(collector.run()):
        await asyncio.sleep(0.01)
        yield collector
    assert all(port.closed for port in ports.opened), "a port was left open"


def seconds() -> float:
    return asyncio.get_running_loop().time()


# keeping and acknowledging


async def test_a_blow_is_acknowledged_after_it_is_committed_and_not_before() -> None:
    ports, store = Ports(), Store()
    said: list[bytes] = []
    store.when_put = lambda: said.append(ports.now.written)
    async with collecting(ports, store, LUNG):
        ports.now.say(blow())
        assert (said, store.frames, ports.now.written) == ([b""], [blow()], ACK)


async def test_a_blow_that_the_outbox_does_not_take_is_not_acknowledged_until_it_does() -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, LUNG):
        store.refuses = True
        ports.now.say(blow())
        ports.now.say(blow())
        assert ports.now.written == b""
        store.refuses = False
        ports.now.say(blow())
        assert (store.frames, ports.now.written) == ([blow()], ACK)


async def test_a_blow_for_which_there_was_no_room_at_all_is_kept_when_it_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge.intake.MAX_HELD", 0)
    ports, store = Ports(), Store()
    async with collecting(ports, store, LUNG):
        store.refuses = True
        ports.now.say(blow())
        store.refuses = False
        ports.now.say(blow())
        assert (store.frames, ports.now.written) == ([blow()], ACK)
    assert MAX_HELD


async def test_a_blow_whose_ack_was_lost_is_kept_once_and_answered_again_also_after_a_reconnection() -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, LUNG):
        ports.now.say(blow() + blow())
        ports.now.unplug()
        await asyncio.sleep(4)
        ports.now.say(blow())
        assert [port.written for port in ports.opened] == [ACK * 2, ACK]
        assert store.frames == [blow()]


async def test_a_damaged_blow_is_refused_and_kept_when_it_comes_right() -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, LUNG):
        ports.now.say(blow()[:-1] + b"\0")
        ports.now.say(blow())
        assert (store.frames, ports.now.written) == ([blow()], NAK + ACK)


async def test_evidence_says_which_device_which_format_and_when() -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, DF13):
        await asyncio.sleep(2)
        ports.now.say(spot_check())
    (frame,) = store.evidence
    assert frame.device.address == ADDRESS
    assert format_of(frame.format) is DF13
    assert frame.received.mono_us == pytest.approx(2_010_000, abs=10)
    assert decode(format_of(frame.format), frame.frame)


@pytest.mark.parametrize("format_", [DF13, LUNG])
async def test_a_link_cut_at_every_byte_loses_nothing_and_doubles_nothing(format_: SerialFormat) -> None:
    """The device sends what is not acknowledged (or, a Nonin, all that it has stored) again at each connection."""
    if format_ is DF13:
        frames = [spot_check(0x0210, time=f"20260401120{number}0000") for number in range(3)]
    else:
        frames = [blow(values=f"{number}01399091404") for number in range(3)]
    line, step = b"".join(frames), len(frames[0])
    ports, store = Ports(), Store()
    async with collecting(ports, store, format_):
        for cut in range(1, len(line)):
            ports.now.say(line[:cut])
            assert store.frames == frames[: cut // step]
            assert format_ is DF13 or ports.now.written == ACK * (cut // step)
            ports.now.unplug()
            await asyncio.sleep(RECONNECT_S + 1)
        ports.now.say(line)
    assert store.frames == frames


async def test_a_playback_cut_anywhere_is_whole_after_the_next_connection_and_only_then_cleared() -> None:
    from tests.wire.test_serial_memory import PLAYBACK, STUDIES

    for cut in range(0, len(PLAYBACK), 97):
        ports, store = Ports(), Store()
        async with collecting(ports, store, MEMORY):
            ports.now.say(RECORDER_CLOCK)
            assert ports.now.written.endswith(ASK_PLAYBACK)
            ports.now.say(ACK + PLAYBACK[:cut])
            ports.now.unplug()
            await asyncio.sleep(RECONNECT_S + 1)
            ports.now.say(RECORDER_CLOCK + ACK + PLAYBACK)
            assert b"DTM=" in ports.now.written
            ports.now.say(ACK + b"\r\n")
            assert [CLEAR in port.written for port in ports.opened] == [False, True]
        samples = b"".join(frame[37:] for frame in store.frames)
        assert len(samples) == len(STUDIES) - 2 * 33
        assert len(set(store.frames)) == len(store.frames) == 4


# what the Danish predecessor got wrong


async def test_every_stored_reading_is_kept_not_only_the_newest() -> None:
    stored = [spot_check(0x0210, time=f"202604011200{number:02}00") for number in range(20)]
    ports, store = Ports(), Store()
    async with collecting(ports, store, DF13):
        ports.now.say(b"".join(b"\0" + frame for frame in (*stored, spot_check())))
    assert store.frames == [*stored, spot_check()]


async def test_a_reading_in_the_first_second_of_a_connection_is_kept() -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, DF13):
        ports.now.say(spot_check(0x0210))
        assert seconds() < 0.1
    assert store.frames == [spot_check(0x0210)]


async def test_no_number_is_clamped_or_left_out_for_being_unlikely() -> None:
    frames = [
        spot_check(0x0200, spo2=spo2, pulse=pulse, time=f"202604011200{number:02}00")
        for number, (spo2, pulse) in enumerate(((0, 0), (35, 18), (100, 321), (127, 511)))
    ]
    ports, store = Ports(), Store()
    async with collecting(ports, store, DF13):
        ports.now.say(b"".join(frames))
    told = [[str(part.value) for part in decode(DF13, frame)] for frame in store.frames]
    assert told == [["0", "0"], ["35", "18"], ["100", "321"], ["None", "None"]]


async def test_the_clock_of_a_nonin_is_set_at_each_connection_when_all_has_come(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "stafet")
    ports, store = Ports(), Store()
    local = local_time(clock())
    assert local is not None
    set_to = bytes((2, 0x72, 6, 26, local.month, local.day, local.hour, local.minute, local.second, 3))
    async with collecting(ports, store, DF13) as collector:
        for _ in range(2):
            ports.now.say(REPLY + CLOCK)
            ports.now.say(ACK + spot_check(0x0210))
            assert ports.now.written == ASK_SERIAL_NUMBER + ASK_CLOCK + set_data_format(DF13)
            await asyncio.sleep(QUIET_S + 0.1)
            assert ports.now.written.endswith(set_to)
            ports.now.say(ACK)
            ports.now.unplug()
            await asyncio.sleep(RECONNECT_S + 1)
        (state,) = collector.states()
    written = [record.fields for record in caplog.records if record.message == "clock_written"]  # type: ignore[attr-defined]
    assert len(written) == 2
    assert state.clock_set_s == pytest.approx(16, abs=0.1)
    shown = datetime(2007, 9, 10, 12, 0, 0)  # noqa: DTZ001  a device's clock
    truly = datetime(2026, local.month, local.day, local.hour, local.minute, local.second)  # noqa: DTZ001
    assert state.clock_off_s == written[0]["off_s"] == (shown - truly).total_seconds()


async def test_what_the_clock_showed_stands_beside_what_was_stamped_by_it_and_not_beside_the_rest() -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, DF13):
        early, stored, live, later = (spot_check(time=f"2007091012{number:02}0000") for number in range(4))
        ports.now.say(early + REPLY)
        await asyncio.sleep(1)
        ports.now.say(CLOCK)
        await asyncio.sleep(0.5)
        ports.now.say(ACK + stored + live)
        ports.now.say(ACK + later)
    assert store.frames == [early, stored, live, later]
    assert [[item.frame for item in frame.context] for frame in store.evidence] == [[], [CLOCK], [CLOCK], []]
    context = store.evidence[1].context[0]
    assert format_of(context.format) is SerialFormat.NONIN_REPLY
    assert context.mono_us == pytest.approx(1_010_000, abs=10)


@pytest.mark.parametrize("state", [ClockState.UNSET, ClockState.UNSYNCHRONISED])
async def test_a_hub_that_does_not_know_the_time_sets_no_clock(state: ClockState) -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, DF13, lambda: clock(state)):
        ports.now.say(REPLY + CLOCK + ACK)
        ports.now.say(spot_check())
        await asyncio.sleep(10)
        assert ports.now.written == ASK_SERIAL_NUMBER + ASK_CLOCK + set_data_format(DF13)


# data format 8


def second(pulse: int, *, smart: bool = False, spo2: int = 95) -> bytes:
    return bytes((0x80, pulse, spo2, 0x20 if smart else 0))


@pytest.mark.parametrize(("rate_hz", "kept"), [(1, 60), (3, 60)])
async def test_of_data_format_8_one_frame_a_second_is_evidence(rate_hz: int, kept: int) -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, DF8):
        for number in range(60 * rate_hz):
            ports.now.say(second(60 + number % 7))
            await asyncio.sleep(1 / rate_hz)
    assert len(store.frames) == kept


async def test_no_smartpoint_is_lost_however_fast_frames_come() -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, DF8):
        for number in range(9):
            ports.now.say(second(60 + number, smart=number in {1, 2, 5}))
            await asyncio.sleep(0.05)
        ports.now.say(second(65, smart=True) * 3)
    assert store.frames == [second(60), *(second(60 + number, smart=True) for number in (1, 2, 5))]


async def test_a_device_without_a_finger_is_told_once() -> None:
    ports, store = Ports(), Store()
    empty = bytes((0x83, 0x7F, 127, 0x08))
    async with collecting(ports, store, DF8):
        for frame in (*[empty] * 300, second(70), *[empty] * 60):
            ports.now.say(frame)
            await asyncio.sleep(1)
    assert store.frames == [empty, second(70), empty]


# ports


async def test_a_9560_is_connected_to_15_seconds_after_the_last_connection_at_the_earliest() -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, DF13):
        ports.now.say(spot_check())
        ports.now.unplug()
        left = seconds()
        await asyncio.sleep(14.9)
        assert len(ports.opened) == 1
        await asyncio.sleep(0.2)
        assert [port.closed for port in ports.opened] == [True, False]
        assert ports.tried[1] - left >= RECONNECT_S


async def test_a_device_that_never_says_anything_is_tried_less_often_but_twice_a_minute() -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, DF13):
        for _ in range(8):
            ports.opened[-1].unplug()
            await asyncio.sleep(LONGEST_RETRY_S + 0.1)
        pauses = [round(after - before) for before, after in zip(ports.tried, ports.tried[1:], strict=False)]
        assert len(pauses) == 8
        assert max(pauses) <= LONGEST_RETRY_S + RECONNECT_S


@pytest.mark.parametrize("reason", ["not-there", "not-permitted", "busy"])
async def test_a_port_that_cannot_be_opened_is_told_once_and_tried_until_it_can(
    reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stafet")
    ports, store = Ports(), Store()
    ports.fault = PortError(reason, "as it was ordered")
    async with collecting(ports, store, LUNG) as collector:
        await asyncio.sleep(600)
        assert caplog.messages == ["port_not_opened"]
        assert caplog.records[0].fields["reason"] == reason  # type: ignore[attr-defined]
        assert len(ports.tried) > (100 if reason == "not-there" else 18)
        assert collector.states()[0].connected is False
        ports.fault = None
        await asyncio.sleep(ABSENT_S if reason == "not-there" else LONGEST_RETRY_S)
        assert caplog.messages[-1] == "port_recovered"
        ports.now.say(blow())
        assert store.frames == [blow()]


async def test_a_port_that_takes_nothing_is_given_up_and_opened_again() -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, LUNG):
        first = ports.now
        first.refuses = True
        first.say(blow())
        await asyncio.sleep(5)
        assert first.closed
        ports.now.say(blow())
        assert (store.frames, ports.now.written) == ([blow()], ACK)


async def test_a_frame_cut_by_unplugging_is_no_part_of_the_next_connection() -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, LUNG):
        ports.now.say(blow()[:30])
        ports.now.unplug()
        await asyncio.sleep(5)
        ports.now.say(blow()[30:])
        assert store.frames == []
        ports.now.say(blow())
        assert store.frames == [blow()]


async def test_garbage_without_end_ends_nothing_and_fills_nothing() -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, LUNG) as collector:
        before = collector.progress
        for number in range(300):
            ports.now.say(bytes((number * 7 + place) % 256 for place in range(512)))
            await asyncio.sleep(0.01)
        ports.now.say(blow())
        assert blow() in store.frames
        assert all(reduce(xor, frame) == 0 for frame in store.frames)
        assert collector.progress > before


async def test_a_fault_of_ours_ends_one_session_and_not_the_hub(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, LUNG):
        with monkeypatch.context() as broken:
            broken.setattr(serial_lines, "encode_reading", lambda _: 1 / 0)
            ports.now.say(blow())
            await asyncio.sleep(5)
        assert "session_broke" in caplog.messages
        assert (store.frames, [port.written for port in ports.opened]) == ([], [b"", b""])
        ports.now.say(blow())
        assert (store.frames, ports.now.written) == ([blow()], ACK)


async def test_progress_rises_every_ten_seconds_whatever_the_port_does() -> None:
    ports, store = Ports(), Store()
    async with collecting(ports, store, DF8) as collector:
        for fault in (None, PortError("not-there"), PortError("fault")):
            ports.fault = fault
            for _ in range(6):
                before = collector.progress
                await asyncio.sleep(10)
                assert collector.progress > before
            if fault is None:
                ports.now.unplug()


async def test_status_tells_what_came_and_when_and_the_log_tells_no_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stafet")
    ports, store = Ports(), Store()
    async with collecting(ports, store, LUNG) as collector:
        (state,) = collector.states()
        assert (state.label, state.connected, state.readings, state.seen_s) == ("oximeter", True, 0, None)
        ports.now.say(blow())
        await asyncio.sleep(7)
        (state,) = collector.states()
        assert (state.readings, state.sessions, state.seen_s, state.read_s) == (1, 1, 7.0, 7.0)
        ports.now.unplug()
        await asyncio.sleep(1)
        assert collector.states()[0].connected is False
    assert caplog.messages == ["device_connected", "reading_stored", "session_ended"]
    told = str([record.__dict__ for record in caplog.records])
    assert "001C05" not in told.upper()
