"""Stage: the whole relay on this machine, each hand a process of its own.

    devices (stafet-sim run) - Bluetooth (BlueZoo on a private D-Bus) - stafet-hub - MQTT broker - stafet-bridge - FHIR

It is provisioned as a region would do it: keys are made by `stafet-hub identity` and `stafet-bridge identity`, the hub
and its devices are made known by `stafet-bridge hub add` and `assign`, and the patients are the FHIR server's. Any
process can be killed and restarted in its place; ports, keys and stores stay for the stage's life.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from simulator import measured, scenario
from simulator.fhir import FhirClient
from simulator.stage import parts
from simulator.stage.processes import LOOPBACK, Notified, Process, program, run, steady_port

HUB = "hub-0001"
INSTALL = "pip install 'stafet[hub,bridge,sim]'"

HUB_CONFIGURATION = """\
[hub]
id = "{hub}"
key = "hub-key.pem"
store = "outbox.db"
timezone = "{timezone}"

[bridge]
public_key = "bridge-public.pem"

[mqtt]
host = "{host}"
port = {port}

[ble]
adapter = "hci0"
idle_timeout_s = {idle_timeout_s:g}
connections = 8
"""

HUB_DEVICE = """
[[device]]
address = "{address}"
label = "{label}"
"""

BRIDGE_CONFIGURATION = """\
[bridge]
key = "bridge-key.pem"
ledger = "bridge.db"
identifier_key = "identifier.key"
timezone = "{timezone}"

[mqtt]
host = "{host}"
port = {port}
client_id = "bridge-1"
group = "bridge"

[fhir]
base_url = "{base_url}"
"""


def address_of(adapter: str) -> str:
    """The Bluetooth address of hciN on a stage: locally administered, so that it is nobody's."""
    number = int(adapter.removeprefix("hci"))
    return f"02:57:AF:E7:{number >> 8:02X}:{number & 0xFF:02X}"


