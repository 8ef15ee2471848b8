"""Stamps of a file, in each site's own time, to seconds since 1970 in UTC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from Sensor_core.building import Site
from Sensor_core.interval import SECONDS_PER_HOUR, Interval
from Sensor_core.reading import EARLIEST, LATEST
from Setup.local_stamps import ClockTable, up_to_grid
from Training_scripts.importing.csv_blocks import Bools, Ints

_ZONE_SUFFIX: Final = r"(?:Z|[+-]\d\d:?\d\d)$"
_NS: Final = 10**9


@dataclass(frozen=True)
class Times:
    """Stamps of some rows.

    Attributes:
        seconds: Since 1970, UTC; 0 where there is no time.
        wrong: Stamps that are no time.
        out_of_range: Times that are a mistake of a clock.
        unreal: Stamps that the site's clock skipped in spring.
        second: Stamps that the clock showed twice, and that this series has had before: winter time.
        moved: Intervals of a clock off UTC's grid, moved up to UTC's next one (see ``up_to_grid``).
    """

    seconds: Ints
    wrong: Bools
    out_of_range: Bools
    unreal: Bools
    second: Bools
    moved: Bools


class Clock:
    """Converts the stamps of one file; remembers the doubled hours that it has seen."""

    def __init__(self, sites: Mapping[int, Site], interval: Interval) -> None:
        self._sites = sites
        self._interval = interval
        self._seen: set[tuple[int, int]] = set()

    def to_utc(self, codes: Ints, texts: Sequence[str], site_id: Ints, series: Ints) -> Times:
        """Convert the stamps of some rows.

        Args:
            codes: Each row's stamp, a place in ``texts``.
            texts: Distinct stamps; one that carries a zone of its own is taken at its word.
            site_id: Each row's site; the stamps of unknown sites are taken for UTC.
            series: What each row belongs to, for telling the two readings of a doubled hour apart.
        """
        naive_ns, wrong, out_of_range, has_zone = _parse(texts)
        utc_ns = naive_ns[codes]
        unreal, second, moved = np.zeros((3, len(codes)), dtype=bool)
        for site in self._sites.values():
            rows = np.flatnonzero((site_id == site.site_id) & ~has_zone[codes])
            if site.stamps == "utc" or not rows.size:
                continue
            own = codes[rows]
            present = np.zeros(len(texts), dtype=bool)
            present[own] = True
            table = ClockTable(site, np.flatnonzero(present & ~wrong & ~out_of_range), naive_ns)
            utc_ns[rows] -= table.offset_ns[own]
            unreal[rows] = table.unreal[own]
            doubled = rows[table.doubled[own]]
            second[doubled] = self._seen_before(series[doubled], naive_ns[codes[doubled]])
        utc_ns[second] += SECONDS_PER_HOUR * _NS
        for site in self._sites.values():
            rows = np.flatnonzero(site_id == site.site_id)
            on_grid = up_to_grid(utc_ns[rows], site, self._interval)
            moved[rows] = on_grid != utc_ns[rows]
            utc_ns[rows] = on_grid
        # Fractions of a second are kept off the grid by rounding them up.
        return Times(-(-utc_ns // _NS), wrong[codes], out_of_range[codes], unreal, second, moved)

    def _seen_before(self, series: Ints, naive_ns: Ints) -> Bools:
        before = np.zeros(len(series), dtype=bool)
        for place, key in enumerate(zip(series.tolist(), naive_ns.tolist(), strict=True)):
            before[place] = key in self._seen
            self._seen.add(key)
        return before


def _parse(texts: Sequence[str]) -> tuple[Ints, Bools, Bools, Bools]:
    """Nanoseconds as the clock shows them, what is no time, what is out of range, what has a zone."""
    stamps = pd.Series(list(texts), dtype="str")
    has_zone = stamps.str.contains(_ZONE_SUFFIX, regex=True).to_numpy(dtype=bool)
    parsed = pd.to_datetime(stamps, utc=True, format="ISO8601", errors="coerce")
    wrong = parsed.isna().to_numpy()
    within = parsed.between(pd.Timestamp(EARLIEST), pd.Timestamp(LATEST), inclusive="left").to_numpy()
    inside = parsed.where(within, pd.Timestamp(0, tz="UTC")).dt.tz_localize(None)
    return inside.to_numpy("datetime64[ns]").astype(np.int64), wrong, ~within & ~wrong, has_zone
