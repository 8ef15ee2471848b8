"""The stream of closed hours on a real Valkey: in order, each until it is done, one reader at a time."""

import time
from datetime import UTC, datetime

import pytest

from Consumers.history import History
from Predictor import closed_hours as closed_hours_module
from Predictor.closed_hours import ClosedHour, ClosedHours
from Sensor_core.errors import FencedError, RetriableError
from Setup.redis_client import CLOSED_KEY, STATE_KEY, RedisUser, make_client

pytestmark = pytest.mark.integration
KNOWN_AT = datetime(2016, 9, 1, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.fixture
def hours(redis_client):
    return ClosedHours(redis_client)


def close(redis_client, *steps):
    for step in steps:
        redis_client.xadd(CLOSED_KEY, {"known_at": f"{KNOWN_AT.timestamp():.6f}"}, id=f"{step}-0")


def next_step(hours):
    hour = hours.next(1)
    return None if hour is None else hour.step


def test_hours_come_in_order_each_until_it_is_done_with_what_may_be_known(redis_client, hours):
    close(redis_client, 409_000, 409_001)
    first = ClosedHour(b"409000-0", 409_000, KNOWN_AT)
    assert hours.next(1) == first
    assert hours.next(1) == first
    hours.done(first)
    assert next_step(hours) == 409_001
    hours.done(hours.next(1))
    assert next_step(hours) is None
    assert redis_client.xlen(CLOSED_KEY) == 0


def test_an_hour_that_another_predictor_left_undone_comes_first_whoever_led_before(redis_client, hours):
    assert hours.next(1) is None  # leads, and has done all that there was
    successor = ClosedHours(redis_client)
    close(redis_client, 1)
    abandoned = successor.next(1)
    close(redis_client, 2)
    assert hours.next(1) == abandoned
    assert next_step(ClosedHours(redis_client)) == 1


def test_an_hour_is_done_once(redis_client, hours):
    close(redis_client, 1)
    hour = ClosedHours(redis_client).next(1)
    hours.done(hours.next(1))
    with pytest.raises(FencedError, match="not there any more"):
        ClosedHours(redis_client).done(hour)


def test_an_emptied_redis_is_noticed_when_an_hour_is_done_and_reading_goes_on(redis_client, hours):
    close(redis_client, 1)
    hour = hours.next(1)
    redis_client.flushall()
    with pytest.raises(FencedError, match="not there any more"):
        hours.done(hour)
    assert hours.next(1) is None
    close(redis_client, 1)
    assert next_step(hours) == 1


def test_one_predictor_leads_until_it_resigns(redis_client, hours):
    standby = ClosedHours(redis_client)
    assert hours.lead()
    assert not standby.lead()
    standby.resign()  # of nothing: the lease stays where it is
    assert hours.lead()
    hours.resign()
    assert standby.lead()
    assert not hours.lead()


def test_the_lease_of_a_predictor_that_fell_silent_runs_out(redis_client, hours, monkeypatch):
    monkeypatch.setattr(closed_hours_module, "LEASE_MS", 50)
    standby = ClosedHours(redis_client)
    assert hours.lead()
    time.sleep(0.1)
    assert standby.lead()
    assert not hours.lead()


def test_a_redis_that_does_not_answer_says_that_waiting_may_help(settings):
    hours = ClosedHours(make_client(settings.model_copy(update={"redis_port": 9}), RedisUser.PREDICTOR))
    for call in (hours.lead, lambda: hours.next(1)):
        with pytest.raises(RetriableError):
            call()


def test_a_predictor_that_stops_while_redis_is_away_leaves_its_lease_to_run_out(settings):
    ClosedHours(make_client(settings.model_copy(update={"redis_port": 9}), RedisUser.PREDICTOR)).resign()


@pytest.fixture
def store(settings, redis_client):
    """A filled cache of two partitions."""
    store = History(settings, redis_client, 2)
    store.positions([])
    return store


def close_hours(redis_client, closed, clocks):
    redis_client.hset(STATE_KEY, mapping={"closed": closed} | {f"clock:{n}": clock for n, clock in clocks.items()})


def test_readings_are_written_no_further_ahead_than_a_partition_that_is_not_read_yet_allows(
    settings, redis_client, store
):
    left, right = ((settings.topic_redis, number) for number in (0, 1))
    lag = settings.predictor_lag_h
    assert store.limit({}) == store.limit({left: 409_000}) == lag
    assert store.limit({left: 409_000, right: 409_002}) == 408_999 + lag
    close_hours(redis_client, 409_000, {0: 409_050, 1: 409_000})
    assert store.limit({left: 409_051}) == 409_000 + lag
    redis_client.xadd(CLOSED_KEY, {"known_at": 0}, id="408990-0")
    assert store.limit({left: 409_051, right: 409_001}) == 408_990 + lag


def test_a_stream_goes_on_years_later_in_partitions_of_several_consumers(settings, redis_client, store):
    left, right = ((settings.topic_redis, number) for number in (0, 1))
    lag, other = settings.predictor_lag_h, History(settings, redis_client, 2)
    close_hours(redis_client, 409_000, {0: 409_000, 1: 409_000})
    assert store.limit({left: 450_000}) == 409_000 + lag
    assert other.limit({right: 450_001}) == store.limit({left: 450_000}) == 449_999 + lag
    close_hours(redis_client, 409_000, {1: 450_100})
    assert store.limit({left: 450_000}) == 449_999 + lag
