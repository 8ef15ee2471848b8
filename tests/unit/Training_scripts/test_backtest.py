"""``energy-backtest`` end to end on a simulated folder: its files, what it may see, and what it says when it cannot."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from Predictor.forecasting.finishing import Finisher
from Predictor.forecasting.forecaster import Forecaster
from Predictor.forecasting.model_store import current_version, load
from Sensor_core.interval import Interval
from tests.quick_training import train_quickly
from Training_scripts import backtest, simulate
from Training_scripts.backtesting import rolling
from Training_scripts.sources import history_of_folder

COLUMNS = ["level", "site_id", "building_id", "meter", "issued_at", "lead_h", "valid_at", "q10", "q50", "q90"]
COLUMNS += ["quality", "model"]
TIMES = ["--train-until", "2016-04-02", "--from", "2016-04-02T00:00", "--to", "2016-04-04T12:00", "--every", "12"]


@pytest.fixture(scope="module")
def few_trees():
    with pytest.MonkeyPatch.context() as patch:
        train_quickly(patch, trees=5, rows=5_000)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    options = ["--sites", "2", "--buildings", "6", "--seed", "3", "--out", str(folder)]
    assert simulate.main([*options, "--start", "2016-03-01", "--split", "2016-04-01", "--end", "2016-04-10"]) == 0
    return folder


@pytest.fixture(scope="module")
def out(data, few_trees, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    assert backtest.main(["--data", str(data), *TIMES, "--out", str(folder), "--jobs", "1"]) == 0
    return folder


def forecasts(folder):
    return pd.read_parquet(folder / "forecasts.parquet")


def again(data, folder, *options, model):
    """A backtest with a stored model, in this process."""
    arguments = ["--data", str(data), *TIMES, "--out", str(folder), "--model", str(model), "--jobs", "1", *options]
    assert backtest.main(arguments) == 0
    return forecasts(folder)


def test_every_meter_site_and_the_grid_has_a_row_at_every_origin_and_lead_time(out, data):
    table = forecasts(out)
    history = history_of_folder(data, Interval())
    assert list(table.columns) == COLUMNS
    assert sorted(table["lead_h"].unique()) == list(range(1, 49))
    assert sorted(table["issued_at"].unique()) == list(
        pd.date_range("2016-04-02", "2016-04-04T12:00", freq="12h", tz="UTC")
    )
    assert (table["valid_at"] == table["issued_at"] + pd.to_timedelta(table["lead_h"], unit="h")).all()
    keys = ["level", "site_id", "building_id", "meter", "issued_at", "lead_h"]
    assert not table.duplicated(keys).any()
    meters = table[table["level"] == "meter"]
    assert len(meters) == 6 * 48 * len(history.meters)
    assert table[["q10", "q50", "q90"]].notna().all(axis=None)
    assert ((table["q10"] <= table["q50"]) & (table["q50"] <= table["q90"]) & (table["q10"] >= 0)).all()


def test_peaks_limits_and_reserves_are_scored_where_a_window_is_complete(data, out, tmp_path):
    limited = tmp_path / "data"
    shutil.copytree(data, limited)
    sites = pd.read_csv(limited / "sites.csv")
    sites.assign(limit_kw=1.0).to_csv(limited / "sites.csv", index=False)
    again(limited, tmp_path / "out", model=out / "models" / current_version(out / "models"))
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())["decisions"]
    for level in ("site", "grid"):
        assert 0 < scores[level]["48"]["decisions"] <= scores[level]["24"]["decisions"]
        assert 0 <= scores[level]["24"]["peak_hour_brier"] <= 1
    assert scores["site"]["24"]["limit_brier"] == 0, "a kilowatt is always passed, and was said to be"
    assert [tenth["came"] for tenth in scores["site"]["24"]["limit"]] == [1.0]
    assert scores["grid"]["24"]["limit_brier"] is None
    assert "Peaks, limits, reserves" in (tmp_path / "out" / "report.html").read_text()


def test_totals_are_their_meters_of_one_code_and_the_grid_has_no_site(out):
    table = forecasts(out)
    meters = table[table["level"] == "meter"]
    for level, keys in (("site", ["site_id", "meter"]), ("grid", ["meter"])):
        totals = table[table["level"] == level].set_index([*keys, "issued_at", "lead_h"])["q50"]
        added = meters.groupby([*keys, "issued_at", "lead_h"])["q50"].sum()
        np.testing.assert_allclose(totals.sort_index(), added.sort_index(), rtol=1e-6)
    assert table.loc[table["level"] == "grid", "site_id"].isna().all()
    assert table.loc[table["level"] != "meter", "building_id"].isna().all()
    assert len(set(meters["meter"])) > 1


def test_times_are_utc_and_the_model_is_the_one_that_was_kept(out):
    table = forecasts(out)
    assert str(table["issued_at"].dt.tz) == str(table["valid_at"].dt.tz) == "UTC"
    assert set(table["model"]) == {current_version(out / "models")}


def test_training_saw_nothing_from_train_until_on(out, data, few_trees, tmp_path):
    card = load(out / "models").card
    assert card.trained_until.isoformat() == "2016-04-02T00:00:00+00:00"
    poisoned = poisoned_copy(data, tmp_path / "data", pd.Timestamp("2016-04-02T00:00Z"))
    assert backtest.main(["--data", str(poisoned), *TIMES, "--out", str(tmp_path / "out"), "--jobs", "1"]) == 0
    other = load(tmp_path / "out" / "models").card
    assert other.files == card.files
    assert (other.calibration, other.totals, other.linear) == (card.calibration, card.totals, card.linear)


def test_a_forecast_has_the_same_bits_whatever_comes_after_its_origin(out, data, tmp_path):
    origin = pd.Timestamp("2016-04-03T00:00Z")
    poisoned = poisoned_copy(data, tmp_path / "data", origin + pd.Timedelta(hours=1))
    one, other = forecasts(out), again(poisoned, tmp_path / "out", model=out / "models")
    keys = ["level", "site_id", "building_id", "meter", "issued_at", "lead_h"]
    known = one[one["issued_at"] <= origin].set_index(keys)
    same = other[other["issued_at"] <= origin].set_index(keys)
    pd.testing.assert_frame_equal(known, same, check_exact=True)
    later = one["issued_at"] > origin
    assert not np.array_equal(one.loc[later, "q50"], other.loc[later, "q50"])


def poisoned_copy(data, folder, begin):
    """The same folder with other readings and another weather from ``begin`` on, and a correction known only then."""
    shutil.copytree(data, folder)
    zones = pd.read_csv(data / "sites.csv").set_index("site_id")["time_zone"]
    site = pd.read_csv(data / "building_metadata.csv").set_index("building_id")["site_id"]
    for name in ("Sensors/new_consumptions.csv", "history.csv"):
        file = existing(folder / name)
        table = pd.read_csv(file)
        stamps = pd.to_datetime(table["timestamp"])
        zone = table["building_id"].map(site).map(zones)
        utc = pd.concat([to_utc(stamps[zone == one], one) for one in zone.unique()]).reindex(table.index)
        table["known_at"] = ""
        corrected = table[(utc > begin - pd.Timedelta(hours=30)) & (utc < begin)].copy()
        corrected["meter_reading"] = 7e5
        corrected["known_at"] = (begin + pd.Timedelta(hours=1)).isoformat()
        table.loc[utc >= begin, "meter_reading"] = 9e5
        pd.concat([table, corrected]).sort_values("timestamp", kind="stable").to_csv(file, index=False)
    weather = existing(folder / "weather.csv")
    table = pd.read_csv(weather)
    table.loc[pd.to_datetime(table["timestamp"], utc=True) >= begin, "air_temperature"] = 49.0
    table.to_csv(weather, index=False)
    return folder


def to_utc(stamps, zone):
    if stamps.dt.tz is not None:
        return stamps.dt.tz_convert("UTC")
    return stamps.dt.tz_localize(zone, ambiguous=True, nonexistent="shift_forward").dt.tz_convert("UTC")


def existing(file):
    return file if file.exists() else Path(f"{file}.gz")


def test_the_bits_do_not_depend_on_the_number_of_processes(out, data, tmp_path):
    table = again(data, tmp_path, "--jobs", "2", model=out / "models")
    pd.testing.assert_frame_equal(table, forecasts(out), check_exact=True)


def test_a_stored_model_is_taken_by_its_folder_or_its_card(out, data, tmp_path):
    version = out / "models" / current_version(out / "models")
    known = forecasts(out)
    first = known[known["issued_at"] == known["issued_at"].min()]
    for number, model in enumerate((version, version / "card.json")):
        tried = again(data, tmp_path / str(number), "--to", "2016-04-02", model=model)
        pd.testing.assert_frame_equal(tried, first, check_exact=True)
    assert json.loads((tmp_path / "0" / "scores.json").read_text())["warnings"] == []


def test_a_stored_model_that_may_have_seen_the_origins_is_warned_of(out, data, tmp_path, capsys):
    early = ["--from", "2016-03-31", "--to", "2016-03-31"]
    again(data, tmp_path, *early, model=out / "models")
    assert "its scores flatter it" in capsys.readouterr().err
    assert "its scores flatter it" in (tmp_path / "report.html").read_text()


def test_with_too_little_to_train_on_the_model_in_use_forecasts_or_else_the_ladder(
    out, data, tmp_path, capsys, monkeypatch
):
    for models, name in ((out / "models", current_version(out / "models")), (tmp_path / "none", "fallback")):
        monkeypatch.setenv("MODEL_DIR", str(models))
        arguments = ["--data", str(data), *TIMES, "--out", str(tmp_path / name), "--jobs", "1", "--to", "2016-04-02"]
        assert backtest.main([*arguments, "--train-until", "2016-03-05"]) == 0
        warning = json.loads((tmp_path / name / "scores.json").read_text())["warnings"][0]
        assert warning.startswith(f"no model is trained, {name} forecasts instead: validation cannot begin")
        assert f"energy-backtest: {warning}\n" in capsys.readouterr().err
        table = forecasts(tmp_path / name)
        assert set(table["model"]) == {name}
        assert ("full" in set(table["quality"])) == (name != "fallback")


def test_what_real_folders_hold_is_left_out_or_taken_for_unknown_and_told(out, data, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    buildings = pd.read_csv(copy / "building_metadata.csv")
    buildings.loc[0, "square_feet"] = 0
    buildings[:-1].to_csv(copy / "building_metadata.csv", index=False)
    replay = existing(copy / "Sensors/new_consumptions.csv")
    table = pd.read_csv(replay)
    table.loc[5, "meter_reading"] = -9999
    table.to_csv(replay, index=False)
    meters = again(copy, tmp_path, "--to", "2016-04-02", model=out / "models").query("level == 'meter'")
    nowhere = meters["building_id"] == buildings["building_id"].iloc[-1]
    assert nowhere.any()
    assert meters.loc[nowhere, "site_id"].isna().all()
    assert meters.loc[~nowhere, "site_id"].notna().all()
    warnings = json.loads((tmp_path / "scores.json").read_text())["warnings"]
    for words in ("square_feet: '0", "line 7, column meter_reading: -9999.0 is not", "1 buildings without metadata"):
        assert words in " ".join(warnings)


def test_a_model_of_another_metering_interval_is_refused(out, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("METER_INTERVAL_S", "1800")
    arguments = ["--data", str(data), *TIMES, "--out", str(tmp_path), "--model", str(out / "models"), "--jobs", "1"]
    assert backtest.main(arguments) == 1
    assert "was trained for readings every 3600 s, and METER_INTERVAL_S is 1800: " in capsys.readouterr().err


def test_models_fitted_anew_were_trained_on_what_lies_before_their_first_origin(data, few_trees, tmp_path):
    arguments = ["--data", str(data), *TIMES, "--out", str(tmp_path), "--jobs", "1", "--refit-every", "2"]
    assert backtest.main(arguments) == 0
    used = forecasts(tmp_path).groupby("issued_at")["model"].unique()
    until = [load(tmp_path / "models" / model).card.trained_until for (model,) in used]
    assert [f"{time:%m-%d}" for time in until] == ["04-02", "04-02", "04-02", "04-02", "04-04", "04-04"]
    assert (pd.DatetimeIndex(until) <= used.index).all()


def test_the_scores_are_those_of_the_forecasts_in_the_parquet(out, data):
    """Counted anew with pandas, from the files alone."""
    history = history_of_folder(data, Interval())
    scores = json.loads((out / "scores.json").read_text())
    meters = forecasts(out).query("level == 'meter'")
    keys = zip(history.meters.building_id.tolist(), history.meters.meter.tolist(), strict=True)
    row = {key: number for number, key in enumerate(keys)}
    rows = [row[key] for key in zip(meters["building_id"], meters["meter"], strict=True)]
    step = meters["valid_at"].astype("int64") // 3_600_000_000
    y = history.readings_kwh[rows, step - history.first]
    meters = meters.assign(y=y, se=(meters["q50"] - y) ** 2, inside=(meters["q10"] <= y) & (y <= meters["q90"]))
    meters["loss"] = sum(np.maximum(a * (y - meters[q]), (a - 1) * (y - meters[q])) for a, q in LEVELS) / 3
    for lead, part in (("24", meters[meters["lead_h"] == 24]), ("all", meters)):
        known = part.dropna(subset="y")
        by_meter = known.groupby(["building_id", "meter"])[["y", "se", "loss"]].mean().query("y > 0")
        own = scores["levels"]["meter"]["model"][lead]
        assert own["cvrmse"] == pytest.approx((np.sqrt(by_meter["se"]) / by_meter["y"]).median())
        assert own["pinball"] == pytest.approx((by_meter["loss"] / by_meter["y"]).mean())
        assert own["coverage"] == pytest.approx(known["inside"].mean())
        assert own["rmsle"] == pytest.approx(np.sqrt(np.mean((np.log1p(known["q50"]) - np.log1p(known["y"])) ** 2)))
        assert own["rows"] == len(known)


LEVELS = ((0.1, "q10"), (0.5, "q50"), (0.9, "q90"))


def test_the_scores_hold_the_model_and_the_baselines_at_every_level_and_lead_time(out):
    scores = json.loads((out / "scores.json").read_text())
    baselines = {"last hour", "previous day", "previous week", "mean of 7 same hours"}
    for level in ("meter", "site", "grid", "sum"):
        assert set(scores["levels"][level]) == {"model", *baselines}
        assert set(scores["levels"][level]["model"]) == {"1", "3", "6", "12", "24", "48", "all"}
    at_24 = scores["levels"]["meter"]["model"]["24"]
    best = min(scores["levels"]["meter"][name]["24"]["cvrmse"] for name in baselines)
    assert at_24["skill"] == pytest.approx(1 - at_24["cvrmse"] / best)
    assert len(scores["by_lead"]["grid"]["model"]["coverage"]) == 48
    assert len(scores["buildings"]) == scores["data"]["meters"]
    assert scores["timing"]["training_cpu_s"] > 0


def test_the_report_is_one_page_that_loads_nothing_and_runs_nothing(out):
    page = (out / "report.html").read_text()
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http" not in re.sub(r"base64,[^\"]+", "", page)
    assert page.count("data:image/svg+xml;base64,") == 4
    assert all(text in page for text in ("Accuracy", "Calibration", "By building", "Skill", "A week of forecasts"))


def test_origins_up_to_the_end_of_the_data_are_forecast_though_no_truth_is_known(out, data, tmp_path):
    last = Interval().start_of(history_of_folder(data, Interval()).stop - 1).isoformat()
    table = again(data, tmp_path, "--from", last, "--to", last, model=out / "models")
    assert len(set(table["issued_at"])) == 1
    assert json.loads((tmp_path / "scores.json").read_text())["levels"]["meter"]["model"]["all"]["cvrmse"] is None


def test_forecasts_are_the_forecasters_own_finished_origin_by_origin(out, data):
    history = history_of_folder(data, Interval())
    forecaster = Forecaster.load(out / "models")
    finisher = Finisher(forecaster.total_model)
    meters = forecasts(out).query("level == 'meter'")
    for issued_at, rows in meters.groupby("issued_at"):
        origin = Interval().step_of(issued_at.to_pydatetime())
        snapshot = history.until(origin + 1).snapshot(origin)
        expected = finisher.finish(snapshot, forecaster.raw(snapshot)).meters
        for name in ("q10", "q50", "q90"):
            assert np.array_equal(rows[name].to_numpy(), getattr(expected, name).astype(float).ravel())
        assert rows["quality"].tolist() == np.repeat(expected.quality, 48).tolist()


def test_a_task_is_given_nothing_that_lies_after_its_last_origin(data):
    history = history_of_folder(data, Interval())
    origins = range(history.stop - 60, history.stop - 30, 6)
    given = []

    class Noting(rolling.InProcess):
        def submit(self, _task, /, *args, **_options):
            given.append(args[1:])
            return super().submit(lambda: None)

    rolling.submit(Noting(), 1, Path(), history, list(origins))
    assert [origin for _, chunk in given for origin in chunk] == list(origins)
    for window, chunk in given:
        assert window.stop == chunk[-1] + 1
        assert window.weather.shape[1] == window.readings_kwh.shape[1]
        for origin in chunk:
            assert_same_snapshot(window.snapshot(origin), history.snapshot(origin))


def assert_same_snapshot(one, other):
    for name in ("readings_kwh", "weather", "weather_forecast"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "2016-04-01"], "--to 2016-04-01 00:00 lies before --from 2016-04-02 00:00: there is no origin"),
        (["--from", "2010-01-01"], "--from 2010-01-01 00:00 lies outside of the data: the data reach from 2016-"),
        (["--to", "2030-01-01"], "--to 2030-01-01 00:00 lies outside of the data"),
        (["--from", "2016-04-02T00:30"], "--from 2016-04-02 00:30 is not a whole hour"),
        (["--train-until", "2016-04-02T02:00"], "the model would have been trained on what it is to forecast"),
        (["--model", "nowhere"], "no model at nowhere"),
        (["--model", "nowhere", "--refit-every", "3"], "--model and --refit-every exclude each other"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(data, tmp_path, capsys, options, words):
    assert backtest.main(["--data", str(data), *TIMES, "--out", str(tmp_path), "--jobs", "1", *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("energy-backtest: ")
    assert words in error
    assert error.count("\n") == 1


def test_training_needs_a_time_to_end_at(data, tmp_path, capsys):
    assert backtest.main(["--data", str(data), *TIMES[2:], "--out", str(tmp_path)]) == 1
    assert (
        capsys.readouterr().err == "energy-backtest: --train-until is missing: give it, or a stored model by --model\n"
    )


def test_a_missing_column_is_named(data, tmp_path, capsys):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    existing(copy / "history.csv").unlink(missing_ok=True)
    replay = existing(copy / "Sensors/new_consumptions.csv")
    pd.read_csv(replay).drop(columns="meter_reading").to_csv(replay, index=False)
    assert backtest.main(["--data", str(copy), *TIMES, "--out", str(tmp_path)]) == 1
    assert "column meter_reading is missing" in capsys.readouterr().err


@pytest.mark.parametrize("every", ["0", "-6", "six"])
def test_hours_between_origins_are_a_number_above_zero(every, capsys):
    with pytest.raises(SystemExit):
        backtest.main(["--data", "x", "--from", "2016-01-01", "--to", "2016-01-01", "--every", every, "--out", "x"])
    assert f"{every!r} is not a whole number above 0" in capsys.readouterr().err


def test_ctrl_c_ends_it_with_a_word(data, tmp_path, capsys, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(backtest, "train", interrupted)
    assert backtest.main(["--data", str(data), *TIMES, "--out", str(tmp_path), "--jobs", "2"]) == 130
    assert capsys.readouterr().err == "energy-backtest: stopped\n"
    assert not (tmp_path / "forecasts.parquet").exists()


def test_of_quarter_hours_the_whole_hours_ahead_are_shown():
    steps = np.arange(1, 193)[rolling.whole_hours(Interval(900))]
    assert steps.tolist() == [4 * lead for lead in range(1, 49)]
