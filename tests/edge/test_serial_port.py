"""A real port (a pty): opened, read, written, locked and lost."""

import asyncio
import errno
import fcntl
import os
import pty
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.serial.port import Framing, PortError, SerialPort


class Device:
    """The other end of a pty."""

    def __init__(self) -> None:
        self.master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)

    def say(self, data: bytes) -> None:
        assert os.write(self.master, data) == len(data)

    def hear(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += os.read(self.master, size - len(data))
        return data

    def unplug(self) -> None:
        for end in (self.master, self._slave):
            if end >= 0:
                os.close(end)
        self.master = self._slave = -1


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device()
    yield device
    device.unplug()


def open_files() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


class Hub:
    """What stands on a port."""

    def __init__(self, device: Device, framing: Framing | None = None) -> None:
        self.heard = b""
        self.gone = asyncio.Event()
        self.news = asyncio.Event()
        self.port = SerialPort(device.path, framing or Framing(), received=self._received, gone=self.gone.set)

    def _received(self, data: bytes) -> None:
        self.heard += data
        self.news.set()

    async def hears(self, size: int) -> bytes:
        async with asyncio.timeout(5):
            while len(self.heard) < size:
                self.news.clear()
                await self.news.wait()
        return self.heard


async def test_bytes_go_through_unchanged_both_ways(device: Device) -> None:
    hub, every = Hub(device), bytes(range(256)) * 4
    device.say(every)
    assert await hub.hears(len(every)) == every
    hub.port.write(every[:256])
    assert device.hear(256) == every[:256]
    hub.port.close()


async def test_what_a_device_said_before_the_port_was_open_is_not_thrown_away(device: Device) -> None:
    device.say(b"stored")
    hub = Hub(device)
    assert await hub.hears(6) == b"stored"
    hub.port.close()


async def test_a_device_that_is_unplugged_ends_the_port_once(device: Device) -> None:
    hub = Hub(device)
    device.say(b"half")
    assert await hub.hears(4) == b"half"
    device.unplug()
    async with asyncio.timeout(5):
        await hub.gone.wait()
    with pytest.raises(PortError):
        hub.port.write(b"\x06")
    hub.port.close()
    hub.port.close()


async def test_a_port_is_one_programs_at_a_time(device: Device) -> None:
    hub = Hub(device)
    with pytest.raises(PortError) as refused:
        Hub(device)
    assert refused.value.reason == "busy"
    hub.port.close()
    Hub(device).port.close()


async def test_a_line_is_spoken_as_its_framing_says(device: Device) -> None:
    hub = Hub(device, Framing(baud=19200, bits=8, parity="N", stop=2))
    flags = termios.tcgetattr(device._slave)
    assert flags[4] == flags[5] == termios.B19200
    assert flags[2] & termios.CSIZE == termios.CS8
    assert flags[2] & termios.CSTOPB
    hub.port.close()


async def test_a_port_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(PortError) as refused:
        SerialPort(str(tmp_path / "ttyUSB0"), Framing(), received=lambda _: None, gone=lambda: None)
    assert refused.value.reason == "not-there"
    (tmp_path / "file").touch()
    with pytest.raises(PortError) as refused:
        SerialPort(str(tmp_path / "file"), Framing(), received=lambda _: None, gone=lambda: None)
    assert refused.value.reason == "fault"


async def test_a_port_of_others_says_so(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", forbidden)
    with pytest.raises(PortError) as refused:
        Hub(device)
    assert (refused.value.reason, refused.value.detail) == ("not-permitted", "Permission denied")


async def test_a_port_that_takes_no_more_does_not_hold_the_hub(device: Device) -> None:
    hub = Hub(device)

    def write_for_ever() -> None:
        while True:
            hub.port.write(bytes(512))

    with pytest.raises(PortError):  # nobody reads at the other end
        write_for_ever()
    hub.port.close()


async def test_nothing_stays_open(device: Device) -> None:
    before = open_files()
    for _ in range(3):
        Hub(device).port.close()
    assert open_files() == before
    fcntl.flock(device._slave, fcntl.LOCK_EX | fcntl.LOCK_NB)
