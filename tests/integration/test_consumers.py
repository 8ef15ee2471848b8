"""Both consumers on real engines: what is published ends in the stores, once, whatever comes twice or wrong."""

import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest
from prometheus_client import REGISTRY

from Consumers import postgre_consumer, redis_consumer
from Energy_consumption_sensor.feed import Feed, newest_tick
from Predictor.rings import Rings
from Sensor_core.decision import DECISION_SCHEMA, Decision
from Sensor_core.errors import UnreachableError
from Sensor_core.reading import LATEST, READING_SCHEMA, TICK_SCHEMA, Reading, Tick
from Sensor_core.testing import FIRST_HOUR, make_reading
from Setup.metrics import HEALTH
from Setup.postgres import Role, connect
from Setup.publisher import Publisher
from Setup.redis_client import CLOSED_KEY, METERS_KEY

pytestmark = [pytest.mark.integration, pytest.mark.warehouse]
DEADLINE_S = 60


@pytest.fixture
def publisher(settings):
    publisher = Publisher(settings, "test")
    yield publisher
    publisher.close()


@pytest.fixture
def feed(settings, publisher):
    return Feed(publisher, settings.consumption_topics)


def publish_hour(feed, hour, readings):
    for reading in readings:
        feed.publish(reading)
    timestamp = FIRST_HOUR + timedelta(hours=hour)
    feed.tick(timestamp, timestamp + timedelta(hours=1))
    feed.flush()


def consume_until(run, settings, done):
    """Run a consumer in a thread until ``done`` says so; its errors are the test's."""
    stop, errors = threading.Event(), []

    def guarded():
        try:
            run(settings, stop)
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    deadline = time.monotonic() + DEADLINE_S
    try:
        while not done() and not errors and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join(timeout=30)
    if errors:
        raise errors[0]
    assert done(), "the consumer did not get there in time"


def query(postgres, statement):
    with postgres.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def stored_ticks(postgres, settings, hour):
    def done():
        rows = query(postgres, f"SELECT clock FROM consumer_offsets WHERE topic = '{settings.topic_postgre}'")
        return len(rows) == 3 and all(clock == FIRST_HOUR + timedelta(hours=hour) for (clock,) in rows)

    return done


def test_readings_are_stored_once_with_their_totals(settings, postgres, feed):
    query_sites = "INSERT INTO sites VALUES (5, 'UTC', 0, 0, 'GB'); INSERT INTO buildings VALUES (1, 5), (2, 5)"
    with postgres.cursor() as cursor:
        cursor.execute(query_sites)
    readings = [make_reading(building_id=b, hour=h, kwh=0.1 * (b + h)) for h in range(3) for b in (1, 2)]
    for hour in range(3):
        hourly = [r for r in readings if r.timestamp == FIRST_HOUR + timedelta(hours=hour)]
        publish_hour(feed, hour, hourly + hourly)
    consume_until(postgre_consumer.run, settings, stored_ticks(postgres, settings, 2))
    rows = query(postgres, 'SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM readings')
    assert sorted(rows) == sorted(msgspec.structs.astuple(r) for r in readings)
    assert query(postgres, "SELECT count(*) FROM reading_revisions") == [(0,)]
    totals = query(
        postgres, 'SELECT energy_kwh, meters_reported, meters_expected FROM hourly_site_totals ORDER BY "timestamp"'
    )
    assert totals == [(pytest.approx(0.3), 2, 2), (pytest.approx(0.5), 2, 2), (pytest.approx(0.7), 2, 2)]
    assert newest_tick(settings) == settings.interval.step_of(FIRST_HOUR) + 2


