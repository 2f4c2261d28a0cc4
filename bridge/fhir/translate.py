"""A reading to the entries of a transaction Bundle (docs/fhir.md).

Identity is what makes it exactly once. An Observation's identifier is a keyed hash, so that it says nothing to whoever
reads URLs and logs, over the patient, the device, what was measured, and either

- what was measured and when, as the device has it, where it tells a complete time of a clock that is set: the same stored
  measurement sent again, to any hub, on any day, in whatever message, is then the same Observation; or
- the whole reading as it was sealed, where nothing in it tells one measurement from the next.

Everything else follows from it: `ifNoneExist`, the fullUrl, and through them what a server does with a Bundle it has seen
before. Devices are found by their own identifiers.
"""

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Final
from uuid import UUID, uuid5

from bridge.fhir import Reason, Untranslatable
from bridge.fhir.agent_times import AgentTimes
from bridge.fhir.codes import OBSERVATION_IDENTIFIER, SPECIALIZATIONS
from bridge.fhir.devices import Gateway, Phd, Specialization, phd_device, phd_identifier, phg_device
from bridge.fhir.identity import Identity, identity, told
from bridge.fhir.json import Resource
from bridge.fhir.observations import Frame, coincident_time_stamp, observation
from bridge.fhir.times import Coincident, TimeType, Timing, at_its_word, device_clock, reception, timing
from wire import measurement_json
from wire.batch import encode_reading
from wire.decoding import Meaning, information_of, meaning_of, specializations_of
from wire.errors import WireError
from wire.evidence import AgentReport, Clock, Evidence, Reading, SerialFrame
from wire.measurement import Measurement, MeasurementStatus

__all__ = [
    "SYSTEM",
    "Entry",
    "Gateway",
    "Phd",
    "Reason",
    "Translated",
    "Untranslatable",
    "bundle",
    "translate_measurements",
    "translate_reading",
]

SYSTEM: Final = OBSERVATION_IDENTIFIER
"""System of the identifiers in `Translated.observations`."""

PATIENT: Final = re.compile(r"(?:https?://[!-~]+/)?Patient/[A-Za-z0-9\-.]{1,64}")
"""A reference to a patient: relative to the FHIR server, or absolute."""

_ELAPSED: Final = frozenset({0x2B8B, 0x2BDD})
"""Live and stored health observations."""
_LOCALLY_ADMINISTERED: Final = 0x02
"""Of an EUI-48's first octet (IEEE 802): nobody's but its keeper's."""
_DEVICES: Final = UUID("f48ea4d6-d8ec-49ab-a3d4-f7e61deace24")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a transaction Bundle."""

    full_url: str
    resource: Resource
    request: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """What a reading becomes: devices first, then Observations; and the Observations' identifier values, in order."""

    entries: tuple[Entry, ...]
    observations: tuple[str, ...]


def translate_reading(
    reading: Evidence,
    *,
    sealed: Clock,
    hub: str,
    patient: str,
    timezone: tzinfo,
    identifier_key: bytes,
    encoded: bytes | None = None,
    meaning: Meaning | None = None,
) -> Translated:
    """The Observations of a reading and the devices they refer to; raises Untranslatable.

    `sealed` is the hub's clock when it signed the batch, `timezone` where the hub stands. `encoded` is the reading as
    `wire.batch.encode_reading` wrote it and `meaning` what `wire.decoding.meaning_of` it is, for who has them at hand.
    """
    try:
        meaning = meaning or meaning_of(reading)
    except WireError as fault:
        raise Untranslatable(Reason.UNDECODABLE, str(fault)) from None
    if not meaning.measurements:
        if meaning.test:
            raise Untranslatable(Reason.TEST_DATA, "the device says that this is test or demonstration data")
        raise Untranslatable(Reason.EMPTY, "the reading holds no measurement")
    received = reception(reading.received, sealed)
    phd = _phd(reading, meaning.measurements, hub)
    run = _Run(phd=phd, gateway=Gateway(hub=hub), patient=patient, identifier_key=identifier_key)
    whole = encode_reading(reading) if encoded is None else encoded
    agents = AgentTimes(reading, received=received, zone=timezone) if isinstance(reading, AgentReport) else None
    clock = None if isinstance(reading, AgentReport) else device_clock(reading, received)
    for measurement, counted in zip(meaning.measurements, meaning.counted, strict=True):
        from_memory = meaning.stored or MeasurementStatus.STORED in measurement.status
        if from_memory and counted is None and not told(measurement):
            raise Untranslatable(
                Reason.DEVICE_TIME, "a measurement from the device's memory, and nothing tells its time"
            )
        if agents is not None:
            timed = agents.timing(measurement, counted)
        else:
            timed = timing(
                measurement.device_time,
                clock_set=measurement.clock_set,
                received=received,
                clock=clock,
                zone=timezone,
                time_type=_time_type(reading, measurement),
            )
        run.add(measurement, timed, identity(reading, measurement, whole), vital_signs_first=True)
    return run.translated()


