"""What the predictor has learned survives it in Redis, moves to its successor, and is missed by nobody for long."""

import numpy as np
import pytest

from Predictor.forecasting.forecaster import Forecaster
from Predictor.forecasting.testing import ORIGIN, make_snapshot
from Predictor.forecasting.total_model import TotalModel
from Predictor.learned_state import LearnedState
from Setup.redis_client import LEARNED_KEY

pytestmark = pytest.mark.integration
KNOWING = TotalModel()


def process(learned, hours):
    issue = None
    for hour in hours:
        snapshot = make_snapshot(origin=ORIGIN + hour, seed=hour)
        issue = learned.finisher(KNOWING, snapshot.origin).finish(snapshot, Forecaster().raw(snapshot))
        learned.save()
    return issue


def test_a_successor_goes_on_where_the_predecessor_stopped(redis_client):
    alone, first, second = LearnedState(redis_client), LearnedState(redis_client), LearnedState(redis_client)
    expected = process(alone, range(30))
    redis_client.flushall()
    process(first, range(15))
    process(second, range(15, 20))
    process(first, range(20, 25))  # has the lease again: what it remembers itself is old
    issue = process(second, range(25, 30))
    assert issue.meters.stacked().tobytes() == expected.meters.stacked().tobytes()
    assert issue.totals.quantiles.tobytes() == expected.totals.quantiles.tobytes()


def test_an_emptied_redis_is_filled_again_by_the_one_that_still_knows(redis_client):
    learned = LearnedState(redis_client)
    process(learned, range(10))
    before = redis_client.hgetall(LEARNED_KEY)
    redis_client.flushall()
    process(learned, [10])
    after = redis_client.hgetall(LEARNED_KEY)
    assert before.keys() < after.keys()


def test_without_redis_and_memory_it_starts_from_the_dump(redis_client):
    process(LearnedState(redis_client), range(10))
    redis_client.flushall()
    issue = process(LearnedState(redis_client), [10])
    assert np.isfinite(issue.totals.quantiles).all()


@pytest.mark.parametrize("damage", [{b"factors": b"broken"}, {b"paths": b"\x80"}])
def test_what_cannot_be_read_is_dropped_and_learned_again(redis_client, damage):
    process(LearnedState(redis_client), range(5))
    redis_client.hset(LEARNED_KEY, mapping=damage)
    heir = LearnedState(redis_client)
    process(heir, range(5, 7))
    assert heir.finisher(KNOWING, ORIGIN + 7).origin == ORIGIN + 6


def test_hours_before_those_that_were_learned_from_start_anew(redis_client):
    process(LearnedState(redis_client), range(20, 25))
    learned = LearnedState(redis_client)
    process(learned, [3])
    assert redis_client.hget(LEARNED_KEY, "origin") == str(ORIGIN + 3).encode()


def test_parts_whose_truth_has_come_leave_redis(redis_client):
    learned = LearnedState(redis_client)
    process(learned, range(80))
    waiting = [name for name in redis_client.hkeys(LEARNED_KEY) if name.startswith(b"issue:")]
    assert len(waiting) == 72
