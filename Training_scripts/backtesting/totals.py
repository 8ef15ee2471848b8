"""Sites and the grid as sums of their meters, one a meter code."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from Predictor.forecasting.hierarchy import Hierarchy
from Predictor.forecasting.snapshot import NO_SITE, Flags, Floats
from Training_scripts.dataset import EnergyHistory


def members(history: EnergyHistory, site_id: int | None, meter: int) -> Flags:
    """The meters in a total, shape ``(M,)``; the site None is the grid, without buildings of no known site."""
    of_code: Flags = history.meters.meter == meter
    if site_id is None:
        is_placed: Flags = np.array(history.sites.site_id)[history.meters.site] != NO_SITE
        return of_code & is_placed
    at_site: Flags = history.meters.site == history.sites.site_id.index(site_id)
    return of_code & at_site


def sums(
    history: EnergyHistory, sites: Sequence[int | None], meters: Sequence[int], values: NDArray[np.floating]
) -> Floats:
    """Add meters of shape ``(..., M, leads)`` up to totals [kWh]; NaN where any of a total's meters is missing."""
    totals = [
        values[..., members(history, site, meter), :].sum(axis=-2, dtype=np.float64)
        for site, meter in zip(sites, meters, strict=True)
    ]
    return np.stack(totals, axis=-2)


def total_keys(history: EnergyHistory) -> list[tuple[int | None, int]]:
    """Site (None: the grid) and meter code of every total, sites first."""
    hierarchy = Hierarchy.of(history.meters, history.sites)
    return list(zip(hierarchy.site_id, hierarchy.meter.tolist(), strict=True))
