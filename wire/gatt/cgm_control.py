"""CGM Specific Ops Control Point (2AAC, CGMS 1.0.2): how often a glucose sensor speaks, its alerts, its session.

The hub writes nothing to it: who puts a sensor on starts its session. What is here is for a technician.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from wire.errors import DecodeError
from wire.gatt.cgm import end
from wire.gatt.glucose import SAMPLE_LOCATIONS, SAMPLE_TYPES
from wire.gatt.reader import Reader

_MG_DL: Final = "mg/dL"
_RATE: Final = "mg/dL/min"
# Opcodes from 1, three each: to set, to get, and the answer.
_SETTINGS: Final = {
    "communication interval": "min",
    "calibration": "",
    "patient high alert level": _MG_DL,
    "patient low alert level": _MG_DL,
    "hypo alert level": _MG_DL,
    "hyper alert level": _MG_DL,
    "rate of decrease alert level": _RATE,
    "rate of increase alert level": _RATE,
}
_INTERVAL: Final = 0
_CALIBRATION: Final = 1
_SET: Final = 0
_GET: Final = 1
_WORDS: Final = (
    *(verb + name for name in _SETTINGS for verb in ("set ", "get ", "")),
    *("reset device specific alert", "start session", "stop session", "response"),
)
"""By opcode, from 1."""
_RESPONSE: Final = len(_WORDS)
_RESULTS: Final = ("success", "opcode not supported", "invalid operand", "not completed", "out of range")
"""By response code, from 1."""
_FASTEST: Final = 255
_STATUS: Final = ("rejected", "out of range", "pending")


def describe(value: bytes) -> dict[str, str | bool]:
    """What was written to the control point or came from it, with or without an E2E-CRC."""
    reader = Reader(value)
    opcode = reader.u8("opcode")
    if not 1 <= opcode <= _RESPONSE:
        raise DecodeError(f"no CGM opcode {opcode}", 0)
    setting, way = divmod(opcode - 1, 3)
    said: dict[str, str | bool] = {}
    if opcode == _RESPONSE:
        said["answer to"] = _word(_WORDS, reader.u8("request opcode"))
        said["result"] = _word(_RESULTS, reader.u8("response code"))
    elif setting >= len(_SETTINGS):
        said["request"] = _WORDS[opcode - 1]
    else:
        if way in (_SET, _GET):
            said["request"] = _WORDS[opcode - 1]
        if way == _GET:
            said |= {"record": str(reader.u16("calibration record"))} if setting == _CALIBRATION else {}
        else:
            said |= _READERS.get(setting, _level)(reader, setting)
    end(reader, value)
    return said


def _interval(reader: Reader, _: int) -> dict[str, str]:
    minutes = reader.u8("communication interval")
    return {"communication interval": {0: "none", _FASTEST: "fastest"}.get(minutes, f"{minutes} min")}


def _calibration(reader: Reader, _: int) -> dict[str, str]:
    glucose, minutes = reader.sfloat("glucose"), reader.u16("calibration time")
    octet = reader.u8("type and sample location")
    following, record = reader.u16("next calibration time"), reader.u16("calibration record")
    status = reader.u8("calibration status")
    kind, location = octet & 0x0F, octet >> 4
    return {
        "glucose": f"{glucose:f} {_MG_DL}" if isinstance(glucose, Decimal) else glucose.value,
        "minutes since the start": str(minutes),
        "sample": SAMPLE_TYPES[kind][0] if kind in SAMPLE_TYPES else "reserved",
        "location": SAMPLE_LOCATIONS[location][0] if location in SAMPLE_LOCATIONS else "reserved",
        "next calibration": str(following),
        "record": str(record),
        "status": ", ".join(name for bit, name in enumerate(_STATUS) if status >> bit & 1) or "none",
    }


def _level(reader: Reader, setting: int) -> dict[str, str]:
    name, unit = list(_SETTINGS.items())[setting]
    level = reader.sfloat(name)
    return {name: f"{level:f} {unit}" if isinstance(level, Decimal) else level.value}


_READERS: Final[dict[int, Callable[[Reader, int], dict[str, str]]]] = {
    _INTERVAL: _interval,
    _CALIBRATION: _calibration,
}


def _word(words: tuple[str, ...], number: int) -> str:
    return words[number - 1] if 1 <= number <= len(words) else f"reserved {number}"
