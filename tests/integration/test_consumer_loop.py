"""The consumers' loop on a real Kafka: what a store in memory gets, whatever the store does meanwhile."""

import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta

import pytest
from kafka import TopicPartition
from prometheus_client import REGISTRY

from Consumers import loop as loop_module
from Consumers import store as store_module
from Consumers.batching import Policy
from Consumers.dead_letter_limit import DeadLetterLimit, TooManyDeadLettersError
from Consumers.dead_letters import DeadLetters, read_dead_letter
from Consumers.decoding import Decoder
from Consumers.loop import ConsumerLoop
from Consumers.testing import MemoryStore
from Energy_consumption_sensor.feed import Feed
from Sensor_core.errors import FencedError, RetriableError
from Sensor_core.reading import READING_SCHEMA, Reading, Tick
from Sensor_core.testing import FIRST_HOUR, make_reading
from Setup.kafka_initialization import make_consumer, wait_for_consumer
from Setup.lifecycle import Heartbeat
from Setup.publisher import Publisher

pytestmark = pytest.mark.integration
DEADLINE_S = 60
HOURS, BUILDINGS = 6, 4
READINGS = [make_reading(building_id=building, hour=hour) for hour in range(HOURS) for building in range(BUILDINGS)]


@pytest.fixture
def publisher(settings):
    publisher = Publisher(settings, "test")
    yield publisher
    publisher.close()


@pytest.fixture
def published(settings, publisher):
    """The readings hour by hour, each reading keyed, each hour with its ticks."""
    feed = Feed(publisher, settings.consumption_topics)
    for hour in range(HOURS):
        for reading in READINGS[hour * BUILDINGS : (hour + 1) * BUILDINGS]:
            feed.publish(reading)
        timestamp = FIRST_HOUR + timedelta(hours=hour)
        feed.tick(timestamp, timestamp + timedelta(hours=1))
    feed.flush()


@pytest.fixture
def store():
    return MemoryStore()


def make_loop(settings, publisher, store, stop, *, dead_letter_publisher=None, max_messages=1000, share=1):
    topics = [settings.topic_postgre]
    return ConsumerLoop(
        consumer=wait_for_consumer(settings, f"loop-{settings.topic_postgre}", topics),
        topics=topics,
        store=store,
        decoder=Decoder(settings, read_dead_letter),
        dead_letters=DeadLetters(dead_letter_publisher or publisher, settings.topic_dead_letters, "test"),
        dead_letter_limit=DeadLetterLimit(share, window=100),
        policy=Policy(updates=1, max_age_s=0.1, max_messages=max_messages, ticked=topics),
        interval=settings.interval,
        stop=stop,
        heartbeat=Heartbeat(),
    )


@contextmanager
def running(loop, stop):
    """The loop in a thread; its errors are the test's."""
    errors = []

    def run():
        try:
            loop.run()
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=DEADLINE_S)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


@pytest.fixture
def run_until(settings, publisher, store):
    def run(done, **policy):
        stop = threading.Event()
        with running(make_loop(settings, publisher, store, stop, **policy), stop):
            wait_until(done)

    return run


def wait_until(done):
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)


def readings_of(store):
    return [record for record in store.records if isinstance(record, Reading)]


def key(reading):
    return reading.timestamp, reading.building_id


def assert_everything_is_stored_once(store, settings):
    assert sorted(readings_of(store), key=key) == READINGS
    for building in range(BUILDINGS):
        own = [reading for reading in readings_of(store) if reading.building_id == building]
        assert own == sorted(own, key=key), "a meter's readings stay in order"
    ticks = [record for record in store.records if isinstance(record, Tick)]
    assert len(ticks) == HOURS * settings.kafka_partitions
    consumer = make_consumer(settings, None)
    partitions = [TopicPartition(settings.topic_postgre, n) for n in range(settings.kafka_partitions)]
    ends = {tuple(partition): end for partition, end in consumer.end_offsets(partitions).items()}
    consumer.close()
    assert {p: position.next_offset for p, position in store.positions(ends).items()} == ends


def everything_is_there(store):
    return lambda: len(readings_of(store)) >= len(READINGS)


@pytest.mark.parametrize("max_messages", [1000, 3])
def test_everything_published_is_stored_once_however_little_fits_into_a_batch(
    settings, published, store, run_until, max_messages
):
    run_until(everything_is_there(store), max_messages=max_messages)
    assert_everything_is_stored_once(store, settings)


