"""What evidence says, of whatever kind: the one place where the three kinds meet their decoders.

Who needs more than measurements asks for the `Meaning`. A decoder sees one reading and nothing else, so what a value
means beside another one (a glucose context and its record, a sensor's session) is found in the reading's own context.
"""

import contextlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from wire import serial
from wire.errors import DecodeError
from wire.evidence import AgentContext, AgentReport, Context, Evidence, Reading, SerialFrame
from wire.gatt import decode_reading, glucose
from wire.gatt.device_information import DeviceInformation, device_information
from wire.gatt.quirky import corrected, doubted
from wire.gatt.reader import read_known
from wire.measurement import Measurement, MeasurementStatus
from wire.nomenclature import Mdc
from wire.quirks import Quirk, quirk_for
from wire.serial import SerialFormat
from wire.services import RACP, service_of
from wire.x73.codes import Attr, Partition, code32
from wire.x73.evidence import Counted, decode_agent_report, mds_of, mds_reads
from wire.x73.services import ProductionSpec, SystemModel, TypeVersions

_TEST: Final = frozenset({MeasurementStatus.TEST_DATA, MeasurementStatus.DEMO_DATA})
_GLUCOSE, _GLUCOSE_CONTEXT = 0x2A18, 0x2A34
_RECORDS: Final = frozenset({_GLUCOSE, _GLUCOSE_CONTEXT, 0x2B36, 0x2BDD})
"""What a device sends from its memory and in no other way: glucose, blood pressure records, stored health observations."""
_MODELS: Final = {serial.FORMAT_NUMBERS[SerialFormat.NONIN_DF13]: "9560"}
"""Data format 13 is what this model speaks; its frames do not name it."""
_LABEL: Final = re.compile(r"[a-z]+-(?:number|revision): *")
"""Roche meters say what it is in the text itself: `serial-number: 92500000042`."""
_PRODUCTION: Final = {1: "serial", 3: "hardware", 4: "software", 5: "firmware"}
"""ProdSpecEntry's spec-type (20601 A.3.1), by the field of `DeviceInformation` that it fills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a reading says.

    `test` is what the device calls test or demonstration: nobody's measurements. `counted` has one item for each of
    `measurements`: the counter that dates it where no clock does. `stored`: all of it is from the device's memory, so
    the time of reception says nothing about when it was measured.
    """

    measurements: tuple[Measurement, ...]
    test: tuple[Measurement, ...]
    counted: tuple[Counted | None, ...]
    stored: bool

    @property
    def everything(self) -> tuple[Measurement, ...]:
        """All measurements, test and demonstration data after the others."""
        return self.measurements + self.test


def meaning_of(evidence: Evidence) -> Meaning:
    """What a reading says; DecodeError, and nothing else."""
    if isinstance(evidence, AgentReport):
        said = decode_agent_report(evidence)
        both = tuple(zip(corrected(said.measurements, _quirk(evidence)), said.counted, strict=True))
        kept = [each for each in both if each[0].code != Mdc.CONC_GLU_CONTROL]
        return Meaning(
            measurements=tuple(measurement for measurement, _ in kept),
            # A control solution by its code alone: a meter's control segments have no test status.
            test=said.test + tuple(measurement for measurement, _ in both if measurement.code == Mdc.CONC_GLU_CONTROL),
            counted=tuple(counted for _, counted in kept),
            stored=said.stored,
        )
    if isinstance(evidence, SerialFrame):
        measured = serial.decode(serial.format_of(evidence.format), evidence.frame)
        quirk = _quirk(evidence)
        if evidence.context:  # what the clock showed is known, so a clock that nobody has set tells the time, too
            quirk = quirk._replace(clock_since=0)
        return _meaning(corrected(measured, quirk), stored=False)
    if evidence.characteristic == _GLUCOSE_CONTEXT:
        return _glucose_context(evidence)
    stored = evidence.characteristic in _RECORDS or any(item.characteristic == RACP for item in evidence.context)
    return _meaning(decode_reading(evidence), stored=stored)


def information_of(evidence: Evidence) -> DeviceInformation:
    """What the device says about itself in this reading; what is missing, empty or malformed is None."""
    if isinstance(evidence, AgentReport):
        return _of_agent(evidence.context, evidence.device.address)
    if isinstance(evidence, SerialFrame):
        return _of_frame(evidence)
    return _of_context(evidence.context)


