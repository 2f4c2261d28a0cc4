"""Readings of every kind that the bridge covers, written down byte by byte from the Bluetooth specifications.

Made here, without our decoders. `CASES` is what the conformance test sends through the whole translation.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from wire.evidence import Clock, ClockState, Context, Device, Reading

COPENHAGEN = ZoneInfo("Europe/Copenhagen")
KEY = bytes(range(32))
HUB = "hub-0001"
PATIENT = "Patient/citizen-17"
BOOT = bytes.fromhex("b007b007b007b007b007b007b007b007")
RECEIVED = datetime(2026, 11, 21, 9, 30, 15, 250_000, tzinfo=UTC)
"""Half past ten in Copenhagen, in winter."""
MONO_US = 3_600_000_000


def date_time(local: datetime) -> bytes:
    """Date Time (2A08): seven bytes, local time."""
    return struct.pack("<HBBBBB", local.year, local.month, local.day, local.hour, local.minute, local.second)


def current_time(local: datetime) -> bytes:
    """Current Time (2A2B): Date Time, day of week, 1/256 s, reason."""
    return date_time(local) + bytes([local.isoweekday(), local.microsecond * 256 // 1_000_000, 0])


def local(ago: timedelta = timedelta(seconds=5)) -> datetime:
    """The wall clock in the citizen's kitchen, some time before the reception."""
    return (RECEIVED - ago).astimezone(COPENHAGEN).replace(tzinfo=None)


def clock(
    instant: datetime = RECEIVED,
    *,
    mono_us: int = MONO_US,
    state: ClockState = ClockState.SYNCHRONISED,
    boot: bytes = BOOT,
) -> Clock:
    wall_us = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return Clock(wall_us=wall_us, mono_us=mono_us, boot=boot, state=state)


def reads(shown: datetime, *, before: timedelta = timedelta(seconds=30), exact: bool = True) -> Context:
    """The hub read the device's clock, some time before the reception."""
    return Context(
        characteristic=0x2A2B if exact else 0x2A08,
        mono_us=MONO_US - before // timedelta(microseconds=1),
        value=current_time(shown) if exact else date_time(shown),
    )


INFORMATION = (
    Context(characteristic=0x2A29, mono_us=MONO_US - 40_000_000, value=b"Nonin Medical, Inc."),
    Context(characteristic=0x2A24, mono_us=MONO_US - 40_000_000, value=b"Model 3230"),
    Context(characteristic=0x2A25, mono_us=MONO_US - 40_000_000, value=b"501493200"),
    Context(characteristic=0x2A26, mono_us=MONO_US - 40_000_000, value=b"1.2.3"),
    Context(characteristic=0x2A27, mono_us=MONO_US - 40_000_000, value=b"B"),
    Context(characteristic=0x2A28, mono_us=MONO_US - 40_000_000, value=b"7"),
)
SYSTEM_ID = Context(characteristic=0x2A23, mono_us=MONO_US - 40_000_000, value=bytes.fromhex("C377ADDEEEABEDFE"))
"""FE-ED-AB-EE-DE-AD-77-C3 of the guide, as a device sends it: the least significant byte first."""


