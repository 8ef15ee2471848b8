"""What every consumer's store has to do, the one in memory included: batch and offsets together, or neither."""

import pytest

from Consumers.history import History
from Consumers.store import Position
from Consumers.testing import MemoryStore, make_batch
from Consumers.warehouse import Warehouse
from Sensor_core.errors import FencedError, RetriableError
from Sensor_core.reading import Tick
from Sensor_core.testing import FIRST_HOUR, make_reading
from Setup.redis_client import METERS_KEY

engines = pytest.mark.integration
warehouse = pytest.mark.warehouse
TICK = Tick(FIRST_HOUR, FIRST_HOUR)
READINGS = [make_reading(building_id=building) for building in (1, 2)]


class Subject:
    """A store under test: how many of the readings it holds, and how to take its server away."""

    def __init__(self, name, request):
        self.topic = "readings"
        if name == "memory":
            self.store = MemoryStore()
            return
        self.settings = request.getfixturevalue("settings")
        self.redis = request.getfixturevalue("redis_client")
        self.postgres = request.getfixturevalue("postgres")
        self.topic = self.settings.topic_redis
        self.store = Warehouse(self.settings) if name == "postgres" else History(self.settings, self.redis, 2)

    def count(self):
        if isinstance(self.store, MemoryStore):
            return len([record for record in self.store.records if record != TICK])
        if isinstance(self.store, History):
            return self.redis.scard(METERS_KEY)
        with self.postgres.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM readings")
            return cursor.fetchone()[0]

    def unreachable(self):
        if isinstance(self.store, MemoryStore):
            self.store.is_away = True
            return self.store
        nowhere = self.settings.model_copy(update={"postgres_port": 9})
        if isinstance(self.store, Warehouse):
            return Warehouse(nowhere)
        return History(nowhere, type(self.redis)(port=9), 2)


@pytest.fixture(params=["memory", pytest.param("postgres", marks=[engines, warehouse]),
                        pytest.param("redis", marks=engines)])  # fmt: skip
def subject(request):
    return Subject(request.param, request)


def no_refusals(refused):
    raise AssertionError(refused)


def test_a_new_store_stands_nowhere(subject):
    partitions = [(subject.topic, 0), (subject.topic, 1)]
    assert subject.store.positions(partitions) == dict.fromkeys(partitions, Position(None, None))


def test_a_batch_is_stored_with_its_offsets_and_its_clock(subject):
    first, second = (subject.topic, 0), (subject.topic, 1)
    subject.store.positions([first])
    subject.store.write(make_batch([*READINGS, TICK], partition=first, start=None), no_refusals)
    assert subject.count() == 2
    assert subject.store.positions([first, second]) == {
        first: Position(3, FIRST_HOUR), second: Position(None, None)
    }  # fmt: skip
    subject.store.write(make_batch([make_reading(building_id=3)], partition=first, start=3), no_refusals)
    assert subject.count() == 3
    assert subject.store.positions([first]) == {first: Position(4, FIRST_HOUR)}


def test_a_batch_that_is_stored_already_is_no_error_and_changes_nothing(subject):
    partition = (subject.topic, 0)
    batch = make_batch(READINGS, partition=partition, start=None)
    subject.store.positions([partition])
    for _ in range(2):
        subject.store.write(batch, no_refusals)
    assert subject.count() == 2
    assert subject.store.positions([partition]) == {partition: Position(2, None)}


@pytest.mark.parametrize("start", [None, 1, 7])
def test_a_batch_from_elsewhere_is_fenced_and_changes_nothing(subject, start):
    partition = (subject.topic, 0)
    subject.store.positions([partition])
    subject.store.write(make_batch(READINGS, partition=partition, start=None), no_refusals)
    later = [make_reading(building_id=building) for building in (5, 6, 7)]
    with pytest.raises(FencedError):
        subject.store.write(make_batch(later, partition=partition, start=start), no_refusals)
    assert subject.count() == 2
    assert subject.store.positions([partition]) == {partition: Position(2, None)}


def test_a_store_that_does_not_answer_says_that_waiting_may_help(subject):
    store, partition = subject.unreachable(), (subject.topic, 0)
    with pytest.raises(RetriableError):
        store.positions([partition])
    with pytest.raises(RetriableError):
        store.write(make_batch(READINGS, partition=partition, start=None), no_refusals)
