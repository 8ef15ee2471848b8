"""How totals ran from their forecasts: whole residual paths, in units of a spread that scales with the load.

Every path is what came less the median that was issued, over all lead times. They say how wide a total's intervals
have to be, at any level (quantiles by lead group, own ones shrunk to those of all sites or grids), and how errors of
one hour go on in the next. Quantiles of four weeks come late where errors grow or shrink: a factor on them, one for
all sites and one for all grids by lead group, follows the misses of the 80 % interval (quantile tracking, see
``online_calibration``). What a total has lately run above or below its forecasts is its drift.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from Predictor.forecasting.calibration import LEAD_GROUPS, lead_group_of
from Predictor.forecasting.hierarchy import GRID, Hierarchy
from Predictor.forecasting.packing import Arrays, places_of
from Predictor.forecasting.seen import Seen
from Predictor.forecasting.snapshot import Flags, Floats, Floats32, Ints, Snapshot
from Predictor.forecasting.total_meters import totals_counted
from Sensor_core.forecast import AGGREGATE_LEVELS
from Sensor_core.interval import HORIZON_H, Interval

KEPT_DAYS: Final = 28
EVERY_H: Final = 6
"""Distance of the origins whose paths are kept: nearer ones say the same again. [h]"""
SETTLE_H: Final = 6
"""How long after its last lead time a path is taken, for late readings. [h]"""

DRIFT_DAYS: Final = 4

_MIDDLE: Final = AGGREGATE_LEVELS.index(0.5)
_ENDS: Final = [AGGREGATE_LEVELS.index(level) for level in (0.1, 0.9)]
"""Of the 80 % interval."""
_MISSED: Final = 0.2
_RATE, _LEAK = 0.02, 0.01
"""An hour, of the logarithm of a factor; the quantiles of the paths take over what goes on for weeks."""
_BOUND: Final = 1.5
_LONGEST_STEP_H: Final = 24.0
_OWN_WEIGHT: Final = 40
"""Paths of its own that weigh as much as those of all totals of the level."""
_PRIOR_WEIGHT: Final = 20
"""Paths that weigh as much as what training found."""
_LEAST_VALUES: Final = 30


class TotalMemory:
    """Residual paths of totals, and the issued forecasts whose truth is to come."""

    def __init__(self) -> None:
        self._keys: Ints = np.zeros((0, 2), dtype=np.int64)
        self._made_at: Ints = np.zeros(0, dtype=np.int64)
        self._paths: Floats32 = np.zeros((0, 0, 0), dtype=np.float32)
        self._issued: dict[int, Arrays] = {}
        self._drift: Floats = np.zeros((0, len(LEAD_GROUPS)))
        self._seen = Seen()
        self._factor: Floats = np.zeros((2, len(LEAD_GROUPS)))

    def observe(self, snapshot: Snapshot, hierarchy: Hierarchy, counted: Hierarchy, prior: Floats) -> None:
        """Take the paths whose truth is known by now, and learn from the truths that are new.

        Args:
            snapshot: What is known.
            hierarchy: All totals.
            counted: The same totals of those meters that make up their series.
            prior: Quantiles of the normalised residuals that training found, shape ``(T, 9, groups)``.
        """
        interval, origin = snapshot.interval, snapshot.origin
        self._follow(hierarchy, interval)
        oldest = origin - _steps(HORIZON_H + 24 * DRIFT_DAYS, interval)
        self._issued = {step: issue for step, issue in self._issued.items() if step > oldest}
        self._drift = np.zeros((len(hierarchy), len(LEAD_GROUPS)))
        came = totals_counted(snapshot.readings_kwh, counted, interval.steps_per_day)
        if self._issued:
            errors = self._errors(came, origin, counted.count)
            self._take_paths(errors, origin, interval)
            self._drift = _drift(errors, origin, interval)
        self._levels = self._levels_of_paths(prior, interval)
        new, elapsed = self._seen.take(came, origin)
        if self._issued and elapsed:
            misses = self._errors(new, origin, counted.count)
            self._follow_misses(misses, min(elapsed / interval.steps_per_hour, _LONGEST_STEP_H), interval)

    def _errors(self, came: Floats, origin: int, count: Ints) -> dict[int, Floats]:
        return {step: _errors(issue, came, step - origin, count) for step, issue in self._issued.items()}

    def _follow_misses(self, errors: Mapping[int, Floats], elapsed_h: float, interval: Interval) -> None:
        """Move the factors as truths lie outside the intervals of now more often than they should."""
        residual = np.concatenate([error[1] for error in errors.values()], axis=1)
        group = np.tile(lead_group_of(interval.horizon, interval.steps_per_hour), len(errors))
        of_group = (group[:, None] == np.arange(len(LEAD_GROUPS))).astype(np.float64)
        low, high = np.moveaxis(self.levels[:, _ENDS], 1, 0)[:, :, group]
        of_level = np.stack([~self._is_grid, self._is_grid]).astype(np.float64)
        missed = of_level @ ((residual < low) | (residual > high)) @ of_group
        count = of_level @ ~np.isnan(residual) @ of_group
        excess = np.where(count > 0, missed / np.maximum(count, 1) - _MISSED, 0.0)
        self._factor += elapsed_h * (_RATE * excess - _LEAK * self._factor)
        np.clip(self._factor, -_BOUND, _BOUND, out=self._factor)

    @property
    def _is_grid(self) -> Flags:
        return np.asarray(self._keys[:, 0] == GRID)

    def _take_paths(self, errors: Mapping[int, Floats], origin: int, interval: Interval) -> None:
        due = origin - _steps(HORIZON_H + SETTLE_H, interval)
        taken = [step for step in sorted(errors) if step <= due and step not in self._made_at]
        if taken:
            paths = np.stack([errors[step][1] for step in taken]).astype(np.float32)
            self._paths = np.concatenate([self._paths, paths])
            self._made_at = np.concatenate([self._made_at, np.array(taken)])
        kept = self._made_at > origin - _steps(24 * KEPT_DAYS, interval)
        self._made_at, self._paths = self._made_at[kept], self._paths[kept]

    def drift(self, interval: Interval) -> Floats:
        """Mean residual of the last days before any correction, in units of spread, shape ``(T, horizon)``."""
        return self._drift[:, lead_group_of(interval.horizon, interval.steps_per_hour)]

    def remember(self, origin: int, course: Floats, count: Ints, interval: Interval) -> None:
        """Keep what is issued, unless the last one kept is near.

        Args:
            origin: Origin of the forecasts.
            course: Of the totals' counted meters: the forecast before it was corrected for drift, the median that is
                issued, and the unit of the residuals, shape ``(3, T, horizon)``. [kWh]
            count: How many meters each adds up, shape ``(T,)``.
            interval: The metering interval.
        """
        newest = max([*self._issued, *self._made_at.tolist()], default=None)
        if newest is None or origin - newest >= _steps(EVERY_H, interval):
            self._issued[origin] = {"keys": self._keys, "course": course.astype(np.float32), "count": count}

    @property
    def levels(self) -> Floats:
        """Quantiles of the normalised residuals, shape ``(T, 9, groups)``; 0 at the middle, rising."""
        return np.asarray(self._levels * np.exp(self._factor)[self._is_grid.astype(np.int64), None])

    def _levels_of_paths(self, prior: Floats, interval: Interval) -> Floats:
        group = lead_group_of(interval.horizon, interval.steps_per_hour)
        result = np.empty_like(prior)
        for index in range(len(LEAD_GROUPS)):
            residuals = self._paths[:, :, group == index].astype(np.float64)
            shared = self._shared(residuals, prior[:, :, index])
            own, paths = _quantiles(np.moveaxis(residuals, 1, 0)), _paths_in(residuals)[:, None]
            own = np.where(np.isnan(own), shared, own)
            result[:, :, index] = (paths * own + _OWN_WEIGHT * shared) / (paths + _OWN_WEIGHT)
        below, above = np.minimum(result[:, :_MIDDLE], 0), np.maximum(result[:, _MIDDLE + 1 :], 0)
        return np.concatenate([below, np.zeros_like(result[:, :1]), above], axis=1)

    def _shared(self, residuals: Floats, prior: Floats) -> Floats:
        shared = prior.copy()
        for level in (False, True):
            rows = self._is_grid == level
            if rows.any():
                found = _quantiles(residuals[:, rows].reshape(1, -1))
                paths = _paths_in(residuals[:, rows]).sum()
                found = np.where(np.isnan(found), prior[rows], found)
                shared[rows] = (paths * found + _PRIOR_WEIGHT * prior[rows]) / (paths + _PRIOR_WEIGHT)
        return shared

    def paths(self, total: int) -> tuple[Floats32, Floats32]:
        """Paths of one total, and of the others of its level, each of shape ``(any, horizon)``, newest last."""
        alike = self._is_grid == self._is_grid[total]
        alike[total] = False
        others = self._paths[:, alike]
        return self._paths[:, total], others.reshape(-1, others.shape[2])

    def _follow(self, hierarchy: Hierarchy, interval: Interval) -> None:
        horizon = interval.horizon
        site_id = [GRID if site is None else site for site in hierarchy.site_id]
        keys = np.stack([np.array(site_id, dtype=np.int64), hierarchy.meter], axis=1)
        is_same = self._paths.shape[1:] == (len(keys), horizon) and np.array_equal(keys, self._keys)
        if is_same and self._seen.fits(interval):
            return
        place = places_of(self._keys, keys)
        fits = self._paths.shape[2] == horizon and len(self._keys) > 0
        if fits:
            self._paths = np.where(place[:, None] < 0, np.float32(np.nan), self._paths[:, place])
        else:
            self._paths = np.full((0, len(keys), horizon), np.nan, dtype=np.float32)
            self._made_at = np.zeros(0, dtype=np.int64)
        self._seen.follow(place, interval)
        self._issued = {step: _moved(issue, keys) for step, issue in self._issued.items() if fits}
        self._keys = keys

    def arrays(self) -> dict[str, Arrays]:
        """The state by part: the paths, and each issue that waits."""
        if self._seen.origin is None:
            return {}
        parts: dict[str, Arrays] = {
            "paths": {"keys": self._keys, "made_at": self._made_at, "paths": self._paths},
            "total_factors": {"factors": self._factor, **self._seen.arrays()},
        }
        return parts | {f"total:{step}": issue for step, issue in self._issued.items()}

    def restore(self, parts: Mapping[str, Arrays]) -> None:
        """Take over a state that ``arrays`` gave."""
        if "paths" in parts:
            paths = parts["paths"]
            self._keys, self._made_at, self._paths = paths["keys"], paths["made_at"], paths["paths"]
            if "total_factors" in parts:  # of earlier versions there are none
                factors = parts["total_factors"]
                self._factor, self._seen = factors["factors"].copy(), Seen.of(factors)
            issues = {name: part for name, part in parts.items() if name.startswith("total:")}
            self._issued = {int(name.removeprefix("total:")): part for name, part in issues.items()}


def _steps(hours: int, interval: Interval) -> int:
    return hours * interval.steps_per_hour


def _errors(issue: Arrays, came: Floats, age: int, count: Ints) -> Floats:
    """Residuals of the uncorrected forecast and of the median, ``(2, T, horizon)``; NaN where nothing can be said.

    Args:
        issue: What was issued.
        came: What the totals counted; the last column is the origin.
        age: Step of the issue less that of the origin.
        count: How many meters the totals count now: with others than then, they are not comparable.
    """
    *forecasts, spread = issue["course"].astype(np.float64)
    column = came.shape[1] + age + np.arange(spread.shape[1])
    known = (column >= 0) & (column < came.shape[1])
    truth = np.where(known, came[:, np.where(known, column, 0)], np.nan)
    same = (issue["count"] == count)[:, None] & (spread > 0)
    return np.where(same, (truth - np.stack(forecasts)) / np.where(same, spread, 1.0), np.nan)


def _drift(errors: Mapping[int, Floats], origin: int, interval: Interval) -> Floats:
    """Mean residual of the uncorrected forecasts of the last days by lead group, shape ``(T, groups)``."""
    lead = np.arange(1, interval.horizon + 1)
    group = lead_group_of(interval.horizon, interval.steps_per_hour)
    recent = [
        np.where(step + lead > origin - _steps(24 * DRIFT_DAYS, interval), error[0], np.nan)
        for step, error in errors.items()
    ]
    residuals = np.concatenate(recent, axis=1)
    known = ~np.isnan(residuals)
    of_group = np.tile(group, len(recent)) == np.arange(len(LEAD_GROUPS))[:, None]
    total = np.where(known, residuals, 0.0) @ of_group.T
    return np.asarray(total / np.maximum(known @ of_group.T.astype(np.int64), 1))


def _moved(issue: Arrays, keys: Ints) -> Arrays:
    place = places_of(issue["keys"], keys)
    count = np.where(place < 0, 0, issue["count"][place])
    return {"keys": keys, "course": issue["course"][:, place], "count": count}


def _paths_in(residuals: Floats) -> Ints:
    """How many paths each total has, from shape ``(paths, T, leads)``."""
    return np.asarray((~np.isnan(residuals)).any(axis=2).sum(axis=0))


def _quantiles(values: Floats) -> Floats:
    """The nine levels of each row, gaps left out; NaN where there is too little."""
    ordered = np.sort(values.reshape(len(values), int(np.prod(values.shape[1:]))), axis=1)
    known = (~np.isnan(ordered)).sum(axis=1)[:, None]
    enough = known >= _LEAST_VALUES
    if not enough.any():
        return np.full((len(values), len(AGGREGATE_LEVELS)), np.nan)
    place = np.maximum(known - 1, 0) * np.array(AGGREGATE_LEVELS)
    low = np.floor(place).astype(np.int64)
    below, above = (
        np.take_along_axis(ordered, at, axis=1) for at in (low, np.minimum(low + 1, np.maximum(known - 1, 0)))
    )
    return np.where(enough, below + (above - below) * (place - low), np.nan)
