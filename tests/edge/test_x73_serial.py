"""20601 over a serial line: the hub at one end of a null modem, a simulated agent at the other."""

import asyncio
import contextlib
import os
import pty
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import pytest

from edge.x73 import serial as x73_serial
from edge.x73.association import Habits, Told
from edge.x73.pump import Associations
from simulator.x73.agent import Plan, play
from tests.edge.collecting import serving_agents
from wire.x73.specializations import BY_NAME


class NullModem:
    """Two pseudo terminals, each hearing what is said at the other."""

    def __init__(self) -> None:
        self._ends = [pty.openpty() for _ in range(2)]
        for _, slave in self._ends:
            tty.setraw(slave)
        self.hub, self.agent = (os.ttyname(slave) for _, slave in self._ends)
        self._masters = [master for master, _ in self._ends]

    def __enter__(self) -> Self:
        for here, there in (self._masters, self._masters[::-1]):
            asyncio.get_running_loop().add_reader(here, self._carry, here, there)
        return self

    @staticmethod
    def _carry(here: int, there: int) -> None:
        os.write(there, os.read(here, 4096))

    def say_to_hub(self, data: bytes) -> None:
        os.write(self._masters[0], data)

    def unplug(self) -> None:
        """The hub's end is gone."""
        asyncio.get_running_loop().remove_reader(self._masters[0])
        os.close(self._masters[0])
        os.close(self._ends[0][1])

    def __exit__(self, *_: object) -> None:
        for master, slave in self._ends:
            asyncio.get_running_loop().remove_reader(master)
            for each in (master, slave):
                with contextlib.suppress(OSError):
                    os.close(each)


class Sink:
    def __init__(self) -> None:
        self.count = 0

    def take(self, told: Told) -> bool:
        self.count += len(told.report.measurements)
        return True


@asynccontextmanager
async def serving(path: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sink]:
    monkeypatch.setattr(x73_serial, "REOPEN_S", 0.05)
    sink = Sink()
    associations = Associations(Habits(sink=sink, local_time=lambda: None))
    async with serving_agents(associations, x73_serial.serve(associations, path)):
        yield sink


def plan(line: NullModem, configuration: str = "standard") -> Plan:
    standard = configuration == "standard"
    return Plan(serial=line.agent, specialization=BY_NAME["scale"], standard=standard, count=2, interval_s=0.01)


async def test_a_line_carries_one_association_after_the_other_and_begins_anew_after_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with NullModem() as line:
        async with serving(line.hub, monkeypatch) as sink:
            assert (await play(plan(line))).line == ""
            line.say_to_hub(b"\xff" * 40)
            await asyncio.sleep(0.2)  # the port is closed and opened again
            assert (await play(plan(line, "extended"))).line == ""
            assert sink.count == 2 + 2 * 3, "mass; then mass, height and body mass index"


async def test_a_line_that_says_more_than_is_followed_must_wait() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    line = x73_serial.Line(os.ttyname(slave))
    said = heard = refused = 0
    try:
        while said < 1 << 20 and refused < 20:
            try:
                said += os.write(master, bytes(512))
                refused = 0
            except BlockingIOError:
                refused += 1
            await asyncio.sleep(0.005 if refused else 0)
        assert 1 << 17 < said < 1 << 18
        while heard < said:
            heard += len(await line.reader.read(65_536))
    finally:
        line.abort()
        os.close(master)
        os.close(slave)


async def test_a_line_that_is_pulled_out_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with NullModem() as line:
        async with serving(line.hub, monkeypatch):
            assert (await play(plan(line))).line == ""
            line.unplug()
            await asyncio.sleep(0.3)
    failed = [vars(record)["fields"] for record in caplog.records if record.getMessage() == "port_failed"]
    assert [each["reason"] for each in failed] == ["not-there"], "said once"
