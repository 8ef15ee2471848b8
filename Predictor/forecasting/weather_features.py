"""How the weather at the target hour will differ from the days that a load is compared with.

Changes only: a model that was trained in one season takes a temperature itself for a date.
"""

from typing import Final

import numpy as np

from Predictor.forecasting.snapshot import WEATHER_HISTORY_H, Floats32, Ints, Snapshot
from Sensor_core.interval import HORIZON_H, SECONDS_PER_HOUR
from Sensor_core.weather import QUANTITY_NAMES

HEATING_BASE_C: Final = 15.5
COOLING_BASE_C: Final = 18.0
WEATHER_FEATURES: Final = (
    "temperature_change_24_c", "heating_change_24_c", "cooling_change_24_c", "temperature_mean_change_c",
    "dew_temperature_change_24_c", "cloud_coverage_oktas", "wind_speed_m_s",
)  # fmt: skip
"""Changes against a day before the target hour, and of the mean of 24 hours since the origin."""

_TEMPERATURE: Final = QUANTITY_NAMES.index("air_temperature_c")


def weather_features(snapshot: Snapshot) -> dict[str, Floats32]:
    """Weather features of every meter and lead time, each of shape ``(M, horizon)``."""
    course = _course(snapshot)
    hour = _target_hours(snapshot) + WEATHER_HISTORY_H - 1
    temperature = course[:, :, _TEMPERATURE]
    heating = np.maximum(HEATING_BASE_C - temperature, 0)
    cooling = np.maximum(temperature - COOLING_BASE_C, 0)
    dew_temperature = course[:, :, QUANTITY_NAMES.index("dew_temperature_c")]
    mean_24 = _running_mean(temperature, 24)
    by_site = {
        "temperature_change_24_c": _change(temperature, hour),
        "heating_change_24_c": _change(heating, hour),
        "cooling_change_24_c": _change(cooling, hour),
        "temperature_mean_change_c": mean_24[:, hour] - mean_24[:, WEATHER_HISTORY_H - 1, None],
        "dew_temperature_change_24_c": _change(dew_temperature, hour),
    }
    for name in ("cloud_coverage_oktas", "wind_speed_m_s"):
        by_site[name] = course[:, hour, QUANTITY_NAMES.index(name)]
    return {name: values[snapshot.meters.site] for name, values in by_site.items()}


def _change(values: Floats32, hour: Ints) -> Floats32:
    return values[:, hour] - values[:, hour - 24]


def _course(snapshot: Snapshot) -> Floats32:
    """Observed and forecast weather in one row, shape ``(S, WEATHER_HISTORY_H + 48, 7)``."""
    observed = snapshot.weather[:, -WEATHER_HISTORY_H:]
    shape = (len(snapshot.sites), WEATHER_HISTORY_H + HORIZON_H, len(QUANTITY_NAMES))
    course = np.full(shape, np.nan, dtype=np.float32)
    course[:, WEATHER_HISTORY_H - observed.shape[1] : WEATHER_HISTORY_H] = observed
    course[:, WEATHER_HISTORY_H:] = snapshot.weather_forecast
    return course


def _target_hours(snapshot: Snapshot) -> Ints:
    """Hours from the origin's hour to that of each target, shape ``(horizon,)``."""
    steps = snapshot.origin + np.arange(1, snapshot.interval.horizon + 1)
    return np.asarray(steps * snapshot.interval.seconds // SECONDS_PER_HOUR - snapshot.origin_hour)


def _running_mean(values: Floats32, hours: int) -> Floats32:
    """Mean of the last hours up to each column, without gaps; NaN where less than half is known."""
    windows = np.lib.stride_tricks.sliding_window_view(values, hours, axis=1)
    known = ~np.isnan(windows)
    count = known.sum(axis=2)
    mean = np.where(known, windows, np.float32(0)).sum(axis=2) / np.maximum(count, 1)
    result = np.full(values.shape, np.nan, dtype=np.float32)
    result[:, hours - 1 :] = np.where(count >= hours // 2, mean, np.nan)
    return result