def specializations_of(evidence: Evidence) -> tuple[tuple[int, int | None], ...]:
    """What kinds of device it says it is: 32-bit MDC codes of IEEE specializations, and the version that it follows."""
    if isinstance(evidence, AgentReport):
        listed = mds_of(evidence).attributes.get(Attr.SYS_TYPE_SPEC_LIST, b"")
        with contextlib.suppress(DecodeError):
            return tuple(
                (code32(Partition.INFRA, each.type), each.version) for each in TypeVersions.decode(listed).versions
            )
    elif isinstance(evidence, Reading):
        service = service_of(evidence.characteristic)
        # Bluetooth SIG services name no version of an IEEE specialization.
        return () if service is None else ((service.specialization, None),)
    return ()


# All readings of a connection have the same context, and are of the same device.
_of_context: Final = lru_cache(maxsize=256)(device_information)
_known_quirk: Final = lru_cache(maxsize=4096)(quirk_for)


def _meaning(measurements: tuple[Measurement, ...], *, stored: bool) -> Meaning:
    """Of one value, which is a test as a whole or not at all: what stands beside a test result is of the test, too."""
    if any(_TEST.intersection(each.status) for each in measurements):
        return Meaning(measurements=(), test=measurements, counted=(), stored=stored)
    return Meaning(measurements=measurements, test=(), counted=(None,) * len(measurements), stored=stored)


def _glucose_context(reading: Reading) -> Meaning:
    """A glucose context has the time of its record, by sequence number; it is a test if the record is one."""
    context, more = read_known(glucose.read_context, reading.value)
    record = _record(context.sequence, reading.context)
    found = context.measurements if record is None else glucose.with_context(record, context)
    both = _meaning(doubted(found) if more else found, stored=True)
    own = slice(0 if record is None else len(record.measurements), None)
    return Meaning(measurements=both.measurements[own], test=both.test[own], counted=both.counted[own], stored=True)


def _record(sequence: int, context: tuple[Context, ...]) -> glucose.GlucoseRecord | None:
    for item in context:
        if item.characteristic == _GLUCOSE:
            try:
                record, _ = read_known(glucose.read_record, item.value)
            except DecodeError:
                continue
            if record.sequence == sequence:
                return record
    return None


def _quirk(evidence: AgentReport | SerialFrame) -> Quirk:
    said = information_of(evidence)
    model = said.model or ""
    if isinstance(evidence, SerialFrame):
        model = _MODELS.get(evidence.format, model)
    return _known_quirk(
        name=evidence.device.name, manufacturer=said.manufacturer or "", model=model, firmware=said.firmware or ""
    )


@lru_cache(maxsize=256)
def _of_agent(context: tuple[AgentContext, ...], system_id: bytes) -> DeviceInformation:
    """The MDS attributes System-Model and Production-Specification; the system-id is that of the association."""
    reads = mds_reads(context)
    mds = reads[-1].attributes if reads else {}
    texts: dict[str, str] = {}
    with contextlib.suppress(DecodeError):
        model = SystemModel.decode(mds.get(Attr.ID_MODEL, b""))
        texts |= {"manufacturer": _text(model.manufacturer), "model": _text(model.model_number)}
    with contextlib.suppress(DecodeError):
        for entry in ProductionSpec.decode(mds.get(Attr.ID_PROD_SPECN, b"")).entries:
            if entry.spec_type in _PRODUCTION:
                texts.setdefault(_PRODUCTION[entry.spec_type], _LABEL.sub("", _text(entry.spec), count=1))
    return DeviceInformation(**{field: text for field, text in texts.items() if text}, system_id=system_id, pnp=None)


def _of_frame(frame: SerialFrame) -> DeviceInformation:
    """Only the lung monitor's frames say which device sent them."""
    if frame.format != serial.FORMAT_NUMBERS[SerialFormat.VITALOGRAPH_LUNG_MONITOR]:
        return DeviceInformation()
    try:
        said = serial.describe(SerialFormat.VITALOGRAPH_LUNG_MONITOR, frame.frame)
    except DecodeError:
        return DeviceInformation()
    return DeviceInformation(serial=str(said["device"]) or None, software=str(said["software version"]) or None)


def _text(raw: bytes) -> str:
    """Printable ASCII (20601 A.3.1), without the NULs and blanks that agents pad it with; anything else is no text."""
    text = raw.decode("ascii", "replace").strip("\0 ")
    return text if text.isprintable() and text.isascii() else ""
