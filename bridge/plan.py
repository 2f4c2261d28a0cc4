"""From one accepted reading to what will be written of it, or why it cannot be: patient, then translation.

The only place that knows both the registry's assignments and the translation. Deterministic: what is planned again
after a crash is the same, unless a person changed an assignment or a newer stafet translates otherwise.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from bridge.assignment import Doubt, needs_user, patient_for, received_at
from bridge.fhir.translate import Translated, Untranslatable, translate_reading
from bridge.log import fault
from bridge.registry import Registry
from wire.batch import VerifiedReading
from wire.decoding import Meaning, meaning_of
from wire.errors import DecodeError
from wire.evidence import AgentReport, Clock, Evidence

NO_PATIENT = "no-patient"
UNDECODABLE = "undecodable"
INTERNAL = "internal-error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Whose it is and what to write."""

    patient: str
    translated: Translated


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplannable:
    """A quarantine reason and its explanation."""

    reason: str
    detail: str


class Planner:
    """Plans readings with one configuration."""

    def __init__(self, registry: Registry, *, timezone: ZoneInfo, identifier_key: bytes) -> None:
        self._registry = registry
        self._timezone = timezone
        self._identifier_key = identifier_key

    def plan(
        self, verified: VerifiedReading, *, hub: str, sealed: Clock, patient: str | None = None
    ) -> Planned | Unplannable:
        """Plan a reading of this hub; for `patient`, if that was decided before."""
        reading = verified.reading
        try:
            chosen, meaning = (patient, None) if patient else self._patient(reading, hub, sealed)
            if isinstance(chosen, Doubt):
                return Unplannable(reason=NO_PATIENT, detail=chosen.message)
            translated = translate_reading(
                reading,
                sealed=sealed,
                hub=hub,
                patient=chosen,
                timezone=self._timezone,
                identifier_key=self._identifier_key,
                encoded=verified.encoded,
                meaning=meaning,
            )
        except Untranslatable as error:
            return Unplannable(reason=error.reason, detail=error.message)
        except DecodeError as error:
            return Unplannable(reason=UNDECODABLE, detail=str(error))
        except Exception as error:  # noqa: BLE001 - one reading that meets a fault of ours must not stop all others
            fault("reading_translation_failed", error, hub=hub)
            return Unplannable(reason=INTERNAL, detail=f"a fault of the bridge: {type(error).__name__}")
        if not translated.observations:
            return Unplannable(reason=INTERNAL, detail="the translation has no Observation")
        return Planned(patient=chosen, translated=translated)

    def _patient(self, reading: Evidence, hub: str, sealed: Clock) -> tuple[str | Doubt, Meaning | None]:
        """Whose it is, and what it says where that had to be known for it."""
        assignments = self._registry.assignments(hub)
        users: set[int | None] = set()
        meaning = None
        if isinstance(reading, AgentReport) or needs_user(assignments, reading.device.address):
            meaning = meaning_of(reading)
            users = {measurement.user for measurement in meaning.everything}
        if len(users - {None}) > 1:
            # One report of a 20601 agent may hold several persons' measurements, and a reading has one patient.
            return Doubt(message="the reading holds measurements of several users"), meaning
        at_us = received_at(reading.received, sealed)
        return patient_for(assignments, reading.device.address, users, at_us), meaning
