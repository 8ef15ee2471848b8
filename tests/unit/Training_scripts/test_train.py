"""``energy-train`` and ``energy-promote`` end to end on a simulated folder, and what they say when they cannot."""

import numpy as np
import pytest

from Predictor.forecasting.forecaster import Forecaster
from Predictor.forecasting.model_store import current_version, load, versions
from Predictor.forecasting.snapshot import history_steps
from Sensor_core.interval import Interval
from tests.quick_training import train_quickly
from Training_scripts import promote, simulate, train
from Training_scripts.sources import history_of_folder
from Training_scripts.validation import MODEL


@pytest.fixture(scope="module")
def few_trees():
    with pytest.MonkeyPatch.context() as patch:
        train_quickly(patch)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    options = ["--sites", "2", "--buildings", "6", "--seed", "3", "--out", str(folder)]
    days = ["--start", "2016-03-01", "--split", "2016-04-01", "--end", "2016-04-10"]
    assert simulate.main([*options, *days]) == 0
    return folder


@pytest.fixture(scope="module")
def root(data, few_trees, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    assert train.main(["--data", str(data), "--out", str(folder), "--threads", "1"]) == 0
    return folder


def test_training_leaves_a_model_that_forecasts_the_folders_meters(root, data):
    history = history_of_folder(data, Interval())
    forecast = Forecaster.load(root).forecast(history.snapshot(history.stop - 1))
    assert set(forecast.quality) <= {"full", "no_weather", "persistence"}
    assert "full" in forecast.quality
    assert np.isfinite(forecast.stacked()).all()


def test_the_card_says_what_the_model_was_trained_on_and_how_good_it_was(root, data):
    history = history_of_folder(data, Interval())
    card = load(root).card
    assert card.meters == len(history.meters)
    assert card.trained_from == Interval().start_of(history.first)
    assert card.trained_until == Interval().start_of(history.stop)
    assert 0.5 < card.scores[MODEL]["all"]["coverage"] < 0.99
    assert card.scores[MODEL]["24"]["cvrmse"] < card.scores["last hour"]["24"]["cvrmse"]
    assert card.scores["last hour"]["24"]["coverage"] is None
    assert card.calibration.low != (1.0,) * 4


def test_training_again_with_the_same_seed_gives_the_same_trees(root, data, few_trees, tmp_path):
    assert train.main(["--data", str(data), "--out", str(tmp_path)]) == 0
    assert load(tmp_path).card.files == load(root).card.files
    assert load(tmp_path).card.linear == load(root).card.linear


def test_the_table_is_on_standard_output(root, data, few_trees, tmp_path, capsys):
    assert train.main(["--data", str(data), "--out", str(tmp_path), "--threads", "1"]) == 0
    output = capsys.readouterr().out
    assert all(text in output for text in ("model", "1-48", "pinball", current_version(tmp_path)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--validate-from", "2010-01-01"], "validation cannot begin at 2010-01-01 00:00"),
        (["--validate-from", "2030-01-01T00:00+02:00"], "2029-12-31 22:00"),
    ],
)
def test_a_split_outside_of_the_data_names_their_span_in_one_line(data, tmp_path, capsys, options, words):
    assert train.main(["--data", str(data), "--out", str(tmp_path), *options]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named_in_one_line(tmp_path, capsys):
    assert train.main(["--data", str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err.startswith(f"energy-train: {tmp_path / 'nowhere'}")


def test_a_time_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        train.main(["--validate-from", "soon"])
    assert "'soon' is not a time" in capsys.readouterr().err


def test_a_version_is_promoted_after_a_check_and_listed_with_a_star(root, capsys):
    version = current_version(root)
    assert promote.main([version, "--models", str(root)]) == 0
    assert capsys.readouterr().out == f"* {version}\n"


def test_a_tampered_version_is_not_promoted(root, tmp_path, capsys):
    copy = tmp_path / "models"
    version = current_version(root)
    (copy / version).mkdir(parents=True)
    for file in (root / version).iterdir():
        (copy / version / file.name).write_bytes(file.read_bytes())
    (copy / version / "lead_01_03_mean.txt.gz").write_bytes(b"x")
    assert promote.main([version, "--models", str(copy)]) == 1
    assert "lead_01_03_mean.txt.gz" in capsys.readouterr().err
    assert versions(copy) == [version]
    assert not (copy / "current").exists()


def test_five_weeks_of_past_are_what_features_look_at():
    assert history_steps(Interval()) == 840
    assert history_steps(Interval(900)) == 3360
