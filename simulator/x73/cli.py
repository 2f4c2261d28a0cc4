"""`stafet-sim agent`: one 20601 agent, at a manager over TCP or at the other end of a serial line."""

import argparse
from functools import partial
from pathlib import Path
from typing import Final

from simulator.command import USAGE, fail, positive, run, seconds
from simulator.x73.options import DEVICES, FAULTS, NONE

HELP: Final = """\
Connect to an IEEE 11073-20601 manager (bare APDUs, over TCP or a serial line), associate, report readings of a person
who does not exist, release. A manager that knows no standard configuration gets it on request.

  stafet-sim agent --connect 127.0.0.1:6024 --device oximeter
  stafet-sim agent --connect 127.0.0.1:6024 --device spirometer --config extended --count 5 --measured measured.jsonl
  stafet-sim agent --connect 127.0.0.1:6024 --device glucometer --config extended --store --count 100
  stafet-sim agent --pty --device scale                # prints /dev/pts/N, for stafet-hub listen 20601 --serial
"""


def add_options(agent: argparse.ArgumentParser) -> None:
    """What the command takes."""
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
    agent.add_argument("--count", type=positive, default=3, metavar="N", help="how many readings (3)")
    agent.add_argument("--interval", type=seconds, default=1.0, metavar="S", help="seconds before each reading (1)")
    agent.add_argument("--seed", type=int, default=1, help="whose readings they are: the same for the same seed (1)")
    agent.add_argument("--measured", type=Path, metavar="FILE", help="write what was reported here, a JSON line each")
    reports = agent.add_mutually_exclusive_group()
    reports.add_argument("--confirmed", action="store_true", default=True, help="reports are to be confirmed (default)")
    reports.add_argument("--unconfirmed", dest="confirmed", action="store_false", help="nobody confirms reports")
    agent.add_argument("--store", action="store_true", help="keep the N readings in a PM-store until the manager asks")
    faults = "\n".join(f"  {fault.name:32}{fault.help}" for fault in FAULTS.values())
    agent.add_argument("--fault", choices=FAULTS, metavar="FAULT", help=f"what is wrong with it:\n{faults}")


def play_agent(options: argparse.Namespace) -> int:
    """Play it; the exit status."""
    from simulator.x73.agent import Plan, play  # noqa: PLC0415 - only this command needs the machine
    from wire.x73.specializations import BY_NAME  # noqa: PLC0415 - as above

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
        fault=FAULTS.get(options.fault, NONE),
    )
    try:
        plan.check()
    except ValueError as error:
        return fail(USAGE, str(error))
    return run(partial(play, plan), options.measured)


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
