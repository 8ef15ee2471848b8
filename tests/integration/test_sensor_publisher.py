"""The sensor on a real Kafka: where a replay begins and ends, started again or not."""

import threading
from datetime import timedelta

import pytest

from Energy_consumption_sensor.feed import newest_tick
from Energy_consumption_sensor.sensor_publisher import Part, replay
from Sensor_core.errors import DataFolderError
from Sensor_core.testing import FIRST_HOUR

pytestmark = pytest.mark.integration
HOURS = 12


@pytest.fixture
def sensor_settings(settings, tmp_path):
    (tmp_path / "Sensors").mkdir()
    (tmp_path / "sites.csv").write_text("site_id,time_zone,latitude,longitude,country,stamps\n0,UTC,0,0,GB,utc\n")
    (tmp_path / "building_metadata.csv").write_text("site_id,building_id\n0,1\n")
    write_readings(tmp_path, range(HOURS))
    changes = {"data_dir": tmp_path, "replay_seconds_per_hour": 0.0, "heartbeat_file": tmp_path / "heartbeat"}
    return settings.model_copy(update=changes)


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
    assert sensor_settings.heartbeat_file.exists()


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
