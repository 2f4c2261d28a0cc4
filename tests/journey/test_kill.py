"""Kill -9, at random moments, of every hand of the relay while readings flow: nothing is lost, nothing arrives twice.

What counts as lost is judged from outside: by what the devices wrote down (measured.jsonl) and by what the FHIR server
holds, compared value by value (simulator.compare). No part is helped: a killed process is started again as a service
manager would, and nothing else is done.

Devices with a clock keep a measurement until the hub hung up in order, and send it again otherwise, so every one of
theirs must arrive. The strap has no memory: a beat that was in the air while the hub was killed is gone, as it is over
a real radio. So its values may be missing only from the second before a kill of the hub; never otherwise.
"""

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from simulator.compare import Comparison, Outcome, compare
from simulator.stage import Stage
from simulator.stage.processes import program
from tests.phd import assert_conformant
from tests.support import eventually

HANDS = ("hub", "bridge", "broker", "fhir")
KILLS_EACH = 10
SEED = int(os.environ.get("STAFET_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
KINDS = ("oximeter", "cuff", "scale", "thermometer", "strap")
IN_THE_AIR = timedelta(seconds=1)


def scenario_text(readings: int) -> str:
    """One person per set of five devices, each measuring about once a second for as long as the killing goes on."""
    lines = ["seed = 7", "resend = true", ""]
    for person in ("p1", "p2"):
        lines += ["[[person]]", f'id = "{person}"', ""]
    devices = [(person, kind) for person in ("p1", "p2") for kind in KINDS if person == "p1" or kind != "strap"]
    for number, (person, kind) in enumerate(devices):
        lines += ["[[device]]", f'kind = "{kind}"', f'person = "{person}"', f'adapter = "hci{number + 1}"']
        lines += [f"readings = {readings}", "every_s = 1", f"start_s = {number * 0.1:.1f}", ""]
    return "\n".join(lines)


def compared(stage: Stage) -> Comparison:
    return compare(stage.measured(), stage.observations(), timezone=ZoneInfo(stage.scenario.timezone))


def status_of(stage: Stage, name: str) -> dict[str, object]:
    command = [
        program(f"stafet-{name}", "make setup"),
        "status",
        "--json",
        "--config",
        stage.directory / f"{name}.toml",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    document: dict[str, object] = json.loads(done.stdout)
    return document


def kill_them_all(stage: Stage, draw: random.Random) -> list[datetime]:
    """Ten kills of each hand in random order at random moments; when the hub was killed."""
    order = [name for name in HANDS for _ in range(KILLS_EACH)]
    draw.shuffle(order)
    hub_killed = []
    for name in order:
        time.sleep(draw.uniform(0.02, 0.7))  # the random moment; not a wait for anything
        assert stage.processes["sim"].running, f"readings stopped flowing:\n{stage.processes['sim'].tail()}"
        if name == "hub":
            hub_killed.append(datetime.now(UTC))
        stage.kill(name)
        stage.start(name)
    return hub_killed


@pytest.fixture
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with Stage(tmp_path, scenario_text(readings=60), broker=request.param) as stage:
        stage.set_up()
        yield stage


@pytest.mark.journey
@pytest.mark.timeout(280)
@pytest.mark.parametrize("stage", ["mosquitto"], indirect=True)
def test_every_reading_arrives_once_whatever_is_killed_whenever(stage: Stage) -> None:
    draw = random.Random(SEED)  # noqa: S311 - moments of killing, not secrets
    print(f"STAFET_SEED={SEED}")
    stage.start("sim")
    eventually(lambda: len(stage.measured()) > 5, within_s=30, what="readings flow")
    hub_killed = kill_them_all(stage, draw)
    assert stage.processes["sim"].wait(120) == 0, stage.processes["sim"].tail()

    def excused(record_sent: datetime) -> bool:
        return any(timedelta(0) <= killed - record_sent <= IN_THE_AIR for killed in hub_killed)

    def lost(comparison: Comparison) -> list[str]:
        return [
            f"{one.record.label} {one.value.code} {one.value.value} {one.outcome} sent {one.record.sent}"
            for one in comparison.values
            if one.outcome is not Outcome.EQUAL and not (one.record.kind == "strap" and excused(one.record.sent))
        ]

    eventually(lambda: not lost(compared(stage)), within_s=60, what="every reading arrives")
    end = compared(stage)
    assert lost(end) == []
    assert end.doubled == ()
    assert end.foreign == ()
    eventually(lambda: status_of(stage, "hub")["pending"] == 0, within_s=30, what="the hub's outbox empties")
    observations = stage.observations()
    identifiers = [one["identifier"][0]["value"] for one in observations]
    assert len(identifiers) == len(set(identifiers)), "an Observation was written twice"
    assert_conformant(*observations)
    assert {stage.processes[name].starts for name in HANDS} == {KILLS_EACH + 1}
