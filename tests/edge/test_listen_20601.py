"""stafet-hub listen 20601: agents over real TCP sockets."""

import asyncio
import contextlib
import io
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import pytest

from edge import cli
from edge.config import is_loopback
from edge.x73.association import Association, Habits, InMemory, Told
from edge.x73.bench import Counted, Lines
from edge.x73.pump import MAX_AGENTS, Associations
from edge.x73.recording import replay
from edge.x73.tcp import listen
from tests.wire.x73.support import AGENT_ID, SESSION, STAMP, VECTORS, apdus, oximeter_scan, profile
from tests.wire.x73.test_agent import ENTRIES, ENTRY_MAP, STORING
from wire.evidence import AgentContextKind
from wire.x73.agent import Agent
from wire.x73.apdu import Aare, Abrt, Rlre
from wire.x73.session import Waits
from wire.x73.specializations import SPECIALIZATIONS
from wire.x73.states import State
from wire.x73.store import Segment, Store

EXTENDED = SPECIALIZATIONS[10404].extended
VALUES = [(150456, "96.5", "%"), (149530, "63.5", "/min")]
SHORT = Waits(config_s=0.1, response_s=0.1, association_s=0.1)


class Bench:
    """A listener of this process, and what it has printed."""

    def __init__(self, waits: Waits | None = None, record: Path | None = None, *, clear: bool = False) -> None:
        self.out = io.StringIO()
        self.habits = Habits(
            sink=Lines(self.out, json=True),
            local_time=lambda: datetime(2026, 11, 21, 19, 33, 46, tzinfo=UTC),
            waits=waits or Waits(),
            clear_store=clear,
            remember=record is None,
        )
        self.associations = Associations(self.habits, record)
        self.port = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Bench"]:
        server = await listen(self.associations, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(20):
            try:
                yield self
            finally:
                server.close()
                await self.associations.close()

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]

    def values(self) -> list[tuple[object, ...]]:
        return [(each["code"], each["value"], each["unit"]) for each in self.lines()]


class Peer:
    """An agent on a socket: the small pump of the tests."""

    def __init__(self, port: int, agent: Agent, portion: int = 65_536) -> None:
        self.agent, self.port, self.portion = agent, port, portion

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.now = asyncio.get_running_loop().time
        self.agent.connected(self.now())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def until(self, done: Callable[[], bool]) -> None:
        while True:
            data = self.agent.to_send()
            for at in range(0, len(data), self.portion):
                self.writer.write(data[at : at + self.portion])
                await self.writer.drain()
            if done():
                return
            data = await self.reader.read(65_536)
            assert data, "the manager has closed"
            self.agent.receive(data, self.now())

    async def report(self, times: int = 1) -> None:
        await self.until(lambda: self.agent.state is State.OPERATING)
        for _ in range(times):
            self.agent.report(oximeter_scan(), self.now())
            await self.until(lambda: self.agent.idle)

    async def release(self) -> None:
        self.agent.release(self.now())
        await self.until(lambda: self.agent.state is State.UNASSOCIATED)


async def test_agents_with_any_configuration_are_read_value_for_value() -> None:
    async with Bench().open() as bench:
        for configurations in ((), (EXTENDED,)):
            for portion in (65_536, 1):
                async with Peer(bench.port, Agent(profile(*configurations)), portion) as peer:
                    await peer.report(times=2)
                    await peer.release()
        assert bench.values() == VALUES * 8
    assert isinstance(bench.habits.configurations, InMemory)
    assert {(AGENT_ID, EXTENDED.config_id)} == bench.habits.configurations.keys()


async def test_an_extended_configuration_is_asked_for_once_in_the_life_of_the_process() -> None:
    async with Bench().open() as bench:
        for _ in range(2):
            async with Peer(bench.port, Agent(profile(EXTENDED))) as peer:
                await peer.report()
        async with Peer(bench.port, Agent(profile(EXTENDED))) as peer:
            peer.writer.write(peer.agent.to_send())
            accepted = apdus((await peer.reader.read(4096))[:48])[0]
            assert isinstance(accepted, Aare)
            assert accepted.result == 0


async def test_the_measured_session_of_an_independent_agent() -> None:
    async with Bench().open() as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        writer.write(SESSION["aarq"])
        said = await reader.readexactly(len(SESSION["aare"]) + len(SESSION["get"]))
        assert SESSION["get"] == said[len(SESSION["aare"]) :]
        for name in ("mds", "report", "report", "rlrq"):
            writer.write(SESSION[name])
        assert SESSION["rlre"] == await reader.readexactly(len(SESSION["rlre"]))
        assert bench.values() == VALUES * 2
        writer.close()


