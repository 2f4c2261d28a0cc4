"""`stafet-bridge`: the command line. The HTTP and MQTT clients are imported by the commands that need them."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, Final

from bridge import admin, arguments, log
from bridge.admin import BAD_CONFIG, INTERNAL, IO_FAILED, OK, UNAVAILABLE, USAGE, CommandError
from bridge.assignment import Assignment
from bridge.config import ConfigError, Fault, load

WIDTH: Final = 80
STATUSES: Final = """\
exit statuses:
  0 done   2 usage   65 malformed input   69 a needed service is not there   70 a fault of ours
  73 cannot create   74 input/output   78 configuration
"""
EXAMPLES: Final = """\
first steps:
  stafet-bridge identity --config bridge.toml > bridge-public.pem     make the keys; hubs need the public one
  stafet-bridge hub add --config bridge.toml --id hub-0001 --key hub-public.pem --patient Patient/abc
  stafet-bridge run --config bridge.toml

every day:
  stafet-bridge status --config bridge.toml
  stafet-bridge quarantine list --config bridge.toml                  what was refused, and why
  stafet-bridge quarantine redrive --config bridge.toml --all         write it again, after a mend
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    given = list(sys.argv[1:] if words is None else words)
    parsed = parser(translate=given[:1] == ["translate"]).parse_args(given)
    command: Callable[[argparse.Namespace], int] = parsed.command
    try:
        return command(parsed)
    except CommandError as error:
        print(f"stafet-bridge: {error}", file=sys.stderr)
        return error.status
    except ConfigError as error:
        for fault in error.faults:
            print(f"stafet-bridge: {fault}", file=sys.stderr)
        return BAD_CONFIG
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return IO_FAILED
    except KeyboardInterrupt:
        return 130


