"""From a site's own stamps to UTC: time zones, daylight saving, and both hours of a clock change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from Sensor_core.building import Site
from Sensor_core.interval import Interval

_ZONE_SUFFIX = r"(?:Z|[+-]\d\d:?\d\d)$"
_TIME = (
    r"(?:19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]*)?)?)?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_SECOND = np.int64(10**9)
_EPOCH = pd.Timestamp(0, tz="UTC")
Problem = tuple[np.ndarray, str]
"""Rows of a chunk, as flags, and what is wrong with their stamps."""


def parse_times(texts: pd.Series) -> pd.Series:
    """Moments of texts such as 2016-09-02 00:00:00 or 2016-09-02T00:00:00+02:00; what is none becomes NaT.

    pandas alone would also take ``now``, and a year for its first second; and the nanoseconds that times become later
    go round in 584 years.
    """
    is_time = texts.astype("str").str.fullmatch(_TIME, na=False)
    return pd.to_datetime(texts.where(is_time), utc=True, format="ISO8601", errors="coerce")


class StampConverter:
    """Converts the stamps of one file, chunk by chunk.

    A stamp that carries a zone of its own is taken at its word. Of a doubled hour's two readings of one meter
    the first in the file is summer time. Buildings without metadata are taken to stamp in UTC. Hours of a clock that
    is half an hour off UTC's move up to the next hour of UTC, see ``up_to_grid``.
    """

    def __init__(self, sites: dict[int, Site], site_of_building: dict[int, int], interval: Interval) -> None:
        self._sites = sites
        self._interval = interval
        self._site_of_building = pd.Series(site_of_building, dtype="int64")
        self._doubled_seen: set[tuple[int, int, int]] = set()

    def to_utc(
        self, building_id: pd.Series, meter: pd.Series, stamps: pd.Series
    ) -> tuple[pd.DatetimeIndex, list[Problem]]:
        """Convert one chunk.

        Returns:
            The stamps in UTC, and those that are no time or do not exist on the site's clock.
        """
        codes, texts = pd.factorize(stamps.fillna(""))
        has_zone = pd.Series(texts).str.contains(_ZONE_SUFFIX, regex=True).to_numpy(dtype=bool)
        parsed = parse_times(pd.Series(texts))
        problems = [(parsed.isna().to_numpy()[codes], "is not a time such as 2016-09-02 00:00:00")]
        naive_ns = parsed.fillna(_EPOCH).dt.tz_localize(None).to_numpy("datetime64[ns]").astype("int64")
        utc_ns = naive_ns[codes]
        site_of_row = building_id.map(self._site_of_building).fillna(-1).to_numpy(dtype="int64")
        for site_id in np.unique(site_of_row):
            site = self._sites.get(int(site_id))
            if site is None:
                continue
            own = site_of_row == site_id
            if site.stamps != "utc":
                rows = np.flatnonzero(own & ~has_zone[codes])
                table = ClockTable(site, np.unique(codes[rows]), naive_ns)
                unreal = np.zeros(len(codes), dtype=bool)
                unreal[rows] = table.unreal[codes[rows]]
                text = f"does not exist on the clock of {site.time_zone}; is the site's stamps column right?"
                problems.append((unreal, text))
                utc_ns[rows] -= table.offset_ns[codes[rows]]
                doubled = rows[table.doubled[codes[rows]]]
                second = self._second_of_doubled(doubled, building_id, meter, naive_ns[codes])
                utc_ns[doubled] += second * 3600 * _SECOND
            utc_ns[own] = up_to_grid(utc_ns[own], site, self._interval)
        return pd.to_datetime(utc_ns, utc=True), problems

    def _second_of_doubled(
        self, rows: np.ndarray, building_id: pd.Series, meter: pd.Series, naive_ns: np.ndarray
    ) -> np.ndarray:
        """1 where the meter has had this wall-clock stamp before, else 0."""
        second = np.zeros(len(rows), dtype="int64")
        for place, row in enumerate(rows):
            seen = (int(building_id.iloc[row]), int(meter.iloc[row]), int(naive_ns[row]))
            second[place] = seen in self._doubled_seen
            self._doubled_seen.add(seen)
        return second


def up_to_grid(utc_ns: np.ndarray, site: Site, interval: Interval) -> np.ndarray:
    """Move intervals of a clock that is off UTC's grid, as India's by half an hour, up to UTC's next ones.

    Up, because a reading is known when its interval is over: moved down, half an hour of it would be known too soon.
    An hour of UTC has the local hour in which it begins, so that it stays the same.

    Args:
        utc_ns: When the intervals start. [ns since 1970]
        site: Whose clock it is.
        interval: The metering interval.

    Returns:
        The same; what lies neither on UTC's grid nor on the clock's stays where it is.
    """
    step_ns = interval.seconds * _SECOND
    off = utc_ns % step_ns != 0
    if not off.any():
        return utc_ns
    moments, place = np.unique(utc_ns[off], return_inverse=True)
    zone = ZoneInfo(site.time_zone)
    offsets = [datetime.fromtimestamp(int(moment // _SECOND), zone).utcoffset() for moment in moments]
    is_local = (moments + np.array([_nanoseconds(offset) for offset in offsets])) % step_ns == 0
    moved = utc_ns.copy()
    moved[off] = np.where(is_local, -(-moments // step_ns) * step_ns, moments)[place]
    return moved


class ClockTable:
    """For each distinct stamp: its offset from UTC, and whether the clock shows it once, twice, or never.

    Args:
        site: Gives zone and kind of stamps, which are not UTC.
        codes: Places in ``naive_ns`` of the stamps to look up.
        naive_ns: Stamps as the clock shows them. [ns since 1970]
    """

    def __init__(self, site: Site, codes: np.ndarray, naive_ns: np.ndarray) -> None:
        self.offset_ns = np.zeros(len(naive_ns), dtype="int64")
        self.doubled = np.zeros(len(naive_ns), dtype=bool)
        self.unreal = np.zeros(len(naive_ns), dtype=bool)
        zone = ZoneInfo(site.time_zone)
        for code in codes:
            stamp = datetime.fromtimestamp(int(naive_ns[code] // _SECOND), tz=UTC).replace(tzinfo=None)
            if site.stamps == "standard":
                self.offset_ns[code] = _nanoseconds(_standard_offset(zone, stamp.year))
                continue
            first, second = (stamp.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
            self.offset_ns[code] = _nanoseconds(first)
            self.doubled[code] = _nanoseconds(first) > _nanoseconds(second)
            self.unreal[code] = _nanoseconds(first) < _nanoseconds(second)


def _standard_offset(zone: ZoneInfo, year: int) -> timedelta:
    """Offset without daylight saving: the smaller of winter's and summer's, in either hemisphere."""
    return min(datetime(year, month, 1, tzinfo=zone).utcoffset() or timedelta() for month in (1, 7))


def _nanoseconds(offset: timedelta | None) -> int:
    return int((offset or timedelta()).total_seconds()) * int(_SECOND)
