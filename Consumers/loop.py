"""The loop that both consumers run: poll, decode, buffer, store; offsets live in the store.

Polling never waits long for the store (``StoreCalls``): a batch is written while the next one fills, and when that is
full the partitions are paused and polled on, so that a slow, absent or hung store costs no group membership. After
every assignment a partition is paused, and read from the offset that the store has: kafka-python keeps its
in-memory position over a rebalance, which would lose whatever was buffered and dropped.
"""

import logging
import time
from typing import Any

from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaConnectionError, KafkaError

from Consumers.assignment import AssignmentListener
from Consumers.batching import Buffer, Entry, Policy
from Consumers.dead_letter_limit import DeadLetterLimit
from Consumers.dead_letters import DeadLetters
from Consumers.decoding import Decoder, Message, Partition
from Consumers.measuring import note_lag, note_stored
from Consumers.stall import StallDetector
from Consumers.store import Store, StoreCalls
from Sensor_core.errors import FencedError, InvalidRecordError, RetriableError
from Sensor_core.interval import Interval
from Setup.kafka_initialization import ANSWER_WITHIN_MS
from Setup.lifecycle import Heartbeat, Stop
from Setup.metrics import HEALTH

logger = logging.getLogger(__name__)

POLL_MS = 100
DRAIN_S = 4.0
LOOK_EVERY_S = 1.0