class Stage:
    """The relay for one scenario: after `set_up` it is provisioned and runs, all but the devices ("sim").

    `with Stage(...) as stage: stage.set_up()` closes it in any case.
    `processes` has them by name, in the order of starting: bus, bluetooth, broker, fhir, bridge, hub, sim.
    `on_change` is told of every start and end, from whatever thread.
    """

    def __init__(
        self,
        directory: Path,
        scenario_text: str,
        *,
        broker: str = "iotcore",
        idle_timeout_s: float = 3.0,
        on_change: Callable[[str, str], None] = lambda _name, _state: None,
    ) -> None:
        self.directory = directory.resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.scenario_path = self.directory / "scenario.toml"
        self.scenario_path.write_text(scenario_text, encoding="utf-8")
        self.scenario = scenario.load(self.scenario_path)
        self.processes: dict[str, Process] = {}
        self.idle_timeout_s = idle_timeout_s
        self._on_change = on_change
        self._notified: list[Notified] = []
        self._hub_program = program("stafet-hub", INSTALL)
        self._bridge_program = program("stafet-bridge", INSTALL)
        self._sim_program = program("stafet-sim", INSTALL)
        self.mqtt_port, fhir_port = steady_port(), steady_port()
        bus, self.bus_address = parts.bus(self.directory)
        highest = max(int(device.adapter.removeprefix("hci")) for device in self.scenario.devices)
        addresses = tuple(address_of(f"hci{number}") for number in range(highest + 1))
        fhir, self.base_url = parts.fhir_server(self.directory, fhir_port)
        self.fhir = FhirClient(self.base_url)
        for process in (
            bus,
            parts.bluetooth(self.directory, self.bus_address, addresses),
            parts.broker(self.directory, broker, self.mqtt_port),
            fhir,
            self._service("bridge", self._bridge_program, "bridge.toml"),
            self._service("hub", self._hub_program, "hub.toml"),
            self._program("sim", [self._sim_program, "run", self.scenario_path]),
        ):
            self.processes[process.name] = process
        self._write_configuration()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def set_up(self) -> None:
        """Start and provision everything but the devices."""
        for name in ("bus", "broker", "fhir"):
            self._launch(name)
        with ThreadPoolExecutor(max_workers=2) as pool:
            # Each command is a Python start of its own: two at a time, while the FHIR server gets up.
            identities = [pool.submit(self._exchange_keys, *pair) for pair in self._key_pairs()]
            self._wait_ready("bus")
            self.start("bluetooth")
            for future in identities:
                future.result()
            self._register_hub()
            first = self.scenario.people[0]
            assigned = [pool.submit(self._assign, device) for device in self.scenario.devices if device.person != first]
            self._wait_ready("fhir")
            for someone in self.scenario.people:
                self.fhir.put_patient(someone)
            for future in assigned:
                future.result()
        self._wait_ready("broker")
        self._launch("bridge")
        self._launch("hub")
        self._wait_ready("bridge")
        self._wait_ready("hub")

    def start(self, name: str) -> None:
        """Start one process and wait until it is ready."""
        self._launch(name)
        self._wait_ready(name)

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.processes[name].kill()
        self._on_change(name, "killed")

    def stop(self, name: str) -> None:
        """SIGTERM, and SIGKILL if that is not heard."""
        self.processes[name].stop()
        self._on_change(name, "stopped")

    def restart(self, name: str) -> None:
        """Kill and start again, on the same port and store."""
        self.kill(name)
        self.start(name)

    def close(self) -> None:
        """End everything: the hands that hold readings first, the servers and the bus after them."""
        for names in (("sim", "hub"), ("bridge",), ("broker", "fhir", "bluetooth"), ("bus",)):
            ending = [self.processes[name] for name in names if name in self.processes]
            for process in ending:
                process.ask_to_end()
            for process in ending:
                process.stop()
                self._on_change(process.name, "stopped")
        for notified in self._notified:
            notified.close()
        self.fhir.close()
        with contextlib.suppress(OSError):
            socket = Path(self.bus_address.removeprefix("unix:path="))
            if socket.parent != self.directory:
                shutil.rmtree(socket.parent)

    def measured(self) -> list[measured.Record]:
        """What the devices handed over, so far."""
        return list(measured.read(self.scenario.output))

    def observations(self) -> list[dict[str, Any]]:
        """Every Observation in the FHIR server, over HTTP."""
        return list(self.fhir.search("Observation"))

    def _launch(self, name: str) -> None:
        self._on_change(name, "starting")
        self.processes[name].launch()

    def _wait_ready(self, name: str) -> None:
        self.processes[name].wait_ready()
        self._on_change(name, "up")

    def _program(self, name: str, command: list[str | Path], **options: Any) -> Process:
        return Process(
            name,
            command,
            log=self.directory / f"{name}.log",
            environment={"DBUS_SYSTEM_BUS_ADDRESS": self.bus_address} | options.pop("environment", {}),
            **options,
        )

    def _service(self, name: str, where: Path, configuration: str) -> Process:
        notified = Notified(Path(self.bus_address.removeprefix("unix:path=")).with_name(f"{name}.notify"))
        self._notified.append(notified)
        return self._program(
            name,
            [where, "run", "--config", self.directory / configuration],
            ready=notified.ready,
            environment=notified.environment,
        )

    def _write_configuration(self) -> None:
        hub = HUB_CONFIGURATION.format(
            hub=HUB,
            timezone=self.scenario.timezone,
            host=LOOPBACK,
            port=self.mqtt_port,
            idle_timeout_s=self.idle_timeout_s,
        )
        for device in self.scenario.devices:
            hub += HUB_DEVICE.format(address=address_of(device.adapter), label=device.label)
        self._path("hub.toml").write_text(hub, encoding="utf-8")
        self._path("bridge.toml").write_text(
            BRIDGE_CONFIGURATION.format(
                timezone=self.scenario.timezone, host=LOOPBACK, port=self.mqtt_port, base_url=self.base_url
            ),
            encoding="utf-8",
        )

    def _path(self, name: str) -> Path:
        return self.directory / name

    def _key_pairs(self) -> Iterator[tuple[Path, str, str]]:
        yield self._hub_program, "hub.toml", "hub-public.pem"
        yield self._bridge_program, "bridge.toml", "bridge-public.pem"

    def _exchange_keys(self, where: Path, configuration: str, public_key: str) -> None:
        """Make a program's key, and put its public half where the other one looks."""
        self._path(public_key).write_text(
            run([where, "identity", "--config", self._path(configuration)]), encoding="ascii"
        )

    def _bridge(self, *arguments: str | Path) -> None:
        run([self._bridge_program, *arguments, "--config", self._path("bridge.toml")])

    def _register_hub(self) -> None:
        """The hub is the first person's; what other people use is assigned to them, device by device."""
        first = self.scenario.people[0]
        self._bridge(
            "hub", "add", "--id", HUB, "--key", self._path("hub-public.pem"), "--patient", f"Patient/{first.id}"
        )

    def _assign(self, device: scenario.Device) -> None:
        self._bridge(
            "assign", "--hub", HUB, "--device", address_of(device.adapter), "--patient", f"Patient/{device.person.id}"
        )
