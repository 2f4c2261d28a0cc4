"""A `Way` over a transport that carries one APDU in each of its packets: USB transfers, Bluetooth L2CAP."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from wire.x73.framing import Framer

CLOSE_S: Final = 1.0


class Brake(asyncio.ReadTransport):
    """How a reader says that it has enough: what a peer says beyond that waits with the peer, and not in memory."""

    def __init__(self, reading: Callable[[bool], None]) -> None:
        """`reading` is told to stop (False) and to go on."""
        super().__init__()
        self._reading = reading

    def pause_reading(self) -> None:
        """Called by the reader."""
        self._reading(False)

    def resume_reading(self) -> None:
        """As above."""
        self._reading(True)


class Packets:
    """Takes APDUs apart and sends them in order, in a task; `let_go` is called once, when the way is given up."""

    def __init__(
        self,
        *,
        send: Callable[[bytes], Awaitable[None]],
        let_go: Callable[[], None],
        reading: Callable[[bool], None],
        patient: bool,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """`send` may raise OSError: then the connection is gone. `reading` as with `Brake`; a little may still be heard.

        Without a running loop here, say which it is.
        """
        self.reader = asyncio.StreamReader(loop=loop)
        self.reader.set_transport(Brake(reading))
        self.patient = patient
        self._send = send
        self._let_go = let_go
        self._framer = Framer()
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None
        self._fault: OSError | None = None
        self._ended = False

    def hear(self, packet: bytes) -> None:
        """What came."""
        if not self._ended:
            self.reader.feed_data(packet)

    def end(self) -> None:
        """The other side has ended the connection."""
        self._ended = True
        self.reader.feed_eof()

    def write(self, data: bytes) -> None:
        apdus, _ = self._framer.feed(data)
        for apdu in apdus:
            self._waiting.put_nowait(apdu)
        if self._sender is None:
            self._sender = asyncio.create_task(self._sending(), name="send")

    async def drain(self) -> None:
        await self._waiting.join()
        if self._fault is not None:
            raise self._fault

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._waiting.join()

    def abort(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
        self._let_go()

    async def _sending(self) -> None:
        while True:
            apdu = await self._waiting.get()
            try:
                if self._fault is None:
                    await self._send(apdu)
            except OSError as error:
                self._fault = error
                self.end()
            finally:
                self._waiting.task_done()
