"""Simulated serial devices on a pty: they wait until a hub opens the port, answer it, send, repeat, and say how it went.

A device believes that a reading is delivered when its format lets it: a lung monitor when the ACK came, a recorder when
its playback left whole, an oximeter when the connection stayed for a moment after the frame. What it does not believe it
sends again at the next connection. A line of the measured file is written when a reading is sent first.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TextIO

from simulator.command import FAILED, OK, Outcome
from simulator.measured import Record
from simulator.people import person
from simulator.serial.frames import (
    SERIAL_NUMBER,
    STUDY_RATE_S,
    STUDY_SAMPLES,
    Said,
    blow,
    clock_reply,
    playback,
    running,
    serial_reply,
    spot_check,
    study,
)
from simulator.serial.options import NONE, Fault
from simulator.serial.pty import LOOK_S, HungUp, Pty

FACTORY: Final = datetime(2007, 10, 1)  # noqa: DTZ001  a device's clock knows no zone
ACK, NAK = b"\x06", b"\x15"
BEFORE_SENDING_S: Final = 0.2
"""A 9560 listens for commands before it sends."""
SETTLED_S: Final = 1.0
"""An oximeter whose connection lives so long after a frame believes that it arrived."""
REPEAT_S: Final = 1.0
"""A lung monitor without an answer sends again."""
UNPLUGGED_S: Final = 0.5
FORMATS: Final = {"nonin-df8": 1, "nonin-df13": 2, "lung-monitor": 4, "nonin-memory": 5}
"""docs/wire.md's numbers of formats; they stand in the measured file."""


