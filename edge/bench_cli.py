"""stafet-hub at a bench: `decode` and `listen`.

Imported when one of them was chosen; what only one kind needs is imported when that is chosen.
"""

import argparse
import contextlib
import io
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from edge.command import CANNOT_CREATE, IO, MALFORMED, NOT_PERMITTED, UNAVAILABLE, USAGE, Failed, Parser, positive
from edge.table import described_table, measurement_table
from wire import measurement_json
from wire.errors import DecodeError, WireError
from wire.measurement import Measurement

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


def add_decode(decode: Parser) -> None:
    """Make it the parser of `decode`."""
    decode.description = _DECODE
    decode.add_argument("--json", action="store_true", help="for programs")
    kinds = decode.add_subparsers(metavar="KIND", required=True)
    kinds.add_parser("gatt", help="the value of a Bluetooth LE characteristic", fill=_add_gatt)
    kinds.add_parser("serial", help="a frame of a serial device", fill=_add_serial)
    kinds.add_parser("record", help="what a device keeps or advertises in a form of its own", fill=_add_record)
    kinds.add_parser("20601", help="a recorded IEEE 11073-20601 session", fill=_add_20601)


def _add_gatt(gatt: Parser) -> None:
    _add_kind(gatt, _DECODE_GATT, _decode_gatt)
    gatt.add_argument("uuid", metavar="UUID", help="the characteristic")
    gatt.add_argument("hex", metavar="HEX", nargs="*", help="its value")
    gatt.add_argument("--device", default="", metavar="NAME", help="its name or model, for ways of its own")


def _add_serial(serial: Parser) -> None:
    from wire.serial import NAMES  # noqa: PLC0415

    _add_kind(serial, _SERIAL, _decode_serial)
    serial.add_argument("--format", choices=NAMES, required=True, metavar="FORMAT", help="see above")
    serial.add_argument("hex", metavar="HEX", nargs="*", help="the frame")


def _add_record(record: Parser) -> None:
    _add_kind(record, _RECORD, _decode_record)
    record.add_argument("format", choices=("omron-14", "advertisement-181d"), metavar="FORMAT", help="see above")
    record.add_argument("hex", metavar="HEX", nargs="*", help="the record")


def _add_20601(x73: Parser) -> None:
    _add_kind(x73, _DECODE_20601, _decode_20601)
    x73.add_argument("file", metavar="FILE", help="the recording; - is stdin")


def _add_kind(kind: Parser, text: str, command: Callable[[argparse.Namespace], int]) -> None:
    kind.description = text
    kind.set_defaults(command=command)
    kind.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="for programs")


def add_listen(listen: Parser) -> None:
    """Make it the parser of `listen`."""
    listen.description = _LISTEN
    listen.set_defaults(command=_listen)
    listen.add_argument("--json", action="store_true", help="for programs")
    listen.add_argument("kind", choices=("20601",), help="what agents speak")
    listen.add_argument("--tcp", type=_endpoint, metavar="HOST:PORT", help="where to listen")
    listen.add_argument("--serial", metavar="PATH", help="a serial port that speaks 20601")
    listen.add_argument("--usb", action="store_true", help="Personal Healthcare Devices on USB")
    listen.add_argument("--hdp", action="store_true", help="Bluetooth HDP; pair the device before")
    listen.add_argument("--any-address", action="store_true", help="let HOST be reachable from the network")
    listen.add_argument("--count", type=positive, metavar="N", help="end after N measurements, their report complete")
    listen.add_argument("--record", type=Path, metavar="FILE", help="write the session, redacted")
    listen.add_argument("--clear-store", action="store_true", help="clear what was transferred from agents' stores")


def _endpoint(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!a} is no HOST:PORT")
    return match[1] or match[2], int(match[3])


