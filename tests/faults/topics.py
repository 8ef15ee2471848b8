"""Reads whole topics, with nothing of the product's."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition


class Record(NamedTuple):
    """A message as it lies in a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


def read_topics(bootstrap_servers: str, partitions: Sequence[tuple[str, int]]) -> list[Record]:
    """Everything in these partitions, each in the order of its offsets."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap_servers, enable_auto_commit=False, check_crcs=True, max_poll_records=5000
    )
    try:
        places = [TopicPartition(*partition) for partition in partitions]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        return sorted(_until_the_end(consumer, places), key=lambda r: (r.topic, r.partition, r.offset))
    finally:
        consumer.close()


def _until_the_end(consumer: Any, places: list[TopicPartition]) -> Iterator[Record]:
    ends = consumer.end_offsets(places)
    while any(consumer.position(place) < ends[place] for place in places):
        for batch in consumer.poll(timeout_ms=500).values():
            for m in batch:
                yield Record(m.topic, m.partition, m.offset, m.key, m.value, dict(m.headers))
