"""A device that keeps records, for tests: a Record Access Control Point on an `edge.ble.fake_radio` peripheral.

It is written from the specifications and not from `edge.ble.flows`, whose requests it reads and answers: GLS 3.4, CGMS 3.6,
PLXS 3.4 (16-bit numbers and counts) and GHSS (32 bits, combined report). It misbehaves on order.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from edge.ble.fake_radio import FakePeripheral
from edge.ble.radio import RadioError

RACP = 0x2A52


@dataclass(slots=True, kw_only=True)
class Kept:
    """One record: its number, and the values it is sent as, in order."""

    number: int
    values: list[tuple[int, bytes]]


@dataclass(slots=True, kw_only=True)
class FakeRecords:
    """What is kept, and how it is given out. `requests` are those that were written."""

    kept: list[Kept]
    width: int = 2
    """Bytes of a number and of a count."""
    opcodes: frozenset[int] = frozenset({1, 3, 4})
    numbered: bool = True
    """Whether it can report from a number on."""
    interval_s: float = 0.0
    """Between two values; 0: all in one burst."""
    silent: frozenset[int] = frozenset()
    """Opcodes that are never answered."""
    refuse_writes: int = 0
    """So many writes to the control point are refused."""
    busy: int = 0
    """So many reports are answered with `server busy`."""
    break_off: int = 0
    """So many reports are not completed, after the first record."""
    counts_wrong_by: int = 0
    lose: int = 0
    """So many records are reported without their values arriving, once."""
    answers_early_s: float = 0.0
    """The last record comes so long after the answer: two characteristics are two channels."""
    contexts_first: bool = False
    contexts_last: bool = False
    """In a report, the values of the one characteristic overtake those of the other: a stack may read each from a socket
    of its own, in any order."""
    noise: list[bytes] = field(default_factory=list)
    """Sent from the control point before each answer."""
    requests: list[bytes] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def written(self, device: FakePeripheral, uuid: int | bytes, value: bytes) -> None:
        """As `when_written` of the peripheral."""
        if uuid != RACP:
            return
        if self.refuse_writes:
            self.refuse_writes -= 1
            raise RadioError("org.bluez.Error.Failed", "Operation failed with ATT error: 0xfe")
        self.requests.append(value)
        task = asyncio.get_running_loop().create_task(self._answer(device, value))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _meant(self, operator: int, operand: bytes) -> list[Kept] | None:
        if operator == 1 and not operand:
            return self.kept
        if operator == 3 and self.numbered and operand[:1] == b"\x01" and len(operand) == 1 + self.width:
            least = int.from_bytes(operand[1:], "little")
            return [each for each in self.kept if each.number >= least]
        return None

    async def _answer(self, device: FakePeripheral, request: bytes) -> None:
        link = device.link
        opcode, operator = request[0], request[1]
        if opcode in self.silent or link is None:
            return
        answer = await self._done(device, opcode, operator, request[2:])
        await asyncio.sleep(self.interval_s)
        for each in [*self.noise, answer]:
            if device.link is link and RACP in device.subscribers:
                device.notify(RACP, each)

    async def _done(self, device: FakePeripheral, opcode: int, operator: int, operand: bytes) -> bytes:
        def response(result: int) -> bytes:
            return bytes((6, 0, opcode, result))

        if opcode not in self.opcodes:
            return response(2)
        if opcode == 3:
            return response(1)
        meant = self._meant(operator, operand)
        if meant is None:
            return response(4)
        if opcode == 4:
            return bytes((5, 0)) + (len(meant) + self.counts_wrong_by).to_bytes(self.width, "little")
        if not meant:
            return response(6)
        if self.busy:
            self.busy -= 1
            return response(10)
        broken_off = bool(self.break_off)
        self.break_off -= broken_off
        if self.answers_early_s:
            asyncio.get_running_loop().call_later(self.answers_early_s, self._send_last, device)
        await self._send(device, meant[:1] if broken_off else meant[: -1 if self.answers_early_s else None])
        if broken_off:
            return response(8)
        return bytes((8, 0)) + len(meant).to_bytes(self.width, "little") if opcode == 7 else response(1)

    def _send_last(self, device: FakePeripheral) -> None:
        for uuid, value in self.kept[-1].values:
            device.notify(uuid, value)

    async def _send(self, device: FakePeripheral, kept: Iterable[Kept]) -> None:
        link = device.link
        sent: list[tuple[int, bytes]] = []
        for record in kept:
            if self.lose:
                self.lose -= 1
                continue
            sent += record.values
        if self.contexts_first or self.contexts_last:
            sent.sort(key=lambda each: each[0], reverse=self.contexts_first)
        for uuid, value in sent:
            if self.interval_s:
                await asyncio.sleep(self.interval_s)
            if device.link is not link or uuid not in device.subscribers:
                return
            device.notify(uuid, value)