def test_a_consumer_reads_on_where_its_store_stands_and_not_where_its_group_does(
    settings, publisher, published, store, run_until
):
    run_until(everything_is_there(store))
    other = MemoryStore()
    stop = threading.Event()
    with running(make_loop(settings, publisher, other, stop), stop):
        wait_until(everything_is_there(other))
    assert_everything_is_stored_once(other, settings)


def test_a_store_that_was_away_gets_everything_once_it_is_back(settings, publisher, published, store):
    store.is_away = True
    stop = threading.Event()
    with running(make_loop(settings, publisher, store, stop), stop):
        time.sleep(1)
        assert store.records == []
        store.is_away = False
        wait_until(everything_is_there(store))
    assert_everything_is_stored_once(store, settings)


def test_the_lag_is_told_while_the_store_is_away(settings, publisher, published, store):
    def lag():
        labels = {"topic": settings.topic_postgre, "partition": "0"}
        return REGISTRY.get_sample_value("energy_lag_messages", labels)

    stop = threading.Event()
    with running(make_loop(settings, publisher, store, stop), stop):
        wait_until(lambda: everything_is_there(store)() and lag() == 0)
        store.is_away = True
        for _ in range(3):
            publisher.send(settings.topic_postgre, b"{}", key=None, schema=READING_SCHEMA, partition=0)
        publisher.flush()
        wait_until(lambda: lag() == 3)
        store.is_away = False
        wait_until(lambda: lag() == 0)


class LostAnswer(MemoryStore):
    """Stores its first batch, and the answer is lost on the way."""

    def write(self, batch, refuse):
        super().write(batch, refuse)
        if self.attempts == 1:
            raise RetriableError("the connection broke after the commit")


class OvertakenStore(MemoryStore):
    """Another consumer has the partitions in between: the first batch is refused."""

    def write(self, batch, refuse):
        if self.attempts == 0:
            self.attempts = 1
            raise FencedError("the store stands at other offsets")
        super().write(batch, refuse)


@pytest.mark.parametrize("kind", [LostAnswer, OvertakenStore])
def test_a_lost_answer_and_a_fenced_write_lose_nothing_and_double_nothing(settings, publisher, published, kind):
    store, stop = kind(), threading.Event()
    with running(make_loop(settings, publisher, store, stop), stop):
        wait_until(lambda: everything_is_there(store)() and store.attempts > 1)
    assert_everything_is_stored_once(store, settings)


def test_steps_above_the_store_s_limit_wait_until_it_moves(settings, publisher, published, store):
    first = settings.interval.step_of(FIRST_HOUR)
    store.highest_step = first + 2
    stop = threading.Event()
    with running(make_loop(settings, publisher, store, stop), stop):
        wait_until(lambda: len(readings_of(store)) >= 3 * BUILDINGS)
        time.sleep(0.5)
        assert {reading.timestamp for reading in readings_of(store)} == {r.timestamp for r in READINGS[: 3 * BUILDINGS]}
        store.highest_step = None
        wait_until(everything_is_there(store))
    assert_everything_is_stored_once(store, settings)


