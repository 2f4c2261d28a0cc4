"""Each driver of the hub has one door."""

import ast
from functools import cache
from pathlib import Path

import pytest

import edge

ROOM = Path(next(iter(edge.__path__)))
FILES = tuple(ROOM.rglob("*.py"))


@cache
def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize(
    ("driver", "door"),
    [
        ("bleak", "ble/bleak_radio.py"),
        ("dbus_fast", "bluez.py"),
        ("paho", "mqtt.py"),
        ("serial", "serial/port.py"),
        ("usb", "x73/usb.py"),
    ],
)
def test_a_driver_is_known_to_one_file(driver: str, door: str) -> None:
    assert [str(path.relative_to(ROOM)) for path in FILES if driver in imported(path)] == [door]
