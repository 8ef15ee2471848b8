"""How the weather at the target hour will differ from the days that made the anchor, and what that does.

Differences only: a model that was trained in one season takes a temperature itself for a date. Buildings
feel weather late, so temperatures are smoothed over the past day; and each answers in its own way, which
its errors of the last two weeks tell.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from Predictor.forecasting.local_grid import LocalGrid
from Predictor.forecasting.past import to_float32
from Predictor.forecasting.profiles import RECENT_DAYS, like_day_weights, weighted_means
from Predictor.forecasting.snapshot import WEATHER_HISTORY_H, Floats, Floats32, Ints, Snapshot, history_steps
from Sensor_core.interval import HORIZON_H, SECONDS_PER_HOUR
from Sensor_core.weather import QUANTITY_NAMES

HEATING_BASE_C: Final = 15.5
COOLING_BASE_C: Final = 18.0
_LAG_H: Final = 24
"""Thermal lag: a building's temperature follows the mean of so many hours. [h]"""
_RIDGE_C2: Final = 1.0
_LEAST_HOURS: Final = 24.0

_QUANTITIES: Final = ("temperature", "smooth_temperature", "cooling", "heating", "dew_temperature")
ANOMALY_FEATURES: Final = tuple(f"{name}_anomaly_c" for name in _QUANTITIES)
"""At the target hour, less the mean of the anchor's days; cooling and heating are degrees past their bases."""

CHANGE_FEATURES: Final = tuple(f"{name}_change_c" for name in _QUANTITIES[:4])
"""The anomaly at the target less that at the origin."""

RESPONSE_FEATURES: Final = ("weather_response", "weather_response_change", "cooling_slope", "heating_slope")
"""What the meter's own recent errors say of degrees past the bases, in units of scale (a degree)."""

WEATHER_FEATURES: Final = (
    *ANOMALY_FEATURES,
    *CHANGE_FEATURES,
    *RESPONSE_FEATURES,
    "cloud_coverage_change_oktas",
    "wind_speed_change_m_s",
)


@dataclass(frozen=True)
class WeatherAnomalies:
    """Weather of each site less what the same hours of like days had, NaN where unknown.

    Attributes:
        recent: Newest first, shape ``(S, quantities, steps)``.
        ahead: Shape ``(S, quantities, horizon)``.
        sky: Clouds and wind less those of a day before, shape ``(S, 2, horizon)``.
    """

    recent: Floats32
    ahead: Floats32
    sky: Floats32

    @classmethod
    def of(cls, snapshot: Snapshot, grid: LocalGrid, recent: Ints) -> Self:
        """Compare with profiles of like days.

        Args:
            snapshot: What is known.
            grid: Where each site's steps lie.
            recent: Places of recent steps, newest first, shape ``(S, steps)``.
        """
        course = _course(snapshot)
        felt = _felt(course)
        past_hours, target_hours = _hours(snapshot, history_steps(snapshot.interval))
        by_place = np.take_along_axis(
            np.concatenate([felt[:, :, past_hours], np.full((*felt.shape[:2], 1), np.nan, np.float32)], axis=2),
            grid.column[:, None, :],
            axis=2,
        )
        usual = _usual(by_place, grid)
        offset = (grid.today - RECENT_DAYS) * grid.slots
        expected = np.take_along_axis(usual, (recent - offset)[:, None], axis=2)
        expected_ahead = np.take_along_axis(usual, (grid.target - offset)[:, None], axis=2)
        sky = course[:, :, [QUANTITY_NAMES.index(name) for name in ("cloud_coverage_oktas", "wind_speed_m_s")]]
        return cls(
            recent=np.take_along_axis(by_place, recent[:, None], axis=2) - expected,
            ahead=felt[:, :, target_hours] - expected_ahead,
            sky=np.moveaxis(sky[:, target_hours] - sky[:, target_hours - 24], 1, 2),
        )


def weather_features(anomalies: WeatherAnomalies, errors: Floats32, site: Ints) -> dict[str, Floats32]:
    """Weather features of every meter and lead time, each of shape ``(M, horizon)`` or ``(M, 1)``.

    Args:
        anomalies: Of each site.
        errors: The meters' deviations from their profile, newest first, in units of scale.
        site: Each meter's row in ``anomalies``.
    """
    columns = {name: anomalies.ahead[site, index] for index, name in enumerate(ANOMALY_FEATURES)}
    now = anomalies.recent[:, :, :1]
    change = anomalies.ahead - now
    columns |= {name: change[site, index] for index, name in enumerate(CHANGE_FEATURES)}
    degrees = [_QUANTITIES.index("cooling"), _QUANTITIES.index("heating")]
    slopes = _slopes(anomalies.recent[:, degrees], errors, site)
    response = to_float32(np.einsum("mq,mqh->mh", slopes, anomalies.ahead[:, degrees][site]))
    response_now = to_float32(np.einsum("mq,mqh->mh", slopes, now[:, degrees][site]))
    columns["weather_response"] = response
    columns["weather_response_change"] = response - response_now
    columns |= {"cooling_slope": to_float32(slopes[:, :1]), "heating_slope": to_float32(slopes[:, 1:])}
    columns["cloud_coverage_change_oktas"] = anomalies.sky[site, 0]
    columns["wind_speed_change_m_s"] = anomalies.sky[site, 1]
    return columns