async def test_a_replayed_session_with_numbers_of_its_own_is_read_even_in_one_segment() -> None:
    async with Bench().open() as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        said = [VECTORS[f"freescale/scale_{name}"].value for name in ("aarq", "config", "mds", "report")]
        writer.write(b"".join(said) + SESSION["rlrq"])
        assert SESSION["rlre"] == (await reader.readuntil(SESSION["rlre"]))[-len(SESSION["rlre"]) :]
        writer.close()
        assert [value for _, value, _ in bench.values()] == ["6537.5", "20.0", "56.6", "20.5"]


def test_what_an_agent_said_goes_with_its_report_even_if_all_was_in_one_segment() -> None:
    kept: list[Told] = []

    class Kept:
        def take(self, told: Told) -> bool:
            kept.append(told)
            return True

    association = Association(Habits(sink=Kept(), local_time=lambda: None, understand=False))
    association.connected(0)
    said = [VECTORS[f"freescale/scale_{name}"].value for name in ("aarq", "config", "mds", "report")]
    association.receive(b"".join(said) + SESSION["rlrq"], 0)
    (told,) = kept
    assert isinstance(told.configuration, bytes)
    assert told.configuration in VECTORS["freescale/scale_config"].value
    assert [each.kind for each in told.context] == [AgentContextKind.MDS]


def test_no_report_is_printed_after_enough_measurements_even_if_it_came_with_them() -> None:
    out = io.StringIO()
    association = Association(Habits(sink=Counted(Lines(out, json=True), 3), local_time=lambda: None))
    association.connected(0)
    association.receive(SESSION["aarq"] + SESSION["mds"] + SESSION["report"] * 4 + SESSION["rlrq"], 0)
    assert len(out.getvalue().splitlines()) == 4, "two whole reports"


async def test_two_agents_at_once_do_not_wait_for_each_other() -> None:
    async with Bench().open() as bench, Peer(bench.port, Agent(profile())) as one:
        await one.report()
        async with Peer(bench.port, Agent(profile(EXTENDED))) as other:
            await other.report()
            await one.report()
            await other.release()
        await one.release()
        assert bench.values() == VALUES * 3


async def test_a_test_association_is_printed_as_test_data() -> None:
    async with Bench().open() as bench, Peer(bench.port, Agent(profile(test=True))) as peer:
        await peer.report()
        assert [each["status"] for each in bench.lines()] == [["test-data"]] * 2


@pytest.mark.parametrize("clear", [False, True])
async def test_stored_segments_are_transferred_and_cleared_only_if_asked(clear: bool) -> None:
    store = Store(handle=30)
    entries = tuple(STAMP + (90 + index % 10).to_bytes(2, "big") + b"\x00\x48" for index in range(ENTRIES))
    store.add(Segment(instance=1, entry_map=ENTRY_MAP, entries=entries))
    store.add(Segment(instance=2, entry_map=ENTRY_MAP, entries=()))
    store.add(Segment(instance=3, entry_map=ENTRY_MAP, entries=entries[:1]))
    agent = Agent(profile(STORING), stores=(store,))
    async with Bench(clear=clear).open() as bench, Peer(bench.port, agent) as peer:
        left = {2} if clear else {1, 2, 3}
        await peer.until(lambda: len(bench.lines()) == 2 * ENTRIES + 2 and agent.idle and set(store.segments) == left)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 10_000, bytes.fromhex("e7000036"), b""])
async def test_garbage_and_sudden_ends_disturb_nobody(garbage: bytes) -> None:
    async with Bench(SHORT).open() as bench:
        for before in (b"", SESSION["aarq"], SESSION["aarq"] + SESSION["mds"]):
            reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
            writer.write(before + garbage)
            if garbage:
                said = apdus(await reader.read())
                if before or len(garbage) > 4:  # half an APDU before any other is only a connection that says nothing
                    assert isinstance(said[-1], Abrt), "never silently"
            writer.transport.abort()
        async with Peer(bench.port, Agent(profile())) as peer:
            await peer.report()
        assert bench.values() == VALUES


async def test_who_says_nothing_is_not_kept() -> None:
    async with Bench(SHORT).open() as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(("config_id", "reason"), [("0190", 2), ("4000", 3)])
