"""What goes wrong at a meter: anomalies with labels, holes without.

An anomaly is drawn into a stretch of the series of its own, so that no two overlap.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from Sensor_core.building import KWH_PER_UNIT
from Training_scripts.simulation.plan import Booleans, Floats, Plan


@dataclass(frozen=True)
class Label:
    """One anomaly of a meter: ``kind`` from step ``start`` up to, not including, step ``end``."""

    kind: str
    start: int
    end: int


class _Kind(NamedTuple):
    """One kind of anomaly: how common it is, its median length [h], and what it does to the readings."""

    name: str
    share: float
    hours: float
    apply: Callable[[Floats, np.random.Generator], Floats]


def _flatline(readings: Floats, random: np.random.Generator) -> Floats:
    del random
    return np.full_like(readings, readings[0])


def _zero_run(readings: Floats, random: np.random.Generator) -> Floats:
    del random
    return np.zeros_like(readings)


def _spike(readings: Floats, random: np.random.Generator) -> Floats:
    return (readings + np.mean(readings)) * random.uniform(2.0, 8.0)


def _level_shift(readings: Floats, random: np.random.Generator) -> Floats:
    return readings * float(random.choice([random.uniform(0.45, 0.7), random.uniform(1.4, 1.9)]))


def _unit_change(readings: Floats, random: np.random.Generator) -> Floats:
    """The meter is read in another unit for a while: kBTU, or its inverse, or MWh."""
    kbtu = KWH_PER_UNIT["kBTU"]
    return readings * float(random.choice([1 / kbtu, kbtu, 1 / KWH_PER_UNIT["MWh"]]))


_KINDS: Final = (
    _Kind("flatline", 0.3, 40, _flatline),
    _Kind("zero run", 0.2, 40, _zero_run),
    _Kind("spike", 0.3, 1, _spike),
    _Kind("level shift", 0.12, 400, _level_shift),
    _Kind("unit change", 0.08, 60, _unit_change),
)
KINDS: Final = tuple(kind.name for kind in _KINDS)
ANOMALIES_PER_YEAR: Final = 2.5


def add_anomalies(readings: Floats, plan: Plan, random: np.random.Generator) -> list[Label]:
    """Spoil a meter's readings in place.

    Args:
        readings: Energy in every interval; changed.
        plan: Gives the span and the interval.
        random: The meter's own random stream.

    Returns:
        What was done, in order of time.
    """
    count = int(random.poisson(ANOMALIES_PER_YEAR * plan.years))
    bounds = np.linspace(0, len(readings), count + 1).astype(int)
    return [
        _add_one(readings, int(first), int(last), plan.interval.steps_per_hour, random)
        for first, last in pairwise(bounds)
    ]


def _add_one(readings: Floats, first: int, last: int, steps_per_hour: int, random: np.random.Generator) -> Label:
    kind = _KINDS[random.choice(len(_KINDS), p=[kind.share for kind in _KINDS])]
    start = int(random.integers(first, max(first + 1, last - steps_per_hour)))
    length = max(1, round(kind.hours * steps_per_hour * float(np.exp(random.normal(0.0, 1.0)))))
    end = min(start + length, last)
    readings[start:end] = kind.apply(readings[start:end], random)
    return Label(kind.name, start, end)


def missing(plan: Plan, random: np.random.Generator) -> Booleans:
    """Which intervals a meter does not report: single ones, outages, and a late or early end for a few."""
    steps, hour = len(plan.times_s), plan.interval.steps_per_hour
    share = 0.02 * random.uniform() if random.uniform() < 0.15 else 0.0003  # noqa: PLR2004
    lost = random.uniform(size=steps) < share
    for start in random.integers(0, steps, random.poisson(0.8 * plan.years)):
        lost[start : start + hour * (1 + int(random.exponential(30)))] = True
    if random.uniform() < 0.04:  # noqa: PLR2004 - metered only from some day on
        lost[: int(random.uniform(0.05, 0.4) * steps)] = True
    return lost
