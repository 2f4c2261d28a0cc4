"""MDC units to UCUM: those of `wire.nomenclature`, and those that only 20601 agents report.

An MDC unit without an entry is kept, not lost and not guessed: `{mdc:266118}` is valid UCUM, an annotation that
carries the code; as a unit it claims nothing.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from wire.nomenclature import UCUM

EXTRA: Final[Mapping[int, str]] = MappingProxyType(
    {
        262880: "deg",
        263136: "[pH]",
        263442: "mm",
        263891: "ug",
        263936: "[oz_av]",
        264339: "us",
        264448: "wk",
        264480: "mo",
        264512: "a",
        264704: "/h",
        264736: "/d",
        264896: "/min",
        264960: "m/s",
        265234: "mL/min",
        265202: "mL/s",
        265986: "hPa",
        266048: "cm[H2O]",
        266112: "J",
        266176: "W",
        266400: "V",
        266418: "mV",
        266419: "uV",
        266432: "Ohm",
        266528: "K",
        266867: "umol/L",
        267616: "[iU]",
        268752: "{INR}",
        268800: "{steps}",
        268896: "{steps}/min",
    }
)
"""Checked against the tables of facts; INR, step and step per minute (partition 4, 6608, 6656, 6752) have one source."""


def ucum(code: int) -> str:
    """The UCUM unit of a 32-bit MDC unit code; an annotation with the code where there is none."""
    unit = UCUM.get(code) or EXTRA.get(code)
    return f"{{mdc:{code}}}" if unit is None else unit
