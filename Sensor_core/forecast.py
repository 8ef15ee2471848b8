"""Probabilistic forecasts of meters, sites and the grid, and their wire format.

Element ``k - 1`` of each quantile list predicts the interval that starts ``k`` steps after ``issued_at``, the
stamp of the newest closed interval. In Postgres, where arrays start at 1, ``q50[24]`` is lead time 24.
"""

from typing import Annotated, Final, Literal

import msgspec

from Sensor_core.errors import InvalidRecordError
from Sensor_core.interval import Interval
from Sensor_core.reading import (
    UNDECODABLE,
    BuildingId,
    MeterCode,
    UtcTime,
    check_event_time,
    check_size,
    unknown_schema,
)
from Sensor_core.weather import SiteId

METER_LEVELS: Final = (0.1, 0.5, 0.9)
AGGREGATE_LEVELS: Final = (0.02, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.98)

METER_FORECAST_SCHEMA: Final = b"meter_forecast.v1"
AGGREGATE_FORECAST_SCHEMA: Final = b"aggregate_forecast.v1"

Course = list[Annotated[float, msgspec.Meta(ge=0.0)]]
"""One value a lead time. [kWh in the interval]"""

Quality = Literal["full", "no_weather", "profile", "persistence", "peers"]
"""Which step of the fallback ladder made a forecast, best first."""

ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=60, pattern="^[^\\x00]*$")]


class MeterForecast(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one meter is expected to count in each of the next intervals."""

    building_id: BuildingId
    meter: MeterCode
    issued_at: UtcTime
    made_at: UtcTime
    model: ModelName
    quality: Quality
    q10: Course
    q50: Course
    q90: Course


class AggregateForecast(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The total of all meters of one code at a site, or in the whole grid (``site_id`` is None)."""

    site_id: SiteId | None
    meter: MeterCode
    issued_at: UtcTime
    made_at: UtcTime
    model: ModelName
    meters: Annotated[int, msgspec.Meta(ge=1)]
    q02: Course
    q05: Course
    q10: Course
    q25: Course
    q50: Course
    q75: Course
    q90: Course
    q95: Course
    q98: Course


AGGREGATE_QUANTILES: Final = tuple(f"q{round(level * 100):02d}" for level in AGGREGATE_LEVELS)

_decode_meter = msgspec.json.Decoder(MeterForecast).decode
_decode_aggregate = msgspec.json.Decoder(AggregateForecast).decode
_MAX_BYTES: Final = 512 * 1024


def decode(schema: bytes | None, payload: bytes | None, interval: Interval) -> MeterForecast | AggregateForecast:
    """Decode and validate one forecast.

    Raises:
        InvalidRecordError: The message can never be stored.
    """
    check_size(payload, _MAX_BYTES)
    try:
        if schema == METER_FORECAST_SCHEMA:
            record: MeterForecast | AggregateForecast = _decode_meter(payload or b"")
            courses = [getattr(record, name) for name in ("q10", "q50", "q90")]
        elif schema == AGGREGATE_FORECAST_SCHEMA:
            record = _decode_aggregate(payload or b"")
            courses = [getattr(record, name) for name in AGGREGATE_QUANTILES]
        else:
            raise unknown_schema(schema)
    except UNDECODABLE as error:
        raise InvalidRecordError(str(error)) from None
    check_event_time(record.issued_at, interval)
    if any(len(course) != interval.horizon for course in courses):
        raise InvalidRecordError(f"each quantile needs {interval.horizon} values, one a lead time")
    return record
