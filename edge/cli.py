"""stafet-hub: its command line, and the commands for a hub; those for a bench are in `edge.bench_cli`.

Nothing but argparse is imported before it is known which command runs: `decode` starts without bleak, paho, SQLite
and cryptography, `run` without what only the others need.
"""

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge.command import CANNOT_CREATE, CONFIGURATION, IO, NOT_PERMITTED, UNAVAILABLE, Failed, Parser, positive

if TYPE_CHECKING:
    from edge.config import Config

_TOP: Final = """\
The Stafet hub: reads the listed devices over Bluetooth LE, keeps every reading until the bridge has signed for it.

a new hub:
  stafet-hub identity --config hub.toml > hub-public.pem    make its key; give this file to the bridge
  stafet-hub check-config --config hub.toml                 everything that is wrong, at once
  stafet-hub run --config hub.toml                          collect and send, until SIGTERM
  stafet-hub pair --config hub.toml                         find a device and list it; also: devices, forget
  stafet-hub status --config hub.toml                       how it is going

at a bench:
  stafet-hub decode gatt 2A5E 0062004800                    what a characteristic's value means
  stafet-hub decode 20601 session.txt                       what a recorded IEEE 11073-20601 session means
  stafet-hub listen 20601 --tcp 127.0.0.1:6024 --json       read IEEE 11073-20601 agents over TCP"""

_RUN: Final = """\
Collect readings from the listed devices and send them, until SIGTERM or SIGINT.

Events go to stderr, a line each: JSON, or text on a terminal. Under systemd, readiness, progress and the watchdog are
reported (Type=notify, WatchdogSec=30)."""

_STATUS: Final = """\
Show how the hub is: what waits to be delivered and since when, broker, radio, clock, devices, alarms.

Without a running hub it shows what its store tells, and the exit status is 69."""

_CHECK: Final = """\
Check hub.toml and every file it names, and list all faults: where, what is wrong, what is right."""

_IDENTITY: Final = """\
Make the hub's private key where hub.toml says, if there is none (mode 0600), and print its public key, which the
bridge needs: stafet-bridge hub add --id hub-0001 --key hub-public.pem --patient Patient/1"""

_PAIR: Final = """\
Find a device, pair with it, and list it: from then on the hub reads it, also one that runs already.

  stafet-hub pair                                            show what is in the air, and ask
  stafet-hub pair --address AA:BB:CC:DD:EE:01 --label scale --yes --json
  stafet-hub pair --list --json                              what is in the air, and no more

Two devices of one kind are told apart by signal strength (hold one beside the hub) and by the end of the address, which
many have on their back. A device that needs no bond is listed with --no-bond. --yes also answers, with yes, whether
both show the same number."""

_DEVICES: Final = """\
Show the devices that the hub may read: what they are, where they are listed, bonded or not, last seen and read."""