def dead_letters_of(settings):
    consumer = make_consumer(settings, None)
    partition = TopicPartition(settings.topic_dead_letters, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    end = consumer.end_offsets([partition])[partition]
    letters = []
    while len(letters) < end:
        letters += [read_dead_letter(m) for batch in consumer.poll(500).values() for m in batch]
    consumer.close()
    return letters


def test_what_cannot_be_decoded_and_what_the_store_refuses_become_dead_letters(
    settings, publisher, published, store, run_until
):
    store.refusals = {READINGS[0]: "out of range"}
    publisher.send(settings.topic_postgre, b"{", key=b"1:0", schema=READING_SCHEMA)
    publisher.flush()
    run_until(lambda: len(readings_of(store)) == len(READINGS) - 1 and len(dead_letters_of(settings)) == 2)
    by_reason = {letter.reason: letter for letter in dead_letters_of(settings)}
    assert by_reason.keys() == {"out of range", "Input data was truncated"}
    assert by_reason["Input data was truncated"].payload == b"{"
    assert all(letter.topic == settings.topic_postgre for letter in by_reason.values())


class LosesAtFirst:
    """A publisher whose first messages are given up, which ``flush`` says once as the true one does."""

    def __init__(self, publisher, losses):
        self._publisher = publisher
        self._losses = losses

    def send(self, *message, **details):
        if not self._losses:
            self._publisher.send(*message, **details)

    def flush(self):
        if self._losses:
            self._losses -= 1
            raise RetriableError("Kafka: KafkaTimeoutError: 1 message(s) expired")
        self._publisher.flush()


def test_a_dead_letter_whose_publishing_fails_is_published_again_before_its_message_is_moved_past(
    settings, publisher, published, store
):
    publisher.send(settings.topic_postgre, b"{", key=b"1:0", schema=READING_SCHEMA)
    publisher.flush()
    stop = threading.Event()
    loop = make_loop(settings, publisher, store, stop, dead_letter_publisher=LosesAtFirst(publisher, losses=2))
    with running(loop, stop):
        wait_until(everything_is_there(store))
    assert_everything_is_stored_once(store, settings)
    assert [letter.payload for letter in dead_letters_of(settings)] == [b"{"]


def test_a_consumer_that_starts_again_diverts_no_more_than_one_that_runs_on(settings, publisher, published, store):
    def send_invalid():
        publisher.send(settings.topic_postgre, b"{", key=b"1:0", schema=READING_SCHEMA)
        publisher.flush()

    send_invalid()
    stop = threading.Event()
    with running(make_loop(settings, publisher, store, stop, share=0.01), stop):
        wait_until(lambda: len(dead_letters_of(settings)) == 1)
    send_invalid()
    stop = threading.Event()
    too_late = threading.Timer(DEADLINE_S, stop.set)
    too_late.start()
    with pytest.raises(TooManyDeadLettersError, match="2 of the last 100 messages"):
        make_loop(settings, publisher, store, stop, share=0.01).run()
    too_late.cancel()
    assert len(dead_letters_of(settings)) == 1
    assert sorted(readings_of(store), key=key) == READINGS


class AwayOnceStopped(MemoryStore):
    """A server that is down when the consumer is to stop, with messages unwritten."""

    def __init__(self, stop, *, while_writing):
        super().__init__()
        self._stop = stop
        self._while_writing = while_writing

    def limit(self, waiting):
        if waiting and not self._while_writing:
            self.is_away = True
            self._stop.set()
        return super().limit(waiting)

    def write(self, batch, refuse):
        self.is_away = True
        self._stop.set()
        super().write(batch, refuse)


@pytest.mark.parametrize("while_writing", [False, True])
def test_a_consumer_stops_cleanly_while_its_store_is_away(settings, publisher, published, monkeypatch, while_writing):
    monkeypatch.setattr(loop_module, "DRAIN_S", 0.5)
    stop = threading.Event()
    store = AwayOnceStopped(stop, while_writing=while_writing)
    with running(make_loop(settings, publisher, store, stop), stop):
        wait_until(stop.is_set)
    store.is_away = False
    assert store.records == []


@pytest.mark.parametrize("call", ["positions", "limit", "write"])
def test_a_consumer_polls_on_and_stops_in_time_while_its_store_hangs(settings, publisher, published, monkeypatch, call):
    for module, name in (
        (store_module, "ANSWER_WITHIN_S"),
        (store_module, "LEAVE_AFTER_S"),
        (loop_module, "DRAIN_S"),
    ):
        monkeypatch.setattr(module, name, 0.2)
    store, hanging, released, stop = MemoryStore(), threading.Event(), threading.Event(), threading.Event()

    def hang(*_):
        hanging.set()
        released.wait()
        raise RetriableError("the connection broke")

    monkeypatch.setattr(store, call, hang)
    loop = make_loop(settings, publisher, store, stop)
    with running(loop, stop):
        wait_until(hanging.is_set)
        polled = Counter()
        loop._heartbeat.beat = lambda: polled.update(turns=1)
        wait_until(lambda: polled["turns"] > 5)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    released.set()
    assert store.records == []


def test_a_fence_that_shows_at_the_stop_is_no_error(settings, publisher, published):
    stop = threading.Event()

    class OvertakenAtTheStop(OvertakenStore):
        def write(self, batch, refuse):
            stop.set()
            time.sleep(0.3)
            super().write(batch, refuse)

    with running(make_loop(settings, publisher, OvertakenAtTheStop(), stop), stop):
        wait_until(stop.is_set)
