"""Dirty weather is imported without a word lost: what the file tells is there, what was repaired is told."""

import csv
import gzip
import itertools
import json

import numpy as np
import pandas as pd
import pytest

from Predictor.forecasting.forecaster import Forecaster
from Sensor_core.interval import Interval
from Setup.data_folder import DataFolder
from tests.dirty_weather import HOLE, OFF_THE_HOUR, REPLAY_FROM, clean, make_dirty_folder
from tests.quick_training import train_quickly
from tests.unit.Training_scripts.test_import_round_trip import readings, same_readings
from Training_scripts import train
from Training_scripts.import_data import main
from Training_scripts.sources import history_of_folder


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dirty")
    source, original = make_dirty_folder(folder)
    assert main([str(source), "--out", str(folder / "out"), "--replay-from", REPLAY_FROM]) == 0
    return source, original, DataFolder(folder / "out", Interval())


def test_every_value_that_the_file_tells_is_in_its_hour(dirty):
    _, original, imported = dirty
    pd.testing.assert_frame_equal(imported.weather(), clean(original), check_dtype=False)
    assert same_readings(readings(imported), readings(original))


def test_the_report_tells_each_repair_and_each_hole(dirty):
    source, original, imported = dirty
    report = json.loads((imported.path / "report.json").read_text())
    file = pd.read_csv(source / "weather.csv")
    found = {f["reason"].split(":")[0]: f for f in report["findings"] if f["file"] == "weather.csv"}
    assert {reason: finding["count"] for reason, finding in found.items() if reason != "hole in the hours"} == {
        "sentinel for missing": (file["airTemperature"] == -9999).sum(),
        "stamp off the hour": file["site_id"].isin([f"S{site}" for site in OFF_THE_HOUR]).sum(),
        "second reading of the hour that the clock repeats in autumn": 1,
    }
    assert {finding["action"] for finding in found.values()} == {"repaired", "noted"}
    assert report["rows"]["weather.csv"] == {"read": len(file), "kept": len(file)}
    with gzip.open(imported.path / "report_cases.csv.gz", "rt", newline="") as cases:
        told = [case["value"] for case in csv.DictReader(cases) if case["reason"].startswith("hole")]
    assert told == [hole for _, rows in clean(original).groupby("site_id") for hole in holes(rows["timestamp"])]
    assert sum(hole.startswith(f"{len(HOLE)} h from") for hole in told) >= len(told) / 2


def holes(times):
    """Hours missing between observations, in the report's words."""
    for before, after in itertools.pairwise(times):
        hours = round((after - before) / pd.Timedelta(hours=1)) - 1
        if hours:
            yield f"{hours} h from {before + pd.Timedelta(hours=1):%Y-%m-%dT%H:%M} UTC"


def test_it_can_be_trained_on_and_every_meter_is_forecast_through_the_clock_change(dirty, tmp_path, monkeypatch):
    train_quickly(monkeypatch)
    _, _, imported = dirty
    assert train.main(["--data", str(imported.path), "--out", str(tmp_path), "--threads", "1"]) == 0
    history = history_of_folder(imported.path, Interval())
    forecaster = Forecaster.load(tmp_path)
    for at in pd.date_range("2016-03-26 22:00", "2016-03-27 04:00", freq="h", tz="UTC"):
        forecast = forecaster.forecast(history.snapshot(Interval().step_of(at.to_pydatetime())))
        assert np.isfinite(forecast.stacked()).all()
        assert set(forecast.quality) == {"full"}
