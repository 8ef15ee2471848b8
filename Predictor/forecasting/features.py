"""Model inputs: one function, the same in training and in serving.

Energies are given as deviations from an *anchor*, the meter's profile of like days at the target's time
of day, in units of the meter's *scale*, its mean of the last week while it was on. So is the target, which
makes a model of one set of meters fit others. Lags know their lead time: nothing after the origin can be reached.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from Predictor.forecasting.analogs import analog_courses
from Predictor.forecasting.handover import usual_moves
from Predictor.forecasting.lags import drifts, lag_places, like_day_places, newest_day, values_at
from Predictor.forecasting.local_grid import LocalGrid, local_grid
from Predictor.forecasting.past import Past, mean_of, to_float32
from Predictor.forecasting.profiles import RECENT_DAYS, Profiles, build_profiles
from Predictor.forecasting.snapshot import Floats32, Ints, Snapshot, history_steps
from Predictor.forecasting.weather_features import WEATHER_FEATURES, WeatherAnomalies, weather_features

LEVEL_FEATURES: Final = (
    "weekday_profile", "daily_profile", "analog_days", "analog_hours",
    "day_lag_1", "day_lag_2", "day_lag_3", "day_lag_7", "week_lag_1", "week_lag_2",
    "week_lag_1_before", "week_lag_1_after", "day_lag_1_before", "day_lag_1_after",
    "like_day_lag_1", "like_day_lag_2",
    "reading_0", "reading_1", "reading_2", "reading_3", "reading_4", "reading_5", "reading_7", "reading_11",
    "reading_23",
    "moved_day", "moved_week", "moved_profile", "moved_analog_days", "moved_analog_hours",
    "mean_3", "mean_24", "mean_35_days",
)  # fmt: skip
"""Energies, as deviations from the anchor; numbers are hours, days or weeks back."""

ERROR_FEATURES: Final = (
    "error_0", "error_1", "error_2", "error_3", "error_6", "error_12", "error_24", "error_72", "error_168",
    "expected_step", "day_error_1", "day_drift_1", "day_drift_2", "like_day_drift_1", "like_day_drift_2",
    "week_drift_1",
)  # fmt: skip
"""How far the meter has run from its profile: lately (numbers: hours), and around the target's time of day
on earlier days; and the profile's way to the target."""

SHAPE_FEATURES: Final = (
    "anchor", "profile_spread", "error_deviation", "maximum_24", "minimum_24", "level_ratio",
    "site_error_3", "site_error_24", "site_day_drift", "site_like_day_drift", "deviation_24",
    "unchanged_h", "repeats", "known_days",
)  # fmt: skip
CALENDAR_FEATURES: Final = (
    "lead_h", "hour", "weekday", "kind", "holiday", "origin_hour", "origin_kind", "day_lag_holiday",
    "days_ahead", "kind_before", "kind_after", "like_days_back",
)  # fmt: skip
STATIC_FEATURES: Final = (
    "meter", "primary_use", "log_floor_area", "log_load_density", "year_built", "floor_count",
)  # fmt: skip
FEATURE_NAMES: Final = (
    *LEVEL_FEATURES, *ERROR_FEATURES, *SHAPE_FEATURES, *CALENDAR_FEATURES, *WEATHER_FEATURES, *STATIC_FEATURES,
)  # fmt: skip


ENOUGH_DAYS: Final = 14


@dataclass(frozen=True)
class FeatureMatrix:
    """Model inputs of all meters and lead times; row ``m * horizon + k - 1`` is meter m, k steps ahead.

    Attributes:
        inputs: Shape ``(M * horizon, len(FEATURE_NAMES))``; NaN where unknown.
        anchor_kwh: Shape ``(M, horizon)``; NaN where the meter has no past for that time of day. [kWh]
        scale_kwh: Shape ``(M,)``; NaN where the meter has no past. [kWh]
        spread_kwh: How much like days differed, shape ``(M, horizon)``. [kWh]
        reading_kwh: The newest known reading, shape ``(M,)``; NaN where there is none. [kWh]
        still_h: For how long the newest reading has not changed, zeros of a meter that is often off aside,
            shape ``(M,)``. [h]
        known_h: Readings of the past that can be believed, shape ``(M,)``. [h]
        moves_kwh: How far the meter usually moves, see ``handover.usual_moves``. [kWh]
    """

    inputs: Floats32
    anchor_kwh: Floats32
    scale_kwh: Floats32
    spread_kwh: Floats32
    reading_kwh: Floats32
    still_h: Floats32
    known_h: Floats32
    moves_kwh: Floats32


