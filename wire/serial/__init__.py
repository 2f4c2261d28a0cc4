"""Serial devices (Bluetooth SPP, cables): which formats there are, and what their frames mean.

`decode` turns one frame into measurements; `describe` says for a technician what it holds beside them. Both raise
`DecodeError` and nothing else. The streams cut a line into such frames, and answer it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from wire.errors import DecodeError
from wire.measurement import Measurement
from wire.serial import nonin, nonin_memory, vitalograph
from wire.serial.nonin import shown_clock
from wire.serial.nonin_memory import NoninMemoryStream
from wire.serial.nonin_session import NoninStream
from wire.serial.stream import Counts, Frame, Seen, SerialFormat, SerialStream
from wire.serial.vitalograph import LungMonitorStream

__all__ = [
    "ALIASES",
    "FORMAT_NUMBERS",
    "NAMES",
    "Counts",
    "Frame",
    "LungMonitorStream",
    "NoninMemoryStream",
    "NoninStream",
    "Seen",
    "SerialFormat",
    "SerialStream",
    "decode",
    "describe",
    "format_name",
    "format_of",
    "shown_clock",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Codec:
    name: str
    decode: Callable[[bytes], tuple[Measurement, ...]] | None
    describe: Callable[[bytes], dict[str, str | bool]]


_CODECS: Final[Mapping[SerialFormat, _Codec]] = {
    SerialFormat.NONIN_DF8: _Codec(name="Nonin data format 8", decode=nonin.decode_df8, describe=nonin.describe_df8),
    SerialFormat.NONIN_DF13: _Codec(
        name="Nonin data format 13", decode=nonin.decode_df13, describe=nonin.describe_df13
    ),
    SerialFormat.NONIN_REPLY: _Codec(name="Nonin reply", decode=None, describe=nonin.describe_reply),
    SerialFormat.NONIN_MEMORY: _Codec(
        name="Nonin memory playback", decode=nonin_memory.decode_piece, describe=nonin_memory.describe_piece
    ),
    SerialFormat.VITALOGRAPH_LUNG_MONITOR: _Codec(
        name="Vitalograph lung monitor",
        decode=vitalograph.decode_lung_monitor,
        describe=vitalograph.describe_lung_monitor,
    ),
}

FORMAT_NUMBERS: Final[Mapping[SerialFormat, int]] = MappingProxyType(
    {
        SerialFormat.NONIN_DF8: 1,
        SerialFormat.NONIN_DF13: 2,
        SerialFormat.NONIN_REPLY: 3,
        SerialFormat.VITALOGRAPH_LUNG_MONITOR: 4,
        SerialFormat.NONIN_MEMORY: 5,
    }
)
"""How evidence names a format (docs/wire.md, `SerialFrame`): fixed for ever, whatever the names become."""
_FORMATS: Final = {number: format_ for format_, number in FORMAT_NUMBERS.items()}

ALIASES: Final[Mapping[str, SerialFormat]] = MappingProxyType({"vitalograph": SerialFormat.VITALOGRAPH_LUNG_MONITOR})
NAMES: Final = (*(format_.value for format_ in SerialFormat), *ALIASES)
"""What people may call a format."""


def format_name(format_: SerialFormat) -> str:
    """What a format is called in a headline."""
    return _CODECS[format_].name


def format_of(number: int) -> SerialFormat:
    """The format of this number; DecodeError (at byte 0) if there is none."""
    format_ = _FORMATS.get(number)
    if format_ is None:
        raise DecodeError(f"no serial format has the number {number}", 0)
    return format_


def decode(format_: SerialFormat, frame: bytes) -> tuple[Measurement, ...]:
    """The measurements in one frame; none in a reply."""
    decoder = _CODECS[format_].decode
    if decoder is not None:
        return decoder(frame)
    describe(format_, frame)
    return ()


def describe(format_: SerialFormat, frame: bytes) -> dict[str, str | bool]:
    """What a frame says beside its measurements, for a technician: names and what they are or whether they hold."""
    return _CODECS[format_].describe(frame)
