"""A Kafka client that has stopped without an error is noticed; one that is idle is left alone."""

import time
from collections import Counter

import pytest
from kafka import TopicPartition

from Consumers.stall import StallDetector, StalledError
from Setup.kafka_initialization import make_consumer, wait_for_consumer
from Setup.publisher import Publisher

pytestmark = pytest.mark.integration
PATIENCE_S = 6.0


@pytest.fixture
def topic(settings):
    return settings.topic_weather


def joined(settings, topic):
    """A consumer that has been told its partitions."""
    consumer = wait_for_consumer(settings, f"stall-{topic}", [topic])
    consumer.subscribe([topic])
    deadline = time.monotonic() + 30
    while not consumer.assignment() and time.monotonic() < deadline:
        consumer.poll(timeout_ms=100)
    return consumer


@pytest.fixture
def consumer(settings, topic):
    consumer = joined(settings, topic)
    yield consumer
    consumer.close(autocommit=False, timeout_ms=3000)


def poll_for(consumer, seconds):
    """Poll as the consumers' loop does, everything assigned being read."""
    detector = StallDetector(consumer, patience_s=PATIENCE_S)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        detector.polled(len(consumer.poll(timeout_ms=100)), consumer.assignment)


def test_an_idle_consumer_has_not_stalled(consumer):
    poll_for(consumer, 3 * PATIENCE_S)


def test_a_consumer_that_has_silently_left_its_group_has_stalled(consumer):
    consumer._coordinator._close_heartbeat()
    with pytest.raises(StalledError, match="its group has not heard of it"):
        poll_for(consumer, 10 * PATIENCE_S)


def test_a_partition_that_has_more_and_delivers_nothing_has_stalled(consumer, settings, topic):
    (partition,) = consumer.assignment()
    consumer.seek(partition, 0)
    consumer.pause(partition)
    publisher = Publisher(settings, "test")
    publisher.send(topic, b"{}", key=None, schema=b"reading.v1")
    publisher.flush()
    publisher.close()
    with pytest.raises(StalledError, match=f"it reads nothing of {topic}-0, which has more"):
        poll_for(consumer, 10 * PATIENCE_S)


@pytest.mark.parametrize("poll_ms", [1, 3])
def test_a_rebalance_that_outlasts_a_poll_is_finished(settings, topic, poll_ms):
    """With the client as it comes, most of such consumers never hear of their partitions."""
    consumer = make_consumer(settings, f"short-polls-{topic}")
    consumer.subscribe([topic])
    deadline = time.monotonic() + 4 * PATIENCE_S
    settled_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < settled_at or (_silent_s(consumer) > PATIENCE_S and time.monotonic() < deadline):
        consumer.poll(timeout_ms=poll_ms)
    silent_s = _silent_s(consumer)
    consumer.close(autocommit=False, timeout_ms=3000)
    assert silent_s <= PATIENCE_S


def _silent_s(consumer):
    return consumer.metrics()["consumer-coordinator-metrics"]["last-heartbeat-seconds-ago"]


def test_a_partition_that_was_paused_amid_a_fetch_is_read_on_when_another_one_is_at_its_end(settings):
    """With the client as it comes, what it has put aside is neither delivered nor fetched again."""
    left, right = (TopicPartition(settings.topic_redis, number) for number in (0, 1))
    publisher = Publisher(settings, "test")
    for partition in (left, right):
        for _ in range(20):
            publisher.send(partition.topic, b"{}", key=None, schema=b"reading.v1", partition=partition.partition)
    publisher.flush()
    publisher.close()
    consumer = make_consumer(settings, None)
    consumer.assign([left, right])
    consumer.seek_to_beginning(left, right)
    read = Counter()
    deadline = time.monotonic() + PATIENCE_S

    def read_until(is_read):
        while not is_read() and time.monotonic() < deadline:
            read.update({p: len(messages) for p, messages in consumer.poll(timeout_ms=100, max_records=5).items()})

    read_until(lambda: read)
    (begun,) = read
    other = left if begun == right else right
    consumer.pause(begun)
    read_until(lambda: read[other] == 20)
    consumer.resume(begun)
    read_until(lambda: read[begun] == 20)
    consumer.close()
    assert read == {left: 20, right: 20}
