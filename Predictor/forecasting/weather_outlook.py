"""A weather forecast where nobody gives one: the same hour of the last known day.

The replay source and training use this one function, so that a model meets the forecasts it was trained
with.
"""

from typing import Final

import numpy as np

from Predictor.forecasting.snapshot import Floats32
from Sensor_core.interval import HORIZON_H

PERSISTENCE: Final = "replay:persistence"
"""Name of this source in ``WeatherForecast.source``."""


def persistence(observed: Floats32) -> Floats32:
    """Forecast 48 hours by repeating the newest value of the same hour of day.

    Args:
        observed: Weather of the last hours, shape ``(S, hours, 7)``, oldest first; NaN where not measured.

    Returns:
        Shape ``(S, 48, 7)``; NaN where no past day had a value at that hour.
    """
    sites, hours, quantities = observed.shape
    days = -(-hours // 24)
    past = np.full((sites, days * 24, quantities), np.nan, dtype=np.float32)
    past[:, days * 24 - hours :] = observed
    by_day = past.reshape(sites, days, 24, quantities)
    newest = by_day[:, 0].copy() if days else np.full((sites, 24, quantities), np.nan, np.float32)
    for day in range(1, days):
        newest = np.where(np.isnan(by_day[:, day]), newest, by_day[:, day])
    return np.tile(newest, (1, HORIZON_H // 24, 1))
