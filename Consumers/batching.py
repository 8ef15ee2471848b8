"""What was read and not stored yet, by partition, and when it is due to be written."""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from Consumers.decoding import Message, Partition, Record, size_of
from Sensor_core.interval import Interval
from Sensor_core.reading import Reading, Tick

_SETTLED_S: Final = 0.25
"""What holds no part of an update (the forecasts of an hour) is written once nothing more has come for so long."""


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a partition that a batch covers: from the store's offset up to, not including, ``end``."""

    start: int | None
    """None: the store has no offset of this partition yet."""
    end: int
    first_read: int
    """Offset of the first message; above ``start`` where Kafka has deleted what lay between."""
    arrived_ms: int = 0
    """When the last message of it arrived in Kafka. [ms since 1970]"""

    @property
    def has_gap(self) -> bool:
        """Whether messages were deleted before they were read."""
        return self.start is not None and self.first_read > self.start


@dataclass(slots=True)
class Batch:
    """Records to be stored in one transaction, with the offsets that go with them."""

    spans: dict[Partition, Span] = field(default_factory=dict)
    records: list[tuple[Message, Record]] = field(default_factory=list)
    refused: list[tuple[Message, str]] = field(default_factory=list)
    """Messages that can never be stored, each with the reason: dead letters before the records are stored."""
    clocks: dict[Partition, datetime] = field(default_factory=dict)
    """Hour of the newest tick of each partition that had one."""

    def __bool__(self) -> bool:
        return bool(self.spans)


@dataclass(frozen=True)
class Policy:
    """When to write.

    Attributes:
        updates: Ticks of every assigned partition of ``ticked`` topics that make a batch due.
        max_age_s: Age of the oldest unwritten message that makes it due. [s]
        max_messages: Messages that make it full: then only partitions read on that have less than their share of it.
        ticked: Topics whose partitions get a tick an update; the others get none.
        max_bytes: Bytes of messages that do so: unknown fields and what is refused may be large.
    """

    updates: int
    max_age_s: float
    max_messages: int
    ticked: Collection[str]
    max_bytes: int = 8 * 1024 * 1024


Entry = tuple[int, Message, Record | str]
"""Offset, message, and its record, or the reason why it can never be stored."""


