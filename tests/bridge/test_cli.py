"""`stafet-bridge` as operators meet it: what it prints, where, and with which exit status."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge import admin, cli
from bridge.config import load
from bridge.database import Database
from bridge.ledger import Ledger
from simulator.stage.processes import steady_port
from tests.bridge.fake_fhir import FakeFhir
from tests.bridge.hub import Hub, undecodable
from tests.bridge.rig import bridge

CONFIG = """\
[bridge]
timezone = "Europe/Copenhagen"
[fhir]
base_url = "http://127.0.0.1:{port}/fhir"
timeout_s = 1
"""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "bridge.toml"
    path.write_text(CONFIG.format(port=steady_port()))
    return path


@pytest.fixture
def call(config: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command; its status, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main([*arguments, "--config", str(config)])
        return status, *capsys.readouterr()

    return run


def hub_file(directory: Path, hub: Hub) -> str:
    path = directory / f"{hub.name}.pem"
    path.write_bytes(hub.public_pem)
    return str(path)


def test_help_teaches_every_command_and_every_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["run"], ["hub", "add"], ["assign"], ["quarantine", "redrive"], ["translate"]):
        with pytest.raises(SystemExit) as ended:
            cli.main([*command, "--help"])
        assert ended.value.code == 0
        assert len(capsys.readouterr().out) > 200
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    for word in ("run", "check-config", "identity", "status", "hub", "assign", "quarantine", "translate", "78 config"):
        assert word in text


def test_a_command_that_does_not_exist_is_a_usage_error() -> None:
    for wrong in (["fly"], [], ["hub"], ["hub", "add"], ["assign", "--hub", "UPPER", "--patient", "Patient/a"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(wrong)
        assert ended.value.code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--patient", "Device/a"],
        ["--patient", "170588-1234"],
        ["--patient", "Patient/a", "--device", "AA:BB"],
        ["--patient", "Patient/a", "--device", "AA:BB:CC:DD:EE:FF", "--user", "255"],
        ["--patient", "Patient/a", "--from", "2026-11-21T08:00:00"],
        ["--patient", "Patient/a", "--until", "soon"],
    ],
)
def test_a_value_that_cannot_be_is_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["assign", "--hub", "hub-0001", *arguments])
    assert ended.value.code == 2


def test_identity_makes_the_keys_and_prints_the_public_one(call: Call, tmp_path: Path) -> None:
    status, pem, _ = call("identity")
    assert status == 0
    assert pem.startswith("-----BEGIN PUBLIC KEY-----\n")
    status, printed, _ = call("identity", "--json")
    assert json.loads(printed)["public_key"] == pem
    assert len(json.loads(printed)["kid"]) == 64
    (tmp_path / "identifier.key").chmod(0o644)
    status, printed, error = call("identity")
    assert (status, printed) == (73, "")
    assert "chmod 600" in error


def test_check_config_lists_all_faults_at_once(call: Call, config: Path) -> None:
    status, _, error = call("check-config")
    assert status == 78
    assert "stafet-bridge identity" in error
    call("identity")
    assert call("check-config")[:2] == (0, f"{config}: no faults\n")
    config.write_text('[mqtt]\nhost = "broker.example.org"\n[fhir]\nbase_url = 7\n')
    status, printed, error = call("check-config")
    assert (status, printed) == (78, "")
    assert [line.split(": ")[1] for line in error.splitlines()] == ["bridge.timezone", "fhir.base_url", "mqtt.tls"]
    status, printed, _ = call("check-config", "--json")
    assert [fault["path"] for fault in json.loads(printed)["faults"]] == [
        "bridge.timezone",
        "fhir.base_url",
        "mqtt.tls",
    ]


@pytest.mark.parametrize("command", [["run"], ["status"], ["hub", "list"], ["identity"], ["quarantine", "list"]])
def test_every_command_refuses_a_faulty_configuration(call: Call, config: Path, command: list[str]) -> None:
    config.write_text("[bridge\n")
    status, printed, error = call(*command)
    assert (status, printed) == (78, "")
    assert len(error.splitlines()) == 1


def test_run_without_keys_says_how_to_make_them(call: Call) -> None:
    status, _, error = call("run")
    assert status == 78
    assert "stafet-bridge identity" in error


def test_commands_on_a_ledger_that_is_not_there_make_none(call: Call, tmp_path: Path) -> None:
    for command in (["status"], ["hub", "list"], ["quarantine", "list"], ["hub", "revoke", "--id", "hub-0001"]):
        status, printed, error = call(*command)
        assert (status, printed, len(error.splitlines())) == (74, "", 1)
    assert not (tmp_path / "bridge.db").exists()


def test_hubs_are_added_listed_assigned_and_revoked(call: Call, tmp_path: Path) -> None:
    hub = Hub()
    key = hub_file(tmp_path, hub)
    status, printed, _ = call("hub", "add", "--id", hub.name, "--key", key, "--patient", "Patient/abc")
    assert (status, printed) == (0, f"hub-0001 added, key {hub.kid.hex()}\n")
    assert "was there just so" in call("hub", "add", "--id", hub.name, "--key", key, "--patient", "Patient/abc")[1]
    device = ["--device", "AA:BB:CC:DD:EE:01"]
    assert call("assign", "--hub", hub.name, *device, "--user", "2", "--patient", "Patient/x")[:2] == (0, "assigned\n")
    begin = ["--from", "2026-11-21T08:00:00+01:00", "--until", "2026-12-21T08:00:00+01:00"]
    assert call("assign", "--hub", hub.name, *device, "--patient", "Patient/y", *begin)[0] == 0
    (listed,) = json.loads(call("hub", "list", "--json")[1])
    assert (listed["id"], listed["kids"], listed["revoked"]) == (hub.name, [hub.kid.hex()], False)
    assert [(each["device"], each["user"], each["patient"]) for each in listed["assignments"]] == [
        (None, None, "Patient/abc"),
        ("AA:BB:CC:DD:EE:01", 2, "Patient/x"),
        ("AA:BB:CC:DD:EE:01", None, "Patient/y"),
    ]
    assert listed["assignments"][2]["from"] == "2026-11-21T07:00:00+00:00"
    assert "user 2 -> Patient/x  always - now" in call("hub", "list")[1]
    assert call("hub", "revoke", "--id", hub.name)[:2] == (0, "hub-0001: 1 key(s) revoked\n")
    assert "revoked" in call("hub", "list")[1]


def test_what_the_registry_refuses_is_one_line_with_the_next_step(call: Call, tmp_path: Path) -> None:
    hub, other = Hub(), Hub()
    call("hub", "add", "--id", hub.name, "--key", hub_file(tmp_path, hub))
    status, printed, error = call("hub", "add", "--id", hub.name, "--key", hub_file(tmp_path, other))
    assert (status, printed, len(error.splitlines())) == (73, "", 1)
    assert "hub revoke" in error
    status, _, error = call("hub", "revoke", "--id", "hub-0009")
    assert status == 73
    assert "hub list" in error
    (tmp_path / "noise.pem").write_bytes(b"noise")
    assert call("hub", "add", "--id", "hub-0002", "--key", str(tmp_path / "noise.pem"))[0] == 65
    assert call("hub", "add", "--id", "hub-0002", "--key", str(tmp_path / "nowhere.pem"))[0] == 74
    assert call("assign", "--hub", hub.name, "--user", "1", "--patient", "Patient/a")[0] == 2


async def test_status_and_quarantine_show_what_happened(call: Call, tmp_path: Path) -> None:
    hub = Hub()
    call("hub", "add", "--id", hub.name, "--key", hub_file(tmp_path, hub), "--patient", "Patient/abc")
    hub.weigh(1)
    hub.take(undecodable(1))
    async with bridge(tmp_path, FakeFhir()) as rig:
        await rig.relayed(hub.batch())
        await rig.relayed(hub.batch())
        await rig.relayed(b"noise")
    found = json.loads(call("status", "--json")[1])
    expected = {"running": False, "readings_written": 1, "readings_quarantined": 1, "readings_pending": 0}
    assert {key: found[key] for key in expected} == expected
    assert found["quarantine"] == {"malformed": 1, "replayed": 1, "undecodable": 1}
    text = call("status")[1]
    assert "malformed 1, replayed 1, undecodable 1" in text
    assert "oldest pending s       -" in text
    status, printed, _ = call("quarantine", "list")
    assert status == 0
    assert [line.split()[4].rstrip(":") for line in printed.splitlines()][-1] == "undecodable"
    items = {item["reason"]: item for item in json.loads(call("quarantine", "list", "--json")[1])}
    assert call("quarantine", "list", "--reason", "malformed")[1].count("\n") == 1
    assert "6e6f697365" in call("quarantine", "show", str(items["malformed"]["id"]))[1]
    shown = json.loads(call("quarantine", "show", str(items["undecodable"]["id"]), "--json")[1])
    assert (shown["value"], shown["seq"]) == ("00", 2)
    status, _, error = call("quarantine", "show", "999")
    assert (status, "quarantine list" in error) == (65, True)


async def test_a_redrive_says_what_it_did_and_when_the_server_is_not_there(call: Call, tmp_path: Path) -> None:
    hub = Hub()
    call("identity")
    call("hub", "add", "--id", hub.name, "--key", hub_file(tmp_path, hub))
    hub.weigh(2)
    async with bridge(tmp_path, FakeFhir()) as rig:
        await rig.relayed(hub.batch())
        await rig.relayed(b"noise")
    assert call("quarantine", "redrive")[0] == 2
    assert call("quarantine", "redrive", "1", "--all")[0] == 2
    items = {item["reason"]: item["id"] for item in json.loads(call("quarantine", "list", "--json")[1])}
    status, _, error = call("quarantine", "redrive", str(items["malformed"]))
    assert (status, "sends again by itself" in error) == (65, True)
    assert call("quarantine", "redrive", "999")[0] == 65
    config = load(tmp_path / "bridge.toml")
    identity = admin.identity(config)
    with admin.ledger(config) as ledger:
        readings = admin.redrivable(ledger, [], None)
        assert len(readings) == 2
        assert readings == sorted(readings)
        assert admin.redrivable(ledger, [], "undecodable") == []
    assert await admin.redrive(config, identity, readings, wait_s=5) == {"written": 0, "quarantined": 2}
    call("assign", "--hub", hub.name, "--patient", "Patient/abc")
    with pytest.raises(TimeoutError):
        await admin.redrive(config, identity, readings, wait_s=0.2)
    with Database.open(tmp_path / "bridge.db") as database:
        assert Ledger(database).summary().quarantined == 2


def test_a_fhir_server_that_is_not_there_makes_redrive_end_with_69_and_lose_nothing(call: Call, tmp_path: Path) -> None:
    hub = Hub()
    call("identity")
    call("hub", "add", "--id", hub.name, "--key", hub_file(tmp_path, hub))
    hub.weigh(1)

    async def quarantine_one() -> None:
        async with bridge(tmp_path, FakeFhir()) as rig:
            await rig.relayed(hub.batch())

    asyncio.run(quarantine_one())
    call("assign", "--hub", hub.name, "--patient", "Patient/abc")
    status, _, error = call("quarantine", "redrive", "--all", "--wait", "0.2")
    assert status == 69
    assert "nothing is lost" in error
    assert len(error.splitlines()) == 1


def test_the_program_starts_without_the_clients_that_a_command_does_not_need() -> None:
    code = "import sys; from bridge.cli import main; main(['hub', 'list', '--config', '/nowhere']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"httpx", "paho", "pydantic"} & set(done.stdout.split())
