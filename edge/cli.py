"""stafet-hub: the commands.

Nothing but argparse is imported before it is known which command runs: `decode` starts without bleak, paho, SQLite
and cryptography, `run` without what only the others need.
"""

import argparse
import contextlib
import gc
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from edge.config import Config

USAGE: Final = 2
MALFORMED: Final = 65
UNAVAILABLE: Final = 69
CANNOT_CREATE: Final = 73
IO: Final = 74
NOT_PERMITTED: Final = 77
CONFIGURATION: Final = 78

_STATUSES: Final = """\
exit statuses:
  0   done                                    73  a file cannot be created
  2   the command line is wrong               74  a disk or file fails
  65  the input is malformed                  77  not permitted
  69  what is needed is not there             78  hub.toml, or a file it names, is wrong
Whatever fails says so in one line on stderr: what, and what to do next."""

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

_DECODE: Final = """\
Decode what a device said.

  stafet-hub decode gatt 2A5E 0062004800
  stafet-hub decode gatt 0x2a35 00:7a:00:50:00:5e:00
  stafet-hub decode gatt 00002a9d-0000-1000-8000-00805f9b34fb "00 8c 37" --json
  stafet-hub decode serial --format nonin-df8 80396220
  stafet-hub decode serial --help
  stafet-hub decode record --help
  stafet-hub decode 20601 --help"""

_DECODE_GATT: Final = """\
Decode the value of a Bluetooth LE health characteristic, for example as a sniffer or `bluetoothctl` shows it.

  stafet-hub decode gatt 2A5E 0062004800
  stafet-hub decode gatt 0x2a35 00:7a:00:50:00:5e:00
  stafet-hub decode gatt 00002a9d-0000-1000-8000-00805f9b34fb "00 8c 37" --json
  stafet-hub decode gatt 2A35 566a0047000000ea07080b121f00003f000000 --device BM85

UUID is 2A35, 0x2a35 or all 128 bits. HEX may have spaces, colons or 0x between the bytes. Some devices send what their
service does not say; give the NAME under which such a one advertises (docs/devices.md)."""

_SERIAL: Final = """\
Decode one frame of a serial device (Bluetooth SPP or cable), from its first byte to its last.

  stafet-hub decode serial --format nonin-df8 80396220
  stafet-hub decode serial --format nonin-df13 0002000d000e20071001184821000210003400636203
  stafet-hub decode serial --format nonin-reply 02f40b02353031343933323030ca03
  stafet-hub decode serial --format vitalograph --json 02 465444 30303030313239343036 333633333939303931343034 \
303030303030303935303930303030 313330353238313034343138 30 393233 03 6a

FORMAT:
  nonin-df8     4 bytes, one each second while a finger is in; only the first has bit 7
  nonin-df13    a spot-check with the time, live or from memory; the null byte before it may be there
  nonin-reply   the serial number
  nonin-memory  a piece of a WristOx2 recorder's study, as the hub keeps it: header, place, up to 150 samples
  vitalograph   a blow into a lung monitor, STX to XOR; vitalograph-lung-monitor is the same

Under the measurements stands what else the frame says; --json has the measurements alone. HEX may have spaces, colons
or 0x between the bytes."""

_RECORD: Final = """\
Decode what some devices keep or advertise in a form of their own.

  stafet-hub decode record omron-14 6457431a7316161c000046001900
  stafet-hub decode record advertisement-181d a24c63e20702010f2f1c --json

FORMAT:
  omron-14            14 bytes of an Omron cuff's memory, as its app reads them
  advertisement-181d  the service data of the Weight Scale Service in a Mi Scale's advertisement

HEX may have spaces, colons or 0x between the bytes."""

_DECODE_20601: Final = """\
Decode a recorded IEEE 11073-20601 session: one APDU in hexadecimal a line, A>M or M>A before it if you like, # for
comments, and spaces, colons or 0x between the bytes. The configuration is taken from the association, so the recording
must hold that too: the association request, and the configuration report where the configuration is no standard one.

  A>M e2000032 80000000 0001 002a 5079 0026 ...
  A>M e7000036 0034 1111 0100 002e ...             # a scan report

Test data have the status test-data. What is let pass although it is not right is told on stderr."""

