"""hub.toml: every fault, all at once, with what is right."""

import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import trustme

from edge import config
from edge.config import Config, ConfigError, Fault, load
from edge.identity import establish
from tests.edge.home import HUB_TOML, furnish

GOOD = f"""\
{HUB_TOML}
[[device]]
address = "aa:BB:CC:DD:EE:01"
label = "oximeter"
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "hub.toml"
    path.write_text(text)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with everything that GOOD names."""
    establish(tmp_path / "hub-key.pem")
    furnish(tmp_path)
    return tmp_path


def faults_of(path: Path, *, files: bool = False) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path, files=files)
    return caught.value.faults


def test_a_good_file_gives_complete_paths_and_every_default(home: Path) -> None:
    settings = load(write(home, GOOD), files=True)
    assert settings.hub == config.Hub(id="hub-0001", key=home / "hub-key.pem", store=home / "outbox.db")
    assert settings.bridge.public_key == home / "bridge-public.pem"
    assert (settings.mqtt.host, settings.mqtt.port, settings.mqtt.tls) == ("127.0.0.1", 1883, None)
    assert settings.ble == config.Ble(adapter="hci0", idle_timeout_s=30.0, connections=4)
    assert settings.device == (config.Device(address=bytes.fromhex("AABBCCDDEE01"), label="oximeter"),)


@pytest.mark.parametrize(
    ("adapter", "fits"), [("hci12", True), ("00:1a:7D:DA:71:13", True), ("usb0", False), ("00:1A", False)]
)
def test_an_adapter_is_named_as_bluez_names_it_or_by_its_address(home: Path, adapter: str, fits: bool) -> None:
    path = write(home, f'{GOOD}\n[ble]\nadapter = "{adapter}"\ntime_service = true\n')
    if fits:
        assert (load(path).ble.adapter, load(path).ble.time_service) == (adapter, True)
    else:
        assert [fault.path for fault in faults_of(path)] == ["ble.adapter"]


def test_paths_are_relative_to_the_file_and_not_to_where_the_hub_starts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, GOOD)
    monkeypatch.chdir(home)
    assert load(Path("hub.toml")).hub.store == home / "outbox.db"


