"""docs/hub.md says what the hub does."""

import ast
import re
from pathlib import Path

import pytest

from edge import cli, config
from edge.ble.flows import FLOWS, Flow
from edge.log import KEYS
from wire.serial import NAMES
from wire.services import SERVICES

ROOT = Path(__file__).parent.parent.parent
DOC = (ROOT / "docs" / "hub.md").read_text()
LOGGERS = {"event", "_event"}


def events() -> dict[str, set[str]]:
    """Every event that the hub's code can log, with its fields."""
    found: dict[str, set[str]] = {"library_warned": set()}
    for path in (ROOT / "edge").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in LOGGERS and node.args and isinstance(node.args[0], ast.Constant):
                fields = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
                found.setdefault(str(node.args[0].value), set()).update(fields)
    return found


def test_every_event_is_explained_and_every_explained_event_exists() -> None:
    table = DOC.partition("## Events")[2].partition("## systemd")[0]
    explained = {
        name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall("`([a-z_]+)`", row)
    }
    computed = {"connection_failed", "connection_lost"}  # edge.uplink chooses between them
    assert explained == events().keys() | computed


@pytest.mark.parametrize(("name", "fields"), sorted((name, tuple(sorted(f))) for name, f in events().items()))
def test_every_field_of_every_event_is_on_the_list(name: str, fields: tuple[str, ...]) -> None:
    assert set(fields) <= KEYS, name


def test_the_table_of_flows_is_what_the_hub_does() -> None:
    rows = re.findall(r"^\| (\w{4}) [^|]+\|([^|]*)\|([^|]*)\|([^|]*)\|$", DOC, re.MULTILINE)

    def numbers(cell: str) -> set[int]:
        return {int(number, 16) for number in re.findall(r"\b2[0-9A-F]{3}\b", cell)}

    def asked(flow: Flow) -> set[int]:
        return {value for records in flow.records for value in records.values}

    told = {int(service, 16): tuple(map(numbers, cells)) for service, *cells in rows}
    assert told == {
        service: (
            {*flow.live, *(point for point, _ in flow.begin)},
            asked(flow),
            set(SERVICES[service].context),
        )
        for service, flow in FLOWS.items()
    }


def test_the_example_of_hub_toml_is_right(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.+?)```", DOC, re.DOTALL)
    path = tmp_path / "hub.toml"
    path.write_text(example)
    settings = config.load(path)
    assert settings.ble == config.Ble(), "the example shows the defaults"
    assert settings.mqtt.port == 8883
    with pytest.raises(config.ConfigError) as caught:
        config.load(path, files=True)
    assert {fault.path for fault in caught.value.faults} == {
        "hub.key",
        "bridge.public_key",
        "mqtt.tls.ca",
        "mqtt.tls.certificate",
        "mqtt.tls.key",
    }


def test_the_examples_of_decode_work_and_every_serial_format_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    section = DOC.partition("## `decode`")[2].partition("\n## ")[0]
    examples = re.findall(r"^stafet-hub (.+)$", section, re.MULTILINE)
    assert len(examples) >= 4
    for example in examples:
        assert cli.main(example.split()) == 0, example
    assert capsys.readouterr().err == ""
    rows = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    assert {name for row in rows for name in re.findall("`([a-z0-9-]+)`", row)} == set(NAMES)
