"""Quantiles that never cross, and a forecast for every meter however little is known."""

from dataclasses import replace

import numpy as np
import pytest

from Predictor.forecasting.fallback import INTENSITY_KWH_PER_M2, LADDER, TYPICAL_FLOOR_AREA_M2
from Predictor.forecasting.forecaster import Forecaster
from Predictor.forecasting.testing import ORIGIN, closed_at_weekends, make_snapshot
from Sensor_core.interval import Interval
from Training_scripts.baselines import BASELINES


@pytest.fixture(params=["model", "no model"])
def forecaster(request, model):
    return Forecaster(model) if request.param == "model" else Forecaster()


def with_readings(snapshot, change):
    readings = snapshot.readings_kwh.copy()
    change(readings)
    return replace(snapshot, readings_kwh=readings)


def assert_sound(forecast, meters=8, horizon=48):
    assert forecast.q50.shape == (meters, horizon)
    assert np.isfinite(forecast.stacked()).all()
    assert (forecast.q10 >= 0).all()
    assert (forecast.q10 <= forecast.q50).all()
    assert (forecast.q50 <= forecast.q90).all()
    assert len(forecast.quality) == meters


def messy(readings):
    """Gaps, an outage, a stuck meter, zeros, a spike, and nothing at all."""
    random = np.random.default_rng(0)
    readings[0, random.random(readings.shape[1]) < 0.4] = np.nan
    readings[1, -30:] = np.nan
    readings[2, -60:] = 4.0
    readings[3] = 0.0
    readings[4, -1] = 1e8
    readings[5] = np.nan
    readings[6, :-5] = np.nan
    readings[7] = 1e-9 * random.random(readings.shape[1])


@pytest.mark.parametrize("interval", [Interval(), Interval(900)], ids=["hourly", "quarter-hourly"])
def test_quantiles_are_finite_never_negative_and_never_cross(forecaster, interval):
    snapshot = with_readings(make_snapshot(interval=interval), messy)
    assert_sound(forecaster.forecast(snapshot), horizon=interval.horizon)


def test_the_same_inputs_give_the_same_bits_with_any_number_of_threads(model):
    snapshot = make_snapshot()
    first, again, threaded = (
        Forecaster(model, num_threads=threads).forecast(snapshot).stacked().tobytes() for threads in (1, 1, 2)
    )
    assert first == again == threaded


def test_whatever_comes_after_the_origin_changes_no_bit_of_the_forecast(model, history):
    readings, weather = history.readings_kwh.copy(), history.weather.copy()
    readings[:, ORIGIN - history.first + 1 :] = 1e6
    weather[:, ORIGIN - history.first + 1 :] = 50
    poisoned = replace(history, readings_kwh=readings, weather=weather)
    clean, other = (Forecaster(model).forecast(source.snapshot(ORIGIN)) for source in (history, poisoned))
    assert clean.stacked().tobytes() == other.stacked().tobytes()


def test_a_model_beats_the_baselines_on_hours_that_it_has_not_seen(model, history):
    errors = {name: [] for name in ("model", *BASELINES)}
    for origin in range(ORIGIN, ORIGIN + 96, 12):
        snapshot, truth = history.snapshot(origin), history.truth(origin)
        errors["model"].append(Forecaster(model).forecast(snapshot).q50 - truth)
        for name, baseline in BASELINES.items():
            errors[name].append(baseline(snapshot) - truth)
    rmse = {name: float(np.sqrt(np.mean(np.square(error)))) for name, error in errors.items()}
    assert min(rmse, key=rmse.get) == "model"


def test_the_ladder_goes_down_one_step_for_each_thing_that_is_taken_away(model):
    snapshot = make_snapshot()
    forecaster = Forecaster(model)
    assert set(forecaster.forecast(snapshot).quality) == {"full"}
    blind = replace(snapshot, weather_forecast=snapshot.weather_forecast * np.float32(np.nan))
    assert set(forecaster.forecast(blind).quality) == {"no_weather"}
    assert set(Forecaster().forecast(snapshot).quality) == {"profile"}
    for kept, quality in ((72, "full"), (71, "profile"), (24, "profile"), (23, "persistence"), (1, "persistence")):
        short = replace(snapshot, readings_kwh=snapshot.readings_kwh[:, -kept:])
        forecast = forecaster.forecast(short)
        assert set(forecast.quality) == {quality}, kept
        assert_sound(forecast)
    empty = replace(snapshot, readings_kwh=snapshot.readings_kwh[:, :0])
    assert set(forecaster.forecast(empty).quality) == {"peers"}


def test_weather_may_be_missing_at_one_site_only(model):
    snapshot = make_snapshot()
    weather = snapshot.weather_forecast.copy()
    weather[1, 30, 0] = np.nan
    forecast = Forecaster(model).forecast(replace(snapshot, weather_forecast=weather))
    assert forecast.quality == ("full", "no_weather") * 4


