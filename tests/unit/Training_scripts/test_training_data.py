"""What is trained on: the stored version of a reading, rows that end before the split; baselines and scores."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from Predictor.forecasting.features import FEATURE_NAMES, build_features
from Predictor.forecasting.snapshot import NO_SITE, PRIMARY_USES
from Predictor.forecasting.testing import ORIGIN, make_meters, make_snapshot, make_weather, working_week
from Sensor_core.building import Building, Site
from Sensor_core.errors import DataFolderError, ModelError
from Sensor_core.interval import Interval
from Sensor_core.weather import QUANTITY_NAMES
from Training_scripts import samples
from Training_scripts.backtesting.totals import members, total_keys
from Training_scripts.baselines import BASELINES
from Training_scripts.dataset import EnergyHistory, energy_history
from Training_scripts.fitting import fit
from Training_scripts.quality import trusted
from Training_scripts.samples import draw_sample
from Training_scripts.scoring import score_by_lead

START = pd.Timestamp("2016-09-01T00:30Z")
SITES = [
    Site(site_id=4, time_zone="Europe/London", latitude=51, longitude=0, country="GB"),
    Site(site_id=9, time_zone="UTC", latitude=0, longitude=0, country="ZZ"),
]
BUILDINGS = {
    1: Building(building_id=1, site_id=9, primary_use="Office", square_feet=1000),
    2: Building(building_id=2, site_id=4, primary_use="Zeppelin hangar"),
}


def readings(*rows):
    """Rows of building, meter, minutes after START, kWh and known_at (None: not given)."""
    table = pd.DataFrame(rows, columns=["building_id", "meter", "timestamp", "meter_reading_kwh", "known_at"])
    table["timestamp"] = START + pd.to_timedelta(table["timestamp"], unit="min")
    table["known_at"] = pd.to_datetime(table["known_at"], utc=True)
    return table


def weather(*rows):
    table = pd.DataFrame(rows, columns=["site_id", "timestamp"])
    table["timestamp"] = pd.to_datetime(table["timestamp"], utc=True)
    return table.assign(**{name: float(index) for index, name in enumerate(QUANTITY_NAMES)})


NO_WEATHER = weather()


def regular_history(days=30, noise=0.05):
    meters, sites = make_meters(6)
    first, hours = ORIGIN - days * 24, days * 24
    load = working_week(meters, sites, Interval(), first, hours)
    random = np.random.default_rng(0).normal(1, noise, load.shape)
    return EnergyHistory(Interval(), sites, meters, first, load * random, make_weather(sites, hours))


def test_readings_and_weather_are_arranged_on_the_grid_from_a_full_hour_on():
    table = readings((1, 0, 30, 5.0, None), (2, 3, 60, 7.0, None))
    history = energy_history(Interval(1800), SITES, BUILDINGS, [table], weather((4, "2016-09-01T01:00Z")))
    assert Interval(1800).start_of(history.first) == datetime(2016, 9, 1, 1, tzinfo=UTC)
    assert history.meters.building_id.tolist() == [1, 2]
    assert history.meters.site.tolist() == [1, 0]
    assert history.meters.meter.tolist() == [0, 3]
    assert np.array_equal(history.readings_kwh, [[5, np.nan], [np.nan, 7]], equal_nan=True)
    assert history.weather[0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert np.isnan(history.weather[1]).all()


def test_of_several_versions_of_a_reading_the_one_known_last_counts():
    chunks = [
        readings((1, 0, 30, 5.0, "2016-09-02"), (1, 0, 90, 1.0, None)),
        readings((1, 0, 30, 9.0, "2016-09-01"), (1, 0, 90, 2.0, "2016-09-01")),
    ]
    assert energy_history(Interval(), SITES, BUILDINGS, chunks, NO_WEATHER).readings_kwh.tolist() == [[5.0, 2.0]]


def test_what_the_stream_would_not_store_is_not_trained_on():
    table = readings((1, 0, 30, 5.0, None), (1, 0, 45, 6.0, None), (1, 0, 90, -1.0, None))
    history = energy_history(Interval(), SITES, BUILDINGS, [table], NO_WEATHER)
    assert history.readings_kwh.tolist() == [[5.0]]


def test_a_building_without_metadata_stands_nowhere_and_is_warned_of():
    told = []
    table = readings((1, 0, 30, 5.0, None), (77, 0, 30, 8.0, None))
    history = energy_history(Interval(), SITES, BUILDINGS, [table], NO_WEATHER, warn=told.append)
    assert history.readings_kwh.tolist() == [[5.0], [8.0]]
    assert history.sites.site_id[history.meters.site[1]] == NO_SITE
    assert total_keys(history) == [(9, 0), (None, 0)]
    assert members(history, None, 0).tolist() == [True, False]
    assert told == ["1 buildings without metadata, such as 77: forecast, but in no total"]
    with pytest.raises(DataFolderError, match="no readings of buildings that the metadata names"):
        energy_history(Interval(), SITES, {}, [table], NO_WEATHER)


def test_a_few_readings_years_away_from_all_others_make_no_columns():
    told = []
    day = 24 * 60
    usual = [(1, 0, 30 + 60 * hour, 5.0, None) for hour in range(300)]
    strays = [(1, 0, 30 - 9000 * day, 5.0, None), (1, 0, 30 + 500 * day, 5.0, None)]
    history = energy_history(Interval(), SITES, BUILDINGS, [readings(*usual, *strays)], NO_WEATHER, warn=told.append)
    assert history.readings_kwh.shape == (1, 300)
    assert told == ["2 readings more than a year away from all others, the first at 1992-01-11: left out"]
    half = energy_history(Interval(), SITES, BUILDINGS, [readings(usual[0], strays[1])], NO_WEATHER)
    assert half.readings_kwh.shape == (1, 12001)


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("kwh", [0.0, np.nan])
def test_readings_that_teach_nothing_are_an_error_in_words(kwh):
    history = regular_history()
    flat = replace(history, readings_kwh=np.full_like(history.readings_kwh, kwh))
    with pytest.raises(ModelError, match="too little to learn from: 0 rows"):
        fit(flat, ORIGIN, seed=0, num_threads=1, advance=lambda _share: None)


def test_an_unknown_use_counts_as_other():
    table = readings((1, 0, 30, 5.0, None), (2, 0, 30, 5.0, None))
    meters = energy_history(Interval(), SITES, BUILDINGS, [table], NO_WEATHER).meters
    assert [PRIMARY_USES[code] for code in meters.primary_use] == ["Office", "Other"]
    assert meters.floor_area_m2[0] == pytest.approx(92.903)
    assert np.isnan(meters.floor_area_m2[1])


def test_a_late_reading_and_a_correction_are_seen_from_when_they_were_known():
    chunks = [
        readings((1, 0, 30, 5.0, "2016-09-01T02:00Z"), (1, 0, 90, 1.0, "2016-09-01T05:30Z"), (1, 0, 150, 3.0, None)),
        readings((1, 0, 30, 9.0, "2016-09-01T04:02Z"), (1, 0, 210, 4.0, None)),
    ]
    history = energy_history(Interval(), SITES, BUILDINGS, chunks, NO_WEATHER)
    assert history.readings_kwh.tolist() == [[9.0, 1.0, 3.0, 4.0]]
    origins = [history.first + k for k in range(4)]
    seen = [history.snapshot(origin).readings_kwh.tolist() for origin in origins]
    expected = [[[5.0]], [[5.0, np.nan]], [[9.0, np.nan, 3.0]], [[9.0, np.nan, 3.0, 4.0]]]
    for one, other in zip(seen, expected, strict=True):
        assert np.array_equal(one, other, equal_nan=True)
    past = history.until(origins[3])
    assert np.array_equal(past.readings_kwh, [[9.0, np.nan, 3.0]], equal_nan=True)
    assert past.snapshot(origins[1]).readings_kwh[0, 0] == 5.0
    assert past.since(origins[1]).snapshot(origins[2]).readings_kwh.shape == (1, 2)


def test_no_reading_at_all_is_an_error_in_words():
    with pytest.raises(DataFolderError, match="no readings"):
        energy_history(Interval(), SITES, BUILDINGS, [], NO_WEATHER)


def test_a_snapshot_of_the_past_ends_at_its_origin_and_the_truth_begins_after_it():
    history = regular_history()
    origin = ORIGIN - 100
    snapshot = history.snapshot(origin)
    column = origin - history.first
    assert snapshot.readings_kwh[:, -1].tolist() == history.readings_kwh[:, column].tolist()
    assert np.array_equal(snapshot.weather[:, -1], history.weather[:, column])
    assert history.truth(origin)[:, 0].tolist() == history.readings_kwh[:, column + 1].tolist()


def test_the_truth_beyond_the_data_is_missing():
    truth = regular_history().truth(ORIGIN - 11)
    assert np.isnan(truth).sum(axis=1).tolist() == [38] * 6


@pytest.fixture
def few_rows(monkeypatch):
    monkeypatch.setattr(samples, "MAX_ROWS", 3000)


def draw(history, until, seed=0):
    return draw_sample(history, until, np.random.default_rng(seed), lambda _share: None)


@pytest.mark.usefixtures("few_rows")
def test_training_rows_are_drawn_the_same_from_one_seed():
    history = regular_history()
    one, same, other = draw(history, ORIGIN), draw(history, ORIGIN), draw(history, ORIGIN, seed=1)
    assert one.inputs.tobytes() == same.inputs.tobytes()
    assert one.inputs.tobytes() != other.inputs.tobytes()
    assert 1000 < len(one.target) <= 3300


@pytest.mark.usefixtures("few_rows")
def test_meters_that_come_and_go_are_learnt_from_as_fully_as_those_that_stay(monkeypatch):
    monkeypatch.setattr(samples, "_ROWS_PER_ORIGIN", (40, 100))
    history = regular_history(days=120)
    values = np.full_like(history.readings_kwh, np.nan)
    for meter in range(6):
        span = slice(15 * 24 * meter, (15 * meter + 30) * 24)
        values[meter, span] = history.readings_kwh[meter, span]
    drawn = draw(replace(history, readings_kwh=values), ORIGIN)
    assert len(drawn.target) > 0.7 * len(draw(history, ORIGIN).target)


def test_the_first_hours_get_more_rows_each_than_the_last(monkeypatch):
    monkeypatch.setattr(samples, "MAX_ROWS", 4_000)
    monkeypatch.setattr(samples, "_ROWS_PER_ORIGIN", (40, 100))
    drawn = draw(regular_history(), ORIGIN)
    lead_h = drawn.inputs[:, FEATURE_NAMES.index("lead_h")].astype(int)
    rows = np.bincount(lead_h, minlength=49)
    assert rows[1] > 3 * rows[13:25].mean() > 0
    assert rows[13:25].mean() > 1.5 * rows[25:].mean() > 0
    assert len(np.unique(drawn.group)) == 4


@pytest.mark.usefixtures("few_rows")
def test_no_training_row_sees_anything_from_the_split_on():
    history = regular_history()
    until = ORIGIN - 96
    values, observed = history.readings_kwh.copy(), history.weather.copy()
    values[:, until - history.first :] = 1e6
    observed[:, until - history.first :] = 99
    poisoned = replace(history, readings_kwh=values, weather=observed)
    for name in ("inputs", "target", "weight", "group"):
        assert getattr(draw(history, until), name).tobytes() == getattr(draw(poisoned, until), name).tobytes()


@pytest.mark.usefixtures("few_rows")
def test_a_stuck_meter_is_no_target():
    history = regular_history()
    values = history.readings_kwh.copy()
    values[:, -200:] = 3.0
    stuck = replace(history, readings_kwh=values)
    kept = trusted(stuck)
    assert np.isnan(kept.history.readings_kwh[:, -200:]).all()
    assert kept.masked.flat == 200 * 6
    assert len(draw(stuck, ORIGIN).target) < len(draw(history, ORIGIN).target)


def test_zeros_are_a_truth_where_they_come_again_and_again_within_five_weeks():
    history = regular_history(days=100)
    values = history.readings_kwh.copy()
    for begin in (50, 150, 250, 350, 2300):
        values[0, begin : begin + 40] = 0.0
    gone = np.isnan(trusted(replace(history, readings_kwh=values)).history.readings_kwh[0])
    assert np.flatnonzero(gone).tolist() == list(range(2300, 2340))


@pytest.mark.usefixtures("few_rows")
def test_training_rows_are_rows_that_serving_makes():
    history = regular_history(days=12)
    until = history.first + 24 * (samples.WARM_UP_DAYS + 1)
    served = {row.tobytes() for origin in range(until - 24, until) for row in served_rows(history, origin)}
    drawn = draw(history, until)
    with_weather = [row for row in drawn.inputs if row.tobytes() in served]
    assert len(with_weather) > 50


def served_rows(history, origin):
    return build_features(history.snapshot(origin)).inputs


def test_baselines_repeat_what_they_say():
    snapshot = make_snapshot(meters=2)
    kwh = snapshot.readings_kwh
    forecasts = {name: baseline(snapshot) for name, baseline in BASELINES.items()}
    assert np.array_equal(forecasts["last hour"], np.repeat(kwh[:, -1:], 48, axis=1))
    assert np.array_equal(forecasts["previous day"], np.tile(kwh[:, -24:], 2))
    assert np.array_equal(forecasts["previous week"], kwh[:, -168:-120])
    same_hours = np.mean([kwh[:, -24 * day + 5] for day in range(1, 8)], axis=0)
    np.testing.assert_allclose(forecasts["mean of 7 same hours"][:, 5], same_hours)
    np.testing.assert_allclose(forecasts["mean of 7 same hours"][:, 29], same_hours)


def test_baselines_of_quarter_hours_keep_to_their_grid():
    snapshot = make_snapshot(meters=1, interval=Interval(900))
    kwh = snapshot.readings_kwh
    assert np.array_equal(BASELINES["last hour"](snapshot)[:, :8], np.tile(kwh[:, -4:], 2))
    assert np.array_equal(BASELINES["previous day"](snapshot)[:, :96], kwh[:, -96:])


def test_baselines_carry_the_newest_value_over_a_gap():
    snapshot = make_snapshot(meters=1)
    kwh = snapshot.readings_kwh.copy()
    kwh[0, -3:] = np.nan
    assert (BASELINES["last hour"](replace(snapshot, readings_kwh=kwh)) == kwh[0, -4]).all()


def test_scores_are_what_a_pencil_gives():
    truth = np.full((4, 1, 48), 10.0)
    truth[0, 0, 0] = np.nan
    low, middle, high = (np.full((4, 1, 48), value) for value in (8.0, 12.0, 13.0))
    score = score_by_lead(truth, np.stack([low, middle, high], axis=1), 1)
    assert score["all"].cvrmse == score["1"].cvrmse == pytest.approx(0.2)
    assert score["all"].coverage == 1.0
    assert score["all"].pinball == pytest.approx((0.1 * 2 + 0.5 * 2 + 0.1 * 3) / 3 / 10)
    point = score_by_lead(truth, middle[:, None], 1)["24"]
    assert point.cvrmse == pytest.approx(0.2)
    assert np.isnan(point.coverage)


def test_a_meter_that_counted_nothing_does_not_spoil_the_scores():
    truth = np.stack([np.full((3, 48), 10.0), np.zeros((3, 48))], axis=1)
    score = score_by_lead(truth, truth[:, None] + 1.0, 1)
    assert score["all"].cvrmse == pytest.approx(0.1)


def test_spikes_drop_outs_and_the_weeks_after_a_change_of_unit_are_no_truth_to_learn_from():
    history = regular_history(days=45)
    values = history.readings_kwh.copy()
    values[0, 500] *= 40
    values[1, 600:605] = 0.0
    values[2, 700:] *= 3.412
    values[3, 700:] *= 0.55  # a level that is no unit
    kept = trusted(replace(history, readings_kwh=values))
    gone, masked = np.isnan(kept.history.readings_kwh), kept.masked
    assert np.flatnonzero(gone[0]).tolist() == [500]
    assert np.flatnonzero(gone[1]).tolist() == list(range(600, 605))
    assert gone[2, 720:1000].all()
    assert not gone[2, :600].any()
    assert not gone[3:].any()
    assert (masked.spikes, masked.dropped, masked.flat) == (1, 5, 0)
    assert str(masked) == f"1 spikes, 5 dropped, {masked.unit_changes} unit changes"


def test_a_drop_out_is_a_truth_only_for_origins_within_it():
    history = regular_history(days=45)
    values = history.readings_kwh.copy()
    values[1, 600:610] = 0.0
    kept = trusted(replace(history, readings_kwh=values))
    before, within = (kept.truth(history.first + column)[1] for column in (598, 604))
    assert np.flatnonzero(np.isnan(before)).tolist() == list(range(1, 11))
    assert within[:5].tolist() == [0.0] * 5
    assert within[5] > 0
