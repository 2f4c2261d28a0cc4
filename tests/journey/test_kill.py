"""Kill -9, at random moments, of every hand of the relay while readings flow: nothing is lost, nothing arrives twice.

What counts as lost is judged from outside: by what the devices wrote down (measured.jsonl) and by what the FHIR server
holds, compared value by value (simulator.compare). No part is helped: a killed process is started again as a service
manager would, and nothing else is done.

Devices with a clock keep a measurement until the hub hung up in order, and send it again otherwise, so every one of
theirs must arrive. The strap has no memory: what it says while no hub listens is gone, as it is over a real radio. So
its values may be missing from the moment a hub was killed until the next one had subscribed, and in the instant in which
a hub hangs up after a silence (the two cross in the air); never otherwise.
"""

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from simulator.compare import Comparison, Outcome, compare
from simulator.stage import Stage
from simulator.stage.processes import program
from tests.phd import validate
from tests.support import eventually

HANDS = ("hub", "bridge", "broker", "fhir")
KILLS_EACH = 10
SEED = int(os.environ.get("STAFET_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
KINDS = ("oximeter", "cuff", "scale", "thermometer", "strap")
IN_THE_AIR = timedelta(seconds=1)
CROSSING = timedelta(milliseconds=50)


def scenario_text(readings: int) -> str:
    """Eight devices that measure every four seconds, for as long as the killing goes on.

    Between two readings the hub hangs up, so a device in doubt repeats one or two readings and never the whole past:
    what is lost behind the hub stays lost, and shows.
    """
    lines = ["seed = 7", "resend = true", ""]
    for person in ("p1", "p2"):
        lines += ["[[person]]", f'id = "{person}"', ""]
    devices = [("p1", kind) for kind in KINDS] + [("p2", kind) for kind in KINDS[:3]]
    for number, (person, kind) in enumerate(devices):
        lines += ["[[device]]", f'kind = "{kind}"', f'person = "{person}"', f'adapter = "hci{number + 1}"']
        lines += [f"readings = {readings}", "every_s = 4", f"start_s = {number * 0.5:.1f}", ""]
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


def kill_them_all(stage: Stage, draw: random.Random) -> None:
    """Ten kills of each hand in random order at random moments."""
    order = [name for name in HANDS for _ in range(KILLS_EACH)]
    draw.shuffle(order)
    for name in order:
        time.sleep(draw.uniform(0.02, 0.7))  # the random moment; not a wait for anything
        assert stage.processes["sim"].running, f"readings stopped flowing:\n{stage.processes['sim'].tail()}"
        stage.kill(name)
        stage.start(name)


def hub_gone(stage: Stage) -> list[tuple[datetime, datetime]]:
    """From each start of the hub, back to the last thing that the one before said, until the strap has it again."""
    hub = list(events(stage, "hub"))
    subscribed = [when for when, event in events(stage, "sim") if event["event"] == "subscribed" and is_strap(event)]
    spans = []
    for before, (when, event) in pairwise(hub):
        if event["event"] == "hub_started":
            spans.append((before[0], next((again for again in subscribed if again > when), when)))
    return spans


def hanging_up(stage: Stage) -> list[tuple[datetime, datetime]]:
    """The instants in which the hub ended a silent session with the strap, widened by IN_THE_AIR like all others."""
    ended = [when for when, event in events(stage, "sim") if event["event"] == "subscription_ended" and is_strap(event)]
    return [(when + IN_THE_AIR - CROSSING, when) for when in ended]


def is_strap(event: dict[str, object]) -> bool:
    return "strap" in str(event["device"])


def events(stage: Stage, name: str) -> Iterator[tuple[datetime, dict[str, object]]]:
    """What a process logged, with the time."""
    for line in (stage.directory / f"{name}.log").read_text(encoding="utf-8").splitlines():
        if line.startswith("{"):
            event = json.loads(line)
            yield datetime.fromisoformat(event["time"]).astimezone(UTC), event


@pytest.fixture
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with Stage(tmp_path, scenario_text(readings=17), broker=request.param, idle_timeout_s=1.5) as stage:
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
    kill_them_all(stage, draw)
    assert stage.processes["sim"].wait(120) == 0, stage.processes["sim"].tail()

    gone = [*hub_gone(stage), *hanging_up(stage)]

    def excused(sent: datetime) -> bool:
        return any(start - IN_THE_AIR <= sent <= end for start, end in gone)

    def lost(comparison: Comparison) -> list[str]:
        return [
            f"{one.record.label} {one.value.code} {one.value.value} {one.outcome} sent {one.record.sent}"
            for one in comparison.values
            if one.outcome is not Outcome.EQUAL and not (one.record.kind == "strap" and excused(one.record.sent))
        ]

    deadline = time.monotonic() + 60
    while lost(end := compared(stage)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert lost(end) == []
    repeated = sum(event["event"] == "measurement_resent" for _, event in events(stage, "sim"))
    assert repeated <= KILLS_EACH * 2 * len(stage.scenario.devices), (
        "the devices repeated so much that they would hide a loss"
    )
    assert end.doubled == ()
    assert end.foreign == ()
    eventually(lambda: status_of(stage, "hub")["unsent"] == 0, within_s=30, what="the hub's outbox empties")
    observations = stage.observations()
    identifiers = [one["identifier"][0]["value"] for one in observations]
    assert len(identifiers) == len(set(identifiers)), "an Observation was written twice"
    resources = [*observations, *stage.fhir.search("Device")]
    assert [fault for one in resources for fault in validate(one)] == []
    assert {stage.processes[name].starts for name in HANDS} == {KILLS_EACH + 1}
