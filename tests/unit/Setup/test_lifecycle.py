"""Waiting: for other services with a deadline, and alive all the while."""

import os
import signal
import threading
import time

import pytest

from Sensor_core.errors import RetriableError, StoppedError, UnreachableError
from Setup.lifecycle import Backoff, Heartbeat, Stop, run_service, wait_for


class Seconds:
    """A monotonic clock, moved by the waits of the stop event that goes with it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class ClockedStop(Stop):
    """An event whose waits take no time but move the clock."""

    def __init__(self, clock, *, set_at=float("inf")):
        super().__init__()
        self._clock = clock
        self._set_at = set_at

    def wait(self, timeout=None):
        self._clock.now += timeout
        if self._clock.now >= self._set_at:
            self.set()
        return self.is_set()


class TimedHeartbeat(Heartbeat):
    """Notes when it beat."""

    def __init__(self, clock):
        super().__init__(clock)
        self.times = []

    def beat(self):
        self.times.append(self._clock())


def test_a_heartbeat_goes_on_once_a_second_through_a_long_wait():
    clock = Seconds()
    heartbeat = TimedHeartbeat(clock)
    assert not heartbeat.wait(5, ClockedStop(clock))
    assert heartbeat.times == [0, 1, 2, 3, 4, 5]


def test_a_wait_is_as_long_as_asked_for_and_ends_when_told_to_stop():
    clock = Seconds()
    heartbeat = Heartbeat(clock)
    assert not heartbeat.wait(2.5, ClockedStop(clock))
    assert clock.now == 2.5
    assert heartbeat.wait(3600, ClockedStop(clock, set_at=4))
    assert clock.now < 5


def test_no_wait_still_beats():
    heartbeat = TimedHeartbeat(Seconds())
    assert not heartbeat.wait(0, Stop())
    assert heartbeat.times == [0]


def test_a_service_that_answers_in_the_end_was_worth_the_wait():
    answers = iter([RetriableError("refused"), RetriableError("refused"), "connection"])

    def attempt():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert wait_for("Kafka", "localhost:9092", attempt, deadline_s=30) == "connection"


def refuse():
    raise RetriableError("connection refused")


def test_a_deadline_names_what_could_not_be_reached_and_where():
    message = r"Kafka cannot be reached at localhost:9092 within 0\.2 s: connection refused"
    with pytest.raises(UnreachableError, match=message):
        wait_for("Kafka", "localhost:9092", refuse, deadline_s=0.2)


def test_a_wait_for_a_service_ends_at_once_when_the_process_is_told_to_stop(monkeypatch):
    monkeypatch.setattr(Backoff, "next_s", lambda _: 30.0)
    stop = Stop()
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    with pytest.raises(StoppedError, match="Kafka at localhost:9092: connection refused"):
        wait_for("Kafka", "localhost:9092", refuse, deadline_s=60, stop=stop)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(("choice", "code"), [({}, 0), ({"stopped_waiting": 143}, 143)])
def test_being_told_to_stop_while_waiting_is_no_failure(capfd, choice, code):
    def run(_settings, stop):
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for("Kafka", "localhost:9092", refuse, deadline_s=60, stop=stop)

    assert run_service("service", run, **choice) == code
    said = capfd.readouterr().err
    assert "told to end while waiting for Kafka" in said
    assert "ERROR" not in said


def test_other_errors_are_not_waited_for():
    def fail():
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        wait_for("Kafka", "localhost:9092", fail, deadline_s=60)
