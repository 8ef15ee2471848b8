"""For tests: messages as Kafka gives them, and a store in memory that keeps the contract of the real ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from Consumers.batching import Batch, Span
from Consumers.decoding import Message, Partition, Record
from Consumers.store import Position, Refuse
from Sensor_core.errors import FencedError, RetriableError
from Sensor_core.reading import READING_SCHEMA, TICK_SCHEMA, Reading, Tick
from Setup.kafka_initialization import SCHEMA_HEADER


@dataclass
class StubMessage:
    """What a consumer reads of a Kafka message."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int = 0


def make_message(record: Reading | Tick, offset: int = 0, *, topic: str = "t", partition: int = 0) -> StubMessage:
    """The message that a publisher makes of a record."""
    schema = TICK_SCHEMA if isinstance(record, Tick) else READING_SCHEMA
    return StubMessage(topic, partition, offset, msgspec.json.encode(record), headers=[(SCHEMA_HEADER, schema)])


def make_batch(records: Sequence[Reading | Tick], *, partition: Partition, start: int | None) -> Batch:
    """A batch of one partition, from where its store stands."""
    first = start or 0
    topic, number = partition
    messages: list[Message] = [
        make_message(record, first + place, topic=topic, partition=number) for place, record in enumerate(records)
    ]
    batch = Batch(records=list(zip(messages, records, strict=True)))
    batch.spans[partition] = Span(start, first + len(records), first)
    ticks = [record.timestamp for record in records if isinstance(record, Tick)]
    if ticks:
        batch.clocks[partition] = max(ticks)
    return batch


@dataclass
class MemoryStore:
    """A store in memory.

    Attributes:
        records: What was stored, in order.
        refusals: Reasons by record for what the store refuses for good.
        is_away: Whether it answers as a server that is down.
        highest_step: What ``limit`` says.
        attempts: How often a write was tried.
    """

    records: list[Record] = field(default_factory=list)
    refusals: dict[Record, str] = field(default_factory=dict)
    is_away: bool = False
    highest_step: int | None = None
    attempts: int = 0
    _positions: dict[Partition, Position] = field(default_factory=dict)

    def positions(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        """Where to read on."""
        self._answer()
        return {partition: self._positions.get(partition, Position(None, None)) for partition in partitions}

    def limit(self, waiting: Mapping[Partition, int]) -> int | None:  # noqa: ARG002 - other stores need it
        """The last step that may be written now."""
        self._answer()
        return self.highest_step

    def write(self, batch: Batch, refuse: Refuse) -> None:
        """Store a batch and its offsets, all or nothing."""
        self.attempts += 1
        self._answer()
        stored = self.positions(batch.spans)
        if any(stored[partition].next_offset != span.start for partition, span in batch.spans.items()):
            if all(stored[partition].next_offset == span.end for partition, span in batch.spans.items()):
                return
            raise FencedError("the store stands at other offsets")
        refused = [(message, self.refusals[r]) for message, r in batch.records if r in self.refusals]
        if refused:
            refuse(refused)
        self.records += [record for _, record in batch.records if record not in self.refusals]
        for partition, span in batch.spans.items():
            self.move(partition, span.end, batch)

    def move(self, partition: Partition, offset: int, batch: Batch | None = None) -> None:
        """Move on, as this consumer does with a batch, or as another one would."""
        clock = (batch.clocks.get(partition) if batch else None) or self._clock(partition)
        self._positions[partition] = Position(offset, clock)

    def _clock(self, partition: Partition) -> datetime | None:
        return self._positions[partition].clock if partition in self._positions else None

    def _answer(self) -> None:
        if self.is_away:
            raise RetriableError("the store is away")
