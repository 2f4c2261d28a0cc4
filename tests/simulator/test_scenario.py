"""A scenario with faults names all of them at once, each with its place."""

from pathlib import Path

import pytest

from simulator import cli, demo, scenario
from simulator.ble.devices import KINDS
from simulator.ble.faults import FAULTS

ROOT = Path(__file__).parents[2]

GOOD = """
seed = 5
[[person]]
id = "p1"
[[device]]
kind = "scale"
person = "p1"
adapter = "hci1"
readings = 3
every_s = 5
"""

BAD = """
seed = -1
timezone = "Mars/Olympus"
resent = true
[[person]]
id = "has space"
[[person]]
id = "p1"
condition = "tired"
[[person]]
id = "p2"
[[person]]
id = "p2"
[[device]]
kind = "toaster"
person = "p3"
adapter = "bluetooth"
readings = 0
every_s = 0.5
colour = "red"
[[device]]
kind = "cuff"
person = "p2"
adapter = "hci1"
[[device]]
kind = "scale"
person = "p2"
adapter = "hci1"
"""


def faults(text: str, tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    with pytest.raises(scenario.ScenarioError) as caught:
        scenario.load(path)
    return caught.value.faults


def test_a_good_scenario_has_people_and_devices(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(GOOD)
    loaded = scenario.load(path)
    assert loaded.output == tmp_path / "measured.jsonl"
    assert [(one.label, one.kind.name, one.readings, one.every_s) for one in loaded.devices] == [
        ("p1 scale", "scale", 3, 5.0)
    ]
    assert loaded.devices[0].person is loaded.people[0]


def test_every_fault_is_named_with_its_place(tmp_path: Path) -> None:
    assert faults(BAD, tmp_path) == (
        "seed: must be a whole number from 0 to 2147483648",
        "timezone: no time zone 'Mars/Olympus' on this machine",
        "person[0].id: 'has space' does not look like one",
        "person[1].condition: 'tired' is none of healthy, copd",
        "person[3].id: 'p2' is another person's",
        f"device[0].kind: 'toaster' is none of {', '.join(KINDS)}",
        "device[0].adapter: 'bluetooth' does not look like one",
        "device[0].readings: must be a whole number from 1 to 100000",
        "device[0].every_s: must be a number of seconds from 1 to 86400",
        "device[0].colour: is not a setting (misspelt?)",
        "device[0].person: there is no person 'p3'",
        "device[2].adapter: hci1 is device[1]'s already; an adapter has one address, so one device",
        "resent: is not a setting (misspelt?)",
    )


def test_a_devices_faults_are_read_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(GOOD + 'stored = 4\nfaults = ["clock-off=-60", "garbage", "disconnect-after-record=3"]\n')
    (device,) = scenario.load(path).devices
    assert (device.stored, device.faults) == (4, {"clock-off": -60, "garbage": 0, "disconnect-after-record": 3})


def test_a_fault_that_cannot_be_teaches_why(tmp_path: Path) -> None:
    text = """
[[person]]
id = "p1"
[[device]]
kind = "strap"
person = "p1"
adapter = "hci1"
stored = 3
faults = ["garbage=2", "clock-off=9", "second-person", "out-of-order", "disconnect-before-response"]
[[device]]
kind = "cgm"
person = "p1"
adapter = "hci2"
every_s = 5
faults = ["rubbish", "clock-off", "clock-unset", "clock-unset", "clock-off=1", "disconnect-after-record=0"]
[[device]]
kind = "scale"
person = "p1"
adapter = "hci3"
faults = "garbage"
"""
    assert faults(text, tmp_path) == (
        "device[0].faults: garbage takes no number",
        "device[0].faults: clock-off does not go with a strap, which has no clock that anybody sets",
        "device[0].faults: second-person does not go with a strap, which does not tell its users apart",
        "device[0].faults: out-of-order does not go with a strap, which keeps nothing",
        "device[0].faults: disconnect-before-response does not go with a strap, which has no Record Access Control Point",
        "device[0].stored: a strap has no clock, and stores nothing",
        "device[1].every_s: must be a number of seconds from 60 to 86400",
        f"device[1].faults: 'rubbish' is none of {', '.join(FAULTS)}",
        "device[1].faults: clock-off needs a number of seconds, as in clock-off=3",
        "device[1].faults: clock-unset stands there twice",
        "device[1].faults: disconnect-after-record needs a number of measurements, as in disconnect-after-record=3",
        "device[1].faults: clock-off and clock-unset exclude each other",
        'device[2].faults: must be a list of texts, as in ["garbage", "clock-off=3600"]',
    )


def test_the_documentation_names_every_kind_and_every_fault() -> None:
    text = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if kind not in text] == []
    assert f"{len(KINDS)} kinds over Bluetooth LE" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in FAULTS if name.removeprefix("disconnect-after") not in text] == []


def test_a_file_that_is_no_toml_is_one_fault(tmp_path: Path) -> None:
    (fault,) = faults("seed = = 1", tmp_path)
    assert fault.startswith("not TOML: ")


def test_an_empty_scenario_asks_for_people_and_devices(tmp_path: Path) -> None:
    assert faults("", tmp_path) == (
        "person: at least one [[person]] is needed",
        "device: at least one [[device]] is needed",
    )


def test_the_program_lists_the_faults_on_stderr_and_ends_with_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(BAD)
    assert cli.main(["run", str(path)]) == 78
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 13


def test_a_scenario_that_is_not_there_is_one_line_and_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", str(tmp_path / "none.toml")]) == 78
    assert capsys.readouterr().err == f"stafet-sim: {tmp_path / 'none.toml'}: No such file or directory\n"


def test_without_a_bus_the_program_says_so_and_ends_with_69(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(GOOD)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'no-bus'}")
    assert cli.main(["run", str(path)]) == 69
    (line,) = capsys.readouterr().err.splitlines()
    assert "no system bus" in line


def test_the_demonstration_has_two_people_with_five_devices_each(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(demo.scenario_text())
    loaded = scenario.load(path)
    assert len(loaded.people) == 2
    assert len({device.kind.name for device in loaded.devices}) == 5
    assert sum(device.readings for device in loaded.devices) == 20
