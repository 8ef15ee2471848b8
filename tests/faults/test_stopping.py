"""SIGTERM stops a service within seconds and leaves nothing to do again; a backlog fits into memory."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest
from kafka import TopicPartition

from Energy_consumption_sensor.feed import newest_tick
from Sensor_core.errors import RetriableError, StoppedError
from Sensor_core.reading import READING_SCHEMA
from Setup.kafka_initialization import make_consumer
from Setup.publisher import Publisher
from Setup.topic_position import ticks_between
from tests.faults.checker import check
from tests.faults.conftest import MARKS
from tests.faults.publishing import PublishingThread
from tests.faults.running import started
from tests.faults.stack import STEADY, Stack, service_of, wait_until
from tests.faults.stream import METERS, Reading, Stream, kwh_of

pytestmark = MARKS
READ_WITHIN_S = 10
STOPPED_WITHIN_S = 10.0
WAITING_MESSAGES, NONSENSE_EVERY = 200_000, 200
MOST_GROWTH_BYTES = 120 * 1024 * 1024
CONTAINER_BYTES = 300 * 1024 * 1024
"""What docker-compose.yml gives to postgre_consumer."""
NEVER = {"batch_max_age_s": 3600.0, "batch_updates": 10_000, "batch_max_messages": 1_000_000}


def stopped_after_s(stack: Stack, name: str) -> float:
    """SIGTERM to a service; it has to end with 0."""
    child = stack.child(name)
    stack.process(name)
    begun = time.monotonic()
    child.terminate()
    assert child._process.wait(timeout=60) == 0, child.last_lines()
    return time.monotonic() - begun


def test_a_stopping_consumer_stores_what_it_has_read(make_stack, seed):
    stream = Stream(seed, 10)
    services = [service_of("postgre_consumer")]
    stack = make_stack(services, **NEVER)
    started(stack, stream)
    PublishingThread(stream, stack.settings, 0.0).finish()
    time.sleep(READ_WITHIN_S)  # nothing tells from outside what was read and not stored
    assert stack.ask("SELECT count(*) FROM consumer_offsets") == [(0,)]
    took_s = stopped_after_s(stack, "postgre_consumer")
    ends = {p: end for p, end in stack.end_offsets().items() if p[0] == stack.settings.topic_postgre}
    stored = stack.stored_offsets()
    print(f"stopped and drained after {took_s:.1f} s")
    assert {p: stored[p] for p in ends} == ends
    assert took_s < STOPPED_WITHIN_S


@pytest.mark.parametrize("away", [None, "postgres", "redis", "kafka"])
def test_every_service_stops_in_time_whatever_is_away(away, make_stack, seed):
    stream = Stream(seed, 100)
    stack = make_stack()
    started(stack, stream)
    publishing = PublishingThread(stream, stack.settings, 0.1)
    try:
        wait_until(lambda: stack.has_forecast(stream.start_of(0)), stack, "the first forecasts")
        with gone(stack, away):
            time.sleep(1)
            took_s = {name: round(stopped_after_s(stack, name), 1) for name in STEADY}
    finally:
        publishing.give_up()
    print(f"{away or 'nothing'} away: stopped after {took_s}")
    assert max(took_s.values()) < STOPPED_WITHIN_S


@pytest.mark.parametrize("hanging", [("postgres", "redis"), ("kafka",)], ids=" and ".join)
def test_services_stop_in_time_while_engines_hang_and_then_nothing_is_lost(hanging, make_stack, seed):
    stream = Stream(seed, 40)
    stack = make_stack()
    before = started(stack, stream)
    publishing = PublishingThread(stream, stack.settings, 0.2)
    try:
        wait_until(lambda: stack.has_forecast(stream.start_of(0)), stack, "the first forecasts")
        with frozen(stack, *hanging):
            time.sleep(3)
            processes, begun = [stack.child(name)._process for name in STEADY], time.monotonic()
            for process in processes:
                process.terminate()
            codes = [process.wait(timeout=60) for process in processes]
            took_s = time.monotonic() - begun
        publishing.finish()
    finally:
        publishing.give_up()
    print(f"{' and '.join(hanging)} frozen: stopped after {took_s:.1f} s")
    assert codes == [0] * len(STEADY)
    assert took_s < STOPPED_WITHIN_S
    wait_until(stack.is_quiet, stack, "quiet")
    findings, _, _ = check(stack, before)
    assert findings.is_clean(), f"seed {seed}\n{findings}"


def test_who_publishes_or_looks_for_the_newest_tick_stops_in_time_while_kafka_hangs(make_stack):
    stack = make_stack([])
    stack.prepare()
    stop = threading.Event()
    publisher = Publisher(stack.settings, "faults", stop)
    with frozen(stack, "kafka"):
        begun = time.monotonic()
        with pytest.raises(RetriableError):  # what the brokers know of this topic was not asked for yet
            publisher.send(stack.settings.topic_anomalies, b"{}", key=None, schema=READING_SCHEMA)
        sent_s = time.monotonic() - begun
        threading.Timer(1, stop.set).start()
        with pytest.raises(StoppedError):
            newest_tick(stack.settings, stop)
        looked_s = time.monotonic() - begun - sent_s
        publisher.close()
        closed_s = time.monotonic() - begun - sent_s - looked_s
    print(f"kafka frozen: sent {sent_s:.1f} s, looked {looked_s:.1f} s, closed {closed_s:.1f} s")
    assert max(sent_s, looked_s, closed_s) < STOPPED_WITHIN_S


def test_a_reader_of_ticks_does_not_wait_for_a_kafka_that_hangs_meanwhile(make_stack):
    stack = make_stack([])
    stack.prepare()
    consumer = make_consumer(stack.settings, None)
    place = TopicPartition(stack.settings.topic_postgre, 0)
    with frozen(stack, "kafka"):
        begun = time.monotonic()
        with pytest.raises(RetriableError, match="no answer"):
            list(ticks_between(consumer, place, 0, 1, stack.settings.interval))
        took_s = time.monotonic() - begun
    consumer.close()
    assert took_s < STOPPED_WITHIN_S


@contextmanager
def frozen(stack: Stack, *engines: str) -> Iterator[None]:
    """Engines that take connections and bytes, and answer nothing."""
    roots = [psutil.Process(stack.engines.pid(engine)) for engine in engines]
    processes = [process for root in roots for process in (root, *root.children(recursive=True))]

    def each(signal: Callable[[psutil.Process], None]) -> None:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                signal(process)

    each(psutil.Process.suspend)
    try:
        yield
    finally:
        each(psutil.Process.resume)


@contextmanager
def gone(stack: Stack, engine: str | None) -> Iterator[None]:
    if engine is None:
        yield
        return
    stack.engines.kill(engine)
    try:
        yield
    finally:
        stack.engines.restart(engine)


def test_a_backlog_fits_into_the_memory_of_the_container(make_stack, seed):
    stack = make_stack([service_of("postgre_consumer")])
    started(stack, Stream(seed, 1))
    PublishingThread(Stream(seed, 1), stack.settings, 0.0).finish()
    wait_until(lambda: bool(stack.ask("SELECT FROM consumer_offsets")), stack, "the first batch")
    process = stack.process("postgre_consumer")
    rss = [process.memory_info().rss]

    def is_caught_up() -> bool:
        rss.append(process.memory_info().rss)
        return stack.has_stored({p: end for p, end in stack.end_offsets().items() if p[0] in topics})

    topics = (stack.settings.topic_postgre, stack.settings.topic_dead_letters)
    with gone(stack, "postgres"):
        publish_many(stack, WAITING_MESSAGES)
        for _ in range(10):
            time.sleep(0.5)
            rss.append(process.memory_info().rss)
    waiting = max(rss)
    wait_until(is_caught_up, stack, "catching up")
    assert process.is_running()
    print(
        f"RSS [MB]: {rss[0] >> 20} at rest, {waiting >> 20} with {WAITING_MESSAGES} waiting, {max(rss) >> 20} at most"
    )
    assert waiting - rss[0] < MOST_GROWTH_BYTES
    assert max(rss) < CONTAINER_BYTES


def publish_many(stack: Stack, count: int) -> None:
    """Readings, and now and then a large thing that is none."""
    stream, nonsense = Stream(0, 0), b"\xff" * 125_000
    publisher = Publisher(stack.settings, "faults")
    for number in range(count):
        hour, place = divmod(number, len(METERS))
        building, meter = METERS[place]
        start = stream.start_of(hour % 24)
        known_at = stream.start_of(hour + 1)
        message = Reading(building, meter, start, kwh_of(building, meter, hour), known_at).message()
        value = message.value if number % NONSENSE_EVERY else nonsense
        publisher.send(stack.settings.topic_postgre, value, key=message.key, schema=READING_SCHEMA)
    publisher.flush()
    publisher.close()
