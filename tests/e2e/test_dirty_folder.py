"""Dirty files, imported by energy-import, run through the pipeline: every reading is stored, every meter forecast."""

import pytest

from Sensor_core.interval import Interval
from Setup.data_folder import DataFolder
from tests.dirty_weather import REPLAY_FROM, make_dirty_folder
from tests.running_pipeline import RunningPipeline, prepare_workspace
from tests.unit.Training_scripts.test_import_round_trip import readings
from Training_scripts.import_data import main

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.timeout(400)]


def test_an_imported_folder_with_dirty_weather_is_forecast_whole(tmp_path):
    source, _ = make_dirty_folder(tmp_path)
    assert main([str(source), "--out", str(tmp_path / "data"), "--replay-from", REPLAY_FROM]) == 0
    folder = DataFolder(tmp_path / "data", Interval())
    replayed, weather = readings(folder, "replay"), folder.weather()
    hours, meters = replayed["timestamp"].nunique(), len(replayed.groupby(["building_id", "meter"]))
    last = replayed["timestamp"].max()
    known = weather[weather["timestamp"] <= last]
    prepare_workspace(tmp_path)
    with RunningPipeline(tmp_path, "--pace", "0") as run:
        run.wait_for("data is replayed")
        run.ask_until("SELECT count(*) FROM forecasts", str(hours * meters))
        assert run.ask("SELECT count(*) FROM readings") == str(len(readings(folder)))
        assert run.ask("SELECT count(*) FROM dead_letters") == "0"
        stored = "SELECT count(*) || ' ' || count(air_temperature_c) FROM weather"
        run.ask_until(stored, f"{len(known)} {known['air_temperature_c'].count()}")
        assert run.ask("SELECT count(*) FROM forecasts WHERE quality = 'peers'") == "0"
