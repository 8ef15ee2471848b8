"""Makes forecasts of totals and of their meters agree.

Minimum trace reconciliation (Wickramasuriya, Athanasopoulos and Hyndman 2019) in its constraint form: with base
forecasts y of totals and meters, their error variances W and C y = 0 for coherent ones, the reconciled forecasts are
y - W C' (C W C')^-1 C y. W is diagonal; C W C' has one row a total, so that 1,449 meters cost no more than 68 totals.

A meter's variance is the square of its interval's half-width. A total's would be underestimated that way, since errors
of a total forecast directly and of the sum of its meters go together. It is given by *trust* instead: for a total by
itself the formula becomes sum + trust * (direct - sum), the combination of two forecasts, and validation says by level
and lead group which trust in [0, 1] errs least.
"""

from typing import Final

import numpy as np

from Predictor.forecasting.hierarchy import Hierarchy
from Predictor.forecasting.snapshot import Floats

_NO_VARIANCE: Final = 1e-12
_LEAST_TRUST: Final = 1e-6


def reconcile(hierarchy: Hierarchy, median: Floats, half_width: Floats, direct: Floats, trust: Floats) -> Floats:
    """Move meters so that their sums meet what is known of the totals.

    Args:
        hierarchy: T totals of M meters.
        median: Meters' forecasts, shape ``(M, horizon)``. [kWh]
        half_width: Half of their 80 % intervals' widths, same shape. [kWh]
        direct: Totals' own forecasts, shape ``(T, horizon)``; NaN where there is none. [kWh]
        trust: In each of them, shape ``(T, horizon)``.

    Returns:
        The meters' reconciled medians, never negative; the totals' are their sums. [kWh]
    """
    if not len(hierarchy):
        return median
    variance = np.square(half_width)
    of_sum = hierarchy.add(variance)
    level = np.maximum(of_sum.max(axis=0), _NO_VARIANCE)
    gap = direct - hierarchy.add(median)
    known = np.isfinite(gap)
    share = np.where(known, np.clip(trust, _LEAST_TRUST, 1.0), _LEAST_TRUST)
    of_total = of_sum * (1 - share) / share + _NO_VARIANCE * level
    members = hierarchy.members.astype(np.float64)
    shared = np.einsum("tm,um,mh->htu", members, members, variance, optimize=True)
    steps = np.arange(len(hierarchy))
    shared[:, steps, steps] += of_total.T
    pull = np.linalg.solve(shared, np.where(known, gap, 0.0).T[:, :, None])[:, :, 0]
    return np.asarray(np.maximum(median + variance * (members.T @ pull.T), 0.0))
