"""From the radio's callback into the outbox: committed at once, in order of arrival.

One for all transports. `take` returns after the commit, so nothing that was counted is lost when the hub is killed. What the outbox refuses
for the moment (the disk is full) is held in memory, later readings queue behind it, and `retry` puts them in order.
An outbox that is damaged, and cannot be mended in a second either, ends the hub: a person must see to its disk.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from edge.log import event
from edge.outbox import OutboxDamaged, OutboxError

MAX_HELD: Final = 2000
"""Readings in memory while the outbox takes none: a day of a busy home."""
MAX_HELD_BYTES: Final = 2 << 20
"""What they may weigh: a Bluetooth value is some 200 bytes, but a segment of a 20601 agent's store is up to 64 KiB."""
RETRY_S: Final = 1.0


class Intake:
    """The one door from collecting to the outbox."""

    def __init__(self, *, put: Callable[[bytes], int], stored: Callable[[], None]) -> None:
        """`put` commits a reading and gives its number; `stored` is told after each commit."""
        self._put = put
        self._stored = stored
        self._held: deque[tuple[Callable[[bytes], int], bytes]] = deque()
        self._held_bytes = 0
        self._unmended: OutboxDamaged | None = None
        self.dropped = 0
        """Readings lost because the outbox took none and memory was full."""

    @property
    def held(self) -> int:
        """Readings that wait in memory."""
        return len(self._held)

    def take(self, encoded: bytes, *, hold: bool = True, put: Callable[[bytes], int] | None = None) -> int | None:
        """Commit a reading; its number, or None if it had to be held (or, at the bound, dropped).

        With `hold` False None means that nothing was kept: for a device that keeps a reading until it is confirmed.
        `put` is for a reading that is committed together with something else.
        """
        put = put or self._put
        self.retry()
        if not self._held:
            try:
                seq = self._commit(put, encoded)
            except OutboxError as error:
                event("outbox_refused", logging.ERROR, error=type(error).__name__, detail=str(error))
            else:
                self._stored()
                return seq
        if not hold:
            return None
        if len(self._held) < MAX_HELD and self._held_bytes + len(encoded) <= MAX_HELD_BYTES:
            self._held.append((put, encoded))
            self._held_bytes += len(encoded)
        else:
            self.dropped += 1
            event("reading_dropped", logging.ERROR, count=self.dropped, held=len(self._held))
        return None

    def retry(self) -> None:
        """Commit what is held, as far as the outbox takes it."""
        count = 0
        try:
            while self._held:
                put, encoded = self._held[0]
                self._commit(put, encoded)
                self._held.popleft()
                self._held_bytes -= len(encoded)
                count += 1
        except OutboxError:
            return
        finally:
            if count:
                event("held_readings_stored", count=count, held=len(self._held))
                self._stored()

    async def run(self) -> None:
        """Try again each second, for ever. OutboxDamaged if the store cannot be mended."""
        while True:
            await asyncio.sleep(RETRY_S)
            self.retry()
            if self._unmended is not None:
                raise self._unmended

    def close(self) -> None:
        """The last try, when nothing more will come."""
        self.retry()
        if self._held:
            event("readings_lost", logging.ERROR, count=self.held)

    def _commit(self, put: Callable[[bytes], int], encoded: bytes) -> int:
        try:
            seq = put(encoded)
        except OutboxDamaged as error:
            self._unmended = error
            raise
        self._unmended = None
        return seq
