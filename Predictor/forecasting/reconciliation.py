"""Moves meters so that their totals go where they should.

Minimum trace reconciliation (Wickramasuriya, Athanasopoulos and Hyndman 2019) in its constraint form: with base
forecasts y of totals and meters, their error variances W and C y = 0 for coherent ones, the reconciled forecasts are
y - W C' (C W C')^-1 C y. W is diagonal; C W C' has one row a total, so that 1,449 meters cost no more than 68 totals.

A meter's variance is its half-width times its median: half way between the square of the half-width, which lets a few
unsure meters carry every correction, and a share of the load. A total's own variance would be underestimated from its
meters', since errors of a total forecast directly and of the sum of its meters go together. So it is said from outside
how far each total by itself is to move, which training finds by validation, and the formula agrees sites with the grid
and with their meters: a total counts as much as the sum of its meters does.
"""

from typing import Final

import numpy as np

from Predictor.forecasting.hierarchy import Hierarchy
from Predictor.forecasting.snapshot import Floats

_SHARE: Final = 0.5
"""Of its gap to the base forecast a total is pulled where it has the variance of the sum of its meters."""
_UNKNOWN: Final = 1e6
_NO_VARIANCE: Final = 1e-12


def reconcile(hierarchy: Hierarchy, median: Floats, half_width: Floats, move: Floats) -> Floats:
    """Move meters so that their sums move as they should.

    Args:
        hierarchy: T totals of M meters.
        median: Meters' forecasts, shape ``(M, horizon)``. [kWh]
        half_width: Half of their 80 % intervals' widths, same shape. [kWh]
        move: How far each total by itself should move, shape ``(T, horizon)``; NaN where nothing is known. [kWh]

    Returns:
        The meters' reconciled medians, never negative; the totals' are their sums. [kWh]
    """
    if not len(hierarchy):
        return median
    variance = half_width * median
    of_sum = hierarchy.add(variance)
    known = np.isfinite(move)
    shared = _shared(hierarchy, of_sum)
    level = np.maximum(of_sum.max(axis=0), np.finfo(np.float64).tiny / _NO_VARIANCE)
    steps = np.arange(len(hierarchy))
    shared[:, steps, steps] += (of_sum * np.where(known, (1 - _SHARE) / _SHARE, _UNKNOWN) + _NO_VARIANCE * level).T
    gap = np.where(known, move, 0.0) / _SHARE
    pull = np.linalg.solve(shared, gap.T[:, :, None])[:, :, 0]
    return np.asarray(np.maximum(median + variance * (hierarchy.members.T.astype(np.float64) @ pull.T), 0.0))


def _shared(hierarchy: Hierarchy, of_sum: Floats) -> Floats:
    """Give the variance of the meters that two totals share, shape ``(horizon, T, T)``; of two, one holds the other."""
    members = hierarchy.members.astype(np.int64)
    within = (members @ members.T == hierarchy.count[:, None]) & (hierarchy.count[:, None] > 0)
    inner = np.where(within, np.arange(len(members))[:, None], np.where(within.T, np.arange(len(members)), -1))
    return np.asarray(np.where(inner >= 0, of_sum.T[:, inner], 0.0))
