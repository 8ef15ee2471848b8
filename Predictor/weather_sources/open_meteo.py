"""Live weather of Open-Meteo: the last days and the next two, for every site's place.

Source: the provider's documentation of ``/v1/forecast`` (open-meteo.com/en/docs). As in ASHRAE's files, a value
is that of its stamp, except for precipitation, which is the sum of the hour before it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
import numpy as np

from Predictor.forecasting.snapshot import WEATHER_HISTORY_H, Floats32, Ints
from Predictor.weather_sources.download import Downloader
from Predictor.weather_sources.source import HourlyWeather, NoWeather, SiteWeather, closed_hour, unknown
from Sensor_core.building import Site
from Sensor_core.errors import EnergyError, InvalidRecordError
from Sensor_core.interval import HORIZON_H, SECONDS_PER_HOUR
from Sensor_core.reading import UNDECODABLE
from Sensor_core.weather import FORECAST_LASTS_H, QUANTITIES, Quantity
from Setup.background import answer_of, in_background

logger = logging.getLogger(__name__)

OPEN_METEO: Final = "open-meteo"
"""Name of this source in observations and forecasts."""

SITES_PER_REQUEST: Final = 100
ANSWER_WITHIN_S: Final = 6.0
"""Forecasts wait no longer, whatever hangs: less than the lease of the predictor and its time to stop. [s]"""
_FORECAST_H: Final = HORIZON_H + FORECAST_LASTS_H
_HOURS: Final = WEATHER_HISTORY_H + _FORECAST_H


class _Variable(NamedTuple):
    name: str
    unit: str
    factor: float = 1.0


_VARIABLES: Final = (
    _Variable("temperature_2m", "°C"),
    _Variable("dew_point_2m", "°C"),
    _Variable("cloud_cover", "%", 8 / 100),
    _Variable("precipitation", "mm"),
    _Variable("pressure_msl", "hPa"),
    _Variable("wind_direction_10m", "°"),
    _Variable("wind_speed_10m", "m/s"),
)
"""In the order of ``QUANTITIES``; the factor leads to the quantity's unit."""

_QUERY: Final = {
    "hourly": ",".join(variable.name for variable in _VARIABLES),
    "past_hours": str(WEATHER_HISTORY_H),
    "forecast_hours": str(_FORECAST_H + 1),  # the hour that runs counts as forecast
    "temperature_unit": "celsius",
    "wind_speed_unit": "ms",
    "precipitation_unit": "mm",
    "timeformat": "unixtime",
    "timezone": "GMT",
}


class _Place(msgspec.Struct):
    hourly_units: dict[str, str]
    hourly: dict[str, list[float | None]]


_decode = msgspec.json.Decoder(_Place | list[_Place]).decode


@dataclass(frozen=True)
class _Answer:
    fetched_at: datetime
    weather: HourlyWeather

    @property
    def hour(self) -> int:
        """The newest hour that was over."""
        return closed_hour(self.fetched_at)


def _now() -> datetime:
    return datetime.now(UTC)


