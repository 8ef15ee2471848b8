"""From Kafka messages to records: one decoder a topic, chosen once."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from Sensor_core import anomaly, decision, forecast, reading, weather
from Sensor_core.anomaly import Anomaly
from Sensor_core.decision import DECISION_SCHEMA, Decision
from Sensor_core.errors import InvalidRecordError
from Sensor_core.forecast import AggregateForecast, MeterForecast
from Sensor_core.interval import Interval
from Sensor_core.reading import Reading, Tick
from Sensor_core.weather import WeatherForecast, WeatherObservation
from Setup.kafka_initialization import SCHEMA_HEADER
from Setup.settings import Settings


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A message that can never be stored, as the dead-letter topic holds it."""

    topic: str
    partition: int
    offset: int
    consumer: str
    reason: str
    noticed_at: datetime
    key: bytes | None
    payload: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


Record = (
    Reading
    | Tick
    | MeterForecast
    | AggregateForecast
    | Decision
    | WeatherObservation
    | WeatherForecast
    | Anomaly
    | DeadLetter
)
Partition = tuple[str, int]
"""Topic and partition number."""
Headers = Sequence[tuple[str, bytes]]


class Message(Protocol):
    """What a consumer reads of a Kafka message."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    """When it arrived in Kafka. [ms since 1970]"""
    key: bytes | None
    value: bytes | None
    headers: Headers


def header(headers: Headers, name: str) -> bytes | None:
    """The value of the first header of this name."""
    for key, value in headers:
        if key == name:
            return value
    return None


def size_of(message: Message) -> int:
    """Bytes of a message's key, value and headers."""
    size = len(message.key or b"") + len(message.value or b"")
    for _, value in message.headers:
        size += len(value or b"")
    return size


class Decoder:
    """Decodes the messages of all topics that one consumer reads.

    Readings are held against their partition's clock, the newest tick: one far ahead of it is a mistake of
    somebody's clock, and would push true readings out of the history rings.
    """

    def __init__(self, settings: Settings, dead_letter: Callable[[Message], DeadLetter]) -> None:
        self._interval = settings.interval
        self._max_ahead = timedelta(hours=settings.max_ahead_h)
        self._consumption = frozenset(settings.consumption_topics)
        self._others = _decoders(settings, self._interval) | {settings.topic_dead_letters: dead_letter}
        self._horizons: dict[Partition, datetime] = {}

    def set_clock(self, partition: Partition, clock: datetime | None) -> None:
        """Start a partition at the clock that its store has."""
        if clock is None:
            self._horizons.pop(partition, None)
        else:
            self._horizons[partition] = clock + self._max_ahead

    def decode(self, message: Message) -> Record:
        """Decode and validate one message.

        Raises:
            InvalidRecordError: It can never be stored.
        """
        if message.topic not in self._consumption:
            return self._others[message.topic](message)
        record = reading.decode(header(message.headers, SCHEMA_HEADER), message.value, self._interval)
        partition = (message.topic, message.partition)
        horizon = self._horizons.get(partition)
        if type(record) is Tick:
            reached = record.timestamp + self._max_ahead
            self._horizons[partition] = reached if horizon is None else max(horizon, reached)
        elif horizon is not None and record.timestamp > horizon:
            ahead_h = (record.timestamp - horizon + self._max_ahead) // timedelta(hours=1)
            raise InvalidRecordError(f"timestamp {record.timestamp.isoformat()} is {ahead_h} h ahead of the clock")
        return record


def _decoders(settings: Settings, interval: Interval) -> dict[str, Callable[[Message], Record]]:
    def schema(message: Message) -> bytes | None:
        return header(message.headers, SCHEMA_HEADER)

    def prediction(message: Message) -> Record:
        if schema(message) == DECISION_SCHEMA:
            return decision.decode(message.value, interval)
        return forecast.decode(schema(message), message.value, interval)

    return {
        settings.topic_predictions: prediction,
        settings.topic_weather: lambda m: weather.decode(schema(m), m.value),
        settings.topic_anomalies: lambda m: anomaly.decode(schema(m), m.value, interval),
    }
