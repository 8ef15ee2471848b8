"""Local time and kinds of day: what people's habits follow.

UTC steps are mapped to *local steps*, counted on the wall clock of the site, so that a profile of past
days stays in place when clocks change: the hour that spring leaves out has no step, autumn's doubled
hour shares one.
"""

from calendar import isleap
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import holidays
import numpy as np

from Predictor.forecasting.snapshot import Flags, Ints

WORKDAY, FIRST_REST_DAY, SECOND_REST_DAY = range(3)
"""Kinds of day; a public holiday counts as the weekend's second day."""

_EPOCH: Final = date(1970, 1, 1)
_EPOCH_WEEKDAY: Final = 3
_BLOCK_STEPS: Final = 4096
_FRIDAY: Final = 4
_DEFAULT_WEEKEND: Final = (5, 6)
_SUBDIVISION: Final = {"AU": "NSW", "BR": "SP", "CA": "ON", "CH": "ZH", "DE": "NW", "ES": "MD", "GB": "ENG"}
"""Where a country has few holidays in common, the part that most people live in."""
_SUBDIVISION_OF_ZONE: Final = {
    "Australia/Adelaide": "SA", "Australia/Brisbane": "QLD", "Australia/Darwin": "NT", "Australia/Hobart": "TAS",
    "Australia/Melbourne": "VIC", "Australia/Perth": "WA", "America/Edmonton": "AB", "America/Halifax": "NS",
    "America/Montreal": "QC", "America/Regina": "SK", "America/St_Johns": "NL", "America/Vancouver": "BC",
    "America/Winnipeg": "MB",
}  # fmt: skip
"""Other parts of these countries that have a time zone of their own."""
_WORKED_THROUGH: Final = {"US": ("Columbus Day", "Veterans Day", "Washington's Birthday")}
"""Holidays on which loads are those of a workday, by the beginning of their names."""
_TAKES_DAYS_BETWEEN: Final = frozenset((
    "AR", "AT", "AU", "BE", "BR", "CA", "CH", "CL", "CO", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "HR", "HU",
    "IE", "IS", "IT", "LT", "LU", "LV", "MX", "NL", "NO", "NZ", "PE", "PL", "PT", "SE", "SI", "SK", "US", "UY", "ZA",
))  # fmt: skip
"""Where most stay closed from Christmas Eve to New Year and on a Friday after a holiday, whatever the calendar says."""
_CHRISTMAS_DAYS: Final = range(24, 32)


class Days(NamedTuple):
    """Consecutive local days, one element each: weekday (Monday 0), kind, and whether it is a holiday."""

    weekday: Ints
    kind: Ints
    holiday: Flags


def local_steps(time_zone: str, interval_s: int, first: int, stop: int) -> Ints:
    """Local step of each UTC step from ``first`` up to ``stop``, counted from 1970-01-01T00:00 local time."""
    blocks = range(first // _BLOCK_STEPS, (stop - 1) // _BLOCK_STEPS + 1)
    steps = np.concatenate([_local_block(time_zone, interval_s, block) for block in blocks])
    begin = first - blocks[0] * _BLOCK_STEPS
    return steps[begin : begin + stop - first]


@lru_cache(maxsize=512)
def _local_block(time_zone: str, interval_s: int, block: int) -> Ints:
    zone = ZoneInfo(time_zone)
    steps = np.arange(block * _BLOCK_STEPS, (block + 1) * _BLOCK_STEPS)
    offsets = [datetime.fromtimestamp(int(step) * interval_s, zone).utcoffset() for step in steps]
    offsets_s = np.array([(offset or timedelta()).total_seconds() for offset in offsets], dtype=np.int64)
    return np.asarray((steps * interval_s + offsets_s) // interval_s, dtype=np.int64)


@lru_cache(maxsize=4096)
def local_days(country: str, time_zone: str, first: int, count: int) -> Days:
    """Weekday, kind and holiday of ``count`` local days from day ``first`` after 1970-01-01."""
    days = np.arange(first, first + count)
    weekday = (days + _EPOCH_WEEKDAY) % 7
    years = range((_EPOCH + timedelta(days=first - 1)).year, (_EPOCH + timedelta(days=first + count)).year + 1)
    subdivision = _SUBDIVISION_OF_ZONE.get(time_zone, _SUBDIVISION.get(country))
    weekends, off = (
        np.concatenate(part) for part in zip(*(_rest_days(country, subdivision, year) for year in years), strict=True)
    )
    is_holiday = np.isin(days, off)
    if country in _TAKES_DAYS_BETWEEN:
        is_holiday |= (weekday == _FRIDAY) & np.isin(days - 1, off)
    kind = np.where(np.isin(days + 1, weekends), FIRST_REST_DAY, SECOND_REST_DAY)
    kind[~np.isin(days, weekends)] = WORKDAY
    kind[is_holiday] = SECOND_REST_DAY
    return Days(weekday, kind, is_holiday)


@lru_cache(maxsize=512)
def _rest_days(country: str, subdivision: str | None, year: int) -> tuple[Ints, Ints]:
    """The year's days of weekends, and its holidays, counted from 1970-01-01."""
    dates = [date(year, 1, 1) + timedelta(days=day) for day in range(365 + isleap(year))]
    try:
        calendar = holidays.country_holidays(country, subdiv=subdivision, years=year)
    except NotImplementedError:  # the package does not know this country
        return _day_numbers(day for day in dates if day.weekday() in _DEFAULT_WEEKEND), _day_numbers(())
    worked_through = _WORKED_THROUGH.get(country, ())
    found = {day for day, name in calendar.items() if not name.startswith(worked_through)}
    if country in _TAKES_DAYS_BETWEEN:
        found.update(date(year, 12, day) for day in _CHRISTMAS_DAYS)
    weekends = (day for day in dates if calendar.is_weekend(day) and day not in calendar.weekend_workdays)
    return _day_numbers(weekends), _day_numbers(found)


def _day_numbers(days: Iterable[date]) -> Ints:
    return np.array([(day - _EPOCH).days for day in days], dtype=np.int64)
