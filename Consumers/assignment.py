"""Hears of partitions that come and go."""

from collections.abc import Iterable
from queue import SimpleQueue
from typing import Any

from kafka import ConsumerRebalanceListener, TopicPartition


class AssignmentListener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Runs on the client's IO thread: pauses, notes what happened, and does nothing that could block."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.events: SimpleQueue[tuple[bool, list[TopicPartition]]] = SimpleQueue()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Pause what comes until it is positioned."""
        partitions = list(assigned)
        self._consumer.pause(*partitions)
        self.events.put((True, partitions))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Note what goes."""
        self.events.put((False, list(revoked)))

    on_partitions_lost = on_partitions_revoked