def _time_type(evidence: Evidence, measurement: Measurement) -> TimeType:
    """Local, but for the elapsed time of health observations, where it comes with its offset."""
    stamp = measurement.device_time
    elapsed = isinstance(evidence, Reading) and evidence.characteristic in _ELAPSED
    return TimeType.UTC if elapsed and stamp is not None and stamp.offset_min is not None else TimeType.LOCAL


def _phd(evidence: Evidence, measurements: Sequence[Measurement], hub: str) -> Phd:
    listed = tuple(Specialization(*each) for each in specializations_of(evidence))
    address = evidence.device.address
    on_cable = isinstance(evidence, SerialFrame) and bool(address[0] & _LOCALLY_ADMINISTERED)
    return Phd(
        address=address,
        name=evidence.device.name,
        information=information_of(evidence),
        specializations=listed or _kinds(measurements),
        local_to=hub if on_cable else "",
    )


def _kinds(measurements: Iterable[Measurement]) -> tuple[Specialization, ...]:
    """What kinds of device measure this."""
    codes = {SPECIALIZATIONS[one.code] for one in measurements if one.code in SPECIALIZATIONS}
    return tuple(map(Specialization, sorted(codes)))


def translate_measurements(
    measurements: Sequence[Measurement],
    *,
    phd: Phd,
    gateway: Gateway,
    patient: str,
    timezone: tzinfo,
    received: datetime | None = None,
    identifier_key: bytes = bytes(32),
    vital_signs_first: bool = False,
) -> Resource:
    """The Bundle of measurements that come without evidence (`stafet-bridge translate`); raises Untranslatable.

    `received` stands in where a measurement has no time of reception of its own. Where neither is there, the device's
    time is taken at its word. Test data is labelled HTEST, and the Bundle is for reading, not for a patient's record.
    """
    if not phd.specializations:
        phd = replace(phd, specializations=_kinds(measurements))
    run = _Run(phd=phd, gateway=gateway, patient=patient, identifier_key=identifier_key)
    for place, measurement in enumerate(measurements):
        try:
            timed = _timing_without_evidence(measurement, received, timezone)
            text = measurement_json.dumps([measurement]).encode()
            known_by = Identity("stored" if told(measurement) else "reading", text)
            run.add(measurement, timed, known_by, vital_signs_first=vital_signs_first)
        except Untranslatable as refusal:
            raise Untranslatable(Reason(refusal.reason), f"[{place}]: {refusal.message}") from None
    return bundle([run.translated()])


def bundle(translated: Iterable[Translated]) -> Resource:
    """One transaction Bundle; an entry that several readings share (a device, a stored measurement) is there once."""
    entries: dict[str, Resource] = {}
    for one in translated:
        for entry in one.entries:
            if entry.full_url not in entries:
                entries[entry.full_url] = {
                    "fullUrl": entry.full_url,
                    "resource": entry.resource,
                    "request": dict(entry.request),
                }
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries.values())}


def _timing_without_evidence(measurement: Measurement, received: datetime | None, zone: tzinfo) -> Timing:
    received = measurement.received or received
    stamp, clock_set = measurement.device_time, measurement.clock_set
    if received is None:
        return at_its_word(stamp, clock_set=clock_set, zone=zone)
    return timing(stamp, clock_set=clock_set, received=received, clock=None, zone=zone)