_LISTEN: Final = """\
Serve IEEE 11073-20601 agents and print what they measure, until SIGTERM or SIGINT.

  stafet-hub listen 20601 --tcp 127.0.0.1:6024 --json
  stafet-hub listen 20601 --serial /dev/ttyUSB0 --json
  stafet-hub listen 20601 --usb --hdp --json

For a technician at a bench: nothing is stored or sent, and there is no encryption. Any agent is accepted, several at a
time. Standard configurations are known, others are asked for. A report is confirmed when its lines are written. What
an agent has stored is transferred too, and stays there unless --clear-store is given.

With --json each line on stdout is one measurement, `agent` in it says whose. Events, the address first, go to stderr. With port 0 the system
chooses one. --record makes FILE, and FILE-2 and so on for later connections, for `decode 20601`; device and serial
numbers are overwritten in it, measured values are not."""


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


# Those of wire.serial, which is not imported before it is known that it is needed; a test holds them equal.
_SERIAL_FORMATS: Final = (
    "nonin-df8",
    "nonin-df13",
    "nonin-reply",
    "nonin-memory",
    "vitalograph-lung-monitor",
    "vitalograph",
)


class _Failed(Exception):  # noqa: N818  it carries a line for the user and a status, and never leaves this module
    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status
        self.line = line


class _Help(argparse.RawDescriptionHelpFormatter):
    """argparse asks shutil for the width of the terminal at every option, which costs a running hub half a megabyte."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_terminal_width() - 2)


class _Parser(argparse.ArgumentParser):
    """argparse that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    options = _parser().parse_args(arguments)
    try:
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except _Failed as failed:
        print(f"stafet-hub: {failed.line}", file=sys.stderr)
        return failed.status
    except BrokenPipeError:  # `stafet-hub status | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = _new(_Parser, "stafet-hub", _TOP)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def add(
        name: str, command: Callable[[argparse.Namespace], int], summary: str, text: str
    ) -> argparse.ArgumentParser:
        added = _new(commands.add_parser, name, text, help=summary)
        added.set_defaults(command=command)
        return added

    run = add("run", _run, "collect and send", _RUN)
    status = add("status", _status, "how the hub is", _STATUS)
    check = add("check-config", _check_config, "everything wrong with hub.toml, at once", _CHECK)
    identity = add("identity", _identity, "make the hub's key if there is none; print the public key", _IDENTITY)
    listen = add("listen", _listen, "read IEEE 11073-20601 agents at a bench", _LISTEN)
    pair = add("pair", _devices_command("pair"), "find a device, pair with it, and list it", _PAIR)
    devices = add("devices", _devices_command("devices"), "the listed devices", _DEVICES)
    forget = add("forget", _devices_command("forget"), "stop reading a device; remove its bond", _FORGET)
    _add_decode(commands)
    for parser_ in (run, status, check, identity, pair, devices, forget):
        parser_.add_argument("--config", type=Path, default=Path("hub.toml"), metavar="FILE", help="default: hub.toml")
    for parser_ in (status, check, identity, listen, pair, devices, forget):
        parser_.add_argument("--json", action="store_true", help="for programs")
    for parser_ in (status, pair, devices, forget):
        parser_.add_argument("--lang", choices=("da", "en"), help="default: by LANG")
    _add_pair(pair)
    forget.add_argument("device", metavar="DEVICE", help="its label, or its address")
    listen.add_argument("kind", choices=("20601",), help="what agents speak")
    listen.add_argument("--tcp", type=_endpoint, metavar="HOST:PORT", help="where to listen")
    listen.add_argument("--serial", metavar="PATH", help="a serial port that speaks 20601")
    listen.add_argument("--usb", action="store_true", help="Personal Healthcare Devices on USB")
    listen.add_argument("--hdp", action="store_true", help="Bluetooth HDP; pair the device before")
    listen.add_argument("--any-address", action="store_true", help="let HOST be reachable from the network")
    listen.add_argument("--count", type=_positive, metavar="N", help="end after N measurements, their report complete")
    listen.add_argument("--record", type=Path, metavar="FILE", help="write the session, redacted")
    listen.add_argument("--clear-store", action="store_true", help="clear what was transferred from agents' stores")
    return parser


def _add_pair(pair: argparse.ArgumentParser) -> None:
    which = pair.add_mutually_exclusive_group()
    which.add_argument("--address", metavar="ADDRESS", help="the device, by its address or the end of that")
    which.add_argument("--name", metavar="NAME", help="the device, by the name that it sends")
    which.add_argument("--list", action="store_true", help="show what is in the air, and end")
    pair.add_argument("--label", metavar="TEXT", help="what it shall be called; shown by status")
    pair.add_argument(
        "--wait", type=_positive, default=30, metavar="S", help="for the device, or for a list; default: 30"
    )
    pair.add_argument("--no-bond", action="store_true", help="list it without pairing")
    pair.add_argument("--passkey-from-stdin", action="store_true", help="the number that the device shows is on stdin")
    pair.add_argument("--yes", action="store_true", help="answer every question with yes")


