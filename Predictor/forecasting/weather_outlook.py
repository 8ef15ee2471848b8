"""A weather forecast where nobody gives one: the usual day of the last two weeks, and what is unusual today.

Today's departure from the usual day fades: fast for the hour itself, slowly for the day's mean. The replay
source and training use this one function, so that a model meets the forecasts it was trained with.
"""

import warnings
from typing import Final

import numpy as np

from Predictor.forecasting.snapshot import Floats32
from Sensor_core.interval import HORIZON_H
from Sensor_core.weather import QUANTITY_NAMES

OUTLOOK: Final = "replay:damped persistence"
"""Name of this source in ``WeatherForecast.source``."""

USUAL_DAYS: Final = 14
_NEWEST_H: Final = 3
_HOUR_FADES_H: Final = 16.0
_DAY_SETS_IN_H: Final = 12.0
_DAY_FADES_H: Final = 60.0
_SHARE_OF_DAY: Final = 0.8
_DIRECTION: Final = QUANTITY_NAMES.index("wind_direction_deg")


def outlook(observed: Floats32) -> Floats32:
    """Forecast 48 hours from what was observed.

    Args:
        observed: Weather of the last hours, shape ``(S, hours, 7)``, oldest first; NaN where not measured.

    Returns:
        Shape ``(S, 48, 7)``, within what was observed; NaN where no past day had a value at that hour.
    """
    by_day = _by_day(observed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing but gaps is NaN
        usual = np.nanmean(by_day, axis=1)
        unusual = by_day[:, -1] - usual
        day = np.nan_to_num(np.nanmean(unusual, axis=1))
        lowest, highest = np.nanmin(by_day, axis=(1, 2)), np.nanmax(by_day, axis=(1, 2))
    lead_h = np.arange(1, HORIZON_H + 1)[:, None]
    of_hour = np.exp(-lead_h / _HOUR_FADES_H)
    of_day = _SHARE_OF_DAY * (1 - np.exp(-lead_h / _DAY_SETS_IN_H)) * np.exp(-lead_h / _DAY_FADES_H)
    course = np.tile(usual, (1, HORIZON_H // 24, 1))
    course += of_hour * _newest(unusual)[:, None] + of_day * day[:, None]
    course = np.clip(course, lowest[:, None], highest[:, None])
    # Directions have no mean: 350 and 10 degrees are not 180.
    course[:, :, _DIRECTION] = np.tile(_last_known(by_day[:, :, :, _DIRECTION]), (1, HORIZON_H // 24))
    return np.asarray(course, dtype=np.float32)


def _by_day(observed: Floats32) -> Floats32:
    """The last two weeks as ``(S, 14, 24, 7)``; a day ends with the newest hour."""
    sites, hours, quantities = observed.shape
    past = np.full((sites, USUAL_DAYS * 24, quantities), np.nan, dtype=np.float32)
    kept = min(hours, USUAL_DAYS * 24)
    past[:, USUAL_DAYS * 24 - kept :] = observed[:, hours - kept :]
    return past.reshape(sites, USUAL_DAYS, 24, quantities)


def _newest(unusual: Floats32) -> Floats32:
    """The newest departure of the last hours, shape ``(S, 7)``; 0 where there is none."""
    newest = np.zeros_like(unusual[:, 0])
    for hour in range(-_NEWEST_H, 0):
        newest = np.where(np.isnan(unusual[:, hour]), newest, unusual[:, hour])
    return newest


def _last_known(by_day: Floats32) -> Floats32:
    newest = by_day[:, 0]
    for day in range(1, USUAL_DAYS):
        newest = np.where(np.isnan(by_day[:, day]), newest, by_day[:, day])
    return newest
