"""A Kafka client that has stopped without an error is noticed; one that is idle is left alone."""

import time

import pytest

from Consumers.stall import StallDetector, StalledError
from Setup.kafka_initialization import Publisher, make_consumer, wait_for_consumer

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
