"""``energy-import --to postgres``: the same tables as a data folder's history, whatever was there before."""

from datetime import UTC, datetime

import pytest

from Sensor_core.interval import Interval
from Setup.buildings_info import Metadata, read_metadata, upload_metadata
from Setup.cache_filling import fill_cache
from Setup.data_folder import DataFolder
from Setup.history_loading import load_history
from Setup.redis_client import METADATA_KEY, METERS_KEY
from Training_scripts import import_data, simulate

pytestmark = pytest.mark.integration

SPLIT = "2016-11-07"
TABLES = {
    "readings": 'SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM readings',
    "site_totals": "SELECT * FROM site_totals",
    "meters": "SELECT building_id, meter, unit, first_seen FROM meters WHERE first_seen IS NOT NULL",
    "sites": "SELECT site_id, time_zone, latitude, longitude, country FROM sites",
    "buildings": "SELECT * FROM buildings",
    "weather": "SELECT * FROM (SELECT to_jsonb(w) - 'source' AS row FROM weather w) rows",
    "revisions": "SELECT * FROM reading_revisions",
    "unknown": "SELECT building_id FROM unknown_buildings",
}
FIRST = "building_id = (SELECT min(building_id) FROM buildings) AND meter = 0"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Files of the competition, and the data folder that they are imported into."""
    simulated, folder = tmp_path_factory.mktemp("simulated"), tmp_path_factory.mktemp("kaggle")
    days = ["--start", "2016-10-20", "--split", SPLIT, "--end", "2016-11-10"]
    assert simulate.main(["--out", str(simulated), "--seed", "5", "--buildings", "8", *days]) == 0
    original = DataFolder(simulated, Interval())
    with (folder / "train.csv").open("w") as stream:
        stream.write("building_id,meter,timestamp,meter_reading\n")
        for which in ("history", "replay"):
            for chunk in original.readings(which):
                columns = ["building_id", "meter", "timestamp", "meter_reading_kwh"]
                chunk[columns].to_csv(stream, index=False, header=False, date_format="%Y-%m-%d %H:%M:%S")
    for ours, theirs in (("weather.csv", "weather_train.csv"), ("building_metadata.csv", "building_metadata.csv")):
        (folder / theirs).write_text((simulated / ours).read_text())
    rows = [f"{s.site_id},{s.time_zone},{s.latitude},{s.longitude},{s.country},utc\n" for s in original.sites.values()]
    (folder / "places.csv").write_text("site_id,time_zone,latitude,longitude,country,stamps\n" + "".join(rows))
    return folder


@pytest.fixture
def load(settings, source, tmp_path, monkeypatch):
    monkeypatch.setattr(import_data, "load_settings", lambda: settings)

    def run(*options):
        sites = ["--sites", str(source / "places.csv"), "--report", str(tmp_path / "report")]
        assert import_data.main([str(source), "--to", "postgres", *sites, *options]) == 0

    return run


def tables(connection):
    content = {}
    with connection.cursor() as cursor:
        for name, query in TABLES.items():
            cursor.execute(query)
            content[name] = sorted(cursor.fetchall(), key=str)
    return content


def execute(connection, *statements):
    with connection.cursor() as cursor:
        for text in statements:
            cursor.execute(text)
        return cursor.fetchall() if cursor.description else []


def test_the_tables_are_those_that_the_history_of_the_folder_would_make(postgres, settings, load, tmp_path):
    load("--replay-from", SPLIT, "--out", str(tmp_path / "out"))
    imported = tables(postgres)
    assert len(imported["readings"]) > 1000
    execute(postgres, "TRUNCATE readings, site_totals, meters, sites, buildings, weather CASCADE")
    folder = DataFolder(tmp_path / "out", settings.interval)
    postgres.autocommit = False
    upload_metadata(postgres, folder)
    load_history(postgres, folder)
    postgres.autocommit = True
    by_history = tables(postgres)
    for name, rows in imported.items():
        assert rows == by_history[name], name


def test_an_outage_that_is_made_up_for_is_scored_again(postgres, load):
    closed = "UPDATE scoring_state SET scored_until = '2016-10-22Z', closed_until = '2016-10-22Z'"
    execute(postgres, "SELECT ensure_partitions('2016-10-01', '2016-11-30')", closed)
    load()
    days = execute(postgres, "SELECT DISTINCT day FROM rescoring ORDER BY day")
    assert [day.day for (day,) in days] == [20, 21, 22, 23, 24]


def test_loading_the_same_files_again_changes_nothing(postgres, load):
    load()
    once = tables(postgres)
    load()
    assert tables(postgres) == once
    assert once["revisions"] == []


def test_without_a_split_everything_is_loaded_and_with_one_only_what_comes_before(postgres, load):
    load("--replay-from", SPLIT)
    split = datetime(2016, 11, 7, tzinfo=UTC)
    ((newest, weather),) = execute(
        postgres, 'SELECT (SELECT max("timestamp") FROM readings), (SELECT max("timestamp") FROM weather)'
    )
    assert newest < split
    assert weather < split
    load()
    ((newest,),) = execute(postgres, 'SELECT max("timestamp") FROM readings')
    assert newest == datetime(2016, 11, 9, 23, tzinfo=UTC)


def test_what_the_stream_knew_later_stays_and_what_it_knew_earlier_is_kept_as_a_revision(postgres, load):
    load()
    clean = tables(postgres)
    change = f'UPDATE readings SET meter_reading_kwh = %s, known_at = %s WHERE {FIRST} AND "timestamp" = %s'
    with postgres.cursor() as cursor:
        cursor.execute(change, (1, "2016-10-27", "2016-10-25 10:00Z"))
        cursor.execute(change, (2, "2016-10-01", "2016-10-25 11:00Z"))
        cursor.execute("SELECT rebuild_hourly_totals()")
    load()
    changed = tables(postgres)
    assert [row[4] for row in changed["revisions"] if row[3] == datetime(2016, 10, 1, tzinfo=UTC)] == [2]
    assert len(changed["revisions"]) == 2
    different = [new for old, new in zip(clean["readings"], changed["readings"], strict=True) if old != new]
    assert [(row[2], row[3]) for row in different] == [(datetime(2016, 10, 25, 10, tzinfo=UTC), 1)]
    execute(postgres, "SELECT rebuild_hourly_totals()")
    assert tables(postgres)["site_totals"] == changed["site_totals"]


def test_a_running_predictor_gets_to_know_what_was_loaded(postgres, settings, redis_client, load, capsys):
    assert fill_cache(settings, redis_client).meters == 0
    load()
    metadata = Metadata.model_validate_json(redis_client.get(METADATA_KEY))
    assert metadata == read_metadata(postgres)
    assert len(metadata.buildings) == 8
    assert redis_client.scard(METERS_KEY) > 0
    assert "Redis: filled anew with " in capsys.readouterr().out


def test_without_redis_the_warehouse_is_loaded_all_the_same(settings, load, capsys, monkeypatch):
    monkeypatch.setattr(import_data, "load_settings", lambda: settings.model_copy(update={"redis_port": 1}))
    load()
    assert "energy-cache rebuild lets a running predictor know" in capsys.readouterr().out
