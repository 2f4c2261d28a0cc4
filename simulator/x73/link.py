"""The pump of a 20601 agent: bytes, time and a stop request between one connection and `wire.x73.agent.Agent`.

It runs in one task and only inside `until`. Every wait ends: with what is waited for, with the end of the association,
with the machine's own deadline, or with the time given.
"""

import asyncio
from collections.abc import Callable, Iterator

from wire.x73.agent import Agent
from wire.x73.events import Happening
from wire.x73.framing import Framer

MAX_READ = 65_536
SEND_S = 10.0
"""A manager that does not take a few hundred bytes in this time is gone."""


class Link:
    """One connection of an agent; `happened` gets every event, `before` is called ahead of each APDU received."""

    def __init__(
        self,
        agent: Agent,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        stop: asyncio.Event,
        happened: Callable[[list[Happening]], None],
        before: Callable[[], None],
    ) -> None:
        self.over = self.mute = self.cut = False
        """The association has ended; nothing is sent any more; the connection is to be reset."""
        self.heard = 0
        """How often the manager said something."""
        self._agent, self._reader, self._writer, self._stop = agent, reader, writer, stop
        self._happened, self._before = happened, before
        self._framer = Framer()
        self._reading = asyncio.create_task(reader.read(MAX_READ), name="read")
        self._stopping = asyncio.create_task(stop.wait(), name="stop")

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def close(self) -> None:
        self._reading.cancel()
        self._stopping.cancel()
        await asyncio.wait({self._reading, self._stopping})
        if self.cut:
            self._writer.transport.abort()
            return
        self._writer.close()
        try:
            async with asyncio.timeout(SEND_S):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()

    async def until(self, done: Callable[[], bool], timeout_s: float, *, stoppable: bool = True) -> bool:
        """Carry bytes and time until something is so, the association is over, or the time is."""
        end = self.now + timeout_s
        while not done() and not self.over and not (stoppable and self._stop.is_set()):
            now = self.now
            if now >= end:
                break
            wake = min(end, self._agent.deadline() or end)
            waiting: set[asyncio.Task[bytes] | asyncio.Task[bool]] = {self._reading}
            if stoppable:
                waiting.add(self._stopping)
            await asyncio.wait(waiting, timeout=max(0.0, wake - now), return_when=asyncio.FIRST_COMPLETED)
            self._turn()
            await self.flush()
        return done()

    def _turn(self) -> None:
        if not self._reading.done():
            self._happened(self._agent.expire(self.now))
            return
        data = b"" if self._reading.exception() else self._reading.result()
        if not data:
            self._happened(self._agent.disconnected(self.now))
            self.over = True
            return
        self.heard += 1
        for piece in self._pieces(data):
            self._before()
            self._happened(self._agent.receive(piece, self.now))
        self._reading = asyncio.create_task(self._reader.read(MAX_READ), name="read")

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """Cut behind each APDU: what it brings about, a clock that is set, is so before the next one is answered."""
        start, end = 0, -self._framer.pending
        for apdu in self._framer.feed(data)[0]:
            end += len(apdu)
            yield data[start:end]
            start = end
        if start < len(data):
            yield data[start:]

    async def flush(self) -> bytes:
        """Send what the machine has to say, and return it."""
        data = self._agent.to_send()
        if data and not self.mute:
            await self.send(data)
        return data

    async def send(self, data: bytes) -> None:
        """Any bytes. That the peer is gone is for reading to find out."""
        self._writer.write(data)
        try:
            async with asyncio.timeout(SEND_S):
                await self._writer.drain()
        except ConnectionError:
            return
        except TimeoutError:
            self.over = self.cut = True
