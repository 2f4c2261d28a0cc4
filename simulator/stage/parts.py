"""The real parts of the stage: how each is configured, started, and known to be ready.

A bus of our own with BlueZoo on it stands for the Bluetooth hardware; iotcore or mosquitto is the broker; sekmet-fhir
is the independent FHIR server. Every server listens on 127.0.0.1 only. BlueZoo is GPL: it runs as its own program and
is never imported.
"""

import asyncio
import http.client
import sys
import tempfile
from pathlib import Path

from simulator.ble.bluez import BluezError, adapters
from simulator.stage.processes import LOOPBACK, MissingPartError, Process, listening, program

LONGEST_SOCKET_PATH = 100
"""A Unix socket's path has 108 bytes (unix(7)), with some left for dbus-daemon's own."""

DBUS_CONFIGURATION = """\
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""

IOTCORE_CONFIGURATION = """\
id = 0

[router]
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "v5"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 131072
max_inflight_count = 100
dynamic_filters = true
"""

MOSQUITTO_CONFIGURATION = """\
listener {port} {host}
allow_anonymous true
persistence false
"""

SEKMET_CONFIGURATION = """\
base_url: {base_url}
db_path: {directory}/fhir.db
data_dir: {directory}
log_inbound: false
validation: {{inbound: strict}}
simulator: {{enabled: false}}
server_auth: {{types: [none]}}
"""


def bus(directory: Path) -> tuple[Process, str]:
    """A D-Bus daemon and its address, which children take as their system bus."""
    daemon = program("dbus-daemon", "install the Debian package dbus")
    socket = directory / "bus"
    if len(str(socket)) > LONGEST_SOCKET_PATH:
        socket = Path(tempfile.mkdtemp(prefix="stafet-")) / "bus"
    configuration = directory / "dbus.conf"
    configuration.write_text(DBUS_CONFIGURATION.format(socket=socket), encoding="utf-8")
    process = Process(
        "bus",
        [daemon, "--nofork", "--nopidfile", f"--config-file={configuration}"],
        log=directory / "bus.log",
        ready=socket.is_socket,
    )
    return process, f"unix:path={socket}"


def bluetooth(directory: Path, bus_address: str, addresses: tuple[str, ...]) -> Process:
    """BlueZoo as org.bluez on that bus, with these adapters as hci0, hci1, and so on."""
    command: list[str | Path] = [
        program("bluezoo", "pip install 'stafet[sim]'"), "--quiet", "--auto-enable", "--scan-interval", "1",
    ]  # fmt: skip
    for address in addresses:
        command += ["--adapter", address]

    def all_there() -> bool:
        try:
            return len(asyncio.run(adapters(bus_address=bus_address))) == len(addresses)
        except BluezError:
            return False

    return Process(
        "bluetooth", command, log=directory / "bluetooth.log", ready=all_there,
        environment={"DBUS_SYSTEM_BUS_ADDRESS": bus_address},
    )  # fmt: skip


def broker(directory: Path, kind: str, port: int) -> Process:
    """An MQTT 5 broker that keeps nothing over a kill, which is the worst that a broker may do."""
    if kind == "mosquitto":
        configuration = directory / "mosquitto.conf"
        configuration.write_text(MOSQUITTO_CONFIGURATION.format(host=LOOPBACK, port=port), encoding="utf-8")
        mosquitto = program("mosquitto", "install the Debian package mosquitto")
        command: list[str | Path] = [mosquitto, "-c", configuration]
    elif kind == "iotcore":
        configuration = directory / "iotcore.toml"  # it goes by the suffix
        configuration.write_text(IOTCORE_CONFIGURATION.format(host=LOOPBACK, port=port), encoding="utf-8")
        command = [sys.executable, "-m", "iotcore", "--config", configuration, "--log-level", "CRITICAL"]
    else:
        raise MissingPartError(f"there is no broker {kind!r}: iotcore or mosquitto")
    return Process("broker", command, log=directory / "broker.log", ready=lambda: listening(port))


def fhir_server(directory: Path, port: int) -> tuple[Process, str]:
    """A FHIR R4 server with its store in a file, and its base URL. It checks the structure of what it is sent."""
    base_url = f"http://{LOOPBACK}:{port}/fhir"
    own = directory / "fhir"
    own.mkdir(exist_ok=True)
    settings = own / "settings.yaml"
    settings.write_text(SEKMET_CONFIGURATION.format(base_url=base_url, directory=own), encoding="utf-8")
    process = Process(
        "fhir",
        [
            program("sekmet", "pip install 'stafet[sim]'"), "serve", "-c", settings,
            "--host", LOOPBACK, "--port", str(port),
        ],
        log=directory / "fhir.log",
        ready=lambda: _answers(port),
    )  # fmt: skip
    return process, base_url


def _answers(port: int) -> bool:
    """Whether an HTTP server answers a request; one that only accepts connections may still reset the first of them."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1)
    try:
        connection.request("GET", "/fhir/Patient?_summary=count")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
