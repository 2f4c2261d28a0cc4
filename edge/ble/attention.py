"""When to connect to a device that is in the air: a machine that is told the time.

1. A device that is seen is connected to at once: many advertise for seconds only, after a measurement.
2. Not so if its last session brought nothing: then after a pause that doubles, or a silent device that is left on
   would be called all day, with its battery and the radio's time.
3. But at once, all the same, if it had gone in between: it has been switched on again.
4. What is seen during a session says nothing: BlueZ reports a change of state as it reports an advertisement.
5. A device that goes on advertising when it has nothing to say (`wire.quirks`) is left alone for as long as it does.
6. A sighting is acted on while it is fresh. Calling a device that has left keeps the radio busy for nothing.
"""

from typing import Final

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0
"""A citizen who finds a cuff ignored tries again within minutes."""
GONE_S: Final = 30.0
"""Unseen for so long is gone. The kernel may report a device that stays only once per scan cycle of 10 s."""
FRESH_S: Final = 30.0
"""As long as a device is not gone."""


class Attention:
    """The rules above for one device; times are seconds of one monotonic clock."""

    __slots__ = ("_busy", "_fresh", "_hold_until", "_pause_s", "last_seen")

    def __init__(self) -> None:
        self.last_seen: float | None = None
        self._fresh = False
        self._busy = False
        self._pause_s = 0.0
        self._hold_until = 0.0

    def seen(self, now: float) -> None:
        """It advertised."""
        if not self._busy:
            if self.last_seen is None or now - self.last_seen >= GONE_S:
                self._hold_until = now
                self._pause_s = 0.0
            self._fresh = True
        self.last_seen = now

    def due(self, now: float) -> float | None:
        """When to connect, which may be now; None: not before it is seen again."""
        if self._busy or not self._fresh or self.last_seen is None or now - self.last_seen >= FRESH_S:
            return None
        return max(now, self._hold_until)

    def begun(self) -> None:
        """A session began."""
        self._busy = True
        self._fresh = False

    def pardon(self) -> None:
        """The radio had failed, not the device: that calling it came to nothing says nothing."""
        if self._pause_s:
            self._pause_s = self._hold_until = 0.0

    def ended(self, now: float, *, readings: int, ignore_s: float = 0.0) -> None:
        """The session is over; a connection that did not come about is a session without readings."""
        self._busy = False
        self.last_seen = now
        self._pause_s = 0.0 if readings else min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
        self._hold_until = now + max(self._pause_s, ignore_s)
