"""Which meters make which total: sites and the grid, one a meter code. Heat and electricity are never added."""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from Predictor.forecasting.snapshot import NO_SITE, Flags, Floats, Ints, Meters, Sites

GRID: Final = -1
"""Stands in ``Hierarchy.site`` for all sites together."""

_CODES: Final = 4


@dataclass(frozen=True)
class Hierarchy:
    """T totals of M meters, the sites' before the grid's; meters of no known site are in none.

    Attributes:
        site: Position of the site in ``Sites``, or ``GRID``, shape ``(T,)``.
        site_id: The site's id, None for the grid.
        meter: Meter code, shape ``(T,)``.
        members: Which meters are in it, shape ``(T, M)``.
        count: How many, shape ``(T,)``.
    """

    site: Ints
    site_id: tuple[int | None, ...]
    meter: Ints
    members: Flags
    count: Ints

    @classmethod
    def of(cls, meters: Meters, sites: Sites) -> Self:
        """Group meters by site and code, and by code."""
        known = np.array([site_id != NO_SITE for site_id in sites.site_id], dtype=bool)[meters.site]
        by_site, by_code = meters.site * _CODES + meters.meter, meters.meter
        site_groups, codes = np.unique(by_site[known]), np.unique(by_code[known])
        members = np.concatenate([by_site == site_groups[:, None], (by_code == codes[:, None]) & known])
        site = np.concatenate([site_groups // _CODES, np.full(len(codes), GRID)])
        return cls(
            site=site,
            site_id=tuple(None if place == GRID else sites.site_id[place] for place in site.tolist()),
            meter=np.concatenate([site_groups % _CODES, codes]),
            members=members,
            count=members.sum(axis=1),
        )

    def __len__(self) -> int:
        return len(self.site)

    @property
    def is_grid(self) -> Flags:
        """Which totals are the grid's, shape ``(T,)``."""
        return np.asarray(self.site == GRID)

    def only(self, counted: Flags) -> Self:
        """The same totals of some of the meters; one may be left without any."""
        members = self.members & counted
        return replace(self, members=members, count=members.sum(axis=1))

    def add(self, values: Floats) -> Floats:
        """Sum over each total's meters: ``(M, any)`` becomes ``(T, any)``."""
        return np.asarray(self.members.astype(np.float64) @ values)


@dataclass(frozen=True)
class Totals:
    """Forecasts of T totals, one element each.

    Attributes:
        site_id: The site, None for the grid.
        meter: Meter code.
        meters: How many meters are in it.
        quantiles: Shape ``(T, 9, horizon)``, in the order of ``AGGREGATE_LEVELS``. [kWh]
    """

    site_id: tuple[int | None, ...]
    meter: tuple[int, ...]
    meters: tuple[int, ...]
    quantiles: Floats
