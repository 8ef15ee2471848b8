"""Clocks and calendars of the sites: local hours, public holidays, school breaks, and stamps in files."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import holidays
import numpy as np

from Sensor_core.building import Site
from Sensor_core.interval import SECONDS_PER_HOUR
from Training_scripts.simulation.plan import Booleans, Floats, Integers

_SECONDS_PER_DAY: Final = 24 * SECONDS_PER_HOUR
SUNDAY: Final = 6

_NORTHERN_BREAKS: Final = ((101, 105), (325, 405), (625, 901), (1220, 1231))
_SOUTHERN_BREAKS: Final = ((101, 127), (409, 425), (702, 717), (924, 1009), (1218, 1231))
"""First and last days without school, as month * 100 + day."""


@dataclass(frozen=True)
class LocalTime:
    """What the people at a site go by, one element an interval.

    Attributes:
        hour: Hour of the day, with fraction.
        weekday: 0 is Monday; a public holiday counts as a Sunday.
        day: Number of the day in the series.
        school_break: Whether schools and universities are closed.
    """

    hour: Floats
    weekday: Integers
    day: Integers
    school_break: Booleans


def local_time(site: Site, times_s: Integers) -> LocalTime:
    """Tell the local time of UTC moments.

    Args:
        site: Gives time zone, country and hemisphere.
        times_s: Starts of the intervals. [s since 1970-01-01T00:00Z]
    """
    clock_s = times_s + _offsets_s(site.time_zone, times_s, daylight=True)
    day = clock_s // _SECONDS_PER_DAY
    weekday = np.where(np.isin(day, _public_holidays(site.country, times_s)), SUNDAY, (day + 3) % 7)
    return LocalTime(
        hour=(clock_s % _SECONDS_PER_DAY) / SECONDS_PER_HOUR,
        weekday=weekday,
        day=day - day[0],
        school_break=_school_break(day, southern=site.latitude < 0),
    )


def file_clock_s(site: Site, times_s: Integers) -> Integers:
    """What the stamps in the site's files say, as seconds since 1970-01-01 00:00 on that clock."""
    if site.stamps == "utc":
        return times_s
    return times_s + _offsets_s(site.time_zone, times_s, daylight=site.stamps == "local")


def _offsets_s(time_zone: str, times_s: Integers, *, daylight: bool) -> Integers:
    """Local clock minus UTC. [s] Clock changes fall on full hours, so one look-up an hour is enough."""
    zone = ZoneInfo(time_zone)
    hours = times_s // SECONDS_PER_HOUR
    first, last = int(hours[0]), int(hours[-1])
    moments = (
        datetime.fromtimestamp(hour * SECONDS_PER_HOUR, tz=UTC).astimezone(zone) for hour in range(first, last + 1)
    )
    offsets = [_offset_s(moment, daylight=daylight) for moment in moments]
    return np.array(offsets, dtype=np.int64)[hours - first]


def _offset_s(moment: datetime, *, daylight: bool) -> int:
    ahead = moment.utcoffset() or timedelta()
    summer = timedelta() if daylight else moment.dst() or timedelta()
    return int((ahead - summer).total_seconds())


def _public_holidays(country: str, times_s: Integers) -> Integers:
    first, last = (datetime.fromtimestamp(int(moment), tz=UTC).year for moment in (times_s[0], times_s[-1]))
    dates = holidays.country_holidays(country, years=range(first - 1, last + 2))
    return np.array(sorted(np.datetime64(date, "D").astype(np.int64) for date in dates), dtype=np.int64)


def _school_break(day: Integers, *, southern: bool) -> Booleans:
    days, places = np.unique(day, return_inverse=True)
    dates = [datetime.fromtimestamp(int(number) * _SECONDS_PER_DAY, tz=UTC) for number in days]
    code = np.array([date.month * 100 + date.day for date in dates])
    breaks = _SOUTHERN_BREAKS if southern else _NORTHERN_BREAKS
    closed = np.any([(first <= code) & (code <= last) for first, last in breaks], axis=0)
    return np.asarray(closed[places], dtype=np.bool_)
