"""What every source of weather offers, and the hourly arrays that sources are made of."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import numpy as np

from Predictor.forecasting.snapshot import WEATHER_HISTORY_H, Floats32
from Sensor_core.interval import HORIZON_H, SECONDS_PER_HOUR
from Sensor_core.weather import QUANTITY_NAMES

NOBODY: Final = "none"
"""Name of the source that knows nothing."""


@dataclass(frozen=True)
class SiteWeather:
    """The weather of S sites as it was known at one moment; NaN is unknown.

    Attributes:
        observed: The last hours, shape ``(S, WEATHER_HISTORY_H, 7)`` in the order of ``QUANTITY_NAMES``.
        forecast: The next 48 hours, shape ``(S, 48, 7)``.
        observed_by: Who observed.
        forecast_by: Who forecast, and how.
        issued_hour: The newest closed hour when the forecast was made, in hours since 1970. It is older than
            the last hour of ``observed`` where a provider is out and an earlier answer has to do.
        known_at: When the observations became known, UTC; None: each one at the end of its hour.
    """

    observed: Floats32
    forecast: Floats32
    observed_by: str
    forecast_by: str
    issued_hour: int
    known_at: datetime | None = None


class WeatherSource(Protocol):
    """Weather of a fixed list of sites."""

    def read(self, hour: int, known_at: datetime) -> SiteWeather:
        """Tell what was known at ``known_at``, and nothing that became known later.

        An observation becomes known at the end of its hour, so an hour that is not over is NaN.

        Args:
            hour: Last hour of the observations, in hours since 1970; forecasts are for the 48 after it.
            known_at: The moment, UTC.
        """
        ...  # pragma: no cover


def closed_hour(moment: datetime) -> int:
    """The newest hour that is over, in hours since 1970."""
    return int(moment.timestamp() // SECONDS_PER_HOUR) - 1


def unknown(sites: int, hours: int) -> Floats32:
    """Weather of which nothing is known, shape ``(sites, hours, 7)``."""
    return np.full((sites, hours, len(QUANTITY_NAMES)), np.nan, dtype=np.float32)


@dataclass(frozen=True)
class HourlyWeather:
    """Weather by site and hour.

    Attributes:
        first_hour: The first hour, in hours since 1970.
        values: Shape ``(S, hours, 7)``.
    """

    first_hour: int
    values: Floats32

    def between(self, begin: int, stop: int) -> Floats32:
        """Hours ``begin`` to ``stop - 1``, shape ``(S, stop - begin, 7)``; NaN beyond what is held."""
        window = unknown(len(self.values), stop - begin)
        first = max(begin, self.first_hour)
        last = min(stop, self.first_hour + self.values.shape[1])
        if first < last:
            window[:, first - begin : last - begin] = self.values[:, first - self.first_hour : last - self.first_hour]
        return window

    def observed(self, hour: int, known: int) -> Floats32:
        """The hours up to ``hour``, of which those after the hour ``known`` are hidden."""
        begin = hour + 1 - WEATHER_HISTORY_H
        window = self.between(begin, hour + 1)
        window[:, max(0, known + 1 - begin) :] = np.nan
        return window


class NoWeather:
    """The source of those who have none."""

    def __init__(self, sites: int) -> None:
        self._sites = sites

    def read(self, hour: int, known_at: datetime) -> SiteWeather:  # noqa: ARG002 - every source's signature
        """Know nothing."""
        return SiteWeather(
            unknown(self._sites, WEATHER_HISTORY_H), unknown(self._sites, HORIZON_H), NOBODY, NOBODY, hour
        )
