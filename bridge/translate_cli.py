"""`stafet-bridge translate`: measurement JSON in, the transaction Bundle out, as the bridge would write it.

For looking, testing and arguing. It needs no bridge, no hub and no evidence; what those would know is told by options.
"""

import argparse
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bridge import arguments
from bridge.admin import BAD_INPUT, IO_FAILED, OK
from bridge.fhir import Untranslatable
from bridge.fhir import json as fhir_json
from bridge.fhir.devices import Specialization
from bridge.fhir.translate import Gateway, Phd, translate_measurements
from wire import measurement_json
from wire.errors import MeasurementError
from wire.gatt import DeviceInformation
from wire.measurement import Measurement

DESCRIPTION: Final = "Print the FHIR transaction Bundle of measurements, by the HL7 Personal Health Device guide."
EPILOG: Final = """\
examples:
  stafet-hub decode gatt 2A9D 00b036 --json | stafet-bridge translate
  stafet-bridge translate measurements.json --patient Patient/17 --received 2026-11-21T10:00:00+01:00

A measurement that holds neither a device time nor a time of reception counts as received now. Identifiers are made
with a key of zeros: they are stable, and never those of a bridge. Test data is labelled HTEST; a bridge would keep it
from the FHIR server.

exit status: 0 printed, 2 usage, 65 the input is malformed or cannot be FHIR (nothing is printed), 74 it cannot be read
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `translate`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("file", nargs="?", default="-", metavar="FILE", help="measurement JSON (default: -, standard input)")
    add(
        "--patient",
        type=arguments.patient,
        default="Patient/example",
        metavar="REFERENCE",
        help="whose measurements (default: %(default)s)",
    )
    add(
        "--hub",
        type=arguments.hub,
        default="hub-example",
        metavar="ID",
        help="which hub received them (default: %(default)s)",
    )
    add(
        "--device-address",
        type=arguments.address(6),
        default=bytes(6),
        metavar="AA:BB:CC:DD:EE:FF",
        help="the device's Bluetooth address (default: zeros)",
    )
    add("--system-id", type=arguments.address(8), metavar="EUI-64", help="the device's system id; outranks its address")
    add("--manufacturer", metavar="NAME", help="the device's maker")
    add("--model", metavar="NAME", help="the device's model")
    add("--serial", metavar="NUMBER", help="the device's serial number")
    add(
        "--specialization",
        type=int,
        action="append",
        metavar="MDC",
        help="MDC code of a device specialization, such as 528388 (default: what measures this)",
    )
    add(
        "--timezone",
        type=_zone,
        default="Europe/Copenhagen",
        metavar="NAME",
        help="where the hub stands (default: %(default)s)",
    )
    add(
        "--vital-signs-first",
        action="store_true",
        help="as the bridge does: a vital sign's supplemental type is its method, so that the vital signs profile holds",
    )
    add("--received", type=arguments.moment, metavar="TIME", help="when they were received, with an offset from UTC")


def run(args: argparse.Namespace) -> int:
    """Translate; the exit status."""
    name = "standard input" if args.file == "-" else args.file
    try:
        text = sys.stdin.buffer.read() if args.file == "-" else Path(args.file).read_bytes()
    except OSError as fault:
        return _refuse(name, f"cannot be read: {fault.strerror}", IO_FAILED)
    try:
        measurements = [_received_now(one, args.received) for one in measurement_json.loads(text)]
        printed = fhir_json.dumps(
            translate_measurements(
                measurements,
                phd=Phd(
                    address=args.device_address,
                    information=DeviceInformation(
                        manufacturer=args.manufacturer,
                        model=args.model,
                        serial=args.serial,
                        system_id=args.system_id,
                    ),
                    specializations=tuple(map(Specialization, args.specialization or ())),
                ),
                gateway=Gateway(hub=args.hub),
                patient=args.patient,
                timezone=args.timezone,
                received=args.received,
                vital_signs_first=args.vital_signs_first,
            ),
            indent=2,
        )
    except (MeasurementError, Untranslatable) as fault:
        return _refuse(name, str(fault), BAD_INPUT)
    sys.stdout.write(printed.decode("ascii") + "\n")
    return OK


def _received_now(measurement: Measurement, received: datetime | None) -> Measurement:
    """A measurement that nobody dated was made just now, on its way here."""
    stamp = measurement.device_time
    dated = stamp is not None and stamp.known and measurement.clock_set
    if dated or measurement.received is not None or received is not None:
        return measurement
    return replace(measurement, received=datetime.now(UTC))


def _refuse(name: str, why: str, status: int) -> int:
    line = " ".join(f"stafet-bridge translate: {name}: {why}".split())
    print(line, file=sys.stderr)
    return status


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise argparse.ArgumentTypeError(f"{text!a} is not a time zone, such as Europe/Copenhagen") from None
