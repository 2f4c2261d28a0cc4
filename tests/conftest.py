"""Real parts for every room's tests, each in a process of its own on loopback or on a private bus.

A missing real part fails the test that asked for it, with the Debian package to install; nothing is skipped.
"""

import asyncio
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import any_broker, iotcore_broker, mosquitto  # noqa: F401  (fixtures)
from tests.support import ADAPTERS, PrivateBus
from tests.system_bus import SystemBus


def pytest_sessionstart() -> None:
    """Say that there is no event loop outside async tests.

    looptime asks for one at each test, which makes one that nobody closes, unless somebody has said so.
    """
    asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A program that set up its log in this process (`edge.log.set_up`) leaves none of it to the next test."""
    loggers = [logging.getLogger(name) for name in ("", "stafet")]
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)


@pytest.fixture
def private_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateBus]:
    """BlueZ's D-Bus API on a private bus, which is also this process's system bus during the test."""
    bus = SystemBus(tmp_path)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    try:
        bus.start()
        bus.start_bluez(ADAPTERS)
        yield PrivateBus(address=bus.address, adapters=ADAPTERS, log=bus.log)
    finally:
        bus.stop()


@pytest.fixture
def free_port() -> int:
    """A TCP port on 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
