"""`stafet-hub listen`: agents' measurements as lines, for a technician at a bench."""

import asyncio
import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from edge.log import event
from edge.table import measurement_table
from edge.x73_association import Habits
from edge.x73_tcp import Listener
from wire.measurement import Measurement
from wire.measurement_json import dumps_line
from wire.x73.session import Waits


class CannotListen(Exception):  # noqa: N818  what it says is its name
    """The address is taken, or not ours; the cause is the `OSError`."""


class Lines:
    """Measurements as they come: one JSON line each, or a table of each report. A flushed line is kept."""

    def __init__(self, out: TextIO, *, json: bool) -> None:
        self.count = 0
        self._out = out
        self._json = json

    def take(self, measurements: tuple[Measurement, ...]) -> None:
        received = datetime.now(UTC)
        if self._json:
            for each in measurements:
                self._out.write(dumps_line(replace(each, received=received)) + "\n")
        else:
            self._out.write(measurement_table(measurements) + "\n")
        self._out.flush()
        self.count += len(measurements)


class _Counted:
    """Lines that end the listening when there are enough of them."""

    def __init__(self, show: Lines, enough: int) -> None:
        self.listener: Listener | None = None
        self._show = show
        self._enough = enough

    def take(self, measurements: tuple[Measurement, ...]) -> None:
        self._show.take(measurements)
        if self.listener is not None and self._show.count >= self._enough:
            self.listener.end()


def listen(
    host: str | None,
    port: int,
    *,
    show: Lines,
    count: int | None = None,
    record: Path | None = None,
    clear_store: bool = False,
    waits: Waits | None = None,
) -> None:
    """Until SIGTERM, SIGINT or `count` measurements. OSError if the output or the recording fails."""
    sink = show if count is None else _Counted(show, count)
    habits = Habits(
        sink=sink,
        local_time=lambda: datetime.now().astimezone(),
        waits=waits or Waits(),
        clear_store=clear_store,
        # A recording stands for itself: its agent tells its configuration each time.
        remember=record is None,
    )
    listener = Listener(habits, record)
    if isinstance(sink, _Counted):
        sink.listener = listener
    asyncio.run(_serve(listener, host, port))


async def _serve(listener: Listener, host: str | None, port: int) -> None:
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, listener.end)
    try:
        server = await listener.open(host, port)
    except OSError as error:
        raise CannotListen(f"{host}:{port}: {error.strerror}") from error
    for address in server.sockets:
        bound, chosen = address.getsockname()[:2]
        event("listening", at=f"[{bound}]:{chosen}" if ":" in bound else f"{bound}:{chosen}")
    await listener.serve(server)
