"""One writer per hub, over all bridge processes on one ledger.

A lock is a byte of `<ledger>.lock`, at the hub's row id; every running bridge shares byte 0. The kernel frees a dead process's locks, so a bridge
killed with readings in hand leaves nothing that its successor must wait for. Within one process the relay runs one
task per hub; these locks do not exclude that process from itself (POSIX record locks belong to processes).
"""

import asyncio
import fcntl
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

RUNNING_BYTE: Final = 0
RETRY_S: Final = 0.05
"""The other process holds a hub for the time of one FHIR transaction; some ten milliseconds."""


class HubLocks:
    """The lock file, open once: closing any other descriptor of it in this process would free every lock."""

    def __init__(self, ledger: Path) -> None:
        self._file = os.open(ledger.with_name(ledger.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        os.close(self._file)

    def announce(self) -> None:
        """Show other processes that a bridge runs on this ledger."""
        fcntl.lockf(self._file, fcntl.LOCK_SH, 1, RUNNING_BYTE)

    def bridge_runs(self) -> bool:
        """Whether another process has announced itself."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, RUNNING_BYTE)
        except (BlockingIOError, PermissionError):
            return True
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, RUNNING_BYTE)
        return False

    @asynccontextmanager
    async def hold(self, hub_id: int) -> AsyncIterator[None]:
        """Wait until no other process writes for this hub."""
        while not self.take(hub_id):  # noqa: ASYNC110 - the lock is another process's; no event tells of it
            await asyncio.sleep(random.uniform(RETRY_S / 2, RETRY_S))  # noqa: S311 - jitter, not a secret
        try:
            yield
        finally:
            self.release(hub_id)

    def take(self, hub_id: int) -> bool:
        """Lock this hub if no other process has it."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, hub_id)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def release(self, hub_id: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, hub_id)
