"""What training sees of the weather: what was known, and forecast, then."""

from dataclasses import replace

import numpy as np
import pytest

from Predictor.forecasting.snapshot import WEATHER_HISTORY_H
from Predictor.forecasting.testing import ORIGIN, make_meters, make_weather
from Sensor_core.interval import Interval
from Training_scripts.dataset import EnergyHistory
from Training_scripts.weather_versions import IssuedWeather, LateWeather

HOURLY = Interval()


def history_of_20_days(interval=HOURLY):
    meters, sites = make_meters(2)
    first, steps = (ORIGIN - 20 * 24) * interval.steps_per_hour, 20 * interval.steps_per_day
    return EnergyHistory(interval, sites, meters, first, np.ones((2, steps)), make_weather(sites, 20 * 24))


def test_weather_that_came_late_or_was_revised_is_seen_as_it_was_known():
    history = history_of_20_days()
    hour = history.stop - 5
    end_s = (hour + 1) * 3600
    versions = LateWeather(  # in time, revised three hours later; and of an hour before, not known until then
        site=np.array([1, 1, 1, 0]),
        hour=np.array([hour, hour, hour - 1, hour]),
        known_s=np.array([end_s + 3 * 3600 + 400, end_s + 400, end_s + 3 * 3600 + 400, end_s + 400]),
        values=np.repeat(np.array([[30], [20], [10], [0]], dtype=np.float32), 7, axis=1),
    )
    late = LateWeather.among(versions)
    assert late.values[:, 0].tolist() == [20, 30, 10], "the one of the other site came in time"
    history = replace(history, late_weather=late)
    for known in (history, history.until(hour + 3)):
        assert np.isnan(known.snapshot(hour).weather[1, -2]).all()
        assert known.snapshot(hour).weather[1, -1].tolist() == [20] * 7
        assert known.snapshot(hour + 2).weather[1, -3].tolist() == [20] * 7
    assert history.snapshot(hour + 3).weather[1, -5:-3].tolist() == [[10] * 7, [30] * 7]
    assert np.array_equal(
        history.snapshot(hour).weather[0], history.weather[0, : hour + 1 - history.first][-WEATHER_HISTORY_H:]
    )


@pytest.mark.parametrize("interval", [HOURLY, Interval(900)], ids=["hourly", "quarter-hourly"])
def test_a_forecast_of_a_provider_is_used_while_it_lasts_and_never_before_it_was_issued(interval):
    history = history_of_20_days(interval)
    per_hour = interval.steps_per_hour
    hour = history.stop // per_hour - 10
    course = np.arange(1, 49, dtype=np.float32)[:, None] * np.ones(7, dtype=np.float32)
    issued = IssuedWeather(np.array([1, 1]), np.array([hour, hour + 1]), np.stack([course, course + 100]))
    plain, history = history, replace(history, issued_weather=issued)

    def forecast(origin, known=history):
        return known.snapshot(origin).weather_forecast

    last = (hour + 1) * per_hour - 1  # the step that ends the hour
    assert np.array_equal(forecast(last)[1], course)
    assert np.array_equal(forecast(last)[0], plain.snapshot(last).weather_forecast[0])
    assert np.array_equal(forecast(last - 1), plain.snapshot(last - 1).weather_forecast)
    assert np.array_equal(forecast(last + per_hour)[1], course + 100)
    old = forecast(last + 7 * per_hour)[1]
    assert old[:42, 0].tolist() == list(range(107, 149))
    assert np.isnan(old[42:]).all()
    assert np.array_equal(forecast(last + 8 * per_hour), plain.snapshot(last + 8 * per_hour).weather_forecast)
    assert np.array_equal(forecast(last, history.until(last + 1)), forecast(last))
    assert len(history.until(last).issued_weather.hour) == 0
