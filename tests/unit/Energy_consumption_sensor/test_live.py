"""Live lines: published as they come, ticks by the clock, and alive while nothing comes."""

import io
import os
import threading
import time
from datetime import timedelta

import pytest

from Energy_consumption_sensor.live import LiveFeed
from Sensor_core.interval import Interval
from Sensor_core.reading import Reading
from Sensor_core.testing import FIRST_HOUR, HandClock
from Setup.lifecycle import Heartbeat

HOURLY = Interval()
FIRST_STEP = HOURLY.step_of(FIRST_HOUR)
GRACE = timedelta(minutes=5)


class RememberingFeed:
    """Notes what is published, in order."""

    def __init__(self):
        self.sent = []

    def publish(self, reading):
        self.sent.append(reading)

    def publish_raw(self, line):
        self.sent.append(line)

    def tick(self, timestamp, known_at):
        self.sent.append(("tick", timestamp, known_at))

    def flush(self):
        """Everything has arrived."""


@pytest.fixture
def feed():
    return RememberingFeed()


@pytest.fixture
def clock():
    return HandClock(FIRST_HOUR + timedelta(minutes=30))


def run(feed, clock, text, *, newest_tick=None):
    live = LiveFeed(feed, HOURLY, GRACE, Heartbeat(None), clock)
    live.run(io.BytesIO(text.encode()), newest_tick, threading.Event())
    return feed.sent


def test_a_line_becomes_a_reading_known_now_unless_it_says_when(feed, clock):
    lines = (
        '{"building_id": 1, "timestamp": "2016-09-01T00:00:00Z", "meter_reading": 5}\n\n'
        '{"building_id": 1, "meter": 3, "timestamp": "2016-08-31T23:00:00Z", "meter_reading": 6,'
        ' "known_at": "2016-09-01T00:10:00Z"}\n'
    )
    assert run(feed, clock, lines) == [
        Reading(1, 0, FIRST_HOUR, 5.0, clock.now),
        Reading(1, 3, FIRST_HOUR - timedelta(hours=1), 6.0, FIRST_HOUR + timedelta(minutes=10)),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        '{"building_id": 1, "timestamp": "2016-09-01T00:17:00Z", "meter_reading": 5}',
        '{"building_id": 1, "timestamp": "2016-09-01T00:00:00Z", "meter_reading": -1}',
    ],
)
def test_a_line_that_is_no_reading_is_sent_on_as_it_is(feed, clock, line):
    assert run(feed, clock, line + "\n") == [line.encode()]


def test_intervals_are_closed_a_grace_period_after_their_end_from_the_newest_tick_on(feed, clock):
    clock.now = FIRST_HOUR + timedelta(hours=3, minutes=4)
    ticks = [
        (kind, HOURLY.step_of(at) - FIRST_STEP) for kind, at, _ in run(feed, clock, "", newest_tick=FIRST_STEP - 1)
    ]
    assert ticks == [("tick", 0), ("tick", 1)]
    clock.now += timedelta(minutes=1)
    run(feed, clock, "", newest_tick=FIRST_STEP + 1)
    assert feed.sent[-1] == ("tick", FIRST_HOUR + timedelta(hours=2), clock.now)


def test_a_stream_that_is_silent_beats_and_ends_when_told_to_stop(feed, clock, tmp_path):
    heartbeat, stop = tmp_path / "heartbeat", threading.Event()
    reading_end, writing_end = os.pipe()
    live = LiveFeed(feed, HOURLY, GRACE, Heartbeat(heartbeat), clock)
    with os.fdopen(reading_end, "rb") as stream, os.fdopen(writing_end, "wb"):
        thread = threading.Thread(target=live.run, args=(stream, None, stop))
        thread.start()
        deadline = time.monotonic() + 30
        while not heartbeat.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        first = heartbeat.stat().st_mtime_ns
        while heartbeat.stat().st_mtime_ns == first and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        thread.join(timeout=30)
        assert not thread.is_alive()
        assert heartbeat.stat().st_mtime_ns > first
    assert feed.sent == []