def _add_decode(commands: "argparse._SubParsersAction[Any]") -> None:
    decode = _new(commands.add_parser, "decode", _DECODE, help="decode what a device said")
    decode.add_argument("--json", action="store_true", help="for programs")
    kinds = decode.add_subparsers(metavar="KIND", required=True, parser_class=_Parser)

    def add(name: str, command: Callable[[argparse.Namespace], int], summary: str, text: str) -> Any:
        kind = _new(kinds.add_parser, name, text, help=summary)
        kind.set_defaults(command=command)
        kind.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="for programs")
        return kind

    gatt = add("gatt", _decode_gatt, "the value of a Bluetooth LE characteristic", _DECODE_GATT)
    gatt.add_argument("uuid", metavar="UUID", help="the characteristic")
    gatt.add_argument("hex", metavar="HEX", nargs="*", help="its value")
    gatt.add_argument("--device", default="", metavar="NAME", help="its name or model, for ways of its own")
    serial = add("serial", _decode_serial, "a frame of a serial device", _SERIAL)
    serial.add_argument("--format", choices=_SERIAL_FORMATS, required=True, metavar="FORMAT", help="see above")
    serial.add_argument("hex", metavar="HEX", nargs="*", help="the frame")
    record = add("record", _decode_record, "what a device keeps or advertises in a form of its own", _RECORD)
    record.add_argument("format", choices=("omron-14", "advertisement-181d"), metavar="FORMAT", help="see above")
    record.add_argument("hex", metavar="HEX", nargs="*", help="the record")
    x73 = add("20601", _decode_20601, "a recorded IEEE 11073-20601 session", _DECODE_20601)
    x73.add_argument("file", metavar="FILE", help="the recording; - is stdin")


def _endpoint(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!a} is no HOST:PORT")
    return match[1] or match[2], int(match[3])


def _positive(text: str) -> int:
    if re.fullmatch("[1-9][0-9]{0,8}", text) is None:
        raise argparse.ArgumentTypeError(f"{text!a} is no number from 1 to 999999999")
    return int(text)


def _terminal_width() -> int:
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns) or 80
    except (OSError, ValueError):
        return 80


def _new(make: Callable[..., argparse.ArgumentParser], name: str, text: str, **more: str) -> argparse.ArgumentParser:
    return make(name, description=text, epilog=_STATUSES, formatter_class=_Help, **more)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # noqa: PLC0415  10 ms for those who ask

        print(f"stafet-hub {version('stafet')}")
        parser.exit(0)


def _settings(options: argparse.Namespace, *, files: bool = False) -> "Config":
    from edge.config import ConfigError, load  # noqa: PLC0415  see the top; so it is with every import below

    try:
        return load(options.config, files=files)
    except ConfigError as error:
        first, *others = map(str, error.faults)
        more = f" (and {len(others)} more: stafet-hub check-config --config {options.config})" if others else ""
        raise _Failed(CONFIGURATION, first + more) from error


def _run(options: argparse.Namespace) -> int:
    gc.disable()  # importing makes no garbage, looking for it is a tenth of the start; HubAgent enables it when all is there
    from edge import log  # noqa: PLC0415

    log.set_up()
    settings = _settings(options, files=True)
    from edge import hub, outbox  # noqa: PLC0415

    try:
        hub.run(settings)
    except outbox.OutboxBusy as error:
        raise _Failed(UNAVAILABLE, f"{error}; end the other stafet-hub first") from error
    except outbox.OutboxDamaged as error:
        right = (
            "make room there and let this user write there, then start the hub again; what is in the store stays there"
        )
        raise _Failed(CANNOT_CREATE, f"{error}; {right}") from error
    except outbox.OutboxError as error:
        raise _Failed(IO, f"{error}; check the disk") from error
    return 0


