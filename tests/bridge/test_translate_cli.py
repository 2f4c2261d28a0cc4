"""`stafet-bridge translate`, as someone at a terminal meets it."""

import argparse
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bridge import translate_cli
from bridge.fhir import json as fhir_json
from tests import phd
from wire import measurement_json
from wire.gatt import decode

SPO2 = '[{"code": 150456, "value": "97.0", "unit": "%", "received": "2026-11-21T10:30:15+01:00"}]'


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    translate_cli.add_arguments(parser)
    return parser.parse_args(given)


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    file = tmp_path / "measurements.json"
    file.write_text(SPO2)
    return file


def printed(capsys: pytest.CaptureFixture[str], *given: str) -> dict[str, Any]:
    assert translate_cli.run(arguments(*given)) == 0
    output = capsys.readouterr()
    assert output.err == ""
    sent: dict[str, Any] = fhir_json.loads(output.out)
    phd.assert_conformant(sent)
    return sent


def test_measurements_become_the_bundle_that_a_bridge_would_send(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = printed(capsys, str(measured))
    assert [entry["resource"]["resourceType"] for entry in sent["entry"]] == ["Device", "Device", "Observation"]
    (observation,) = phd.observations(sent)
    assert str(observation["valueQuantity"]["value"]) == "97.0"
    assert observation["subject"]["reference"] == "Patient/example"
    assert observation["effectiveDateTime"] == "2026-11-21T10:30:15.000+01:00"
    assert phd.vital_signs_profile(observation) == "http://hl7.org/fhir/StructureDefinition/oxygensat"


def test_options_tell_what_evidence_would(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sent = printed(
        capsys,
        str(measured),
        *("--patient", "Patient/17", "--hub", "hub-0042", "--system-id", "FE-ED-AB-EE-DE-AD-77-C3"),
        *("--manufacturer", "Nonin", "--model", "3230", "--serial", "501", "--specialization", "528388"),
        *("--timezone", "Europe/London"),
    )
    device, hub, observation = (entry["resource"] for entry in sent["entry"])
    assert device["identifier"][0]["value"] == "FE-ED-AB-EE-DE-AD-77-C3"
    assert (device["manufacturer"], device["modelNumber"], device["serialNumber"]) == ("Nonin", "3230", "501")
    assert hub["identifier"][0]["value"] == "hub-0042"
    assert observation["subject"]["reference"] == "Patient/17"
    assert observation["effectiveDateTime"] == "2026-11-21T09:30:15.000+00:00"


def test_a_device_time_is_compared_with_the_reception_only_where_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "old.json"
    file.write_text('[{"code": 150364, "value": "36.50", "unit": "Cel", "device_time": "2018-04-17T15:51:00"}]')
    (observation,) = phd.observations(printed(capsys, str(file)))
    assert observation["effectiveDateTime"] == "2018-04-17T15:51:00+02:00"
    assert translate_cli.run(arguments(str(file), "--received", "2026-11-21T10:30:15+01:00")) == 65
    output = capsys.readouterr()
    assert output.out == ""
    assert "[0]: the device's time is long before the reception" in output.err


@pytest.mark.parametrize(
    ("characteristic", "value"),
    [
        (0x2A5E, "0061003B00"),
        (0x2A5F, "1fdef3caf3caf35af5d4f3b2f220010000007ae3"),
        (0x2A35, "1e8a00580078000000041114293b3c00012700"),
        (0x2A9D, "0cb03605f500d606"),
        (0x2A37, "194b00380404043804"),
        (0x2A1C, "06710e00fee90705150a1e2d01"),
    ],
)
@pytest.mark.parametrize("first", [(), ("--vital-signs-first",)])
def test_what_the_hub_decodes_translates_as_it_is(
    characteristic: int,
    value: str,
    first: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decoded = measurement_json.dumps(decode(characteristic, bytes.fromhex(value)), indent=2)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(decoded.encode())))
    sent = printed(capsys, *first)
    assert phd.observations(sent)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[{]", "at byte 2"),
        ("", "at byte 0"),
        ('[{"code": 150456, "value": 97, "unit": "%"}]', "at byte 27"),
        ('[{"code": 150456, "value": "97", "unit": "%", "colour": "red"}]', "colour"),
        ("[]", "nothing-to-report"),
    ],
)
def test_malformed_input_is_one_line_that_says_where_and_nothing_is_printed(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "broken.json"
    file.write_text(text)
    assert translate_cli.run(arguments(str(file))) == 65
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert says in output.err


def test_a_file_that_is_not_there_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert translate_cli.run(arguments(str(tmp_path / "nowhere.json"))) == 74
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.endswith("nowhere.json: cannot be read: No such file or directory\n")


@pytest.mark.parametrize(
    "given",
    [
        ("--patient", "Practitioner/1"),
        ("--hub", "Hub 1"),
        ("--device-address", "AA:BB"),
        ("--system-id", "AA:BB:CC:DD:EE:FF"),
        ("--timezone", "Mars/Olympus"),
        ("--timezone", "../etc/passwd"),
        ("--received", "2026-11-21T10:30:15"),
        ("--received", "yesterday"),
    ],
)
def test_a_wrong_option_is_a_usage_error(given: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments(*given)
    assert ended.value.code == 2
    assert given[0] in capsys.readouterr().err


def test_the_program_translates_what_comes_on_standard_input() -> None:
    program = Path(sys.executable).with_name("stafet-bridge")
    ran = subprocess.run([str(program), "translate"], input=SPO2.encode(), capture_output=True, check=False, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert json.loads(ran.stdout)["type"] == "transaction"
