"""What each meter's readings say by themselves: what of them can be believed, level, and stillness."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from Predictor.forecasting.local_grid import LocalGrid, on_wall_clock, run_lengths
from Predictor.forecasting.plausibility import implausible, stuck
from Predictor.forecasting.snapshot import Floats, Floats32, Snapshot, history_steps

_MIN_WEEK_H: Final = 12
_LEAST_SHARE_OF_LEVEL: Final = np.float32(0.1)


@dataclass(frozen=True)
class Past:
    """The past of M meters at the origin.

    Attributes:
        raw: Readings of the last five weeks, shape ``(M, W)``; NaN where missing. [kWh]
        believed: The same without those of a stuck meter, spikes and drop-outs. [kWh]
        on_wall_clock: ``believed`` by local day and time of day, shape ``(M, days * slots)``. [kWh]
        as_read: The same with spikes and drop-outs: an outage that lasts is what comes next. [kWh]
        newest: The newest known reading. [kWh]
        unchanged_h: For how long the reading at the origin has not changed. [h]
        still_h: The same, 0 where it is a believed zero: the meter is often off, and comes back. [h]
        repeats: Share of readings that equal the one before.
        known_h: How much can be believed. [h]
        mean: Mean of what can be believed. [kWh]
        scale: Mean of the last week without zeros, at least a tenth of that of all; NaN where there is none. [kWh]
    """

    raw: Floats32
    believed: Floats32
    on_wall_clock: Floats32
    as_read: Floats32
    newest: Floats32
    unchanged_h: Floats32
    still_h: Floats32
    repeats: Floats32
    known_h: Floats32
    mean: Floats32
    scale: Floats32

    @classmethod
    def of(cls, snapshot: Snapshot, grid: LocalGrid) -> Self:
        """Look at a snapshot's readings."""
        sph = snapshot.interval.steps_per_hour
        readings = _last_steps(snapshot.readings_kwh, history_steps(snapshot.interval))
        whole_run, run = run_lengths(readings)
        raw = to_float32(readings)
        moving = np.where(stuck(readings, whole_run, sph), np.float32(np.nan), raw)
        spikes, dropped = implausible(moving, sph)
        believed = np.where(spikes | dropped, np.float32(np.nan), moving)
        known = ~np.isnan(believed)
        count = known.sum(axis=1)
        running = np.where(believed > 0, believed, np.float32(np.nan))
        week = mean_of(running[:, -7 * grid.slots :], _MIN_WEEK_H * sph)
        level = mean_of(running)
        scale = np.maximum(np.where(np.isnan(week), level, week), _LEAST_SHARE_OF_LEVEL * level)
        unchanged_h = to_float32(np.where(np.isnan(raw[:, -1]), 0, run[:, -1]) / sph)
        return cls(
            raw=raw,
            believed=believed,
            on_wall_clock=on_wall_clock(snapshot, grid, believed),
            as_read=on_wall_clock(snapshot, grid, moving),
            newest=_newest(raw),
            unchanged_h=unchanged_h,
            still_h=np.where(believed[:, -1] == 0, np.float32(0), unchanged_h),
            repeats=to_float32((known & (run > 1)).sum(axis=1) / np.maximum(count, 1)),
            known_h=to_float32(count / sph),
            mean=mean_of(believed),
            scale=np.where(scale > 0, scale, np.float32(np.nan)),
        )


def to_float32(values: NDArray[np.generic]) -> Floats32:
    """Numbers as LightGBM takes them."""
    return values.astype(np.float32)


def mean_of(values: Floats32, at_least: int = 1) -> Floats32:
    """Mean of each row without its gaps; NaN where fewer than ``at_least`` values are known."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, np.float32(0)).sum(axis=1)
    mean = total / np.maximum(count, 1).astype(np.float32)
    return np.where(count >= at_least, mean, np.float32(np.nan))


def _last_steps(readings: Floats, steps: int) -> Floats:
    missing = steps - readings.shape[1]
    if missing <= 0:
        return readings[:, -missing:]
    return np.concatenate([np.full((len(readings), missing), np.nan), readings], axis=1)


def _newest(raw: Floats32) -> Floats32:
    steps_back = np.argmax(~np.isnan(raw[:, ::-1]), axis=1)
    return np.asarray(raw[np.arange(len(raw)), raw.shape[1] - 1 - steps_back])
