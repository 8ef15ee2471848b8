"""Model inputs: one function, the same in training and in serving.

Energies are given as deviations from an *anchor*, the meter's profile of like days at the target's time
of day, in units of the meter's *scale*, its mean of the last week. So is the target, which makes a model
of one set of meters fit others. Lags know their lead time: nothing after the origin can be reached.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from Predictor.forecasting.local_grid import LocalGrid, local_grid
from Predictor.forecasting.past import Past, mean_of, to_float32
from Predictor.forecasting.profiles import RECENT_DAYS, Profiles, build_profiles
from Predictor.forecasting.snapshot import Floats32, Ints, Snapshot, history_steps
from Predictor.forecasting.weather_features import WEATHER_FEATURES, weather_features

LEVEL_FEATURES: Final = (
    "weekday_profile", "daily_profile",
    "day_lag_1", "day_lag_2", "day_lag_3", "day_lag_7", "week_lag_1", "week_lag_2",
    "week_lag_1_before", "week_lag_1_after", "day_lag_1_before", "day_lag_1_after",
    "like_day_lag_1", "like_day_lag_2",
    "reading_0", "reading_1", "reading_2", "reading_3", "reading_5", "reading_23",
    "mean_3", "mean_24", "mean_35_days",
)  # fmt: skip
"""Energies, as deviations from the anchor; numbers are hours, days or weeks back."""

ERROR_FEATURES: Final = ("error_0", "error_3", "error_12", "error_24", "error_72", "expected_step")
"""How far the meter has run from its profile lately (numbers: hours), and the profile's way to the target."""

SHAPE_FEATURES: Final = (
    "anchor", "profile_spread", "error_deviation", "maximum_24", "minimum_24", "level_ratio",
    "site_error_3", "site_error_24", "unchanged_h", "repeats", "known_share",
)  # fmt: skip
CALENDAR_FEATURES: Final = (
    "lead_h", "hour", "weekday", "kind", "holiday", "origin_hour", "origin_kind", "day_lag_holiday",
    "days_ahead",
)  # fmt: skip
STATIC_FEATURES: Final = (
    "meter", "primary_use", "log_floor_area", "log_load_density", "year_built", "floor_count",
)  # fmt: skip
FEATURE_NAMES: Final = (
    *LEVEL_FEATURES, *ERROR_FEATURES, *SHAPE_FEATURES, *CALENDAR_FEATURES, *WEATHER_FEATURES, *STATIC_FEATURES,
)  # fmt: skip


@dataclass(frozen=True)
class FeatureMatrix:
    """Model inputs of all meters and lead times; row ``m * horizon + k - 1`` is meter m, k steps ahead.

    Attributes:
        inputs: Shape ``(M * horizon, len(FEATURE_NAMES))``; NaN where unknown.
        anchor_kwh: Shape ``(M, horizon)``; NaN where the meter has no past for that time of day. [kWh]
        scale_kwh: Shape ``(M,)``; NaN where the meter has no past. [kWh]
        spread_kwh: How much like days differed, shape ``(M, horizon)``. [kWh]
        reading_kwh: The newest known reading, shape ``(M,)``; NaN where there is none. [kWh]
        unchanged_h: For how long the newest reading has not changed, shape ``(M,)``. [h]
        known_h: Readings of the past that can be believed, shape ``(M,)``. [h]
    """

    inputs: Floats32
    anchor_kwh: Floats32
    scale_kwh: Floats32
    spread_kwh: Floats32
    reading_kwh: Floats32
    unchanged_h: Floats32
    known_h: Floats32


def build_features(snapshot: Snapshot) -> FeatureMatrix:
    """Turn what is known at the origin into model inputs for every meter and lead time."""
    interval, site = snapshot.interval, snapshot.meters.site
    sph = interval.steps_per_hour
    grid = local_grid(snapshot.sites, interval, snapshot.origin, history_steps(interval))
    past = Past.of(snapshot, grid)
    profiles = build_profiles(past.on_wall_clock.reshape(-1, grid.days, grid.slots), grid, site)
    anchor, spread = _anchor(profiles, grid, site)
    scale = past.scale[:, None]
    errors = _recent_errors(profiles, past, grid, site)
    columns: dict[str, Floats32] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = _levels(profiles, past, grid, site, sph)
        columns |= {name: (values - anchor) / scale for name, values in levels.items()}
        columns |= _errors(errors / scale, sph)
        columns["expected_step"] = (anchor - _profile_now(profiles, grid, site)) / scale
        columns |= _shapes(snapshot, past, columns, errors / scale)
        columns |= {"anchor": anchor / scale, "profile_spread": spread / scale}
        columns |= _static(snapshot, past)
    columns |= _calendar(snapshot, grid)
    columns |= weather_features(snapshot)
    return FeatureMatrix(
        inputs=_stack(columns, anchor.shape),
        anchor_kwh=anchor,
        scale_kwh=past.scale,
        spread_kwh=spread,
        reading_kwh=past.newest,
        unchanged_h=past.unchanged_h,
        known_h=past.known_h,
    )


