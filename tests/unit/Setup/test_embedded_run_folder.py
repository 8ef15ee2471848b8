"""A state folder belongs to one data folder, is wiped only if energy-run made it, and has a model of its own."""

import pytest

from Sensor_core.errors import EnergyError
from Setup.embedded.run_folder import DEMONSTRATION, RunFolder, default_state
from Setup.embedded.state_folder import StateFolder


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "my_data"
    folder.mkdir()
    return folder


@pytest.fixture
def shipped_model(tmp_path):
    folder = tmp_path / "shipped"
    (folder / "v1").mkdir(parents=True)
    (folder / "current").write_text("v1")
    return folder


def test_every_data_folder_has_a_state_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {RunFolder(None, tmp_path / place / "data").path for place in ("a", "b")}
    assert len(folders) == 2
    assert {folder.parent for folder in folders} == {tmp_path / ".energy"}
    assert all(folder.name.startswith("data-") for folder in folders)


def test_the_default_state_does_not_depend_on_how_the_data_folder_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_state(tmp_path / "data") == default_state(tmp_path / "x" / ".." / "data")


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path, data):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.txt").write_text("years of work")
    with pytest.raises(EnergyError, match="documents has files in it and was not made by energy-run"):
        RunFolder(tmp_path / "documents", data)
    assert (tmp_path / "documents" / "thesis.txt").read_text() == "years of work"


def test_a_state_folder_of_another_data_folder_is_refused(tmp_path, data, shipped_model):
    RunFolder(tmp_path / "state", data).prepare(shipped_model)
    with pytest.raises(EnergyError, match=f"belongs to the data folder {data}"):
        RunFolder(tmp_path / "state", tmp_path).prepare(shipped_model)


def test_a_wiped_folder_may_serve_another_data_folder(tmp_path, data, shipped_model):
    RunFolder(tmp_path / "state", data).prepare(shipped_model)
    other = RunFolder(tmp_path / "state", tmp_path)
    other.wipe()
    other.prepare(shipped_model)
    assert RunFolder(tmp_path / "state", tmp_path).history_readings is None


def test_wiping_leaves_nothing_of_earlier_runs(tmp_path, data, shipped_model):
    folder = RunFolder(tmp_path / "state", data)
    folder.prepare(shipped_model)
    (folder.path / "postgres" / "data").mkdir(parents=True)
    (folder.path / "ports.json").write_text("{}")
    folder.wipe()
    assert list(folder.path.iterdir()) == []


def test_wiping_what_was_never_made_does_nothing(tmp_path, data):
    RunFolder(tmp_path / "state", data).wipe()
    assert not (tmp_path / "state").exists()


def test_a_folder_in_use_is_not_wiped(tmp_path, data, shipped_model):
    folder = RunFolder(tmp_path / "state", data)
    folder.prepare(shipped_model)
    running = StateFolder(folder.path)
    running.claim()
    with pytest.raises(EnergyError, match="is in use by process"):
        folder.wipe()
    running.release()
    assert folder.model.exists()


def test_the_shipped_model_is_copied_once_so_that_promotions_stay(tmp_path, data, shipped_model):
    folder = RunFolder(tmp_path / "state", data)
    folder.prepare(shipped_model)
    assert (folder.model / "current").read_text() == "v1"
    (folder.model / "current").write_text("promoted")
    folder.prepare(shipped_model)
    assert (folder.model / "current").read_text() == "promoted"
    assert (shipped_model / "current").read_text() == "v1"


def test_a_run_without_a_shipped_model_is_possible(tmp_path, data):
    folder = RunFolder(tmp_path / "state", data)
    folder.prepare(tmp_path / "nowhere")
    assert not folder.model.exists()


def test_the_number_of_history_readings_is_remembered(tmp_path, data, shipped_model):
    folder = RunFolder(tmp_path / "state", data)
    folder.prepare(shipped_model)
    assert folder.history_readings is None
    folder.history_readings = 1234
    again = RunFolder(tmp_path / "state", data)
    again.prepare(shipped_model)
    assert again.history_readings == 1234


def test_only_the_shipped_data_folder_is_the_demonstration(tmp_path, data):
    assert RunFolder(tmp_path / "state", DEMONSTRATION).is_demonstration
    assert not RunFolder(tmp_path / "state", data).is_demonstration