class Buffer:
    """Unwritten messages of the assigned partitions."""

    def __init__(self, policy: Policy, interval: Interval, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._interval = interval
        self._clock = clock
        self._entries: dict[Partition, list[Entry]] = {}
        self._bytes: dict[Partition, int] = {}
        self._next: dict[Partition, int | None] = {}
        self._deleted: dict[Partition, int] = {}
        self._ticks = 0
        self._readings = 0
        self._size = 0
        self._oldest: float | None = None
        self._newest = 0.0

    @property
    def partitions(self) -> frozenset[Partition]:
        """Partitions that are positioned here."""
        return frozenset(self._next)

    def start(self, partition: Partition, offset: int | None) -> None:
        """Take on a partition whose store wants ``offset`` next, or has none of it yet."""
        self.drop(partition)
        self._entries[partition], self._bytes[partition], self._next[partition] = [], 0, offset

    def drop(self, partition: Partition) -> None:
        """Forget a partition: its messages will be read again by whoever owns it."""
        dropped = self._entries.pop(partition, [])
        self._bytes.pop(partition, None)
        self._next.pop(partition, None)
        self._deleted.pop(partition, None)
        self._count(dropped, -1)

    def awaited(self, partition: Partition) -> int | None:
        """The offset behind the last message of a partition, waiting or stored; None if there is none yet."""
        entries = self._entries[partition]
        return entries[-1][0] + 1 if entries else self._next[partition]

    def note_deletion(self, partition: Partition, end: int) -> None:
        """Take note that Kafka has deleted what lay before ``end`` and was not read."""
        self._deleted[partition] = end

    def add(self, partition: Partition, entries: list[Entry]) -> None:
        """Append messages of one partition, in order."""
        if entries:
            self._newest = self._clock()
            self._oldest = self._newest if self._oldest is None else self._oldest
        self._entries[partition].extend(entries)
        self._bytes[partition] += _bytes_of(entries)
        self._count(entries, +1)

    def is_full(self) -> bool:
        """Whether as much waits as a batch may have."""
        return self._size >= self._policy.max_messages or sum(self._bytes.values()) >= self._policy.max_bytes

    def full(self) -> frozenset[Partition]:
        """Partitions that should not be read on: once all is full, those that have their share.

        The others read on, for it may be their first steps that the store waits for.
        """
        if not self.is_full():
            return frozenset()
        count = len(self._entries)
        return frozenset(
            partition
            for partition, entries in self._entries.items()
            if len(entries) * count >= self._policy.max_messages
            or self._bytes[partition] * count >= self._policy.max_bytes
        )

    def is_due(self) -> bool:
        """Whether a batch should be written now."""
        if self._oldest is None:
            return False
        now = self._clock()
        ticked = sum(topic in self._policy.ticked for topic, _ in self._entries)
        enough_ticks = self._ticks >= self._policy.updates * max(1, ticked)
        is_settled = not (self._ticks or self._readings) and now - self._newest >= _SETTLED_S
        return enough_ticks or is_settled or self.is_full() or now - self._oldest >= self._policy.max_age_s

    def first_steps(self) -> dict[Partition, int]:
        """The step that waits first in each partition where one waits."""
        firsts = {partition: self._first_step(entries) for partition, entries in self._entries.items()}
        return {partition: step for partition, step in firsts.items() if step is not None}

    def cut(self, limit: int | None) -> Batch:
        """Take a batch out: of each partition what comes before the first step above ``limit``, and before a gap."""
        batch = Batch()
        for partition, entries in self._entries.items():
            taken = entries if limit is None else list(self._within(entries, limit))
            if taken and taken[0][0] < (end := self._deleted.get(partition, 0)):
                taken = [entry for entry in taken if entry[0] < end]
            if taken:
                self._take(batch, partition, taken)
        self._oldest = self._clock() if self._size else None
        return batch

    def _take(self, batch: Batch, partition: Partition, taken: list[Entry]) -> None:
        start, first, end = self._next[partition], taken[0][0], taken[-1][0] + 1
        if start is not None and not start < self._deleted.get(partition, 0) <= first:
            first = start  # the offsets between the two were never messages
        batch.spans[partition] = Span(start, end, first, taken[-1][1].timestamp)
        batch.records += [(message, record) for _, message, record in taken if not isinstance(record, str)]
        batch.refused += [(message, reason) for _, message, reason in taken if isinstance(reason, str)]
        ticks = [record.timestamp for _, _, record in taken if type(record) is Tick]
        if ticks:
            batch.clocks[partition] = max(ticks)
        self._next[partition] = end
        self._entries[partition] = self._entries[partition][len(taken) :]
        self._bytes[partition] -= _bytes_of(taken)
        self._count(taken, -1)

    def _within(self, entries: Iterable[Entry], limit: int) -> Iterable[Entry]:
        for entry in entries:
            record = entry[2]
            if isinstance(record, Reading | Tick) and self._interval.step_of(record.timestamp) > limit:
                return
            yield entry

    def _first_step(self, entries: list[Entry]) -> int | None:
        for _, _, record in entries:
            if isinstance(record, Reading | Tick):
                return self._interval.step_of(record.timestamp)
        return None

    def _count(self, entries: list[Entry], sign: int) -> None:
        kinds = [type(record) for _, _, record in entries]
        self._size += sign * len(kinds)
        self._ticks += sign * kinds.count(Tick)
        self._readings += sign * kinds.count(Reading)


def _bytes_of(entries: list[Entry]) -> int:
    return sum(size_of(message) for _, message, _ in entries)
