"""FHIR JSON with every digit: `36.50` stays `36.50`, in both directions.

The standard encoder does the work, at its C speed. It cannot write a `Decimal`, so each one passes through it as a
string between two control characters, and its quotes are taken off afterwards. FHIR strings hold no control characters
(R4 2.24.0.1); the numbers are counted all the same, so that no string can ever pass for one.
"""

import json
from decimal import Decimal
from typing import Any, Final, TypeAlias

Resource: TypeAlias = dict[str, Any]
"""A FHIR resource, or a part of one, as JSON has it. Parts are shared between resources: read, never changed."""

_TIGHT: Final = (",", ":")
# As they look in JSON. Within a string the first would need a quote and a control character side by side.
_OPEN: Final = '"\\u0001'
_CLOSE: Final = '\\u0002"'


def dumps(resource: Resource, *, indent: int | None = None) -> bytes:
    """The resource as ASCII JSON, without blanks if nobody asks for them.

    ValueError for what is no FHIR: a number that is not finite, bytes, a control character in a string.
    """
    numbers = 0

    def number(value: object) -> str:
        nonlocal numbers
        if not isinstance(value, Decimal) or not value.is_finite():
            raise ValueError(f"{value!r} has no place in FHIR JSON")
        numbers += 1
        return f"\x01{value}\x02"

    # Resources are trees: nobody pays for a search for circles.
    encoder = json.JSONEncoder(
        check_circular=False,
        allow_nan=False,
        indent=indent,
        separators=_TIGHT if indent is None else None,
        default=number,
    )
    start, *parts = encoder.encode(resource).split(_OPEN)
    if len(parts) != numbers:
        raise ValueError("a control character in a string")
    pieces = [start]
    for part in parts:
        digits, _, rest = part.partition(_CLOSE)
        pieces += digits, rest
    return "".join(pieces).encode("ascii")


def loads(data: bytes | str) -> Any:
    """JSON with its decimals as `Decimal`, digits kept; whole numbers are `int`."""
    return json.loads(data, parse_float=Decimal)
