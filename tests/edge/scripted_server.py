"""A server that says fixed bytes: what no real broker can be made to say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from edge.mqtt import Broker

CONNACK = b"\x20\x03\x00\x00\x00"


@asynccontextmanager
async def server_that_says(content: bytes) -> AsyncIterator[Broker]:
    """Waits for the CONNECT, says this, and then nothing until the client goes."""
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.read(1000)
        writer.write(content)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield Broker(host="127.0.0.1", port=server.sockets[0].getsockname()[1], client_id="hub-0001")
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