def _stack(columns: Mapping[str, Floats32], shape: tuple[int, ...]) -> Floats32:
    values = np.empty((len(FEATURE_NAMES), *shape), dtype=np.float32)
    for index, name in enumerate(FEATURE_NAMES):
        values[index] = columns[name]
    return np.ascontiguousarray(values.reshape(len(FEATURE_NAMES), -1).T)


def _anchor(profiles: Profiles, grid: LocalGrid, site: Ints) -> tuple[Floats32, Floats32]:
    at = (grid.target - grid.today * grid.slots)[site]
    anchor = np.take_along_axis(_joined(profiles.like_day[:, RECENT_DAYS:]), at, axis=1)
    for profile in (profiles.weekday, profiles.daily):
        anchor = np.where(np.isnan(anchor), np.take_along_axis(_joined(profile), at, axis=1), anchor)
    return anchor, np.take_along_axis(_joined(profiles.spread), at, axis=1)


def _joined(by_day: Floats32) -> Floats32:
    meters, days, slots = by_day.shape
    return by_day.reshape(meters, days * slots)


def _profile_now(profiles: Profiles, grid: LocalGrid, site: Ints) -> Floats32:
    now = (grid.now - (grid.today - RECENT_DAYS) * grid.slots)[site]
    return np.take_along_axis(_joined(profiles.like_day), now[:, None], axis=1)


def _recent_errors(profiles: Profiles, past: Past, grid: LocalGrid, site: Ints) -> Floats32:
    """Deviations from the like-day profile [kWh], newest first, shape ``(M, steps of 7 days)``."""
    first = (grid.today - RECENT_DAYS) * grid.slots
    expected = _joined(profiles.like_day)[:, : (RECENT_DAYS + 1) * grid.slots]
    errors = past.on_wall_clock[:, first:] - expected
    back = (grid.now - first)[:, None] - np.arange(7 * grid.slots)
    return np.take_along_axis(errors, back[site], axis=1)


def _lag_places(grid: LocalGrid, sph: int) -> dict[str, Ints]:
    """Places in the grid of what each target is compared with, each of shape ``(S, horizon)``."""
    slots, target = grid.slots, grid.target
    day = target - slots * (1 + (target - slots > grid.now[:, None]))
    places = {f"day_lag_{lag}": day - (lag - 1) * slots for lag in (1, 2, 3, 7)}
    places |= {f"week_lag_{weeks}": target - 7 * weeks * slots for weeks in (1, 2)}
    for name, base in (("week_lag_1", places["week_lag_1"]), ("day_lag_1", day)):
        places |= {f"{name}_before": base - sph, f"{name}_after": base + sph}
    first, second = _like_day_places(grid, day)
    return places | {"like_day_lag_1": first, "like_day_lag_2": second}


