"""CBOR in one form only (RFC 8949, 4.2.1), and the only file that knows cbor2.

The contract uses unsigned and negative integers, byte and text strings, arrays, maps, booleans and null; no floats,
no tags, no indefinite lengths. Being deterministic is not checked head by head: what was decoded is encoded again
and must give the same bytes. That one comparison refuses trailing bytes, long heads, unsorted or repeated keys and
whatever else a lenient decoder lets pass. `loads` makes it; `decode` leaves it to a caller that encodes again itself.

The small encoders (`uint`, `bstr`, ...) exist because cbor2.dumps takes longer than hashing: the fixed shapes of a
reading and a batch are put together from them.
"""

from collections.abc import Mapping
from struct import Struct
from typing import Final, NoReturn

import cbor2

from wire.errors import EnvelopeError, Refusal

MAX_DEPTH: Final = 8
"""A batch nests 5 deep; more is an attack on somebody's stack."""

_INTEGER_END: Final = 1 << 64
_BYTES: Final = tuple(bytes((byte,)) for byte in range(256))
_HEAD_1, _HEAD_2, _HEAD_4, _HEAD_8 = (Struct(f">B{size}").pack for size in "BHIQ")


def dumps(value: object) -> bytes:
    """Encode deterministically; ValueError or TypeError for what the contract's CBOR does not have."""
    return bytes(cbor2.dumps(_ordered(value, MAX_DEPTH)))


def loads(data: bytes, *, max_bytes: int) -> object:
    """Decode one deterministic item that is all of `data`; anything else is EnvelopeError(MALFORMED)."""
    if len(data) > max_bytes:
        _refuse(f"{len(data)} bytes of CBOR where at most {max_bytes} may be")
    value = decode(data)
    try:
        again = dumps(value)
    except (TypeError, ValueError) as error:
        _refuse(str(error))
    if again != data:
        _refuse("the CBOR is not in its deterministic form, or bytes follow it")
    return value


def decode(data: bytes) -> object:
    """Decode the first item of `data`, in any form: the caller must encode what it understood and compare."""
    try:
        return cbor2.loads(
            data,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            semantic_decoders=_TAGS,
            tag_hook=_refuse_tag,
        )
    except cbor2.CBORError as error:
        _refuse(f"no CBOR: {_one_line(error)}")


def uint(number: int) -> bytes:
    """An unsigned integer in its shortest form."""
    return _head(0x00, number)


def bstr(data: bytes) -> bytes:
    return _head(0x40, len(data)) + data


def tstr(text: str) -> bytes:
    data = text.encode()
    return _head(0x60, len(data)) + data


def array(length: int) -> bytes:
    """The head of an array; its items follow."""
    return _head(0x80, length)


def mapping(length: int) -> bytes:
    """The head of a map; its keys, in order, and values follow."""
    return _head(0xA0, length)


def _head(major: int, argument: int) -> bytes:
    """The shortest head (RFC 8949, 3)."""
    if argument < 24:
        return _BYTES[major + argument]
    if argument < 1 << 8:
        return _HEAD_1(major + 24, argument)
    if argument < 1 << 16:
        return _HEAD_2(major + 25, argument)
    if argument < 1 << 32:
        return _HEAD_4(major + 26, argument)
    return _HEAD_8(major + 27, argument)


def _ordered(value: object, depth: int) -> object:
    """The same value with map keys in the bytewise order of their encodings; cbor2's own order is that of RFC 7049."""
    kind = type(value)
    if value is None or kind in (bool, bytes, str):
        return value
    if kind is int:
        if -_INTEGER_END <= value < _INTEGER_END:  # type: ignore[operator]
            return value
        raise ValueError("an integer of more than 64 bits has no untagged CBOR")
    if not depth:
        raise ValueError(f"more than {MAX_DEPTH} levels of CBOR")
    if isinstance(value, (list, tuple)):
        return [_ordered(item, depth - 1) for item in value]
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (int, str, bytes):
                raise TypeError(f"a map key of type {type(key).__name__} is not part of the contract's CBOR")
        return {key: _ordered(value[key], depth - 1) for key in sorted(value, key=cbor2.dumps)}
    raise TypeError(f"{kind.__name__} is not part of the contract's CBOR")


def _refuse_tag(*_: object) -> NoReturn:
    raise ValueError("a tag where none may be")


# Tags that cbor2 would turn into an object (some by running a regular expression or a MIME parser on the content).
# Any other reaches `tag_hook`; a tag that a later cbor2 learns fails the comparison, for nothing encodes to it.
_TAGS: Final = dict.fromkeys(
    (*range(6), 25, *range(28, 31), 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799), _refuse_tag
)


def _refuse(message: str) -> NoReturn:
    raise EnvelopeError(Refusal.MALFORMED, message)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