def test_all_faults_are_told_at_once_with_place_what_and_right(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
[hub]
id = "Hub 1"
stoer = "outbox.db"
key = "missing.pem"
[bridge]
public_key = 7
[mqtt]
host = "broker.example.org"
port = "1883"
[ble]
idle_timout_s = 30
[[device]]
address = "AA:BB:CC:DD:EE"
[[device]]
address = "AA:BB:CC:DD:EE:01"
[[device]]
address = "aa:bb:cc:dd:ee:01"
label = ""
""",
    )
    told = "\n".join(map(str, faults_of(path, files=True)))
    assert (
        told
        == f"""\
hub.stoer: unknown key; did you mean "store"?
hub.id: "Hub 1" does not fit; write 1 to 36 of a-z, 0-9 and -, as in "hub-0001"
hub.store: missing; name the file of the outbox, as in "outbox.db"
bridge.public_key: 7 does not fit; name the file of the bridge's public key, as in "bridge-public.pem"
mqtt.port: "1883" does not fit; write a number from 1 to 65535, without quotes
ble.idle_timout_s: unknown key; did you mean "idle_timeout_s"?
device[1].address: "AA:BB:CC:DD:EE" is no Bluetooth address; write six bytes, as in "AA:BB:CC:DD:EE:01"
device[3].label: "" does not fit; write 1 to 64 characters
mqtt.tls: missing, and "broker.example.org" is another machine; write [mqtt.tls] with ca, certificate, key; only loopback may be without
device[3].address: is device[2]'s too; list each device once
hub.key: {tmp_path}/missing.pem is not there; run stafet-hub identity --config {path}"""
    )


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("Europe/Copenhagen", None),
        ("UTC", None),
        ("Europe/Kopenhagen", "is not known here"),
        ("Europe", "is not known here"),
        ("../../../etc/passwd", "is no time zone"),
        ("/etc/passwd", "is no time zone"),
    ],
)
def test_a_time_zone_is_one_that_the_system_knows_because_it_would_take_any_other_for_utc(
    home: Path, name: str, fault: str | None
) -> None:
    path = write(home, GOOD.replace("[hub]\n", f'[hub]\ntimezone = "{name}"\n'))
    if fault is None:
        assert load(path).hub.timezone == name
    else:
        assert fault in str(faults_of(path)[0])


def test_a_port_that_is_listed_twice_is_a_fault_and_one_that_is_no_text_is_only_that(tmp_path: Path) -> None:
    line = '[[serial]]\nport = {}\nformat = "nonin-df13"\naddress = "02:00:00:00:00:01"\n'
    twice = faults_of(write(tmp_path, GOOD + line.format('"/dev/rfcomm0"') * 2))
    assert list(map(str, twice)) == ["serial[2].port: is serial[1]'s too; list each port once"]
    wrong = faults_of(write(tmp_path, GOOD + line.format('["/dev/rfcomm0"]') * 2))
    assert [fault.path for fault in wrong] == ["serial[1].port", "serial[2].port"]


def keys(kind: type, path: str = "") -> list[tuple[str, Any]]:
    """Every key of the table and the tables in it, with its hint."""
    found: list[tuple[str, Any]] = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        place = f"{path}.{name}" if path else name
        if hasattr(hint, "__metadata__") and not isinstance(hint.__metadata__[0], type):
            found.append((place, hint))
        elif hasattr(hint, "__metadata__"):
            found += keys(hint.__metadata__[0], f"{place}[1]")
        else:
            found += keys(config._kind(hint), place)
    return found


WRONG: list[object] = [None, True, -1, 1.5e9, "", "\0", [], {}, "x" * 300]


@pytest.mark.parametrize(("place", "hint"), keys(Config))
def test_every_key_has_a_check_that_says_what_is_right(place: str, hint: Any, tmp_path: Path) -> None:
    check = hint.__metadata__[0]
    refused = [wrong for value in WRONG if (wrong := verdict(check, value, tmp_path)) is not None]
    assert len(refused) >= len(WRONG) - 2
    assert all(wrong.what and re.match("(write|name) ", wrong.right) for wrong in refused)


def verdict(check: config.Check, value: object, directory: Path) -> config._Wrong | None:
    try:
        check(value, directory)
    except config._Wrong as wrong:
        return wrong
    return None


@pytest.mark.parametrize("line", [line for line in GOOD.splitlines() if " = " in line and "label" not in line])
def test_every_required_key_is_missed(line: str, tmp_path: Path) -> None:
    (fault,) = faults_of(write(tmp_path, GOOD.replace(line, "")))
    assert fault.path.endswith(line.partition(" = ")[0])
    assert fault.what == "missing"


@pytest.mark.parametrize("table", ["hub", "bridge", "mqtt"])
def test_every_required_table_is_missed(table: str, tmp_path: Path) -> None:
    text = re.sub(rf"\[{table}\]\n([^\[\n].*\n)+", "", GOOD)
    (fault,) = faults_of(write(tmp_path, text))
    assert (fault.path, fault.what) == (table, "missing")
    assert fault.right.startswith(f"write [{table}] with ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[hub\n", "is not TOML"),
        ("hub = 3\n" + GOOD.replace("[hub]", "[other]"), "3 is no table"),
        (GOOD.replace("[[device]]", "[device]"), "is no array of tables"),
        ("device = [1]\n" + GOOD.split("[[device]]", maxsplit=1)[0], "1 is no table"),
        (GOOD + '[[device]]\naddress = "AA:BB:CC:DD:EE:02"\n' * 64, "is listed 65 times"),
        (GOOD + "[teapot]\n", "unknown key"),
    ],
)
def test_a_wrong_shape_is_a_fault(tmp_path: Path, text: str, expected: str) -> None:
    assert any(expected in fault.what for fault in faults_of(write(tmp_path, text)))


def test_a_file_that_is_not_there_or_not_text_is_a_fault(tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path / "hub.toml")
    assert fault.what == "is not there"
    (tmp_path / "hub.toml").write_bytes(b"\xff\xfe")
    (fault,) = faults_of(tmp_path / "hub.toml")
    assert fault.what == "is not UTF-8 at byte 0"
    (fault,) = faults_of(tmp_path)
    assert fault.what.startswith("cannot be read")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_may_do_without_tls(tmp_path: Path, host: str) -> None:
    assert load(write(tmp_path, GOOD.replace("127.0.0.1", host))).mqtt.host == host


@pytest.mark.parametrize("host", ["192.168.1.2", "127.evil.example", "localhost.example", "0.0.0.0"])  # noqa: S104  not bound to
def test_another_machine_may_not(tmp_path: Path, host: str) -> None:
    (fault,) = faults_of(write(tmp_path, GOOD.replace("127.0.0.1", host)))
    assert fault.path == "mqtt.tls"


# The files that it names


@pytest.mark.parametrize(
    "way",
    [
        '[agents]\ntcp = "127.0.0.1:6024"',
        '[[serial]]\nport = "/dev/x"\nformat = "20601"\naddress = "02:00:00:00:00:01"',
    ],
)
def test_a_way_for_20601_agents_without_an_agent_is_a_fault(tmp_path: Path, way: str) -> None:
    assert [fault.path for fault in faults_of(write(tmp_path, f"{GOOD}{way}\n"))] == ["agent"]
    load(write(tmp_path, f'{GOOD}{way}\n[[agent]]\nsystem_id = "00:09:1F:FE:FF:80:12:34"\n'))


def test_a_key_that_others_can_read_is_a_fault(home: Path) -> None:
    (home / "hub-key.pem").chmod(0o640)
    (fault,) = faults_of(write(home, GOOD), files=True)
    assert (fault.path, fault.right) == ("hub.key", f"chmod 600 {home}/hub-key.pem")
    assert "mode 0640" in fault.what


@pytest.mark.parametrize(("name", "place"), [("hub-key.pem", "hub.key"), ("bridge-public.pem", "bridge.public_key")])
@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_key_file_with_something_else_in_it_is_a_fault(home: Path, name: str, place: str, content: bytes) -> None:
    (home / name).write_bytes(content)
    (fault,) = faults_of(write(home, GOOD), files=True)
    assert fault.path == place
    assert "not a" in fault.what


def test_the_private_key_of_the_bridge_is_not_taken_for_its_public_key(home: Path) -> None:
    (home / "bridge-public.pem").write_bytes((home / "bridge-key.pem").read_bytes())
    (fault,) = faults_of(write(home, GOOD), files=True)
    assert fault.path == "bridge.public_key"


@pytest.mark.parametrize(("store", "expected"), [("no/such/outbox.db", "is not there"), (".", "is no file")])
def test_a_store_that_cannot_be_is_a_fault(home: Path, store: str, expected: str) -> None:
    (fault,) = faults_of(write(home, GOOD.replace("outbox.db", store)), files=True)
    assert fault.path == "hub.store"
    assert expected in fault.what


def with_tls(home: Path) -> Path:
    ca = trustme.CA()
    for name in ("hub", "other"):
        issued = ca.issue_cert("hub-0001", key_type=trustme.KeyType.ECDSA)
        issued.private_key_pem.write_to_path(str(home / f"{name}-tls-key.pem"))
        (home / f"{name}-tls-key.pem").chmod(0o600)
        issued.cert_chain_pems[0].write_to_path(str(home / f"{name}-tls.pem"))
    ca.cert_pem.write_to_path(str(home / "ca.pem"))
    tls = '[mqtt.tls]\nca = "ca.pem"\ncertificate = "hub-tls.pem"\nkey = "hub-tls-key.pem"\n'
    return write(home, GOOD.replace('host = "127.0.0.1"\n', f'host = "broker.example.org"\n{tls}'))


def test_with_tls_the_port_is_that_of_mqtt_over_tls(home: Path) -> None:
    mqtt = load(with_tls(home), files=True).mqtt
    assert mqtt.port == 8883
    assert mqtt.tls == config.Tls(ca=home / "ca.pem", certificate=home / "hub-tls.pem", key=home / "hub-tls-key.pem")


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("ca.pem", b"nonsense", "mqtt.tls.ca"),
        ("hub-tls.pem", b"nonsense", "mqtt.tls.certificate"),
        ("hub-tls-key.pem", b"nonsense", "mqtt.tls.certificate"),
        ("ca.pem", None, "mqtt.tls.ca"),
        ("hub-tls.pem", None, "mqtt.tls.certificate"),
        ("hub-tls-key.pem", None, "mqtt.tls.key"),
    ],
)
def test_a_wrong_or_missing_tls_file_is_a_fault(home: Path, name: str, content: bytes | None, place: str) -> None:
    path = with_tls(home)
    if content is None:
        (home / name).unlink()
    else:
        (home / name).write_bytes(content)
    (fault,) = faults_of(path, files=True)
    assert fault.path == place


def test_a_certificate_with_another_key_is_a_fault(home: Path) -> None:
    path = with_tls(home)
    (home / "other-tls-key.pem").replace(home / "hub-tls-key.pem")
    (fault,) = faults_of(path, files=True)
    assert "do not belong together" in fault.what


def test_settings_cannot_be_changed_afterwards(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD))
    with pytest.raises(AttributeError):
        settings.hub.id = "hub-0002"  # type: ignore[misc]  # that is the point
