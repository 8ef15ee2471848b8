"""Where the cache's topic has to be read on after a rebuild from Postgres, instead of from its beginning."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kafka import TopicPartition

from Sensor_core.errors import InvalidRecordError, RetriableError, StoppedError
from Sensor_core.interval import Interval
from Sensor_core.reading import TICK_SCHEMA, decode
from Setup.kafka_initialization import ANSWER_WITHIN_MS, SCHEMA_HEADER, make_consumer
from Setup.kafka_login import KafkaUser, curable_errors
from Setup.lifecycle import Stop
from Setup.settings import Settings

MARGIN_S: Final = 300.0
"""More than lies between the arrival of a reading in one topic and in the other: the publisher tries for 120 s. [s]"""

_LOOK_BACK: Final = 2_000
"""How many messages before a position a tick is looked for first."""
_ANSWER_WITHIN_S: Final = 5.0
Offsets = dict[int, int]


@curable_errors()
def resume_offsets(
    settings: Settings,
    stored: Mapping[int, int],
    closed: int | None,
    *,
    margin_s: float = MARGIN_S,
    user: KafkaUser = KafkaUser.ADMIN,
) -> Offsets:
    """Offsets of the cache's topic behind which everything lies that Postgres may lack.

    Two bounds. Readings: the two consumption topics get each of them within the margin, so that whatever arrived that
    long before the last message that Postgres has stored is in Postgres. Ticks: those of hours without forecasts have
    to be read, however far the predictor is behind; the publisher sends ticks in order.

    Args:
        settings: All settings.
        stored: Next offset of each partition of the warehouse's topic, as Postgres has it.
        closed: The last step that needs no forecast any more; None if all do.
        margin_s: The margin. [s]
        user: Who asks, where Kafka wants to know.

    Returns:
        An offset by partition; partitions to be read from their beginning are left out.

    Raises:
        RetriableError: Kafka does not answer, or does not have the topics yet.
    """
    consumer = make_consumer(settings, None, user=user)
    try:
        source = [TopicPartition(settings.topic_postgre, n) for n in _numbers(consumer, settings.topic_postgre)]
        target = [TopicPartition(settings.topic_redis, n) for n in _numbers(consumer, settings.topic_redis)]
        arrived_ms = _stored_until_ms(consumer, source, stored)
        if closed is None or arrived_ms is None:
            return {}
        begins = consumer.beginning_offsets(target, timeout_ms=ANSWER_WITHIN_MS)
        times = dict.fromkeys(target, int(arrived_ms - margin_s * 1000))
        found = consumer.offsets_for_times(times, timeout_ms=ANSWER_WITHIN_MS)
        ends = consumer.end_offsets(target, timeout_ms=ANSWER_WITHIN_MS)
        bounds = {p: (begins[p], found[p].offset if found[p] else ends[p]) for p in target}
        starts = {p: _before_tick(consumer, p, bounds[p], closed, settings.interval) for p in target}
        return {p.partition: start for p, start in starts.items() if start > begins[p]}
    finally:
        consumer.close(timeout_ms=ANSWER_WITHIN_MS)


def ticks_between(
    consumer: Any, partition: TopicPartition, start: int, end: int, interval: Interval, *, stop: Stop | None = None
) -> Iterator[int]:
    """Steps of the ticks in a stretch of one partition, in the order of their arrival.

    Raises:
        RetriableError: Kafka does not answer.
        StoppedError: The process was told to stop.
    """
    consumer.assign([partition])
    consumer.seek(partition, start)
    heard_at = time.monotonic()
    while consumer.position(partition, timeout_ms=ANSWER_WITHIN_MS) < end:
        if stop is not None and stop.is_set():
            raise StoppedError(f"told to end while reading {partition.topic}")
        messages = consumer.poll(timeout_ms=500).get(partition, [])
        if messages:
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > _ANSWER_WITHIN_S:
            raise RetriableError(f"Kafka: no answer for {partition.topic}-{partition.partition}")
        for message in messages:
            if (SCHEMA_HEADER, TICK_SCHEMA) in message.headers and message.offset < end:
                try:
                    tick = decode(TICK_SCHEMA, message.value, interval)
                except InvalidRecordError:
                    continue
                yield interval.step_of(tick.timestamp)


def _numbers(consumer: Any, topic: str) -> list[int]:
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise RetriableError(f"there is no topic {topic}; energy-setup makes it")
    return sorted(numbers)


def _stored_until_ms(consumer: Any, partitions: list[TopicPartition], stored: Mapping[int, int]) -> int | None:
    """When the last stored message of the partition that lags most arrived [ms since 1970]; None if none is stored."""
    begins = consumer.beginning_offsets(partitions, timeout_ms=ANSWER_WITHIN_MS)
    ends = consumer.end_offsets(partitions, timeout_ms=ANSWER_WITHIN_MS)
    arrivals = []
    for p in partitions:
        last = stored.get(p.partition, 0) - 1
        if not begins[p] <= last < ends[p]:
            return None
        arrivals.append(_arrival_ms(consumer, p, last))
    return min(arrivals)


def _arrival_ms(consumer: Any, partition: TopicPartition, offset: int) -> int:
    consumer.assign([partition])
    consumer.seek(partition, offset)
    deadline = time.monotonic() + _ANSWER_WITHIN_S
    while time.monotonic() < deadline:
        for message in consumer.poll(timeout_ms=500, max_records=1).get(partition, []):
            return int(message.timestamp)
    raise RetriableError(f"Kafka: no answer for {partition.topic}-{partition.partition} at {offset}")


def _before_tick(
    consumer: Any, partition: TopicPartition, bounds: tuple[int, int], closed: int, interval: Interval
) -> int:
    """The last looked-at offset within the bounds whose next tick is of ``closed`` or earlier."""
    begin, bound = bounds
    end = consumer.end_offsets([partition], timeout_ms=ANSWER_WITHIN_MS)[partition]
    tail = _LOOK_BACK
    while True:
        start = max(begin, bound - tail)
        first = next(ticks_between(consumer, partition, start, end, interval), None)
        if start == begin or (first is not None and first <= closed):
            return start
        tail *= 8
