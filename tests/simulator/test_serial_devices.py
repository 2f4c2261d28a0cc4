"""`stafet-sim serial`: its command line, and bytes that are the documented ones."""

import ast
import re
from datetime import datetime
from pathlib import Path

import pytest

from simulator import cli
from simulator.people import person
from simulator.serial.frames import blow, clock_reply, playback, running, serial_reply, spot_check, study
from simulator.serial.options import DEVICES, FAULTS

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 4, 1, 12, 15, 30, 70_000)  # noqa: DTZ001  a device's clock


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["--device", "nonin-df8", "--fault", "lost-ack"], 2, "--fault lost-ack is not for a nonin-df8"),
        (["--device", "lung-monitor", "--fault", "disconnect-at-ack"], 2, "needs --link"),
        (["--device", "nonin-df8", "--stored", "1"], 2, "--stored is not for a nonin-df8"),
        (["--device", "nonin-df13", "--count", "1", "--stored", "2"], 2, "--stored is more than --count"),
        (["--device", "nonin-df8", "--link", "/nowhere/port"], 73, "/nowhere/port: No such file or directory"),
        (["--device", "nonin-df8", "--measured", "/nowhere/file"], 73, "/nowhere/file: No such file or directory"),
    ],
)
def test_what_cannot_be_played_is_said_in_one_line(
    arguments: list[str], status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serial", *arguments]) == status
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert line in said.err


def test_the_bytes_of_every_frame_are_laid_out_as_the_sources_say() -> None:
    who = person(1, 0, id_="p1")
    checked = spot_check(who, 0, AT, stored=True).data
    assert (len(checked), checked[:5].hex(), checked[5:15].hex()) == (21, "02000d000e", "20260401121530070210")
    assert checked[-2:] == bytes((sum(checked[5:19]) % 256, 3))
    first, *others = running(who, 3).data
    assert (first & 0x80, len(others), others[2]) == (0x80, 3, 0x20)
    blown = blow(who, 0, AT, 7).data
    assert (len(blown), blown[1:14], blown[41:53]) == (59, b"FTD0000000007", b"260401121530")
    assert serial_reply(1)[:4].hex() == "02f40b02"
    assert clock_reply(AT).hex() == "02f2061a04010c0f1e03"
    whole = playback([study(who, 0, AT, AT)], AT)
    assert whole[:6].hex() == "fefdfb040206"
    assert whole[-24:-23] + whole[-21:-20] == b"\xef\xee"
    assert whole[-18:] == bytes(18)
    body = whole[:-24]
    assert all((body[at] + body[at + 1]) % 256 == body[at + 2] for at in range(0, len(body), 3))


def test_the_devices_share_no_code_with_the_decoders() -> None:
    paths = sorted((ROOT / "simulator" / "serial").glob("*.py"))
    assert paths
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.split(".")[0] == "wire"], path.name


def test_the_documentation_lists_every_device_and_fault() -> None:
    section = (ROOT / "docs" / "simulator.md").read_text().partition("## Serial devices")[2].partition("\n## ")[0]
    words = set(re.findall("`([a-z0-9-]+)`", section))
    assert set(DEVICES) <= words
    for name in FAULTS:
        head, _, step = name.rpartition("-at-")
        assert name in words or (f"{head}-at-" in words and step in words), name
