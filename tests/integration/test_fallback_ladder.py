"""The predictor on real engines while weather, model, history and cache are taken away in turn, or the model changes.

Every meter has a forecast for every hour, and its quality says which step of the ladder made it.
"""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from Consumers import postgre_consumer
from Predictor.closed_hours import ClosedHour
from Predictor.forecasting.model_store import load, save, write
from Predictor.prediction_processing import PredictionProcessing
from Sensor_core.errors import RetriableError
from Setup.cache_filling import fill_cache
from Setup.postgres import Role, connect
from Setup.publisher import Publisher
from Setup.redis_client import STATE_KEY
from tests.integration.test_consumers import consume_until
from tests.quick_training import train_quickly
from Training_scripts.sources import history_of_warehouse
from Training_scripts.train import train, validation_begin

pytestmark = pytest.mark.integration

NEWEST = datetime(2016, 8, 31, 20, tzinfo=UTC)
CONTENT = """
SELECT setseed(0.5), ensure_partitions('2016-06-01', '2016-09-30');
INSERT INTO sites VALUES (0, 'UTC', 51.5, -0.1, 'GB');
INSERT INTO buildings SELECT building, 0, 'Office', 500, 1999, 3 FROM generate_series(1, 6) AS building;
CREATE TEMP TABLE known AS SELECT * FROM (VALUES
    (1, '2016-06-24Z', '2016-09-02Z'), (2, '2016-06-24Z', '2016-09-02Z'), (3, '2016-06-24Z', '2016-09-02Z'),
    (4, '2016-08-30 12:00Z', '2016-09-02Z'), (5, '2016-08-31 19:00Z', '2016-09-02Z'), (6, '2016-07-22Z', '2016-07-25Z'))
    AS v (building, first, last);
INSERT INTO readings
SELECT building, 0, hour,
       building * 10 * (1 + CASE WHEN extract(isodow FROM hour) < 6 AND extract(hour FROM hour) BETWEEN 7 AND 18
                                 THEN 2 ELSE 0 END) * (0.6 + random() * 0.8),
       hour + interval '1 hour'
FROM known, generate_series(first::timestamptz, last::timestamptz, interval '1 hour') AS hour
WHERE hour <= '2016-08-31 23:00Z';
SELECT rebuild_hourly_totals();
"""
WITH_EVERYTHING = {1: "full", 2: "full", 3: "full", 4: "profile", 5: "peers", 6: "peers"}
WITHOUT_WEATHER = WITH_EVERYTHING | dict.fromkeys((1, 2, 3), "no_weather")
WITHOUT_MODEL = WITH_EVERYTHING | dict.fromkeys((1, 2, 3), "profile")


@pytest.fixture
def world(settings, postgres, redis_client, tmp_path, monkeypatch):
    """A warehouse, a model trained on it, a filled cache, and weather to replay."""
    train_quickly(monkeypatch, trees=30)
    with postgres.cursor() as cursor:
        cursor.execute(CONTENT)
    hours = [NEWEST - timedelta(hours=back) for back in range(24 * 30)]
    lines = [f"0,{hour:%Y-%m-%d %H:%M:%S},20,5,10,0,1010,180,3\n" for hour in hours]
    names = "cloud_coverage,dew_temperature,precip_depth_1_hr,sea_level_pressure,wind_direction,wind_speed"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "weather.csv").write_text(f"site_id,timestamp,air_temperature,{names}\n" + "".join(lines))
    chosen = settings.model_copy(update={"model_dir": tmp_path / "models", "data_dir": tmp_path / "data"})
    with closing(connect(chosen, Role.TRAINER)) as connection:
        history = history_of_warehouse(connection, chosen.interval)
    begin = validation_begin(history, None)
    model, _ = train(history, begin, num_threads=1, seed=0, stages=lambda _: lambda _: None)
    save(chosen.model_dir, model.card, model.boosters)
    fill_cache(chosen, redis_client)
    return chosen


@pytest.fixture
def start(world, redis_client):
    """Start a predictor with some settings of its own; all share one publisher."""
    with closing(Publisher(world, "test")) as publisher:
        yield lambda **changes: PredictionProcessing(world.model_copy(update=changes), redis_client, publisher)


