"""The feature cache: history rings, clocks and closed hours in Redis, moved on by one script a batch."""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from Consumers.batching import Batch
from Consumers.decoding import Partition
from Consumers.store import Position, Refuse
from Sensor_core.errors import FencedError, RetriableError
from Sensor_core.reading import Reading, Tick
from Setup.cache_filling import FILLED, fill_cache, is_filled
from Setup.lifecycle import Stop
from Setup.redis_client import CLOSED_KEY, METERS_KEY, RING_PREFIX, STATE_KEY, WAITING_KEY, Client, curable_errors
from Setup.settings import Settings

logger = logging.getLogger(__name__)

SCRIPT: Final = (Path(__file__).parent / "lua" / "apply_batch.lua").read_text(encoding="utf-8")
PACKED: Final = np.dtype([("building", "<u4"), ("meter", "<u4"), ("step", "<f8"), ("known_at", "<f8"), ("kwh", "<f8")])
SHARD: Final = 0
"""All meters are one shard today."""


class History:
    """The consumers' store in Redis."""

    def __init__(self, settings: Settings, client: Client, partitions: int, stop: Stop | None = None) -> None:
        self._settings = settings
        self._stop = stop
        self._interval = settings.interval
        self._client = client
        self._partitions = partitions
        self._lag_steps = settings.ring_steps - settings.history_steps
        self._filling: str | None = None
        self._apply = client.register_script(SCRIPT)

    def positions(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        """Offsets and clocks as Redis has them; an empty Redis is filled from Postgres first.

        Raises:
            RetriableError: Redis, or Postgres where it is needed, does not answer.
        """
        with curable_errors():
            if not is_filled(self._client):
                fill_cache(self._settings, self._client, stop=self._stop)
            state = self._state()
        self._filling = state.get(FILLED)
        return {partition: self._position(state, partition) for partition in partitions}

    def _state(self) -> dict[str, str]:
        return {key.decode(): value.decode() for key, value in self._client.hgetall(STATE_KEY).items()}

    def _position(self, state: dict[str, str], partition: Partition) -> Position:
        offset = state.get(f"offset:{partition[1]}")
        clock = state.get(f"clock:{partition[1]}", state.get("closed"))  # after a filling no tick has come yet
        return Position(
            None if offset is None else int(offset),
            None if clock is None else self._interval.start_of(int(clock)),
        )

    def limit(self, waiting: Mapping[Partition, int]) -> int:
        """No further ahead of the predictor, and of the partition that is most behind, than the rings hold.

        Raises:
            RetriableError: Redis does not answer.
            FencedError: Redis was emptied.
        """
        with curable_errors():
            state = self._state()  # before what is pending: an hour that closes in between is in neither, or in that
            pending = self._client.xrange(CLOSED_KEY, count=1)
        if FILLED not in state or self._filling not in {None, state[FILLED]}:
            raise FencedError("Redis was emptied")
        if pending:
            return int(pending[0][0].split(b"-")[0]) + self._lag_steps
        closed = int(state.get("closed", 0))
        if all(step <= closed + self._lag_steps for step in waiting.values()):
            return closed + self._lag_steps
        return max(closed, self._next_step(state, waiting) - 1) + self._lag_steps

    def _next_step(self, state: dict[str, str], waiting: Mapping[Partition, int]) -> int:
        """The earliest step that may still come: a stream that goes on years later may go on in every partition.

        The predictor has caught up. What waits first in a partition is known to its own consumer only, unless that
        says so; and after a tick come later steps.
        """
        own = {f"next:{number}": str(step) for (_, number), step in waiting.items()}
        with curable_errors():
            self._client.hset(STATE_KEY, mapping=own)
        state |= own
        return min(
            max(int(state.get(f"next:{number}", 0)), int(state.get(f"clock:{number}", -1)) + 1)
            for number in range(self._partitions)
        )

    def write(self, batch: Batch, refuse: Refuse) -> None:  # noqa: ARG002 - nothing decoded is refused here
        """Apply a batch; see ``Consumers.store.Store``."""
        self._fill_gaps(batch)
        ticks = {
            (self._interval.step_of(record.timestamp), record.known_at.timestamp())
            for _, record in batch.records
            if type(record) is Tick
        }
        with curable_errors():
            outcome = self._apply(
                keys=[STATE_KEY, CLOSED_KEY, WAITING_KEY, METERS_KEY],
                args=[
                    self._pack([record for _, record in batch.records if type(record) is Reading]),
                    json.dumps([self._partition_entry(batch, partition) for partition in batch.spans]),
                    json.dumps(sorted(ticks)),
                    self._settings.ring_steps,
                    SHARD,
                    self._partitions,
                    RING_PREFIX,
                ],
            )
        if outcome == b"fenced":
            raise FencedError("Redis stands at other offsets")

    def _fill_gaps(self, batch: Batch) -> None:
        """Take from Postgres what Kafka has deleted before it was read; hours whose ticks are gone get no forecasts.

        Raises:
            RetriableError: A server does not answer, or closed hours wait for the predictor: they may not close again.
            FencedError: The cache was filled, and stands elsewhere.
        """
        gaps = {partition: span for partition, span in batch.spans.items() if span.has_gap}
        if not gaps:
            return
        with curable_errors():
            if self._client.xrange(CLOSED_KEY, count=1):
                raise RetriableError("messages were deleted before they were read; the predictor is to catch up first")
        fill_cache(self._settings, self._client, stop=self._stop)
        for (topic, number), span in gaps.items():
            logger.error(
                "%s-%d: offsets %s to %d are gone; Redis was filled from Postgres", topic, number, span.start,
                span.first_read, extra={"event": "data_gap"},
            )  # fmt: skip
        raise FencedError("Redis was filled from Postgres")

    def _pack(self, readings: list[Reading]) -> bytes:
        packed = np.empty(len(readings), dtype=PACKED)
        for place, r in enumerate(readings):
            step = self._interval.step_of(r.timestamp)
            packed[place] = (r.building_id, r.meter, step, r.known_at.timestamp(), r.meter_reading)
        return packed.tobytes()

    def _partition_entry(self, batch: Batch, partition: Partition) -> dict[str, object]:
        span = batch.spans[partition]
        clock = batch.clocks.get(partition)
        return {
            "number": partition[1],
            "start": "none" if span.start is None else str(span.start),
            "end": str(span.end),
            "clock": None if clock is None else self._interval.step_of(clock),
        }
