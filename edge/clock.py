"""The hub's clock, and how far it may be trusted. Many hubs have no battery: at power-on it may be 1970.

Every moment is kept twice: wall time, and monotonic time within one boot, so that a later, trusted time can correct an
earlier moment of the same boot. Wall time comes from the first of these that can be had:

1. the system's, while the kernel says that something (NTP, PTP) disciplines it: SYNCHRONISED, within its `maxerror`;
2. the bridge's, from a signed receipt of the last `RECEIPT_LASTS_S`, carried on by the monotonic clock: SYNCHRONISED,
   within what the round trip and the crystal's drift leave open;
3. the system's as it is, if it is not before this program was written: UNSYNCHRONISED;
4. the system's, which is wrong: UNSET. Good for order within the boot, and for nothing else.

The system's clock is never set from here.
"""

import ctypes
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from wire.clock import Clock, ClockState

BUILD_US: Final = 1_790_812_800_000_000
"""2026-10-01T00:00Z, before this version was released: a wall clock that is earlier was never set."""
RECEIPT_LASTS_S: Final = 24 * 3600
"""A hub whose citizen measures once a day stays synchronised from one receipt to the next."""
DRIFT_PPM: Final = 100
"""How wrong a cheap crystal runs in a cold or hot room; 24 h make 9 s of it."""
LONGEST_ROUND_TRIP_US: Final = 30_000_000
"""A receipt that came later says too little of when it was made."""

_STA_UNSYNC: Final = 0x40


def use_timezone(name: str) -> None:
    """Let local time in this process be the citizen's; an empty name leaves the system's."""
    if name:
        os.environ["TZ"] = name
        time.tzset()


def citizens_time(clock: Clock) -> datetime:
    """The local time that a clock shows: what devices have, and are set to."""
    return datetime.fromtimestamp(clock.wall_us / 1_000_000, UTC).astimezone()


class SystemTime(NamedTuple):
    """What the system says: wall and monotonic time, and the kernel's bound on the error if it is disciplined."""

    wall_us: int
    mono_us: int
    max_error_us: int | None


class _Offset(NamedTuple):
    """Wall time is monotonic time plus this, as known at `mono_us`, within `uncertainty_us`."""

    offset_us: int
    uncertainty_us: int
    mono_us: int

    def uncertainty_at(self, mono_us: int) -> int:
        return self.uncertainty_us + abs(mono_us - self.mono_us) * DRIFT_PPM // 1_000_000


class SystemClock:
    """The clock of this process; one for all of it, so that everyone profits from a receipt's time."""

    def __init__(
        self,
        *,
        boot: bytes | None = None,
        build_us: int = BUILD_US,
        system: Callable[[], SystemTime] | None = None,
    ) -> None:
        self.boot = boot or boot_id()
        self._build_us = build_us
        self._system = system or system_time
        self._offset: _Offset | None = None

    def now(self) -> Clock:
        wall_us, mono_us, max_error_us = self._system()
        state = ClockState.UNSYNCHRONISED if wall_us >= self._build_us else ClockState.UNSET
        uncertainty_us = None
        offset = self._offset
        if max_error_us is not None and state is not ClockState.UNSET:
            state, uncertainty_us = ClockState.SYNCHRONISED, max_error_us
        elif offset is not None and mono_us - offset.mono_us <= RECEIPT_LASTS_S * 1_000_000:
            state, wall_us, uncertainty_us = (
                ClockState.SYNCHRONISED,
                mono_us + offset.offset_us,
                offset.uncertainty_at(mono_us),
            )
        uncertainty_ms = None if uncertainty_us is None else -(-uncertainty_us // 1000)
        return Clock(
            wall_us=max(wall_us, 0), mono_us=mono_us, boot=self.boot, state=state, uncertainty_ms=uncertainty_ms
        )

    def trust(self, time_us: int, *, sent_mono_us: int, received_mono_us: int) -> bool:
        """Learn from a signed receipt: its `time_us` was between the batch's sending and the receipt's coming.

        Whether it was of use; a receipt that says less than what is known already is not.
        """
        round_trip_us = received_mono_us - sent_mono_us
        if not 0 <= round_trip_us <= LONGEST_ROUND_TRIP_US:
            return False
        middle_us = sent_mono_us + round_trip_us // 2
        learned = _Offset(time_us - middle_us, round_trip_us // 2 + 1, middle_us)
        known = self._offset
        if known is not None and known.uncertainty_at(received_mono_us) <= learned.uncertainty_at(received_mono_us):
            return False
        self._offset = learned
        return True


def system_time() -> SystemTime:
    wall_us, mono_us = time.time_ns() // 1000, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    return SystemTime(wall_us, mono_us, kernel_max_error_us())


def boot_id() -> bytes:
    """16 bytes, new at every boot; of this process where the kernel has none, which only makes it say less."""
    with suppress(OSError, ValueError):
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        boot = bytes.fromhex(text.strip().replace("-", ""))
        if len(boot) == 16:
            return boot
    return os.urandom(16)


class _Timex(ctypes.Structure):
    """The head of `struct timex`, adjtimex(2); the kernel writes the rest into `rest`."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


_libc: Final = ctypes.CDLL(None)


def kernel_max_error_us() -> int | None:
    """The kernel's bound on the error of its wall clock; None if nothing disciplines it."""
    timex = _Timex()  # modes = 0: only asks
    if _libc.adjtimex(ctypes.byref(timex)) < 0 or timex.status & _STA_UNSYNC:
        return None
    return max(int(timex.maxerror), 0)
