"""For tests: meters with a working week, a temperature and some noise, as of any origin."""

from dataclasses import replace
from typing import Final

import numpy as np

from Predictor.forecasting.calendar import WORKDAY, local_days, local_steps
from Predictor.forecasting.snapshot import (
    WEATHER_HISTORY_H,
    Floats,
    Floats32,
    Meters,
    Sites,
    Snapshot,
    history_steps,
)
from Predictor.forecasting.weather_outlook import outlook
from Sensor_core.building import Building, Site
from Sensor_core.interval import Interval
from Sensor_core.reading import ELECTRICITY, HOT_WATER

ORIGIN: Final = 409_992
"""2016-10-09T00:00Z, a Sunday, in hours since 1970."""

TEST_SITES: Final = (
    Site(site_id=3, time_zone="America/New_York", latitude=40.7, longitude=-74.0, country="US"),
    Site(site_id=7, time_zone="Europe/London", latitude=51.5, longitude=-0.1, country="GB"),
)
_CODES: Final = (ELECTRICITY, ELECTRICITY, ELECTRICITY, HOT_WATER)
_HALF_WORKDAY_H: Final = 5
_USES: Final = ("Office", "Education", "Retail")


def make_meters(count: int) -> tuple[Meters, Sites]:
    """Meters on the two test sites in turn; every fourth counts heat."""
    sites = Sites.of(TEST_SITES)
    buildings = {
        building_id: Building(
            building_id=building_id,
            site_id=sites.site_id[building_id % len(sites)],
            primary_use=_USES[building_id % len(_USES)],
            square_feet=10_000.0 * (1 + building_id),
        )
        for building_id in range(count)
    }
    keys = [(building_id, _CODES[building_id % len(_CODES)]) for building_id in range(count)]
    return Meters.of(keys, buildings, sites), sites


def working_week(meters: Meters, sites: Sites, interval: Interval, first: int, steps: int) -> Floats:
    """Load that follows each site's working days, in kWh, shape ``(M, steps)``."""
    day_length = interval.steps_per_day
    shapes = []
    for zone, country in zip(sites.time_zone, sites.country, strict=True):
        local = local_steps(zone, interval.seconds, first, first + steps)
        first_day = int(local[0]) // day_length - 1
        kind = local_days(country, zone, first_day, steps // day_length + 4).kind
        open_day = kind[local // day_length - first_day] == WORKDAY
        hour = local % day_length / interval.steps_per_hour
        shapes.append(2 + np.sin(2 * np.pi * (hour - 6) / 24) + 2 * open_day * (abs(hour - 13) < _HALF_WORKDAY_H))
    size = 5.0 * (1 + np.arange(len(meters)) % 5)
    return np.asarray(size[:, None] * np.stack(shapes)[meters.site] / interval.steps_per_hour)


def make_weather(sites: Sites, hours: int) -> Floats32:
    """Weather by hour that repeats every day, shape ``(S, hours, 7)``."""
    hour = np.arange(hours)
    temperature = 12 + 6 * np.sin(2 * np.pi * (hour - 9) / 24)
    weather = np.stack([temperature, temperature - 5, *np.tile([[4.0], [0.0], [1013.0], [180.0], [3.0]], hours)])
    return np.tile(weather.T.astype(np.float32), (len(sites), 1, 1))


def make_snapshot(
    *, meters: int = 8, interval: Interval | None = None, origin: int = ORIGIN, noise: float = 0.05, seed: int = 0
) -> Snapshot:
    """What is known of some meters at an origin, five weeks of it.

    Args:
        meters: How many.
        interval: The metering interval, an hour by default.
        origin: The hour of the origin, counted from 1970.
        noise: Standard deviation of the load's random part, as a share of it.
        seed: Seed of that part.
    """
    interval = interval or Interval()
    step = origin * interval.steps_per_hour
    history = history_steps(interval)
    known, sites = make_meters(meters)
    load = working_week(known, sites, interval, step - history + 1, history)
    random = np.random.default_rng(seed).normal(1.0, noise, load.shape)
    observed = make_weather(sites, WEATHER_HISTORY_H)
    return Snapshot(
        origin=step,
        interval=interval,
        meters=known,
        sites=sites,
        readings_kwh=np.maximum(load * random, 0.0),
        weather=observed,
        weather_forecast=outlook(observed),
    )


def closed_at_weekends(snapshot: Snapshot, meter: int) -> Snapshot:
    """Let a meter count nothing on Saturdays and Sundays of its site."""
    interval, site = snapshot.interval, snapshot.meters.site[meter]
    stop = snapshot.origin + 1
    local = local_steps(snapshot.sites.time_zone[site], interval.seconds, stop - snapshot.readings_kwh.shape[1], stop)
    day = local // interval.steps_per_day
    readings = snapshot.readings_kwh.copy()
    readings[meter, local_days("ZZ", "UTC", int(day[0]), int(day[-1] - day[0]) + 1).kind[day - day[0]] != WORKDAY] = 0.0
    return replace(snapshot, readings_kwh=readings)
