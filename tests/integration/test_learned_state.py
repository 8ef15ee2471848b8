"""What the predictor has learned survives it in Redis, moves to its successor, and is missed by nobody for long."""

from concurrent.futures import wait
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from Predictor.forecasting.forecaster import Forecaster
from Predictor.forecasting.testing import ORIGIN, make_snapshot
from Predictor.forecasting.total_model import TotalModel
from Predictor.learned_copy import COPIED_PARTS, LearnedCopy
from Predictor.learned_state import COPY_EVERY_H, LearnedState
from Sensor_core.errors import FencedError, RetriableError
from Setup.redis_client import LEARNED_KEY

pytestmark = pytest.mark.integration
KNOWING = TotalModel()


class FinishedCopy(LearnedCopy):
    """A copy whose writes are over when the next hour begins."""

    def write(self, *arguments):
        super().write(*arguments)
        wait([self._writing])


@pytest.fixture
def learned_state(settings, redis_client):
    """Makes what a predictor has at its start."""
    return partial(LearnedState, redis_client, FinishedCopy(settings), settings.interval)


@contextmanager
def locked(postgres):
    """Let whoever touches the copy wait."""
    postgres.autocommit = False
    with postgres.cursor() as cursor:
        cursor.execute("LOCK TABLE learned_state")
    yield
    postgres.rollback()
    postgres.autocommit = True


def learned_until(postgres):
    with postgres.cursor() as cursor:
        cursor.execute("SELECT part, extract(epoch FROM learned_until)::integer / 3600 FROM learned_state")
        return dict(cursor.fetchall())


def forget_copy(postgres):
    with postgres.cursor() as cursor:
        cursor.execute("TRUNCATE learned_state")


def process(learned, hours):
    issue = None
    for hour in hours:
        snapshot = make_snapshot(origin=ORIGIN + hour, seed=hour)
        issue = learned.finisher(KNOWING, snapshot.origin).finish(snapshot, Forecaster().raw(snapshot))
        learned.save()
    return issue


def test_a_successor_goes_on_where_the_predecessor_stopped(redis_client, postgres, learned_state):
    alone, first, second = learned_state(), learned_state(), learned_state()
    expected = process(alone, range(30))
    redis_client.flushall()
    forget_copy(postgres)
    process(first, range(15))
    process(second, range(15, 20))
    process(first, range(20, 25))  # has the lease again: what it remembers itself is old
    issue = process(second, range(25, 30))
    assert issue.meters.stacked().tobytes() == expected.meters.stacked().tobytes()
    assert issue.totals.quantiles.tobytes() == expected.totals.quantiles.tobytes()


def test_a_predictor_that_was_overtaken_while_it_forecast_changes_nothing(redis_client, learned_state):
    frozen, deputy = learned_state(), learned_state()
    process(frozen, range(3))
    snapshot = make_snapshot(origin=ORIGIN + 3, seed=3)
    frozen.finisher(KNOWING, snapshot.origin).finish(snapshot, Forecaster().raw(snapshot))
    process(deputy, range(3, 6))
    learned = redis_client.hgetall(LEARNED_KEY)
    with pytest.raises(FencedError, match="another predictor"):
        frozen.save()
    assert redis_client.hgetall(LEARNED_KEY) == learned
    process(frozen, [6])  # goes on from there once it leads again
    assert redis_client.hget(LEARNED_KEY, "origin") == str(ORIGIN + 6).encode()


def test_an_emptied_redis_is_filled_again_by_the_one_that_still_knows(redis_client, learned_state):
    learned = learned_state()
    process(learned, range(10))
    before = redis_client.hgetall(LEARNED_KEY)
    redis_client.flushall()
    process(learned, [10])
    after = redis_client.hgetall(LEARNED_KEY)
    assert before.keys() < after.keys()


