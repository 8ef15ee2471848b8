"""Scores of forecasts against what came, by lead time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from Predictor.forecasting.snapshot import Floats
from Sensor_core.forecast import METER_LEVELS
from Sensor_core.interval import HORIZON_H

SCORED_LEADS_H: Final = (1, 3, 6, 12, 24, 48)
ALL_LEADS: Final = "all"


@dataclass(frozen=True)
class SeriesScores:
    """How good the forecasts of K meters or totals were, one element each; NaN where nothing can be said.

    Attributes:
        rows: Truths that a forecast was held against.
        cvrmse: Root mean square error over the mean load.
        log_error: Mean square of the difference of log(1 + kWh).
        pinball: Mean pinball loss of the three quantiles over the mean load.
        coverage: Share of truths inside the 80 % interval; NaN without quantiles.
    """

    rows: Floats
    cvrmse: Floats
    log_error: Floats
    pinball: Floats
    coverage: Floats


@dataclass(frozen=True)
class Score:
    """How good forecasts were.

    Attributes:
        cvrmse: Root mean square error over the mean load, median over meters.
        cvrmse_mean: The same, mean over meters.
        rmsle: Root mean square logarithmic error of all rows.
        pinball: Mean pinball loss of the three quantiles over the mean load, mean over meters; a forecast
            without quantiles counts as one that puts all three where its median is.
        coverage: Share of truths inside the 80 % interval; NaN without quantiles.
        rows: Truths that a forecast was held against.
    """

    cvrmse: float
    cvrmse_mean: float
    rmsle: float
    pinball: float
    coverage: float
    rows: int


def score_by_lead(
    truth: Floats, forecast: Floats, steps_per_hour: int, leads_h: Sequence[int] = SCORED_LEADS_H
) -> dict[str, Score]:
    """Score by lead time and over all of them.

    Args:
        truth: Shape ``(origins, M, horizon)``; NaN where there is none. [kWh]
        forecast: Quantiles 10, 50 and 90 %, shape ``(origins, 3, M, horizon)``, or the median only,
            ``(origins, 1, M, horizon)``. [kWh]
        steps_per_hour: Steps of an hour; a lead time of k hours is step ``k * steps_per_hour``.
        leads_h: Lead times to score one by one. [h]

    Returns:
        Score by lead time in hours, as text, and under ``all``.
    """
    spans = {str(lead): slice(lead * steps_per_hour - 1, lead * steps_per_hour) for lead in leads_h}
    spans[ALL_LEADS] = slice(0, HORIZON_H * steps_per_hour)
    return {name: summarise(score_series(truth[..., span], forecast[..., span])) for name, span in spans.items()}


def score_series(truth: Floats, forecast: Floats) -> SeriesScores:
    """Score every meter or total by itself.

    Args:
        truth: Shape ``(origins, K, leads)``; NaN where there is none. [kWh]
        forecast: As for ``score_by_lead``; rows without a forecast are left out.
    """
    middle = forecast[:, forecast.shape[1] // 2]
    truth = np.where(np.isnan(middle), np.nan, truth)
    load = _mean(truth)
    load = np.where(load > 0, load, np.nan)
    quantiles = np.moveaxis(forecast, 1, 0) if forecast.shape[1] > 1 else [middle] * len(METER_LEVELS)
    losses = [_mean(_pinball(truth, values, level)) for level, values in zip(METER_LEVELS, quantiles, strict=True)]
    known = ~np.isnan(truth)
    inside = np.where(known, (truth >= quantiles[0]) & (truth <= quantiles[-1]), np.nan)
    return SeriesScores(
        rows=known.sum(axis=(0, 2)).astype(np.float64),
        cvrmse=np.sqrt(_mean(np.square(middle - truth))) / load,
        log_error=_mean(np.square(np.log1p(np.maximum(middle, 0)) - np.log1p(truth))),
        pinball=np.mean(losses, axis=0) / load,
        coverage=_mean(inside) if forecast.shape[1] > 1 else np.full(len(load), np.nan),
    )


def summarise(scores: SeriesScores) -> Score:
    """One score for all meters or totals."""
    cvrmse, pinball = (values[~np.isnan(values)] for values in (scores.cvrmse, scores.pinball))
    return Score(
        cvrmse=float(np.median(cvrmse)) if cvrmse.size else np.nan,
        cvrmse_mean=float(np.mean(cvrmse)) if cvrmse.size else np.nan,
        rmsle=float(np.sqrt(_pooled(scores.log_error, scores.rows))),
        pinball=float(np.mean(pinball)) if pinball.size else np.nan,
        coverage=_pooled(scores.coverage, scores.rows),
        rows=int(scores.rows.sum()),
    )


def _pooled(means: Floats, rows: Floats) -> float:
    """Mean over all rows of what is a mean over each meter's."""
    known = ~np.isnan(means)
    return float(np.average(means[known], weights=rows[known])) if known.any() else np.nan


def _mean(values: Floats) -> Floats:
    """Mean of each meter over origins and lead times, gaps left out; NaN where there is nothing else."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=(0, 2)) / known.sum(axis=(0, 2)))


def _pinball(truth: Floats, quantile: Floats, level: float) -> Floats:
    error = truth - quantile
    return np.maximum(level * error, (level - 1) * error)