def _decode_gatt(options: argparse.Namespace) -> int:
    from wire import gatt  # noqa: PLC0415
    from wire.quirks import quirk_for  # noqa: PLC0415

    try:
        uuid = gatt.parse_uuid(options.uuid)
    except WireError as error:
        raise Failed(MALFORMED, f"{error}, in UUID at byte 0") from error
    if gatt.characteristic_name(uuid) is None:
        raise Failed(MALFORMED, f"no decoder for {gatt.short_uuid(uuid)}, in UUID at byte 0")
    value = _bytes_of(" ".join(options.hex))
    try:
        measurements = gatt.decode_as(quirk_for(name=options.device, model=options.device), uuid, value)
        described = {} if measurements or uuid in gatt.MEASUREMENTS | gatt.STORED else gatt.describe(uuid, value)
    except DecodeError as error:
        raise Failed(MALFORMED, f"{gatt.short_uuid(uuid)}: {error}") from error
    name = gatt.characteristic_name(uuid)
    _show(f"{gatt.short_uuid(uuid)} {name}, {len(value)} bytes", measurements, described, as_json=options.json)
    return 0


def _decode_serial(options: argparse.Namespace) -> int:
    from wire import serial  # noqa: PLC0415

    format_ = serial.ALIASES.get(options.format) or serial.SerialFormat(options.format)
    frame = _bytes_of(" ".join(options.hex))
    try:
        measurements = serial.decode(format_, frame)
        described = serial.describe(format_, frame)
    except DecodeError as error:
        raise Failed(MALFORMED, f"{format_}: {error}") from error
    headline = f"{serial.format_name(format_)}, {len(frame)} bytes"
    _show(headline, measurements, described, as_json=options.json)
    return 0


def _decode_record(options: argparse.Namespace) -> int:
    from wire import advertisement, omron  # noqa: PLC0415

    name, decode = {
        "omron-14": ("Omron record of 14 bytes", omron.decode_record14),
        "advertisement-181d": ("Service data of the Weight Scale Service", advertisement.decode_mi_scale),
    }[options.format]
    value = _bytes_of(" ".join(options.hex))
    try:
        measurements = decode(value)
    except DecodeError as error:
        raise Failed(MALFORMED, f"{options.format}: {error}") from error
    _show(f"{name}, {len(value)} bytes", measurements, as_json=options.json)
    return 0


def _decode_20601(options: argparse.Namespace) -> int:
    from edge.x73.recording import RecordingError, replay  # noqa: PLC0415

    name = "stdin" if options.file == "-" else options.file
    try:
        with _lines_of(options.file) as file:
            replayed = replay(file)
    except RecordingError as error:
        raise Failed(MALFORMED, f"{name}: {error}") from error
    except FileNotFoundError as error:
        raise Failed(UNAVAILABLE, f"{name} is not there; give the path of a recording, or - for stdin") from error
    except PermissionError as error:
        raise Failed(NOT_PERMITTED, f"{name}: {error.strerror}; run as the user whose file it is") from error
    except OSError as error:
        raise Failed(IO, f"{name}: {error.strerror}; check the disk") from error
    for line, tolerated in replayed.tolerated:
        print(
            f"stafet-hub: {name}: line {line}: let pass: {tolerated.detail} ({tolerated.tolerance}) at byte {tolerated.offset}",
            file=sys.stderr,
        )
    headline = f"20601, {replayed.apdus} APDUs, {len(replayed.measurements)} measurements"
    _show(headline, replayed.measurements, as_json=options.json)
    return 0


def _show(
    headline: str,
    measurements: Sequence[Measurement],
    described: Mapping[str, str | bool] = MappingProxyType({}),
    *,
    as_json: bool,
) -> None:
    """JSON has the measurements alone; under a table stands what else was said."""
    if as_json:
        print(measurement_json.dumps(measurements, indent=2))
        return
    print(headline)
    if measurements:
        print(measurement_table(measurements))
    if described:
        print(described_table(described))


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
        raise Failed(USAGE, "listen needs --tcp, --serial, --usb or --hdp; see stafet-hub listen --help")
    host, port = options.tcp or ("localhost", 0)
    if not is_loopback(host) and not options.any_address:
        raise Failed(USAGE, f"{host or 'an empty HOST'} is reachable from the network, unencrypted; add --any-address")
    if options.record is not None and options.record.exists():
        raise Failed(CANNOT_CREATE, f"{options.record} is there already; give another FILE to --record")
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
        raise Failed(status, f"{error}; check what is given, or choose another one") from error
    except OSError as error:
        raise Failed(IO, f"{error.filename or 'stdout'}: {error.strerror}; check the disk") from error
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
                raise Failed(MALFORMED, f"HEX: {pair!a} is {what} at byte {len(value)}")
            value.append(int(pair, 16))
    return bytes(value)