def test_the_names_of_model_and_ladder_are_on_every_forecast(model):
    assert Forecaster(model).forecast(make_snapshot(meters=1)).model == model.name
    assert Forecaster().forecast(make_snapshot(meters=1)).model == "fallback"
    assert LADDER == ("full", "no_weather", "profile", "persistence", "peers")


def test_without_a_model_a_regular_week_is_still_forecast_right():
    snapshot = make_snapshot(noise=0.01)
    later = make_snapshot(noise=0.0, origin=ORIGIN + 48)
    forecast = Forecaster().forecast(snapshot)
    assert np.allclose(forecast.q50, later.readings_kwh[:, -48:], rtol=0.05)


def test_a_meter_that_stands_still_for_two_days_is_expected_to_stay(forecaster):
    snapshot = with_readings(make_snapshot(), lambda readings: readings.__setitem__((2, slice(-48, None)), 4.0))
    forecast = forecaster.forecast(snapshot)
    assert forecast.quality[2] == "persistence"
    assert (forecast.q50[2] == 4).all()


def test_a_meter_that_is_off_is_expected_to_stay_off(forecaster):
    snapshot = with_readings(make_snapshot(), lambda readings: readings.__setitem__(2, 0.0))
    assert (forecaster.forecast(snapshot).q90[2] == 0).all()


def test_a_meter_that_is_off_at_weekends_comes_back_on_monday(forecaster):
    sunday = ORIGIN + 20  # off for more than STANDSTILL_H
    forecast = forecaster.forecast(closed_at_weekends(make_snapshot(origin=sunday, noise=0.01), 1))
    truth = closed_at_weekends(make_snapshot(origin=sunday + 48, noise=0.0), 1).readings_kwh[:, -48:]
    assert forecast.quality[1] != "persistence"
    assert forecast.q50[1] == pytest.approx(truth[1], abs=0.2 * truth[1].max())


def test_a_building_without_a_past_is_forecast_from_its_peers_by_floor_area(forecaster):
    snapshot = make_snapshot(meters=16)
    snapshot = with_readings(snapshot, lambda readings: readings.__setitem__(0, np.nan))
    forecast = forecaster.forecast(snapshot)
    meters = snapshot.meters
    alike = (meters.meter == 0) & (meters.primary_use == meters.primary_use[0])
    alike[0] = False
    expected = np.median(forecast.q50[alike] / meters.floor_area_m2[alike, None], axis=0) * meters.floor_area_m2[0]
    assert forecast.quality[0] == "peers"
    assert forecast.q50[0] == pytest.approx(expected, rel=0.2)
    assert (forecast.q10[0] < forecast.q50[0]).all()


@pytest.mark.parametrize("known", [1, 5, 23])
def test_a_meter_in_its_first_day_goes_along_with_its_peers(forecaster, known):
    night = ORIGIN + 29  # Monday, before six in London
    full = make_snapshot(meters=16, origin=night, noise=0.01)
    snapshot = with_readings(full, lambda readings: readings.__setitem__((1, slice(None, -known)), np.nan))
    forecast = forecaster.forecast(snapshot)
    truth = make_snapshot(meters=16, origin=night + 48, noise=0.0).readings_kwh[1, -48:]
    persistence = snapshot.readings_kwh[1, -1]
    assert forecast.quality[1] == "peers"
    assert forecast.q50[1, 0] == pytest.approx(persistence, rel=0.3)
    assert np.abs(forecast.q50[1] - truth).mean() < 0.75 * np.abs(persistence - truth).mean()


def test_a_meter_that_fell_silent_in_its_first_day_stays_where_it_was(forecaster):
    def last_heard_of_two_days_ago(readings):
        readings[1, :-50] = readings[1, -45:] = np.nan

    forecast = forecaster.forecast(with_readings(make_snapshot(), last_heard_of_two_days_ago))
    assert forecast.quality[1] == "persistence"


def test_the_first_hour_of_a_new_system_is_forecast_from_floor_area_alone():
    snapshot = make_snapshot(meters=2)
    unknown = replace(snapshot.meters, floor_area_m2=np.array([np.nan, 500.0], dtype=np.float32))
    snapshot = replace(snapshot, readings_kwh=snapshot.readings_kwh * np.nan, meters=unknown)
    middle = Forecaster().forecast(snapshot).q50[:, 0]
    assert middle.tolist() == pytest.approx([INTENSITY_KWH_PER_M2[0] * TYPICAL_FLOOR_AREA_M2, 8.5], rel=1e-5)


def test_no_meter_at_all_is_no_error(forecaster):
    snapshot = make_snapshot(meters=0)
    assert_sound(forecaster.forecast(snapshot), meters=0)
    assert forecaster.raw(snapshot).direct_totals_kwh.shape == (0, 48)
