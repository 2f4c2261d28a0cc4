"""Devices whose clocks are wrong, all the way: the FHIR server has the time at which a value was taken in truth."""

import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from simulator.compare import compare
from simulator.stage import HUB, Stage
from simulator.stage.processes import program, run

DEVICES = {
    "cuff": 'faults = ["clock-off=3600"]',
    "scale": 'faults = ["clock-unset"]',
    "oximeter": 'faults = ["clock-unset"]',
    "thermometer": 'stored = 2\nfaults = ["garbage", "duplicate"]',
    "glucose-meter": 'stored = 6\nfaults = ["clock-off=-90", "out-of-order"]',
    "cuff-omron": 'stored = 2\nfaults = ["clock-off=-7200"]',
    "health-sensor": 'faults = ["clock-unset"]',
}


def scenario() -> str:
    text = 'seed = 7\nhang_up_s = 1\n[[person]]\nid = "p1"\n'
    for number, (kind, more) in enumerate(DEVICES.items(), 1):
        text += f'[[device]]\nkind = "{kind}"\nperson = "p1"\nadapter = "hci{number}"\n{more}\n'
    return text


@pytest.mark.journey
def test_what_a_wrong_clock_stamped_is_in_the_fhir_server_with_the_time_at_which_it_was_taken(tmp_path: Path) -> None:
    with Stage(tmp_path, scenario()) as stage:
        stage.set_up()
        stage.start("sim")
        assert stage.processes["sim"].wait(40) == 0
        deadline = time.monotonic() + 10
        while True:
            result = compare(stage.measured(), stage.observations(), timezone=ZoneInfo(stage.scenario.timezone))
            if result.all_equal or time.monotonic() > deadline:
                break
        bridge = program("stafet-bridge", "make setup")
        quarantined = run([bridge, "quarantine", "list", "--config", tmp_path / "bridge.toml"])
    assert [one for one in result.values if one.outcome != "equal"] == []
    assert (result.doubled, result.foreign) == ((), ())
    assert len({one.record.kind for one in result.values}) == len(DEVICES)
    assert len(quarantined.splitlines()) == 1, "the garbage, and nothing else"
    assert HUB in quarantined
