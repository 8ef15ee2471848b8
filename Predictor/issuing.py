"""Publishes an hour's forecasts and anomalies, and remembers what the next reading is held against."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np

from Predictor.forecasting.anomalies import Expected
from Predictor.forecasting.forecaster import MeterQuantiles
from Predictor.forecasting.hierarchy import Totals
from Predictor.forecasting.snapshot import Meters
from Sensor_core.anomaly import ANOMALY_SCHEMA, Anomaly
from Sensor_core.decision import DECISION_SCHEMA, Decision
from Sensor_core.forecast import (
    AGGREGATE_FORECAST_SCHEMA,
    AGGREGATE_QUANTILES,
    METER_FORECAST_SCHEMA,
    AggregateForecast,
    MeterForecast,
)
from Sensor_core.reading import meter_key
from Setup.publisher import Publisher
from Setup.redis_client import FORECAST_KEY, Client, curable_errors
from Setup.settings import Settings

_encode = msgspec.json.Encoder().encode
_DECIMALS = 4
"""Forecasts are published to a tenth of a watt-hour."""


def _courses(values: np.ndarray) -> list[list[float]]:
    rounded: list[list[float]] = np.round(values.astype(np.float64), _DECIMALS).tolist()
    return rounded


def meter_forecasts(
    meters: Meters, forecast: MeterQuantiles, issued_at: datetime, made_at: datetime
) -> Iterator[MeterForecast]:
    """One message a meter."""
    columns = (
        meters.building_id.tolist(), meters.meter.tolist(), forecast.quality,
        _courses(forecast.q10), _courses(forecast.q50), _courses(forecast.q90),
    )  # fmt: skip
    for building_id, meter, quality, q10, q50, q90 in zip(*columns, strict=True):
        yield MeterForecast(
            building_id=building_id, meter=meter, issued_at=issued_at, made_at=made_at,
            model=forecast.model, quality=quality, q10=q10, q50=q50, q90=q90,
        )  # fmt: skip


def aggregate_forecasts(
    totals: Totals, model: str, issued_at: datetime, made_at: datetime
) -> Iterator[AggregateForecast]:
    """One message a site and meter code, and one a meter code for the grid, where a meter is in it."""
    rows = zip(totals.site_id, totals.meter, totals.meters, totals.quantiles, strict=True)
    for site_id, meter, meters, quantiles in rows:
        if not meters:
            continue
        yield AggregateForecast(
            site_id=site_id, meter=int(meter), issued_at=issued_at, made_at=made_at, model=model,
            meters=int(meters), **dict(zip(AGGREGATE_QUANTILES, _courses(quantiles), strict=True)),
        )  # fmt: skip


@dataclass(frozen=True)
class Hourly:
    """All that one hour publishes."""

    meters: Iterable[MeterForecast]
    totals: Iterable[AggregateForecast]
    decisions: Iterable[Decision]
    anomalies: Iterable[Anomaly]


class Issuer:
    """Where forecasts go."""

    def __init__(self, settings: Settings, publisher: Publisher, client: Client) -> None:
        self._settings = settings
        self._publisher = publisher
        self._client = client

    def publish(self, hourly: Hourly) -> None:
        """Publish an hour's results and wait until all are acknowledged.

        Raises:
            RetriableError: Something was not; publish the hour again.
        """
        predictions = self._settings.topic_predictions
        for forecast in hourly.meters:
            key = meter_key(forecast.building_id, forecast.meter)
            self._send(predictions, forecast, key, METER_FORECAST_SCHEMA)
        for total in hourly.totals:
            self._send(predictions, total, _total_key(total), AGGREGATE_FORECAST_SCHEMA)
        for decision in hourly.decisions:
            self._send(predictions, decision, _total_key(decision), DECISION_SCHEMA)
        for anomaly in hourly.anomalies:
            key = meter_key(anomaly.building_id, anomaly.meter)
            self._send(self._settings.topic_anomalies, anomaly, key, ANOMALY_SCHEMA)
        self._publisher.flush()

    def _send(self, topic: str, record: msgspec.Struct, key: bytes, schema: bytes) -> None:
        self._publisher.send(topic, _encode(record), key=key, schema=schema)

    def remember(self, step: int, meters: Meters, forecast: MeterQuantiles) -> None:
        """Keep the one-step forecasts for the next hour, over a restart of this process too."""
        keys = np.stack([meters.building_id, meters.meter])
        first = np.stack([forecast.q10[:, 0], forecast.q50[:, 0], forecast.q90[:, 0]])
        document = step.to_bytes(8, "little") + keys.astype("<i8").tobytes() + first.astype("<f8").tobytes()
        with curable_errors():
            self._client.set(FORECAST_KEY, document)

    def remembered(self, step: int, meters: Meters) -> Expected | None:
        """What the issue of ``step`` expected of the next one; NaN for meters that it did not have."""
        with curable_errors():
            document = self._client.get(FORECAST_KEY)
        if document is None or int.from_bytes(document[:8], "little") != step:
            return None
        rows = np.frombuffer(document[8:], dtype="<i8").reshape(5, -1)
        first = rows[2:].view("<f8")
        place = {key: index for index, key in enumerate(zip(*rows[:2].tolist(), strict=True))}
        wanted = zip(meters.building_id.tolist(), meters.meter.tolist(), strict=True)
        order = np.array([place.get(key, -1) for key in wanted], dtype=np.int64)
        expected = np.where(order >= 0, first[:, order], np.nan).astype(np.float32)
        return Expected(*expected)


def _total_key(record: AggregateForecast | Decision) -> bytes:
    return b"total:%d:%d" % (-1 if record.site_id is None else record.site_id, record.meter)