def test_readings_at_the_limits_of_what_is_accepted_are_stored_to_the_bit(settings, postgres, feed):
    early, late = datetime(1990, 1, 1, tzinfo=UTC), datetime(2099, 12, 31, 23, tzinfo=UTC)
    readings = [
        Reading(2**31 - 1, 3, early, 1e9, early + timedelta(microseconds=1)),
        Reading(0, 0, late, 0.1 + 0.2, late.astimezone(timezone(timedelta(hours=2)))),
        Reading(1, 2, FIRST_HOUR, 5e-324, FIRST_HOUR + timedelta(microseconds=999_999)),
    ]
    publish_hour(feed, 0, readings)
    consume_until(postgre_consumer.run, settings, stored_ticks(postgres, settings, 0))
    rows = query(postgres, 'SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM readings')
    assert sorted(rows) == sorted(msgspec.structs.astuple(r) for r in readings)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_newest_correction_wins_in_any_order_and_the_others_are_kept(settings, postgres, feed, order):
    versions = [make_reading(kwh=kwh, known_after_h=after) for kwh, after in ((10, 1), (99, 2), (20, 3))]
    for hour, version in enumerate(order):
        publish_hour(feed, hour, [versions[version]])
    consume_until(postgre_consumer.run, settings, stored_ticks(postgres, settings, 2))
    assert query(postgres, "SELECT meter_reading_kwh FROM readings") == [(20.0,)]
    assert query(postgres, "SELECT meter_reading_kwh FROM reading_revisions ORDER BY known_at") == [(10.0,), (99.0,)]
    for moment, known in {"00:59": [], "01:00": [(10.0,)], "02:30": [(99.0,)], "03:00": [(20.0,)]}.items():
        question = f"SELECT meter_reading_kwh FROM readings_known_at('2016-09-01 {moment}Z')"
        assert query(postgres, question) == known


def test_what_was_known_of_one_meter_is_looked_up_and_not_searched_for(settings, postgres, feed):
    publish_hour(feed, 0, [make_reading(building_id=building) for building in (1, 3)])
    consume_until(postgre_consumer.run, settings, stored_ticks(postgres, settings, 0))
    question = "SELECT building_id FROM readings_known_at('2016-09-03 10:00Z') WHERE building_id = 3"
    with closing(connect(settings, Role.GRAFANA)) as reader:
        assert query(reader, question) == [(3,)]
        plan = "\n".join(line for (line,) in query(reader, f"EXPLAIN {question}"))
    assert plan.count("building_id = 3") >= 2
    assert "Function Scan" not in plan


def test_what_can_never_be_stored_is_a_dead_letter_and_unknown_buildings_are_not(settings, postgres, publisher, feed):
    bad = [
        b"{",
        msgspec.json.encode(make_reading()).replace(b"00:00Z", b"17:00Z", 1),
    ]
    for value in bad:
        publisher.send(settings.topic_postgre, value, key=b"1:0", schema=READING_SCHEMA)
    publish_hour(feed, 0, [make_reading(building_id=77)])

    def done():
        return query(postgres, "SELECT count(*) FROM dead_letters") == [(2,)] and stored_ticks(postgres, settings, 0)()

    consume_until(postgre_consumer.run, settings, done)
    rows = query(postgres, "SELECT topic, payload, consumer FROM dead_letters")
    assert {(topic, bytes(payload), consumer) for topic, payload, consumer in rows} == {
        (settings.topic_postgre, value, "postgre_consumer") for value in bad
    }
    assert query(postgres, "SELECT building_id FROM unknown_buildings") == [(77,)]
    assert query(postgres, "SELECT count(*) FROM readings") == [(1,)]


def test_a_stopped_consumer_goes_on_where_its_store_stands(settings, postgres, feed):
    for hour in range(2):
        publish_hour(feed, hour, [make_reading(hour=hour)])
    consume_until(postgre_consumer.run, settings, stored_ticks(postgres, settings, 1))
    publish_hour(feed, 2, [make_reading(hour=2)])
    consume_until(postgre_consumer.run, settings, stored_ticks(postgres, settings, 2))
    assert query(postgres, "SELECT count(*) FROM readings") == [(3,)]


def test_hours_close_in_redis_once_and_in_order(settings, redis_client, feed):
    for hour in range(4):
        publish_hour(feed, hour, [make_reading(building_id=b, hour=hour) for b in (1, 2, 3)])
    first = settings.interval.step_of(FIRST_HOUR)
    expected = [f"{first + hour}-0".encode() for hour in range(4)]
    consume_until(redis_consumer.run, settings, lambda: redis_client.xlen(CLOSED_KEY) == 4)
    assert [entry for entry, _ in redis_client.xrange(CLOSED_KEY)] == expected
    assert redis_client.smembers(METERS_KEY) == {b"1:0", b"2:0", b"3:0"}


def publish_one_by_one(publisher, topic, hours):
    """A meter's hours in each partition, the first hour of all of them first; says when a partition is complete."""
    for part in (hours[:1], hours[1:]):
        for partition, building in enumerate((1, 2, 3)):
            for hour in part:
                reading = make_reading(building_id=building, hour=hour, kwh=hour)
                tick = Tick(reading.timestamp, reading.timestamp)
                for record, schema in ((reading, READING_SCHEMA), (tick, TICK_SCHEMA)):
                    payload = msgspec.json.encode(record)
                    publisher.send(topic, payload, key=None, schema=schema, partition=partition)
            publisher.flush()
            yield partition


