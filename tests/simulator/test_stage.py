"""The stage's processes: started when they are ready, killed for real, and gone when their parent is."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simulator import cli, scenario
from simulator.stage import MissingPartError, Process, StageError
from simulator.stage.processes import LOOPBACK, Notified, listening, program, run, steady_port
from tests.support import eventually

ROOT = Path(__file__).parents[2]

SERVER = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
time.sleep(60)
"""


def server(tmp_path: Path, port: int) -> Process:
    command = [sys.executable, "-c", SERVER, str(port)]
    return Process("server", command, log=tmp_path / "server.log", ready=lambda: listening(port), timeout_s=10)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_started_process_is_ready(tmp_path: Path) -> None:
    process = server(tmp_path, steady_port())
    process.start()
    assert process.running
    process.stop()
    assert not process.running


def test_a_killed_process_is_gone_and_comes_back_on_its_port(tmp_path: Path) -> None:
    port = steady_port()
    process = server(tmp_path, port)
    process.start()
    process.kill()
    assert process.status == -signal.SIGKILL
    assert not listening(port)
    process.start()
    assert listening(port)
    assert process.starts == 2
    process.stop()


def test_a_start_that_fails_says_which_process_and_what_it_printed_last(tmp_path: Path) -> None:
    process = Process(
        "broker", [sys.executable, "-c", "print('port is taken'); raise SystemExit(3)"], log=tmp_path / "broker.log",
        ready=lambda: False,
    )  # fmt: skip
    with pytest.raises(StageError, match=r"broker ended with status 3 while starting(.|\n)*port is taken"):
        process.start()


def test_a_process_that_does_not_get_ready_is_a_fault_with_an_end(tmp_path: Path) -> None:
    process = Process(
        "broker", [sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "broker.log",
        ready=lambda: False, timeout_s=0.3,
    )  # fmt: skip
    with pytest.raises(StageError, match=r"broker was not ready after 0\.3 s"):
        process.start()
    process.kill()


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.stage.processes.STOP_TIMEOUT_S", 0.3)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    log = tmp_path / "deaf.log"
    process = Process("deaf", [sys.executable, "-c", deaf], log=log, ready=lambda: "deaf" in log.read_text())
    process.start()
    process.stop()
    assert process.status == -signal.SIGKILL


def test_nothing_survives_a_killed_parent(tmp_path: Path) -> None:
    parent = """
import sys, time
from pathlib import Path
from simulator.stage import Process
child = Process("child", [sys.executable, "-c", "import time; time.sleep(60)"], log=Path(sys.argv[1]))
child.start()
print(child.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent, str(tmp_path / "child.log")], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert alive(child)
        process.kill()
        process.wait()
    eventually(lambda: not alive(child), what="the child dies with its parent")


def test_a_program_that_is_not_there_is_one_line_with_the_remedy() -> None:
    with pytest.raises(MissingPartError, match=r"^no-such-thing is not here: install the Debian package x$"):
        program("no-such-thing", "install the Debian package x")


def test_a_command_that_fails_shows_what_it_said() -> None:
    with pytest.raises(StageError, match="ended with status 4: sorry"):
        run([sys.executable, "-c", "import sys; sys.stderr.write('sorry'); sys.exit(4)"])


def test_readiness_is_what_the_service_says(tmp_path: Path) -> None:
    import socket

    notified = Notified(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.connect(notified.environment["NOTIFY_SOCKET"])
        service.send(b"STATUS=starting")
        assert not notified.ready()
        service.send(b"READY=1\nSTATUS=up")
        assert notified.ready()
        assert not notified.ready(), "a restarted service must say it again"
    notified.close()


def test_a_steady_port_is_free_and_out_of_reach_of_outgoing_connections() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    port = steady_port()
    assert port < lowest
    assert not listening(port)
    assert LOOPBACK == "127.0.0.1"


def test_the_demonstration_without_dbus_says_which_package_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["demo"]) == 69
    printed = capfd.readouterr()
    assert printed.err == "stafet-sim: dbus-daemon is not here: install the Debian package dbus\n"
    assert printed.out == ""


def test_the_demonstration_writes_into_a_new_directory_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "something").touch()
    assert cli.main(["demo", "--directory", str(tmp_path)]) == 73
    assert capfd.readouterr().err == f"stafet-sim: {tmp_path} is not empty: name a new directory\n"


def test_the_scenario_in_the_documentation_can_be_played() -> None:
    loaded = scenario.load(ROOT / "docs" / "scenario.toml")
    assert [device.label for device in loaded.devices] == ["p1 oximeter", "bathroom scale", "p1 glucose-meter"]


def test_every_command_has_a_help_that_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["run"], ["demo"]):
        with pytest.raises(SystemExit) as ended:
            cli.main([*command, "--help"])
        assert ended.value.code == 0
        printed = capsys.readouterr().out
        assert "exit statuses:" in printed
        assert "stafet-sim" in printed
