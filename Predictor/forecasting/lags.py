"""What each target is compared with: the same time on earlier days, as far as it is known at the origin."""

from typing import Final

import numpy as np

from Predictor.forecasting.local_grid import LocalGrid
from Predictor.forecasting.profiles import RECENT_DAYS
from Predictor.forecasting.snapshot import Floats, Floats32, Ints

DRIFT_H: Final = 3
"""A drift is a mean deviation from the profile over so many hours before and after. [h]"""


def lag_places(grid: LocalGrid, sph: int) -> dict[str, Ints]:
    """Places in the grid of what each target is compared with, each of shape ``(S, horizon)``.

    Args:
        grid: Where each site's steps lie.
        sph: Steps of an hour.
    """
    slots, target = grid.slots, grid.target
    day = newest_day(grid)
    places = {f"day_lag_{lag}": day - (lag - 1) * slots for lag in (1, 2, 3, 7)}
    places |= {f"week_lag_{weeks}": target - 7 * weeks * slots for weeks in (1, 2)}
    for name, base in (("week_lag_1", places["week_lag_1"]), ("day_lag_1", day)):
        places |= {f"{name}_before": base - sph, f"{name}_after": base + sph}
    first, second = like_day_places(grid, day)
    return places | {"like_day_lag_1": first, "like_day_lag_2": second}


def newest_day(grid: LocalGrid) -> Ints:
    """Places of the targets' time of day on the newest day that is known, shape ``(S, horizon)``."""
    return grid.target - grid.slots * (1 + (grid.target - grid.slots > grid.now[:, None]))


def like_day_places(grid: LocalGrid, newest: Ints) -> tuple[Ints, Ints]:
    """Places of the two last days of the target's kind, not after ``newest``; -1 where there is none."""
    target_kind = np.take_along_axis(grid.kind, grid.target // grid.slots, axis=1)
    found = np.full((2, *newest.shape), -1, dtype=np.int64)
    for days_back in range(RECENT_DAYS):
        place = newest - days_back * grid.slots
        like = np.take_along_axis(grid.kind, place // grid.slots, axis=1) == target_kind
        second = like & (found[0] >= 0) & (found[1] < 0)
        found[1] = np.where(second, place, found[1])
        found[0] = np.where(like & (found[0] < 0), place, found[0])
    return found[0], found[1]


def values_at(places: Ints, values: Floats32, first: Ints | int, now: Ints, site: Ints) -> Floats32:
    """Look values up by place; NaN before the first place and after the origin.

    Args:
        places: Shape ``(S, ...)``.
        values: By place from ``first`` on, shape ``(M, count)``.
        first: Place of the first column.
        now: Place of the origin, shape ``(S,)``.
        site: Each meter's row in ``places``.

    Returns:
        Shape ``(M, ...)``.
    """
    flat = places.reshape(len(places), -1)
    index = np.where((flat < first) | (flat > now[:, None]), values.shape[1], flat - first)
    padded = np.concatenate([values, np.full((len(values), 1), np.nan, np.float32)], axis=1)
    return np.take_along_axis(padded, index[site], axis=1).reshape(len(site), *places.shape[1:])


def drifts(errors: Floats32, sph: int) -> Floats32:
    """Means of errors around each place, shape as ``errors``; NaN where none is known."""
    reach = DRIFT_H * sph
    known = ~np.isnan(errors)
    total = _running_sum(np.where(known, errors, np.float32(0)).astype(np.float64), reach)
    count = _running_sum(known.astype(np.float64), reach)
    mean = total / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan).astype(np.float32)


def _running_sum(values: Floats, reach: int) -> Floats:
    padded = np.pad(values, ((0, 0), (reach + 1, reach)))
    sums = np.cumsum(padded, axis=1)
    return sums[:, 2 * reach + 1 :] - sums[:, : -2 * reach - 1]