_FORGET: Final = """\
Stop reading a device and remove its bond. DEVICE is its label, its address, or the end of that.

A device that hub.toml lists stays there: the line to remove is told, and the exit status is 78."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    options = _parser().parse_args(arguments)
    try:
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except Failed as failed:
        print(f"stafet-hub: {failed.line}", file=sys.stderr)
        return failed.status
    except BrokenPipeError:  # `stafet-hub status | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> Parser:
    parser = Parser(prog="stafet-hub", description=_TOP)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str,
        summary: str,
        text: str,
        command: Callable[[argparse.Namespace], int],
        *options: Callable[[Parser], None],
    ) -> None:
        def fill(added: Parser) -> None:
            added.description = text
            added.set_defaults(command=command)
            for option in options:
                option(added)

        commands.add_parser(name, help=summary, fill=fill)

    add("run", "collect and send", _RUN, _run, _add_config)
    add("status", "how the hub is", _STATUS, _status, _add_config, _add_json, _add_lang)
    add("check-config", "everything wrong with hub.toml, at once", _CHECK, _check_config, _add_config, _add_json)
    summary = "make the hub's key if there is none; print the public key"
    add("identity", summary, _IDENTITY, _identity, _add_config, _add_json)
    commands.add_parser("listen", help="read IEEE 11073-20601 agents at a bench", fill=_add_listen)
    summary = "find a device, pair with it, and list it"
    add("pair", summary, _PAIR, _pair, _add_config, _add_json, _add_lang, _add_pair)
    add("devices", "the listed devices", _DEVICES, _devices, _add_config, _add_json, _add_lang)
    summary = "stop reading a device; remove its bond"
    add("forget", summary, _FORGET, _forget, _add_config, _add_json, _add_lang, _add_forget)
    commands.add_parser("decode", help="decode what a device said", fill=_add_decode)
    return parser


def _add_config(parser: Parser) -> None:
    parser.add_argument("--config", type=Path, default=Path("hub.toml"), metavar="FILE", help="default: hub.toml")


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _add_lang(parser: Parser) -> None:
    parser.add_argument("--lang", choices=("da", "en"), help="default: by LANG")


def _add_listen(listen: Parser) -> None:
    from edge.bench_cli import add_listen  # noqa: PLC0415  see the top; so it is with every import below

    add_listen(listen)


def _add_decode(decode: Parser) -> None:
    from edge.bench_cli import add_decode  # noqa: PLC0415

    add_decode(decode)


def _add_pair(pair: Parser) -> None:
    which = pair.add_mutually_exclusive_group()
    which.add_argument("--address", metavar="ADDRESS", help="the device, by its address or the end of that")
    which.add_argument("--name", metavar="NAME", help="the device, by the name that it sends")
    which.add_argument("--list", action="store_true", help="show what is in the air, and end")
    pair.add_argument("--label", metavar="TEXT", help="what it shall be called; shown by status")
    pair.add_argument(
        "--wait", type=positive, default=30, metavar="S", help="for the device, or for a list; default: 30"
    )
    pair.add_argument("--no-bond", action="store_true", help="list it without pairing")
    pair.add_argument("--passkey-from-stdin", action="store_true", help="the number that the device shows is on stdin")
    pair.add_argument("--yes", action="store_true", help="answer every question with yes")


def _add_forget(forget: Parser) -> None:
    forget.add_argument("device", metavar="DEVICE", help="its label, or its address")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # noqa: PLC0415  10 ms for those who ask

        print(f"stafet-hub {version('stafet')}")
        parser.exit(0)


def _settings(options: argparse.Namespace, *, files: bool = False) -> "Config":
    from edge.config import ConfigError, load  # noqa: PLC0415

    try:
        return load(options.config, files=files)
    except ConfigError as error:
        first, *others = map(str, error.faults)
        more = f" (and {len(others)} more: stafet-hub check-config --config {options.config})" if others else ""
        raise Failed(CONFIGURATION, first + more) from error


def _run(options: argparse.Namespace) -> int:
    gc.disable()  # importing makes no garbage, looking for it is a tenth of the start; HubAgent enables it when all is there
    from edge import log  # noqa: PLC0415

    log.set_up()
    settings = _settings(options, files=True)
    from edge import hub, outbox  # noqa: PLC0415

    try:
        hub.run(settings)
    except outbox.OutboxBusy as error:
        raise Failed(UNAVAILABLE, f"{error}; end the other stafet-hub first") from error
    except outbox.OutboxDamaged as error:
        right = (
            "make room there and let this user write there, then start the hub again; what is in the store stays there"
        )
        raise Failed(CANNOT_CREATE, f"{error}; {right}") from error
    except outbox.OutboxError as error:
        raise Failed(IO, f"{error}; check the disk") from error
    return 0


def _status(options: argparse.Namespace) -> int:
    from edge import status  # noqa: PLC0415

    settings = _settings(options)
    try:
        document = status.ask(settings.hub.store)
    except PermissionError as error:
        raise Failed(NOT_PERMITTED, "the hub is another user's; run this as root or as that user") from error
    except OSError as error:
        raise Failed(UNAVAILABLE, f"the hub runs but does not answer ({error}); see its log") from error
    if document is None:
        from edge.clock import SystemClock  # noqa: PLC0415
        from edge.outbox import Outbox, OutboxError  # noqa: PLC0415

        try:
            stats = Outbox.peek(settings.hub.store)
        except OutboxError as error:
            raise Failed(IO, f"{error}; stafet-hub run mends what can be mended") from error
        document = {**status.of_store(settings.hub.id, stats, SystemClock().now()), "running": False}
    if options.json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(status.in_words(document, options.lang or status.language(os.environ)))
    return 0 if document["running"] else UNAVAILABLE


def _pair(options: argparse.Namespace) -> int:
    settings = _settings(options)
    from edge.ble.pair_cli import pair  # noqa: PLC0415

    pair(settings, options)
    return 0


def _devices(options: argparse.Namespace) -> int:
    settings = _settings(options)
    from edge.ble.devices_cli import devices  # noqa: PLC0415

    devices(settings, options)
    return 0


def _forget(options: argparse.Namespace) -> int:
    settings = _settings(options)
    from edge.ble.devices_cli import forget  # noqa: PLC0415

    forget(settings, options)
    return 0


def _check_config(options: argparse.Namespace) -> int:
    from edge.config import ConfigError, Fault, load  # noqa: PLC0415

    faults: tuple[Fault, ...] = ()
    try:
        load(options.config, files=True)
    except ConfigError as error:
        faults = error.faults
    if options.json:
        listed = [{"path": fault.path, "what": fault.what, "right": fault.right} for fault in faults]
        print(json.dumps({"ok": not faults, "faults": listed}, indent=2, ensure_ascii=False))
    else:
        print("\n".join(map(str, faults)) or f"{options.config}: ok")
    if faults:
        raise Failed(CONFIGURATION, f"{len(faults)} to correct in {options.config} and the files it names")
    return 0


def _identity(options: argparse.Namespace) -> int:
    settings = _settings(options)
    path = settings.hub.key
    from edge.identity import establish  # noqa: PLC0415
    from wire.errors import KeyFileError  # noqa: PLC0415

    try:
        identity = establish(path)
    except KeyFileError as error:
        raise Failed(CONFIGURATION, f"{path} is {error}; move it away and run this again") from error
    except PermissionError as error:
        raise Failed(NOT_PERMITTED, f"{path}: {error.strerror}; run as the user whose hub it is") from error
    except OSError as error:
        raise Failed(CANNOT_CREATE, f"{path}: {error.strerror}; check its directory") from error
    pem = identity.public_key_pem.decode()
    if options.json:
        print(json.dumps({"hub": settings.hub.id, "kid": identity.kid.hex(), "public_key": pem}, indent=2))
    else:
        print(pem, end="")
    return 0
