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
from datetime import UTC, datetime, timedelta
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
    height_m: float


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Further:
    """What only some devices measure: the body's composition, blood, lungs, sleep, exercise and medicine."""

    body_fat_percent: float
    body_water_kg: float
    glucose_mg_dl: float
    tissue_glucose_mg_dl: float
    hba1c_percent: float
    inr: float
    prothrombin_s: float
    quick_percent: float
    perfusion_percent: float
    peak_flow_l_min: float
    best_peak_flow_l_min: float
    fev1_l: float
    fev6_l: float
    fvc_l: float
    apnoea_index: float
    sleep_h: float
    distance_m: float
    energy_j: float
    session_s: float
    repetitions: float
    resistance_kg: float
    tablets: float
    dose_mg: float


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
        height_m=tall_m,
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


def further(someone: Person, at: datetime) -> Further:
    """What else is true of a person at a moment; `vitals` does not depend on it."""
    base = _random(someone.seed, 0, "further")
    now = _random(someone.seed, int(at.timestamp()), "further")
    copd = someone.condition is Condition.COPD
    # Healthy lungs of this age hold about 3.5 l at 1.75 m; COPD shows as an FEV1 below 70 % of the FVC (GOLD).
    fvc = 3.5 * (someone.height_m / 1.75) ** 2 * base.uniform(0.85, 1.05)
    best = fvc * (base.uniform(0.40, 0.60) if copd else base.uniform(0.74, 0.82))
    effort = now.uniform(0.90, 1.0)
    fat, glucose, inr = base.uniform(22, 34), now.gauss(108, 14), now.gauss(2.5, 0.25)
    minutes = now.uniform(12, 35)
    return Further(
        body_fat_percent=fat + now.gauss(0, 0.3),
        body_water_kg=someone.weight_kg * (1 - fat / 100) * 0.73 + now.gauss(0, 0.2),
        glucose_mg_dl=min(240.0, max(65.0, glucose)),
        tissue_glucose_mg_dl=min(240.0, max(65.0, glucose + now.gauss(0, 5))),
        hba1c_percent=base.uniform(5.2, 7.4),
        inr=min(4.5, max(1.5, inr)),
        prothrombin_s=12 * min(4.5, max(1.5, inr)),
        quick_percent=min(60.0, max(15.0, 75 / inr)),
        perfusion_percent=now.uniform(1.5, 9),
        peak_flow_l_min=120 * best * effort,
        best_peak_flow_l_min=120 * best,
        fev1_l=best * effort,
        fev6_l=fvc * effort * 0.96,
        fvc_l=fvc * effort,
        apnoea_index=now.uniform(2, 9),
        sleep_h=now.uniform(5, 8),
        distance_m=minutes * now.uniform(55, 80),
        energy_j=minutes * 4 * 4184,
        session_s=minutes * 60,
        repetitions=now.randint(8, 15),
        resistance_kg=now.randint(2, 12),
        tablets=now.randint(1, 3),
        dose_mg=now.choice((5, 10, 25, 50)),
    )


def nth_moment(index: int) -> datetime:
    """What the `index`th reading of a device without a scenario shows: ten minutes apart, the same whenever it runs."""
    return datetime(2026, 3, 2, 9, tzinfo=UTC) + index * timedelta(minutes=10)


def _random(seed: int, number: int, purpose: str) -> random.Random:
    """An own generator for each purpose: adding a signal must not move the others."""
    digest = hashlib.sha256(f"{seed}/{number}/{purpose}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8]))  # noqa: S311 - fiction, not secrets
