"""bridge.toml: every fault at once, each with its place."""

from pathlib import Path
from typing import Any

import pytest

from bridge.config import ConfigError, check, is_loopback, load

GOOD = """
[bridge]
key = "keys/bridge-key.pem"
ledger = "/var/lib/stafet/bridge.db"
timezone = "Europe/Copenhagen"
[mqtt]
host = "broker.example.org"
client_id = "bridge-7"
group = "north"
[mqtt.tls]
ca = "ca.pem"
certificate = "bridge.pem"
key = "bridge-tls-key.pem"
[fhir]
base_url = "https://fhir.example.org/fhir"
timeout_s = 2.5
"""
LEAST = {"bridge": {"timezone": "Europe/Copenhagen"}, "fhir": {"base_url": "http://127.0.0.1:8090/fhir"}}


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "bridge.toml").write_text(GOOD)
    config = load(tmp_path / "bridge.toml")
    assert config.key == tmp_path / "keys/bridge-key.pem"
    assert config.ledger == Path("/var/lib/stafet/bridge.db")
    assert config.identifier_key == tmp_path / "identifier.key"
    assert config.timezone.key == "Europe/Copenhagen"
    assert config.mqtt.tls is not None
    assert config.mqtt.tls.ca == tmp_path / "ca.pem"
    assert (config.mqtt.port, config.mqtt.group, config.mqtt.session_expiry_s) == (8883, "north", 0)
    assert (config.fhir.timeout_s, config.fhir.ca) == (2.5, None)


def test_the_least_that_must_be_said_is_the_time_zone_and_the_fhir_server() -> None:
    config = check(LEAST, Path("/etc/stafet"))
    assert (config.mqtt.host, config.mqtt.port, config.mqtt.client_id) == ("127.0.0.1", 1883, "bridge-1")


def test_every_fault_is_told_at_once() -> None:
    document = {
        "bridge": {"key": 7, "leger": "x", "timezone": "Europe/Kopenhagen"},
        "mqtt": {"host": "broker.example.org", "port": 70_000, "group": "a/b", "session_expiry_s": True},
        "fhir": {"base_url": "http://fhir.example.org/fhir", "timeout_s": "30"},
        "ble": {},
    }
    with pytest.raises(ConfigError) as wrong:
        check(document, Path())
    assert [fault.path for fault in wrong.value.faults] == [
        "ble",
        "bridge.key",
        "bridge.leger",
        "bridge.timezone",
        "fhir.base_url",
        "fhir.timeout_s",
        "mqtt.group",
        "mqtt.port",
        "mqtt.session_expiry_s",
        "mqtt.tls",
    ]


@pytest.mark.parametrize(
    ("section", "key", "value", "path"),
    [
        ("mqtt", "host", "192.0.2.1", "mqtt.tls"),
        ("mqtt", "host", "", "mqtt.host"),
        ("mqtt", "port", 0, "mqtt.port"),
        ("mqtt", "port", True, "mqtt.port"),
        ("mqtt", "tls", "yes", "mqtt.tls"),
        ("mqtt", "tls", {"ca": "ca.pem"}, "mqtt.tls.certificate"),
        ("mqtt", "tls", {"ca": "c", "certificate": "c", "key": "k", "password": "p"}, "mqtt.tls.password"),
        ("fhir", "base_url", "ftp://fhir.example.org", "fhir.base_url"),
        ("fhir", "base_url", "http://user:secret@127.0.0.1/fhir", "fhir.base_url"),
        ("fhir", "base_url", "https://fhir.example.org/fhir?x=1", "fhir.base_url"),
        ("fhir", "timeout_s", 0, "fhir.timeout_s"),
        ("fhir", "timeout_s", False, "fhir.timeout_s"),
        ("fhir", "timeout_s", float("nan"), "fhir.timeout_s"),
        ("bridge", "timezone", "/etc/localtime", "bridge.timezone"),
        ("bridge", "timezone", "../../etc/passwd", "bridge.timezone"),
        ("bridge", "timezone", None, "bridge.timezone"),
    ],
)
def test_a_wrong_value_is_named(section: str, key: str, value: object, path: str) -> None:
    document: dict[str, Any] = {**LEAST, section: {**LEAST.get(section, {}), key: value}}
    with pytest.raises(ConfigError) as wrong:
        check(document, Path())
    assert path in [fault.path for fault in wrong.value.faults]


@pytest.mark.parametrize("missing", ["bridge", "fhir"])
def test_a_missing_section_is_its_missing_keys(missing: str) -> None:
    with pytest.raises(ConfigError, match=f"{missing}\\.(timezone|base_url): is missing"):
        check({name: section for name, section in LEAST.items() if name != missing}, Path())


@pytest.mark.parametrize("content", [b"[bridge", b"\xff", None], ids=["no TOML", "no UTF-8", "no file"])
def test_a_file_that_cannot_be_read_is_one_fault(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bridge.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as wrong:
        load(path)
    assert [fault.path for fault in wrong.value.faults] == [str(path)]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - it is refused
        ("10.0.0.1", False),
        ("localhost.example.org", False),
    ],
)
def test_loopback_is_what_does_not_leave_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
