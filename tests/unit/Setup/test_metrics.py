"""Metrics and health over HTTP."""

from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from Sensor_core.errors import SettingsError
from Setup.lifecycle import Backoff, Heartbeat
from Setup.metrics import ALIVE_WITHIN_S, HEALTH, RETRIES, Health, served


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health(clock)


@pytest.fixture
def ask(health):
    with served("127.0.0.1", 0, health) as port:

        def ask(path):
            try:
                with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                    return answer.status, answer.read().decode()
            except HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        yield ask


def test_a_service_that_has_not_begun_is_neither_live_nor_ready(ask):
    assert [ask(path)[0] for path in ("/live", "/ready")] == [503, 503]


def test_a_service_whose_loop_turns_is_live_and_ready_until_it_waits_or_hangs(ask, health, clock):
    health.turn()
    assert [ask(path)[0] for path in ("/live", "/ready")] == [200, 200]
    health.ready(is_ready=False)
    assert [ask(path)[0] for path in ("/live", "/ready")] == [200, 503]
    health.ready(is_ready=True)
    clock.now = ALIVE_WITHIN_S
    assert [ask(path)[0] for path in ("/live", "/ready")] == [503, 503]


def test_metrics_are_in_the_format_of_prometheus(ask):
    status, text = ask("/metrics")
    assert status == 200
    assert "# TYPE energy_retries_total counter" in text


def test_other_pages_do_not_exist(ask):
    assert ask("/")[0] == 404


def test_every_heartbeat_says_that_the_loop_turns_and_every_backoff_is_a_retry():
    before = RETRIES._value.get()
    Heartbeat().beat()
    Backoff().next_s()
    assert HEALTH.is_live()
    assert RETRIES._value.get() == before + 1


def test_without_a_port_nothing_is_served():
    with served("127.0.0.1", None) as port:
        assert port is None


def test_a_taken_port_is_named(health):
    with served("127.0.0.1", 0, health) as port, pytest.raises(SettingsError, match=f"127.0.0.1:{port}"):
        served("127.0.0.1", port, health).__enter__()
