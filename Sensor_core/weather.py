"""Weather observations and forecasts, and their wire format.

Both carry ASHRAE's seven quantities; a quantity that was not measured is ``None``.
"""

from typing import Annotated, Final, NamedTuple

import msgspec

from Sensor_core.errors import InvalidRecordError
from Sensor_core.interval import HORIZON_H, Interval
from Sensor_core.reading import UNDECODABLE, UtcTime, check_event_time, check_size, unknown_schema


class Quantity(NamedTuple):
    """One weather quantity: its name here, its column in ASHRAE's files, and the range that is believed."""

    name: str
    ashrae_column: str
    lowest: float
    highest: float


QUANTITIES: Final = (
    Quantity("air_temperature_c", "air_temperature", -90.0, 65.0),
    Quantity("dew_temperature_c", "dew_temperature", -90.0, 50.0),
    Quantity("cloud_coverage_oktas", "cloud_coverage", 0.0, 9.0),
    Quantity("precipitation_mm", "precip_depth_1_hr", -1.0, 500.0),  # -1: ASHRAE's code for a trace
    Quantity("sea_level_pressure_hpa", "sea_level_pressure", 850.0, 1100.0),
    Quantity("wind_direction_deg", "wind_direction", 0.0, 360.0),
    Quantity("wind_speed_m_s", "wind_speed", 0.0, 110.0),
)
QUANTITY_NAMES: Final = tuple(quantity.name for quantity in QUANTITIES)

OBSERVATION_SCHEMA: Final = b"weather_observation.v1"
FORECAST_SCHEMA: Final = b"weather_forecast.v1"

FORECAST_LASTS_H: Final = 6
"""How long a forecast has to do while its provider is out. [h]"""

SiteId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
SourceName = Annotated[str, msgspec.Meta(min_length=1, max_length=60, pattern="^[^\\x00]*$")]


class WeatherObservation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was measured at one site in one hour (``timestamp`` is its start, UTC)."""

    site_id: SiteId
    timestamp: UtcTime
    known_at: UtcTime
    source: SourceName
    air_temperature_c: float | None = None
    dew_temperature_c: float | None = None
    cloud_coverage_oktas: float | None = None
    precipitation_mm: float | None = None
    sea_level_pressure_hpa: float | None = None
    wind_direction_deg: float | None = None
    wind_speed_m_s: float | None = None


Course = Annotated[list[float | None], msgspec.Meta(min_length=HORIZON_H, max_length=HORIZON_H)]


class WeatherForecast(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was expected at one site for the 48 hours after ``issued_at``, the newest closed hour (UTC).

    Element ``k - 1`` of each list is for the hour that starts ``k`` hours after ``issued_at``. ``source``
    names who forecast, for example ``replay:damped persistence`` or ``open-meteo``.
    """

    site_id: SiteId
    issued_at: UtcTime
    source: SourceName
    air_temperature_c: Course
    dew_temperature_c: Course
    cloud_coverage_oktas: Course
    precipitation_mm: Course
    sea_level_pressure_hpa: Course
    wind_direction_deg: Course
    wind_speed_m_s: Course


_decode_observation = msgspec.json.Decoder(WeatherObservation).decode
_decode_forecast = msgspec.json.Decoder(WeatherForecast).decode
_HOURLY = Interval()


def decode(schema: bytes | None, payload: bytes | None) -> WeatherObservation | WeatherForecast:
    """Decode and validate one message of the weather topic.

    Raises:
        InvalidRecordError: The message can never be stored.
    """
    check_size(payload)
    try:
        if schema == OBSERVATION_SCHEMA:
            observation = _decode_observation(payload or b"")
            check_event_time(observation.timestamp, _HOURLY)
            return observation
        if schema == FORECAST_SCHEMA:
            forecast = _decode_forecast(payload or b"")
            check_event_time(forecast.issued_at, _HOURLY)
            return forecast
    except UNDECODABLE as error:
        raise InvalidRecordError(str(error)) from None
    raise unknown_schema(schema)
