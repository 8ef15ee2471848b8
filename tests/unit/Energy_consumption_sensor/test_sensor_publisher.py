"""Updates reach the topics in order, whatever is not acknowledged on the way."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from Energy_consumption_sensor.replay import Update
from Energy_consumption_sensor.sensor_publisher import ReplayPublisher
from Sensor_core.errors import RetriableError
from Sensor_core.interval import Interval
from Sensor_core.testing import FIRST_HOUR
from Setup.lifecycle import Backoff, Heartbeat

HOURLY = Interval()
FIRST_STEP = HOURLY.step_of(FIRST_HOUR)


class ForgetfulFeed:
    """Takes readings and ticks; what has not arrived when they expire is lost, which is said once."""

    def __init__(self):
        self.arrived = []
        self._waiting = []
        self._failed = False

    def publish(self, reading):
        self._say_failure()
        self._waiting.append(("reading", self._hour(reading.timestamp)))

    def tick(self, timestamp, known_at):
        assert known_at == HOURLY.end_of(HOURLY.step_of(timestamp))
        self.flush()
        self._waiting.append(("tick", self._hour(timestamp)))

    def flush(self):
        self._say_failure()
        self.arrived += self._waiting
        self._waiting = []

    def expire(self):
        self._waiting, self._failed = [], True

    def _say_failure(self):
        if self._failed:
            self._failed = False
            raise RetriableError("Kafka: KafkaTimeoutError: 1 message(s) expired")

    def _hour(self, timestamp):
        return HOURLY.step_of(timestamp) - FIRST_STEP


@pytest.fixture
def feed():
    return ForgetfulFeed()


@pytest.fixture
def publisher(feed, monkeypatch):
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.0)
    settings = SimpleNamespace(interval=HOURLY, replay_seconds_per_hour=0.0)
    return ReplayPublisher(feed, settings, Heartbeat(), threading.Event())


def update(hour):
    start_s = HOURLY.start_of(FIRST_STEP + hour).timestamp()
    columns = ([1], [0], [start_s], [1.5], [start_s + 3600])
    return Update(FIRST_STEP + hour, *map(np.array, columns))


def whole(*hours):
    return [(kind, hour) for hour in hours for kind in ("reading", "tick")]


def test_ticks_that_are_not_acknowledged_come_again_before_the_next_hour(feed, publisher):
    publisher.publish(update(0))
    publisher.publish(update(1))
    feed.expire()
    publisher.publish(update(2))
    publisher.finish()
    assert feed.arrived == [*whole(0), ("reading", 1), *whole(1, 2)]


def test_the_last_ticks_are_waited_for_and_come_again_where_they_are_not_acknowledged(feed, publisher):
    publisher.finish()
    publisher.publish(update(0))
    feed.expire()
    publisher.finish()
    assert feed.arrived[-1] == ("tick", 0)
