"""stafet-hub decode 20601: a recorded session as measurements."""

import io
import json
from pathlib import Path

import pytest

from edge import cli
from edge.x73.recording import redacted
from tests.wire.x73 import peer
from tests.wire.x73.peer import TEN_PAST, fixed, octets, u16
from tests.wire.x73.support import AGENT_ID, SESSION, vector
from tests.wire.x73.support import apdus as decoded

MEASURED = f"""\
# the measured session: an independent agent and an independent manager
A>M {SESSION["aarq"].hex()}
M>A {SESSION["aare"].hex(" ")}   # accepted

M>A {SESSION["get"].hex()}
{SESSION["mds"].hex(" ", 2)}
  A>M {SESSION["report"].hex().upper()}
A>M {SESSION["rlrq"].hex()}
M>A {SESSION["rlre"].hex()}
"""
TEST_ASSOCIATION = MEASURED.replace("80000000000000000080000000081133", "80000000200000000080000000081133")


def decode(text: str, tmp_path: Path, *more: str) -> int:
    (tmp_path / "session.txt").write_text(text)
    return cli.main(["decode", "20601", str(tmp_path / "session.txt"), *more])


def test_the_measured_session_as_json_and_as_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decode(MEASURED, tmp_path, "--json") == 0
    assert [(m["code"], m["value"], m["unit"], m["device_time"]) for m in json.loads(capsys.readouterr().out)] == [
        (150456, "96.5", "%", "2026-11-21T19:33:46.5"),
        (149530, "63.5", "/min", "2026-11-21T19:33:46.5"),
    ]
    assert decode(MEASURED, tmp_path) == 0
    assert "MDC_PULS_OXIM_SAT_O2     150456  96.5" in capsys.readouterr().out


def test_samples_are_shown_to_people_in_the_unit_beside_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scale of conqlima's ECG: 0 stands for -2 mV and 800 for 2 mV."""
    samples = octets(b"".join(u16(each) for each in (0, 400, 800, 626) * 5))
    ecg = [peer.association(0x4000), vector("conqlima/ecg_config").value, fixed([(1, samples + TEN_PAST)])]
    recording = "\n".join(raw.hex() for raw in ecg)
    assert decode(recording, tmp_path) == 0
    (line,) = [line.split() for line in capsys.readouterr().out.splitlines() if "samples" in line]
    assert line == ["samples", *(["-2", "0", "2", "1.13"] * 5), "mV"]
    assert decode(recording, tmp_path, "--json") == 0
    (measured,) = json.loads(capsys.readouterr().out)
    assert [int(each) for each in measured["samples"]["data"][:4]] == [0, 400, 800, 626], (
        "as sent, with origin and factor"
    )


@pytest.mark.parametrize(
    "edited",
    [
        "\xef\xbb\xbf" + MEASURED.replace("\n", "\r\n"),
        MEASURED.replace("A>M ", "a>m: ").replace("M>A ", "M>A"),
        MEASURED.replace(SESSION["mds"].hex(" ", 2), "0x" + SESSION["mds"].hex(":")),
        MEASURED.replace(SESSION["mds"].hex(" ", 2), "A>M " + ", ".join(f"0x{each:02X}" for each in SESSION["mds"])),
    ],
)
def test_a_recording_may_be_written_as_people_write_bytes(
    edited: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "session.txt").write_bytes(edited.encode("latin-1"))
    assert cli.main(["decode", "20601", str(tmp_path / "session.txt"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_a_recording_comes_from_stdin_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(MEASURED.encode())))
    assert cli.main(["decode", "20601", "-", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_a_test_association_never_looks_like_a_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert TEST_ASSOCIATION != MEASURED
    assert decode(TEST_ASSOCIATION, tmp_path, "--json") == 0
    assert [m["status"] for m in json.loads(capsys.readouterr().out)] == [["test-data"]] * 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# one\n\nA>M e2zz", "line 3: 'z' is not hexadecimal at byte 1"),
        ("e20", "line 1: half a byte at byte 1"),
        ("A>M\ne4000002 0000", "line 1: no APDU at byte 0; correct the line, or put # before it"),
        ("X>Y e4000002 0000", "line 1: 'X' is not hexadecimal at byte 0"),
        (SESSION["report"].hex(), "line 1: no configuration is known at byte 20; put the association before it"),
        (MEASURED + "A>M e7000036", "line 10: "),
        (MEASURED.replace("0001000AF3C5", "004D000AF3C5"), "line 7: observation 1, of object 77: "),
        ("\xe6", "line 1: "),
    ],
)
def test_a_fault_is_one_line_with_its_line_and_byte_and_nothing_is_printed(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decode(text, tmp_path, "--json") == 65
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert " at byte " in captured.err


def test_what_is_let_pass_is_one_line_with_its_place_and_without_a_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decode(MEASURED.replace("F3C520261121", "F3C520261321"), tmp_path, "--json") == 0
    captured = capsys.readouterr()
    first, second = json.loads(captured.out)
    assert (first["value"], first["clock_set"], "clock_set" in second) == ("96.5", False, False)
    (line,) = captured.err.splitlines()
    assert line.endswith("line 7: let pass: a time on no calendar (time-stamp) at byte 20")


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["decode", "20601", str(tmp_path / "none")]) == 69
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", list(SESSION))
def test_what_is_redacted_keeps_its_size_and_names_nobody(name: str) -> None:
    raw = redacted(SESSION[name])
    assert len(SESSION[name]) == len(raw)
    assert AGENT_ID not in raw
    assert bytes.fromhex("1122334455667788") not in raw
    assert len(decoded(raw)) == 1
