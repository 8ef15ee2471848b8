"""One function for training and serving: nothing from the future, clocks right, gaps stay gaps."""

from dataclasses import replace

import numpy as np
import pytest

from Predictor.forecasting.features import FEATURE_NAMES, LEVEL_FEATURES, build_features
from Predictor.forecasting.snapshot import Snapshot, history_steps
from Predictor.forecasting.testing import (
    ORIGIN,
    closed_at_weekends,
    make_meters,
    make_snapshot,
    make_weather,
    working_week,
)
from Predictor.forecasting.weather_features import WEATHER_FEATURES
from Predictor.forecasting.weather_outlook import outlook
from Predictor.weather_sources.source import HourlyWeather, closed_hour
from Sensor_core.interval import Interval
from Training_scripts.dataset import EnergyHistory

HOURLY, QUARTER_HOURLY = Interval(), Interval(900)
LONDON_SPRING = 396_546  # 2015-03-28T18:00Z: clocks change within the horizon
LONDON_AUTUMN = 401_586  # 2015-10-24T18:00Z


def history_around(origin, *, days_before=50, days_after=3, interval=HOURLY, noise=0.05):
    """A span of readings and weather around an origin hour."""
    meters, sites = make_meters(8)
    per_hour = interval.steps_per_hour
    first, hours = (origin - 24 * days_before), 24 * (days_before + days_after)
    load = working_week(meters, sites, interval, first * per_hour, hours * per_hour)
    random = np.random.default_rng(1).normal(1, noise, load.shape)
    weather = make_weather(sites, hours) + np.random.default_rng(2).normal(0, 1, (2, hours, 7)).astype(np.float32)
    return EnergyHistory(interval, sites, meters, first * per_hour, load * random, weather)


def column(features, name):
    shape = features.anchor_kwh.shape
    return features.inputs[:, FEATURE_NAMES.index(name)].reshape(shape)


def assert_same_bits(one, other):
    for name in one.__dataclass_fields__:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def test_every_meter_and_lead_time_has_a_row_that_lightgbm_takes_as_it_is():
    features = build_features(make_snapshot(meters=5))
    assert features.inputs.shape == (5 * 48, len(FEATURE_NAMES))
    assert features.inputs.dtype == np.float32
    assert features.inputs.flags.c_contiguous
    assert column(features, "lead_h")[3].tolist() == list(range(1, 49))


