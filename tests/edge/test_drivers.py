"""Each driver of the hub has one door."""

import ast
from pathlib import Path

import pytest

import edge

FILES = tuple(Path(next(iter(edge.__path__))).glob("*.py"))


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
        ("bleak", "ble.py"),
        ("dbus_fast", "bluez.py"),
        ("paho", "mqtt.py"),
        ("serial", "serial_port.py"),
        ("usb", "x73_usb.py"),
    ],
)
def test_a_driver_is_known_to_one_file(driver: str, door: str) -> None:
    assert [path.name for path in FILES if driver in imported(path)] == [door]