def _status(options: argparse.Namespace) -> int:
    from edge import status  # noqa: PLC0415

    settings = _settings(options)
    try:
        document = status.ask(settings.hub.store)
    except PermissionError as error:
        raise _Failed(NOT_PERMITTED, "the hub is another user's; run this as root or as that user") from error
    except OSError as error:
        raise _Failed(UNAVAILABLE, f"the hub runs but does not answer ({error}); see its log") from error
    if document is None:
        from edge.clock import SystemClock  # noqa: PLC0415
        from edge.outbox import Outbox, OutboxError  # noqa: PLC0415

        try:
            stats = Outbox.peek(settings.hub.store)
        except OutboxError as error:
            raise _Failed(IO, f"{error}; stafet-hub run mends what can be mended") from error
        document = {**status.of_store(settings.hub.id, stats, SystemClock().now()), "running": False}
    if options.json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(status.in_words(document, options.lang or status.language(os.environ)))
    return 0 if document["running"] else UNAVAILABLE


def _devices_command(name: str) -> Callable[[argparse.Namespace], int]:
    def command(options: argparse.Namespace) -> int:
        settings = _settings(options)
        from edge.ble import devices_cli  # noqa: PLC0415

        try:
            if name == "pair":
                from edge.ble import pair_cli  # noqa: PLC0415

                pair_cli.pair(settings, options)
            elif name == "devices":
                devices_cli.devices(settings, options)
            else:
                devices_cli.forget(settings, options)
        except devices_cli.Failed as failed:
            raise _Failed(failed.status, failed.line) from failed
        return 0

    return command


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
        raise _Failed(CONFIGURATION, f"{len(faults)} to correct in {options.config} and the files it names")
    return 0


def _identity(options: argparse.Namespace) -> int:
    settings = _settings(options)
    path = settings.hub.key
    from edge.identity import establish  # noqa: PLC0415
    from wire.errors import KeyFileError  # noqa: PLC0415

    try:
        identity = establish(path)
    except KeyFileError as error:
        raise _Failed(CONFIGURATION, f"{path} is {error}; move it away and run this again") from error
    except PermissionError as error:
        raise _Failed(NOT_PERMITTED, f"{path}: {error.strerror}; run as the user whose hub it is") from error
    except OSError as error:
        raise _Failed(CANNOT_CREATE, f"{path}: {error.strerror}; check its directory") from error
    pem = identity.public_key_pem.decode()
    if options.json:
        print(json.dumps({"hub": settings.hub.id, "kid": identity.kid.hex(), "public_key": pem}, indent=2))
    else:
        print(pem, end="")
    return 0


def _decode_gatt(options: argparse.Namespace) -> int:
    from wire import gatt, measurement_json  # noqa: PLC0415
    from wire.errors import DecodeError, WireError  # noqa: PLC0415
    from wire.quirks import quirk_for  # noqa: PLC0415

    try:
        uuid = gatt.parse_uuid(options.uuid)
    except WireError as error:
        raise _Failed(MALFORMED, f"{error}, in UUID at byte 0") from error
    if gatt.characteristic_name(uuid) is None:
        raise _Failed(MALFORMED, f"no decoder for {gatt.short_uuid(uuid)}, in UUID at byte 0")
    value = _bytes_of(" ".join(options.hex))
    try:
        measurements = gatt.decode_as(quirk_for(name=options.device, model=options.device), uuid, value)
        described = {} if measurements or uuid in gatt.MEASUREMENTS | gatt.STORED else gatt.describe(uuid, value)
    except DecodeError as error:
        raise _Failed(MALFORMED, f"{gatt.short_uuid(uuid)}: {error}") from error
    if options.json:
        print(measurement_json.dumps(measurements, indent=2))
    else:
        from edge.table import described_table, measurement_table  # noqa: PLC0415

        name = gatt.characteristic_name(uuid)
        print(f"{gatt.short_uuid(uuid)} {name}, {len(value)} bytes")
        print(measurement_table(measurements) if measurements else described_table(described))
    return 0


def _decode_serial(options: argparse.Namespace) -> int:
    from wire import measurement_json, serial  # noqa: PLC0415
    from wire.errors import DecodeError  # noqa: PLC0415

    format_ = serial.ALIASES.get(options.format) or serial.SerialFormat(options.format)
    frame = _bytes_of(" ".join(options.hex))
    try:
        measurements = serial.decode(format_, frame)
        described = serial.describe(format_, frame)
    except DecodeError as error:
        raise _Failed(MALFORMED, f"{format_}: {error}") from error
    if options.json:
        print(measurement_json.dumps(measurements, indent=2))
    else:
        from edge.table import described_table, measurement_table  # noqa: PLC0415

        print(f"{serial.format_name(format_)}, {len(frame)} bytes")
        if measurements:
            print(measurement_table(measurements))
        print(described_table(described))
    return 0