def _slopes(degrees: Floats32, errors: Floats32, site: Ints) -> Floats:
    """Ridge regression of each meter's errors on two kinds of degrees, shape ``(M, 2)``; NaN without weather."""
    of_meter = degrees[site]
    known = ~np.isnan(errors) & ~np.isnan(of_meter).any(axis=1)
    inputs = np.where(known[:, None], of_meter, np.float32(0))
    target = np.where(known, np.clip(errors, -1, 1), np.float32(0))
    square = (inputs @ np.swapaxes(inputs, 1, 2)).astype(np.float64)
    product = (inputs @ target[:, :, None]).astype(np.float64)
    weight = np.maximum(known.sum(axis=1), _LEAST_HOURS)
    square += _RIDGE_C2 * weight[:, None, None] * np.eye(2)
    slopes = np.linalg.solve(square, product)[:, :, 0]
    return np.where(known.any(axis=1, keepdims=True), slopes, np.nan)


def _felt(course: Floats32) -> Floats32:
    """What buildings feel, in the order of ``_QUANTITIES``, shape ``(S, quantities, hours)``."""
    temperature = course[:, :, QUANTITY_NAMES.index("air_temperature_c")]
    smooth = _smooth(temperature)
    mixed = (temperature + smooth) / 2
    cooling = np.maximum(mixed - np.float32(COOLING_BASE_C), 0)
    heating = np.maximum(np.float32(HEATING_BASE_C) - mixed, 0)
    dew_temperature = course[:, :, QUANTITY_NAMES.index("dew_temperature_c")]
    return np.stack([temperature, smooth, cooling, heating, dew_temperature], axis=1)


def _usual(by_place: Floats32, grid: LocalGrid) -> Floats32:
    """Mean over like days, for the recent days, today and ahead: shape ``(S, quantities, places)``."""
    weights = like_day_weights(grid)
    sites, quantities = by_place.shape[:2]
    by_day = by_place.reshape(sites * quantities, grid.days, grid.slots)
    means, _ = weighted_means(by_day, np.repeat(weights, quantities, axis=0))
    return np.asarray(means.reshape(sites, quantities, -1))


def _course(snapshot: Snapshot) -> Floats32:
    """Observed and forecast weather in one row, shape ``(S, WEATHER_HISTORY_H + 48, 7)``."""
    observed = snapshot.weather[:, -WEATHER_HISTORY_H:]
    shape = (len(snapshot.sites), WEATHER_HISTORY_H + HORIZON_H, len(QUANTITY_NAMES))
    course = np.full(shape, np.nan, dtype=np.float32)
    course[:, WEATHER_HISTORY_H - observed.shape[1] : WEATHER_HISTORY_H] = observed
    course[:, WEATHER_HISTORY_H:] = snapshot.weather_forecast
    return course


def _hours(snapshot: Snapshot, history: int) -> tuple[Ints, Ints]:
    """Columns of the course: of each step of the past, and of each target."""
    first = snapshot.origin - history + 1
    steps = np.arange(first, snapshot.origin + 1 + snapshot.interval.horizon)
    hours = steps * snapshot.interval.seconds // SECONDS_PER_HOUR - snapshot.origin_hour + WEATHER_HISTORY_H - 1
    return np.maximum(hours[:history], 0), hours[history:]


def _smooth(values: Floats32) -> Floats32:
    """Exponentially weighted mean of the last hours, without gaps; NaN where less than half is known."""
    span = 3 * _LAG_H
    kernel = np.exp(-np.arange(span)[::-1] / _LAG_H).astype(np.float32)
    padded = np.concatenate([np.full((len(values), span - 1), np.nan, np.float32), values], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, span, axis=1)
    known = ~np.isnan(windows)
    weight = (known * kernel).sum(axis=2)
    mean = np.where(known, windows * kernel, np.float32(0)).sum(axis=2) / np.maximum(weight, np.float32(1e-6))
    return np.asarray(np.where(weight > kernel.sum() / 2, mean, np.float32(np.nan)))
