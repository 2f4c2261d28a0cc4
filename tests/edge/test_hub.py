"""stafet-hub as a process of its own, with a real broker, real bleak and a device."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge.hub import STALLED_S, Watch
from edge.identity import establish, load_public_key
from edge.outbox import Outbox
from simulator.ble.bluez import Characteristic, Peripheral, Service
from tests.brokers import BrokerProcess
from tests.edge.readings import encoded
from tests.edge.stub_bridge import StubBridge
from tests.support import PrivateBus, eventually, stop

HUB = "hub-0001"
PROGRAM = Path(sys.executable).with_name("stafet-hub")
SPO2_98 = bytes.fromhex("0062004800")


class HubProcess:
    """`stafet-hub run` in a directory of its own."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.config = home / "hub.toml"
        self.store = home / "outbox.db"
        self.log = home / "hub.log"
        self.process: subprocess.Popen[bytes] | None = None
        establish(home / "hub-key.pem")
        self.bridge_key = StubBridge.public_key_to(home / "bridge-public.pem")
        (home / "hub-public.pem").write_bytes(establish(home / "hub-key.pem").public_key_pem)
        self.port = port
        self.write_config()

    def write_config(self, *devices: str, port: int | None = None) -> None:
        self.config.write_text(
            f'[hub]\nid = "{HUB}"\nkey = "hub-key.pem"\nstore = "outbox.db"\n'
            '[bridge]\npublic_key = "bridge-public.pem"\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {port or self.port}\n'
            "[ble]\nidle_timeout_s = 2\n" + "".join(f'[[device]]\naddress = "{device}"\n' for device in devices)
        )

    def start(self, environment: Mapping[str, str] = os.environ) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "run", "--config", self.config], stderr=log, stdin=subprocess.DEVNULL, env=environment
            )

    def send(self, number: int) -> int:
        """Send a signal and wait for the end; the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(15)

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [line for line in lines if name in (None, line["event"])]

    def until(self, name: str, count: int = 1) -> None:
        eventually(lambda: len(self.events(name)) >= count, within_s=20, what=f"{count} x {name}")

    def status(self) -> dict[str, Any]:
        done = subprocess.run(
            [PROGRAM, "status", "--config", self.config, "--json"], capture_output=True, check=False, timeout=20
        )
        document: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if document["running"] else 69)
        return document


@pytest.fixture
def hub(tmp_path: Path, iotcore_broker: BrokerProcess) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path, iotcore_broker.port)
    yield process
    if process.process is not None:
        stop(process.process)


@pytest.fixture
def bridge(hub: HubProcess, iotcore_broker: BrokerProcess) -> Iterator[StubBridge]:
    public_key = load_public_key(hub.home / "hub-public.pem")
    bridge = StubBridge(iotcore_broker.port, HUB, public_key, hub.bridge_key)
    yield bridge
    bridge.close()


def fill(store: Path, *numbers: int) -> None:
    with Outbox.open(store, hub=HUB) as outbox:
        outbox.put_many([encoded(number) for number in numbers])


def test_what_waited_since_last_time_is_delivered_and_confirmed(hub: HubProcess, bridge: StubBridge) -> None:
    fill(hub.store, 1, 2, 3)
    hub.start()
    hub.until("readings_confirmed")
    assert [reading.received.mono_us for reading in bridge.readings] == [5_000_001, 5_000_002, 5_000_003]
    status = hub.status()
    assert (status["running"], status["unsent"], status["oldest_unsent_s"]) == (True, 0, None)
    assert status["uplink"]["connected"]
    assert status["uplink"]["last_receipt_s"] < 20
    assert status["clock"]["state"] == "synchronised"
    assert hub.send(signal.SIGTERM) == 0
    assert hub.events()[-1]["event"] == "hub_stopped"
    assert hub.status()["running"] is False


def test_without_a_listed_device_bleak_is_never_imported(hub: HubProcess, bridge: StubBridge) -> None:
    fill(hub.store, 1)
    hub.start()
    hub.until("readings_confirmed")
    assert hub.process is not None
    maps = Path(f"/proc/{hub.process.pid}/maps").read_text()
    assert "dbus_fast" not in maps
    assert hub.status()["radio"] is None


def test_a_hub_looks_for_garbage_again_when_it_has_started_though_no_device_is_listed(hub: HubProcess) -> None:
    (hub.home / "sitecustomize.py").write_text(
        "import gc, threading, time\n"
        "from pathlib import Path\n"
        "def watch():\n"
        "    for wanted in (False, True):\n"
        "        while gc.isenabled() is not wanted:\n"
        "            time.sleep(0.005)\n"
        f"    Path({str(hub.home)!r}, 'on-again').touch()\n"
        "threading.Thread(target=watch, daemon=True).start()\n"
    )
    hub.start(os.environ | {"PYTHONPATH": f"{hub.home}:{os.environ.get('PYTHONPATH', '')}"})
    eventually((hub.home / "on-again").exists, within_s=20, what="the collector is off, then on")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_hub_without_a_broker_stops_at_once_when_told_so(hub: HubProcess, free_port: int, number: int) -> None:
    hub.write_config(port=free_port)
    hub.start()
    hub.until("connection_failed")
    assert hub.send(number) == 0


def test_a_second_hub_on_the_same_store_is_refused_in_one_line(hub: HubProcess) -> None:
    hub.start()
    hub.until("hub_started")
    second = subprocess.run([PROGRAM, "run", "--config", hub.config], capture_output=True, check=False, timeout=20)
    assert second.returncode == 69
    assert second.stderr.decode().count("\n") == 1
    assert hub.process is not None
    assert hub.process.poll() is None


def test_a_hub_whose_damaged_store_cannot_be_mended_ends_with_a_status_and_a_next_action_of_its_own(
    hub: HubProcess,
) -> None:
    store = hub.home / f"{'o' * 236}.db"  # no name is left for the directory in which the damaged store would be kept
    hub.config.write_text(hub.config.read_text().replace("outbox.db", store.name))
    store.write_bytes(b"damaged")
    done = subprocess.run([PROGRAM, "run", "--config", hub.config], capture_output=True, check=False, timeout=20)
    assert done.returncode == 73
    (line,) = done.stderr.decode().splitlines()
    assert re.fullmatch(
        rf"stafet-hub: {store} is damaged \(.+\) and cannot be mended \(.+\); make room there and .+", line
    )
    assert store.read_bytes() == b"damaged"


def test_systemd_is_told_that_the_hub_is_ready_alive_and_stopping(hub: HubProcess, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        hub.start(os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "900000"})
        told = [listener.recv(4096).decode() for _ in range(6)]
        assert told[0] == "READY=1"
        assert told.count("WATCHDOG=1") >= 2, "fed three times per period"
        assert any(message.startswith("STATUS=") for message in told)
        assert hub.send(signal.SIGTERM) == 0
        while told[-1] != "STOPPING=1":
            told.append(listener.recv(4096).decode())


def test_no_line_of_the_log_has_a_field_that_is_not_on_the_list(hub: HubProcess, bridge: StubBridge) -> None:
    fill(hub.store, 1)
    hub.start()
    hub.until("readings_confirmed")
    hub.send(signal.SIGTERM)
    assert [line for line in hub.events() if "unlisted" in line] == []


def test_status_has_the_keys_that_the_documentation_lists(hub: HubProcess) -> None:
    doc = (Path(__file__).parent.parent.parent / "docs" / "hub.md").read_text()
    table = doc.partition("## `status --json`")[2].partition("## Events")[0]
    rows = [re.findall("`([a-z_]+)`", row) for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)]
    stopped = {name for row in rows[:4] for name in row}
    assert hub.status().keys() == stopped
    hub.start()
    hub.until("hub_started")
    eventually(lambda: hub.status()["running"], what="the hub answers")
    assert hub.status().keys() == {name for row in rows for name in row}


# With a device


def oximeter() -> Peripheral:
    return Peripheral(
        adapter="hci1",
        name="Oximeter",
        appearance=0,
        services=lambda _: (Service(uuid=0x1822, characteristics=(Characteristic(uuid=0x2A5E, flags=("indicate",)),)),),
    )


async def measure(device: Peripheral, value: bytes = SPO2_98) -> None:
    """Use the device once: it advertises, sends, and hangs up. Again, if the hub dies while it does."""
    async with asyncio.timeout(30):
        while True:
            await device.advertise()
            subscription = await device.subscribers.get()
            await device.withdraw()
            if await subscription.send(value):
                await asyncio.sleep(0.1)  # as people do, before they take the finger out
                await device.hang_up(subscription)
                return


async def seen(condition: Any, within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  a poll with an end, of other processes
            await asyncio.sleep(0.02)


async def test_a_reading_goes_from_the_device_through_the_hub_to_the_bridge(
    hub: HubProcess,
    bridge: StubBridge,
    private_bus: PrivateBus,
) -> None:
    hub.write_config(private_bus.adapters[1])
    hub.start(private_bus.environment)
    async with oximeter() as device:
        await measure(device)
        await seen(lambda: bridge.readings)
        await seen(lambda: hub.events("session_ended"))
    (reading,) = bridge.readings
    assert reading.value == SPO2_98
    assert reading.device.address == bytes.fromhex(private_bus.adapters[1].replace(":", ""))
    status = hub.status()
    assert [(d["readings"], d["connected"]) for d in status["devices"]] == [(1, False)]
    assert status["radio"] == {"adapter": "hci0", "scanning": True, "fault": None}
    assert private_bus.adapters[1] not in hub.log.read_text()
    assert [line for line in hub.events() if "unlisted" in line] == []
    assert hub.send(signal.SIGTERM) == 0


async def test_a_device_that_is_listed_while_the_hub_runs_is_read_and_one_that_is_forgotten_is_not(
    hub: HubProcess,
    bridge: StubBridge,
    private_bus: PrivateBus,
) -> None:
    hub.start(private_bus.environment)
    hub.until("connected")
    address = private_bus.adapters[1]

    async def command(*arguments: str) -> dict[str, Any]:
        program = [str(PROGRAM), *arguments, "--config", str(hub.config), "--json"]
        done = await asyncio.create_subprocess_exec(*program, stdout=subprocess.PIPE, env=private_bus.environment)
        document: dict[str, Any] = json.loads((await done.communicate())[0])
        assert done.returncode == 0
        return document

    async with oximeter() as device:
        await device.advertise()
        assert (await command("pair", "--address", address, "--label", "his", "--yes", "--no-bond"))[
            "kind"
        ] == "pulse oximeter"
        await measure(device)
        await seen(lambda: bridge.readings)
        (listed,) = (await command("devices"))["devices"]
        assert (listed["label"], listed["address"], listed["readings"]) == ("his", address, 1)
        assert listed["read_s"] < 20
        await command("forget", "his")
        await seen(lambda: len(hub.events("listing_changed")) == 2)
        assert hub.status()["devices"] == []
    assert address not in hub.log.read_text()


async def test_a_hub_that_is_killed_again_and_again_loses_nothing_that_it_counted(
    hub: HubProcess,
    bridge: StubBridge,
    private_bus: PrivateBus,
) -> None:
    hub.write_config(private_bus.adapters[1])
    async with oximeter() as device:
        for count in range(1, 6):
            hub.start(private_bus.environment)
            await measure(device, bytes((0, count, 0, 72, 0)))
            await seen(lambda count=count: len(hub.events("reading_stored")) == count)
            hub.send(signal.SIGKILL)
        hub.start(private_bus.environment)
        await seen(lambda: len(bridge.readings) == 5)
    assert [reading.value[1] for reading in bridge.readings] == [1, 2, 3, 4, 5]


async def test_at_sigterm_a_connected_device_is_let_go(
    hub: HubProcess,
    private_bus: PrivateBus,
) -> None:
    hub.write_config(private_bus.adapters[1])
    hub.start(private_bus.environment)
    async with oximeter() as device:
        await device.advertise()
        async with asyncio.timeout(20):
            subscription = await device.subscribers.get()
            assert await asyncio.to_thread(hub.send, signal.SIGTERM) == 0
            await subscription.end
    assert [line["ended"] for line in hub.events("session_ended")] == ["stopping"]
    assert hub.events()[-1]["event"] == "hub_stopped"


async def test_without_bluetooth_the_hub_lives_and_says_why(
    hub: HubProcess,
    bridge: StubBridge,
    tmp_path: Path,
) -> None:
    fill(hub.store, 1)
    hub.write_config("00:00:00:00:00:02")
    hub.start(os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path / 'no-bus'}"})
    hub.until("scan_failed")
    hub.until("readings_confirmed")
    status = hub.status()
    assert status["radio"]["scanning"] is False
    assert status["radio"]["fault"]
    assert hub.send(signal.SIGTERM) == 0


# The watchdog's judgement


def test_a_loop_without_progress_is_stalled_and_recovers(caplog: pytest.LogCaptureFixture) -> None:
    counts = {"uplink": 0, "collecting": 0}
    watch = Watch()
    watch.add("uplink", lambda: counts["uplink"])
    assert not watch.stalled(0.0)
    watch.add("collecting", lambda: counts["collecting"])
    for now in range(0, 100, 10):
        counts["uplink"] += 1
        counts["collecting"] += 1
        assert not watch.stalled(float(now))
    for now in (100, 110):
        counts["uplink"] += 1
        assert not watch.stalled(float(now))
    for now in (120, 130):
        counts["uplink"] += 1
        assert watch.stalled(float(now)), f"since 90, {STALLED_S} s"
    assert caplog.messages == ["loop_stalled"]
    counts["collecting"] += 1
    assert not watch.stalled(140.0)
