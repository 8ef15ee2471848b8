"""The past on each site's wall clock: one row a day, one column a time of day.

Laid out like this, "the same time on past workdays" is a weighted sum over rows, for all meters at once,
and clock changes need no further thought. Today is the last row; what has not happened yet is NaN.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from Predictor.forecasting.calendar import local_days, local_steps
from Predictor.forecasting.snapshot import Floats, Floats32, Ints, Sites, Snapshot
from Sensor_core.interval import Interval

DAYS_AHEAD: Final = 3
"""Local days after today that 48 hours can reach, also when clocks jump."""


@dataclass(frozen=True)
class LocalGrid:
    """Where each site's steps lie on its wall clock; days are counted from the grid's first.

    Attributes:
        days: Rows of the past, today included.
        slots: Steps of a day.
        column: Column of ``readings_kwh`` at each place of the past, ``(S, days * slots)``; W where none.
        now: Place of the origin, shape ``(S,)``.
        target: Places of the steps to forecast, shape ``(S, horizon)``.
        weekday: Monday is 0, shape ``(S, days + DAYS_AHEAD)``; likewise ``kind`` and ``holiday``.
        kind: Kind of day (see ``calendar``).
        holiday: 1 on public holidays.
    """

    days: int
    slots: int
    column: Ints
    now: Ints
    target: Ints
    weekday: Ints
    kind: Ints
    holiday: Ints

    @property
    def today(self) -> int:
        """Row of the origin's local day."""
        return self.days - 1


def local_grid(sites: Sites, interval: Interval, origin: int, history: int) -> LocalGrid:
    """Lay ``history`` steps up to ``origin`` and the horizon after it onto each site's wall clock."""
    slots, horizon = interval.steps_per_day, interval.horizon
    days = history // slots + 2
    column = np.full((len(sites), days * slots), history, dtype=np.int64)
    place = np.empty((len(sites), history + horizon), dtype=np.int64)
    calendar = np.empty((3, len(sites), days + DAYS_AHEAD), dtype=np.int64)
    for index, (zone, country) in enumerate(zip(sites.time_zone, sites.country, strict=True)):
        local = local_steps(zone, interval.seconds, origin - history + 1, origin + horizon + 1)
        first_day = int(local[history - 1]) // slots - (days - 1)
        place[index] = local - first_day * slots
        column[index, place[index, :history]] = np.arange(history)
        calendar[:, index] = local_days(country, zone, first_day, days + DAYS_AHEAD)
    return LocalGrid(days, slots, column, place[:, history - 1], place[:, history:], *calendar)


def run_lengths(readings: Floats) -> tuple[Ints, Ints]:
    """How long each reading has stayed the same, as judged at the last column.

    Returns:
        Length of the run that each column is in, and of that part of it which ends there; 1 where missing.
    """
    steps = np.arange(readings.shape[1])
    changed = np.ones(readings.shape, dtype=np.bool_)
    changed[:, 1:] = readings[:, 1:] != readings[:, :-1]
    start = np.maximum.accumulate(np.where(changed, steps, 0), axis=1)
    following = np.full(readings.shape, readings.shape[1])
    following[:, :-1] = np.where(changed[:, 1:], steps[1:], readings.shape[1])
    stop = np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1]
    return stop - start, steps - start + 1


def on_wall_clock(snapshot: Snapshot, grid: LocalGrid, readings: Floats) -> Floats32:
    """Arrange readings of shape ``(M, W)`` as ``(M, days * slots)``."""
    padded = np.full((readings.shape[0], readings.shape[1] + 1), np.nan, dtype=np.float32)
    padded[:, :-1] = readings
    return np.take_along_axis(padded, grid.column[snapshot.meters.site], axis=1)
