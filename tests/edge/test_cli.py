"""stafet-hub on the command line."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import cli, command
from tests.edge.home import HUB_TOML, furnish
from tests.support import rounds
from tests.wire.vectors import Vector, load
from wire.cose import load_public_key_pem, thumbprint
from wire.gatt import MEASUREMENTS, STORED, decode
from wire.measurement_json import loads
from wire.serial import NAMES, SerialFormat
from wire.serial import decode as decode_serial

VECTORS = [vector for vector in load("gatt.json") if not vector.expected.get("invalid")]

FRAMES = [vector for vector in load("serial.json") if not vector.expected.get("invalid")]


class Outcome:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err


Hub: TypeAlias = Callable[..., Outcome]


@pytest.fixture
def hub(capsys: pytest.CaptureFixture[str]) -> Hub:
    """Run a command in this process."""

    def run(*arguments: object) -> Outcome:
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    furnish(tmp_path)
    return tmp_path


def assert_refused(outcome: Outcome, status: int, *said: str) -> None:
    assert outcome.status == status
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1, "one line"
    assert outcome.err.startswith("stafet-hub")
    for part in said:
        assert part in outcome.err


# decode


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.id)
def test_every_outside_vector_is_decoded_as_json_that_the_bridge_reads(vector: Vector, hub: Hub) -> None:
    outcome = hub("decode", "gatt", f"{vector.characteristic:04X}", vector.value.hex(), "--json")
    assert (outcome.status, outcome.err) == (0, "")
    assert loads(outcome.out) == decode(vector.characteristic, vector.value)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.id)
def test_every_outside_vector_is_shown_as_a_table(vector: Vector, hub: Hub) -> None:
    outcome = hub("decode", "gatt", f"{vector.characteristic:04X}", vector.value.hex())
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(f"{vector.characteristic:04X} ")
    assert len(outcome.out.splitlines()) >= 2


def test_the_table_shows_name_code_value_and_unit_in_the_precision_of_the_device(hub: Hub) -> None:
    outcome = hub("decode", "gatt", "2A35", "06 7a00 5000 5e00 e2 07 04 11 0f 33 00 48 00")
    assert [line.split() for line in outcome.out.splitlines()] == [
        ["2A35", "Blood", "Pressure", "Measurement,", "16", "bytes"],
        ["MDC_PRESS_BLD_NONINV", "150020"],
        ["MDC_PRESS_BLD_NONINV_SYS", "150021", "122", "mm[Hg]"],
        ["MDC_PRESS_BLD_NONINV_DIA", "150022", "80", "mm[Hg]"],
        ["MDC_PRESS_BLD_NONINV_MEAN", "150023", "94", "mm[Hg]"],
        ["device", "time", "2018-04-17T15:51:00"],
        ["MDC_PULS_RATE_NON_INV", "149546", "72", "/min"],
        ["device", "time", "2018-04-17T15:51:00"],
    ]
    assert hub("decode", "gatt", "2A1C", "00710e00fe").out.split()[-2:] == ["36.97", "Cel"]


def test_a_feature_value_is_described_and_is_no_measurement(hub: Hub) -> None:
    assert "time stamp" in hub("decode", "gatt", "2A60", "0800").out
    assert json.loads(hub("decode", "gatt", "2A60", "0800", "--json").out) == []


@pytest.mark.parametrize(
    "uuid",
    ["2A5E", "2a5e", "0x2A5E", "0x2a5e", "00002a5e-0000-1000-8000-00805f9b34fb", "00002A5E00001000800000805F9B34FB"],
)
@pytest.mark.parametrize(
    "value",
    [
        "0062004800",
        "00 62 00 48 00",
        "00:62:00:48:00",
        "0x0062004800",
        "0x00 0x62 0x00 0x48 0x00",
        "00-62-00-48-00",
        " 0062004800\n",
    ],
)
def test_uuid_and_bytes_are_taken_as_people_have_them(uuid: str, value: str, hub: Hub) -> None:
    (spo2, pulse) = loads(hub("decode", "gatt", uuid, value, "--json").out)
    assert (str(spo2.value), str(pulse.value)) == ("98", "72")


def test_a_device_with_ways_of_its_own_is_decoded_by_its_name(hub: Hub) -> None:
    recorded = "566a0047000000ea07080b121f00003f000000"  # tests/vectors/devices.json: derdilla/bm85_1
    assert hub("decode", "gatt", "2A35", recorded).status == 65
    pressure, pulse, *_ = loads(hub("decode", "gatt", "2A35", recorded, "--device", "BM85", "--json").out)
    assert [str(part.value) for part in (*pressure.components[:2], pulse)] == ["106", "71", "63"]


def test_octets_after_the_last_field_are_no_fault_and_make_the_values_questionable(hub: Hub) -> None:
    outcome = hub("decode", "gatt", "2A5E", "006200480000")
    assert (outcome.status, outcome.out.count("questionable")) == (0, 2)


def test_bytes_may_be_separate_arguments(hub: Hub) -> None:
    assert hub("decode", "gatt", "2A5E", "00", "62", "00", "48", "00").status == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("2A5E", "00620"), "half a byte at byte 2"),
        (("2A5E", "0062zz4800"), "'zz' is not hexadecimal at byte 2"),
        (("2A5E", "00 62 0 48 00"), "'0' is half a byte at byte 2"),
        (("2A5E", "\u0660\u0660"), "not hexadecimal at byte 0"),
        (("2A5E", "00620048"), "pulse rate needs 2 bytes, 1 left at byte 3"),
        (("2A5E",), "at byte 0"),
        (("2A5E", ""), "at byte 0"),
        (("2A5E", "00" * 513), "at byte 512"),
        (("2AFF", "00"), "no decoder for 2AFF, in UUID at byte 0"),
        (("46A970E0-0D5F-11E2-8B5E-0002A5D5C51B", "00"), "no decoder for 46a970e0-0d5f-11e2-8b5e-0002a5d5c51b"),
        (("2A5", "00"), "'2A5' is no UUID"),
        (("", "00"), "is no UUID"),
    ],
)
def test_malformed_input_is_refused_in_one_line_that_says_at_which_byte(
    arguments: tuple[str, ...], said: str, hub: Hub
) -> None:
    outcome = hub("decode", "gatt", *arguments)
    assert_refused(outcome, 65, said, "at byte ")
    assert hub("decode", "gatt", *arguments, "--json").err == outcome.err


@given(st.sampled_from(sorted(MEASUREMENTS | STORED)), st.binary(max_size=40) | st.text(max_size=40))
@settings(max_examples=rounds(150, 20_000), deadline=None)
def test_whatever_is_decoded_the_status_is_0_or_65(uuid: int, value: bytes | str) -> None:
    text = value.hex() if isinstance(value, bytes) else value
    if not text.startswith("-"):
        assert subprocess_free_main("decode", "gatt", f"{uuid:04X}", text) in {0, 65}


def test_a_stored_record_that_says_nothing_is_no_fault() -> None:
    assert subprocess_free_main("decode", "gatt", "2A34", "002a00") == 0
    assert subprocess_free_main("decode", "gatt", "2A34", "002a00", "--json") == 0


def subprocess_free_main(*arguments: str) -> int:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return cli.main(arguments)


# decode serial


def serial_format(vector: Vector) -> SerialFormat:
    return SerialFormat(vector.kind.removeprefix("serial:"))


@pytest.mark.parametrize("vector", FRAMES, ids=lambda vector: vector.id)
def test_every_outside_frame_is_decoded_as_json_that_the_bridge_reads_and_as_a_table(vector: Vector, hub: Hub) -> None:
    arguments = ("decode", "serial", "--format", serial_format(vector), vector.value.hex())
    outcome = hub(*arguments, "--json")
    assert (outcome.status, outcome.err) == (0, "")
    assert loads(outcome.out) == decode_serial(serial_format(vector), vector.value)
    table = hub(*arguments)
    assert (table.status, table.err) == (0, "")
    assert len(table.out.splitlines()) >= 2


def test_the_table_of_a_serial_frame_shows_the_measurements_and_what_else_it_says(hub: Hub) -> None:
    outcome = hub("decode", "serial", "--format", "nonin-df8", "80 39 62 21")
    assert [" ".join(line.split()) for line in outcome.out.splitlines()] == [
        "Nonin data format 8, 4 bytes",
        "MDC_PULS_OXIM_SAT_O2 150456 98 %",
        "status fully-qualified",
        "MDC_PULS_OXIM_PULS_RATE 149530 57 /min",
        "status fully-qualified",
        "SmartPoint yes",
        "artifact no",
        "marginal perfusion no",
        "low perfusion no",
        "out of track no",
        "sensor alarm no",
        "low battery yes",
    ]


def test_every_format_may_be_asked_for_and_the_lung_monitor_by_its_short_name(hub: Hub) -> None:
    assert {hub("decode", "serial", "--format", name, "00").status for name in NAMES} == {command.MALFORMED}
    (blow,) = (vector for vector in FRAMES if "fev1_l" in vector.expected)
    said = [
        hub("decode", "serial", "--format", name, blow.hex).out for name in ("vitalograph", "vitalograph-lung-monitor")
    ]
    assert said[0] == said[1]
    assert "3.63" in said[0]


@pytest.mark.parametrize(
    ("format_", "value", "said"),
    [
        ("nonin-df8", "803962", "3 bytes, expected 4 at byte 3"),
        ("nonin-df8", "8039622000", "1 bytes after the frame at byte 4"),
        ("nonin-df8", "00396220", "bit 7 clear at byte 0"),
        ("nonin-df8", "80396e20", "no saturation is 110 % at byte 2"),
        ("nonin-df8", "8039622", "half a byte at byte 3"),
        ("nonin-df8", "", "at byte 0"),
        ("nonin-df13", "02000d000e20071001000054000200004c00632d03", "checksum 45, expected 61 at byte 19"),
        ("nonin-reply", "02f40b02353031343633323030ca03", "checksum 202, expected 199 at byte 13"),
        ("vitalograph", "024654", "3 bytes, expected 59 at byte 3"),
    ],
)
def test_a_malformed_frame_is_refused_in_one_line_that_says_at_which_byte(
    format_: str, value: str, said: str, hub: Hub
) -> None:
    for more in ((), ("--json",)):
        assert_refused(hub("decode", "serial", "--format", format_, value, *more), 65, said)


@given(st.sampled_from(NAMES), st.binary(max_size=70) | st.text(max_size=40))
@settings(max_examples=rounds(100, 20_000), deadline=None)
def test_whatever_serial_frame_is_decoded_the_status_is_0_or_65(name: str, value: bytes | str) -> None:
    text = value.hex() if isinstance(value, bytes) else value
    if not text.startswith("-"):
        assert subprocess_free_main("decode", "serial", "--format", name, text) in {0, 65}


# check-config and identity


def test_a_new_hub_is_told_to_make_its_key_and_is_right_afterwards(home: Path, hub: Hub) -> None:
    config = home / "hub.toml"
    before = hub("check-config", "--config", config)
    assert before.status == 78
    assert before.out == f"hub.key: {home}/hub-key.pem is not there; run stafet-hub identity --config {config}\n"
    assert before.err.count("\n") == 1
    made = hub("identity", "--config", config)
    assert made.status == 0
    assert hub("check-config", "--config", config).out == f"{config}: ok\n"
    assert hub("check-config", "--config", config, "--json").out == '{\n  "ok": true,\n  "faults": []\n}\n'


def test_identity_prints_the_same_public_key_each_time(home: Path, hub: Hub) -> None:
    first = hub("identity", "--config", home / "hub.toml")
    assert first.out == hub("identity", "--config", home / "hub.toml").out
    document = json.loads(hub("identity", "--config", home / "hub.toml", "--json").out)
    assert document["public_key"] == first.out
    assert document["kid"] == thumbprint(load_public_key_pem(first.out.encode())).hex()
    assert document["hub"] == "hub-0001"


def test_identity_never_overwrites(home: Path, hub: Hub) -> None:
    (home / "hub-key.pem").write_text("something else")
    assert_refused(hub("identity", "--config", home / "hub.toml"), 78, "move it away")
    assert (home / "hub-key.pem").read_text() == "something else"


def test_identity_says_when_the_key_cannot_be_created(home: Path, hub: Hub) -> None:
    (home / "hub.toml").write_text(HUB_TOML.replace('"hub-key.pem"', '"missing/hub-key.pem"'))
    assert_refused(hub("identity", "--config", home / "hub.toml"), 73, "No such file or directory")


def test_all_faults_are_listed_one_a_line_and_as_json(home: Path, hub: Hub) -> None:
    (home / "hub.toml").write_text(HUB_TOML.replace("hub-0001", "Hub") + "port = 0\nhots = 1\n")
    outcome = hub("check-config", "--config", home / "hub.toml")
    assert [line.partition(":")[0] for line in outcome.out.splitlines()] == [
        "hub.id",
        "mqtt.hots",
        "mqtt.port",
        "hub.key",
    ]
    document = json.loads(hub("check-config", "--config", home / "hub.toml", "--json").out)
    assert document["ok"] is False
    assert [sorted(fault) for fault in document["faults"]] == [["path", "right", "what"]] * 4


@pytest.mark.parametrize("command", ["run", "status", "identity"])
def test_other_commands_name_the_first_fault_and_where_the_others_are_listed(
    command: str, home: Path, hub: Hub
) -> None:
    (home / "hub.toml").write_text(HUB_TOML.replace("hub-0001", "Hub") + "port = 0\n")
    assert_refused(hub(command, "--config", home / "hub.toml"), 78, "hub.id", "more: stafet-hub check-config --config")
    assert_refused(hub(command, "--config", home / "none.toml"), 78, "is not there; give the path with --config")


# status without a running hub


def test_status_of_a_hub_that_does_not_run_says_so_with_its_exit_status(home: Path, hub: Hub) -> None:
    outcome = hub("status", "--config", home / "hub.toml", "--lang", "da")
    assert outcome.status == 69
    assert outcome.out == "hub-0001: KØRER IKKE\n  alle målinger er leveret\n"
    document = json.loads(hub("status", "--config", home / "hub.toml", "--json").out)
    assert (document["running"], document["unsent"], document["oldest_unsent_s"]) == (False, 0, None)


# help and usage


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("run",),
        ("status",),
        ("check-config",),
        ("identity",),
        ("decode",),
        ("decode", "gatt"),
        ("decode", "serial"),
        ("decode", "20601"),
        ("listen",),
    ],
)
def test_help_teaches_and_lists_every_exit_status(arguments: tuple[str, ...], hub: Hub) -> None:
    outcome = hub(*arguments, "--help")
    assert outcome.status == 0
    for status in (0, 2, 65, 69, 73, 74, 77, 78):
        assert re.search(rf"^.*\b{status}   ?[a-z]", outcome.out, re.MULTILINE), status


@pytest.mark.parametrize("arguments", [("decode",), ("decode", "gatt"), ("decode", "serial")])
def test_the_examples_in_the_help_of_decode_work(arguments: tuple[str, ...], hub: Hub) -> None:
    import shlex

    text = hub(*arguments, "--help").out.replace("\\\n", "")
    examples = re.findall(r"^  stafet-hub (decode .+)$", text, re.MULTILINE)
    assert len(examples) >= 3
    for example in examples:
        assert hub(*shlex.split(example)).status == 0, example


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("teapot",),
        ("decode",),
        ("decode", "morse", "00"),
        ("decode", "serial", "2A5E"),
        ("decode", "serial", "--format", "nonin-df9", "00"),
        ("status", "--lang", "xx"),
        ("run", "--no"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(arguments: tuple[str, ...], hub: Hub) -> None:
    assert_refused(hub(*arguments), 2, "--help")


def test_the_version_is_that_of_the_distribution(hub: Hub) -> None:
    from importlib.metadata import version

    assert hub("--version").out == f"stafet-hub {version('stafet')}\n"


# what a command does not import


@pytest.mark.parametrize(
    ("arguments", "never"),
    [
        (
            ["decode", "gatt", "2A5E", "0062004800", "--json"],
            ["asyncio", "bleak", "paho", "sqlite3", "cryptography", "cbor2", "ssl", "logging", "wire.x73"],
        ),
        (
            ["decode", "serial", "--format", "nonin-df8", "80396220"],
            ["asyncio", "bleak", "paho", "sqlite3", "cryptography", "cbor2", "ssl", "logging", "wire.gatt"],
        ),
        (["decode", "20601", "none"], ["asyncio", "bleak", "paho", "sqlite3", "cryptography", "cbor2", "wire.gatt"]),
        (["listen", "20601", "--tcp", ":0"], ["bleak", "paho", "sqlite3", "cryptography", "wire.gatt"]),
        (["--help"], ["asyncio", "bleak", "paho", "sqlite3", "cryptography", "wire"]),
        (["check-config", "--config", "none.toml"], ["asyncio", "bleak", "paho", "sqlite3", "cryptography"]),
    ],
)
def test_a_command_imports_only_what_it_needs(arguments: list[str], never: list[str]) -> None:
    program = (
        "import sys; from edge.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        f"print(sorted(set(sys.modules) & set({never!r})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_hub_loads_neither_radio_nor_readings_nor_receipts_before_its_first_batch_has_left() -> None:
    program = "import sys, edge.hub; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "wire.sealing" in loaded
    assert loaded & {"bleak", "dbus_fast", "wire.evidence", "wire.reading", "wire.receipt", "wire.gatt"} == set()
