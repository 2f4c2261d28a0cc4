"""The demonstration, as a newcomer runs it: everything on this machine, and every value compared."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from simulator.fhir import FhirClient
from tests.phd import validate
from tests.support import eventually

VITAL_SIGNS = {
    f"http://hl7.org/fhir/StructureDefinition/{name}"
    for name in ("oxygensat", "heartrate", "bp", "bodyweight", "bodytemp")
}
PROGRAM = Path(sys.executable).with_name("stafet-sim")


@pytest.mark.journey
def test_the_demonstration_ends_with_every_measured_value_in_the_fhir_server_in_keeping_with_its_profiles(
    tmp_path: Path,
) -> None:
    log, report = tmp_path / "demo.out", tmp_path / "demo.json"
    with log.open("wb") as said, report.open("wb") as reported:
        process = subprocess.Popen(
            [PROGRAM, "demo", "--json", "--keep", "--directory", tmp_path / "demo"], stdout=reported, stderr=said
        )
    try:
        eventually(lambda: "stays up until Ctrl-C" in log.read_text(), within_s=60, what="the demonstration stays up")
        result = json.loads(report.read_text())
        assert result["all_equal"]
        assert result["readings"] >= 10
        assert len(result["kinds"]) == 5
        assert result["doubled"] == result["never_measured"] == []
        assert all(value["outcome"] == "equal" and value["observation"] for value in result["values"])
        url = next(word for word in log.read_text().split() if "/Observation?subject=" in word)
        page = httpx.get(url, timeout=10).raise_for_status().json()
        assert page["total"] > 10
        everything = FhirClient(url.partition("/Observation")[0])
        resources = [*everything.search("Observation"), *everything.search("Device")]
        everything.close()
        assert [fault for one in resources for fault in validate(one)] == []
        assert {profile for one in resources for profile in one["meta"]["profile"]} >= VITAL_SIGNS
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
    assert leftovers(tmp_path) == []


def leftovers(directory: Path) -> list[str]:
    """Command lines of processes that still have to do with this directory."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in line and entry.parent.name != str(os.getpid()):
            lines.append(line)
    return lines
