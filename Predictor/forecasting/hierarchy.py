"""Totals of sites and of the grid, one a meter code, that agree with their meters.

The middle of a total is the sum of its meters' middles. Its spread lies between that of independent
meters (squares add up) and of meters that err together (widths add up); how far between, the correlation
says, which training measures by lead time for sites and for the grid. Heat and electricity are never
added.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import msgspec
import numpy as np

from Predictor.forecasting.calibration import LEAD_GROUPS
from Predictor.forecasting.fallback import Z_80
from Predictor.forecasting.snapshot import Floats, Ints, Meters, Sites
from Sensor_core.forecast import AGGREGATE_LEVELS

LEAST_CORRELATION: Final = 0.1
"""Assumed where nothing is known, and at least: a few weeks do not show what a cold spell or a holiday will."""

_CODES: Final = 4
_Z: Final = np.array([NormalDist().inv_cdf(level) for level in AGGREGATE_LEVELS])
"""Standard normal quantiles at ``AGGREGATE_LEVELS``."""


class Correlation(msgspec.Struct, frozen=True, kw_only=True):
    """How much the errors of meters go together, 0 to 1, one a lead group."""

    site: tuple[float, ...] = (LEAST_CORRELATION,) * len(LEAD_GROUPS)
    grid: tuple[float, ...] = (LEAST_CORRELATION,) * len(LEAD_GROUPS)


@dataclass(frozen=True)
class Totals:
    """Forecasts of totals, one element each.

    Attributes:
        site_id: The site, None for the grid.
        meter: Meter code.
        meters: How many meters are in it.
        quantiles: Shape ``(totals, 9, horizon)``, in the order of ``AGGREGATE_LEVELS``. [kWh]
    """

    site_id: tuple[int | None, ...]
    meter: tuple[int, ...]
    meters: tuple[int, ...]
    quantiles: Floats


def totals(meters: Meters, sites: Sites, quantiles: Floats, correlation: Correlation, lead_group: Ints) -> Totals:
    """Add meters up to sites and to the grid.

    Args:
        meters: M meters.
        sites: Their sites.
        quantiles: The meters' 10, 50 and 90 % quantiles, shape ``(3, M, horizon)``. [kWh]
        correlation: By lead group.
        lead_group: Index into ``correlation`` of each lead time, shape ``(horizon,)``.
    """
    by_site = meters.site * _CODES + meters.meter
    site_groups, site_total = _sums(by_site, quantiles, np.asarray(correlation.site)[lead_group])
    grid_groups, grid_total = _sums(meters.meter, quantiles, np.asarray(correlation.grid)[lead_group])
    site_ids = [sites.site_id[group // _CODES] for group in site_groups]
    codes = [*(site_groups % _CODES).tolist(), *grid_groups.tolist()]
    return Totals(
        site_id=(*site_ids, *[None] * len(grid_groups)),
        meter=tuple(codes),
        meters=(*_counts(by_site), *_counts(meters.meter)),
        quantiles=np.concatenate([site_total, grid_total]),
    )


def _counts(group: Ints) -> list[int]:
    return [int(count) for count in np.unique(group, return_counts=True)[1]]


def _sums(group: Ints, quantiles: Floats, correlation: Floats) -> tuple[Ints, Floats]:
    order = np.argsort(group, kind="stable")
    groups, starts = np.unique(group[order], return_index=True)
    low, middle, high = quantiles[:, order].astype(np.float64)

    def add(values: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values, starts, axis=0)) if len(starts) else values

    centre = add(middle)
    half = []
    for width in (middle - low, high - middle):
        together, apart = add(width), add(np.square(width))
        half.append(np.sqrt(correlation * np.square(together) + (1 - correlation) * apart))
    spread = np.where(_Z[:, None] < 0, half[0][:, None], half[1][:, None]) * (_Z / Z_80)[:, None]
    return groups, np.maximum(centre[:, None] + spread, 0.0)


def correlation_of(errors: Floats, widths: Floats, group: Ints) -> float:
    """Estimate how much errors of one group go together.

    Compares the square of summed errors with that of summed widths, less what each meter contributes alone.

    Args:
        errors: Truth less median, shape ``(M, cases)``; NaN where the truth is missing.
        widths: Half-width of the 80 % interval of the same, same shape.
        group: The group that each meter is summed in, shape ``(M,)``.
    """
    known = ~np.isnan(errors)
    error, width = np.where(known, errors, 0.0), np.where(known, widths, 0.0)
    together, expected = 0.0, 0.0
    for member in np.unique(group):
        rows = group == member
        size = max(float(np.square(width[rows].sum(axis=0)).sum()), 1e-12)
        together += _jointly(error[rows]) / size
        expected += _jointly(width[rows]) / size
    return float(np.clip(together * Z_80**2 / expected, 0.0, 1.0)) if expected > 0 else 0.0


def _jointly(values: Floats) -> float:
    """Sum over cases of what the square of a sum has beyond the squares of its parts."""
    return float((np.square(values.sum(axis=0)) - np.square(values).sum(axis=0)).sum())
