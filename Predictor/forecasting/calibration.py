"""Intervals that mean what they say: how much wider than trained, by lead time.

Split-conformal quantile regression in its scaled form (Romano, Patterson and Candes 2019; Sesia and
Candes 2020): on hours that the model has not seen, the distance of the truth from the median is measured
in half-widths of the interval; its quantile is the factor that each half-width is multiplied with from
then on.
"""

from typing import Final

import msgspec
import numpy as np

from Predictor.forecasting.snapshot import Floats, Floats32, Ints

LEAD_GROUPS: Final = ((1, 3), (4, 12), (13, 24), (25, 48))
"""First and last hour of each group of lead times: one set of boosters and of factors each."""

_LEAST_FACTOR: Final = 0.5
_LEAST_ROWS: Final = 50


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Factors on the lower and the upper half of the 80 % interval, one a lead group."""

    low: tuple[float, ...] = (1.0,) * len(LEAD_GROUPS)
    high: tuple[float, ...] = (1.0,) * len(LEAD_GROUPS)


def lead_group_of(horizon: int, steps_per_hour: int) -> Ints:
    """Index into ``LEAD_GROUPS`` of each step ahead, shape ``(horizon,)``."""
    lead_h = np.arange(1, horizon + 1) / steps_per_hour
    return np.searchsorted([last for _, last in LEAD_GROUPS], lead_h)


def calibrate(truth: Floats, q10: Floats, q50: Floats, q90: Floats, group: Ints) -> Calibration:
    """Find the factors that make the interval cover 80 %, 10 % missed on either side.

    Args:
        truth: What came, shape ``(rows,)``.
        q10: Forecast quantiles of the same rows, before calibration; likewise ``q50`` and ``q90``.
        q50: Median.
        q90: Upper quantile.
        group: Lead group of each row.
    """
    low, high = [], []
    for index in range(len(LEAD_GROUPS)):
        rows = group == index
        low.append(_factor((q50 - truth)[rows], (q50 - q10)[rows]))
        high.append(_factor((truth - q50)[rows], (q90 - q50)[rows]))
    return Calibration(low=tuple(low), high=tuple(high))


def _factor(distance: Floats, half_width: Floats) -> float:
    usable = half_width > 0
    if usable.sum() < _LEAST_ROWS:
        return 1.0
    return max(_LEAST_FACTOR, float(np.quantile(distance[usable] / half_width[usable], 0.9)))


def widen(quantiles: Floats32, calibration: Calibration, group: Ints) -> Floats32:
    """Apply the factors to quantiles of shape ``(3, M, horizon)``, 10, 50 and 90 %."""
    low, middle, high = quantiles
    lower = middle - (middle - low) * np.asarray(calibration.low, dtype=np.float32)[group]
    upper = middle + (high - middle) * np.asarray(calibration.high, dtype=np.float32)[group]
    return np.stack([lower, middle, upper])
