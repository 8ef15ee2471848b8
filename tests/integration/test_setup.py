"""Setup: waits for what others hold, and a corrected history counts as a corrected reading of the stream does."""

import logging
from contextlib import closing

import numpy as np
import psycopg2
import pytest

from Setup import initialise
from Setup.buildings_info import SLOT
from Setup.cache_filling import is_filled
from Setup.initialise import prepare
from Setup.lifecycle import Stop
from Setup.postgres import Role, connect
from Setup.redis_client import RING_PREFIX

pytestmark = pytest.mark.integration

HEADER = "building_id,meter,timestamp,meter_reading,known_at\n"
METADATA = {
    "sites.csv": "site_id,time_zone,latitude,longitude,country,stamps\n0,UTC,50,0,GB,utc\n",
    "building_metadata.csv": "site_id,building_id,primary_use,square_feet\n0,1,Office,1000\n0,2,Office,1000\n",
    "meters.csv": "building_id,meter,unit\n1,0,kWh\n",
    "history.csv": HEADER
    + "1,0,2016-09-01 00:00:00,5,\n1,0,2016-09-01 01:00:00,6,\n2,0,2016-09-01 00:00:00,7,2016-09-05 00:00:00\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in METADATA.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def run(settings, folder):
    """Prepares from the folder, which may lack the replay: nothing is published."""
    chosen = settings.model_copy(update={"data_dir": folder})
    return lambda: prepare(chosen, Stop(), demonstration=False)


def rows(connection, statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_what_another_process_holds_for_a_moment_is_waited_for(run, redis_client, monkeypatch):
    redis_client.set("energy:lease:fill", "another", px=1500)
    attempts = iter([psycopg2.OperationalError("canceling statement due to lock timeout")])
    migrate = initialise.migrate

    def held_at_first(connection):
        for error in attempts:
            raise error
        return migrate(connection)

    monkeypatch.setattr(initialise, "migrate", held_at_first)
    run()
    assert is_filled(redis_client)


def test_a_corrected_history_replaces_what_is_older_and_keeps_it_as_a_revision(
    run, folder, postgres, redis_client, caplog
):
    run()
    (folder / "history.csv").write_text(
        HEADER
        + "1,0,2016-09-01 00:00:00,4,2016-09-03 00:00:00\n"  # later known: a correction
        + "1,0,2016-09-01 01:00:00,6,\n"
        + "2,0,2016-09-01 00:00:00,8,2016-09-04 00:00:00\n"  # known before the stored one
    )
    with caplog.at_level(logging.INFO):
        run()
    assert "1 readings are new or corrected; 2 older versions" in caplog.text
    values = 'SELECT building_id, meter_reading_kwh FROM {} ORDER BY building_id, "timestamp"'
    assert rows(postgres, values.format("readings")) == [(1, 4), (1, 6), (2, 7)]
    assert rows(postgres, values.format("reading_revisions")) == [(1, 5), (2, 8)]
    assert rows(postgres, 'SELECT energy_kwh FROM site_totals ORDER BY "timestamp"') == [(11,), (6,)]
    ring = np.frombuffer(redis_client.get(f"{RING_PREFIX}1:0"), SLOT)
    assert sorted(ring["kwh"][ring["step"] > 0]) == [4, 6]
    caplog.clear()
    run()
    assert "loaded" not in caplog.text


def test_a_building_takes_its_past_along_to_another_site(run, folder, postgres):
    (folder / "sites.csv").write_text(METADATA["sites.csv"] + "1,UTC,50,0,GB,utc\n")
    run()
    (folder / "building_metadata.csv").write_text(METADATA["building_metadata.csv"].replace("0,2,", "1,2,"))
    run()
    totals = 'SELECT site_id, energy_kwh, meters_reported FROM site_totals ORDER BY site_id, "timestamp"'
    assert rows(postgres, totals) == [(0, 5, 1), (0, 6, 1), (1, 7, 1)]


def test_totals_are_not_made_anew_in_the_midst_of_a_batch(settings, postgres):
    with closing(connect(settings, Role.POSTGRES_CONSUMER)) as consumer, consumer.cursor() as cursor:
        cursor.execute("SELECT ensure_partitions('2016-09-01', '2016-09-01')")
        cursor.execute("INSERT INTO site_totals VALUES (0, 0, '2016-09-01Z', 1, 1)")
        with postgres.cursor() as another:
            another.execute("SET lock_timeout = '200ms'")
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                another.execute("SELECT rebuild_hourly_totals()")


def test_a_changed_unit_of_stored_readings_is_told(run, folder, caplog):
    run()
    (folder / "meters.csv").write_text("building_id,meter,unit,multiplier\n1,0,MWh,0.001\n")
    run()
    assert "meters.csv" not in caplog.text
    (folder / "meters.csv").write_text("building_id,meter,unit\n1,0,kBTU\n")
    run()
    assert "meter 0 of building 1 from 0.001 MWh to 1 kBTU" in caplog.text
    caplog.clear()
    run()
    assert "meters.csv" not in caplog.text