async def test_an_agent_that_stops_answering_is_aborted_with_the_reason(config_id: str, reason: int) -> None:
    async with Bench(SHORT).open() as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        writer.write(bytes.fromhex(SESSION["aarq"].hex().replace("0190", config_id)))
        assert Abrt(reason=reason) == apdus(await reader.read())[-1]
        writer.close()


async def test_connections_are_bounded() -> None:
    async with Bench().open() as bench:
        open_ = [await asyncio.open_connection("127.0.0.1", bench.port) for _ in range(MAX_AGENTS)]
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        for _, each in open_:
            each.close()


async def test_the_end_releases_associations() -> None:
    bench = Bench()
    async with contextlib.AsyncExitStack() as stack:
        peer = await stack.enter_async_context(
            Peer((await stack.enter_async_context(bench.open())).port, Agent(profile()))
        )
        await peer.report()
        closing = asyncio.create_task(bench.associations.close())
        await peer.until(lambda: peer.agent.state is State.UNASSOCIATED)
        await closing


async def test_a_report_that_cannot_be_printed_is_not_confirmed() -> None:
    class Full:
        def take(self, told: object) -> bool:
            raise OSError(28, "No space left on device")

    bench = Bench(SHORT)
    bench.habits.sink = Full()
    agent = Agent(profile())

    async def story() -> None:
        async with bench.open(), Peer(bench.port, agent) as peer:
            await peer.until(lambda: agent.state is State.OPERATING)
            agent.report(oximeter_scan(), peer.now())
            peer.writer.write(agent.to_send())
            with contextlib.suppress(ConnectionError):
                while await peer.reader.read(4096):
                    pass

    with pytest.raises(OSError, match="No space left"):
        await story()
    assert not agent.idle


async def test_a_recording_of_each_connection_stands_for_itself_and_names_nobody(tmp_path: Path) -> None:
    async with Bench(record=tmp_path / "session.txt").open() as bench:
        for portion in (65_536, 1):
            async with Peer(bench.port, Agent(profile(EXTENDED)), portion) as peer:
                await peer.report()
                await peer.release()
    for name in ("session.txt", "session-2.txt"):
        text = (tmp_path / name).read_text()
        assert AGENT_ID.hex() not in text
        assert [(m.code, str(m.value), m.unit) for m in replay(text.splitlines()).measurements] == VALUES
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_half_an_apdu_is_not_waited_for_without_end() -> None:
    bench = Bench(Waits(association_s=10))
    association = Association(bench.habits)
    association.connected(0)
    association.receive(SESSION["aarq"], 0)
    association.receive(SESSION["mds"] + SESSION["report"][:9], 1)
    association.manager.to_send()
    assert association.deadline() == 11
    association.expire(11)
    assert association.over
    assert apdus(association.manager.to_send()) == [Abrt(reason=2)]


@pytest.mark.parametrize("host", ["0.0.0.0:0", "[::]:0", ":0", "example.org:0"])
def test_an_address_that_others_reach_needs_consent(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["listen", "20601", "--tcp", host]) == 2
    assert "--any-address" in capsys.readouterr().err


def test_loopback() -> None:
    assert [is_loopback(each) for each in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "", "10.0.0.1")] == [
        True, True, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, None])
def test_the_program_prints_its_address_and_ends_with_0(number: signal.Signals | None) -> None:
    command = [sys.executable, "-c", "import sys; from edge.cli import main; sys.exit(main())"]
    command += ["listen", "20601", "--tcp", "127.0.0.1:0", "--json", *(() if number else ("--count", "1"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        watchdog = threading.Timer(30, program.kill)
        watchdog.start()
        assert program.stderr is not None
        assert program.stdout is not None
        found = re.search(r'"listening","at":"127\.0\.0\.1:([0-9]+)"', program.stderr.readline())
        assert found

        async def story() -> None:
            async with Peer(int(found[1]), Agent(profile())) as peer:
                await peer.report()
                await peer.release() if number else await peer.until(lambda: peer.agent.state is State.UNASSOCIATED)

        asyncio.run(story())
        if number is not None:
            program.send_signal(number)
        out = program.stdout.read()
        assert program.wait(10) == 0
        watchdog.cancel()
    assert [json.loads(line)["value"] for line in out.splitlines()] == ["96.5", "63.5"]


def test_the_session_s_last_answer_is_what_the_independent_manager_says() -> None:
    assert isinstance(apdus(SESSION["rlre"])[0], Rlre)