def wall_clock() -> datetime:
    """The time of day here, as people set a device's clock."""
    return datetime.now(UTC).astimezone().replace(tzinfo=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a device is to do."""

    device: str
    count: int = 3
    stored: int = 0
    """Of a spot-check oximeter: how many of `count` lie in its memory."""
    interval_s: float = 1.0
    seed: int = 1
    fault: Fault = NONE
    linked: bool = False
    """The port has a name that stays when it is plugged in again."""
    patience_s: float = 60.0
    """How long it waits for a hub, or for an answer."""
    clock: Callable[[], datetime] = field(default=wall_clock)

    def check(self) -> None:
        """ValueError with a sentence for whoever asked, if nobody can do this."""
        if self.device not in self.fault.devices:
            raise ValueError(f"--fault {self.fault.name} is not for a {self.device}")
        if self.fault.cut_at and not self.linked:
            raise ValueError(f"--fault {self.fault.name} needs --link: the port has another name afterwards")
        if self.stored and self.device != "nonin-df13":
            raise ValueError(f"--stored is not for a {self.device}")
        if self.stored > self.count:
            raise ValueError("--stored is more than --count")


async def play(plan: Plan, port: Pty, measured: TextIO | None = None, stop: asyncio.Event | None = None) -> Outcome:
    """Until all is delivered, or patience ends; `port` is plugged in. ValueError where `Plan.check` has one."""
    plan.check()
    device = _DEVICES[plan.device](plan, port, measured, stop or asyncio.Event())
    await device.run()
    if plan.fault.silent:
        return Outcome(status=FAILED, line="said nothing, as the fault wants")
    if device.delivered >= plan.count:
        return Outcome(status=OK)
    why = "stopped" if device.stopped else "nobody took them"
    return Outcome(status=FAILED, line=f"{why}; {device.delivered} of {plan.count} readings delivered")


class _Cut(Exception):  # noqa: N818  the story's own turn
    """The fault cuts the link here."""


class _Device:
    """What all have: a port that may be opened again and again, a clock, and what is still to be delivered."""

    def __init__(self, plan: Plan, port: Pty, measured: TextIO | None, stop: asyncio.Event) -> None:
        self.plan, self.port, self.measured, self.stop = plan, port, measured, stop
        self.who = person(plan.seed, 0, id_="p1")
        self.noise = random.Random(plan.seed)  # noqa: S311 - noise
        self.delivered = 0
        self._told: set[bytes] = set()
        self._cut_done = not plan.fault.cut_at
        self._loop = asyncio.get_running_loop()
        self.unset = plan.fault.unset
        self._offset = -timedelta(days=plan.fault.behind_days)
        self._begun = plan.clock()

    @property
    def stopped(self) -> bool:
        return self.stop.is_set()

    def now(self) -> datetime:
        """What the device's clock shows."""
        if self.unset:
            return FACTORY + (self.plan.clock() - self._begun)
        return self.plan.clock() + self._offset

    def set_clock(self, to: datetime) -> None:
        self.unset, self._offset = False, to - self.plan.clock()

    async def run(self) -> None:
        """Connection after connection, until all is delivered."""
        end = self._loop.time() + self.plan.patience_s
        while self.delivered < self.plan.count and not self.stopped and self._loop.time() < end:
            if not self.port.is_open:
                await asyncio.sleep(LOOK_S)
                continue
            try:
                self.reach("connection")
                if self.plan.fault.silent:
                    await self.wait(self.plan.patience_s)
                    return
                await self.connected()
            except _Cut:
                self.port.unplug()
                await asyncio.sleep(UNPLUGGED_S)
                self.port.plug()
            except HungUp:
                pass
            end = self._loop.time() + self.plan.patience_s

    async def connected(self) -> None:
        """One connection's story. HungUp when the hub closes the port."""
        raise NotImplementedError

    async def wait(self, seconds: float) -> None:
        """Answer what comes for so long, or until told to stop."""
        until = self._loop.time() + seconds
        while self._loop.time() < until and not self.stopped:
            data = await self.port.read(until)
            if data and not self.plan.fault.silent:
                self.heard(data)

    def heard(self, data: bytes) -> None:
        """Bytes from the hub."""

    def reach(self, step: str) -> None:
        """A step of the story; the fault may cut here, once."""
        if step == self.plan.fault.cut_at and not self._cut_done:
            self._cut_done = True
            raise _Cut

    def send(self, said: Said, data: bytes | None = None) -> None:
        """A frame that will be sent again if the link breaks; its line is written when it is sent first."""
        self.write(said.data if data is None else data)
        self.tell(said)
        self.reach("reading")

    def write(self, data: bytes) -> None:
        """A frame, after the noise that the fault wants."""
        if self.plan.fault.noise:
            self.port.write(bytes(self.noise.choice((0x01, 0x04, 0x41, 0x7F)) for _ in range(20)))
        if self.plan.fault.cut_at == "frame" and not self._cut_done:
            self.port.write(data[: len(data) // 2])
            self.reach("frame")
        self.port.write(data)

    def tell(self, said: Said) -> None:
        key = said.key or said.data
        if self.measured is None or (said.key and key in self._told):
            return
        self._told.add(key)
        record = Record(
            person=self.who.id,
            device=SERIAL_NUMBER % self.plan.seed,
            label=f"{self.who.id} {self.plan.device}",
            kind=self.plan.device,
            characteristic=FORMATS[self.plan.device],
            data=said.data,
            values=said.values,
            others=said.others,
            device_time=said.time,
            sent=datetime.now(UTC),
        )
        self.measured.write(record.line())
        self.measured.flush()


class _Nonin(_Device):
    """An oximeter that takes commands: serial number, clock, data format."""

    _buffer = b""

    def heard(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4:
            size = self._buffer[2] + 4
            if self._buffer[0] != 0x02:
                self._buffer = self._buffer[1:]
                continue
            if len(self._buffer) < size:
                return
            command, self._buffer = self._buffer[:size], self._buffer[size:]
            self.reach("command")
            self.port.write(self.answer(command[1], command[3:-1]))

    def answer(self, operation: int, data: bytes) -> bytes:
        if operation == 0x74:
            return serial_reply(self.plan.seed)
        if operation == 0x72 and not data:
            return clock_reply(self.now())
        if operation == 0x72 and len(data) == 6:
            year, month, day, hour, minute, second = data
            try:
                self.set_clock(datetime(2000 + year, month, day, hour, minute, second))  # noqa: DTZ001  as above
            except ValueError:
                return NAK
            return ACK
        return ACK if operation == 0x70 and len(data) in {2, 4} else NAK


class _Continuous(_Nonin):
    """Data format 8: what is said while nobody listens is gone."""

    async def connected(self) -> None:
        await self.wait(BEFORE_SENDING_S)
        while self.delivered < self.plan.count and not self.stopped:
            said = running(self.who, self.delivered)
            self.write(said.data)
            await self.wait(max(SETTLED_S, self.plan.interval_s))
            # A value in flight when the link breaks is gone: it was not measured for anyone.
            self.tell(said)
            self.delivered += 1
            self.reach("reading")


class _SpotChecks(_Nonin):
    """Data format 13: what is stored first, then each spot-check when it is made."""

    def __init__(self, plan: Plan, port: Pty, measured: TextIO | None, stop: asyncio.Event) -> None:
        super().__init__(plan, port, measured, stop)
        order = list(range(plan.stored))
        self._memory = {index: self.now() - timedelta(minutes=plan.stored - index) for index in order}
        self._order = order[::-1] if plan.fault.reversed else order
        self._made = plan.stored

    async def connected(self) -> None:
        await self.wait(BEFORE_SENDING_S)
        pending = [index for index in self._order if index in self._memory]
        for index in pending:
            self._say(index, stored=True)
        await self._settle(pending)
        while self._made < self.plan.count and not self.stopped:
            index, self._made = self._made, self._made + 1
            self._memory[index] = self.now()
            self._order.append(index)
            self._say(index, stored=False)
            await self._settle([index])
            if self._made < self.plan.count:
                await self.wait(self.plan.interval_s)

    def _say(self, index: int, *, stored: bool) -> None:
        said = spot_check(self.who, index, self._memory[index], stored=stored)
        for _ in range(2 if self.plan.fault.twice else 1):
            self.send(said, b"\0" + said.data)

    async def _settle(self, indexes: list[int]) -> None:
        """The connection lived on: what was sent is no longer in the memory."""
        await self.wait(SETTLED_S)
        for index in indexes:
            del self._memory[index]
            self.delivered += 1


class _LungMonitor(_Device):
    """Each blow is sent until it is acknowledged."""

    _answers = b""
    _deaf = 0

    def __init__(self, plan: Plan, port: Pty, measured: TextIO | None, stop: asyncio.Event) -> None:
        super().__init__(plan, port, measured, stop)
        order = list(range(plan.count))
        self._blows = [
            blow(self.who, index, None if self.unset else self.now() - timedelta(minutes=plan.count - index), plan.seed)
            for index in (order[::-1] if plan.fault.reversed else order)
        ]
        self._tried: set[int] = set()

    def heard(self, data: bytes) -> None:
        self._answers += data

    async def connected(self) -> None:
        while self.delivered < self.plan.count and not self.stopped:
            said = self._blows[self.delivered]
            self._answers = b""
            data = said.data
            if self.plan.fault.damaged and self.delivered not in self._tried:
                self._tried.add(self.delivered)
                data = data[:20] + bytes((data[20] ^ 1,)) + data[21:]
            self.send(said, data)
            await self._await_answer()
            if ACK in self._answers:
                self.reach("ack")
                self._deaf += 1
                if self.plan.fault.deaf_to and self._deaf % self.plan.fault.deaf_to:
                    continue
                self.delivered += 1
                if self.plan.fault.twice:
                    self.send(said)
                    await self._await_answer()

    async def _await_answer(self) -> None:
        until = self._loop.time() + REPEAT_S
        while not self._answers and self._loop.time() < until and not self.stopped:
            self.heard(await self.port.read(until))


class _Recorder(_Device):
    """A WristOx2: it plays its memory back when asked, and forgets it when told."""

    _buffer = b""

    def __init__(self, plan: Plan, port: Pty, measured: TextIO | None, stop: asyncio.Event) -> None:
        super().__init__(plan, port, measured, stop)
        length = timedelta(seconds=STUDY_RATE_S * STUDY_SAMPLES + 60)
        written = self.now()
        self._studies = [
            study(
                self.who,
                index,
                None if self.unset else (written - (plan.count - index) * length).replace(microsecond=0),
                written,
            )
            for index in reversed(range(plan.count))
        ]

    async def connected(self) -> None:
        while self.delivered < self.plan.count and not self.stopped:
            await self.wait(LOOK_S)
        await self.wait(SETTLED_S)

    def heard(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n" in self._buffer:
            command, _, self._buffer = self._buffer.partition(b"\r\n")
            self.reach("command")
            self._do(command.decode("ascii", "replace"))

    def _do(self, command: str) -> None:
        if command == "DTM?":
            shown = "000000000000" if self.unset else self.now().strftime("%y%m%d%H%M%S")
            self.port.write(ACK + shown.encode("ascii") + b"\r\n")
        elif command.startswith("DTM=") and len(command) == 16 and command[4:].isdecimal():
            self.set_clock(datetime.strptime(command[4:], "%y%m%d%H%M%S"))  # noqa: DTZ007  as above
            self.port.write(ACK + b"\r\n")
        elif command == "MPB?":
            self._play_back()
        elif command == "MCL!":
            self._studies.clear()
            self.port.write(ACK + b"\r\n")
        else:
            self.port.write(NAK)

    def _play_back(self) -> None:
        self.port.write(ACK)
        self.write(playback(self._studies, self.now()))
        for said in self._studies:
            self.tell(said)
        self.reach("reading")
        self.delivered = self.plan.count


_DEVICES: Final[dict[str, type[_Device]]] = {
    "nonin-df8": _Continuous,
    "nonin-df13": _SpotChecks,
    "nonin-memory": _Recorder,
    "lung-monitor": _LungMonitor,
}
