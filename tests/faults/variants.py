"""Consumers with one thing changed, started as services: ``python variants.py KIND SERVICE``.

``stalling``: polling stops once for longer than its allowed interval, which is shortened, while heartbeats go on.
``unguarded``: the store's offset is neither read after an assignment nor compared before it is moved.
"""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaConsumer

from Consumers import postgre_consumer, redis_consumer
from Consumers.loop import ConsumerLoop
from Consumers.warehouse import Warehouse
from Setup import kafka_initialization

INTERVAL_MS = 6_000
STALL_AFTER_POLLS, STALL_S = 40, 9.0
TOOK = "reads on where the client stands"
logger = logging.getLogger(__name__)


def stalling() -> None:
    def make(**configuration: Any) -> KafkaConsumer:
        consumer = KafkaConsumer(
            **configuration | {"max_poll_interval_ms": INTERVAL_MS, "session_timeout_ms": INTERVAL_MS}
        )
        consumer.poll = _Stalling(consumer.poll)
        return consumer

    kafka_initialization.KafkaConsumer = make


class _Stalling:
    """Waits once, before one of the polls that bring something."""

    def __init__(self, poll: Callable[..., dict]) -> None:
        self._poll = poll
        self._polls = 0

    def __call__(self, **named: Any) -> dict:
        polled = self._poll(**named)
        self._polls += bool(polled)
        if self._polls == STALL_AFTER_POLLS:
            self._polls += 1
            time.sleep(STALL_S)
            logger.warning("polls again")
        return polled


def unguarded() -> None:
    def position(loop: ConsumerLoop) -> None:
        """Read on where the client stands: no seek."""
        if loop._unpositioned:
            logger.warning(TOOK)
        for partition in loop._unpositioned:
            loop._buffer.start(partition, None)
        loop._unpositioned.clear()

    def move_offsets(_warehouse: Warehouse, cursor: Any, batch: Any) -> bool:
        for (topic, number), span in batch.spans.items():
            cursor.execute(
                'INSERT INTO consumer_offsets (topic, "partition", next_offset) VALUES (%s, %s, %s)'
                ' ON CONFLICT (topic, "partition") DO UPDATE SET next_offset = excluded.next_offset',
                (topic, number, span.end),
            )
        return True

    ConsumerLoop._position = position
    Warehouse._move_offsets = move_offsets


if __name__ == "__main__":
    kind, name = sys.argv[1:]
    {"stalling": stalling, "unguarded": unguarded}[kind]()
    sys.exit({"postgre_consumer": postgre_consumer, "redis_consumer": redis_consumer}[name].main([]))
