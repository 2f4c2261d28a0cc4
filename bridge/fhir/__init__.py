"""Measurements to FHIR R4, by the HL7 Personal Health Device guide 2.0.0 (docs/fhir.md).

Values in, resources out: no I/O, no clock, no logging, no randomness. The same arguments always give the same resources,
byte for byte, so that whoever does not know whether a Bundle arrived can make it again and send it again.

A reading either becomes Observations or raises `Untranslatable`, whose reason goes to quarantine. There is no third way.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a reading cannot be written as FHIR; the words stand in quarantine."""

    UNDECODABLE = "undecodable"
    """The device's bytes do not follow their characteristic."""
    TEST_DATA = "test-data"
    """The device says that this is a test or a demonstration: nobody's measurement."""
    DEVICE_TIME = "device-time"
    """The device's time stamp is not on any timeline that we can relate to ours (PHD: "discard")."""
    HUB_TIME = "hub-time-unknown"
    """The hub's clock was never set, and nothing signed later in the same boot tells the time."""
    UNREPRESENTABLE = "unrepresentable"
    """The profiles have no place for this shape of measurement, or the number is beyond any device's."""
    EMPTY = "nothing-to-report"
    """Nothing in the reading says anything: no value, no status that is set."""


class Untranslatable(Exception):  # noqa: N818  it is a verdict, not a fault of the program
    """A reading cannot become an Observation. The message is for people and holds no value and no patient."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason: str = reason.value
        self.message = message
