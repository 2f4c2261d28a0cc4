"""FHIR JSON with every digit: `36.50` stays `36.50`, in both directions.

The standard encoder does the work, at its C speed. It cannot write a `Decimal`, so each one passes through it as a
string between two control characters, and its quotes are taken off afterwards. FHIR strings hold no control characters
(R4 2.24.0.1); the numbers are counted all the same, so that no string can ever pass for one.
"""

import json
import re
from decimal import Decimal
from typing import Any, Final, TypeAlias

Resource: TypeAlias = dict[str, Any]
"""A FHIR resource, or a part of one, as JSON has it. Parts are shared between resources: read, never changed."""

# A quote that begins or ends a string: inside of one it would be escaped.
_NUMBER: Final = re.compile(r'(?<!\\)"\\u0001([^"\\]+)\\u0002"')

_TIGHT: Final = (",", ":")


def dumps(resource: Resource, *, indent: int | None = None) -> bytes:
    """The resource as ASCII JSON, without blanks if nobody asks for them; ValueError for what is no FHIR: NaN, a float, a control character."""
    numbers = 0

    def number(value: object) -> str:
        nonlocal numbers
        if not isinstance(value, Decimal) or not value.is_finite():
            raise ValueError(f"{value!r} has no place in FHIR JSON")
        numbers += 1
        return f"\x01{value}\x02"

    text = json.dumps(
        resource, default=number, separators=_TIGHT if indent is None else None, indent=indent, allow_nan=False
    )
    text, found = _NUMBER.subn(r"\1", text)
    if found != numbers:
        raise ValueError("a control character in a string")
    return text.encode("ascii")


def loads(data: bytes | str) -> Any:
    """JSON with its decimals as `Decimal`, digits kept; whole numbers are `int`."""
    return json.loads(data, parse_float=Decimal)
