"""What training reads from a real Postgres, as the trainer's own role."""

from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest

from Consumers.statements import statement
from Predictor.forecasting.snapshot import NO_SITE, PRIMARY_USES
from Sensor_core.errors import DataFolderError
from Sensor_core.interval import Interval
from Setup.postgres import Role, connect
from Training_scripts import sources
from Training_scripts.sources import history_of_warehouse

pytestmark = [pytest.mark.integration, pytest.mark.warehouse]

FIRST = datetime(2016, 9, 1, tzinfo=UTC)
CONTENT = """
SELECT ensure_partitions('2016-09-01', '2016-10-01');
INSERT INTO sites VALUES (4, 'Europe/London', 51.5, -0.1, 'GB'), (9, 'UTC', 0, 0, 'ZZ');
INSERT INTO buildings VALUES (1, 9, 'Office', 500, 1999, 3), (2, 4, 'Retail', NULL, NULL, NULL);
INSERT INTO readings
SELECT building, 0, hour, building * 10 + extract(hour FROM hour), hour + interval '1 hour'
FROM unnest(ARRAY[1, 2, 77]) AS building,
     generate_series(timestamptz '2016-09-01 00:00Z', '2016-09-01 05:00Z', interval '1 hour') AS hour;
INSERT INTO weather (site_id, "timestamp", known_at, source, air_temperature_c, wind_speed_m_s)
VALUES (9, '2016-09-01 02:00Z', '2016-09-01 03:00Z', 'test', 21.5, 3);
"""
FORECASTS = """
INSERT INTO weather_forecasts
SELECT site, '2016-09-01 02:00Z', source, array_fill(air_c::real, '{48}'), nothing, nothing, nothing, nothing, nothing,
       nothing
FROM (VALUES (9, 'open-meteo', 18), (9, 'replay:damped persistence', 1), (5, 'open-meteo', 2))
         AS v (site, source, air_c),
     (SELECT array_fill(NULL::real, '{48}') AS nothing) AS n;
"""
REVISED = """
INSERT INTO staged_weather (site_id, "timestamp", known_at, source, air_temperature_c)
VALUES (9, '2016-09-01 02:00Z', '2016-09-01 06:00Z', 'test', 25.0);
"""


@pytest.fixture
def trainer(settings, postgres):
    connection = connect(settings, Role.TRAINER)
    yield connection
    connection.close()


@pytest.mark.parametrize("chunk_rows", [200_000, 6, 5])
def test_training_reads_all_that_the_warehouse_holds(trainer, postgres, monkeypatch, chunk_rows):
    monkeypatch.setattr(sources, "_CHUNK_ROWS", chunk_rows)
    with postgres.cursor() as cursor:
        cursor.execute(CONTENT)
    history = history_of_warehouse(trainer, Interval())
    assert history.first == Interval().step_of(FIRST)
    assert history.sites.site_id == (4, 9, NO_SITE)
    assert history.readings_kwh.tolist() == [[*range(first, first + 6)] for first in (10, 20, 770)]
    assert [PRIMARY_USES[code] for code in history.meters.primary_use[:2]] == ["Office", "Retail"]
    assert np.array_equal(
        history.meters.floor_area_m2, np.array([500, np.nan, np.nan], dtype=np.float32), equal_nan=True
    )
    assert history.weather[1, 2, [0, 6]].tolist() == [21.5, 3]
    assert np.isnan(history.weather).sum() == history.weather.size - 2


def test_training_sees_the_weather_as_it_was_known_and_forecast(trainer, settings, postgres):
    with postgres.cursor() as cursor:
        cursor.execute(CONTENT)
        cursor.execute(FORECASTS)
    with closing(connect(settings, Role.POSTGRES_CONSUMER)) as consumer, consumer, consumer.cursor() as cursor:
        cursor.execute(statement("create_staging"))
        cursor.execute(REVISED)
        cursor.execute(statement("store_weather"))
    history = history_of_warehouse(trainer, Interval())
    origin = history.first + 2
    assert history.weather[1, 2, 0] == 25.0
    assert history.snapshot(origin).weather[1, -1, [0, 6]].tolist() == [21.5, 3]
    assert history.snapshot(origin + 3).weather[1, -4, 0] == 25.0
    forecast = history.snapshot(origin).weather_forecast
    assert forecast[1, :, 0].tolist() == [18.0] * 48
    assert np.isnan(forecast[1, :, 1:]).all()
    assert np.isnan(forecast[0]).all(), "nobody's, and nothing observed to make one from"


def test_an_empty_warehouse_is_an_error_in_words(trainer):
    with pytest.raises(DataFolderError, match="no readings"):
        history_of_warehouse(trainer, Interval())
