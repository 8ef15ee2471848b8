"""Scores of forecasts against what came, by lead time."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from Predictor.forecasting.snapshot import Floats
from Sensor_core.forecast import METER_LEVELS
from Sensor_core.interval import HORIZON_H

SCORED_LEADS_H: Final = (1, 3, 6, 12, 24, 48)
ALL_LEADS: Final = "all"


@dataclass(frozen=True)
class Score:
    """How good forecasts were.

    Attributes:
        cvrmse: Root mean square error over the mean load, median over meters.
        pinball: Mean pinball loss of the three quantiles over the mean load, mean over meters; NaN without
            quantiles.
        coverage: Share of truths inside the 80 % interval; NaN without quantiles.
    """

    cvrmse: float
    pinball: float
    coverage: float


def score_by_lead(truth: Floats, forecast: Floats, steps_per_hour: int) -> dict[str, Score]:
    """Score by lead time and over all of them.

    Args:
        truth: Shape ``(origins, M, horizon)``; NaN where there is none. [kWh]
        forecast: Quantiles 10, 50 and 90 %, shape ``(origins, 3, M, horizon)``, or the median only,
            ``(origins, 1, M, horizon)``. [kWh]
        steps_per_hour: Steps of an hour; a lead time of k hours is step ``k * steps_per_hour``.

    Returns:
        Score by lead time in hours, as text, and under ``all``.
    """
    spans = {str(lead): slice(lead * steps_per_hour - 1, lead * steps_per_hour) for lead in SCORED_LEADS_H}
    spans[ALL_LEADS] = slice(0, HORIZON_H * steps_per_hour)
    return {name: _score(truth[..., span], forecast[..., span]) for name, span in spans.items()}


def _score(truth: Floats, forecast: Floats) -> Score:
    median = forecast[:, forecast.shape[1] // 2]
    truth = np.where(np.isnan(median), np.nan, truth)
    load = _mean(truth)
    usable = load > 0
    cvrmse = np.sqrt(_mean(np.square(median - truth)))[usable] / load[usable]
    score = Score(float(np.median(cvrmse)) if usable.any() else np.nan, np.nan, np.nan)
    if forecast.shape[1] == 1:
        return score
    loss = np.mean([_mean(_pinball(truth, forecast[:, i], level)) for i, level in enumerate(METER_LEVELS)], axis=0)
    inside = (truth >= forecast[:, 0]) & (truth <= forecast[:, -1])
    coverage = inside[~np.isnan(truth)]
    return Score(
        score.cvrmse,
        float(np.mean(loss[usable] / load[usable])) if usable.any() else np.nan,
        float(coverage.mean()) if coverage.size else np.nan,
    )


def _mean(values: Floats) -> Floats:
    """Mean of each meter over origins and lead times, gaps left out; NaN where there is nothing else."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=(0, 2)) / known.sum(axis=(0, 2)))


def _pinball(truth: Floats, quantile: Floats, level: float) -> Floats:
    error = truth - quantile
    return np.maximum(level * error, (level - 1) * error)
