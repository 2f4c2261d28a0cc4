"""`stafet-sim serial`: one serial device on a pty."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Final, TextIO

from simulator.command import CANNOT_CREATE, USAGE, Outcome, fail, positive, run, seconds, whole
from simulator.serial.options import DEVICES, FAULTS, NONE

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
    serial.add_argument("--count", type=positive, default=3, metavar="N", help="how many readings, or studies (3)")
    serial.add_argument(
        "--stored", type=whole, default=0, metavar="N", help="nonin-df13: so many lie in its memory (0)"
    )
    serial.add_argument("--interval", type=seconds, default=1.0, metavar="S", help="seconds between readings (1)")
    serial.add_argument("--seed", type=int, default=1, help="whose readings they are: the same for the same seed (1)")
    serial.add_argument(
        "--link", type=Path, metavar="PATH", help="a name for the port that stays, below /dev for hub.toml"
    )
    serial.add_argument("--json", action="store_true", help="print the port as a JSON line")
    serial.add_argument("--measured", type=Path, metavar="FILE", help="write what was measured here, a JSON line each")
    faults = "\n".join(f"  {fault.name:26}{fault.help}" for fault in FAULTS.values())
    serial.add_argument("--fault", choices=FAULTS, metavar="FAULT", help=f"what is wrong with it:\n{faults}")


def play_serial(options: argparse.Namespace) -> int:
    """Play it; the exit status."""
    from simulator.serial.devices import Plan, play  # noqa: PLC0415 - only this command needs it
    from simulator.serial.pty import Pty  # noqa: PLC0415 - as above

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
        return fail(USAGE, str(error))

    async def plugged_in(measured: TextIO | None, stop: asyncio.Event) -> Outcome:
        port = Pty(options.link)
        try:
            port.plug()
        except OSError as error:
            port.unplug()
            return Outcome(status=CANNOT_CREATE, line=f"{options.link}: {error.strerror}")
        name = str(options.link or port.path)
        print(json.dumps({"port": name, "device": plan.device}) if options.json else name, flush=True)
        try:
            return await play(plan, port, measured, stop)
        finally:
            port.unplug()

    return run(plugged_in, options.measured)
