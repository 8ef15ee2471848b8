"""Forecasts that cost nothing: what a model has to beat."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from Predictor.forecasting.snapshot import Floats, Ints, Snapshot

_SAME_HOURS: Final = 7
_WEEK_DAYS: Final = 7


def last_hour(snapshot: Snapshot) -> Floats:
    """Repeat the newest known hour; quarter-hourly meters repeat each quarter."""
    steps = snapshot.interval.steps_per_hour
    newest = _filled(snapshot.readings_kwh)[:, -steps:]
    return np.tile(newest, (1, snapshot.interval.horizon // steps))


def previous_day(snapshot: Snapshot) -> Floats:
    """Repeat the last 24 hours."""
    return _at(snapshot, _whole_days(snapshot))


def previous_week(snapshot: Snapshot) -> Floats:
    """Repeat the same hours of the week before."""
    return _at(snapshot, np.full(snapshot.interval.horizon, _WEEK_DAYS))


def mean_of_same_hours(snapshot: Snapshot) -> Floats:
    """Mean of the last seven known values of the same hour."""
    days = _whole_days(snapshot)
    values = np.stack([_at(snapshot, days + back) for back in range(_SAME_HOURS)])
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / known.sum(axis=0))


BASELINES: Final[Mapping[str, Callable[[Snapshot], Floats]]] = {
    "last hour": last_hour,
    "previous day": previous_day,
    "previous week": previous_week,
    "mean of 7 same hours": mean_of_same_hours,
}
"""Each returns energies of shape ``(M, horizon)``; NaN where the past does not reach. [kWh]"""


def _filled(readings: Floats) -> Floats:
    """Carry the newest known value over gaps."""
    columns = np.where(np.isnan(readings), -1, np.arange(readings.shape[1]))
    newest = np.maximum.accumulate(columns, axis=1)
    values = np.take_along_axis(readings, np.maximum(newest, 0), axis=1)
    return np.where(newest >= 0, values, np.nan)


def _whole_days(snapshot: Snapshot) -> Ints:
    """Days from each step ahead back to the newest known one at its time of day."""
    steps = np.arange(1, snapshot.interval.horizon + 1)
    return -(-steps // snapshot.interval.steps_per_day)


def _at(snapshot: Snapshot, days_back: Ints) -> Floats:
    day = snapshot.interval.steps_per_day
    ahead = np.arange(1, snapshot.interval.horizon + 1)
    readings = _filled(snapshot.readings_kwh)
    column = readings.shape[1] - 1 + ahead - days_back * day
    return np.where(column >= 0, readings[:, np.maximum(column, 0)], np.nan)
