"""`stafet-sim`: simulated people and devices, and the whole relay on one machine."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

from simulator import scenario
from simulator.ble.bluez import BluezError
from simulator.ble.devices import KINDS
from simulator.ble.faults import FAULTS as BLE_FAULTS
from simulator.ble.play import play as play_scenario
from simulator.log import Log
from simulator.serial import cli as serial_cli
from simulator.x73.options import DEVICES, FAULTS, NONE

OK, USAGE, UNAVAILABLE, CANNOT_CREATE, CONFIG = 0, 2, 69, 73, 78

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
Start a private Bluetooth stack, MQTT broker, FHIR server, bridge, hub and ten simulated devices of two people, each a
process of its own on 127.0.0.1. Read the Observations back over HTTP and compare every value with what was measured.

  stafet-sim demo                 about half a minute, then everything is gone again
  stafet-sim demo --keep          stays up after the table and prints where to look; Ctrl-C ends it
  stafet-sim demo --json          the table and the verdict as one JSON document on stdout
"""

AGENT_HELP = """\
Connect to an IEEE 11073-20601 manager (bare APDUs, over TCP or a serial line), associate, report readings of a person who does not
exist, release. A manager that knows no standard configuration gets it on request.

  stafet-sim agent --connect 127.0.0.1:6024 --device oximeter
  stafet-sim agent --connect 127.0.0.1:6024 --device spirometer --config extended --count 5 --measured measured.jsonl
  stafet-sim agent --connect 127.0.0.1:6024 --device glucometer --config extended --store --count 100
  stafet-sim agent --pty --device scale                # prints /dev/pts/N, for stafet-hub listen 20601 --serial
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
    _agent(_command(commands, "agent", "an IEEE 11073-20601 agent", AGENT_HELP))
    serial_cli.add_options(_command(commands, "serial", "a serial device on a pty", serial_cli.HELP))
    return top


def _agent(agent: argparse.ArgumentParser) -> None:
    way = agent.add_mutually_exclusive_group(required=True)
    way.add_argument("--connect", type=_address, metavar="HOST:PORT", help="where the manager listens")
    way.add_argument("--serial", metavar="PATH", help="a serial port that the manager is at")
    way.add_argument("--pty", action="store_true", help="make a pseudo terminal, print the path of its other end, wait")
    agent.add_argument("--device", required=True, choices=DEVICES, metavar="DEVICE", help=_devices())
    agent.add_argument(
        "--config",
        choices=("standard", "extended"),
        default="standard",
        help="which configuration it offers (standard)",
    )
    agent.add_argument("--count", type=_positive, default=3, metavar="N", help="how many readings (3)")
    agent.add_argument("--interval", type=_seconds, default=1.0, metavar="S", help="seconds before each reading (1)")
    agent.add_argument("--seed", type=int, default=1, help="whose readings they are: the same for the same seed (1)")
    agent.add_argument("--measured", type=Path, metavar="FILE", help="write what was reported here, a JSON line each")
    reports = agent.add_mutually_exclusive_group()
    reports.add_argument("--confirmed", action="store_true", default=True, help="reports are to be confirmed (default)")
    reports.add_argument("--unconfirmed", dest="confirmed", action="store_false", help="nobody confirms reports")
    agent.add_argument("--store", action="store_true", help="keep the N readings in a PM-store until the manager asks")
    faults = "\n".join(f"  {fault.name:32}{fault.help}" for fault in FAULTS.values())
    agent.add_argument("--fault", choices=FAULTS, metavar="FAULT", help=f"what is wrong with it:\n{faults}")


def _kinds_and_faults() -> str:
    kinds = (f"  {kind.name:22}{kind.says}" for kind in KINDS.values())
    faults = (f"  {fault.name + ('=N' if fault.number else ''):28}{fault.help}" for fault in BLE_FAULTS.values())
    return "\n".join(("", "Kinds of device:", *kinds, "", 'Faults of a device, as in faults = ["garbage"]:', *faults))


def _devices() -> str:
    lines = (
        f"  {name:18}11073-{number}  {'standard, extended' if standard else 'extended'}"
        for name, (number, standard) in DEVICES.items()
    )
    return "what it is; and the configurations that it has:\n" + "\n".join(lines)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to a day")
    return seconds


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
        return serial_cli.run(options)
    if options.command == "agent":
        return agent(options)
    from simulator.demo import demo  # noqa: PLC0415 - `run` needs neither rich nor httpx

    return demo(keep=options.keep, as_json=options.json, broker=options.broker, directory=options.directory)


def run(path: Path) -> int:
    """Play one scenario file."""
    try:
        wanted = scenario.load(path)
    except scenario.ScenarioError as error:
        for fault in error.faults:
            _say(f"{path}: {fault}")
        return CONFIG
    except OSError as error:
        return _fail(CONFIG, f"{path}: {error.strerror}")
    try:
        asyncio.run(play_scenario(wanted, Log()))
    except KeyboardInterrupt:
        return OK
    except (OSError, BaseExceptionGroup) as error:
        first = _first(error)
        if isinstance(first, BluezError):
            return _fail(UNAVAILABLE, f"{first}; start bluetoothd, or set DBUS_SYSTEM_BUS_ADDRESS to its bus")
        if isinstance(first, OSError):
            return _fail(CANNOT_CREATE, f"{wanted.output}: {first.strerror}")
        raise
    return OK


def agent(options: argparse.Namespace) -> int:
    """Play one 20601 agent."""
    from simulator.x73.agent import Plan, play  # noqa: PLC0415 - only this command needs the machine
    from wire.x73.specializations import BY_NAME  # noqa: PLC0415

    fault = FAULTS.get(options.fault, NONE)
    plan = Plan(
        host=options.connect[0] if options.connect else "",
        port=options.connect[1] if options.connect else 0,
        serial=options.serial or "",
        on_pty=partial(print, flush=True) if options.pty else None,
        specialization=BY_NAME[options.device],
        standard=options.config == "standard",
        count=options.count,
        interval_s=options.interval,
        seed=options.seed,
        confirmed=options.confirmed,
        store=options.store,
        fault=fault,
    )
    try:
        plan.check()
    except ValueError as error:
        return _fail(USAGE, str(error))

    async def until_stopped(measured: TextIO | None) -> int:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        outcome = await play(plan, measured, stop)
        return _fail(outcome.status, outcome.line) if outcome.line else outcome.status

    if options.measured is None:
        return asyncio.run(until_stopped(None))
    try:
        file = options.measured.open("w", encoding="utf-8")
    except OSError as error:
        return _fail(CANNOT_CREATE, f"{options.measured}: {error.strerror}")
    with file:
        return asyncio.run(until_stopped(file))


def _first(error: BaseException) -> BaseException:
    """One of the errors that devices ran into; they meet the same wall together."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _fail(status: int, line: str) -> int:
    _say(line)
    return status


def _say(line: str) -> None:
    sys.stderr.write(f"stafet-sim: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
