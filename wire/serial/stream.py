"""Cutting a serial line into frames: what all formats share.

A serial line has no packets. Bytes are lost, noise comes between, and a session starts in the middle of a frame. A
format says by its `Scan` what stands at the front of the buffer; `Framer` drops one byte at a time until a frame stands
there, and counts what it drops. It never holds more than one unfinished frame, and that for `GAP_S` at most: a frame
that was cut cannot swallow the next one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final, Protocol, TypeAlias

GAP_S: Final = 1.0
"""At 9600 baud the longest frame takes 0.14 s; a frame that stands still for a second will not go on."""
REMEMBERED: Final = 64
"""Frames by which a repetition is known: three times what a Nonin 9560 stores (20)."""


class SerialFormat(StrEnum):
    """What a serial device speaks."""

    NONIN_DF8 = "nonin-df8"
    NONIN_DF13 = "nonin-df13"
    NONIN_REPLY = "nonin-reply"
    NONIN_MEMORY = "nonin-memory"
    VITALOGRAPH_LUNG_MONITOR = "vitalograph-lung-monitor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame, whole and with a right checksum. A `duplicate` is a reading that this stream gave before."""

    format: SerialFormat
    data: bytes
    duplicate: bool = False
    smart_point: bool = False
    """The device itself says that this second of many may be recorded (Nonin data format 8)."""
    clock: bytes = b""
    """The reply that showed the clock by which this frame is stamped; empty if the device was not asked or is set."""
    empty: bool = False
    """It holds no value at all, as of a device without a finger (Nonin data format 8)."""


@dataclass(slots=True)
class Counts:
    """What happened on a line; every drop is here."""

    frames: int = 0
    duplicates: int = 0
    skipped_bytes: int = 0
    spoiled: int = 0
    """Frames with a wrong checksum or end."""
    cut: int = 0
    """Frames that began and did not go on for `GAP_S`."""
    unanswered: int = 0
    """Commands that the device did not answer, however often."""
    refused: int = 0
    """Commands that the device refused."""


class SerialStream(Protocol):
    """A session with a serial device: bytes and time in; frames, and bytes for the device, out."""

    @property
    def counts(self) -> Counts:
        """What happened on the line."""
        ...

    @property
    def clock_set(self) -> bool:
        """Whether the device took the time in this session."""
        ...

    def receive(self, data: bytes, now: float) -> tuple[Frame, ...]:
        """Take bytes from the line; the frames that are whole now."""
        ...

    def acknowledge(self, frame: Frame) -> None:
        """The frame is durable: the device may forget it. A duplicate is answered too, or it comes for ever."""
        ...

    def forget(self, frame: Frame) -> None:
        """The frame could not be kept: if it comes again it is no duplicate."""
        ...

    def to_send(self) -> bytes:
        """What is to be written to the line now."""
        ...

    def deadline(self) -> float | None:
        """When `expire` is to be called, if nothing comes."""
        ...

    def expire(self, now: float) -> tuple[Frame, ...]:
        """Give up what did not go on, and ask again for what was not answered."""
        ...


class Found(Enum):
    """What stands at the front of a buffer."""

    MORE = auto()
    """The beginning of a frame, or nothing."""
    FRAME = auto()
    ANSWER = auto()
    """One byte that answers a command."""
    FILLER = auto()
    """A byte that belongs to the format and says nothing."""
    JUNK = auto()
    SPOILED = auto()


Piece: TypeAlias = tuple[Found, bytes]
Scan: TypeAlias = Callable[[bytearray], tuple[Found, int]]
"""What stands at the front of a buffer that is not empty, and how long it is."""


class Framer:
    """The cutter: bytes in; frames, answers and spoiled frames out, in order."""

    __slots__ = ("_buffer", "_heard", "_scan", "counts")

    def __init__(self, scan: Scan) -> None:
        self.counts = Counts()
        self._buffer = bytearray()
        self._scan = scan
        self._heard = 0.0

    def receive(self, data: bytes, now: float) -> list[Piece]:
        """Take bytes from the line."""
        if data:
            self._heard = now
            self._buffer += data
        return self._drain()

    def deadline(self) -> float | None:
        """When an unfinished frame is given up."""
        return self._heard + GAP_S if self._buffer else None

    def expire(self, now: float) -> list[Piece]:
        """Give up an unfinished frame; what was taken for its inside may hold whole ones."""
        pieces: list[Piece] = []
        if not self._buffer or now < self._heard + GAP_S:
            return pieces
        self.counts.cut += 1
        while self._buffer:
            self._drop(1)
            pieces += self._drain()
        return pieces

    def _drain(self) -> list[Piece]:
        pieces: list[Piece] = []
        while self._buffer:
            found, size = self._scan(self._buffer)
            if found is Found.MORE:
                break
            if found is Found.JUNK:
                self._drop(size)
            elif found is Found.SPOILED:
                # One byte, not the frame: if its end was lost, the next frame stands inside it.
                pieces.append((found, bytes(self._buffer[:size])))
                self.counts.spoiled += 1
                self._drop(1)
            else:
                if found is not Found.FILLER:
                    pieces.append((found, bytes(self._buffer[:size])))
                del self._buffer[:size]
        return pieces

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self.counts.skipped_bytes += size


class Seen:
    """The last readings, to know a repetition by. It may outlive a stream: a device repeats after a reconnection."""

    __slots__ = ("_keys", "_most")

    def __init__(self, most: int = REMEMBERED) -> None:
        self._keys: dict[bytes, None] = {}
        self._most = most

    def again(self, key: bytes) -> bool:
        """Whether this reading was here before; it is remembered."""
        if key in self._keys:
            return True
        self._keys[key] = None
        if len(self._keys) > self._most:
            del self._keys[next(iter(self._keys))]
        return False

    def forget(self, key: bytes) -> None:
        """Treat it as one that was never here."""
        self._keys.pop(key, None)
