"""What a device remembers. No I/O; it is told the time.

What proves that a hub has a measurement? Nothing on this link does. The confirmation of an indication is given by the
Bluetooth stack, before the hub has stored anything, and these services have no acknowledgement of the application. So a
device that must not lose a measurement keeps it and sends it again when in doubt (`resend`): the same bytes with the
same time stamp, which the far side recognises. It is in doubt until the hub itself hung up, and hung up `SETTLE_S`
after the last value. A device without a clock (the strap) cannot be recognised, and never sends anything twice.
"""

from collections import deque
from typing import Final, Generic, TypeVar

Held = TypeVar("Held")

SETTLE_S: Final = 1.0
"""A value that left the device this long before the hub hung up is in the hub's store: one commit takes milliseconds."""


class Memory(Generic[Held]):
    """The measurements that one device holds: waiting, and sent in a session whose end is not known yet."""

    def __init__(self, *, resend: bool) -> None:
        self._resend = resend
        self._waiting: deque[Held] = deque()
        self._in_doubt: list[Held] = []
        self._last_sent = 0.0
        self.resent = 0

    @property
    def anything(self) -> bool:
        """Whether the device has a reason to be found: something to send, or something it may have to send again."""
        return bool(self._waiting or self._in_doubt)

    def put(self, measured: Held) -> None:
        self._waiting.append(measured)

    def begin(self, *, latest_first: bool = False) -> None:
        """A subscriber is there. What the last one may not have kept goes first."""
        self._waiting.extendleft(reversed(self._in_doubt))
        self.resent += len(self._in_doubt)
        self._in_doubt.clear()
        if latest_first:
            self._waiting.reverse()

    def next(self) -> Held | None:
        """The next measurement to send."""
        return self._waiting[0] if self._waiting else None

    def sent(self, now: float) -> None:
        """What `next` gave has left the device."""
        measured = self._waiting.popleft()
        self._last_sent = now
        if self._resend:
            self._in_doubt.append(measured)

    def end(self, now: float, *, hub_hung_up: bool) -> None:
        """The session is over."""
        if hub_hung_up and now - self._last_sent >= SETTLE_S:
            self._in_doubt.clear()
