"""Two real MQTT brokers, each in a process of its own on 127.0.0.1, that tests may start, kill, freeze and restart.

mosquitto is what regions deploy; iotcore (rumqttd) is what the demo embeds. They differ where it matters to a client:
mosquitto announces Receive Maximum 20 and says "no matching subscribers", rumqttd does neither. Neither keeps
anything over a kill here, which is the worst a broker may do.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from simulator.stage.parts import IOTCORE_CONFIGURATION
from simulator.stage.processes import LOOPBACK, listening, steady_port
from tests.support import eventually, stop

MOSQUITTO_OPEN = """\
allow_anonymous true
"""


class BrokerProcess:
    """A broker on a fixed port. `log` holds what it printed, over all its lives."""

    def __init__(self, command: Sequence[str], *, port: int, log: Path) -> None:
        self.host = LOOPBACK
        self.port = port
        self.log = log
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        assert self._process is None, "the broker is running already"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        process = self._process
        eventually(
            lambda: listening(self.port) or process.poll() is not None,
            what=f"{self._command[0]} listens on {self.port}",
        )
        assert process.poll() is None, f"{self._command[0]} ended at once: {self.log.read_text()[-2000:]}"

    def kill(self) -> None:
        """SIGKILL: whatever it held in memory is gone, and its clients see their connections break."""
        if self._process is not None:
            stop(self._process, with_signal=signal.SIGKILL)
            self._process = None

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)
            self._process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Frozen (SIGSTOP): connections stay open and nothing is answered, like a link that died in silence."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


def mosquitto_broker(directory: Path, configuration: str = MOSQUITTO_OPEN) -> BrokerProcess:
    """mosquitto with this configuration after its `listener` line; not started."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.fail("mosquitto is not there: apt-get install mosquitto")
    port = steady_port()
    path = directory / f"mosquitto-{port}.conf"
    # `user root` matters only to a root test run: otherwise mosquitto gives up the right to read its own test files.
    path.write_text(f"user root\nlistener {port} {LOOPBACK}\n{configuration}")
    return BrokerProcess([program, "-c", str(path)], port=port, log=directory / f"mosquitto-{port}.log")


def iotcore(directory: Path) -> BrokerProcess:
    """iotcore with an MQTT 5 listener; not started."""
    port = steady_port()
    path = directory / f"iotcore-{port}.toml"
    path.write_text(IOTCORE_CONFIGURATION.format(host=LOOPBACK, port=port))
    command = [sys.executable, "-m", "iotcore", "--config", str(path), "--log-level", "CRITICAL"]
    return BrokerProcess(command, port=port, log=directory / f"iotcore-{port}.log")


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A running mosquitto that anyone may use."""
    broker = mosquitto_broker(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def iotcore_broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A running iotcore that anyone may use."""
    broker = iotcore(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(params=["mosquitto", "iotcore"])
def any_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerProcess]:
    """The same test on each broker."""
    broker = mosquitto_broker(tmp_path) if request.param == "mosquitto" else iotcore(tmp_path)
    broker.start()
    yield broker
    broker.kill()