class OpenMeteoWeather:
    """One request an hour for all sites; while the provider is out its last answer has to do, then nothing.

    An answer belongs to the hour in which it was fetched. Hours that are made up for later get an older answer
    or none: what the provider says now was not known then.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        url: str,
        downloader: Downloader | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Ask nothing yet.

        Args:
            sites: S sites, the rows of what ``read`` returns.
            url: Address of the provider's ``/v1/forecast``; it may hold parameters, such as a customer's key.
            downloader: Fetches the answers.
            clock: The time, UTC.
        """
        self._sites = list(sites)
        self._url = url
        self._downloader = downloader or Downloader()
        self._clock = clock
        self._answer: _Answer | None = None

    def read(self, hour: int, known_at: datetime) -> SiteWeather:
        """Ask the provider, or its last answer; see ``WeatherSource``. An outage raises nothing."""
        known = closed_hour(known_at)
        self._refresh(known)
        answer = self._answer
        if answer is None or not known - FORECAST_LASTS_H <= answer.hour <= known:
            return NoWeather(len(self._sites)).read(hour, known_at)
        return SiteWeather(
            observed=answer.weather.observed(hour, answer.hour),
            forecast=answer.weather.between(hour + 1, hour + 1 + HORIZON_H),
            observed_by=OPEN_METEO,
            forecast_by=OPEN_METEO,
            issued_hour=answer.hour,
            known_at=answer.fetched_at,
        )

    def _refresh(self, known: int) -> None:
        now = self._clock()
        hour = closed_hour(now)
        if hour > known or (self._answer is not None and self._answer.hour == hour):
            return
        try:
            answer = answer_of(in_background(self._fetch, hour), "the provider", ANSWER_WITHIN_S)
            self._answer = _Answer(now, answer)
        except EnergyError as error:
            logger.warning("no weather of Open-Meteo: %s", error, extra={"event": "weather_missing"})

    def _fetch(self, hour: int) -> HourlyWeather:
        first = hour + 1 - WEATHER_HISTORY_H
        parts = [unknown(0, _HOURS)]
        for begin in range(0, len(self._sites), SITES_PER_REQUEST):
            sites = self._sites[begin : begin + SITES_PER_REQUEST]
            places = {
                "latitude": ",".join(f"{site.latitude:.4f}" for site in sites),
                "longitude": ",".join(f"{site.longitude:.4f}" for site in sites),
            }
            parts.append(_parse(self._downloader.get(self._url, places | _QUERY), len(sites), first))
        return HourlyWeather(first, np.concatenate(parts))


def _parse(body: bytes, sites: int, first_hour: int) -> Floats32:
    """Weather from ``first_hour`` on, shape ``(sites, hours, 7)``; gaps are NaN.

    Raises:
        InvalidRecordError: The answer is not what the provider documents.
    """
    try:
        answer = _decode(body)
    except UNDECODABLE as error:
        raise InvalidRecordError(f"the answer cannot be read: {error}") from None
    places = answer if isinstance(answer, list) else [answer]  # one place comes without a list around it
    if len(places) != sites:
        raise InvalidRecordError(f"the answer has {len(places)} places instead of {sites}")
    return np.stack([_course(place, first_hour) for place in places])


def _course(place: _Place, first_hour: int) -> Floats32:
    course: Floats32 = unknown(1, _HOURS)[0]
    row, fits = _rows(place, first_hour)
    for column, (variable, quantity) in enumerate(zip(_VARIABLES, QUANTITIES, strict=True)):
        if variable.name in place.hourly:  # a place may lie outside of the model that has it
            course[row, column] = _values(place, variable, quantity, len(fits))[fits]
    return course


def _rows(place: _Place, first_hour: int) -> tuple[Ints, np.ndarray]:
    """Which row each kept value goes to, and which values are kept."""
    _check_unit(place, "time", "unixtime")
    hours = np.array(place.hourly.get("time", []), dtype=np.float64) / SECONDS_PER_HOUR - first_hour
    if (hours != np.floor(hours)).any():  # NaN as well
        raise InvalidRecordError("the answer has times that start no hour")
    fits = (hours >= 0) & (hours < _HOURS)
    return hours[fits].astype(np.int64), fits


def _values(place: _Place, variable: _Variable, quantity: Quantity, times: int) -> np.ndarray:
    _check_unit(place, variable.name, variable.unit)
    values = np.array(place.hourly[variable.name], dtype=np.float64) * variable.factor
    if len(values) != times:
        raise InvalidRecordError(f"{variable.name} has {len(values)} values for {times} times")
    return np.where((values >= quantity.lowest) & (values <= quantity.highest), values, np.nan)


def _check_unit(place: _Place, name: str, unit: str) -> None:
    given = place.hourly_units.get(name)
    if given != unit:
        raise InvalidRecordError(f"{name} is given in {given!r} instead of {unit!r}")
