"""`stafet-hub run` reads `stafet-sim serial`: programs of their own, real ptys; what is in the outbox is what was measured."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.outbox import Outbox
from tests.edge.test_hub import HUB, HubProcess
from tests.journey.test_serial_lines import FORMATS, measured_values, told_frames
from tests.support import eventually, stop
from wire.batch import parse_reading
from wire.evidence import SerialFrame
from wire.serial import format_of

SIM = Path(sys.executable).with_name("stafet-sim")
DEVICES = {
    "nonin-df13": ["--count", "4", "--stored", "3", "--interval", "0"],
    "nonin-memory": ["--count", "20"],  # more than a line holds at once
    "lung-monitor": ["--fault", "lost-ack"],
}


class Sim:
    """`stafet-sim serial` of one device, and its port."""

    def __init__(self, home: Path, device: str, *arguments: str) -> None:
        self.device = device
        self.measured = home / f"{device}.jsonl"
        self.process = subprocess.Popen(
            [SIM, "serial", "--device", device, "--json", "--measured", self.measured, *arguments],
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.port: str = json.loads(self.process.stdout.readline())["port"]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.measured.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def sims(tmp_path: Path) -> Iterator[list[Sim]]:
    started: list[Sim] = []
    try:
        for device, arguments in DEVICES.items():
            started.append(Sim(tmp_path, device, *arguments))
        yield started
    finally:
        for sim in started:
            stop(sim.process)


@pytest.fixture
def hub(tmp_path: Path, free_port: int) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path, free_port)
    yield process
    if process.process is not None:
        stop(process.process)


def list_ports(hub: HubProcess, sims: list[Sim]) -> None:
    with hub.config.open("a") as config:
        for number, sim in enumerate(sims, 1):
            name = FORMATS[sim.device].value
            config.write(
                f'[[serial]]\nport = "{sim.port}"\nformat = "{name}"\naddress = "02:00:00:00:00:0{number}"\n'
                f'label = "{sim.device}"\nclear_store = true\n'
            )


def outbox(hub: HubProcess) -> list[SerialFrame]:
    with closing(Outbox.open(hub.store, hub=HUB)) as store:
        pending = store.pending(1)
    frames = [parse_reading(encoded) for encoded in pending.readings] if pending else []
    assert all(isinstance(frame, SerialFrame) for frame in frames)
    return [frame for frame in frames if isinstance(frame, SerialFrame)]


@pytest.mark.journey
def test_what_serial_devices_measured_is_in_the_outbox_value_for_value(hub: HubProcess, sims: list[Sim]) -> None:
    list_ports(hub, sims)
    hub.start(os.environ)
    for sim in sims:
        assert sim.process.wait(40) == 0, sim.device
    eventually(lambda: len(hub.events("reading_stored")) == 27, within_s=10, what="27 readings stored")
    assert sorted(state["label"] for state in hub.status()["devices"] if state["readings"]) == sorted(DEVICES)
    assert hub.send(signal.SIGTERM) == 0
    kept = outbox(hub)
    for number, sim in enumerate(sims, 1):
        own = [frame for frame in kept if frame.device.address[-1] == number]
        assert {format_of(frame.format) for frame in own} == {FORMATS[sim.device]}
        assert told_frames(own) == measured_values(sim.lines())
    assert len(kept) == sum(len(sim.lines()) for sim in sims) == 27
    assert [line for line in hub.events() if "unlisted" in line] == []
    assert "02:00:00:00:00" not in hub.log.read_text()


@pytest.mark.journey
def test_a_hub_killed_before_it_answered_gets_the_blow_again_and_loses_none(hub: HubProcess, tmp_path: Path) -> None:
    sim = Sim(tmp_path, "lung-monitor", "--count", "20")
    try:
        list_ports(hub, [sim])
        for count in (4, 10):
            hub.start(os.environ)
            hub.until("reading_stored", count)
            hub.send(signal.SIGKILL)
        hub.start(os.environ)
        assert sim.process.wait(40) == 0
        assert hub.send(signal.SIGTERM) == 0
    finally:
        stop(sim.process)
    values = told_frames(outbox(hub))
    measured = measured_values(sim.lines())
    assert sorted(map(repr, {repr(value): value for value in values}.values())) == sorted(map(repr, measured))
    assert len(measured) == 20
    assert len(values) <= 22, "at most one blow more for each kill: the bridge makes one Observation of it"


def test_pyserial_is_loaded_only_for_a_listed_port() -> None:
    program = "import sys; import edge.hub; print('serial' in sys.modules, 'wire.serial' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
