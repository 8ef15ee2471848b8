"""Profiles: what a meter usually counts at a time of day, on days like the one in question."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from Predictor.forecasting.local_grid import DAYS_AHEAD, LocalGrid
from Predictor.forecasting.snapshot import Floats32, Ints

LIKE_DAYS: Final = 6
"""Days of the same kind that make a profile."""
DECAY: Final = 0.8
"""Weight of a like day against the next newer one."""
SAME_WEEKDAY: Final = 1.5
"""How much more the same weekday counts."""
SAME_WEEKDAY_WEIGHTS: Final = {7: 1.0, 14: 0.8, 21: 0.6, 28: 0.5}
RECENT_DAYS: Final = 8
"""Past days whose deviation from their own profile is looked at."""


@dataclass(frozen=True)
class Profiles:
    """Profiles of each meter, by local day and time of day; NaN where no like day is known.

    Attributes:
        like_day: Mean of the last days of the same kind, for the last ``RECENT_DAYS`` days, today and the
            days ahead: shape ``(M, RECENT_DAYS + 1 + DAYS_AHEAD, slots)``. [kWh]
        spread: Standard deviation of what made ``like_day`` for today and ahead. [kWh]
        weekday: Mean of the last four days of the same weekday, for today and ahead. [kWh]
        daily: Mean of the last days of any kind, for today and ahead. [kWh]
    """

    like_day: Floats32
    spread: Floats32
    weekday: Floats32
    daily: Floats32


def build_profiles(past: Floats32, grid: LocalGrid, site: Ints) -> Profiles:
    """Average past days of shape ``(M, days, slots)``; ``site`` is each meter's row in the grid."""
    ahead = np.arange(grid.today, grid.today + 1 + DAYS_AHEAD)
    targets = np.arange(grid.today - RECENT_DAYS, grid.today + 1 + DAYS_AHEAD)
    like = _like_day_weights(grid, targets)
    weights = np.concatenate([like, _weekday_weights(grid, ahead), _daily_weights(grid, ahead)], axis=1)
    known = ~np.isnan(past)
    filled = np.where(known, past, np.float32(0))
    # The same product for every meter of a site: numpy loops over small matrices.
    by_meter = weights[site]
    total = by_meter @ known.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.where(total > 0, (by_meter @ filled) / total, np.float32(np.nan))
        first, last = RECENT_DAYS, len(targets)
        square = (by_meter[:, first:last] @ np.square(filled)) / total[:, first:last]
    variance = square - np.square(means[:, first:last])
    count = len(ahead)
    return Profiles(
        like_day=means[:, :last],
        spread=np.sqrt(np.maximum(variance, 0)),
        weekday=means[:, last : last + count],
        daily=means[:, last + count :],
    )


def _like_day_weights(grid: LocalGrid, targets: Ints) -> Floats32:
    """Weights of past days for each target day, shape ``(S, targets, days)``."""
    day = np.arange(grid.days)
    before = day < targets[:, None]
    kind, weekday = grid.kind, grid.weekday
    like = before & (kind[:, None, : grid.days] == kind[:, targets, None])
    newer = np.cumsum(like[:, :, ::-1], axis=2)[:, :, ::-1] - 1
    same_weekday = weekday[:, None, : grid.days] == weekday[:, targets, None]
    weights = np.power(DECAY, newer) * np.where(same_weekday, SAME_WEEKDAY, 1.0)
    return _float32(np.where(like & (newer < LIKE_DAYS), weights, 0.0))


def _weekday_weights(grid: LocalGrid, targets: Ints) -> Floats32:
    weights = np.zeros((len(targets), grid.days))
    for days_back, weight in SAME_WEEKDAY_WEIGHTS.items():
        weights[np.arange(len(targets)), targets - days_back] = weight
    return np.broadcast_to(_float32(weights), (len(grid.now), *weights.shape))


def _daily_weights(grid: LocalGrid, targets: Ints) -> Floats32:
    days_back = targets[:, None] - np.arange(grid.days)
    weights = _float32((days_back > 0) & (days_back <= RECENT_DAYS))
    return np.broadcast_to(weights, (len(grid.now), *weights.shape))


def _float32(values: NDArray[np.generic]) -> Floats32:
    return values.astype(np.float32)