@pytest.fixture
def closed(world, redis_client):
    """Close an hour, as the redis consumer notes it."""

    def close(after_h):
        at = NEWEST + timedelta(hours=after_h)
        step = world.interval.step_of(at)
        redis_client.hset(STATE_KEY, "closed", str(step))
        return ClosedHour(b"", step, at + timedelta(hours=1))

    return close


def stored(settings, postgres, hours):
    """What the warehouse holds once it has read it all: model and quality by hour and building."""
    query = "SELECT issued_at, building_id, model, quality FROM forecasts"

    def rows():
        with postgres.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    consume_until(postgre_consumer.run, settings, lambda: len(rows()) >= hours * len(WITH_EVERYTHING))
    found = {}
    for issued_at, building, model, quality in rows():
        found.setdefault(round((issued_at - NEWEST) / timedelta(hours=1)), {})[building] = (model, quality)
    return found


def qualities(by_building):
    return {building: quality for building, (_, quality) in sorted(by_building.items())}


def test_whatever_is_taken_away_every_meter_is_forecast_every_hour(world, start, closed, postgres, redis_client):
    start().process(closed(0))
    start(weather_source="none").process(closed(1))
    start(model_dir=world.model_dir / "nowhere").process(closed(2))
    predictor = start()
    hour = closed(3)
    redis_client.flushall()
    with pytest.raises(RetriableError, match="Redis was emptied"):
        predictor.process(hour)
    fill_cache(world, redis_client)
    predictor.process(closed(3))
    found = stored(world, postgres, hours=4)
    assert {hour: qualities(rows) for hour, rows in found.items()} == {
        0: WITH_EVERYTHING,
        1: WITHOUT_WEATHER,
        2: WITHOUT_MODEL,
        3: WITH_EVERYTHING,
    }


def test_without_any_history_the_peers_stand_in(world, start, closed, postgres, redis_client):
    """All that is left of the past lies before what forecasts look at."""
    with postgres.cursor() as cursor:
        cursor.execute("DELETE FROM readings WHERE \"timestamp\" > '2016-07-25Z'")
        cursor.execute(
            "INSERT INTO readings SELECT b, 0, '2016-07-24Z', 1, '2016-07-24Z' FROM generate_series(4, 5) AS b"
        )
    redis_client.flushall()
    fill_cache(world, redis_client)
    start().process(closed(0))
    assert qualities(stored(world, postgres, hours=1)[0]) == dict.fromkeys(WITH_EVERYTHING, "peers")


def test_a_running_predictor_takes_a_new_model_over_and_refuses_a_broken_one(world, start, closed, postgres, caplog):
    predictor, root, first = start(), world.model_dir, load(world.model_dir)
    predictor.process(closed(0))
    second = save(root, msgspec.structs.replace(first.card, seed=2), first.boosters)
    predictor.process(closed(1))
    third = write(root, msgspec.structs.replace(first.card, seed=3), first.boosters)
    file = next((root / third).glob("*.txt.gz"))
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    (root / "current").write_text(third)
    for hour in (2, 3):
        predictor.process(closed(hour))
    assert [r.message for r in caplog.records if "restore or retrain" in r.message] == [
        f"keeping {second}: {file} is not the file that its card describes: restore or retrain"
    ], "said once"
    file.write_bytes(whole)
    predictor.process(closed(4))
    card = root / third / "card.json"
    card.write_bytes(card.read_bytes().replace(b'"seed": 3', b'"seed": 4'))
    (root / "current").write_bytes(b"\xff\xfe")
    predictor.process(closed(5))
    found = stored(world, postgres, hours=6)
    used = {hour: {model for model, _ in rows.values()} for hour, rows in found.items()}
    assert used == {0: {first.name}, 1: {second}, 2: {second}, 3: {second}, 4: {third}, 5: {third}}
    assert all(len(rows) == len(WITH_EVERYTHING) for rows in found.values()), "no gap"
    assert all(qualities(rows) == WITH_EVERYTHING for rows in found.values())
