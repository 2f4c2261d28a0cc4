"""Whose reading is it? Assignments of hubs, devices and device users to patients, each with a validity.

In doubt nobody's: a reading that no rule gives to exactly one patient goes to quarantine and waits for a person.

- A device that was ever assigned by itself never falls back to the hub's default.
- A device with users of its own (a cuff's user 1 and 2) counts only by user: a reading without a user index, or with
  one that nobody has, is in doubt.
- The time that counts is when the hub received the reading. Where even that is unknown (a hub whose clock was never
  set), the assignments must not ever have changed.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from wire.evidence import Clock, ClockState

UNKNOWN_USER: Final = 255
"""Blood pressure and weight scale: the device does not know who it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Readings of this device (None: of any device of the hub) and user belong to `patient`, from and until."""

    patient: str
    device: bytes | None = None
    user: int | None = None
    from_us: int | None = None
    until_us: int | None = None

    def covers(self, at_us: int) -> bool:
        return (self.from_us is None or self.from_us <= at_us) and (self.until_us is None or at_us < self.until_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Why no patient was chosen, for the person who must decide."""

    message: str


def needs_user(assignments: Iterable[Assignment], device: bytes) -> bool:
    """Whether the reading must be decoded for its user index before `patient_for`."""
    return any(each.user is not None for each in assignments if each.device == device)


def patient_for(
    assignments: Iterable[Assignment], device: bytes, users: AbstractSet[int | None], at_us: int | None
) -> str | Doubt:
    """The one patient of a reading of `device`, whose measurements name `users`, received at `at_us` (None: unknown)."""
    ours = [each for each in assignments if each.device in (None, device)]
    candidates = [each for each in ours if each.device == device] or ours
    if not candidates:
        return Doubt(message="neither this device nor its hub is assigned to a patient")
    if any(each.user is not None for each in candidates):
        named = {None if user == UNKNOWN_USER else user for user in users}
        if len(named) != 1 or None in named:
            return Doubt(message="this device has several users, and the reading does not say which")
        candidates = [each for each in candidates if each.user in named]
        if not candidates:
            return Doubt(message=f"nobody is assigned to user {named.pop()} of this device")
    if at_us is not None:
        candidates = [each for each in candidates if each.covers(at_us)]
        if not candidates:
            return Doubt(message="nobody was assigned to this device when the reading was received")
    patients = {each.patient for each in candidates}
    if len(patients) > 1:
        why = "the hub's clock was not set, and the assignment changed" if at_us is None else "assignments overlap"
        return Doubt(message=f"more than one patient: {why}")
    return patients.pop()


def received_at(received: Clock, sealed: Clock) -> int | None:
    """When the reading was received, in microseconds since 1970; None if the hub could not know."""
    known = received.corrected(sealed)
    return None if known.state is ClockState.UNSET else known.wall_us
