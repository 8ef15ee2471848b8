"""Reading the history rings on a real Valkey: what was known, of the steps up to the origin, meter by meter."""

from datetime import timedelta

import numpy as np
import pytest

from Consumers.history import History
from Consumers.testing import make_batch
from Predictor.rings import Rings
from Sensor_core.errors import RetriableError
from Sensor_core.testing import FIRST_HOUR, make_reading
from Setup.redis_client import METERS_KEY, RING_PREFIX, RedisUser, make_client

pytestmark = pytest.mark.integration
LATER = FIRST_HOUR + timedelta(days=100)


@pytest.fixture
def first(settings):
    return settings.interval.step_of(FIRST_HOUR)


@pytest.fixture
def write(settings, redis_client):
    """Write readings as the redis consumer does."""
    history, partition = History(settings, redis_client, settings.kafka_partitions), (settings.topic_redis, 0)

    def write(*readings):
        start = history.positions([partition])[partition].next_offset
        history.write(make_batch(readings, partition=partition, start=start), lambda _: None)

    return write


@pytest.fixture
def rings(settings, redis_client):
    return Rings(settings, redis_client)


def known(past):
    """Known readings by meter and hours before the origin."""
    width = past.readings_kwh.shape[1]
    return {
        meter: {width - 1 - int(column): float(row[column]) for column in np.flatnonzero(~np.isnan(row))}
        for meter, row in zip(past.meters, past.readings_kwh, strict=True)
    }


def test_an_empty_cache_has_no_meters(rings, settings, first):
    past = rings.read(first, LATER)
    assert past.meters == []
    assert past.readings_kwh.shape == (0, settings.history_steps)


def test_meters_come_in_the_order_of_their_numbers_with_the_origin_last(rings, write, settings, first):
    write(
        make_reading(building_id=10, hour=2, kwh=1),
        make_reading(building_id=9, meter=3, hour=1, kwh=2),
        make_reading(building_id=9, hour=0, kwh=3),
    )
    past = rings.read(first + 2, LATER)
    assert past.meters == [(9, 0), (9, 3), (10, 0)]
    assert past.readings_kwh.shape == (3, settings.history_steps)
    assert known(past) == {(9, 0): {2: 3.0}, (9, 3): {1: 2.0}, (10, 0): {0: 1.0}}


def test_steps_after_the_origin_stay_out_of_sight_and_so_do_meters_that_only_have_those(rings, write, first):
    write(*(make_reading(hour=hour, kwh=hour) for hour in range(4)), make_reading(building_id=2, hour=3))
    assert known(rings.read(first + 1, LATER)) == {(1, 0): {0: 1.0, 1: 0.0}}


def test_what_became_known_later_stays_out_of_sight(rings, write, first):
    write(make_reading(hour=0, kwh=1), make_reading(hour=1, kwh=2, known_after_h=5))
    assert known(rings.read(first + 1, FIRST_HOUR + timedelta(hours=2))) == {(1, 0): {1: 1.0}}
    assert known(rings.read(first + 1, FIRST_HOUR + timedelta(hours=6))) == {(1, 0): {0: 2.0, 1: 1.0}}


def test_a_correction_replaces_what_it_corrects(rings, write, first):
    write(make_reading(kwh=1, known_after_h=1))
    write(make_reading(kwh=7, known_after_h=3), make_reading(kwh=4, known_after_h=2))
    assert known(rings.read(first, LATER)) == {(1, 0): {0: 7.0}}


def test_a_slot_that_a_later_round_overwrote_is_unknown_and_not_taken_for_the_older_step(rings, write, settings, first):
    write(make_reading(hour=0, kwh=1), make_reading(hour=1, kwh=2))
    write(make_reading(hour=settings.ring_steps, kwh=3))
    assert known(rings.read(first + 1, LATER)) == {(1, 0): {0: 2.0}}
    assert known(rings.read(first + settings.ring_steps, LATER)) == {(1, 0): {0: 3.0}}


def test_a_meter_whose_ring_is_gone_is_passed_over(rings, write, redis_client, first):
    write(make_reading(building_id=1), make_reading(building_id=2, kwh=5))
    redis_client.delete(RING_PREFIX + "1:0")
    redis_client.sadd(METERS_KEY, "3:0")
    assert known(rings.read(first, LATER)) == {(2, 0): {0: 5.0}}


def test_a_redis_that_does_not_answer_says_that_waiting_may_help(settings, first):
    with pytest.raises(RetriableError):
        Rings(settings, make_client(settings.model_copy(update={"redis_port": 9}), RedisUser.PREDICTOR)).read(
            first, LATER
        )