def reading(
    characteristic: int,
    value: str | bytes,
    *,
    context: Sequence[Context] = INFORMATION,
    received: Clock | None = None,
    address: str = "001C05FFE874",
) -> Reading:
    return Reading(
        device=Device(address=bytes.fromhex(address), name="Device"),
        received=received or clock(),
        characteristic=characteristic,
        value=bytes.fromhex(value) if isinstance(value, str) else value,
        context=tuple(context),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A reading, and for each Observation it becomes: MDC code, vital signs profile (its last word), value in FHIR JSON."""

    name: str
    reading: Reading
    becomes: tuple[tuple[int, str | None, str | None], ...]
    time_stamp: bool = False


_STAMP = date_time(local()).hex()
_OLD = date_time(local(timedelta(days=3))).hex()

CASES = (
    Case(
        name="spot check, nothing but numbers",
        reading=reading(0x2A5E, "00 6100 3B00"),
        becomes=((150456, "oxygensat", "97"), (149530, "heartrate", "59")),
    ),
    Case(
        name="spot check, tenths, time stamp, clock not readable",
        reading=reading(0x2A5E, "01 C5F3 7BF2" + _STAMP),
        becomes=((150456, "oxygensat", "96.5"), (149530, "heartrate", "63.5")),
        time_stamp=True,
    ),
    Case(
        name="spot check, clock readable and right",
        reading=reading(
            0x2A5E, "01 C5F3 7BF2" + _STAMP, context=(*INFORMATION, SYSTEM_ID, reads(local(timedelta(seconds=30))))
        ),
        becomes=((150456, "oxygensat", "96.5"), (149530, "heartrate", "63.5")),
        time_stamp=True,
    ),
    Case(
        name="spot check, clock readable and nineteen years behind",
        reading=reading(
            0x2A5E,
            "01 C5F3 7BF2" + date_time(datetime(2007, 10, 1, 0, 5, 0)).hex(),  # noqa: DTZ001
            context=(reads(datetime(2007, 10, 1, 0, 4, 50)),),  # noqa: DTZ001
        ),
        becomes=((150456, "oxygensat", "96.5"), (149530, "heartrate", "63.5")),
        time_stamp=True,
    ),
    Case(
        name="spot check, stored three days ago",
        reading=reading(0x2A5E, "03 6200 4800" + _OLD + "0002"),
        becomes=((150456, "oxygensat", "98"), (149530, "heartrate", "72")),
    ),
    Case(
        name="spot check, clock not set",
        reading=reading(0x2A5E, "11 6200 4800" + date_time(datetime(2000, 1, 1, 0, 0, 0)).hex()),  # noqa: DTZ001
        becomes=((150456, "oxygensat", "98"), (149530, "heartrate", "72")),
    ),
    Case(
        name="spot check, everything: validated, low perfusion, pulse amplitude",
        reading=reading(0x2A5E, "0F 6200 4800" + _STAMP + "8001 200000 3DF0"),
        becomes=((150456, "oxygensat", "98"), (149530, "heartrate", "72"), (150320, None, "6.1"), (150604, None, None)),
        time_stamp=True,
    ),
    Case(
        name="spot check without a finger",
        reading=reading(0x2A5E, "04 FF07 FF07 000800"),
        becomes=((150456, "oxygensat", None), (149530, "heartrate", None), (150604, None, None)),
    ),
    Case(
        name="spot check, invalid",
        reading=reading(0x2A5E, "02 6200 4800 0080"),
        becomes=((150456, "oxygensat", None), (149530, "heartrate", None)),
    ),
    Case(
        name="continuous, with fast and slow, ongoing",
        reading=reading(0x2A5F, "1F DEF3 CAF3 CAF3 5AF5 D4F3 B2F2 2001 000000 7AE3"),
        becomes=(
            (150456, "oxygensat", "99.0"),
            (149530, "heartrate", "97.0"),
            (150456, "oxygensat", "97.0"),
            (149530, "heartrate", "137.0"),
            (150456, "oxygensat", "98.0"),
            (149530, "heartrate", "69.0"),
            (150320, None, "8.90"),
        ),
    ),
    Case(
        name="blood pressure, all fields",
        reading=reading(0x2A35, "1E 8A00 5800 7800" + _STAMP + "3C00 01 2700"),
        becomes=((150020, "bp", None), (149546, "heartrate", "60"), (8410608, None, None)),
        time_stamp=True,
    ),
    Case(
        name="blood pressure, numbers only, tenths",
        reading=reading(0x2A35, "00 BDF0 0B00 9FF0"),
        becomes=((150020, "bp", None),),
    ),
    Case(
        name="blood pressure in kilopascal is never converted",
        reading=reading(0x2A35, "01 A0F0 64F0 7FF0"),
        becomes=((150020, None, None),),
    ),
    Case(
        name="blood pressure that failed",
        reading=reading(0x2A35, "00 FF07 FF07 FF07"),
        becomes=((150020, "bp", None),),
    ),
    Case(
        name="weight",
        reading=reading(0x2A9D, "00 B036"),
        becomes=((188736, "bodyweight", "70.000"),),
    ),
    Case(
        name="weight with time, user, BMI and height",
        reading=reading(0x2A9D, "0E B036" + _STAMP + "05 F500 D606"),
        becomes=((188736, "bodyweight", "70.000"), (188752, "bmi", "24.5"), (188740, None, "1.750")),
        time_stamp=True,
    ),
    Case(
        name="weight and height, imperial",
        reading=reading(0x2A9D, "09 543D F500 A802"),
        becomes=((188736, "bodyweight", "157.00"), (188752, "bmi", "24.5"), (188740, "bodyheight", "68.0")),
    ),
    Case(
        name="weight that did not succeed",
        reading=reading(0x2A9D, "00 FFFF"),
        becomes=((188736, "bodyweight", None),),
    ),
    Case(
        name="heart rate, skin contact lost",
        reading=reading(0x2A37, "04 4B"),
        becomes=((147842, "heartrate", "75"),),
    ),
    Case(
        name="heart rate, energy and intervals",
        reading=reading(0x2A37, "18 4B 3804 0404 0404"),
        becomes=(
            (147842, "heartrate", "75"),
            (8454263, None, "1080"),
            (147240, None, "1003.90625"),
            (147240, None, "1003.90625"),
        ),
    ),
    Case(
        name="temperature in the mouth, hundredths kept",
        reading=reading(0x2A1C, "06 420E00FE" + _STAMP + "06"),
        becomes=((150364, "bodytemp", "36.50"),),
        time_stamp=True,
    ),
    Case(
        name="temperature in Fahrenheit",
        reading=reading(0x2A1C, "01 D90300FF"),
        becomes=((150364, "bodytemp", "98.5"),),
    ),
    Case(
        name="temperature, not at this resolution",
        reading=reading(0x2A1C, "00 00008000"),
        becomes=((150364, "bodytemp", None),),
    ),
    Case(
        name="temperature with an unknown year",
        reading=reading(0x2A1C, "02 6D0100FF" + "0000 0B 15 0A1E00"),
        becomes=((150364, "bodytemp", "36.5"),),
    ),
)
