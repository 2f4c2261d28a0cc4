"""20601 agents and hubs as programs: `stafet-sim agent` at a bench (`stafet-hub listen`) and at home, value for value."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from edge.identity import establish
from edge.outbox import Outbox
from tests.edge.home import HUB_TOML, furnish
from tests.support import eventually
from wire.batch import parse_reading
from wire.evidence import AgentReport
from wire.measurement import Measurement, Special
from wire.x73.evidence import decode_agent_report

HUB, SIM = (Path(sys.executable).with_name(name) for name in ("stafet-hub", "stafet-sim"))
DEVICES = ("oximeter", "blood-pressure", "scale")
Values = list[tuple[int, str, str, str]]


class Bench:
    """The hub's side: it listens on a port of the system's choice, and prints to files."""

    def __init__(self, directory: Path) -> None:
        self.out = directory / "listen.jsonl"
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                [HUB, "listen", "20601", "--tcp", "127.0.0.1:0", "--json"],
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert self.process.stderr is not None
        first = json.loads(self.process.stderr.readline())
        assert first["event"] == "listening"
        self.at: str = first["at"]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=10)
        finally:
            self.process.kill()
        return self.process.returncode

    def values(self) -> Values:
        read: Values = []
        for line in self.out.read_text(encoding="utf-8").splitlines():
            measurement = json.loads(line)
            for part in measurement.get("components", [measurement]):
                value = part["value"] if "value" in part else str([int(bit.rpartition(".")[2]) for bit in part["bits"]])
                read.append((part["code"], value, part.get("unit", ""), measurement["device_time"]))
        return read


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    if bench.process.poll() is None:
        bench.stop()


def measured(file: Path) -> Values:
    lines: list[dict[str, Any]] = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    values: Values = []
    for line in lines:
        time = trimmed(line["device_time"])
        values += [(value["code"], value["value"], value["unit"], time) for value in line["values"]]
        values += [(other["code"], str(other["bits"]), "", time) for other in line.get("others", ())]
    return values


def trimmed(time: str) -> str:
    """Without the zeros at the end of a fraction."""
    return time.rstrip("0") if "." in time else time


def agent(bench: Bench, file: Path, *arguments: str) -> None:
    done = subprocess.run(
        [SIM, "agent", "--connect", bench.at, "--interval", "0.1", "--measured", file, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.journey
def test_a_bench_reads_what_agents_measured_in_both_configurations(bench: Bench, tmp_path: Path) -> None:
    file, expected = tmp_path / "measured.jsonl", []
    for device in DEVICES:
        for configuration in ("standard", "extended"):
            agent(bench, file, "--device", device, "--config", configuration)
            expected += measured(file)
    assert bench.stop() == 0
    assert len({code for code, *_ in expected}) == 11
    assert bench.values() == expected


@pytest.mark.journey
def test_a_bench_fetches_what_an_agent_has_stored(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "measured.jsonl"
    agent(bench, file, "--device", "spirometer", "--config", "extended", "--store", "--count", "50")
    assert bench.stop() == 0
    expected = measured(file)
    assert len(expected) == 50 * 7 + 25
    assert bench.values() == expected


WAYS = """\
port = {no_broker}
[agents]
tcp = "127.0.0.1:{port}"
[[agent]]
system_id = "02:53:49:4D:28:A4:00:01"
label = "oximeter"
[[agent]]
system_id = "02:53:49:4D:28:AF:00:01"
label = "scale"
[[serial]]
port = "{line}"
format = "20601"
address = "02:00:00:00:00:01"
"""


class Home:
    """A hub that runs, without a broker: what it collects stays in its outbox."""

    def __init__(self, directory: Path, **places: object) -> None:
        self.directory, self.log = directory, directory / "hub.log"
        establish(directory / "hub-key.pem")
        furnish(directory, HUB_TOML + WAYS.format(**places))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([HUB, "run", "--config", directory / "hub.toml"], stderr=log)
        eventually(lambda: bool(self.events("listening")), within_s=20, what="the hub to listen")

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == name]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()

    def reports(self) -> list[AgentReport]:
        """What lies in the outbox."""
        with Outbox.open(self.directory / "outbox.db", hub="hub-0001") as outbox:
            pending = outbox.pending(1)
            assert pending is not None
            found = [parse_reading(each) for each in pending.readings]
        return [each for each in found if isinstance(each, AgentReport)]


def said(measurements: tuple[Measurement, ...]) -> Values:
    """As `measured` reads them."""
    read: Values = []
    for measurement in measurements:
        assert measurement.device_time is not None
        time = measurement.device_time.isoformat()
        for part in measurement.components or (measurement,):
            if part.value is not None and not isinstance(part.value, Special):
                read.append((int(part.code), str(part.value), part.unit or "", time))
            else:
                read.append((int(part.code), str(sorted(part.bits)), "", time))
    return read


@pytest.mark.journey
def test_a_hub_keeps_what_listed_agents_measured_over_tcp_and_a_serial_line(tmp_path: Path, free_port: int) -> None:
    over_line, over_tcp, stranger = (tmp_path / f"{name}.jsonl" for name in ("line", "tcp", "stranger"))
    line = subprocess.Popen(
        [SIM, "agent", "--pty", "--device", "scale", "--interval", "0.1", "--measured", over_line],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    output: IO[str] | None = line.stdout
    assert output is not None
    home = Home(tmp_path, port=free_port, no_broker=1, line=output.readline().strip())
    at = f"127.0.0.1:{free_port}"

    def over_network(file: Path, *arguments: str) -> int:
        command: list[str | Path] = [SIM, "agent", "--connect", at, "--device", "oximeter", "--interval", "0.1"]
        done = subprocess.run([*command, "--measured", file, *arguments], capture_output=True, timeout=60, check=False)
        return done.returncode

    try:
        assert over_network(over_tcp, "--config", "extended") == 0
        assert over_network(stranger, "--seed", "2") == 1, "an agent that is not listed is rejected"
        assert line.wait(30) == 0
    finally:
        output.close()
        line.kill()
        line.wait()
        assert home.stop() == 0
    reports = home.reports()
    assert [event["seq"] for event in home.events("reading_stored")] == list(range(1, len(reports) + 1))
    for name, file in (("28a4", over_tcp), ("28af", over_line)):
        own = [report for report in reports if report.device.address.hex() == f"0253494d{name}0001"]
        expected = measured(file)
        assert len(expected) >= 3
        assert [value for report in own for value in said(decode_agent_report(report).measurements)] == expected
    assert len(reports) == 6
    assert len(home.events("agent_not_listed")) == 1
