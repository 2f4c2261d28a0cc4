"""What readings, batches and receipts are made of: bounded integers, strings, clocks, and one way to refuse the rest."""

from typing import Final, NoReturn

from wire import cbor
from wire.clock import Clock, ClockState
from wire.errors import EnvelopeError, Refusal

MAX_INTEGER: Final = (1 << 53) - 1
"""Every integer is exact in JSON and SQLite. In microseconds it is the year 2255, later than Linux lets a clock be set."""
MAX_READING_BYTES: Final = 64 * 1024 - 512
"""What an envelope has room for. The parts of a GATT value and of a frame are never longer together, an APDU with its
context can be."""

_NULL: Final = b"\xf6"
_STATES: Final = {state.value: state for state in ClockState}


def need(holds: bool, rule: str) -> None:
    """EnvelopeError(MALFORMED) with the rule, unless it holds."""
    if not holds:
        malformed(rule)


def malformed(message: str) -> NoReturn:
    raise EnvelopeError(Refusal.MALFORMED, message)


def encode_clock(clock: Clock) -> bytes:
    need(len(clock.boot) == 16, "a boot id is 16 bytes")
    uncertainty = _NULL if clock.uncertainty_ms is None else uint(clock.uncertainty_ms)
    return b"".join(
        (b"\x85", uint(clock.wall_us), uint(clock.mono_us), b"\x50", clock.boot, uint(clock.state), uncertainty)
    )


def decode_clock(item: object) -> Clock:
    if type(item) is not list or len(item) != 5:
        malformed("a clock is [wall, mono, boot, state, uncertainty]")
    state = _STATES.get(integer(item[3], "state"))
    if state is None:
        malformed("a clock's state is 0, 1 or 2")
    return Clock(
        wall_us=integer(item[0], "wall"),
        mono_us=integer(item[1], "mono"),
        boot=octets(item[2], "boot"),
        state=state,
        uncertainty_ms=None if item[4] is None else integer(item[4], "uncertainty"),
    )


def uint(number: int) -> bytes:
    if not 0 <= number <= MAX_INTEGER:
        malformed("an integer is from 0 to 2^53 - 1")
    return cbor.uint(number)


def integer(item: object, name: str) -> int:
    return item if type(item) is int else malformed(f"{name} is not an integer")


def octets(item: object, name: str) -> bytes:
    return item if type(item) is bytes else malformed(f"{name} is not a byte string")


def text(item: object, name: str) -> str:
    return item if type(item) is str else malformed(f"{name} is not text")
