"""What a citizen would feel: how soon a hub works after power comes back, what it weighs, how fast a reading arrives.

All real processes on loopback: the hub with bleak over BlueZ's D-Bus API, mosquitto, the bridge, the FHIR server.
"""

import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from edge.outbox import Outbox
from simulator.ble.devices import PLAIN
from simulator.compare import compare
from simulator.stage import HUB, Stage
from simulator.stage.processes import LOOPBACK, program
from tests.bench.micro import Figure
from tests.bench.sample import spot_check
from wire.batch import encode_reading

STARTS = 11
READINGS = 40
PUBACK = 4
CHUNK = 65536


def scenario_text(readings: int) -> str:
    """One person with five devices that each measure once a second."""
    lines = ["seed = 3", "", "[[person]]", 'id = "p1"', ""]
    for number, kind in enumerate(PLAIN, 1):
        lines += ["[[device]]", f'kind = "{kind}"', 'person = "p1"', f'adapter = "hci{number}"']
        lines += [f"readings = {readings}", "every_s = 1", f"start_s = {number / 5}", "hang_up_s = 5", ""]
    return "\n".join(lines)


class PubackWatch:
    """A TCP relay in front of the broker that notes when the first PUBACK (MQTT 5, 3.4) goes to the client."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self.seen = threading.Event()
        self.at = 0.0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            broker = socket.create_connection((LOOPBACK, self._broker_port))
            for one in (client, broker):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._copy, args=(client, broker), daemon=True).start()
            threading.Thread(target=self._watch, args=(broker, client), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(CHUNK):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            sink.close()

    def _watch(self, source: socket.socket, sink: socket.socket) -> None:
        unread = b""
        try:
            while data := source.recv(CHUNK):
                now = time.monotonic()
                sink.sendall(data)
                unread += data
                while (end := packet_end(unread)) is not None:
                    if unread[0] >> 4 == PUBACK and not self.seen.is_set():
                        self.at = now
                        self.seen.set()
                    unread = unread[end:]
            sink.close()
        except OSError:
            sink.close()

    def close(self) -> None:
        self._listener.close()


def packet_end(data: bytes) -> int | None:
    """Where the first MQTT packet ends (MQTT 5, 2.1.4), if it is there whole."""
    length = 0
    for index, byte in enumerate(data[1:5]):
        length |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            end = 2 + index + length
            return end if end <= len(data) else None
    return None


def relay() -> Iterator[Figure]:
    """Set the stage once: latency and weight while readings flow, then cold starts of the hub alone."""
    directory = Path(tempfile.mkdtemp(prefix="stafet-bench-"))
    try:
        with Stage(directory, scenario_text(READINGS), broker="mosquitto") as stage:
            stage.set_up()
            stage.start("sim")
            stage.processes["sim"].wait(READINGS * 3 + 60)
            yield from latency(stage)
            yield from weight(stage)
            stage.stop("hub")
            yield cold_start(stage, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def latency(stage: Stage) -> Iterator[Figure]:
    """From the moment a device sent a value to the FHIR server's own time of commit."""
    deadline = time.monotonic() + 60
    while True:
        comparison = compare(stage.measured(), stage.observations(), timezone=ZoneInfo(stage.scenario.timezone))
        if comparison.all_equal:
            break
        if time.monotonic() > deadline:
            raise AssertionError("not every reading arrived")
        time.sleep(0.2)
    delays = [one.delay.total_seconds() * 1000 for one in comparison.values if one.delay is not None]
    percentiles = statistics.quantiles(delays, n=100)
    note = f"{len(delays)} values, 5 devices at 1/s each"
    yield Figure("device to FHIR, p50", percentiles[49], "ms", note=note)
    yield Figure("device to FHIR, p99", percentiles[98], "ms")


def weight(stage: Stage) -> Iterator[Figure]:
    """Resident memory of the hub after it has served five BLE devices, bleak loaded."""
    pid = stage.processes["hub"].pid
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    if "bleak" not in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8") and "dbus_fast" not in Path(
        f"/proc/{pid}/maps"
    ).read_text(encoding="utf-8"):
        raise AssertionError("the hub runs without BLE: this is not the figure that was asked for")
    yield Figure("hub RSS with BLE", int(fields["VmRSS"].split()[0]) / 1024, "MB", 45, "<=")
    yield Figure("hub RSS with BLE, peak", int(fields["VmHWM"].split()[0]) / 1024, "MB")


def cold_start(stage: Stage, directory: Path) -> Figure:
    """Exec of `stafet-hub run` with one reading waiting, until the broker's PUBACK for it."""
    took = []
    original = (directory / "hub.toml").read_text(encoding="utf-8")
    for number in range(STARTS):
        watch = PubackWatch(stage.mqtt_port)
        store = directory / f"cold-{number}.db"
        with Outbox.open(store, hub=HUB) as outbox:
            outbox.put(encode_reading(spot_check()))
        configuration = directory / f"cold-{number}.toml"
        text = original.replace(f"port = {stage.mqtt_port}", f"port = {watch.port}").replace("outbox.db", store.name)
        configuration.write_text(text, encoding="utf-8")
        command = [str(program("stafet-hub", "make setup")), "run", "--config", str(configuration)]
        environment = {"DBUS_SYSTEM_BUS_ADDRESS": stage.bus_address, "PATH": "/usr/bin:/bin"}
        with (directory / "cold.log").open("ab") as log:
            start = time.monotonic()
            hub = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            seen = watch.seen.wait(10)
            hub.terminate()
            hub.wait(10)
        watch.close()
        if not seen:
            raise AssertionError(f"no PUBACK in 10 s: {(directory / 'cold.log').read_text(encoding='utf-8')[-800:]}")
        took.append((watch.at - start) * 1000)
    note = f"median of {STARTS}, {min(took):.0f} to {max(took):.0f}"
    return Figure("start of stafet-hub run to first PUBACK", statistics.median(took), "ms", 250, "<=", note)
