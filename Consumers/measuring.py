"""What a stored batch changes in the metrics."""

from collections import Counter
from typing import Any

from kafka import TopicPartition

from Consumers.batching import Batch
from Setup.metrics import BATCHES, LAG, RECORDS, WATERMARK


def note_stored(batch: Batch, consumer: Any) -> None:
    """Count a batch, and how far its partitions are behind what the brokers have."""
    BATCHES.inc()
    for kind, count in Counter(type(record).__name__ for _, record in batch.records).items():
        RECORDS.labels(kind).inc(count)
    for (topic, number), span in batch.spans.items():
        highwater = consumer.highwater(TopicPartition(topic, number))
        if highwater is not None:
            LAG.labels(topic, str(number)).set(max(0, highwater - span.end))
    if batch.clocks:
        WATERMARK.set(max(batch.clocks.values()).timestamp())
