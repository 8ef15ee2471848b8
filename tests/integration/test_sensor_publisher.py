"""The sensor on a real Kafka: where a replay begins and ends, started again or not."""

import threading
from contextlib import closing
from datetime import timedelta

import pytest
from kafka import KafkaProducer, TopicPartition

from Energy_consumption_sensor.feed import Feed, newest_tick
from Energy_consumption_sensor.sensor_publisher import Part, replay
from Sensor_core.errors import DataFolderError
from Sensor_core.reading import Reading, Tick, decode
from Sensor_core.testing import FIRST_HOUR
from Setup import publisher
from Setup.kafka_initialization import make_consumer
from Setup.lifecycle import Backoff

pytestmark = pytest.mark.integration
HOURS = 12
BROKEN_HOUR, DELIVERY_S = 5, 4.0


@pytest.fixture
def sensor_settings(settings, tmp_path):
    (tmp_path / "Sensors").mkdir()
    (tmp_path / "sites.csv").write_text("site_id,time_zone,latitude,longitude,country,stamps\n0,UTC,0,0,GB,utc\n")
    (tmp_path / "building_metadata.csv").write_text("site_id,building_id\n0,1\n")
    write_readings(tmp_path, range(HOURS))
    return settings.model_copy(update={"data_dir": tmp_path, "replay_seconds_per_hour": 0.0})


def write_readings(folder, hours):
    rows = [f"1,{FIRST_HOUR + timedelta(hours=hour):%Y-%m-%d %H:%M:%S},{hour}" for hour in hours]
    text = "\n".join(["building_id,timestamp,meter_reading", *rows, ""])
    (folder / "Sensors" / "new_consumptions.csv").write_text(text)


def hours_published(settings):
    newest = newest_tick(settings)
    return 0 if newest is None else newest - settings.interval.step_of(FIRST_HOUR) + 1


def run(settings, **part):
    replay(settings, threading.Event(), Part(**part))
    return hours_published(settings)


def test_a_replay_goes_on_after_the_newest_hour_that_the_topics_hold(sensor_settings):
    assert run(sensor_settings, hours=5) == 5
    assert run(sensor_settings, hours=5) == 10
    assert run(sensor_settings) == HOURS
    assert run(sensor_settings) == HOURS


def test_a_sensor_that_is_started_again_ends_where_it_was_first_to_end(sensor_settings, tmp_path):
    assert run(sensor_settings, hours=2) == 2
    end_file = tmp_path / "end"
    end_file.write_text((FIRST_HOUR + timedelta(hours=6)).isoformat())  # as a process that died has left it
    assert run(sensor_settings, hours=4, end_file=end_file) == 6
    assert run(sensor_settings, hours=4, end_file=end_file) == 6
    end_file.unlink()
    assert run(sensor_settings, hours=3, end_file=end_file) == 9
    assert run(sensor_settings, hours=3, end_file=end_file) == 9


def test_a_file_that_ends_before_what_the_topics_hold_is_refused_and_a_finished_one_is_not(
    sensor_settings, tmp_path, caplog
):
    caplog.set_level("INFO")
    assert run(sensor_settings) == HOURS
    assert run(sensor_settings) == HOURS
    assert "everything until 2016-09-01 12:00:00+00:00 is published already" in caplog.text
    write_readings(tmp_path, range(HOURS - 1))
    with pytest.raises(DataFolderError, match=r"until 2016-09-01 10:00.* hold 2016-09-01 11:00.*empty volumes"):
        run(sensor_settings)
    assert run(sensor_settings, from_start=True) == HOURS
    write_readings(tmp_path, range(HOURS + 1))
    assert run(sensor_settings) == HOURS + 1


@pytest.fixture
def impatient(monkeypatch):
    """Producers give a message up after ``DELIVERY_S``, and who sends it again does not wait for long."""
    monkeypatch.setattr(Backoff, "LONGEST_S", 0.5)
    shorter = {"delivery_timeout_ms": int(1000 * DELIVERY_S), "request_timeout_ms": 2000}
    monkeypatch.setattr(publisher, "KafkaProducer", lambda **given: KafkaProducer(**given | shorter))


@pytest.fixture
def outage(engines, monkeypatch):
    """The broker goes between one hour's readings and its ticks, and comes back once these have been given up."""
    tick = Feed.tick
    back = threading.Timer(DELIVERY_S + 1, engines.restart, ["kafka"])

    def tick_in_vain(feed, timestamp, known_at):
        if timestamp == FIRST_HOUR + timedelta(hours=BROKEN_HOUR) and back.ident is None:
            feed.flush()
            engines.kill("kafka")
            back.start()
        tick(feed, timestamp, known_at)

    monkeypatch.setattr(Feed, "tick", tick_in_vain)
    yield
    back.join()


def arrived_in(consumer, partition, interval):
    """Readings and ticks of one partition in order, each where it came first."""
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end, found = consumer.end_offsets([partition])[partition], {}
    while consumer.position(partition) < end:
        for message in consumer.poll(500).get(partition, ()):
            found.setdefault(decode(message.headers[0][1], message.value, interval))
    return list(found)


@pytest.mark.usefixtures("impatient", "outage", "leaking_clients")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_is_away_for_longer_than_messages_wait_misses_no_hour(sensor_settings):
    assert run(sensor_settings) == HOURS
    interval, hours = sensor_settings.interval, [FIRST_HOUR + timedelta(hours=hour) for hour in range(HOURS)]
    for topic in sensor_settings.consumption_topics:
        with closing(make_consumer(sensor_settings, None)) as consumer:
            places = [TopicPartition(topic, number) for number in range(sensor_settings.kafka_partitions)]
            arrived = [arrived_in(consumer, place, interval) for place in places]
        for records in arrived:
            assert [record.timestamp for record in records if type(record) is Tick] == hours
        (of_the_meter,) = [records for records in arrived if any(type(record) is Reading for record in records)]
        assert [(type(record), record.timestamp) for record in of_the_meter] == [
            (kind, hour) for hour in hours for kind in (Reading, Tick)
        ]