def _decode_record(options: argparse.Namespace) -> int:
    from edge.record_cli import show  # noqa: PLC0415
    from wire.errors import DecodeError  # noqa: PLC0415

    try:
        show(options.format, _bytes_of(" ".join(options.hex)), as_json=options.json)
    except DecodeError as error:
        raise _Failed(MALFORMED, f"{options.format}: {error}") from error
    return 0


def _decode_20601(options: argparse.Namespace) -> int:
    from edge.table import measurement_table  # noqa: PLC0415
    from edge.x73.recording import RecordingError, replay  # noqa: PLC0415
    from wire import measurement_json  # noqa: PLC0415

    name = "stdin" if options.file == "-" else options.file
    try:
        with _lines_of(options.file) as file:
            replayed = replay(file)
    except RecordingError as error:
        raise _Failed(MALFORMED, f"{name}: {error}") from error
    except FileNotFoundError as error:
        raise _Failed(UNAVAILABLE, f"{name} is not there; give the path of a recording, or - for stdin") from error
    except PermissionError as error:
        raise _Failed(NOT_PERMITTED, f"{name}: {error.strerror}; run as the user whose file it is") from error
    except OSError as error:
        raise _Failed(IO, f"{name}: {error.strerror}; check the disk") from error
    for line, tolerated in replayed.tolerated:
        print(
            f"stafet-hub: {name}: line {line}: let pass: {tolerated.detail} ({tolerated.tolerance}) at byte {tolerated.offset}",
            file=sys.stderr,
        )
    if options.json:
        print(measurement_json.dumps(replayed.measurements, indent=2))
    else:
        print(f"20601, {replayed.apdus} APDUs, {len(replayed.measurements)} measurements")
        if replayed.measurements:
            print(measurement_table(replayed.measurements))
    return 0


def _lines_of(name: str) -> contextlib.AbstractContextManager[Iterable[str]]:
    """Any byte is some character here: one that is not hexadecimal is told with its line."""
    if name != "-":
        return Path(name).open(encoding="latin-1")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="latin-1")
    return contextlib.nullcontext(sys.stdin)


def _listen(options: argparse.Namespace) -> int:
    from edge import log  # noqa: PLC0415
    from edge.config import is_loopback  # noqa: PLC0415
    from edge.x73 import bench  # noqa: PLC0415

    if not (options.tcp or options.serial or options.usb or options.hdp):
        raise _Failed(USAGE, "listen needs --tcp, --serial, --usb or --hdp; see stafet-hub listen --help")
    host, port = options.tcp or ("localhost", 0)
    if not is_loopback(host) and not options.any_address:
        raise _Failed(USAGE, f"{host or 'an empty HOST'} is reachable from the network, unencrypted; add --any-address")
    if options.record is not None and options.record.exists():
        raise _Failed(CANNOT_CREATE, f"{options.record} is there already; give another FILE to --record")
    log.set_up()
    try:
        bench.listen(
            bench.Ways(
                tcp=("127.0.0.1" if host == "localhost" else host or None, port) if options.tcp else None,
                serial=options.serial,
                usb=options.usb,
                hdp=options.hdp,
            ),
            show=bench.Lines(sys.stdout, json=options.json),
            count=options.count,
            record=options.record,
            clear_store=options.clear_store,
        )
    except BrokenPipeError:
        raise
    except bench.CannotListen as error:
        status = NOT_PERMITTED if isinstance(error.__cause__, PermissionError) else UNAVAILABLE
        raise _Failed(status, f"{error}; check what is given, or choose another one") from error
    except OSError as error:
        raise _Failed(IO, f"{error.filename or 'stdout'}: {error.strerror}; check the disk") from error
    return 0


def _bytes_of(text: str) -> bytes:
    """The bytes in hexadecimal text with spaces, colons, commas or dashes between them, each perhaps with 0x."""
    value = bytearray()
    for group in re.split(r"[\s:,_-]+", text.strip()):
        digits = group[2:] if group[:2] in {"0x", "0X"} else group
        for place in range(0, len(digits), 2):
            pair = digits[place : place + 2]
            if re.fullmatch("[0-9A-Fa-f]{2}", pair) is None:
                what = "half a byte" if re.fullmatch("[0-9A-Fa-f]", pair) else "not hexadecimal"
                raise _Failed(MALFORMED, f"HEX: {pair!a} is {what} at byte {len(value)}")
            value.append(int(pair, 16))
    return bytes(value)
