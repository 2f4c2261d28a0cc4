"""A strict, bounded JSON reader (RFC 8259) that remembers where each value began.

The standard library's reader loses positions, keeps the last of two equal keys, takes NaN and Infinity, and can be
driven into RecursionError. A technician with a faulty document needs the byte.
"""

import json
import re
from collections.abc import Collection, Container
from dataclasses import dataclass
from typing import Final

from wire.errors import MeasurementError

MAX_BYTES: Final = 1 << 20
"""More than 10,000 measurements need, and nothing to a computer that runs a FHIR bridge."""
MAX_DEPTH: Final = 16
"""A measurement is five levels deep; 16 leaves room and stays far from Python's stack."""

_BLANK: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# No integer in our documents has more digits; int() of a million digits would take minutes.
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')
_LITERALS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_WORD: Final = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class OtherNumber:
    """A number that is no short integer, as it was written; nothing in our documents is one."""

    text: str


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the character at which it began."""

    at: int
    value: "bool | int | str | OtherNumber | list[Node] | dict[str, Node] | None"


@dataclass(frozen=True, slots=True)
class Place:
    """A value with its path in the document: reads as the type asked for, or says where it is not one."""

    text: str
    node: Node
    path: str

    def fault(self, message: str) -> MeasurementError:
        """What is wrong here, with path and byte."""
        return _fault(self.text, message, self.node.at, self.path)

    def members(self, known: Container[str] | None = None) -> "dict[str, Place]":
        """The members of an object; names that are not `known` are refused."""
        if not isinstance(self.node.value, dict):
            raise self.fault("expected an object")
        places = {name: Place(self.text, node, f"{self.path}.{_plain(name)}") for name, node in self.node.value.items()}
        for name, place in places.items():
            if known is not None and name not in known:
                raise _fault(self.text, f"unknown field {name[:40]!a}", place.node.at, self.path)
        return places

    def items(self, low: int, high: int) -> "list[Place]":
        """The items of an array of `low` to `high` items."""
        if not isinstance(self.node.value, list) or not low <= len(self.node.value) <= high:
            raise self.fault(f"expected an array of {low} to {high} items")
        return [Place(self.text, node, f"{self.path}[{index}]") for index, node in enumerate(self.node.value)]

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`."""
        value = self.node.value
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.fault(f"expected an integer from {low} to {high}")
        return value

    def boolean(self) -> bool:
        """True or false."""
        if not isinstance(self.node.value, bool):
            raise self.fault("expected true or false")
        return self.node.value

    def string(self) -> str:
        """A string."""
        if not isinstance(self.node.value, str):
            raise self.fault("expected a string")
        return self.node.value

    def matching(self, pattern: re.Pattern[str], what: str) -> str:
        """A string of this form."""
        text = self.string()
        if pattern.fullmatch(text) is None:
            raise self.fault(f"{text[:40]!a} is no {what}")
        return text

    def one_of(self, known: Collection[str]) -> str:
        """One of these strings."""
        text = self.string()
        if text not in known:
            raise self.fault(f"{text[:40]!a} is none of {', '.join(sorted(known))}")
        return text


def parse(text: bytes | str) -> Place:
    """The value of one JSON text; MeasurementError with the byte of the first fault."""
    if len(text) > MAX_BYTES:
        raise MeasurementError(f"longer than {MAX_BYTES} bytes", offset=MAX_BYTES)
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MeasurementError("no UTF-8", offset=error.start) from None
    return Place(text, _Parser(text).document(), "")


def _plain(name: str) -> str:
    """A name as it may stand in one line of ASCII."""
    return name if name.isascii() and name.isprintable() and len(name) <= 40 else ascii(name[:40])


def _fault(text: str, message: str, at: int, path: str = "") -> MeasurementError:
    return MeasurementError(message, offset=len(text[:at].encode("utf-8", "surrogatepass")), path=path)


class _Parser:
    """Recursive descent, as deep as MAX_DEPTH; each method takes a position and returns the one after."""

    def __init__(self, text: str) -> None:
        self._text = text

    def document(self) -> Node:
        """The one value of the text."""
        root, end = self._value(self._skip(0), MAX_DEPTH)
        end = self._skip(end)
        if end != len(self._text):
            raise _fault(self._text, "text after the end of the document", end)
        return root

    def _skip(self, at: int) -> int:
        blank = _BLANK.match(self._text, at)
        return blank.end() if blank else at

    def _value(self, at: int, depth: int) -> tuple[Node, int]:
        first = self._text[at : at + 1]
        if first in ("{", "["):
            if depth == 0:
                raise _fault(self._text, f"nested deeper than {MAX_DEPTH}", at)
            return self._object(at, depth - 1) if first == "{" else self._array(at, depth - 1)
        if first == '"':
            text, end = self._string(at)
            return Node(at, text), end
        number = _NUMBER.match(self._text, at)
        if number is not None:
            token = number[0]
            return Node(at, int(token) if _INTEGER.fullmatch(token) else OtherNumber(token)), number.end()
        word = _WORD.match(self._text, at)
        if word is None:
            raise _fault(self._text, f"expected a value, found {self._shown(at)}", at)
        if word[0] not in _LITERALS:
            raise _fault(self._text, f"{word[0][:20]!a} is no JSON value", at)
        return Node(at, _LITERALS[word[0]]), word.end()

    def _object(self, at: int, depth: int) -> tuple[Node, int]:
        members: dict[str, Node] = {}
        place = self._skip(at + 1)
        while self._text[place : place + 1] != "}":
            if members:
                place = self._expect(",", place)
            if self._text[place : place + 1] != '"':
                raise _fault(self._text, f"expected a name in quotes, found {self._shown(place)}", place)
            key, end = self._string(place)
            if key in members:
                raise _fault(self._text, f"{key[:40]!a} stands twice", place)
            members[key], end = self._value(self._expect(":", self._skip(end)), depth)
            place = self._skip(end)
        return Node(at, members), place + 1

    def _array(self, at: int, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        place = self._skip(at + 1)
        while self._text[place : place + 1] != "]":
            if items:
                place = self._expect(",", place)
            item, end = self._value(place, depth)
            items.append(item)
            place = self._skip(end)
        return Node(at, items), place + 1

    def _expect(self, mark: str, at: int) -> int:
        """Past this mark and the blanks after it."""
        if self._text[at : at + 1] != mark:
            raise _fault(self._text, f"expected {mark!r}, found {self._shown(at)}", at)
        return self._skip(at + 1)

    def _string(self, at: int) -> tuple[str, int]:
        part = _STRING.match(self._text, at)
        end = part.end() if part else at
        if self._text[end : end + 1] != '"':
            raise _fault(self._text, f"no string goes on with {self._shown(end)}", end)
        text = json.loads(self._text[at : end + 1])
        if not isinstance(text, str) or _SURROGATE.search(text):
            raise _fault(self._text, "half of a surrogate pair", at)
        return text, end + 1

    def _shown(self, at: int) -> str:
        return ascii(self._text[at]) if at < len(self._text) else "the end"
