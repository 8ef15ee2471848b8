"""Weather of a data folder, in event time: the past is read from the file, the future from the past."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import pandas as pd

from Predictor.forecasting.weather_outlook import OUTLOOK, outlook
from Predictor.weather_sources.source import HourlyWeather, SiteWeather, closed_hour, unknown
from Sensor_core.interval import SECONDS_PER_HOUR
from Sensor_core.weather import QUANTITY_NAMES

REPLAY: Final = "replay"
"""Name of this source in ``WeatherObservation.source``, the one that Setup stores history under."""


class ReplayWeather:
    """Observations of ``weather.csv`` as they became known; the file says nothing of any forecast."""

    def __init__(self, site_ids: Sequence[int], weather: pd.DataFrame) -> None:
        """Keep the weather of these sites, 28 bytes a site and hour.

        Args:
            site_ids: S sites, the rows of what ``read`` returns; a site without weather is NaN throughout.
            weather: As ``DataFolder.weather`` returns it.
        """
        self._weather = _arrange(site_ids, weather)

    def read(self, hour: int, known_at: datetime) -> SiteWeather:
        """Look the hours up; see ``WeatherSource``."""
        observed = self._weather.observed(hour, closed_hour(known_at))
        return SiteWeather(observed, outlook(observed), REPLAY, OUTLOOK, hour)


def _arrange(site_ids: Sequence[int], weather: pd.DataFrame) -> HourlyWeather:
    rows = weather[weather["site_id"].isin(list(site_ids))]
    if rows.empty:
        return HourlyWeather(0, unknown(len(site_ids), 0))
    hours = rows["timestamp"].to_numpy(dtype="datetime64[s]").astype("int64") // SECONDS_PER_HOUR
    first = int(hours.min())
    values = unknown(len(site_ids), int(hours.max()) + 1 - first)
    place = {site_id: row for row, site_id in enumerate(site_ids)}
    values[rows["site_id"].map(place), hours - first] = rows[list(QUANTITY_NAMES)].to_numpy(dtype="float32")
    return HourlyWeather(first, values)