class ConsumerLoop:
    """Moves messages from the subscribed topics into a store until told to stop."""

    def __init__(
        self,
        *,
        consumer: Any,
        topics: list[str],
        store: Store,
        decoder: Decoder,
        dead_letters: DeadLetters,
        dead_letter_limit: DeadLetterLimit,
        policy: Policy,
        interval: Interval,
        stop: Stop,
        heartbeat: Heartbeat,
    ) -> None:
        self._consumer = consumer
        self._store = StoreCalls(store, dead_letters, dead_letter_limit, stop)
        self._decoder = decoder
        self._dead_letter_limit = dead_letter_limit
        self._stop = stop
        self._heartbeat = heartbeat
        self._buffer = Buffer(policy, interval)
        self._unpositioned: set[Partition] = set()
        self._stored: dict[Partition, int] = {}
        self._looked_at = 0.0
        self._stall = StallDetector(consumer)
        self._listener = AssignmentListener(consumer)
        consumer.subscribe(topics, listener=self._listener)

    def run(self) -> None:
        """Run until told to stop, then write what was read and leave the group."""
        try:
            while not self._stop.is_set():
                self._turn()
            self._drain()
        finally:
            self._store.leave()
            self._consumer.close(autocommit=False, timeout_ms=ANSWER_WITHIN_MS)

    def _turn(self) -> None:
        polled = self._poll()
        if not self._stop.is_set():  # it may ask the brokers, and wait for their answer
            self._stall.polled(sum(map(len, polled.values())), self._reading)
        self._heartbeat.beat()
        self._follow_assignment()
        self._position()
        for partition, messages in polled.items():
            self._read((partition.topic, partition.partition), messages)
        self._settle()
        note_lag(self._stored, self._consumer)
        HEALTH.ready(is_ready=not self._unpositioned and not self._store.is_retrying)
        self._write_if_due()
        self._breathe()

    def _poll(self) -> dict[TopicPartition, list[Message]]:
        """What came; nothing while Kafka is away, which the client says of some of its requests by an error."""
        try:
            polled: dict[TopicPartition, list[Message]] = self._consumer.poll(timeout_ms=POLL_MS)
        except KafkaConnectionError as error:
            logger.warning("polling again: %s", error, extra={"event": "poll_retried"})
            self._stop.wait(POLL_MS / 1000)
            return {}
        return polled

    def _reading(self) -> list[TopicPartition]:
        paused = self._consumer.paused()
        return [place for partition in self._buffer.partitions if (place := TopicPartition(*partition)) not in paused]

    def _follow_assignment(self) -> None:
        while not self._listener.events.empty():
            assigned, partitions = self._listener.events.get()
            for topic, partition in partitions:
                self._buffer.drop((topic, partition))
                self._stored.pop((topic, partition), None)
                (self._unpositioned.add if assigned else self._unpositioned.discard)((topic, partition))

    def _position(self) -> None:
        """Read on where the store stands, once the store says where that is."""
        if not self._unpositioned or self._store.is_busy:
            return
        try:
            positions = self._store.positions(frozenset(self._unpositioned))
            places = [TopicPartition(*partition) for partition in positions]
            earliest = self._consumer.beginning_offsets(places, timeout_ms=ANSWER_WITHIN_MS)
            ends = self._consumer.end_offsets(places, timeout_ms=ANSWER_WITHIN_MS)
        except (RetriableError, KafkaError) as error:
            logger.warning("not positioned yet: %s", error, extra={"event": "positioning_retried"})
            return
        for partition, position in positions.items():
            place = TopicPartition(*partition)
            first = earliest[place]
            offset = first if position.next_offset is None else max(first, position.next_offset)
            is_there = offset <= ends[place]  # or else the topic is another one, all of it new
            self._stored[partition] = offset if is_there else 0
            self._consumer.seek(place, max(first, offset - self._dead_letter_limit.look_back) if is_there else offset)
            self._buffer.start(partition, position.next_offset)
            self._decoder.set_clock(partition, position.clock)
        self._unpositioned -= positions.keys()

    def _read(self, partition: Partition, messages: list[Message]) -> None:
        if partition not in self._buffer.partitions:
            return
        new_from = self._stored.get(partition, 0)
        if messages and messages[0].offset < new_from:
            stored = [self._entry(message) for message in messages if message.offset < new_from]
            self._dead_letter_limit.look_at(partition[0], len(stored), sum(isinstance(e[2], str) for e in stored))
            messages = messages[len(stored) :]
        if messages:
            self._look_for_gap(partition, messages[0].offset)
        entries = [self._entry(message) for message in messages]
        refused = [(message, record) for _, message, record in entries if isinstance(record, str)]
        self._dead_letter_limit.check(partition[0], len(messages), refused)
        self._buffer.add(partition, entries)

    def _look_for_gap(self, partition: Partition, offset: int) -> None:
        """See if Kafka has deleted what was to be read; offsets are missing where a transaction ends, too."""
        awaited = self._buffer.awaited(partition)
        if awaited is None or offset <= awaited:
            return
        place = TopicPartition(*partition)
        try:
            earliest = self._consumer.beginning_offsets([place], timeout_ms=ANSWER_WITHIN_MS)[place]
        except KafkaError:
            earliest = offset
        if earliest > awaited:
            self._buffer.note_deletion(partition, min(earliest, offset))

    def _entry(self, message: Message) -> Entry:
        try:
            return message.offset, message, self._decoder.decode(message)
        except InvalidRecordError as error:
            return message.offset, message, error.reason

    def _write_if_due(self) -> None:
        is_due = self._buffer.is_due()
        if self._store.is_busy or not (is_due or self._is_time_to_look()):
            return
        try:
            limit = self._store.limit(self._buffer.first_steps())
        except RetriableError as error:
            logger.warning("waiting for the store: %s", error, extra={"event": "store_unreachable"})
            return
        except FencedError as error:
            self._fence(error)
            return
        if is_due and (batch := self._buffer.cut(limit)):
            self._store.begin_to_write(batch)

    def _settle(self, within_s: float = 0.0) -> None:
        """See how the write in progress ended, if it has."""
        try:
            batch = self._store.written(within_s)
        except FencedError as error:
            self._fence(error)
            return
        if batch is None:
            return
        note_stored(batch)
        self._stored |= {p: span.end for p, span in batch.spans.items() if p in self._buffer.partitions}
        offsets = {
            TopicPartition(*partition): OffsetAndMetadata(span.end, "", -1)
            for partition, span in batch.spans.items()
            if partition in self._buffer.partitions
        }
        self._consumer.commit_async(offsets)  # shows the lag to standard tools; nothing reads it back

    def _is_time_to_look(self) -> bool:
        """Whether to ask an idle store if it still stands where this consumer left it."""
        if is_time := time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = time.monotonic()
        return is_time and bool(self._buffer.partitions)

    def _fence(self, error: FencedError) -> None:
        logger.warning("reading again from the store's offsets: %s", error, extra={"event": "fenced"})
        for partition in self._buffer.partitions:
            self._consumer.pause(TopicPartition(*partition))
            self._buffer.drop(partition)
            self._unpositioned.add(partition)

    def _breathe(self) -> None:
        """Pause what is full, read on where there is room; polling goes on all the while."""
        full, paused = self._buffer.full(), self._consumer.paused()
        self._consumer.pause(*(p for p in self._consumer.assignment() - paused if tuple(p) in full))
        self._consumer.resume(*(p for p in paused if tuple(p) in self._buffer.partitions - full))

    def _drain(self) -> None:
        """Give the write in progress, and one last batch, a bounded time; what is left will be read again."""
        until = time.monotonic() + DRAIN_S
        for _ in range(2):
            self._settle(max(0.0, until - time.monotonic()))
            try:
                batch = self._buffer.cut(self._store.limit(self._buffer.first_steps()))
            except (RetriableError, FencedError) as error:
                logger.warning("stopping without a last batch: %s", error, extra={"event": "store_unreachable"})
                return
            if not batch:
                return
            self._store.begin_to_write(batch)
