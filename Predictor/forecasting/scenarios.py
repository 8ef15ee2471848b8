"""Whole courses of a total: what may come, hour after hour.

Marginal quantiles do not add up to a peak. A past residual path says which lead times err together; its ranks, lead by
lead, pick from the quantiles of now (the Schaake shuffle: Clark and others 2004), so that the scenarios have the
calibrated quantiles of every hour and the dependence of the past.
"""

from functools import cache
from statistics import NormalDist
from typing import Final

import numpy as np

from Predictor.forecasting.snapshot import Floats, Floats32
from Sensor_core.forecast import AGGREGATE_LEVELS

LEAST_PATHS: Final = 56
"""With fewer own paths, those of other totals help out, then an autoregression. Two weeks, four a day."""

_LEAST_SHARE_KNOWN: Final = 0.8
_PERSISTENCE: Final = 0.9
"""Correlation of residuals one step apart, where nothing is known of them."""
LEVELS_Z: Final = np.array([NormalDist().inv_cdf(level) for level in AGGREGATE_LEVELS])
"""Standard normal quantiles at ``AGGREGATE_LEVELS``."""


def templates(own: Floats32, others: Floats32) -> Floats:
    """Residual paths without gaps to take ranks from, shape ``(at least LEAST_PATHS, horizon)``.

    Args:
        own: Paths of the total, newest last, shape ``(any, horizon)``; NaN where unknown.
        others: Of totals like it.
    """
    paths = _whole(own)
    if len(paths) < LEAST_PATHS:
        paths = np.concatenate([paths, _whole(others)[-(LEAST_PATHS - len(paths)) :]])
    if len(paths) < LEAST_PATHS:
        paths = np.concatenate([paths, _autoregression(own.shape[1])[: LEAST_PATHS - len(paths)]])
    return paths


def scenarios(quantiles: Floats, paths: Floats) -> Floats:
    """Courses with these quantiles and the dependence of these paths.

    Args:
        quantiles: Nine levels by lead time, shape ``(9, horizon)``. [kWh]
        paths: From ``templates``, shape ``(N, horizon)``.

    Returns:
        Shape ``(N, horizon)``, never negative. [kWh]
    """
    rank = np.argsort(np.argsort(paths, axis=0, kind="stable"), axis=0, kind="stable")
    levels = (np.arange(len(paths)) + 0.5) / len(paths)
    values = _quantile_at(quantiles, np.array([NormalDist().inv_cdf(level) for level in levels]))
    return np.take_along_axis(values, rank, axis=0)


def _quantile_at(quantiles: Floats, z: Floats) -> Floats:
    """Between levels and beyond them, straight in standard normal units, shape ``(len(z), horizon)``."""
    upper = np.clip(np.searchsorted(LEVELS_Z, z), 1, len(LEVELS_Z) - 1)
    share = ((z - LEVELS_Z[upper - 1]) / (LEVELS_Z[upper] - LEVELS_Z[upper - 1]))[:, None]
    below, above = quantiles[upper - 1], quantiles[upper]
    return np.asarray(np.maximum(below + share * (above - below), 0.0))


def _whole(paths: Floats32) -> Floats:
    """Those of which enough is known, gaps bridged."""
    known = ~np.isnan(paths)
    usable = known.mean(axis=1) >= _LEAST_SHARE_KNOWN if paths.shape[1] else known.any(axis=1)
    steps = np.arange(paths.shape[1])
    bridged = [
        np.interp(steps, steps[is_known], path[is_known])
        for path, is_known in zip(paths[usable], known[usable], strict=True)
    ]
    return np.array(bridged).reshape(-1, paths.shape[1])


@cache
def _autoregression(horizon: int) -> Floats:
    noise = np.random.default_rng(0).normal(size=(LEAST_PATHS, horizon))
    path = noise.copy()
    for step in range(1, horizon):
        path[:, step] = _PERSISTENCE * path[:, step - 1] + np.sqrt(1 - _PERSISTENCE**2) * noise[:, step]
    return path
