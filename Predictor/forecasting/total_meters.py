"""A total as a meter of its own, so that the same features and the same model forecast it directly.

Gaps in its meters' readings are filled with what the meter usually counts at that hour of the week; where too much
of a total would be filled, it is unknown. Meters with a short past are left out: what is forecast for them is added.
"""

from dataclasses import fields, replace
from typing import Final

import numpy as np

from Predictor.forecasting.hierarchy import GRID, Hierarchy
from Predictor.forecasting.snapshot import Flags, Floats, Floats32, Ints, Meters, Sites, Snapshot

LEAST_SHARE_KNOWN: Final = 0.9
"""Of a total's usual energy: with less than that reported, an interval's total is unknown."""

LEAST_SHARE_OF_PAST: Final = 0.5
"""Of the longest past in the snapshot: meters with less are left out."""

_GRID_SITE_ID: Final = -1


def counted(readings_kwh: Floats) -> Flags:
    """Meters whose past is at least half as long as the longest, shape ``(M,)``."""
    known = (~np.isnan(readings_kwh)).sum(axis=1)
    return np.asarray((known > 0) & (known >= LEAST_SHARE_OF_PAST * known.max(initial=0)))


def totals_counted(readings_kwh: Floats, hierarchy: Hierarchy, steps_per_day: int) -> Floats:
    """What the totals counted, shape ``(T, W)``; NaN where too little is known.

    Args:
        readings_kwh: Readings of the M meters, shape ``(M, W)``; NaN where missing. [kWh]
        hierarchy: Which meters are in which total.
        steps_per_day: Steps of 24 hours.

    Returns:
        Energies. [kWh]
    """
    known = ~np.isnan(readings_kwh)
    usual = _usual(readings_kwh, steps_per_day)
    level = np.nan_to_num(_mean(readings_kwh, 1))[:, None]
    filled = np.where(known, readings_kwh, np.nan_to_num(usual))
    unreported = hierarchy.add(np.where(known, 0.0, level))
    enough = unreported <= (1 - LEAST_SHARE_KNOWN) * hierarchy.add(level)
    any_reported = hierarchy.add(known.astype(np.float64)) > 0
    return np.where(enough & any_reported, hierarchy.add(filled), np.nan)


def _usual(readings: Floats, steps_per_day: int) -> Floats:
    """Mean of each hour of the week, else of the day, else of all; shape as ``readings``."""
    width = readings.shape[1]
    week = 7 * steps_per_day
    padded = np.pad(readings, ((0, 0), (-width % week, 0)), constant_values=np.nan)
    meters = len(readings)
    weeks = padded.shape[1] // week
    usual = _mean(padded.reshape(meters, weeks, week), 1)
    of_day = _mean(padded.reshape(meters, 7 * weeks, steps_per_day), 1)
    for coarser in (np.tile(of_day, (1, 7)), _mean(padded, 1)[:, None]):
        usual = np.where(np.isnan(usual), coarser, usual)
    return np.tile(usual, (1, weeks))[:, -width % week :]


def _mean(values: Floats, axis: int) -> Floats:
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=axis) / known.sum(axis=axis))


def as_meters(snapshot: Snapshot, hierarchy: Hierarchy) -> Snapshot:
    """Show the totals of a snapshot as meters: T of them, the grid's on a site of their own with the mean weather.

    Args:
        snapshot: What is known of the meters.
        hierarchy: Totals of those that count, see ``counted``.
    """
    load = np.nan_to_num(_mean(snapshot.readings_kwh, 1))
    by_site = np.bincount(snapshot.meters.site, load, minlength=len(snapshot.sites)).astype(np.float64)
    return replace(
        snapshot,
        meters=_meters(snapshot.meters, hierarchy, len(snapshot.sites)),
        sites=_with_grid(snapshot.sites, int(by_site.argmax())),
        readings_kwh=totals_counted(snapshot.readings_kwh, hierarchy, snapshot.interval.steps_per_day),
        weather=_with_mean(snapshot.weather, by_site),
        weather_forecast=_with_mean(snapshot.weather_forecast, by_site),
    )


def _with_grid(sites: Sites, like: int) -> Sites:
    """Add a place that keeps the time and the holidays of the site with the largest load."""
    columns = {field.name: getattr(sites, field.name) for field in fields(Sites)}
    extended = {name: (*column, column[like]) for name, column in columns.items()}
    return Sites(**extended | {"site_id": (*sites.site_id, _GRID_SITE_ID)})


def _with_mean(weather: Floats32, load: Floats) -> Floats32:
    known = ~np.isnan(weather)
    weight = known * load[:, None, None]
    with np.errstate(invalid="ignore"):
        mean = (np.where(known, weather, 0) * weight).sum(axis=0) / weight.sum(axis=0)
    return np.concatenate([weather, mean[None].astype(np.float32)])


def _meters(meters: Meters, hierarchy: Hierarchy, grid: int) -> Meters:
    members = hierarchy.members
    total = len(members)
    area = members @ np.nan_to_num(meters.floor_area_m2)
    unknown = np.full(total, np.nan, dtype=np.float32)
    return Meters(
        building_id=np.arange(total),
        meter=hierarchy.meter,
        site=np.where(hierarchy.site == GRID, grid, hierarchy.site),
        floor_area_m2=np.where(area > 0, area, np.nan).astype(np.float32),
        year_built=unknown,
        floor_count=unknown,
        primary_use=_usual_use(meters.primary_use, members),
    )


def _usual_use(primary_use: Ints, members: Flags) -> Ints:
    return np.array([np.bincount(primary_use[inside], minlength=1).argmax() for inside in members], dtype=np.int64)
