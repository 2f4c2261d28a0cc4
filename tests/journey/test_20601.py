"""A technician's bench: `stafet-hub listen 20601` and `stafet-sim agent`, two programs over TCP, value for value."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
