"""20601 over TCP: the manager listens, agents connect, bare APDUs stand back to back (the pump of `Association`).

No peer can end the listening. What can: the caller, and a sink or recording that takes no more. An agent may say
nothing for hours; whether it is still there is for TCP's keepalive to find out.
"""

import asyncio
import contextlib
import logging
import socket
from functools import partial
from pathlib import Path
from typing import Final

from edge.log import event
from edge.recording import FROM_AGENT, FROM_MANAGER, Recorder
from edge.x73_association import Association, Habits, SinkFailed

MAX_AGENTS: Final = 16
"""Connections at a time: more agents than a home or a bench has."""
MAX_READ: Final = 65_536
"""Bytes taken from a socket at a time: the largest APDU."""
SEND_S: Final = 10.0
"""A peer that does not take a few hundred bytes in this time is gone."""
CLOSE_S: Final = 1.0


class Listener:
    """Serves agents on a listening socket until it is cancelled, or until `end` is called."""

    def __init__(self, habits: Habits, record: Path | None = None) -> None:
        self._habits = habits
        self._record = record
        self._recorded = 0
        self._pumps: dict[asyncio.Task[None], _Pump] = {}
        self._ending = asyncio.Event()
        self._fault: BaseException | None = None

    def end(self) -> None:
        """Release every association and stop."""
        self._ending.set()

    async def open(self, host: str | None, port: int) -> asyncio.Server:
        """Listen from now on."""
        return await asyncio.start_server(self._accept, host, port)

    async def serve(self, server: asyncio.Server) -> None:
        """Serve until the end. OSError if the sink or the recording fails."""
        try:
            await self._ending.wait()
        finally:
            server.close()
            self._ending.set()
            for task, pump in self._pumps.items():
                if not pump.release():
                    task.cancel()
            if self._pumps:
                # Each has the time of a release, then it is cut.
                await asyncio.wait(self._pumps, timeout=self._habits.waits.response_s)
            ending = list(self._pumps)
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
        if self._fault is not None:
            raise self._fault

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._pumps) >= MAX_AGENTS or self._ending.is_set():
            event("agent_turned_away", logging.WARNING, count=len(self._pumps))
            writer.transport.abort()
            return
        recorder = None if self._record is None else Recorder(partial(self._next_recording, self._record))
        pump = _Pump(Association(self._habits), reader, writer, recorder)
        task = asyncio.create_task(self._connection(pump), name="agent")
        self._pumps[task] = pump
        task.add_done_callback(self._pumps.pop)

    def _next_recording(self, path: Path) -> Path:
        """Each connection has its own: `session.txt`, then `session-2.txt`."""
        self._recorded += 1
        return path if self._recorded == 1 else path.with_stem(f"{path.stem}-{self._recorded}")

    async def _connection(self, pump: "_Pump") -> None:
        try:
            await pump.run()
        except SinkFailed as failed:
            self._fault = failed.__cause__
            self._ending.set()
        except Exception as error:  # noqa: BLE001  the boundary of a task: what one agent brings about stays its own
            event("association_broke", logging.ERROR, error=type(error).__name__, detail=str(error))


class _Pump:
    """One connection: bytes and deadlines to its association, and what the association says back."""

    def __init__(
        self,
        association: Association,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        recorder: Recorder | None,
    ) -> None:
        self._association = association
        self._reader = reader
        self._writer = writer
        self._recorder = recorder
        self._releasing = False
        self._loop = asyncio.get_running_loop()

    def release(self) -> bool:
        """Begin the end of the association; False if there is none."""
        self._releasing = True
        self._association.release(self._loop.time())
        self._send()
        return self._association.associated

    async def run(self) -> None:
        association, now = self._association, self._loop.time
        try:
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            association.connected(now())
            with contextlib.suppress(OSError):  # the peer is gone
                await self._exchange()
                await self._close()
        finally:
            association.disconnected(now())
            self._writer.transport.abort()
            if self._recorder is not None:
                self._recorder.close()

    async def _exchange(self) -> None:
        association, now = self._association, self._loop.time
        while not association.over and (association.associated or not self._releasing):
            try:
                async with asyncio.timeout_at(association.deadline()):
                    data = await self._reader.read(MAX_READ)
            except TimeoutError:
                if self._reader.exception() is not None:  # not our deadline but TCP's
                    raise
                association.expire(now())
            else:
                if not data:
                    return
                self._note(FROM_AGENT, data)
                association.receive(data, now())
            self._send()
            async with asyncio.timeout(SEND_S):
                await self._writer.drain()

    async def _close(self) -> None:
        """The peer gets the last word that was said to it: unread bytes at a close would have it thrown away."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                while await self._reader.read(MAX_READ):
                    pass

    def _send(self) -> None:
        data = self._association.manager.to_send()
        if data:
            self._note(FROM_MANAGER, data)
            self._writer.write(data)

    def _note(self, direction: str, data: bytes) -> None:
        if self._recorder is not None:
            try:
                self._recorder.said(direction, data)
            except OSError as error:
                raise SinkFailed from error
