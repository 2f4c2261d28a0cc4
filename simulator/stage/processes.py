"""Programs of the stage: each a process group of its own that never outlives us, logs to a file, and can be killed.

Starting means waiting, with an end, until a real condition holds (it answers, it said READY=1). A start that fails says
which program it was and what it printed last.
"""

import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
POLL_S = 0.02
STOP_TIMEOUT_S = 5.0
TAIL_LINES = 15

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class StageError(Exception):
    """The stage cannot be set; the text names the part and, where it ran, what it printed last."""


class MissingPartError(StageError):
    """A program that is needed is not on this machine; the text is one line and says what to install."""


class Process:
    """One program. `start` waits until it is ready; `kill` is SIGKILL; `stop` asks first.

    `ready` is polled while the process lives; without it, a process that could be started counts as ready.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        ready: Callable[[], bool] = lambda: True,
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        self.starts = 0
        self._ready = ready
        self._environment = dict(environment or {})
        self._timeout_s = timeout_s
        self._popen: subprocess.Popen[bytes] | None = None
        self._deadline = 0.0

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int:
        if self._popen is None:
            raise StageError(f"{self.name} was not started")
        return self._popen.pid

    @property
    def status(self) -> int | None:
        """The exit status, once it ended."""
        return self._popen.poll() if self._popen else None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it without waiting."""
        if self.running:
            raise StageError(f"{self.name} is running already")
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | self._environment,
                cwd=self.log.parent,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one prctl call, which takes no lock
            )
        self.starts += 1
        self._deadline = time.monotonic() + self._timeout_s

    def wait_ready(self) -> None:
        """Wait until it is ready; StageError if it ends before, or is not ready in time."""
        while True:
            if not self.running:
                raise StageError(self._report(f"ended with status {self.status} while starting"))
            if self._ready():
                return
            if time.monotonic() > self._deadline:
                raise StageError(self._report(f"was not ready after {self._timeout_s:g} s"))
            time.sleep(POLL_S)

    def check(self) -> None:
        """StageError if it has ended."""
        if not self.running:
            raise StageError(self._report(f"ended with status {self.status}"))

    def wait(self, timeout_s: float) -> int:
        """Wait for it to end by itself; its exit status."""
        if self._popen is None:
            raise StageError(f"{self.name} was not started")
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise StageError(self._report(f"did not end in {timeout_s:g} s")) from error

    def kill(self) -> None:
        """SIGKILL to it and whatever it started: what a power cut is to a program."""
        if self._popen is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()

    def ask_to_end(self) -> None:
        """SIGTERM, without waiting."""
        if self.running:
            self._popen.terminate()  # type: ignore[union-attr]  # `running` means it is not None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not heard in time."""
        self.ask_to_end()
        if self._popen is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(STOP_TIMEOUT_S)
            self.kill()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def tail(self) -> str:
        """The last lines it printed."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:])

    def _report(self, what: str) -> str:
        return f"{self.name} {what}; the end of {self.log}:\n{self.tail() or '(nothing)'}"


def _die_with_parent() -> None:
    """In the child: SIGKILL when the thread that started us ends, however it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run(command: Sequence[str | Path], *, timeout_s: float = 30.0, environment: Mapping[str, str] | None = None) -> str:
    """Run a command that ends by itself; its standard output. StageError with its standard error if it fails."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=os.environ | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StageError(f"{' '.join(map(str, command))} took more than {timeout_s:g} s") from error
    if done.returncode:
        raise StageError(f"{' '.join(map(str, command))} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def program(name: str, remedy: str) -> Path:
    """Where a program is: beside our Python first, then on the PATH and where Debian puts servers."""
    beside = Path(sys.executable).with_name(name)
    if beside.exists():
        return beside
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))
    if found is None:
        raise MissingPartError(f"{name} is not here: {remedy}")
    return Path(found)


def steady_port() -> int:
    """A free TCP port on 127.0.0.1, below the range of source ports.

    A server that is killed keeps its port this way: no connection of anybody is given it as its source meanwhile.
    """
    lowest_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    draw = random.SystemRandom()
    while True:
        port = draw.randrange(10_240, max(lowest_ephemeral, 10_241))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port


def listening(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((LOOPBACK, port)) == 0


class Notified:
    """The receiving end of sd_notify(3): whether a service has said READY=1 since it was last started."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))

    @property
    def environment(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.path)}

    def ready(self) -> bool:
        """Take what has arrived; True if READY=1 was in it."""
        said = False
        with contextlib.suppress(BlockingIOError):
            while True:
                said |= b"READY=1" in self._socket.recv(4096).splitlines()
        return said

    def close(self) -> None:
        self._socket.close()
