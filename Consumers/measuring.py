"""What the loop and a stored batch change in the metrics."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kafka import TopicPartition
from kafka.errors import IllegalStateError

from Consumers.batching import Batch
from Consumers.decoding import Partition
from Setup.metrics import BATCHES, LAG, RECORDS, WATERMARK


def note_lag(stored: Mapping[Partition, int], consumer: Any) -> None:
    """How far the store, with its next offset of each partition, is behind what the brokers had at the last fetch."""
    for (topic, number), offset in stored.items():
        with suppress(IllegalStateError):  # a partition that was just taken away
            highwater = consumer.highwater(TopicPartition(topic, number))
            if highwater is not None:
                LAG.labels(topic, str(number)).set(max(0, highwater - offset))


def note_stored(batch: Batch) -> None:
    """Count a batch."""
    BATCHES.inc()
    for kind, count in Counter(type(record).__name__ for _, record in batch.records).items():
        RECORDS.labels(kind).inc(count)
    if batch.clocks:
        WATERMARK.set(max(batch.clocks.values()).timestamp())
