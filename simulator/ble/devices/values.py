"""What a Bluetooth device needs to say a value: times and check sums as GATT has them, and one characteristic's value.

Written from the Bluetooth SIG's definitions alone, as `simulator.values` is.
"""

import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from simulator.people import Further, Person, Vitals
from simulator.values import Other, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One value of a characteristic, and what it says."""

    characteristic: int
    data: bytes
    values: tuple[Value, ...]
    device_time: datetime | None = None
    """Local time on the device's own clock, whole seconds; None where the value carries none."""
    others: tuple[Other, ...] = ()
    expected: bool = True
    """Whether it is a result that shall arrive; a pressure while the cuff inflates is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When and of whom a device measures: the person, the device's clock, and which measurement it is."""

    who: Person
    vitals: Vitals
    further: Further
    at: datetime
    """What the device's clock shows, whole seconds."""
    number: int = 1
    """Which measurement of this device it is, from 1."""
    user: int | None = None
    """The device's user, where it has been told to say one."""
    clock_set: bool = True
    session: datetime | None = None
    """When the sensor's session began, by its clock."""

    @property
    def user_octet(self) -> bytes:
        """The user as cuffs and scales send it; nothing where none is said."""
        return b"" if self.user is None else bytes([self.user])

    @property
    def minutes(self) -> int:
        """Whole minutes since the session began."""
        return 0 if self.session is None else (self.at - self.session) // timedelta(minutes=1)


NAN: Final = b"\xff\x07"
"""SFLOAT: not a number."""


def date_time(at: datetime) -> bytes:
    """GATT Date Time, 2A08: year, month, day, hours, minutes, seconds."""
    return struct.pack("<HBBBBB", at.year, at.month, at.day, at.hour, at.minute, at.second)


def current_time(at: datetime) -> bytes:
    """GATT Current Time, 2A2B: date time, day of week (Monday is 1), 1/256 s, adjust reason (none)."""
    return date_time(at) + bytes([at.isoweekday(), at.microsecond * 256 // 1_000_000, 0])


def read_date_time(data: bytes) -> datetime:
    """The Date Time that somebody wrote, without a zone; ValueError if it is none, or not known in full."""
    return datetime(*struct.unpack("<HBBBBB", data[:7]))  # noqa: DTZ001 - the device's own clock has no zone


def crc(data: bytes) -> bytes:
    """E2E-CRC of CGMS 1.0.2, 3.11: D = x^16 + x^12 + x^5 + 1, seed 0xFFFF, least significant bit first; little-endian."""
    register = 0xFFFF
    for octet in data:
        for bit in range(8):
            feedback = (register ^ octet >> bit) & 1
            register = register >> 1 ^ (0x8408 if feedback else 0)
    return struct.pack("<H", register)
