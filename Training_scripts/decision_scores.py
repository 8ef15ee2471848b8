"""How true the probabilities of decisions were: Brier scores, reliability, and what heights and reserves covered."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from Predictor.forecasting.snapshot import Flags, Floats
from Sensor_core.decision import Decision
from Sensor_core.interval import Interval

TENTHS: Final = 10

Course = tuple[Floats, Floats]
"""What a total counted after an origin, and the median that had been forecast, shape ``(horizon,)`` each. [kWh]"""


@dataclass(frozen=True)
class Reliability:
    """Cases in which an event was said to be about as likely.

    Attributes:
        said: Mean probability.
        came: How often it came.
        cases: How many.
    """

    said: float
    came: float
    cases: int


@dataclass(frozen=True)
class DecisionScore:
    """Means over decisions whose whole window is known; NaN where there is none.

    Attributes:
        decisions: How many.
        peak_hour_brier: Mean squared error of the peak interval's probability.
        peak_hour: By tenths of the probability.
        peak_coverage: Share of peaks inside the 80 % interval of their height.
        limit_brier: Mean squared error of the limit's probability.
        limit: By tenths of the probability.
        reserve_sufficed: Share of windows in which the reserve did; 0.95 is meant.
    """

    decisions: int
    peak_hour_brier: float
    peak_hour: tuple[Reliability, ...]
    peak_coverage: float
    limit_brier: float
    limit: tuple[Reliability, ...]
    reserve_sufficed: float


def brier_score(said: Floats, came: Flags) -> float:
    """Mean squared difference of probabilities and outcomes (Brier 1950): 0 is best, 0.25 says one half always."""
    return float(np.mean(np.square(said - came))) if len(said) else np.nan


def reliability(said: Floats, came: Flags) -> tuple[Reliability, ...]:
    """Outcomes by tenths of the probability; tenths without cases are left out."""
    tenth = np.minimum((said * TENTHS).astype(np.int64), TENTHS - 1)
    return tuple(
        Reliability(float(said[rows].mean()), float(came[rows].mean()), int(rows.sum()))
        for rows in (tenth == index for index in range(TENTHS))
        if rows.any()
    )


def score_decisions(
    decisions: Iterable[Decision], truths: Mapping[tuple[int | None, int, int], Course], interval: Interval
) -> DecisionScore:
    """Hold decisions against what came.

    Args:
        decisions: Of any totals, origins and windows.
        truths: By site id, meter code and step of the origin; NaN where a total was not complete.
        interval: The metering interval.
    """
    peak, limit, inside, sufficed = [], [], [], []
    for decision in decisions:
        step = interval.step_of(decision.issued_at)
        course = truths.get((decision.site_id, decision.meter, step))
        steps = decision.window_h * interval.steps_per_hour
        if course is None or np.isnan(course[0][:steps]).any():
            continue
        came_kw, median_kw = (values[:steps] * interval.steps_per_hour for values in course)
        highest_kw = came_kw.max()
        peak.append((decision.peak_probability, interval.step_of(decision.peak_at) == step + 1 + came_kw.argmax()))
        inside.append(decision.peak_q10_kw <= highest_kw <= decision.peak_q90_kw)
        sufficed.append((came_kw - median_kw).max() <= decision.reserve_kw)
        if decision.limit_kw is not None and decision.limit_probability is not None:
            limit.append((decision.limit_probability, highest_kw > decision.limit_kw))
    (peak_said, peak_came), (limit_said, limit_came) = _columns(peak), _columns(limit)
    return DecisionScore(
        decisions=len(peak),
        peak_hour_brier=brier_score(peak_said, peak_came),
        peak_hour=reliability(peak_said, peak_came),
        peak_coverage=float(np.mean(inside)) if inside else np.nan,
        limit_brier=brier_score(limit_said, limit_came),
        limit=reliability(limit_said, limit_came),
        reserve_sufficed=float(np.mean(sufficed)) if sufficed else np.nan,
    )


def _columns(cases: list[tuple[float, bool]]) -> tuple[Floats, Flags]:
    return np.array([said for said, _ in cases], dtype=np.float64), np.array([came for _, came in cases], dtype=bool)
