"""Open-Meteo's answers: every value in its place, gaps as gaps, and nothing known before it was said."""

from datetime import UTC, datetime, timedelta

import numpy as np

from Predictor.forecasting.snapshot import WEATHER_HISTORY_H
from Predictor.weather_sources.open_meteo import SITES_PER_REQUEST, OpenMeteoWeather
from Sensor_core.weather import QUANTITY_NAMES
from tests.unit.Predictor.open_meteo_provider import (
    BERLIN,
    MADRID,
    NEWEST,
    NOON,
    hour_of,
    hourly,
    is_unknown,
    read_hour,
    site,
    truth,
)


def test_every_quantity_of_every_site_and_hour_stands_in_its_place(source, provider):
    weather = read_hour(source, provider)
    names = ["temperature_2m", "dew_point_2m", "cloud_cover", "precipitation", "pressure_msl"]
    names += ["wind_direction_10m", "wind_speed_10m"]
    for values, first in ((weather.observed, NEWEST + 1 - WEATHER_HISTORY_H), (weather.forecast, NEWEST + 1)):
        expected = [
            [[truth(n, s.latitude, first + k) for n in names] for k in range(values.shape[1])] for s in (BERLIN, MADRID)
        ]
        expected = np.array(expected)
        expected[..., QUANTITY_NAMES.index("cloud_coverage_oktas")] *= 8 / 100
        assert values.shape[1:] == (WEATHER_HISTORY_H if first < NEWEST else 48, 7)
        np.testing.assert_allclose(values, expected.astype(np.float32), rtol=1e-6)
    assert (weather.observed_by, weather.forecast_by) == ("open-meteo", "open-meteo")
    assert weather.issued_hour == NEWEST
    assert weather.known_at == provider.now


def test_one_request_an_hour_serves_all_sites_and_every_quarter_of_it(source, provider):
    for minutes in (5, 15, 30, 45):
        provider.now = NOON + timedelta(minutes=minutes)
        read_hour(source, provider)
    assert len(provider.queries) == 1
    assert provider.queries[0]["latitude"] == "52.5000,40.4000"
    provider.now = NOON + timedelta(hours=1, minutes=5)
    read_hour(source, provider)
    assert len(provider.queries) == 2


def test_a_single_site_comes_without_a_list_around_it(provider, downloader):
    source = OpenMeteoWeather([MADRID], provider.url, downloader, clock=lambda: provider.now)
    assert read_hour(source, provider).observed[0, -1, 0] == truth("temperature_2m", MADRID.latitude, NEWEST)


def test_many_sites_are_asked_for_in_batches_and_come_back_in_order(provider):
    sites = [site(k, k / 10) for k in range(SITES_PER_REQUEST + 3)]
    observed = read_hour(OpenMeteoWeather(sites, provider.url, clock=lambda: provider.now), provider).observed
    assert [len(query["latitude"].split(",")) for query in provider.queries] == [SITES_PER_REQUEST, 3]
    np.testing.assert_allclose(observed[:, -1, 0], [truth("temperature_2m", s.latitude, NEWEST) for s in sites])


def test_no_sites_need_no_request(provider, downloader):
    source = OpenMeteoWeather([], provider.url, downloader, clock=lambda: provider.now)
    assert read_hour(source, provider).observed.shape == (0, WEATHER_HISTORY_H, 7)
    assert provider.queries == []


def test_missing_hours_values_and_variables_are_gaps(source, provider):
    def thin_out(place: dict) -> dict:
        hourly = {name: values[:60] + values[62:] for name, values in place["hourly"].items()}
        hourly["temperature_2m"][0] = None
        del hourly["pressure_msl"]
        return place | {"hourly": hourly}

    provider.change = thin_out
    observed = read_hour(source, provider).observed
    pressure = QUANTITY_NAMES.index("sea_level_pressure_hpa")
    assert np.isnan(observed[:, [60, 61]]).all()
    assert np.isnan(observed[..., pressure]).all()
    assert np.isnan(observed[0, 0, 0])
    rest = np.delete(np.delete(observed, [0, 60, 61], axis=1), pressure, axis=2)
    assert not np.isnan(rest).any()
    assert observed[0, -10, 0] == truth("temperature_2m", BERLIN.latitude, NEWEST - 9)


def test_values_that_cannot_be_true_are_gaps(source, provider):
    provider.change = hourly(temperature_2m=[-9999.0, 1e300, 66.0] + [20.0] * (WEATHER_HISTORY_H + 52))
    temperature = read_hour(source, provider).observed[0, :, 0]
    assert np.isnan(temperature[:3]).all()
    assert (temperature[3:] == 20.0).all()


def test_hours_made_up_for_later_get_nothing_that_was_said_later(source, provider):
    """A predictor that was down for three hours."""
    hours = [NOON - timedelta(hours=3), NOON - timedelta(hours=2), NOON - timedelta(hours=1)]
    assert all(is_unknown(source.read(hour_of(known_at) - 1, known_at)) for known_at in hours)
    assert provider.queries == []
    assert not is_unknown(read_hour(source, provider))
    assert is_unknown(source.read(NEWEST - 1, NOON - timedelta(hours=1)))


def test_a_replay_of_another_year_asks_for_nothing(source, provider):
    then = datetime(2016, 9, 1, tzinfo=UTC)
    assert is_unknown(source.read(hour_of(then) - 1, then))
    assert provider.queries == []


def test_the_hour_that_runs_is_a_forecast_and_no_observation(source, provider):
    weather = source.read(hour_of(NOON), NOON + timedelta(minutes=15))
    assert np.isnan(weather.observed[:, -1]).all()
    assert not np.isnan(weather.observed[:, :-1]).any()
    assert weather.forecast[0, 0, 0] == truth("temperature_2m", BERLIN.latitude, hour_of(NOON) + 1)
