"""An emptied Redis: rebuilt from Postgres and a part of the topic, equal to one that was never lost."""

import threading
import time
from datetime import timedelta

import numpy as np
import pytest
from kafka import TopicPartition

from Consumers import postgre_consumer, redis_consumer
from Consumers.history import History
from Energy_consumption_sensor.feed import Feed
from Predictor import prediction_processing
from Predictor.building_directory import BuildingDirectory
from Predictor.closed_hours import ClosedHour, filling_that_closed
from Predictor.prediction_processing import CacheFilling
from Sensor_core.errors import FencedError, RetriableError
from Sensor_core.testing import FIRST_HOUR, make_reading
from Setup import cache_tool
from Setup.buildings_info import SLOT
from Setup.cache_filling import FILLED, fill_cache, is_filled
from Setup.initialise import prepare
from Setup.kafka_initialization import make_consumer
from Setup.publisher import Publisher
from Setup.redis_client import CLOSED_KEY, METERS_KEY, RING_PREFIX, STATE_KEY
from Setup.topic_position import resume_offsets, ticks_between
from tests.integration.test_consumers import DEADLINE_S, consume_until, publish_hour, query, stored_ticks

pytestmark = pytest.mark.integration
METERS = [1, 2, 3, 4, 5]


@pytest.fixture
def feed(settings):
    publisher = Publisher(settings, "test")
    yield Feed(publisher, settings.consumption_topics)
    publisher.close()


def hourly(hour):
    return [make_reading(building_id=b, hour=hour, kwh=b + hour / 7, known_after_h=0.99999) for b in METERS]


def rings(client):
    """Every ring's slots by meter."""
    names = client.smembers(METERS_KEY)
    return {
        name: np.frombuffer(client.get(RING_PREFIX.encode() + name).ljust(1008 * 24, b"\0"), SLOT) for name in names
    }


def assert_equal_rings(one, other):
    assert one.keys() == other.keys()
    for name, ring in one.items():
        np.testing.assert_array_equal(ring, other[name], err_msg=name.decode())


def closed_hours(client, settings):
    first = settings.interval.step_of(FIRST_HOUR)
    return [int(entry.split(b"-")[0]) - first for entry, _ in client.xrange(CLOSED_KEY)]


def fill_both(settings, postgres, client, feed, hours):
    for hour in range(hours):
        publish_hour(feed, hour, hourly(hour))
    consume_until(redis_consumer.run, settings, lambda: client.xlen(CLOSED_KEY) == hours)
    consume_until(postgre_consumer.run, settings, stored_ticks(postgres, settings, hours - 1))


def issue(postgres, *hours):
    """Forecasts of these hours, as the warehouse would have them."""
    with postgres.cursor() as cursor:
        for hour in hours:
            issued_at = FIRST_HOUR + timedelta(hours=hour)
            cursor.execute("SELECT ensure_partitions(%s, %s)", (issued_at, issued_at))
            cursor.execute(
                "INSERT INTO forecasts VALUES (1, 0, %s, now(), 'm', 'full', %s, %s, %s)",
                (issued_at, *([0.0] * 48 for _ in range(3))),
            )


def test_rings_from_postgres_are_those_of_the_consumer_bit_for_bit(settings, postgres, redis_client, feed):
    fill_both(settings, postgres, redis_client, feed, 5)
    undisturbed = rings(redis_client)
    redis_client.flushall()
    filling = fill_cache(settings, redis_client)
    assert (filling.meters, filling.readings) == (5, 25)
    assert_equal_rings(rings(redis_client), undisturbed)


def test_hours_without_forecasts_close_again_and_no_others(settings, postgres, redis_client, feed):
    fill_both(settings, postgres, redis_client, feed, 6)
    issue(postgres, 0, 1, 2, 3)
    fill_cache(settings, redis_client)
    assert closed_hours(redis_client, settings) == []
    partition = (settings.topic_redis, 0)
    position = History(settings, redis_client, settings.kafka_partitions).positions([partition])[partition]
    assert position.clock == FIRST_HOUR + timedelta(hours=2), "what is far ahead is refused before the next tick"
    consume_until(redis_consumer.run, settings, lambda: redis_client.xlen(CLOSED_KEY) == 3)
    assert closed_hours(redis_client, settings) == [3, 4, 5]


