"""Telling systemd, over a real datagram socket."""

import os
import socket
from pathlib import Path

import pytest

from edge.sdnotify import Notifier


def listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.settimeout(5)
    listener.bind(address)
    return listener


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_is_told_over_its_socket(tmp_path: Path, kind: str) -> None:
    name = str(tmp_path / "notify") if kind == "path" else f"@stafet-test/{tmp_path}"
    with listen(name.replace("@", "\0")) as listener:
        notifier = Notifier({"NOTIFY_SOCKET": name})
        notifier.ready()
        notifier.alive()
        notifier.status("3 readings wait\nsecond line")
        notifier.stopping()
        told = [listener.recv(4096) for _ in range(4)]
    assert told == [b"READY=1", b"WATCHDOG=1", b"STATUS=3 readings wait second line", b"STOPPING=1"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_systemd_nothing_happens(environment: dict[str, str]) -> None:
    Notifier(environment).ready()


def test_a_socket_that_is_gone_is_no_error(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_a_full_socket_does_not_block(tmp_path: Path) -> None:
    with listen(str(tmp_path / "notify")):
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(5000):
            notifier.alive()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_period_is_ours_only_if_systemd_says_so(environment: dict[str, str], expected: float) -> None:
    assert Notifier(environment).watchdog_s == expected
