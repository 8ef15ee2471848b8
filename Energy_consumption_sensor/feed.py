"""The publisher's side of the two consumption topics: readings to both, ticks to every partition, and resuming."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from kafka import TopicPartition

from Sensor_core.interval import Interval
from Sensor_core.reading import READING_SCHEMA, TICK_SCHEMA, Reading, Tick
from Setup.kafka_initialization import ANSWER_WITHIN_MS, wait_for_consumer
from Setup.kafka_login import KafkaUser, curable_errors, wait_for_kafka
from Setup.lifecycle import Stop
from Setup.publisher import Publisher
from Setup.settings import Settings
from Setup.topic_position import ticks_between

_encode = msgspec.json.Encoder().encode
_LOOK_BACK = 2_000
"""How many messages before the end of a partition the newest tick is looked for first."""


class Feed:
    """Publishes readings and ticks to both consumption topics."""

    def __init__(self, publisher: Publisher, topics: Sequence[str]) -> None:
        self._publisher = publisher
        self._topics = topics
        self._partitions = [(topic, number) for topic in topics for number in publisher.partitions_of(topic)]

    def publish(self, reading: Reading) -> None:
        """Send one reading to both topics."""
        value, key = _encode(reading), reading.key
        for topic in self._topics:
            self._publisher.send(topic, value, key=key, schema=READING_SCHEMA)

    def publish_raw(self, line: bytes) -> None:
        """Send what is no valid reading as it is: the warehouse's consumer makes a dead letter of it."""
        self._publisher.send(self._topics[0], line, key=None, schema=READING_SCHEMA)

    def tick(self, timestamp: datetime, known_at: datetime) -> None:
        """Close an update: once its readings are acknowledged, tell every partition.

        Raises:
            RetriableError: A reading was not acknowledged; publish the update again.
        """
        self._publisher.flush()
        value = _encode(Tick(timestamp, known_at))
        for topic, partition in self._partitions:
            self._publisher.send(topic, value, key=None, schema=TICK_SCHEMA, partition=partition)

    def flush(self) -> None:
        """Wait until everything is acknowledged."""
        self._publisher.flush()


def newest_tick(settings: Settings, stop: Stop | None = None) -> int | None:
    """The newest step whose tick every partition of both topics has, or None.

    The topics are the publisher's only memory: it goes on after this step.

    Raises:
        UnreachableError: Kafka did not answer within START_DEADLINE_S.
        StoppedError: The process was told to stop.
    """
    return wait_for_kafka(settings, lambda: _newest_tick(settings, stop), stop)


@curable_errors()
def _newest_tick(settings: Settings, stop: Stop | None) -> int | None:
    consumer = wait_for_consumer(settings, None, settings.consumption_topics, stop, user=KafkaUser.SENSOR)
    try:
        partitions = [
            TopicPartition(topic, number)
            for topic in settings.consumption_topics
            for number in consumer.partitions_for_topic(topic) or ()
        ]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions, timeout_ms=ANSWER_WITHIN_MS)
        begins = consumer.beginning_offsets(partitions, timeout_ms=ANSWER_WITHIN_MS)
        newest = [_newest_in(consumer, p, begins[p], ends[p], settings.interval, stop=stop) for p in partitions]
    finally:
        consumer.close(timeout_ms=ANSWER_WITHIN_MS)
    steps = [step for step in newest if step is not None]
    return min(steps) if steps and len(steps) == len(newest) else None


def _newest_in(
    consumer: Any, partition: TopicPartition, begin: int, end: int, interval: Interval, *, stop: Stop | None
) -> int | None:
    """Look for ticks in ever longer tails of one partition."""
    tail = _LOOK_BACK
    while True:
        start = max(begin, end - tail)
        newest = max(ticks_between(consumer, partition, start, end, interval, stop=stop), default=None)
        if newest is not None or start == begin:
            return newest
        tail *= 8