def test_reading_goes_on_a_margin_before_what_postgres_has_and_before_the_next_tick(
    settings, postgres, redis_client, feed, monkeypatch
):
    monkeypatch.setattr("Setup.topic_position._LOOK_BACK", 1)
    fill_both(settings, postgres, redis_client, feed, 8)
    stored = dict(
        query(
            postgres,
            f"SELECT \"partition\", next_offset FROM consumer_offsets WHERE topic = '{settings.topic_postgre}'",
        )
    )
    first = settings.interval.step_of(FIRST_HOUR)
    assert resume_offsets(settings, stored, None) == {}
    assert resume_offsets(settings, {}, first + 7) == {}
    assert resume_offsets(settings, stored, first + 7, margin_s=3600) == {}
    near, far = (resume_offsets(settings, stored, first + closed, margin_s=0) for closed in (7, 3))
    assert near.keys() == {0, 1, 2}
    consumer = make_consumer(settings, None)
    for number, end in near.items():
        partition = TopicPartition(settings.topic_redis, number)
        start = far.get(number, 0)
        assert start < end
        assert min(ticks_between(consumer, partition, start, end + 1, settings.interval)) <= first + 4
    consumer.close()


def test_what_was_deleted_unread_is_taken_from_postgres(settings, postgres, redis_client, feed, kafka_admin):
    fill_both(settings, postgres, redis_client, feed, 3)
    issue(postgres, 0, 1, 2)
    for hour in range(3, 6):
        publish_hour(feed, hour, hourly(hour))
    consume_until(postgre_consumer.run, settings, stored_ticks(postgres, settings, 5))
    partitions = [TopicPartition(settings.topic_redis, number) for number in range(settings.kafka_partitions)]
    kafka_admin.delete_records(dict.fromkeys(partitions, -1))
    publish_hour(feed, 6, hourly(6))
    last = settings.interval.step_of(FIRST_HOUR) + 6

    def done():
        """The predictor has forecast hours 0 to 2, which lets the cache be filled."""
        for entry, _ in redis_client.xrange(CLOSED_KEY, count=3):
            if int(entry.split(b"-")[0]) < last:
                redis_client.xdel(CLOSED_KEY, entry)
        return redis_client.hget(STATE_KEY, "closed") == b"%d" % last

    consume_until(redis_consumer.run, settings, done)
    assert {int(np.count_nonzero(ring["step"])) for ring in rings(redis_client).values()} == {7}
    assert closed_hours(redis_client, settings) == [6]


def test_an_emptied_redis_is_noticed_while_nothing_comes(settings, postgres, redis_client, feed):
    fill_both(settings, postgres, redis_client, feed, 3)
    undisturbed, flushed = rings(redis_client), threading.Event()

    def done():
        if not flushed.is_set():
            redis_client.flushall()
            flushed.set()
        return redis_client.xlen(CLOSED_KEY) == 3

    consume_until(redis_consumer.run, settings, done)
    assert_equal_rings(rings(redis_client), undisturbed)


def test_nothing_is_written_to_a_cache_that_is_not_filled(settings, redis_client, feed):
    publish_hour(feed, 0, hourly(0))
    store = History(settings, redis_client, settings.kafka_partitions)
    store.positions([])
    redis_client.flushall()
    with pytest.raises(FencedError, match="emptied"):
        store.limit({})
    fill_cache(settings, redis_client)
    with pytest.raises(FencedError, match="emptied"):
        store.limit({})
    store.positions([])
    assert store.limit({}) is not None


def test_a_flush_during_the_filling_starts_it_anew(settings, postgres, redis_client, feed, monkeypatch):
    fill_both(settings, postgres, redis_client, feed, 2)
    monkeypatch.setattr("Setup.cache_filling._rings", lambda *_: redis_client.flushall() and iter([]))
    with pytest.raises(RetriableError, match="emptied"):
        fill_cache(settings, redis_client)
    assert not is_filled(redis_client)


def test_two_do_not_fill_at_once_and_a_failure_lets_the_next_one(settings, redis_client, monkeypatch):
    redis_client.set("energy:lease:fill", "another", ex=60)
    with pytest.raises(RetriableError, match="another process"):
        fill_cache(settings, redis_client)
    assert redis_client.get("energy:lease:fill") == b"another"
    redis_client.delete("energy:lease:fill")
    with pytest.raises(RetriableError, match="no topic never_made"):
        fill_cache(settings.model_copy(update={"topic_redis": "never_made"}), redis_client)
    fill_cache(settings, redis_client)


def test_the_predictor_turns_on_while_postgres_hangs_in_the_middle_of_a_filling(settings, postgres, redis_client):
    redis_client.flushall()
    filling = CacheFilling(settings, redis_client, threading.Event())
    postgres.autocommit = False
    with postgres.cursor() as cursor:
        cursor.execute("LOCK TABLE meters")
        for _ in range(5):
            filling.go_on()
        assert not is_filled(redis_client)
        postgres.rollback()
    deadline = time.monotonic() + DEADLINE_S
    while not is_filled(redis_client) and time.monotonic() < deadline:
        filling.go_on()
    assert is_filled(redis_client)