def test_without_redis_and_memory_it_goes_on_with_the_copy(redis_client, postgres, learned_state):
    last = 2 * COPY_EVERY_H
    process(learned_state(), range(last + 5))
    assert learned_until(postgres) == dict.fromkeys(COPIED_PARTS, ORIGIN + last)
    redis_client.flushall()
    heir = learned_state()
    assert heir.finisher(KNOWING, ORIGIN + last + 5).origin == ORIGIN + last
    process(heir, [last + 5])
    assert redis_client.hget(LEARNED_KEY, "origin") == str(ORIGIN + last + 5).encode()
    assert learned_until(postgres) == dict.fromkeys(COPIED_PARTS, ORIGIN + last + 5)


def test_without_redis_memory_and_copy_it_starts_from_the_dump(redis_client, postgres, learned_state):
    process(learned_state(), range(10))
    redis_client.flushall()
    forget_copy(postgres)
    heir = learned_state()
    assert heir.finisher(KNOWING, ORIGIN + 10).origin is None
    assert np.isfinite(process(heir, [10]).totals.quantiles).all()


def test_forecasts_do_not_wait_for_a_postgres_that_is_away(redis_client, settings, postgres, learned_state):
    process(learned_state(), [0])
    nowhere = LearnedCopy(settings.model_copy(update={"postgres_port": 1}))
    process(LearnedState(redis_client, nowhere, settings.interval), range(1, 3))
    assert redis_client.hget(LEARNED_KEY, "origin") == str(ORIGIN + 2).encode()
    assert learned_until(postgres) == dict.fromkeys(COPIED_PARTS, ORIGIN)
    redis_client.flushall()
    with pytest.raises(RetriableError):  # a copy that may be there is waited for
        LearnedState(redis_client, nowhere, settings.interval).finisher(KNOWING, ORIGIN + 3)


def test_forecasts_do_not_wait_for_a_postgres_that_hangs(redis_client, settings, postgres, monkeypatch, caplog):
    monkeypatch.setattr("Predictor.learned_copy.ANSWER_WITHIN_S", 0.2)
    copy, last = LearnedCopy(settings), 2 * COPY_EVERY_H
    learned = LearnedState(redis_client, copy, settings.interval)
    process(learned, [0])
    wait([copy._writing])
    with locked(postgres):
        process(learned, range(1, last + 1))
        assert redis_client.hget(LEARNED_KEY, "origin") == str(ORIGIN + last).encode()
        assert [record.message for record in caplog.records if record.event == "state_not_copied"] == [
            "what was learned is still being copied"
        ]
        redis_client.flushall()
        with pytest.raises(RetriableError, match="no answer from Postgres"):
            LearnedState(redis_client, copy, settings.interval).finisher(KNOWING, ORIGIN + last + 1)
    wait([copy._writing])
    assert learned_until(postgres) == dict.fromkeys(COPIED_PARTS, ORIGIN + COPY_EVERY_H)


@pytest.mark.parametrize("damage", [{b"factors": b"broken"}, {b"paths": b"\x80"}])
def test_what_cannot_be_read_is_dropped_and_learned_again(redis_client, learned_state, damage):
    process(learned_state(), range(5))
    redis_client.hset(LEARNED_KEY, mapping=damage)
    heir = learned_state()
    process(heir, range(5, 7))
    assert heir.finisher(KNOWING, ORIGIN + 7).origin == ORIGIN + 6


def test_hours_before_those_that_were_learned_from_start_anew(redis_client, learned_state):
    process(learned_state(), range(20, 25))
    learned = learned_state()
    process(learned, [3])
    assert redis_client.hget(LEARNED_KEY, "origin") == str(ORIGIN + 3).encode()


def test_hours_that_are_closed_again_go_on_with_an_older_copy(redis_client, postgres, learned_state):
    learned = learned_state()
    process(learned, range(2 * COPY_EVERY_H + 5))
    again = ORIGIN + 2 * COPY_EVERY_H + 2
    assert learned.finisher(KNOWING, again).origin == ORIGIN + 2 * COPY_EVERY_H
    process(learned, [2 * COPY_EVERY_H + 2])
    assert redis_client.hget(LEARNED_KEY, "origin") == str(again).encode()


def test_parts_whose_truth_has_come_leave_redis(redis_client, learned_state):
    learned = learned_state()
    process(learned, range(80))
    waiting = [name for name in redis_client.hkeys(LEARNED_KEY) if name.startswith(b"issue:")]
    assert len(waiting) == 72