@pytest.mark.parametrize("interval", [HOURLY, QUARTER_HOURLY], ids=["hourly", "quarter-hourly"])
def test_whatever_comes_after_the_origin_changes_no_bit(interval):
    history = history_around(ORIGIN, interval=interval)
    origin = ORIGIN * interval.steps_per_hour  # at a quarter past, its hour is not over: nobody knows its weather yet
    readings, weather = history.readings_kwh.copy(), history.weather.copy()
    readings[:, origin - history.first + 1 :] = 1e6
    weather[:, (origin + 1 - history.first) // interval.steps_per_hour :] = 99
    poisoned = replace(history, readings_kwh=readings, weather=weather)
    assert_same_bits(build_features(history.snapshot(origin)), build_features(poisoned.snapshot(origin)))


@pytest.mark.parametrize(("interval", "quarter"), [(HOURLY, 0), *((QUARTER_HOURLY, quarter) for quarter in range(4))])
def test_training_and_serving_make_the_same_features_of_one_interval(interval, quarter):
    history = history_around(ORIGIN, interval=interval)
    origin = ORIGIN * interval.steps_per_hour + quarter
    until = origin - history.first + 1
    weather = HourlyWeather(history.first // interval.steps_per_hour, history.weather)
    observed = weather.observed(ORIGIN, closed_hour(interval.end_of(origin)))
    served = Snapshot(
        origin=origin,
        interval=interval,
        meters=history.meters,
        sites=history.sites,
        readings_kwh=history.readings_kwh[:, until - history_steps(interval) - 168 : until],  # rings are longer
        weather=observed,
        weather_forecast=outlook(observed),
    )
    assert_same_bits(build_features(history.snapshot(origin)), build_features(served))
    assert_same_bits(build_features(history.until(origin + 1).snapshot(origin)), build_features(served))


@pytest.mark.parametrize("origin", [ORIGIN, LONDON_SPRING, LONDON_AUTUMN], ids=["plain", "spring", "autumn"])
def test_the_anchor_of_a_regular_week_is_the_week_itself_whatever_clocks_do(origin):
    history = history_around(origin, noise=0.0)
    anchor = build_features(history.snapshot(origin)).anchor_kwh
    assert np.allclose(anchor, history.truth(origin), rtol=1e-5)


def test_lags_of_a_regular_week_deviate_nowhere_from_the_anchor_on_a_clock_change():
    history = history_around(LONDON_SPRING + 12, noise=0.0)  # both sides of the change are Sundays
    features = build_features(history.snapshot(LONDON_SPRING + 12))
    assert np.allclose(column(features, "week_lag_1")[1, :20], 0, atol=1e-5)


def test_features_have_no_scale():
    snapshot = make_snapshot()
    small, large = (
        build_features(replace(snapshot, readings_kwh=snapshot.readings_kwh * factor)) for factor in (1.0, 1000.0)
    )
    others = [index for index, name in enumerate(FEATURE_NAMES) if name != "log_load_density"]
    assert np.allclose(small.inputs[:, others], large.inputs[:, others], rtol=1e-3, atol=1e-4, equal_nan=True)
    assert np.allclose(small.scale_kwh * 1000, large.scale_kwh)


def test_day_lags_beyond_24_hours_skip_the_day_that_is_not_known_yet():
    snapshot = make_snapshot(noise=0.3)
    features = build_features(snapshot)
    lag = column(features, "day_lag_1") * features.scale_kwh[:, None] + features.anchor_kwh
    readings = snapshot.readings_kwh
    assert np.allclose(lag[:, 23], readings[:, -1], rtol=1e-4)
    assert np.allclose(lag[:, 24], readings[:, -24], rtol=1e-4)
    assert np.allclose(lag[:, 47], readings[:, -1], rtol=1e-4)


def test_missing_weather_stays_missing_and_touches_no_other_feature():
    snapshot = make_snapshot()
    nothing = np.float32(np.nan)
    blind = replace(snapshot, weather=snapshot.weather[:, :0], weather_forecast=snapshot.weather_forecast * nothing)
    with_weather, without = build_features(snapshot), build_features(blind)
    for index, name in enumerate(FEATURE_NAMES):
        if name in WEATHER_FEATURES:
            assert np.isnan(without.inputs[:, index]).all(), name
        else:
            assert np.array_equal(without.inputs[:, index], with_weather.inputs[:, index], equal_nan=True), name


def test_the_forecast_of_a_warmer_day_shows_as_an_anomaly_and_a_change():
    snapshot = make_snapshot()
    warmer = snapshot.weather_forecast.copy()
    warmer[:, :, 0] += 10
    usual = build_features(snapshot)
    warm = build_features(replace(snapshot, weather_forecast=warmer))
    for name in ("temperature_anomaly_c", "temperature_change_c"):
        assert np.allclose(column(warm, name) - column(usual, name), 10, atol=1e-4)
    smooth = column(warm, "smooth_temperature_anomaly_c") - column(usual, "smooth_temperature_anomaly_c")
    assert (np.diff(smooth, axis=1) > 0).all()  # buildings feel it late
    assert 5 < smooth[0, 23] < smooth[0, 47] < 10


def test_a_meter_that_heats_shows_by_how_much_a_degree():
    history = history_around(ORIGIN, noise=0.01)
    days = np.arange(history.weather.shape[1]) // 24
    weather = history.weather.copy()
    weather[:, :, 0] = np.random.default_rng(3).normal(5, 4, days[-1] + 1)[days]
    degrees = np.maximum(15.5 - weather[:, :, 0], 0)[history.meters.site]
    heated = history.readings_kwh.copy()
    heated[:4] += 0.5 * degrees[:4]
    features = build_features(replace(history, readings_kwh=heated, weather=weather).snapshot(ORIGIN))
    slope_kwh = column(features, "heating_slope")[:, 0] * features.scale_kwh
    assert (slope_kwh[:4] > 0.2).all()
    assert (np.abs(slope_kwh[4:]) < 0.1).all()


def test_the_days_that_went_like_this_one_are_found_in_a_holiday_that_no_calendar_knows():
    history = history_around(ORIGIN, noise=0.01, days_after=5)
    origin = ORIGIN + 36  # Monday noon
    shut = history.readings_kwh.copy()
    column_of = origin - history.first
    for days_back in range(6):  # six days of half load, the last of them this Monday
        shut[:, column_of - 24 * days_back - 23 : column_of - 24 * days_back + 1] *= 0.5
    shut[:, column_of + 1 :] *= 0.5
    snapshot = replace(history, readings_kwh=shut).snapshot(origin)
    features = build_features(snapshot)
    analog = column(features, "analog_days") * features.scale_kwh[:, None] + features.anchor_kwh
    truth = replace(history, readings_kwh=shut).truth(origin)
    assert np.abs(analog - truth).mean() < 0.5 * np.abs(features.anchor_kwh - truth).mean()


def test_a_meter_that_has_left_its_course_is_moved_on_from_where_it_is():
    snapshot = make_snapshot(meters=2, noise=0.01)
    readings = snapshot.readings_kwh.copy()
    readings[0, -6:] += 20.0
    usual, odd = build_features(snapshot), build_features(replace(snapshot, readings_kwh=readings))
    for name in ("moved_analog_days", "moved_analog_hours"):
        course, before = (column(each, name) * each.scale_kwh[:, None] + each.anchor_kwh for each in (odd, usual))
        assert np.allclose(course[0, :6] - before[0, :6], 20.0, atol=2.0), name
        assert np.allclose(course[1], before[1]), name


def test_an_outage_that_lasts_is_seen_although_the_profile_does_not_believe_it():
    snapshot = make_snapshot(meters=2)
    readings = snapshot.readings_kwh.copy()
    readings[0, -5:] = 0.0
    features = build_features(replace(snapshot, readings_kwh=readings))
    assert features.known_h.tolist() == [835, 840]
    level = column(features, "reading_0")[0] * features.scale_kwh[0] + features.anchor_kwh[0]
    assert np.allclose(level, 0, atol=1e-4)
    assert (column(features, "error_3")[0] < -0.3).all()


def test_spikes_and_drop_outs_are_not_believed_and_idle_hours_are():
    snapshot = make_snapshot(meters=3)
    readings = snapshot.readings_kwh.copy()
    readings[0, -30] *= 50
    readings[1, -30:-20] = 0.0
    readings[2, ::12] = 0.0  # off twice a day
    features = build_features(replace(snapshot, readings_kwh=readings))
    assert features.known_h.tolist() == [839, 830, 840]


def test_a_stuck_meters_readings_are_not_believed():
    snapshot = make_snapshot()
    readings = snapshot.readings_kwh.copy()
    readings[0, -200:-150] = 7.0
    readings[1, -200:-185] = 7.0  # fifteen equal hours happen
    features = build_features(replace(snapshot, readings_kwh=readings))
    assert features.known_h[:3].tolist() == [790, 840, 840]


def test_zeros_of_a_meter_that_is_off_at_weekends_are_believed():
    features = build_features(closed_at_weekends(make_snapshot(meters=2), 1))
    assert features.known_h.tolist() == [840, 840]
    assert (features.anchor_kwh[1, :22] == 0).all()  # Sunday
    assert (features.anchor_kwh[1, 24:] > 0).all()
    assert features.scale_kwh[1] > 10


@pytest.mark.parametrize(("off", "known_h"), [([20, 20], 800), ([20, 20, 20], 840), ([500], 340)])
def test_zeros_that_are_no_habit_are_not_believed(off, known_h):
    snapshot = make_snapshot(meters=1)
    readings = snapshot.readings_kwh.copy()
    for run, length in enumerate(off):
        readings[0, 100 * run : 100 * run + length] = 0.0
    assert build_features(replace(snapshot, readings_kwh=readings)).known_h.tolist() == [known_h]


def test_a_missing_newest_reading_leaves_its_lag_missing():
    snapshot = make_snapshot()
    readings = snapshot.readings_kwh.copy()
    readings[2, -1] = np.nan
    features = build_features(replace(snapshot, readings_kwh=readings))
    assert np.isnan(column(features, "reading_0")[2]).all()
    assert features.reading_kwh[2] == np.float32(readings[2, -2])


def test_a_meter_without_any_past_has_features_but_no_anchor():
    snapshot = make_snapshot(meters=3)
    readings = snapshot.readings_kwh.copy()
    readings[1] = np.nan
    features = build_features(replace(snapshot, readings_kwh=readings))
    assert np.isnan(features.anchor_kwh[1]).all()
    assert all(np.isnan(column(features, name)[1]).all() for name in LEVEL_FEATURES)
    assert np.isfinite(features.anchor_kwh[[0, 2]]).all()


def test_a_short_past_is_enough():
    snapshot = make_snapshot()
    features = build_features(replace(snapshot, readings_kwh=snapshot.readings_kwh[:, -30:]))
    assert features.known_h.tolist() == [30] * 8
    assert np.isfinite(features.anchor_kwh[:, :24]).any(axis=1).all()


def test_quarter_hours_are_forecast_on_their_own_grid():
    interval = Interval(900)
    history = history_around(ORIGIN, interval=interval, noise=0.0)
    features = build_features(history.snapshot(ORIGIN * 4))
    assert features.anchor_kwh.shape == (8, 192)
    assert np.allclose(features.anchor_kwh, history.truth(ORIGIN * 4), rtol=1e-5)
    assert column(features, "lead_h")[0, :5].tolist() == [0.25, 0.5, 0.75, 1.0, 1.25]
