"""`stafet-hub listen`: agents' measurements as lines, for a technician at a bench."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from edge.log import address_hash, event
from edge.table import measurement_table
from edge.x73.association import Habits, Told
from edge.x73.pump import Associations
from wire.measurement_json import dumps_line
from wire.x73.session import Waits


class CannotListen(Exception):  # noqa: N818  what it says is its name
    """The address is taken, or not ours, or the port is not there; the cause is the `OSError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """On which transports to serve agents."""

    tcp: tuple[str | None, int] | None = None
    serial: str | None = None
    usb: bool = False
    hdp: bool = False


class Lines:
    """Measurements as they come: one JSON line each, or a table of each report. A flushed line is kept.

    Each is of one agent: with `agent` in its JSON, or in the line above its table, as the hash that events have.
    """

    def __init__(self, out: TextIO, *, json: bool) -> None:
        self.count = 0
        self._out = out
        self._json = json

    def take(self, told: Told) -> bool:
        measurements = told.report.measurements + told.report.test_measurements
        if not measurements:
            return True
        agent, received = address_hash(told.system_id), datetime.now(UTC)
        if self._json:
            for each in measurements:
                self._out.write(dumps_line(replace(each, received=received), agent=agent) + "\n")
        else:
            self._out.write(f"{agent}\n{measurement_table(measurements)}\n")
        self._out.flush()
        self.count += len(measurements)
        return True


class Counted:
    """Lines that end the listening when there are enough of them; what comes after these stays with its agent."""

    def __init__(self, show: Lines, enough: int) -> None:
        self.end: Callable[[], None] | None = None
        self._show = show
        self._enough = enough

    def take(self, told: Told) -> bool:
        if self._show.count >= self._enough:
            return False
        self._show.take(told)
        if self.end is not None and self._show.count >= self._enough:
            self.end()
        return True


def listen(
    ways: Ways,
    *,
    show: Lines,
    count: int | None = None,
    record: Path | None = None,
    clear_store: bool = False,
    waits: Waits | None = None,
) -> None:
    """Until SIGTERM, SIGINT or `count` measurements. OSError if the output or the recording fails."""
    sink = show if count is None else Counted(show, count)
    habits = Habits(
        sink=sink,
        local_time=lambda: datetime.now().astimezone(),
        waits=waits or Waits(),
        clear_store=clear_store,
        # A recording stands for itself: its agent tells its configuration each time.
        remember=record is None,
    )
    associations = Associations(habits, record)
    if isinstance(sink, Counted):
        sink.end = associations.end
    asyncio.run(_serve(associations, ways))


async def _serve(associations: Associations, ways: Ways) -> None:
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, associations.end)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(associations.close)
        if ways.tcp is not None:
            await stack.enter_async_context(_tcp(associations, *ways.tcp))
        if ways.serial is not None:
            await stack.enter_async_context(_serial(associations, ways.serial))
        if ways.usb:
            await stack.enter_async_context(_usb(associations))
        if ways.hdp:
            from edge.x73 import hdp as x73_hdp  # noqa: PLC0415  only what is asked for

            await stack.enter_async_context(_running("hdp", x73_hdp.serve(associations)))
        await associations.ended.wait()


@asynccontextmanager
async def _running(name: str, transport: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(transport, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _serial(associations: Associations, path: str) -> AsyncIterator[None]:
    from edge.x73.serial import serve  # noqa: PLC0415  only what is asked for

    event("listening", at=path)
    async with _running("serial", serve(associations, path)):
        yield


@asynccontextmanager
async def _usb(associations: Associations) -> AsyncIterator[None]:
    from edge.x73 import usb as x73_usb  # noqa: PLC0415  only what is asked for

    try:
        await asyncio.to_thread(x73_usb.find)
    except OSError as error:
        raise CannotListen(f"USB: {error}") from error
    event("listening", at="USB")
    async with _running("usb", x73_usb.serve(associations)):
        yield


@asynccontextmanager
async def _tcp(associations: Associations, host: str | None, port: int) -> AsyncIterator[None]:
    from edge.x73.tcp import listen  # noqa: PLC0415  only what is asked for

    try:
        server = await listen(associations, host, port)
    except OSError as error:
        raise CannotListen(f"{host}:{port}: {error.strerror}") from error
    for address in server.sockets:
        bound, chosen = address.getsockname()[:2]
        event("listening", at=f"[{bound}]:{chosen}" if ":" in bound else f"{bound}:{chosen}")
    try:
        yield
    finally:
        server.close()