def _like_day_places(grid: LocalGrid, newest: Ints) -> tuple[Ints, Ints]:
    """Places of the two last days of the target's kind, not after ``newest``; -1 where there is none."""
    target_kind = np.take_along_axis(grid.kind, grid.target // grid.slots, axis=1)
    found = np.full((2, *newest.shape), -1, dtype=np.int64)
    for days_back in range(2 * RECENT_DAYS):
        place = newest - days_back * grid.slots
        like = np.take_along_axis(grid.kind, place // grid.slots, axis=1) == target_kind
        second = like & (found[0] >= 0) & (found[1] < 0)
        found[1] = np.where(second, place, found[1])
        found[0] = np.where(like & (found[0] < 0), place, found[0])
    return found[0], found[1]


def _levels(profiles: Profiles, past: Past, grid: LocalGrid, site: Ints, sph: int) -> dict[str, Floats32]:
    places = _lag_places(grid, sph)
    index = np.stack(list(places.values()), axis=1)
    index = np.where((index < 0) | (index > grid.now[:, None, None]), past.on_wall_clock.shape[1], index)
    padded = np.concatenate([past.on_wall_clock, np.full((len(site), 1), np.nan, np.float32)], axis=1)
    lags = np.take_along_axis(padded, index.reshape(len(index), -1)[site], axis=1)
    lags = lags.reshape(len(site), len(places), grid.target.shape[1])
    levels = {name: lags[:, position] for position, name in enumerate(places)}
    at = (grid.target - grid.today * grid.slots)[site]
    levels["weekday_profile"] = np.take_along_axis(_joined(profiles.weekday), at, axis=1)
    levels["daily_profile"] = np.take_along_axis(_joined(profiles.daily), at, axis=1)
    levels |= {f"reading_{h}": past.raw[:, -1 - h * sph, None] for h in (0, 1, 2, 3, 5, 23)}
    levels |= {f"mean_{h}": mean_of(past.believed[:, -h * sph :])[:, None] for h in (3, 24)}
    return levels | {"mean_35_days": past.mean[:, None]}


def _errors(errors: Floats32, sph: int) -> dict[str, Floats32]:
    means = {f"error_{h}": mean_of(errors[:, : h * sph])[:, None] for h in (3, 12, 24, 72)}
    return {"error_0": errors[:, :1]} | means


def _shapes(snapshot: Snapshot, past: Past, columns: Mapping[str, Floats32], errors: Floats32) -> dict[str, Floats32]:
    day = past.believed[:, -snapshot.interval.steps_per_day :]
    empty = np.isnan(day).all(axis=1)
    highest = np.where(empty, np.nan, np.where(np.isnan(day), -np.inf, day).max(axis=1))
    lowest = np.where(empty, np.nan, np.where(np.isnan(day), np.inf, day).min(axis=1))
    variance = mean_of(np.square(errors)) - np.square(mean_of(errors))
    shapes = {
        "error_deviation": np.sqrt(np.maximum(variance, 0)),
        "maximum_24": highest / past.scale,
        "minimum_24": lowest / past.scale,
        "level_ratio": np.clip(mean_of(day) / past.mean, 0, 5),
        "site_error_3": _of_neighbours(snapshot, columns["error_3"][:, 0]),
        "site_error_24": _of_neighbours(snapshot, columns["error_24"][:, 0]),
        "unchanged_h": np.minimum(past.unchanged_h, 200),
        "repeats": past.repeats,
        "known_share": past.known_h / (past.raw.shape[1] / snapshot.interval.steps_per_hour),
    }
    return {name: to_float32(values)[:, None] for name, values in shapes.items()}


def _of_neighbours(snapshot: Snapshot, errors: Floats32) -> Floats32:
    """Mean deviation of the site's other meters of the same code; 0 where there is none."""
    group = snapshot.meters.site * 4 + snapshot.meters.meter
    known = ~np.isnan(errors)
    bounded = np.where(known, np.clip(errors, -1, 1), 0.0)
    total = np.bincount(group, bounded)[group] - bounded
    count = np.bincount(group, known)[group] - known
    return to_float32(total / np.maximum(count, 1))


def _calendar(snapshot: Snapshot, grid: LocalGrid) -> dict[str, Floats32]:
    site, slots = snapshot.meters.site, grid.slots
    sph = snapshot.interval.steps_per_hour
    day = grid.target // slots
    day_lag = day - 1 - (grid.target - slots > grid.now[:, None])
    by_site = {
        "hour": grid.target % slots / sph,
        "weekday": np.take_along_axis(grid.weekday, day, axis=1),
        "kind": np.take_along_axis(grid.kind, day, axis=1),
        "holiday": np.take_along_axis(grid.holiday, day, axis=1),
        "origin_hour": grid.now[:, None] % slots / sph,
        "origin_kind": grid.kind[:, grid.today, None],
        "day_lag_holiday": np.take_along_axis(grid.holiday, day_lag, axis=1),
        "days_ahead": day - grid.today,
    }
    columns = {name: to_float32(values)[site] for name, values in by_site.items()}
    lead_h = np.arange(1, grid.target.shape[1] + 1) / sph
    return columns | {"lead_h": to_float32(lead_h)[None]}


def _static(snapshot: Snapshot, past: Past) -> dict[str, Floats32]:
    meters = snapshot.meters
    columns = {
        "meter": meters.meter,
        "primary_use": meters.primary_use,
        "log_floor_area": np.log(meters.floor_area_m2),
        "log_load_density": np.log(past.mean / meters.floor_area_m2),
        "year_built": meters.year_built,
        "floor_count": meters.floor_count,
    }
    return {name: to_float32(values)[:, None] for name, values in columns.items()}
