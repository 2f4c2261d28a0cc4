"""20601 over USB: real pyusb over a backend of bytes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from edge.x73 import usb as x73_usb
from edge.x73.association import Habits, Told
from edge.x73.pump import Associations
from tests.edge.collecting import serving_agents
from tests.edge.fake_usb import CONFIGURATION, Backend, Instrument
from tests.wire.x73.support import oximeter_scan, profile
from wire.phdc import Preamble, Qos
from wire.x73.agent import Agent
from wire.x73.specializations import SPECIALIZATIONS
from wire.x73.states import State

EXTENDED = SPECIALIZATIONS[10404].extended


class Sink:
    def __init__(self) -> None:
        self.values: list[str] = []

    def take(self, told: Told) -> bool:
        self.values += [str(measurement.value) for measurement in told.report.measurements]
        return True


@asynccontextmanager
async def serving(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sink]:
    monkeypatch.setattr(x73_usb, "LOOK_S", 0.02)
    monkeypatch.setattr(x73_usb, "REOPEN_S", 0.1)
    monkeypatch.setattr(x73_usb, "READ_MS", 20)
    sink = Sink()
    associations = Associations(Habits(sink=sink, local_time=lambda: None))
    async with serving_agents(associations, x73_usb.serve(associations, backend)):
        yield sink


async def until(done: Callable[[], bool]) -> None:
    for _ in range(500):
        if done():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


async def test_a_device_that_is_plugged_in_is_read_and_may_be_pulled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend()
    async with serving(backend, monkeypatch) as sink:
        for configuration in (EXTENDED, *profile().configurations):
            instrument = Instrument(Agent(profile(configuration)))
            backend.instruments = [instrument]
            await until(lambda: instrument.agent.state is State.OPERATING)  # noqa: B023  awaited in the loop
            instrument.report(oximeter_scan())
            await until(lambda: instrument.agent.idle)  # noqa: B023  as above
            instrument.plugged = False  # and the next one is at its place before anybody has looked
        assert sink.values == ["96.5", "63.5"] * 2


async def test_a_preamble_is_left_out_and_a_stalled_endpoint_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    instrument = Instrument(Agent(profile()))
    instrument.reads.put(Preamble(transfers=1, qos=Qos.MEDIUM_BEST).encode())
    async with serving(Backend(instrument), monkeypatch) as sink:
        await until(lambda: instrument.agent.state is State.OPERATING)
        instrument.reads.put("stall")
        await until(lambda: not instrument.claimed)
        await until(lambda: instrument.claimed and instrument.agent.state is State.OPERATING)
        instrument.report(oximeter_scan())
        await until(lambda: instrument.agent.idle)
        assert sink.values == ["96.5", "63.5"]


async def test_what_is_no_20601_device_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard = Instrument(
        Agent(profile()), configuration=CONFIGURATION.replace(b"\x0f\0\0\0", b"\x03\0\0\0"), address=6
    )
    vendor = Instrument(Agent(profile()), configuration=CONFIGURATION.replace(b"\x20\x02", b"\x20\x01"), address=7)
    broken = Instrument(Agent(profile()), configuration=CONFIGURATION.replace(b"\x04\x20", b"\x04\x23"), address=8)
    good = Instrument(Agent(profile()), address=9)
    assert [found.place for found in x73_usb.find(Backend(keyboard, vendor, broken, good))] == [(1, 9)]


async def test_a_device_that_says_more_than_is_followed_must_wait() -> None:
    instrument = Instrument(Agent(profile()))
    instrument.agent.to_send()
    for number in range(200):
        instrument.reads.put(bytes((number,)) * 8192)
    (found,) = x73_usb.find(Backend(instrument))
    opened = x73_usb.Endpoints(found, asyncio.get_running_loop())
    try:
        await asyncio.sleep(0.3)
        assert instrument.reads.qsize() > 150, "nobody reads what came: the rest stays in the device"
        said = b""
        async with asyncio.timeout(10):
            while len(said) < 200 * 8192:
                said += await opened.way.reader.read(65_536)
        assert said[-200 * 8192 :][::8192] == bytes(range(200))
    finally:
        opened.way.abort()


async def test_a_transfer_that_fills_its_last_packet_is_ended_by_an_empty_one() -> None:
    instrument = Instrument(Agent(profile()))
    (found,) = x73_usb.find(Backend(instrument))
    way = x73_usb.Endpoints(found, asyncio.get_running_loop()).way
    try:
        # Two APDUs written at once are two transfers.
        heads = [bytes.fromhex("e700") + (n - 4).to_bytes(2, "big") + (n - 6).to_bytes(2, "big") for n in (63, 64)]
        way.write(heads[0] + bytes(57) + heads[1] + bytes(58))
        await way.drain()
    finally:
        way.abort()
    assert [len(each) for each in instrument.written] == [63, 64, 0]
