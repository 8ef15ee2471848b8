"""Forecasts of long ago are dropped on a real Postgres: their scores stay, and nothing that comes late is lost."""

import logging
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from Consumers.testing import make_batch
from Consumers.warehouse import Warehouse
from Sensor_core.errors import RetriableError
from Sensor_core.forecast import MeterForecast
from Setup.lifecycle import Heartbeat, Stop
from Setup.postgres import Role, connect
from Training_scripts.retention import drop_old_forecasts
from Training_scripts.self_scoring import score_forecasts
from Training_scripts.trainer import Watch

pytestmark = pytest.mark.integration

# Two meters and their total, forecast on the 2nd, 12th and 22nd of each month; the newest issue is of 2016-06-22.
CONTENT = """
SELECT ensure_partitions('2016-01-01', '2016-06-30');
INSERT INTO forecasts
SELECT building, 0, day, day, 'm', 'full',
       array_fill(1::real, '{48}'), array_fill(2::real, '{48}'), array_fill(3::real, '{48}')
FROM generate_series(1, 2) AS building, generate_series(1, 6) AS month, unnest('{2,12,22}'::integer[]) AS d,
     make_timestamptz(2016, month, d, 0, 0, 0, 'UTC') AS day;
INSERT INTO aggregate_forecasts
SELECT NULL, 0, issued_at, made_at, model, 2, q10, q10, q10, q10, q50, q90, q90, q90, q90
FROM forecasts WHERE building_id = 1;
INSERT INTO decisions
SELECT NULL, 0, issued_at, made_at, model, 24, issued_at, 0.5, 1, 2, 3, NULL, NULL, 1
FROM forecasts WHERE building_id = 1;
INSERT INTO weather_forecasts
SELECT 0, issued_at, 'w', q50, q50, q50, q50, q50, q50, q50 FROM forecasts WHERE building_id = 1;
INSERT INTO readings
SELECT building_id, 0, hour, 2.5, hour + interval '1 hour'
FROM forecasts, generate_series(issued_at, issued_at + interval '48 hours', interval '1 hour') AS hour;
INSERT INTO consumer_offsets (topic, "partition", next_offset, clock) VALUES ('readings', 0, 1, '2016-06-24');
"""
# A forecast of the last hour before the months that stay, and truth for it.
LEAP_DAY = """
INSERT INTO forecasts SELECT 1, 0, '2016-02-29 23:00Z', made_at, model, quality, q10, q50, q90
FROM forecasts WHERE building_id = 1 AND issued_at = '2016-02-22';
INSERT INTO readings SELECT 1, 0, hour, 2.5, hour
FROM generate_series(timestamptz '2016-02-29 23:00Z', '2016-03-01 23:00Z', '1 hour') AS hour;
INSERT INTO rescoring VALUES (1, 0, '2016-03-01'), (1, 0, '2016-03-02');
"""
CORRECTION = """
UPDATE readings SET meter_reading_kwh = 3 WHERE "timestamp" BETWEEN '2016-03-01' AND '2016-03-04';
INSERT INTO rescoring SELECT building, 0, day
FROM generate_series(1, 2) AS building, generate_series(timestamptz '2016-03-01', '2016-03-03', '1 day') AS day;
"""
TABLES = ("forecasts", "aggregate_forecasts", "decisions")
OLD = datetime(2016, 2, 12, tzinfo=UTC)


@pytest.fixture
def trainer(settings, postgres):
    """90 days before 2016-06-22 are the 24th of March: January and February go."""
    with postgres.cursor() as cursor:
        cursor.execute(CONTENT)
    chosen = settings.model_copy(update={"forecast_retention_days": 90})
    score(chosen)
    return chosen


def score(settings):
    return score_forecasts(settings, Heartbeat(), Stop())


def drop(settings):
    return drop_old_forecasts(settings, Heartbeat(), Stop())