def test_an_hour_is_forecast_only_from_a_cache_that_closed_it(settings, redis_client):
    hour = ClosedHour(b"10-0", 10, FIRST_HOUR)
    for state in ({}, {"closed": "10"}, {FILLED: "a"}, {FILLED: "a", "closed": "9"}):
        redis_client.delete(STATE_KEY)
        if state:
            redis_client.hset(STATE_KEY, mapping=state)
        with pytest.raises(RetriableError, match="close again"):
            filling_that_closed(redis_client, hour)
    redis_client.hset(STATE_KEY, mapping={FILLED: "a", "closed": "10"})
    assert filling_that_closed(redis_client, hour) == b"a"


def test_setup_run_again_brings_changed_metadata_to_the_predictor_and_leaves_the_rest(
    settings, postgres, redis_client, feed, tmp_path
):
    sites, buildings = tmp_path / "sites.csv", tmp_path / "building_metadata.csv"
    sites.write_text("site_id,time_zone,latitude,longitude,country,stamps,limit_kw\n0,UTC,0,0,GB,utc,50\n")
    buildings.write_text("site_id,building_id\n0,1\n")
    chosen = settings.model_copy(update={"data_dir": tmp_path})
    prepare(chosen, threading.Event(), demonstration=False)
    directory = BuildingDirectory(redis_client)
    assert directory.refresh()
    fill_both(settings, postgres, redis_client, feed, 2)
    undisturbed, state = rings(redis_client), redis_client.hgetall(STATE_KEY)
    sites.write_text(sites.read_text().replace(",50", ",70"))
    buildings.write_text("site_id,building_id\n0,1\n0,2\n")
    prepare(chosen, threading.Event(), demonstration=False)
    assert directory.refresh()
    assert directory.limits_kw == {0: 70}
    assert [int(site) for site in directory.meters_of([(1, 0), (2, 0)]).site] == [0, 0]
    assert_equal_rings(rings(redis_client), undisturbed)
    assert redis_client.hgetall(STATE_KEY) == state


@pytest.fixture
def rebuild(settings, monkeypatch, capsys):
    """Run the command; gives its exit code and what it printed."""
    monkeypatch.setattr(cache_tool, "load_settings", lambda: settings)
    return lambda: (cache_tool.main(["rebuild"]), capsys.readouterr().out)


def test_the_command_rebuilds_a_filled_cache_too(settings, postgres, redis_client, feed, rebuild):
    fill_both(settings, postgres, redis_client, feed, 2)
    undisturbed = rings(redis_client)
    redis_client.set(RING_PREFIX + "1:0", b"broken")
    code, printed = rebuild()
    assert code == 0
    assert printed.startswith("10 readings of 5 meters in ")
    assert_equal_rings(rings(redis_client), undisturbed)


@pytest.fixture
def pipeline(settings):
    """Both consumers and the predictor, side by side; calling it waits until something is so."""
    chosen = settings.model_copy(update={"weather_source": "none", "predictor_threads": 1})
    stop, errors = threading.Event(), []

    def guarded(service):
        try:
            service.run(chosen, stop)
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    services = (postgre_consumer, redis_consumer, prediction_processing)
    threads = [threading.Thread(target=guarded, args=[service]) for service in services]
    for thread in threads:
        thread.start()

    def wait_for(condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition() and not errors and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not errors
        assert condition()

    yield wait_for
    stop.set()
    for thread in threads:
        thread.join(timeout=30)


def test_flushes_amid_a_replay_cost_no_forecast(settings, postgres, redis_client, feed, pipeline):
    """One while hours stream in, one when all of them have been forecast, and more come."""
    last_step = b"%d" % (settings.interval.step_of(FIRST_HOUR) + 11)
    publish_hour(feed, 0, hourly(0))
    pipeline(lambda: redis_client.xlen(CLOSED_KEY) == 1 or query(postgres, "SELECT count(*) FROM forecasts") == [(5,)])
    for hour in range(1, 12):
        publish_hour(feed, hour, hourly(hour))
        if hour == 4:
            redis_client.flushall()
        if hour == 8:
            pipeline(lambda: query(postgres, "SELECT count(*) FROM forecasts") == [(45,)])
            redis_client.flushall()
    pipeline(lambda: query(postgres, "SELECT count(*) FROM forecasts") == [(60,)])
    pipeline(lambda: redis_client.hget(STATE_KEY, "closed") == last_step)
    per_hour = query(postgres, "SELECT issued_at, count(*) FROM forecasts GROUP BY 1")
    assert [count for _, count in per_hour] == [len(METERS)] * 12
    disturbed = rings(redis_client)
    assert {int(np.count_nonzero(ring["step"])) for ring in disturbed.values()} == {12}
    for building in METERS:
        steps = disturbed[b"%d:0" % building]
        expected = {
            settings.interval.step_of(r.timestamp): r for h in range(12) for r in hourly(h) if r.building_id == building
        }
        assert {int(s): (k, v) for s, k, v in steps if s} == {
            step: (reading.known_at.timestamp(), reading.meter_reading) for step, reading in expected.items()
        }
