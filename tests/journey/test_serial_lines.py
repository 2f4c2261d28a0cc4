"""The hub's serial collecting against simulated devices over real ptys: well, at every fault, cut at every step."""

import asyncio
import io
import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.fhir.translate import translate_reading
from edge.intake import Intake
from edge.serial import lines as serial_lines
from edge.serial.lines import Kind, Line, SerialCollector
from simulator.command import Outcome
from simulator.serial import devices as serial_devices
from simulator.serial.devices import Plan, play
from simulator.serial.options import DEVICES, FAULTS, NONE
from simulator.serial.pty import Pty
from wire.batch import parse_reading
from wire.evidence import Clock, ClockState, SerialFrame
from wire.measurement import Special
from wire.serial import SerialFormat, decode, format_of

FORMATS = {
    "nonin-df8": SerialFormat.NONIN_DF8,
    "nonin-df13": SerialFormat.NONIN_DF13,
    "nonin-memory": SerialFormat.NONIN_MEMORY,
    "lung-monitor": SerialFormat.VITALOGRAPH_LUNG_MONITOR,
}
ADDRESS = bytes.fromhex("020000000001")
CUTS = [fault.name for fault in FAULTS.values() if fault.cut_at]
OTHERS = [fault.name for fault in (NONE, *FAULTS.values()) if not fault.cut_at and not fault.silent]


class Store:
    """An outbox in memory."""

    def __init__(self) -> None:
        self.frames: list[SerialFrame] = []

    def put(self, encoded: bytes) -> int:
        frame = parse_reading(encoded)
        assert isinstance(frame, SerialFrame)
        self.frames.append(frame)
        return len(self.frames)


def clock() -> Clock:
    return Clock(wall_us=1_790_000_000_000_000, mono_us=0, boot=bytes(16), state=ClockState.SYNCHRONISED)


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A name for a port; the waits between connections are as short as a test's patience."""
    monkeypatch.setattr(serial_lines, "KINDS", {format_: Kind(0.05) for format_ in FORMATS.values()})
    for name in ("FIRST_RETRY_S", "ABSENT_S", "LONGEST_RETRY_S"):
        monkeypatch.setattr(serial_lines, name, 0.05)
    monkeypatch.setattr(serial_lines, "PACE_S", 0.0)
    for name, seconds in (("BEFORE_SENDING_S", 0.05), ("SETTLED_S", 0.1), ("REPEAT_S", 0.2), ("UNPLUGGED_S", 0.1)):
        monkeypatch.setattr(serial_devices, name, seconds)
    path = Path("/dev/shm") / f"stafet-{os.getpid()}-{secrets.token_hex(4)}"  # noqa: S108  hub.toml takes ports below /dev
    yield path
    path.unlink(missing_ok=True)


@asynccontextmanager
async def collecting(link: Path, device: str, store: Store) -> AsyncIterator[None]:
    collector = SerialCollector(
        lines=[Line(str(link), FORMATS[device], ADDRESS, clear_store=True)],
        intake=Intake(put=store.put, stored=lambda: None),
        now=clock,
    )
    task = asyncio.create_task(collector.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def bring(link: Path, device: str, fault: str) -> tuple[Outcome, list[dict[str, Any]], Store]:
    """Play a device to its end; how it went, what it measured, and what the hub kept."""
    port, store, measured = Pty(link), Store(), io.StringIO()
    wanted = Plan(
        device=device,
        fault=FAULTS.get(fault, NONE),
        interval_s=0.0,
        seed=2,
        stored=2 if device == "nonin-df13" else 0,
        linked=True,
        patience_s=10.0,
    )
    port.plug()
    async with collecting(link, device, store):
        try:
            async with asyncio.timeout(30):
                outcome = await play(wanted, port, measured)
                await asyncio.sleep(0.05)  # what the last frame left in the port
        finally:
            port.unplug()
    return outcome, [json.loads(line) for line in measured.getvalue().splitlines()], store


def told(store: Store) -> list[tuple[dict[str, Any], str | None]]:
    return told_frames(store.frames)


def told_frames(frames: list[SerialFrame]) -> list[tuple[dict[str, Any], str | None]]:
    """What is kept, as values by code with the device's time."""
    values = []
    for frame in frames:
        said: dict[str, Any] = {}
        parts = decode(format_of(frame.format), frame.frame)
        for part in parts:
            if part.samples is not None:
                said[str(part.code)] = ["E" if isinstance(v, Special) else str(v) for v in part.samples.data]
            else:
                said[str(part.code)] = f"{part.value} {part.unit}"
        time = parts[0].device_time
        values.append((said, time.isoformat() if time and time.known else None))
    return values


def measured_values(lines: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str | None]]:
    def time(text: str | None) -> str | None:
        return text.rstrip("0") if text and "." in text else text

    return [
        (
            {str(value["code"]): f"{value['value']} {value['unit']}" for value in line["values"]}
            | {str(other["code"]): other["samples"] for other in line.get("others", ())},
            time(line["device_time"]),
        )
        for line in lines
    ]


async def bring_all(link: Path, fault: str) -> None:
    """Every device that can have the fault, side by side: each reading is kept once."""
    devices = [device for device in DEVICES if device in FAULTS.get(fault, NONE).devices]
    brought = await asyncio.gather(*(bring(Path(f"{link}-{device}"), device, fault) for device in devices))
    for device, (outcome, lines, store) in zip(devices, brought, strict=True):
        assert outcome == Outcome(status=0), device
        assert told(store) == measured_values(lines), device
        assert len(store.frames) == 3, "each reading once, however often it was sent"
        assert all(frame.device.address == ADDRESS for frame in store.frames)


@pytest.mark.journey
@pytest.mark.parametrize("fault", OTHERS)
async def test_whatever_is_wrong_with_a_device_what_it_measured_is_kept_once(link: Path, fault: str) -> None:
    await bring_all(link, fault)


@pytest.mark.journey
@pytest.mark.parametrize("fault", CUTS)
async def test_a_link_cut_at_any_step_loses_nothing_and_doubles_nothing(link: Path, fault: str) -> None:
    await bring_all(link, fault)


@pytest.mark.journey
@pytest.mark.parametrize("fault", ["clock-unset", "clock-wrong"])
async def test_readings_of_a_wrong_clock_get_their_true_time_and_the_clock_is_set(link: Path, fault: str) -> None:
    outcome, lines, store = await bring(link, "nonin-df13", fault)
    assert outcome.status == 0
    assert {line["device_time"][:4] == "2007" for line in lines} == {fault == "clock-unset"}
    ago = []
    for evidence in store.frames:
        made = translate_reading(
            evidence,
            sealed=evidence.received,
            hub="hub-0001",
            patient="Patient/1",
            timezone=datetime.now(UTC).astimezone().tzinfo or UTC,
            identifier_key=bytes(32),
        )
        (when,) = {entry.resource["effectiveDateTime"] for entry in made.entries if entry.resource.get("valueQuantity")}
        ago.append(datetime.fromtimestamp(evidence.received.wall_us / 1e6, UTC) - datetime.fromisoformat(when))
    assert [round(each / timedelta(minutes=1)) for each in ago] == [2, 1, 0]


@pytest.mark.journey
async def test_a_device_that_says_nothing_leaves_nothing(link: Path) -> None:
    port, store = Pty(link), Store()
    port.plug()
    async with collecting(link, "lung-monitor", store):
        plan = Plan(device="lung-monitor", fault=FAULTS["silence"], patience_s=0.3)
        outcome = await play(plan, port)
        port.unplug()
    assert (outcome.status, store.frames) == (1, [])
