"""`stafet-sim serial`: one serial device on a pty."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from simulator.serial.options import DEVICES, FAULTS, NONE

if TYPE_CHECKING:
    from simulator.serial.devices import Plan

CANNOT_CREATE, USAGE = 73, 2

HELP: Final = """\
Be a serial device on a pty: wait until a hub opens the port, then do as the real one, until everything is delivered.
The first line on stdout is the port, for hub.toml ([[serial]] port).

  stafet-sim serial --device nonin-df13 --count 5 --stored 4
  stafet-sim serial --device lung-monitor --link /dev/shm/lung --fault disconnect-at-ack --measured measured.jsonl
  stafet-sim serial --device nonin-memory --json
"""


def add_options(serial: argparse.ArgumentParser) -> None:
    """What the command takes."""
    devices = "\n".join(f"  {name:16}{what}" for name, what in DEVICES.items())
    serial.add_argument("--device", required=True, choices=DEVICES, metavar="DEVICE", help=f"what it is:\n{devices}")
    serial.add_argument("--count", type=_positive, default=3, metavar="N", help="how many readings, or studies (3)")
    serial.add_argument(
        "--stored", type=_whole, default=0, metavar="N", help="nonin-df13: so many lie in its memory (0)"
    )
    serial.add_argument("--interval", type=_seconds, default=1.0, metavar="S", help="seconds between readings (1)")
    serial.add_argument("--seed", type=int, default=1, help="whose readings they are: the same for the same seed (1)")
    serial.add_argument(
        "--link", type=Path, metavar="PATH", help="a name for the port that stays, below /dev for hub.toml"
    )
    serial.add_argument("--json", action="store_true", help="print the port as a JSON line")
    serial.add_argument("--measured", type=Path, metavar="FILE", help="write what was measured here, a JSON line each")
    faults = "\n".join(f"  {fault.name:26}{fault.help}" for fault in FAULTS.values())
    serial.add_argument("--fault", choices=FAULTS, metavar="FAULT", help=f"what is wrong with it:\n{faults}")


def run(options: argparse.Namespace) -> int:
    """Play one serial device."""
    from simulator.serial.devices import Plan  # noqa: PLC0415 - only this command needs it

    plan = Plan(
        device=options.device,
        count=options.count,
        stored=options.stored,
        interval_s=options.interval,
        seed=options.seed,
        fault=FAULTS.get(options.fault, NONE),
        linked=options.link is not None,
    )
    try:
        plan.check()
    except ValueError as error:
        return _fail(USAGE, str(error))
    if options.measured is None:
        return asyncio.run(_play(plan, options, None))
    try:
        file = options.measured.open("w", encoding="utf-8")
    except OSError as error:
        return _fail(CANNOT_CREATE, f"{options.measured}: {error.strerror}")
    with file:
        return asyncio.run(_play(plan, options, file))


async def _play(plan: "Plan", options: argparse.Namespace, measured: TextIO | None) -> int:
    from simulator.serial.devices import play  # noqa: PLC0415 - as above
    from simulator.serial.pty import Pty  # noqa: PLC0415 - as above

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    port = Pty(options.link)
    try:
        port.plug()
    except OSError as error:
        port.unplug()
        return _fail(CANNOT_CREATE, f"{options.link}: {error.strerror}")
    name = str(options.link or port.path)
    sys.stdout.write((json.dumps({"port": name, "device": plan.device}) if options.json else name) + "\n")
    sys.stdout.flush()
    try:
        outcome = await play(plan, port, measured, stop)
    finally:
        port.unplug()
    return _fail(outcome.status, outcome.line) if outcome.line else outcome.status


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return int(text)


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to a day")
    return seconds


def _fail(status: int, line: str) -> int:
    sys.stderr.write(f"stafet-sim: {line}\n")
    return status
