"""`stafet-sim`: simulated people and devices, and the whole relay on one machine."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from simulator import scenario
from simulator.ble.bluez import BluezError
from simulator.ble.devices import KINDS
from simulator.ble.faults import FAULTS as BLE_FAULTS
from simulator.command import CANNOT_CREATE, OK, UNAVAILABLE, fail
from simulator.log import Log
from simulator.play import play as play_scenario
from simulator.serial import cli as serial_cli
from simulator.x73 import cli as agent_cli

CONFIG = 78

DESCRIPTION = """\
Simulated people, their devices and a demonstration of the whole relay. Nobody in here exists.

  stafet-sim demo                 everything on this machine: devices to FHIR server, and a comparison
  stafet-sim run scenario.toml    the devices of a scenario, as BLE peripherals through BlueZ
  stafet-sim agent --connect ...  an IEEE 11073-20601 agent over TCP or a serial line, of any specialization
  stafet-sim serial --device ...  a Nonin or Vitalograph device on a serial port (a pty)
"""

EXIT_STATUSES = """\
exit statuses:
  0   done (demo: every value in the FHIR server equals what was measured; agent, serial: every reading is reported)
  1   demo: a value is wrong, missing or doubled; agent, serial: rejected, aborted, or not all readings reported
  2   the command line is wrong
  69  something that is needed is not there (agent: no manager answers): the line on stderr names it
  73  an output file cannot be written
  78  the scenario has faults: every one is listed on stderr
"""

RUN_HELP = """\
Play a scenario: its devices register through BlueZ's D-Bus API, advertise when they have something to hand over, and
send it to whoever subscribes. What they sent is written to the scenario's output file, a JSON line each.

Without hardware, against BlueZoo on a private bus:
  DBUS_SYSTEM_BUS_ADDRESS=unix:path=/tmp/bus stafet-sim run docs/scenario.toml
Over the air, with a second Bluetooth adapter (adapter = "hci1" in the scenario):
  sudo stafet-sim run scenario.toml
"""

DEMO_HELP = """\
Start a private bus with a Bluetooth stack, an MQTT broker, a FHIR server, the bridge, the hub and ten simulated devices
of two people: seven processes, on 127.0.0.1 only. Read the Observations back over HTTP and compare every value with what
was measured.

  stafet-sim demo                 less than half a minute, then everything is gone again
  stafet-sim demo --keep          stays up after the table and prints where to look; Ctrl-C ends it
  stafet-sim demo --json          the table and the verdict as one JSON document on stdout
"""


def parser() -> argparse.ArgumentParser:
    """The command line; each command's help teaches it."""
    top = argparse.ArgumentParser(
        prog="stafet-sim", description=DESCRIPTION, epilog=EXIT_STATUSES, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = _command(commands, "run", "play a scenario's devices", RUN_HELP + _kinds_and_faults())
    run.add_argument("scenario", type=Path, help="scenario file (TOML, see docs/simulator.md)")
    demo = _command(commands, "demo", "the whole relay, from simulated devices to a FHIR server", DEMO_HELP)
    demo.add_argument("--keep", action="store_true", help="stay up afterwards, until Ctrl-C")
    demo.add_argument("--json", action="store_true", help="print the result as JSON")
    demo.add_argument("--broker", choices=("iotcore", "mosquitto"), default="iotcore", help="default: iotcore")
    demo.add_argument("--directory", type=Path, help="keep configuration, stores and logs here (default: a new one)")
    agent_cli.add_options(_command(commands, "agent", "an IEEE 11073-20601 agent", agent_cli.HELP))
    serial_cli.add_options(_command(commands, "serial", "a serial device on a pty", serial_cli.HELP))
    return top


def _kinds_and_faults() -> str:
    kinds = (f"  {kind.name:22}{kind.says}" for kind in KINDS.values())
    faults = (f"  {fault.name + ('=N' if fault.number else ''):28}{fault.help}" for fault in BLE_FAULTS.values())
    return "\n".join(("", "Kinds of device:", *kinds, "", 'Faults of a device, as in faults = ["garbage"]:', *faults))


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, line: str, text: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=line, description=text, epilog=EXIT_STATUSES, formatter_class=argparse.RawTextHelpFormatter
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the program."""
    options = parser().parse_args(arguments)
    if options.command == "run":
        return run(options.scenario)
    if options.command == "serial":
        return serial_cli.play_serial(options)
    if options.command == "agent":
        return agent_cli.play_agent(options)
    from simulator.demo import demo  # noqa: PLC0415 - `run` needs neither rich nor httpx

    return demo(keep=options.keep, as_json=options.json, broker=options.broker, directory=options.directory)


def run(path: Path) -> int:
    """Play one scenario file."""
    try:
        wanted = scenario.load(path)
    except scenario.ScenarioError as error:
        for fault in error.faults:
            fail(CONFIG, f"{path}: {fault}")
        return CONFIG
    except OSError as error:
        return fail(CONFIG, f"{path}: {error.strerror}")
    try:
        asyncio.run(play_scenario(wanted, Log()))
    except KeyboardInterrupt:
        return OK
    except (OSError, BaseExceptionGroup) as error:
        first = _first(error)
        if isinstance(first, BluezError):
            return fail(UNAVAILABLE, f"{first}; start bluetoothd, or set DBUS_SYSTEM_BUS_ADDRESS to its bus")
        if isinstance(first, OSError):
            return fail(CANNOT_CREATE, f"{wanted.output}: {first.strerror}")
        raise
    return OK


def _first(error: BaseException) -> BaseException:
    """One of the errors that devices ran into; they meet the same wall together."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    sys.exit(main())
