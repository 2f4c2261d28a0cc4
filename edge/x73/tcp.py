"""20601 over TCP: the manager listens, agents connect, bare APDUs stand back to back.

An agent may say nothing for hours; whether it is still there is for TCP's keepalive to find out.
"""

import asyncio
import contextlib
import socket
from typing import Final

from edge.x73.pump import MAX_READ, Associations

CLOSE_S: Final = 1.0


async def listen(associations: Associations, host: str | None, port: int) -> asyncio.Server:
    """Take agents on from now on. OSError if the address cannot be had."""

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        associations.take_on(_Tcp(reader, writer))

    return await asyncio.start_server(accept, host, port)


class _Tcp:
    """A connection as a `Way`."""

    patient = False

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        with contextlib.suppress(OSError):  # it is gone already
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    async def close(self) -> None:
        """The peer gets the last word that was said to it: unread bytes at a close would have it thrown away."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                while await self.reader.read(MAX_READ):
                    pass

    def abort(self) -> None:
        self._writer.transport.abort()