def build_features(snapshot: Snapshot) -> FeatureMatrix:
    """Turn what is known at the origin into model inputs for every meter and lead time."""
    interval, site = snapshot.interval, snapshot.meters.site
    sph = interval.steps_per_hour
    grid = local_grid(snapshot.sites, interval, snapshot.origin, history_steps(interval))
    past = Past.of(snapshot, grid)
    profiles = build_profiles(past.on_wall_clock.reshape(-1, grid.days, grid.slots), grid, site)
    anchor, spread = _anchor(profiles, grid, site)
    scale = past.scale[:, None]
    first = (grid.today - RECENT_DAYS) * grid.slots
    errors_at = past.as_read[:, first:] - _joined(profiles.like_day)[:, : (RECENT_DAYS + 1) * grid.slots]
    recent = grid.now[:, None] - np.arange((RECENT_DAYS - 1) * grid.slots)
    columns: dict[str, Floats32] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.take_along_axis(errors_at, (recent - first)[site], axis=1) / scale
        now = _profile_now(profiles, grid, site)
        levels = _levels(profiles, past, grid, site, sph) | _moved(past, grid, site, anchor, now)
        columns |= {name: (values - anchor) / scale for name, values in levels.items()}
        columns |= _errors(errors, sph) | _drifts(errors_at / scale, first, grid, site, sph)
        columns["expected_step"] = (anchor - now) / scale
        columns |= _shapes(snapshot, past, columns, errors)
        columns |= {"anchor": anchor / scale, "profile_spread": spread / scale}
        columns |= _static(snapshot, past)
    columns |= _calendar(snapshot, grid)
    columns |= weather_features(WeatherAnomalies.of(snapshot, grid, recent), errors, site)
    return FeatureMatrix(
        inputs=_stack(columns, anchor.shape),
        anchor_kwh=anchor,
        scale_kwh=past.scale,
        spread_kwh=spread,
        reading_kwh=past.newest,
        still_h=past.still_h,
        known_h=past.known_h,
        moves_kwh=usual_moves(past, interval),
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


def _moved(past: Past, grid: LocalGrid, site: Ints, anchor: Floats32, profile_now: Floats32) -> dict[str, Floats32]:
    """The newest reading, moved on as a past day, the past week and the profile moved."""
    reading = past.raw[:, -1:]
    places = {"moved_day": newest_day(grid), "moved_week": grid.target - 7 * grid.slots}
    courses = {}
    for name, place in places.items():
        begin = grid.now[:, None] - (grid.target - place)
        ends = values_at(np.stack([place, begin], axis=1), past.on_wall_clock, 0, grid.now, site)
        courses[name] = reading + ends[:, 0] - ends[:, 1]
    return courses | {"moved_profile": anchor * np.clip(reading / profile_now, 0, 3)}


def _drifts(errors: Floats32, first: int, grid: LocalGrid, site: Ints, sph: int) -> dict[str, Floats32]:
    """Errors at and around the target's time of day on earlier days, in units of scale."""
    places = lag_places(grid, sph)
    names = {"day_drift_1": "day_lag_1", "day_drift_2": "day_lag_2", "week_drift_1": "week_lag_1"}
    names |= {f"like_day_drift_{lag}": f"like_day_lag_{lag}" for lag in (1, 2)}
    wanted = np.stack([places[lag] for lag in names.values()], axis=1)
    around = values_at(wanted, drifts(errors, sph), first, grid.now, site)
    columns = {name: around[:, index] for index, name in enumerate(names)}
    return columns | {"day_error_1": values_at(places["day_lag_1"], errors, first, grid.now, site)}


def _levels(profiles: Profiles, past: Past, grid: LocalGrid, site: Ints, sph: int) -> dict[str, Floats32]:
    places = lag_places(grid, sph)
    lags = values_at(np.stack(list(places.values()), axis=1), past.on_wall_clock, 0, grid.now, site)
    levels = {name: lags[:, position] for position, name in enumerate(places)}
    levels |= analog_courses(past.on_wall_clock, past.raw[:, -1:], past.scale, grid, site)
    at = (grid.target - grid.today * grid.slots)[site]
    levels["weekday_profile"] = np.take_along_axis(_joined(profiles.weekday), at, axis=1)
    levels["daily_profile"] = np.take_along_axis(_joined(profiles.daily), at, axis=1)
    levels |= {f"reading_{h}": past.raw[:, -1 - h * sph, None] for h in (0, 1, 2, 3, 4, 5, 7, 11, 23)}
    levels |= {f"mean_{h}": mean_of(past.raw[:, -h * sph :])[:, None] for h in (3, 24)}
    return levels | {"mean_35_days": past.mean[:, None]}


def _errors(errors: Floats32, sph: int) -> dict[str, Floats32]:
    means = {f"error_{h}": mean_of(errors[:, : h * sph])[:, None] for h in (3, 6, 12, 24, 72, 168)}
    return {f"error_{h}": errors[:, h * sph, None] for h in (0, 1, 2)} | means


def _shapes(snapshot: Snapshot, past: Past, columns: Mapping[str, Floats32], errors: Floats32) -> dict[str, Floats32]:
    day = past.believed[:, -snapshot.interval.steps_per_day :]
    empty = np.isnan(day).all(axis=1)
    highest = np.where(empty, np.nan, np.where(np.isnan(day), -np.inf, day).max(axis=1))
    lowest = np.where(empty, np.nan, np.where(np.isnan(day), np.inf, day).min(axis=1))
    variance = mean_of(np.square(errors)) - np.square(mean_of(errors))
    deviation_24 = np.sqrt(np.maximum(mean_of(np.square(day)) - np.square(mean_of(day)), 0))
    shapes = {
        "deviation_24": deviation_24 / past.scale,
        "error_deviation": np.sqrt(np.maximum(variance, 0)),
        "maximum_24": highest / past.scale,
        "minimum_24": lowest / past.scale,
        "level_ratio": np.clip(mean_of(day) / past.mean, 0, 5),
        "unchanged_h": np.minimum(past.unchanged_h, 200),
        "repeats": past.repeats,
        # No more of it: how much is known tells the date where all meters began on one day.
        "known_days": np.minimum(past.known_h / 24, ENOUGH_DAYS),
    }
    columns_of_site = {
        "site_error_3": columns["error_3"],
        "site_error_24": columns["error_24"],
        "site_day_drift": columns["day_drift_1"],
        "site_like_day_drift": columns["like_day_drift_1"],
    }
    by_site = {name: _of_neighbours(snapshot, values) for name, values in columns_of_site.items()}
    return {name: to_float32(values)[:, None] for name, values in shapes.items()} | by_site


def _of_neighbours(snapshot: Snapshot, errors: Floats32) -> Floats32:
    """Mean deviation of the site's other meters of the same code, shape as ``errors``; 0 where there is none."""
    _, group = np.unique(snapshot.meters.site * 4 + snapshot.meters.meter, return_inverse=True)
    member = (np.arange(group.max(initial=0) + 1)[:, None] == group).astype(np.float32)
    known = ~np.isnan(errors)
    bounded = np.where(known, np.clip(errors, -1, 1), np.float32(0))
    total = (member @ bounded)[group] - bounded
    count = (member @ known.astype(np.float32))[group] - known
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
        "kind_before": np.take_along_axis(grid.kind, day - 1, axis=1),
        "kind_after": np.take_along_axis(grid.kind, np.minimum(day + 1, grid.kind.shape[1] - 1), axis=1),
        "like_days_back": (grid.target - like_day_places(grid, newest_day(grid))[0]) // slots,
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
