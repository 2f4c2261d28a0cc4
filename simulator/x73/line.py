"""The transports of a 20601 agent: TCP, a serial port, or a pseudo terminal that stands for one."""

import asyncio
import os
import tty
from collections.abc import Callable

from simulator.terminal import is_open, open_terminal

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

LOOK_S = 0.05


async def open_serial(path: str) -> Streams:
    """A serial port, raw. OSError if it cannot be had."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(descriptor)
    return await _streams(descriptor)


async def open_pty(say: Callable[[str], None], stop: asyncio.Event) -> Streams | None:
    """A new pseudo terminal: `say` is told the path of its other end, and the agent is there once somebody has opened
    that. None if it is told to stop before.
    """
    ours, path = open_terminal()
    say(path)
    while not is_open(ours):
        try:
            async with asyncio.timeout(LOOK_S):
                await stop.wait()
        except TimeoutError:
            continue
        os.close(ours)
        return None
    return await _streams(ours)


async def _streams(descriptor: int) -> Streams:
    """Streams over a descriptor, which is theirs from here on."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(descriptor), "rb", 0))
    # A pipe has two transports, and a writer waits for the end of its own.
    writing, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(descriptor, "wb", 0)
    )
    return reader, asyncio.StreamWriter(writing, protocol, reader, loop)
