"""Local time and kinds of day: what people's habits follow.

UTC steps are mapped to *local steps*, counted on the wall clock of the site, so that a profile of past
days stays in place when clocks change: the hour that spring leaves out has no step, autumn's doubled
hour shares one.
"""

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
_THURSDAY: Final = 3
_DEFAULT_WEEKEND: Final = frozenset({5, 6})
_SUBDIVISION: Final = {"AU": "NSW", "CA": "ON", "GB": "ENG"}
"""Where a country has few holidays in common, the part that most people live in."""
_WORKED_THROUGH: Final = {"US": ("Columbus Day", "Veterans Day", "Washington's Birthday")}
"""Holidays on which loads are those of a workday, by the beginning of their names."""
_CLOSED_AT_CHRISTMAS: Final = frozenset((
    "AT", "AU", "BE", "CA", "CH", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "HR", "HU", "IE", "IS", "IT", "LT",
    "LU", "LV", "NL", "NO", "NZ", "PL", "PT", "SE", "SI", "SK", "US",
))  # fmt: skip
"""Where most stay closed from Christmas Eve to New Year, whatever the calendar says of the days between."""
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
def local_days(country: str, first: int, count: int) -> Days:
    """Weekday, kind and holiday of ``count`` local days from day ``first`` after 1970-01-01."""
    days = np.arange(first, first + count)
    weekday = (days + _EPOCH_WEEKDAY) % 7
    weekend, is_holiday = _rest_days(country, first, count)
    kind = np.full(count, WORKDAY)
    kind[np.isin(weekday, sorted(weekend))] = SECOND_REST_DAY
    first_rest = [day for day in weekend if (day + 1) % 7 in weekend]
    kind[np.isin(weekday, first_rest)] = FIRST_REST_DAY
    kind[is_holiday] = SECOND_REST_DAY
    return Days(weekday, kind, is_holiday)


def _rest_days(country: str, first: int, count: int) -> tuple[frozenset[int], Flags]:
    weekend, found = _DEFAULT_WEEKEND, set[int]()
    last_year = (_EPOCH + timedelta(days=first + count)).year
    for year in range((_EPOCH + timedelta(days=first - 1)).year, last_year + 1):
        weekend, days = _holidays_of(country, year)
        found |= days
    # A Friday after a Thursday's holiday is taken off by most.
    is_holiday = [
        day in found or (day - 1 in found and (day - 1 + _EPOCH_WEEKDAY) % 7 == _THURSDAY)
        for day in range(first, first + count)
    ]
    return weekend, np.array(is_holiday, dtype=np.bool_)


@lru_cache(maxsize=512)
def _holidays_of(country: str, year: int) -> tuple[frozenset[int], frozenset[int]]:
    try:
        calendar = holidays.country_holidays(country, subdiv=_SUBDIVISION.get(country), years=year)
    except NotImplementedError:  # the package does not know this country
        return _DEFAULT_WEEKEND, frozenset()
    worked_through = _WORKED_THROUGH.get(country, ())
    days = {day for day, name in calendar.items() if not name.startswith(worked_through)}
    if country in _CLOSED_AT_CHRISTMAS:
        days.update(date(year, 12, day) for day in _CHRISTMAS_DAYS)
    return frozenset(calendar.weekend), frozenset((day - _EPOCH).days for day in days)
