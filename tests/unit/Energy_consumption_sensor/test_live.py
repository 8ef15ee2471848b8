"""Live lines: published as they come, ticks by the clock, and alive while nothing comes."""

import io
import os
import threading
import time
from datetime import timedelta

import pytest

from Energy_consumption_sensor.live import MAX_LINES, LiveFeed
from Sensor_core.errors import RetriableError
from Sensor_core.interval import Interval
from Sensor_core.reading import MAX_MESSAGE_BYTES, Reading
from Sensor_core.testing import FIRST_HOUR, HandClock
from Setup.lifecycle import Backoff, Heartbeat
from tests.counted_heartbeat import CountedHeartbeat

HOURLY = Interval()
FIRST_STEP = HOURLY.step_of(FIRST_HOUR)
GRACE = timedelta(minutes=5)
LONGEST_GAP = 1008
LINE = b'{"building_id": 1, "timestamp": "2016-09-01T00:00:00Z", "meter_reading": 5}\n'


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


class UnreachableFeed(RememberingFeed):
    """Acknowledges nothing for the first ``failures`` flushes."""

    def __init__(self, failures, on_failure=lambda: None):
        super().__init__()
        self._failures = failures
        self._on_failure = on_failure

    def flush(self):
        if self._failures:
            self._failures -= 1
            self._on_failure()
            raise RetriableError("Kafka is away")


class EndlessStream:
    """Lines without end; counts those that were read."""

    read = 0

    def __iter__(self):
        while True:
            self.read += 1
            yield LINE


@pytest.fixture
def feed():
    return RememberingFeed()


@pytest.fixture
def clock():
    return HandClock(FIRST_HOUR + timedelta(minutes=30))


@pytest.fixture
def stop():
    return threading.Event()


@pytest.fixture
def make_live(clock, stop):
    options = {"grace": GRACE, "longest_gap": LONGEST_GAP, "stop": stop, "clock": clock}
    return lambda feed, heartbeat=None: LiveFeed(feed, HOURLY, heartbeat=heartbeat or Heartbeat(), **options)


@pytest.fixture
def run(make_live):
    def run_to_the_end(feed, text, *, newest_tick=None):
        make_live(feed).run(io.BytesIO(text.encode()), newest_tick)
        return feed.sent

    return run_to_the_end


def test_a_line_becomes_a_reading_known_now_unless_it_says_when(run, feed, clock):
    lines = (
        '{"building_id": 1, "timestamp": "2016-09-01T00:00:00Z", "meter_reading": 5}\n\n'
        '{"building_id": 1, "meter": 3, "timestamp": "2016-08-31T23:00:00Z", "meter_reading": 6,'
        ' "known_at": "2016-09-01T00:10:00Z"}\n'
    )
    assert run(feed, lines) == [
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
def test_a_line_that_is_no_reading_is_sent_on_as_it_is(run, feed, line):
    assert run(feed, line + "\n") == [line.encode()]


def test_a_line_that_is_too_long_is_cut_to_what_the_decoder_still_refuses(run, feed):
    (sent,) = run(feed, "x" * 2_000_000 + "\n")
    assert len(sent) == MAX_MESSAGE_BYTES + 1


def hours_closed(feed):
    return [HOURLY.step_of(entry[1]) - FIRST_STEP for entry in feed.sent if isinstance(entry, tuple)]


def test_intervals_are_closed_a_grace_period_after_their_end_from_the_newest_tick_on(run, feed, clock):
    clock.now = FIRST_HOUR + timedelta(hours=3, minutes=4)
    run(feed, "", newest_tick=FIRST_STEP - 1)
    assert hours_closed(feed) == [0, 1]
    clock.now += timedelta(minutes=1)
    run(feed, "", newest_tick=FIRST_STEP + 1)
    assert feed.sent[-1] == ("tick", FIRST_HOUR + timedelta(hours=2), clock.now)


def test_a_pause_longer_than_the_history_is_not_made_up_hour_by_hour(run, feed, clock):
    """The last hour that is over is closed, so that readings of the current one are not ahead of the clock."""
    run(feed, LINE.decode(), newest_tick=FIRST_STEP - 87_000)
    assert hours_closed(feed) == [-1]
    assert feed.sent[-1] == Reading(1, 0, FIRST_HOUR, 5.0, clock.now)
    run(feed, "", newest_tick=FIRST_STEP - LONGEST_GAP)
    assert hours_closed(feed) == [-1, *range(1 - LONGEST_GAP, 0)]


def test_making_up_a_pause_ends_when_told_to_stop(run, feed, stop, monkeypatch):
    monkeypatch.setattr(feed, "flush", lambda: len(feed.sent) >= 3 and stop.set())
    run(feed, "", newest_tick=FIRST_STEP - 500)
    assert 3 <= len(feed.sent) <= 4


def test_what_kafka_does_not_acknowledge_is_published_again_in_order(run, clock, monkeypatch):
    monkeypatch.setattr(Backoff, "LONGEST_S", 0.1)
    clock.now += timedelta(hours=1)
    feed = UnreachableFeed(failures=3)
    lines = LINE.decode() + "nonsense\n" + LINE.decode().replace(": 5", ": 6")
    sent = run(feed, lines, newest_tick=FIRST_STEP - 1)
    readings = [Reading(1, 0, FIRST_HOUR, kwh, clock.now) for kwh in (5.0, 6.0)]
    assert sent[-4:] == [("tick", FIRST_HOUR, clock.now), readings[0], b"nonsense", readings[1]]
    assert sent[:-4]


def test_told_to_stop_without_kafka_it_says_what_is_lost_and_has_not_read_on_meanwhile(make_live, stop):
    feed, stream = UnreachableFeed(failures=10, on_failure=stop.set), EndlessStream()
    with pytest.raises(RetriableError, match=r"the last [12]\d{3} lines, send them again: Kafka is away"):
        make_live(feed).run(stream, None)
    assert stream.read <= 2 * MAX_LINES + 2


def test_what_was_read_before_the_stop_is_published(make_live, feed, stop, monkeypatch):
    read_to_the_end = threading.Event()

    def stream():
        yield from [LINE] * 500
        read_to_the_end.set()

    def publish(reading):
        read_to_the_end.wait(10)
        stop.set()
        feed.sent.append(reading)

    monkeypatch.setattr(feed, "publish", publish)
    make_live(feed).run(stream(), None)
    assert len(feed.sent) == 500


def test_a_stream_that_is_silent_beats_and_ends_when_told_to_stop(make_live, feed, stop):
    heartbeat = CountedHeartbeat()
    reading_end, writing_end = os.pipe()
    live = make_live(feed, heartbeat)
    with os.fdopen(reading_end, "rb") as stream, os.fdopen(writing_end, "wb"):
        thread = threading.Thread(target=live.run, args=(stream, None))
        thread.start()
        deadline = time.monotonic() + 30
        while heartbeat.count < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        stop.set()
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert heartbeat.count >= 3
    assert feed.sent == []