def parser(*, translate: bool = False) -> argparse.ArgumentParser:
    """The whole command line; the arguments of `translate` only if that is what is wanted, for they cost imports."""
    top = argparse.ArgumentParser(
        prog="stafet-bridge",
        description=fill(
            "The far side of the relay: takes signed batches from hubs over MQTT, checks them, and writes FHIR"
            " Observations, each exactly once.",
            width=WIDTH,
        ),
        epilog=EXAMPLES + "\n" + STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(metavar="command", required=True)

    def add(
        group: Any, name: str, what: str, command: Callable[[argparse.Namespace], int], more: str = ""
    ) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = group.add_parser(
            name,
            help=what,
            description=fill(f"{what[0].upper()}{what[1:]}. {more}", width=WIDTH),
            epilog=STATUSES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument(
            "--config",
            type=Path,
            default=Path("bridge.toml"),
            metavar="FILE",
            help="configuration (default: %(default)s)",
        )
        sub.set_defaults(command=command)
        return sub

    def json_flag(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
        sub.add_argument("--json", action="store_true", help="print JSON")
        return sub

    def hub_id(sub: argparse.ArgumentParser, name: str = "--id") -> None:
        sub.add_argument(
            name, dest="hub", required=True, metavar="HUB", type=arguments.hub, help="the hub, such as hub-0001"
        )

    add(commands, "run", "relay readings until SIGTERM", _run)
    json_flag(add(commands, "check-config", "list every fault of the configuration and of the files it names", _check))
    json_flag(
        add(commands, "identity", "print the bridge's public key, making both keys if they are not there", _identity)
    )
    json_flag(add(commands, "status", "show what is pending, written and refused", _status))

    hub = commands.add_parser("hub", help="enrol, list and revoke hubs").add_subparsers(
        metavar="command", required=True
    )
    sub = json_flag(add(hub, "add", "enrol a hub: from now on what it signs is believed", _hub_add))
    hub_id(sub)
    sub.add_argument("--key", required=True, type=Path, metavar="FILE", help="the hub's public key (PEM)")
    sub.add_argument(
        "--patient", type=arguments.patient, metavar="Patient/ID", help="whose its readings are, unless assigned"
    )
    json_flag(add(hub, "list", "list hubs, their keys and their assignments", _hub_list))
    sub = json_flag(
        add(hub, "revoke", "believe a hub no more", _hub_revoke, "Its assignments end; what it signed before stays.")
    )
    hub_id(sub)

    sub = add(
        commands,
        "assign",
        "give a device, or one user of it, to a patient",
        _assign,
        "The first assignment covers all its readings; a later one begins now and ends the one before.",
    )
    json_flag(sub)
    hub_id(sub, "--hub")
    sub.add_argument(
        "--device",
        type=arguments.address(6, 8),
        metavar="AA:BB:CC:DD:EE:FF",
        help="its address, or a 20601 agent's system-id (default: every device of the hub)",
    )
    sub.add_argument("--user", type=arguments.user, metavar="N", help="the device's own user number, such as 1 or 2")
    sub.add_argument("--patient", required=True, type=arguments.patient, metavar="Patient/ID")
    sub.add_argument(
        "--from", dest="begin", type=arguments.moment_us, metavar="TIME", help="such as 2026-11-21T08:00:00+01:00"
    )
    sub.add_argument("--until", type=arguments.moment_us, metavar="TIME")

    quarantine = commands.add_parser("quarantine", help="what was refused or could not be written").add_subparsers(
        metavar="command", required=True
    )
    sub = json_flag(add(quarantine, "list", "list what was refused or could not be written, newest first", _list))
    sub.add_argument("--reason", metavar="WORD", help="only this reason, such as no-patient")
    sub.add_argument("--all", action="store_true", help="also what was written since")
    sub = json_flag(
        add(quarantine, "show", "show one item, with its evidence in hex", _show, "The evidence holds measured values.")
    )
    sub.add_argument("item", type=int, metavar="ITEM", help="its number in the list")
    sub = add(
        quarantine,
        "redrive",
        "translate and write quarantined readings again, after a mend",
        _redrive,
        "Refused batches are not redriven: their hubs still have the readings, and send them again by themselves.",
    )
    json_flag(sub)
    sub.add_argument("item", type=int, nargs="*", metavar="ITEM", help="numbers in the list")
    sub.add_argument("--reason", metavar="WORD", help="every reading with this reason")
    sub.add_argument("--all", action="store_true", help="every reading")
    sub.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for the FHIR server (default: 60)")

    sub = commands.add_parser(
        "translate", help="print the FHIR Bundle of measurement JSON, as `stafet-hub decode --json` prints it"
    )
    if translate:
        from bridge import translate_cli  # noqa: PLC0415 - only `translate` needs it

        translate_cli.add_arguments(sub)
        sub.set_defaults(command=translate_cli.run)
    return top


def _run(given: argparse.Namespace) -> int:
    from bridge import service  # noqa: PLC0415 - httpx and paho: 0.2 s that no other command needs
    from bridge.intake import TlsFilesError, tls_context  # noqa: PLC0415 - paho

    config = load(given.config)
    identity = admin.identity(config)
    try:
        if config.mqtt.tls is not None:
            tls_context(config.mqtt.tls)
    except TlsFilesError as error:
        raise CommandError(BAD_CONFIG, str(error)) from error
    log.set_up()
    try:
        with admin.ledger_errors():
            asyncio.run(service.serve(config, identity))
    except CommandError:
        raise
    except Exception as error:  # noqa: BLE001 - the process boundary: say what ended it, and let systemd start us again
        for each in error.exceptions if isinstance(error, ExceptionGroup) else (error,):
            log.fault("bridge_failed", each)
        return INTERNAL
    return OK


def _check(given: argparse.Namespace) -> int:
    faults: tuple[Fault, ...] = ()
    try:
        faults = admin.faults_of_files(load(given.config))
    except ConfigError as error:
        faults = error.faults
    if given.json:
        _print_json({"faults": [{"path": fault.path, "what": fault.what} for fault in faults]})
    elif faults:
        for fault in faults:
            print(f"stafet-bridge: {fault}", file=sys.stderr)
    else:
        print(f"{given.config}: no faults")
    return BAD_CONFIG if faults else OK


def _identity(given: argparse.Namespace) -> int:
    identity = admin.identity(load(given.config), make=True)
    if given.json:
        _print_json({"kid": identity.kid.hex(), "public_key": identity.public_pem})
    else:
        sys.stdout.write(identity.public_pem)
    return OK


def _status(given: argparse.Namespace) -> int:
    config = load(given.config)
    with admin.ledger(config) as ledger:
        found = admin.status(ledger, config)
    if given.json:
        _print_json(found)
    else:
        for key, value in found.items():
            shown = ", ".join(f"{name} {count}" for name, count in value.items()) if isinstance(value, dict) else value
            print(f"{key.replace('_', ' '):22} {'-' if shown in (None, '') else shown}")
    return OK


def _hub_add(given: argparse.Namespace) -> int:
    with admin.ledger(load(given.config), make=True) as ledger:
        found = admin.add_hub(ledger, given.hub, given.key, given.patient)
    _say(given, found, f"{given.hub} {'added' if found['changed'] else 'was there just so'}, key {found['kid']}")
    return OK


def _hub_list(given: argparse.Namespace) -> int:
    with admin.ledger(load(given.config)) as ledger:
        hubs = admin.hubs(ledger)
    if given.json:
        _print_json(hubs)
        return OK
    for hub in hubs:
        print(f"{hub['id']:36} {'revoked' if hub['revoked'] else 'key ' + ', '.join(kid[:16] for kid in hub['kids'])}")
        for each in hub["assignments"]:
            whose = each["device"] or "every device"
            user = f" user {each['user']}" if each["user"] is not None else ""
            print(f"  {whose}{user} -> {each['patient']}  {each['from'] or 'always'} - {each['until'] or 'now'}")
    return OK


def _hub_revoke(given: argparse.Namespace) -> int:
    with admin.ledger(load(given.config)) as ledger:
        count = admin.revoke(ledger, given.hub)
    _say(given, {"hub": given.hub, "revoked": count}, f"{given.hub}: {count} key(s) revoked")
    return OK


def _assign(given: argparse.Namespace) -> int:
    if given.user is not None and given.device is None:
        raise CommandError(USAGE, "--user needs --device: users are a device's own")
    assignment = Assignment(
        patient=given.patient,
        device=given.device,
        user=given.user,
        from_us=given.begin,
        until_us=given.until,
    )
    with admin.ledger(load(given.config)) as ledger:
        changed = admin.assign(ledger, given.hub, assignment)
    _say(given, {"hub": given.hub, "changed": changed}, "assigned" if changed else "it is so already")
    return OK


def _list(given: argparse.Namespace) -> int:
    with admin.ledger(load(given.config)) as ledger:
        items = admin.quarantine_list(ledger, given.reason, with_resolved=given.all)
    if given.json:
        _print_json(items)
        return OK
    for item in items:
        reading = f"{item['epoch'][:8]}:{item['seq']}" if item["seq"] is not None else f"{item['count']} x"
        print(
            f"{item['id']:6} {item['last_seen'][:19]} {item['hub'] or '-':12} {reading:14} {item['reason']}: {item['detail']}"
        )
    return OK


def _show(given: argparse.Namespace) -> int:
    with admin.ledger(load(given.config)) as ledger:
        item = admin.quarantine_show(ledger, given.item)
    if given.json:
        _print_json(item)
    else:
        for key, value in item.items():
            print(f"{key.replace('_', ' '):12} {'-' if value is None else value}")
    return OK


def _redrive(given: argparse.Namespace) -> int:
    config = load(given.config)
    if bool(given.item) + bool(given.reason) + given.all != 1:
        raise CommandError(USAGE, "say which readings: ITEM numbers, or --reason, or --all")
    with admin.ledger(config) as ledger:
        readings = admin.redrivable(ledger, given.item, given.reason)
    identity = admin.identity(config)
    with admin.ledger_errors():
        try:
            tally = asyncio.run(admin.redrive(config, identity, readings, wait_s=given.wait))
        except TimeoutError:
            message = (
                f"the FHIR server at {config.fhir.base_url} did not take it within {given.wait:g} s; nothing is lost"
            )
            raise CommandError(UNAVAILABLE, message) from None
    text = f"{tally['written']} written, {tally['quarantined']} still in quarantine"
    _say(given, tally, text)
    return OK


def _say(given: argparse.Namespace, found: object, text: str) -> None:
    if given.json:
        _print_json(found)
    else:
        print(text)


def _print_json(document: object) -> None:
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    sys.exit(main())
