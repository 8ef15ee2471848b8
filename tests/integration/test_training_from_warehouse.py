"""What training reads from a real Postgres, as the trainer's own role."""

from datetime import UTC, datetime

import numpy as np
import pytest

from Predictor.forecasting.snapshot import PRIMARY_USES
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


@pytest.fixture
def trainer(settings, postgres):
    connection = connect(settings, Role.TRAINER)
    yield connection
    connection.close()


@pytest.mark.parametrize("chunk_rows", [200_000, 6, 5])
def test_training_reads_all_that_the_warehouse_holds_of_known_buildings(trainer, postgres, monkeypatch, chunk_rows):
    monkeypatch.setattr(sources, "_CHUNK_ROWS", chunk_rows)
    with postgres.cursor() as cursor:
        cursor.execute(CONTENT)
    history = history_of_warehouse(trainer, Interval())
    assert history.first == Interval().step_of(FIRST)
    assert history.sites.site_id == (4, 9)
    assert history.readings_kwh.tolist() == [[10, 11, 12, 13, 14, 15], [20, 21, 22, 23, 24, 25]]
    assert [PRIMARY_USES[code] for code in history.meters.primary_use] == ["Office", "Retail"]
    assert np.array_equal(history.meters.floor_area_m2, np.array([500, np.nan], dtype=np.float32), equal_nan=True)
    assert history.weather[1, 2, [0, 6]].tolist() == [21.5, 3]
    assert np.isnan(history.weather).sum() == history.weather.size - 2


def test_an_empty_warehouse_is_an_error_in_words(trainer):
    with pytest.raises(DataFolderError, match="no readings"):
        history_of_warehouse(trainer, Interval())
