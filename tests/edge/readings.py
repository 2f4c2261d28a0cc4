"""Readings as a hub would store them, told apart by a number, and a small bridge's view of what came."""

from wire import batch
from wire.evidence import Clock, ClockState, Device, Reading

BOOT = bytes(range(16))
HUB = "hub-0001"


def clock(wall_us: int = 1_790_000_000_000_000, mono_us: int = 5_000_000) -> Clock:
    return Clock(wall_us=wall_us, mono_us=mono_us, boot=BOOT, state=ClockState.SYNCHRONISED, uncertainty_ms=20)


def reading(number: int) -> Reading:
    """An oximeter's spot check; the number is in the clock, so that every reading is another."""
    return Reading(
        device=Device(address=bytes.fromhex("aabbccddee01"), name="oximeter"),
        received=clock(1_790_000_000_000_000 + number, 5_000_000 + number),
        characteristic=0x2A5E,
        value=bytes.fromhex("0061003c00"),
    )


def encoded(number: int) -> bytes:
    return batch.encode_reading(reading(number))


def number_of(encoded_reading: bytes) -> int:
    return batch.parse_reading(encoded_reading).received.mono_us - 5_000_000
