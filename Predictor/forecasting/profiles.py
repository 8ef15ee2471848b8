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
DAILY_DAYS: Final = 8
"""Days of any kind that make the daily profile."""
RECENT_DAYS: Final = 15
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
    like = like_day_weights(grid)
    weights = np.concatenate([like, _weekday_weights(grid, ahead), _daily_weights(grid, ahead)], axis=1)
    # The same product for every meter of a site: numpy loops over small matrices.
    by_meter = weights[site]
    means, total = weighted_means(past, by_meter)
    first, last = RECENT_DAYS, like.shape[1]
    squares = np.square(np.where(np.isnan(past), np.float32(0), past))
    with np.errstate(divide="ignore", invalid="ignore"):
        square = (by_meter[:, first:last] @ squares) / total[:, first:last]
    variance = square - np.square(means[:, first:last])
    count = len(ahead)
    return Profiles(
        like_day=means[:, :last],
        spread=np.sqrt(np.maximum(variance, 0)),
        weekday=means[:, last : last + count],
        daily=means[:, last + count :],
    )


def weighted_means(past: Floats32, weights: Floats32) -> tuple[Floats32, Floats32]:
    """Average past days without their gaps.

    Args:
        past: Shape ``(rows, days, slots)``; NaN where missing.
        weights: Shape ``(rows, targets, days)``.

    Returns:
        Means, NaN where nothing is known, and the weight that each is made of: ``(rows, targets, slots)``.
    """
    known = ~np.isnan(past)
    total = weights @ known.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = (weights @ np.where(known, past, np.float32(0))) / total
    return np.where(total > 0, means, np.float32(np.nan)), total


def like_day_weights(grid: LocalGrid) -> Floats32:
    """Weights of past days for the recent days, today and those ahead, shape ``(S, targets, days)``."""
    targets = np.arange(grid.today - RECENT_DAYS, grid.today + 1 + DAYS_AHEAD)
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
    weights = _float32((days_back > 0) & (days_back <= DAILY_DAYS))
    return np.broadcast_to(weights, (len(grid.now), *weights.shape))


def _float32(values: NDArray[np.generic]) -> Floats32:
    return values.astype(np.float32)
