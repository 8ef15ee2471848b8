"""The backtest forecasts what the predictor would have issued, from Redis, at the same hour."""

from contextlib import closing

import numpy as np
import pandas as pd
import pytest

from Predictor.closed_hours import ClosedHour
from Predictor.forecasting.forecaster import Forecaster
from Predictor.prediction_processing import PredictionProcessing
from Setup.buildings_info import upload_metadata
from Setup.cache_filling import fill_cache
from Setup.data_folder import DataFolder
from Setup.history_loading import load_history
from Setup.lifecycle import Stop
from Setup.publisher import Publisher
from tests.quick_training import train_quickly
from Training_scripts import backtest, simulate

pytestmark = pytest.mark.integration

BEFORE = ["--train-until", "2016-03-30", "--every", "6"]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    options = ["--sites", "2", "--buildings", "6", "--seed", "3", "--out", str(folder)]
    assert simulate.main([*options, "--start", "2016-03-01", "--split", "2016-04-02", "--end", "2016-04-10"]) == 0
    return folder


@pytest.fixture
def predictor(settings, postgres, redis_client, data):
    settings = settings.model_copy(update={"data_dir": data})
    folder = DataFolder(data, settings.interval)
    postgres.autocommit = False
    upload_metadata(postgres, folder)
    load_history(postgres, folder)
    fill_cache(settings, redis_client)
    with closing(Publisher(settings, "test", Stop())) as publisher:
        yield PredictionProcessing(settings, redis_client, publisher)


def test_the_backtest_gives_the_numbers_that_the_predictor_issues(predictor, settings, data, tmp_path, monkeypatch):
    train_quickly(monkeypatch, trees=5, rows=5_000)
    interval = settings.interval
    origin = newest_of_history(data, interval)
    stamp, out = f"{interval.start_of(origin):%Y-%m-%dT%H:%M}", tmp_path / "out"
    options = ["--data", str(data), *BEFORE, "--from", stamp, "--to", stamp, "--out", str(out), "--jobs", "1"]
    assert backtest.main(options) == 0
    tried = pd.read_parquet(out / "forecasts.parquet")

    hour = ClosedHour(b"", origin, interval.end_of(origin))
    snapshot = predictor.snapshot(hour)
    forecaster = Forecaster.load(out / "models")
    finisher = predictor._learned.finisher(forecaster.total_model, origin)
    issued = finisher.finish(snapshot, forecaster.raw(snapshot)).meters
    meters = tried[tried["level"] == "meter"]
    assert meters["building_id"].tolist() == np.repeat(snapshot.meters.building_id, 48).tolist()
    assert meters["meter"].tolist() == np.repeat(snapshot.meters.meter, 48).tolist()
    for index, name in enumerate(("q10", "q50", "q90")):
        assert np.array_equal(meters[name].to_numpy(), issued.stacked()[index].ravel().astype(np.float64))
    assert meters["quality"].tolist() == np.repeat(issued.quality, 48).tolist()
    assert "full" in issued.quality


def test_a_retired_meter_is_in_no_forecast_from_its_last_interval_on(predictor, settings, postgres, redis_client, data):
    newest = newest_of_history(data, settings.interval)
    hours = [ClosedHour(b"", step, settings.interval.end_of(step)) for step in (newest - 1, newest)]
    building_id, *others = predictor.snapshot(hours[1]).meters.building_id.tolist()
    with postgres, postgres.cursor() as cursor:
        cursor.execute(
            "UPDATE meters SET retired_at = %s WHERE (building_id, meter) = (SELECT min(building_id), 0 FROM meters)",
            (hours[1].known_at,),
        )
    fill_cache(settings, redis_client)
    before, after = (predictor.snapshot(hour) for hour in hours)
    assert before.meters.building_id.tolist() == [building_id, *others]
    assert after.meters.building_id.tolist() == others
    assert len(after.readings_kwh) == len(others)


def newest_of_history(data, interval):
    """The last hour that history.csv has of every meter."""
    table = pd.concat(DataFolder(data, interval).readings("history"))
    newest = table.groupby(["building_id", "meter"])["timestamp"].max().min()
    return interval.step_of(newest.to_pydatetime())
