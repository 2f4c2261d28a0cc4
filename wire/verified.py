"""Values that only the opening of an envelope can make, so that "verified" is a type and not a comment."""

from typing import TypeVar

T = TypeVar("T")


class OnlyOpened:
    """Base of a type without a public constructor."""

    __slots__ = ()

    def __init__(self) -> None:
        raise TypeError(f"only opening an envelope makes a {type(self).__name__}")


def vouch(kind: type[T], **fields: object) -> T:
    """Make a value of a type without a constructor. Only the functions that open an envelope may call this."""
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made
