"""A device's own clock: it counts well, and may be wrong by any amount, or never have been set."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

FACTORY = datetime(2000, 1, 1)  # noqa: DTZ001 - what the display shows, without a zone
"""Where a clock that nobody has set begins to count when the device gets power."""


class DeviceClock:
    """Shows local time; `true` is always the moment in truth, with its zone."""

    def __init__(
        self,
        zone: ZoneInfo,
        *,
        off: timedelta = timedelta(),
        powered: datetime | None = None,
        shows: datetime = FACTORY,
    ) -> None:
        """Right but for `off`; or, given `powered`, unset: it showed `shows` then."""
        self.zone = zone
        self.is_set = powered is None
        self._off = off
        if powered is not None:
            self._off = shows.replace(tzinfo=zone) - powered

    def shown(self, true: datetime) -> datetime:
        """What the clock shows at a moment, with the zone it believes in."""
        return (true + self._off).astimezone(self.zone)

    def set(self, shown: datetime, true: datetime) -> None:
        """Somebody set it: local time without a zone, or a moment with one."""
        wanted = shown if shown.tzinfo else shown.replace(tzinfo=self.zone)
        self._off = wanted - true
        self.is_set = True

    def error(self, shown: datetime, true: datetime) -> timedelta:
        """How far a time that somebody would set is from what the clock shows."""
        wanted = shown if shown.tzinfo else shown.replace(tzinfo=self.zone)
        return abs(wanted - (true + self._off))
