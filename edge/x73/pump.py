"""The pump of an `Association`: bytes and time between it and a `Way`, one task for each transport connection.

No peer can end more than its own connection. What can: the caller, and a sink or recording that takes no more.
"""

import asyncio
import contextlib
import logging
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from edge.log import event
from edge.x73.association import Association, Habits, SinkFailed
from edge.x73.recording import FROM_AGENT, FROM_MANAGER, Recorder

MAX_AGENTS: Final = 32
"""Connections at a time: more agents than a home or a bench has."""
MAX_READ: Final = 65_536
"""Bytes taken from a transport at a time: the largest APDU."""
SEND_S: Final = 10.0
"""A peer that does not take a few hundred bytes in this time is gone."""


class Way(Protocol):
    """A transport connection to one agent. What goes wrong with it is an OSError, in the reader too."""

    reader: asyncio.StreamReader
    """What the agent says; its end is the connection's."""
    patient: bool
    """The connection lasts longer than an association; see `Association`."""

    def write(self, data: bytes) -> None:
        """Send whole APDUs."""

    async def drain(self) -> None:
        """Wait until what was written has left, or nearly."""

    async def close(self) -> None:
        """See that the last word arrives; it ends in a second."""

    def abort(self) -> None:
        """Let go of it at once. To be called once, always."""


class Associations:
    """All that a process has, on whatever transport; they are released together."""

    def __init__(self, habits: Habits, record: Path | None = None) -> None:
        self._habits = habits
        self._record = record
        self._recorded = 0
        self._pumps: dict[asyncio.Task[None], _Pump] = {}
        self.ended = asyncio.Event()
        """No more are taken on: somebody ended them, or the sink failed."""
        self._fault: BaseException | None = None

    def end(self) -> None:
        """Take no more on; `close` releases those that are there."""
        self.ended.set()

    def take_on(self, way: Way) -> "asyncio.Task[None] | None":
        """Serve an agent until its connection ends; None, and no connection any more, if there are too many."""
        if len(self._pumps) >= MAX_AGENTS or self.ended.is_set():
            event("agent_turned_away", logging.WARNING, count=len(self._pumps))
            way.abort()
            return None
        recorder = None if self._record is None else Recorder(partial(self._next_recording, self._record))
        pump = _Pump(Association(self._habits, patient=way.patient), way, recorder)
        task = asyncio.create_task(self._connection(pump), name="agent")
        self._pumps[task] = pump
        task.add_done_callback(self._pumps.pop)
        return task

    async def close(self) -> None:
        """Release every association, then cut. OSError if it was the sink or the recording that failed."""
        self.ended.set()
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

    def _next_recording(self, path: Path) -> Path:
        """Each connection has its own: `session.txt`, then `session-2.txt`."""
        self._recorded += 1
        return path if self._recorded == 1 else path.with_stem(f"{path.stem}-{self._recorded}")

    async def _connection(self, pump: "_Pump") -> None:
        try:
            await pump.run()
        except SinkFailed as failed:
            self._fault = failed.__cause__
            self.ended.set()
        except Exception as error:  # noqa: BLE001  the boundary of a task: what one agent brings about stays its own
            event("association_broke", logging.ERROR, error=type(error).__name__, detail=str(error))


class _Pump:
    """One connection."""

    def __init__(self, association: Association, way: Way, recorder: Recorder | None) -> None:
        self._association = association
        self._way = way
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
            association.connected(now())
            with contextlib.suppress(OSError):  # the peer is gone
                await self._exchange()
                await self._way.close()
        finally:
            self._way.abort()
            association.disconnected(now())
            if self._recorder is not None:
                self._recorder.close()

    async def _exchange(self) -> None:
        association, now, reader = self._association, self._loop.time, self._way.reader
        while not association.over and (association.associated or not self._releasing):
            try:
                async with asyncio.timeout_at(association.deadline()):
                    data = await reader.read(MAX_READ)
            except TimeoutError:
                if reader.exception() is not None:  # not our deadline but the transport's
                    raise
                association.expire(now())
            else:
                if not data:
                    return
                self._note(FROM_AGENT, data)
                association.receive(data, now())
            self._send()
            async with asyncio.timeout(SEND_S):
                await self._way.drain()

    def _send(self) -> None:
        data = self._association.manager.to_send()
        if data:
            self._note(FROM_MANAGER, data)
            self._way.write(data)

    def _note(self, direction: str, data: bytes) -> None:
        if self._recorder is not None:
            try:
                self._recorder.said(direction, data)
            except OSError as error:
                raise SinkFailed from error
