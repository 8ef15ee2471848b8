"""Notices a Kafka client that has stopped without an error.

Clients have been seen to poll for ever outside their group, and to stop reading single partitions, without a word.
Offsets live in the store, so that the cure is simple: the process ends with an error, and whoever runs it starts it
again.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from Sensor_core.errors import RetriableError

logger = logging.getLogger(__name__)

STALL_S = 45.0
"""Longer than a session: a member that has not spoken for so long is none any more."""

_LOOK_EVERY_S = 5.0
_ANSWER_WITHIN_MS = 3000


class StalledError(RetriableError):
    """The client delivers nothing though there is something, or it has left its group and does not know."""


class StallDetector:
    """Told of every poll; raises once a fault has lasted for ``patience_s`` while the brokers answered.

    Args:
        consumer: The Kafka consumer; asked from the thread that polls it, and only after a silent while.
        patience_s: How long a fault may last. [s]
        clock: Seconds that only grow.
    """

    def __init__(
        self, consumer: Any, *, patience_s: float = STALL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._consumer = consumer
        self._patience_s = patience_s
        self._clock = clock
        self._looked_at = self._sound_at = clock()

    def polled(self, messages: int, reading: Callable[[], Iterable[TopicPartition]]) -> None:
        """Take note of a poll.

        Args:
            messages: How many it returned.
            reading: Names the partitions that should be read: assigned, positioned and not paused.

        Raises:
            StalledError: A fault has lasted too long.
        """
        now = self._clock()
        if messages:
            self._sound_at = now
        if now - max(self._looked_at, self._sound_at) < _LOOK_EVERY_S:
            return
        fault = self._fault(list(reading()))
        self._looked_at = self._clock()
        if fault is None:
            self._sound_at = self._looked_at
        elif self._looked_at - self._sound_at >= self._patience_s:
            raise StalledError(f"the Kafka client has stalled: {fault}; starting again cures it")
        else:
            logger.warning("the Kafka client may have stalled: %s", fault, extra={"event": "stall_suspected"})

    def _fault(self, reading: list[TopicPartition]) -> str | None:
        try:
            ends = self._consumer.end_offsets(reading, timeout_ms=_ANSWER_WITHIN_MS)
            behind = [p for p in reading if self._consumer.position(p, timeout_ms=_ANSWER_WITHIN_MS) != ends[p]]
        except KafkaError:
            return None  # the brokers are away: that is no fault of the client
        silent_s = self._consumer.metrics()["consumer-coordinator-metrics"]["last-heartbeat-seconds-ago"]
        if silent_s >= self._patience_s:
            return f"its group has not heard of it for {silent_s:.0f} s"
        if behind:
            topic, partition = min(behind)
            return f"it reads nothing of {topic}-{partition}, which has more"
        return None
