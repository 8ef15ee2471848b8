"""The dump comes back as it was, and nothing else is taken for it."""

import gzip
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from Predictor.forecasting import model_store
from Predictor.forecasting.forecaster import Forecaster
from Predictor.forecasting.model_store import current_version, load, make_current, save, versions
from Predictor.forecasting.testing import make_snapshot
from Predictor.prediction_processing import ModelKeeper
from Sensor_core.errors import ModelError
from Sensor_core.interval import Interval
from Setup.settings import Settings


@pytest.fixture
def root(tmp_path, model):
    save(tmp_path / "model", model.card, model.boosters)
    return tmp_path / "model"


@pytest.fixture
def other_version(root, model):
    other = msgspec.structs.replace(model.card, meters=99)
    return save(root, other, model.boosters)


def folder(root):
    return root / current_version(root)


def test_a_loaded_model_forecasts_the_same_bits_as_the_one_that_was_saved(root, model):
    snapshot = make_snapshot()
    loaded = Forecaster.load(root)
    assert loaded.forecast(snapshot).stacked().tobytes() == Forecaster(model).forecast(snapshot).stacked().tobytes()


def test_a_version_is_named_after_its_content(root, model):
    assert save(root, model.card, model.boosters) == current_version(root)
    assert versions(root) == [current_version(root)]
    assert load(root).name == load(folder(root)).name == current_version(root)


def test_a_model_of_another_metering_interval_is_refused_by_those_who_name_theirs(root):
    with pytest.raises(ModelError, match="for readings every 3600 s, and METER_INTERVAL_S is 900: train"):
        Forecaster.load(root, Interval(900))
    assert Forecaster.load(root, Interval()).name == Forecaster.load(root).name


def test_the_predictor_goes_on_without_a_model_of_another_interval(root):
    for seconds, name in ((900, "fallback"), (3600, current_version(root))):
        keeper = ModelKeeper(Settings(_env_file=None, model_dir=root, meter_interval_s=seconds))
        keeper.refresh()
        assert keeper.forecaster.name == name


def test_files_are_lightgbms_own_text(root):
    text = gzip.decompress((folder(root) / "lead_01_03_mean.txt.gz").read_bytes()).decode()
    assert text.startswith("tree\nversion=v4\n")


def test_nothing_but_versions_and_the_pointer_is_left_behind(root):
    assert sorted(path.name for path in root.iterdir()) == ["current", current_version(root)]


@pytest.mark.parametrize("change", [lambda data: data[:-20], lambda data: data[:0], lambda data: data + b" "])
def test_a_changed_tree_file_is_refused(root, change):
    file = folder(root) / "lead_25_48_high.txt.gz"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ModelError, match="lead_25_48_high"):
        load(root)


def test_trees_of_another_version_are_refused(root):
    names = ("lead_01_03_mean.txt.gz", "lead_04_12_mean.txt.gz")
    (folder(root) / names[0]).write_bytes((folder(root) / names[1]).read_bytes())
    with pytest.raises(ModelError, match=names[0]):
        load(root)


def test_a_changed_card_is_refused(root):
    card = folder(root) / "card.json"
    card.write_bytes(card.read_bytes().replace(b'"meters": 8', b'"meters": 9'))
    with pytest.raises(ModelError, match="was changed"):
        load(root)


def test_a_missing_file_is_named(root):
    (folder(root) / "lead_13_24_low.txt.gz").unlink()
    with pytest.raises(ModelError, match="lead_13_24_low"):
        load(root)


def test_a_model_for_other_features_is_refused(tmp_path, model):
    card = msgspec.structs.replace(model.card, features=(*model.card.features[:-1], "moon_phase"))
    save(tmp_path, card, model.boosters)
    with pytest.raises(ModelError, match="other features"):
        load(tmp_path)


def test_an_empty_place_says_how_to_fill_it(tmp_path):
    with pytest.raises(ModelError, match="energy-train"):
        load(tmp_path / "nowhere")


def test_the_newest_saved_version_is_the_current_one_and_older_ones_can_come_back(root, model, other_version):
    assert current_version(root) == other_version
    assert load(root).card.meters == 99
    older = next(version for version in versions(root) if version != other_version)
    make_current(root, older)
    assert load(root).card.meters == 8


def test_a_version_that_is_not_there_cannot_become_current(root):
    before = current_version(root)
    with pytest.raises(ModelError, match="lightgbm-000"):
        make_current(root, "lightgbm-000")
    assert current_version(root) == before


def test_a_broken_off_write_leaves_the_current_version_alone(root, model, monkeypatch):
    before = current_version(root)
    monkeypatch.setattr(model_store.os, "fsync", lambda _number: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save(root, msgspec.structs.replace(model.card, meters=77), model.boosters)
    assert current_version(root) == before
    assert sorted(path.name for path in root.iterdir()) == ["current", before]


def test_the_linear_member_comes_back_exactly(root, model):
    assert np.array_equal(load(root).linear.weights, replace(model).linear.weights)