def test_no_partition_runs_ahead_of_the_rings_while_others_wait(settings, redis_client, publisher):
    chosen = settings.model_copy(update={"history_h": 336, "batch_max_messages": 300})
    hours, meters = 1000, (1, 2, 3)
    published = publish_one_by_one(publisher, settings.topic_redis, range(hours))
    for _ in meters:
        next(published)
    first, rings, lacking, forecast = settings.interval.step_of(FIRST_HOUR), Rings(chosen, redis_client), [], []

    def forecast_all():
        if forecast and next(published, None) == 0:
            time.sleep(1.5)  # the consumer has read all of the first partition, and nothing of the others
        for entry, _ in redis_client.xrange(CLOSED_KEY):
            step = int(entry.split(b"-")[0])
            past = rings.read(step, LATEST)
            known = np.count_nonzero(~np.isnan(past.readings_kwh), axis=1)
            if known.tolist() != [min(step - first + 1, 336)] * len(meters):
                lacking.append((step - first, known.tolist()))
            redis_client.xdel(CLOSED_KEY, entry)
            forecast.append(step - first)
        return len(forecast) == hours

    consume_until(redis_consumer.run, chosen, forecast_all)
    assert forecast == list(range(hours))
    assert not lacking


def test_a_consumer_waits_for_its_topics_and_names_the_one_that_does_not_come(settings):
    hurried = settings.model_copy(update={"topic_redis": "never_made", "start_deadline_s": 2.0})
    with pytest.raises(UnreachableError, match="there is no topic never_made"):
        redis_consumer.run(hurried, threading.Event())


def test_decisions_of_sites_and_the_grid_are_stored_once_as_first_issued(settings, postgres, publisher):
    fields = {
        "meter": 0, "issued_at": FIRST_HOUR, "made_at": FIRST_HOUR, "model": "m\t1", "window_h": 24,
        "peak_at": FIRST_HOUR + timedelta(hours=9), "peak_probability": 0.75, "peak_q10_kw": 1.0, "peak_q50_kw": 2.0,
        "peak_q90_kw": 3.0, "reserve_kw": 0.5,
    }  # fmt: skip
    grid = Decision(site_id=None, limit_kw=None, limit_probability=None, **fields)
    site = Decision(site_id=3, limit_kw=5.0, limit_probability=0.25, **fields)
    later = msgspec.structs.replace(grid, peak_q50_kw=99.0)
    for record in (grid, site, later):
        payload = msgspec.json.encode(record)
        publisher.send(settings.topic_predictions, payload, key=b"total", schema=DECISION_SCHEMA)
    publisher.flush()
    read = f"SELECT sum(next_offset) FROM consumer_offsets WHERE topic = '{settings.topic_predictions}'"
    consume_until(postgre_consumer.run, settings, lambda: query(postgres, read) == [(3,)])
    stored = query(postgres, "SELECT * FROM decisions ORDER BY site_id NULLS FIRST")
    assert stored == [msgspec.structs.astuple(grid), msgspec.structs.astuple(site)]


def test_what_a_consumer_stores_shows_in_its_metrics(settings, postgres, publisher, feed):
    def value(name, **labels):
        return REGISTRY.get_sample_value(f"energy_{name}", labels) or 0

    before = {name: value(name) for name in ("batches_total", "write_seconds_count")}
    readings, bad = value("records_total", type="Reading"), value("dead_letters_total", topic=settings.topic_postgre)
    publisher.send(settings.topic_postgre, b"{", key=b"1:0", schema=READING_SCHEMA)
    publish_hour(feed, 0, [make_reading(building_id=b) for b in (1, 2, 3)])
    consume_until(postgre_consumer.run, settings, stored_ticks(postgres, settings, 0))
    assert value("records_total", type="Reading") == readings + 3
    assert value("dead_letters_total", topic=settings.topic_postgre) == bad + 1
    assert all(value(name) > count for name, count in before.items())
    assert value("watermark_timestamp_seconds") == FIRST_HOUR.timestamp()
    assert value("lag_messages", topic=settings.topic_postgre, partition="0") == 0
    assert HEALTH.is_ready()