class _Run:
    """The entries of one reading as they come to be: the device pair, then each time stamp before what refers to it."""

    def __init__(self, *, phd: Phd, gateway: Gateway, patient: str, identifier_key: bytes) -> None:
        if PATIENT.fullmatch(patient) is None:
            raise Untranslatable(Reason.UNREPRESENTABLE, "the reading is assigned to what is no reference to a Patient")
        self._devices = (_phd_entry(phd), _phg_entry(gateway))
        self._frame = Frame(patient=patient, phd=self._devices[0].full_url, phg=self._devices[1].full_url)
        self._key = identifier_key
        # Whose and from which device: by its address, or, where nobody told, by what else identifies it.
        self._who = f"{patient}\0{phd.address.hex() if phd.address else phd_identifier(phd)[2]}\0"
        self._entries: dict[str, Entry] = {}
        self._counts: dict[tuple[str, bytes], int] = {}

    def add(self, measurement: Measurement, timed: Timing, known_by: Identity, *, vital_signs_first: bool) -> None:
        """Append the Observation of one measurement, and the coincident time stamp that it refers to."""
        kind = f"{int(measurement.code)}-{'-'.join(str(int(code)) for code in measurement.supplemental)}"
        # Counted among equals only, so that a decoder that learns to say more changes no identity.
        ordinal = 0
        if known_by.several:
            ordinal = self._counts[kind, known_by.what] = self._counts.get((kind, known_by.what), -1) + 1
        identifier = self._identifier(f"{known_by.kind}\0{kind}\0{ordinal}\0", known_by.what)
        time_stamp = None if timed.coincident is None else self._time_stamp(timed.coincident, known_by.what)
        resource = observation(
            measurement,
            self._frame,
            identifier=identifier,
            effective=timed.effective,
            coincident=None if time_stamp is None else time_stamp.full_url,
            vital_signs_first=vital_signs_first,
        )
        if resource is None:
            return
        if time_stamp is not None:
            self._entries.setdefault(time_stamp.full_url, time_stamp)
        entry = _observation_entry(resource, identifier)
        self._entries[entry.full_url] = entry

    def translated(self) -> Translated:
        """All of it; raises Untranslatable where there is nothing."""
        if not self._entries:
            raise Untranslatable(Reason.EMPTY, "no value, and no status that is set")
        return Translated(
            entries=(*self._devices, *self._entries.values()),
            observations=tuple(entry.resource["identifier"][0]["value"] for entry in self._entries.values()),
        )

    def _time_stamp(self, coincident: Coincident, stored: bytes) -> Entry:
        # One per reading of the device's clock; where it cannot be read, one per stamped measurement, however often sent.
        identifier = self._identifier("coincident\0", coincident.key or stored)
        resource = coincident_time_stamp(self._frame, coincident, identifier=identifier)
        return _observation_entry(resource, identifier)

    def _identifier(self, of: str, what: bytes) -> str:
        # 128 bits: no two will ever meet, and the value is far below the 128 characters that some servers compare.
        return hmac.digest(self._key, (self._who + of).encode() + what, "sha256").hex()[:32]


def _observation_entry(resource: Resource, identifier: str) -> Entry:
    return Entry(
        # RFC 9562, version 8: a UUID of one's own making; here the identifier itself.
        full_url=f"urn:uuid:{identifier[:8]}-{identifier[8:12]}-8{identifier[13:16]}-8{identifier[17:20]}-{identifier[20:]}",
        resource=resource,
        request={
            "method": "POST",
            "url": "Observation",
            "ifNoneExist": f"identifier={OBSERVATION_IDENTIFIER}|{identifier}",
        },
    )


@lru_cache(maxsize=1024)
def _phd_entry(phd: Phd) -> Entry:
    return _device_entry(phd_device(phd))


@lru_cache(maxsize=1024)
def _phg_entry(gateway: Gateway) -> Entry:
    return _device_entry(phg_device(gateway))


def _device_entry(resource: Resource) -> Entry:
    identifier = resource["identifier"][0]
    token = f"{identifier['system']}|{identifier['value']}"
    return Entry(
        full_url=uuid5(_DEVICES, token).urn,
        resource=resource,
        request={"method": "POST", "url": "Device", "ifNoneExist": f"identifier={token}"},
    )