def rows(connection, query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def months(postgres, table):
    query = f"SELECT DISTINCT date_part('month', issued_at)::integer FROM {table} ORDER BY 1"
    return [month for (month,) in rows(postgres, query)]


def contents(postgres, *tables):
    return {table: rows(postgres, f"SELECT t::text FROM {table} t ORDER BY 1") for table in tables}


def forecast(issued_at, building_id=1):
    quantiles = {name: [9.0] * 48 for name in ("q10", "q50", "q90")}
    return MeterForecast(
        building_id=building_id, meter=0, issued_at=issued_at, made_at=issued_at, model="m", quality="full", **quantiles
    )


def no_refusals(refused):
    raise AssertionError(refused)


def test_months_that_end_before_the_retention_are_dropped_and_scores_readings_and_weather_stay(trainer, postgres):
    stays = ("scores", "readings", "weather_forecasts")
    before = contents(postgres, *stays)
    assert all(before.values())
    assert drop(trainer) == [f"{table}_2016_0{month}" for month in (1, 2) for table in sorted(TABLES)]
    assert {table: months(postgres, table) for table in TABLES} == {table: [3, 4, 5, 6] for table in TABLES}
    assert contents(postgres, *stays) == before
    assert drop(trainer) == []
    for view in ("forecast_values", "aggregate_forecast_values", "decision_outcomes", "next_peaks", "pipeline_status"):
        rows(postgres, f"SELECT * FROM {view}")


def test_nothing_is_dropped_while_there_is_nothing_or_little(settings, postgres):
    assert drop(settings) == []
    with postgres.cursor() as cursor:
        cursor.execute(CONTENT)
    assert drop(settings) == []
    assert months(postgres, "forecasts") == [1, 2, 3, 4, 5, 6]


def test_a_late_forecast_of_a_dropped_month_is_stored_and_changes_no_score(trainer, postgres):
    warehouse = Warehouse(trainer)
    partition = (trainer.topic_predictions, 0)
    warehouse.write(make_batch([forecast(OLD + timedelta(hours=1))], partition=partition, start=None), no_refusals)
    score(trainer)
    before = contents(postgres, "scores", "aggregate_scores")
    drop(trainer)
    late = make_batch([forecast(OLD + timedelta(hours=2)), forecast(OLD, 7)], partition=partition, start=1)
    with pytest.raises(RetriableError, match="no partition"):
        warehouse.write(late, no_refusals)
    warehouse.write(late, no_refusals)
    query = "SELECT building_id, issued_at FROM forecasts WHERE issued_at < '2016-03-01' ORDER BY 1"
    assert rows(postgres, query) == [(1, OLD + timedelta(hours=2)), (7, OLD)]
    assert rows(postgres, "SELECT count(*) FROM rescoring") != [(0,)]
    score(trainer)
    assert rows(postgres, "SELECT count(*) FROM rescoring") == [(0,)]
    assert contents(postgres, "scores", "aggregate_scores") == before


def test_a_correction_does_not_sum_a_day_anew_whose_forecasts_are_partly_gone(trainer, postgres):
    with postgres.cursor() as cursor:
        cursor.execute(LEAP_DAY)
    score(trainer)
    query = "SELECT t::text FROM scores t WHERE day < '2016-03-03' ORDER BY 1"
    before, later = rows(postgres, query), rows(postgres, "SELECT energy_kwh FROM scores WHERE day = '2016-03-03'")
    drop(trainer)
    with postgres.cursor() as cursor:
        cursor.execute(CORRECTION)
    score(trainer)
    assert rows(postgres, query) == before
    assert rows(postgres, "SELECT energy_kwh FROM scores WHERE day = '2016-03-03'") != later


def test_a_table_in_use_is_left_alone_until_later_and_the_rest_of_the_look_is_not(trainer, postgres, caplog, tmp_path):
    watch = Watch(trainer.model_copy(update={"model_dir": tmp_path}), Heartbeat(), Stop())
    with closing(connect(trainer, Role.GRAFANA)) as reader:
        rows(reader, "SELECT count(*) FROM forecasts")  # and its transaction goes on
        with pytest.raises(RetriableError, match="lock timeout"):
            drop(trainer)
        watch.look()
        assert [r.event for r in caplog.records if "longer" in r.message] == ["retention_retried"]
    assert 2 in months(postgres, "forecasts")
    caplog.set_level(logging.INFO)
    watch.look()
    assert months(postgres, "forecasts") == [3, 4, 5, 6]
    dropped = [r.partition for r in caplog.records if getattr(r, "event", None) == "forecasts_dropped"]
    assert "forecasts_2016_02" in dropped
    with postgres.cursor() as cursor:
        cursor.execute("SELECT ensure_partitions('2016-01-01', '2016-01-01')")
    watch.look()
    assert rows(postgres, "SELECT to_regclass('forecasts_2016_01') IS NULL") == [(False,)], "once a day"


@pytest.mark.parametrize("role", [role for role in Role if role not in (Role.ADMIN, Role.TRAINER)])
def test_only_the_trainer_drops_forecasts(trainer, role):
    with closing(connect(trainer, role)) as connection, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        rows(connection, "SELECT drop_old_forecasts('90 days')")


def test_the_trainer_drops_nothing_of_the_last_60_days(trainer):
    with (
        closing(connect(trainer, Role.TRAINER)) as connection,
        pytest.raises(psycopg2.errors.InvalidParameterValue, match="60 days at least"),
    ):
        rows(connection, "SELECT drop_old_forecasts('59 days')")
