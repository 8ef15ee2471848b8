"""The trainer service on a real warehouse: what it leaves, and that it is seen to be alive while it fits."""

import pytest

from Predictor.forecasting.model_store import current_version, load
from Sensor_core.errors import ModelError
from Setup.lifecycle import Heartbeat
from tests.counted_heartbeat import CountedHeartbeat
from tests.quick_training import train_quickly
from Training_scripts import fitting
from Training_scripts.trainer import train_once

pytestmark = [pytest.mark.integration, pytest.mark.warehouse]

# A working week with noise, six weeks of it.
CONTENT = """
SELECT setseed(0.5), ensure_partitions('2016-07-01', '2016-09-01');
INSERT INTO sites VALUES (0, 'UTC', 51.5, -0.1, 'GB');
INSERT INTO buildings SELECT building, 0, 'Office', 500, 1999, 3 FROM generate_series(1, 4) AS building;
INSERT INTO readings
SELECT building, 0, hour,
       building * 10 * (1 + CASE WHEN extract(isodow FROM hour) < 6 AND extract(hour FROM hour) BETWEEN 7 AND 18
                                 THEN 2 ELSE 0 END) * (0.3 + random() * 1.4),
       hour + interval '1 hour'
FROM generate_series(1, 4) AS building,
     generate_series(timestamptz '2016-07-01 00:00Z', '2016-08-31 23:00Z', interval '1 hour') AS hour;
"""


@pytest.fixture
def trainer_settings(settings, tmp_path, monkeypatch):
    train_quickly(monkeypatch, trees=30)
    return settings.model_copy(update={"model_dir": tmp_path})


def test_a_model_that_beats_persistence_is_handed_over_and_the_trainer_is_alive_meanwhile(trainer_settings, postgres):
    with postgres.cursor() as cursor:
        cursor.execute(CONTENT)
    heartbeat = CountedHeartbeat()
    version = train_once(trainer_settings, heartbeat)
    assert version is not None
    assert current_version(trainer_settings.model_dir) == version
    assert load(trainer_settings.model_dir).card.meters == 4
    with postgres.cursor() as cursor:
        cursor.execute("SELECT model, meters FROM models")
        assert cursor.fetchall() == [(version, 4)]
    assert heartbeat.count > 2 * len(fitting.MEMBERS) * len(fitting.LEAD_GROUPS), "a beat a booster, in both fits"


def test_too_little_history_is_said(trainer_settings, postgres):
    with postgres.cursor() as cursor:
        cursor.execute(CONTENT + "DELETE FROM readings WHERE \"timestamp\" >= '2016-07-05'")
    with pytest.raises(ModelError, match="96 h of history are too little to train on: 672 h"):
        train_once(trainer_settings, Heartbeat())
