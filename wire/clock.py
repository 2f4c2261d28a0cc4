"""The hub's clock, as readings, batches and the status of a hub have it (docs/wire.md, `clock`)."""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Self


class ClockState(IntEnum):
    """How far the hub trusts its own wall clock."""

    UNSET = 0
    """Never set since boot; the wall time is only good for ordering."""
    UNSYNCHRONISED = 1
    """Set once (from a battery clock or the last saved time), not disciplined now."""
    SYNCHRONISED = 2
    """Disciplined by NTP or by a signed receipt, within `uncertainty_ms`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The hub's clock at one moment: wall time, and monotonic time within one boot, so that it can be corrected later.

    `wall_us` and `mono_us` are microseconds (Unix epoch UTC; since an arbitrary point of this boot), from 0 to
    2**53 - 1; `boot` is 16 bytes, new at every boot; `uncertainty_ms` is None where the hub cannot tell.
    """

    wall_us: int
    mono_us: int
    boot: bytes
    state: ClockState
    uncertainty_ms: int | None = None

    def corrected(self, later: Self) -> Self:
        """The same moment by a later reading of this clock, where the hub trusts that one more; else as it is.

        A clock that was set meanwhile tells by how much it was off, if the hub did not restart between.
        """
        if later.boot != self.boot or later.state <= self.state or later.mono_us < self.mono_us:
            return self
        return replace(later, wall_us=later.wall_us - (later.mono_us - self.mono_us), mono_us=self.mono_us)
