"""20601 over a serial port: bare APDUs back to back, as over TCP (a cable, Bluetooth SPP as /dev/rfcomm0, a pty).

A port is there before and after an association. Bytes that cannot be followed cannot be followed again by waiting, so
the port is closed and opened anew, which begins a new stream.
"""

import asyncio
import logging
from typing import Final

from edge.log import event
from edge.serial.port import Framing, PortError, SerialPort
from edge.x73.packets import Brake
from edge.x73.pump import Associations

FRAMING: Final = Framing(baud=115_200)
"""What nobody has set otherwise; to USB and Bluetooth it means nothing."""
REOPEN_S: Final = 1.0
REOPEN_TO_S: Final = 30.0


async def serve(associations: Associations, path: str) -> None:
    """Serve whoever is at a port, for ever; one that is not there is tried again."""
    delay_s, fault = REOPEN_S, ""
    while True:
        try:
            line = Line(path)
        except PortError as error:
            if not fault:
                event("port_failed", logging.WARNING, port=path, reason=error.reason, detail=error.detail)
            fault, delay_s = error.reason, min(2 * delay_s, REOPEN_TO_S)
        else:
            if fault:
                event("port_recovered", port=path, reason=fault)
            delay_s, fault = REOPEN_S, ""
            if (task := associations.take_on(line)) is not None:
                await asyncio.wait({task})
        await asyncio.sleep(delay_s)


class Line:
    """An open port as a `Way`."""

    patient = True

    def __init__(self, path: str) -> None:
        """PortError if the port cannot be had."""
        self.reader = asyncio.StreamReader()
        self._port = SerialPort(path, FRAMING, received=self.reader.feed_data, gone=self.reader.feed_eof)
        self.reader.set_transport(Brake(self._port.read))

    def write(self, data: bytes) -> None:
        # A port that takes no more is gone; the association learns that from its reader.
        try:
            self._port.write(data)
        except PortError:
            self._port.close()  # nothing may be heard after the end
            self.reader.feed_eof()

    async def drain(self) -> None:
        """The kernel has it."""

    async def close(self) -> None:
        """The kernel sends what it has."""

    def abort(self) -> None:
        self._port.close()
