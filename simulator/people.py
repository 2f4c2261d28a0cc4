"""Fictional people with plausible vitals, the same ones for the same seed.

A person is a set of baselines drawn once (age, sex and condition bound them) and five signals that move around them:
a daily rhythm, a slow drift, and the scatter from one measurement to the next. Every number is a function of (seed,
person, signal, moment), so a reading is the same whichever devices there are and whatever was measured before it.

The ranges are textbook ones for adults at rest; a person with COPD has an oxygen saturation of 88-94 % (the target
range of the BTS oxygen guideline for them is 88-92 %). They are for software, not for medicine.
"""

import hashlib
import math
import random
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

GIVEN_NAMES = {
    "female": ("Astrid", "Birgit", "Dagny", "Ellen", "Gerda", "Inger", "Karen", "Lis", "Ruth", "Sigrid"),
    "male": ("Aage", "Bent", "Egon", "Finn", "Hans", "Ib", "Jens", "Leif", "Poul", "Svend"),
}
# Made-up surnames in a Danish manner: they shall look like names and belong to nobody.
FAMILY_NAMES = ("Havgaard", "Kornvang", "Lyngdal", "Marehalm", "Nordstrand", "Rughave", "Skovlund", "Vesterklit")


class Condition(StrEnum):
    HEALTHY = "healthy"
    COPD = "copd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A fictional person: who, and the baselines of their signals."""

    id: str
    name: str
    sex: str
    born: int
    condition: Condition
    seed: int
    spo2: float
    pulse: float
    systolic: float
    diastolic: float
    weight_kg: float
    temperature_cel: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What is true of a person at one moment, before any device rounds it."""

    spo2: float
    pulse: float
    systolic: float
    diastolic: float
    weight_kg: float
    temperature_cel: float

    @property
    def mean_pressure(self) -> float:
        """Mean arterial pressure as cuffs estimate it: one third of the way from diastolic to systolic."""
        return self.diastolic + (self.systolic - self.diastolic) / 3


def person(seed: int, number: int, *, id_: str, condition: Condition = Condition.COPD, name: str = "") -> Person:
    """The `number`th person of this seed."""
    draw = _random(seed, number, "baseline")
    sex = draw.choice(("female", "male"))
    given, family = draw.choice(GIVEN_NAMES[sex]), draw.choice(FAMILY_NAMES)
    tall_m = draw.gauss(1.65 if sex == "female" else 1.78, 0.06)
    copd = condition is Condition.COPD
    return Person(
        id=id_,
        name=name or f"{given} {family}",
        sex=sex,
        born=draw.randint(1938, 1962),
        condition=condition,
        seed=seed * 1000 + number,
        spo2=draw.uniform(89.5, 92.5) if copd else draw.uniform(96.5, 98.5),
        pulse=draw.uniform(74, 92) if copd else draw.uniform(58, 74),
        systolic=draw.uniform(118, 146),
        diastolic=draw.uniform(70, 86),
        weight_kg=tall_m**2 * (draw.uniform(19, 26) if copd else draw.uniform(22, 29)),
        temperature_cel=draw.uniform(36.3, 36.9),
    )


def vitals(someone: Person, at: datetime) -> Vitals:
    """The person's signals at a moment (local time of day matters: we are cooler and slower at 4 in the morning)."""
    moment = int(at.timestamp())
    hour = at.hour + at.minute / 60
    # One cosine with its peak at 17:00, where body temperature, pulse and pressure have theirs.
    day = math.cos((hour - 17) / 24 * 2 * math.pi)
    week = math.sin(moment / 86_400 / 7 * 2 * math.pi + someone.seed % 7)
    scatter = _random(someone.seed, moment, "scatter")
    low, high = (88.0, 94.0) if someone.condition is Condition.COPD else (95.0, 100.0)
    systolic = someone.systolic + 6 * day + scatter.gauss(0, 4)
    return Vitals(
        spo2=min(high, max(low, someone.spo2 + 0.5 * day + scatter.gauss(0, 0.7))),
        pulse=max(45.0, someone.pulse + 5 * day + scatter.gauss(0, 3)),
        systolic=systolic,
        diastolic=min(systolic - 20, someone.diastolic + 3 * day + scatter.gauss(0, 3)),
        weight_kg=someone.weight_kg + 0.6 * week + 0.4 * day + scatter.gauss(0, 0.03),
        temperature_cel=someone.temperature_cel + 0.35 * day + scatter.gauss(0, 0.08),
    )


def _random(seed: int, number: int, purpose: str) -> random.Random:
    """An own generator for each purpose: adding a signal must not move the others."""
    digest = hashlib.sha256(f"{seed}/{number}/{purpose}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8]))  # noqa: S311 - fiction, not secrets
