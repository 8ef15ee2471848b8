"""Weather for the forecasts of an hour, and for the warehouse: the past day and the outlook."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec
import numpy as np

from Predictor.forecasting.snapshot import Floats, Floats32
from Predictor.weather_sources.source import SiteWeather, WeatherSource, unknown
from Sensor_core.building import Site
from Sensor_core.interval import SECONDS_PER_HOUR, Interval
from Sensor_core.weather import (
    FORECAST_SCHEMA,
    OBSERVATION_SCHEMA,
    QUANTITY_NAMES,
    WeatherForecast,
    WeatherObservation,
)

PUBLISHED_H: Final = 24
"""How far back observations that are new or have changed are published. [h]"""

_DECIMALS: Final = 4
_encode = msgspec.json.Encoder().encode  # writes NaN as null


class MessagePublisher(Protocol):
    """Where messages go; ``Setup.publisher.Publisher`` is one."""

    def send(self, topic: str, value: bytes | None, *, key: bytes | None, schema: bytes) -> None:
        """Hand over one message."""
        ...  # pragma: no cover


class WeatherMeasurements:
    """Takes the weather once for every closed step, and publishes what is new of it."""

    def __init__(
        self,
        source: WeatherSource,
        sites: Sequence[Site],
        publisher: MessagePublisher,
        topic: str,
        interval: Interval,
    ) -> None:
        """Start with nothing published.

        Args:
            source: Weather of the S sites.
            sites: The sites, in the order of the source.
            publisher: Takes the messages; the caller flushes it.
            topic: The weather topic.
            interval: The metering interval.
        """
        self._source = source
        self._sites = list(sites)
        self._publisher = publisher
        self._topic = topic
        self._interval = interval
        self._published = unknown(len(self._sites), PUBLISHED_H)
        self._newest_hour: int | None = None

    def take(self, origin: int, known_at: datetime) -> SiteWeather:
        """Fetch the weather for forecasts issued at ``origin``.

        The step that ends an hour publishes that hour's forecast, and the observations of the last 24 hours
        that are new or have changed since. An hour that is taken again is published again in full: its
        messages may not have arrived.

        Args:
            origin: The newest closed step.
            known_at: What had become known then may be used, UTC.

        Raises:
            RetriableError: Kafka did not take the messages.
        """
        hour = origin * self._interval.seconds // SECONDS_PER_HOUR
        weather = self._source.read(hour, known_at)
        if (origin + 1) % self._interval.steps_per_hour == 0:
            self._publish_observations(hour, weather)
            if weather.issued_hour >= hour:
                self._publish_forecasts(hour, weather)
        return weather

    def _publish_observations(self, hour: int, weather: SiteWeather) -> None:
        observed = weather.observed[:, -PUBLISHED_H:]
        published = self._published_until(hour)
        news = (~np.isnan(observed) & (observed != published)).any(axis=2)
        values = _rounded(observed)
        for site, slot in np.argwhere(news).tolist():
            start = hour + 1 - PUBLISHED_H + slot
            message = WeatherObservation(
                site_id=self._sites[site].site_id,
                timestamp=_start_of(start),
                known_at=weather.known_at or _start_of(start + 1),
                source=weather.observed_by,
                **dict(zip(QUANTITY_NAMES, values[site, slot].tolist(), strict=True)),
            )
            self._send(message.site_id, message, OBSERVATION_SCHEMA)
        published[news] = observed[news]

    def _published_until(self, hour: int) -> Floats32:
        """What was published of the 24 hours up to this one; NaN is nothing."""
        passed = hour - self._newest_hour if self._newest_hour is not None else PUBLISHED_H
        if not 0 < passed < PUBLISHED_H:
            passed = PUBLISHED_H
        forgotten = unknown(len(self._sites), passed)
        self._published = np.concatenate([self._published[:, passed:], forgotten], axis=1)
        self._newest_hour = hour
        return self._published

    def _publish_forecasts(self, hour: int, weather: SiteWeather) -> None:
        values = _rounded(weather.forecast)
        for site in np.flatnonzero(~np.isnan(weather.forecast).all(axis=(1, 2))).tolist():
            message = WeatherForecast(
                site_id=self._sites[site].site_id,
                issued_at=_start_of(hour),
                source=weather.forecast_by,
                **dict(zip(QUANTITY_NAMES, values[site].T.tolist(), strict=True)),
            )
            self._send(message.site_id, message, FORECAST_SCHEMA)

    def _send(self, site_id: int, message: WeatherObservation | WeatherForecast, schema: bytes) -> None:
        self._publisher.send(self._topic, _encode(message), key=b"%d" % site_id, schema=schema)


def _rounded(values: Floats32) -> Floats:
    return np.asarray(np.round(values.astype(np.float64), _DECIMALS), dtype=np.float64)


def _start_of(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * SECONDS_PER_HOUR, tz=UTC)
