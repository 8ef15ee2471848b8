"""Open-Meteo out of order: what is tried again, what is refused, and within which bounds."""

import gzip
import json
import logging
import threading
import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from Predictor.forecasting.snapshot import WEATHER_HISTORY_H
from Predictor.weather_sources.open_meteo import OpenMeteoWeather
from Sensor_core.weather import FORECAST_LASTS_H
from tests.unit.Predictor.open_meteo_provider import (
    BERLIN,
    HURRIED,
    NEWEST,
    NOON,
    PATIENT,
    Change,
    drip,
    hang_up,
    hourly,
    is_unknown,
    read_hour,
    respond,
    silence,
    source_of,
    status,
    truth,
)


def test_a_key_in_the_address_is_kept_and_never_logged(provider, downloader, caplog):
    source = OpenMeteoWeather([BERLIN], provider.url + "?apikey=secret", downloader, clock=lambda: provider.now)
    assert not is_unknown(read_hour(source, provider))
    assert provider.queries[0]["apikey"] == "secret"
    provider.now += timedelta(hours=1)
    provider.plan = [hang_up, status(503), status(401, b'{"error":true,"reason":"wrong key"}')]
    read_hour(source, provider)
    assert "wrong key" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("failure", [status(429), status(500), status(503), hang_up])
def test_what_waiting_may_cure_is_tried_again(source, provider, failure):
    provider.plan = [failure, failure]
    assert not is_unknown(read_hour(source, provider))
    assert len(provider.queries) == 3


def test_a_server_that_says_nothing_is_asked_again(provider):
    provider.plan = [silence]
    assert not is_unknown(read_hour(source_of(provider, HURRIED), provider))
    assert len(provider.queries) == 2


def test_forecasts_do_not_wait_for_a_name_server_or_a_provider_that_hangs(provider, monkeypatch, caplog):
    class Hanging:
        def get(self, *_):
            released.wait()

    released = threading.Event()
    monkeypatch.setattr("Predictor.weather_sources.open_meteo.ANSWER_WITHIN_S", 0.2)
    source = OpenMeteoWeather([BERLIN], provider.url, Hanging(), clock=lambda: provider.now)
    assert is_unknown(read_hour(source, provider))
    released.set()
    assert "no answer from the provider within 0.2 s" in caplog.text


def test_attempts_are_bounded(source, provider, caplog):
    provider.plan = [status(503)] * 10
    assert is_unknown(read_hour(source, provider))
    assert len(provider.queries) == PATIENT.attempts
    assert "no weather of Open-Meteo: HTTP status 503" in caplog.text


def test_a_refusal_is_not_repeated_and_its_reason_is_logged(source, provider, caplog):
    provider.plan = [status(400, b'{"error":true,"reason":"Latitude must be in range"}')]
    assert is_unknown(read_hour(source, provider))
    assert len(provider.queries) == 1
    assert "Latitude must be in range" in caplog.text


def test_a_redirection_is_not_followed_and_names_the_setting(source, provider, caplog):
    elsewhere = {"Location": f"{provider.url}?apikey=secret"}
    provider.plan = [lambda handler: respond(handler, 302, b" " * (PATIENT.size_bytes + 1), elsewhere)]
    assert is_unknown(read_hour(source, provider))
    assert len(provider.queries) == 1
    assert "HTTP status 302" in caplog.text
    assert "OPEN_METEO_URL" in caplog.text
    assert "secret" not in caplog.text


def test_an_answer_that_only_drips_is_given_up_in_time(provider):
    provider.plan = [drip] * 10
    bounds = replace(PATIENT, total_s=1)
    started = time.monotonic()
    assert is_unknown(read_hour(source_of(provider, bounds), provider))
    assert bounds.total_s < time.monotonic() - started < bounds.silence_s


@pytest.mark.parametrize("packed", [True, False])
def test_an_oversized_answer_is_cut_off_even_when_it_is_packed(source, provider, caplog, packed):
    body = b" " * (PATIENT.size_bytes + 1)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    provider.plan = [lambda handler: respond(handler, 200, gzip.compress(body) if packed else body, headers)]
    assert is_unknown(read_hour(source, provider))
    assert "longer than 300000 bytes" in caplog.text


def test_nobody_listening_means_no_weather(downloader, caplog):
    url = "http://127.0.0.1:9/v1/forecast?apikey=secret"
    source = OpenMeteoWeather([BERLIN], url, downloader, clock=lambda: NOON)
    assert is_unknown(source.read(NEWEST, NOON))
    assert "ConnectionError" in caplog.text
    assert "secret" not in caplog.text  # the library's own text shows the whole address


def _unit(name: str, unit: str) -> Change:
    return lambda place: place | {"hourly_units": place["hourly_units"] | {name: unit}}


def _half_hours(place: dict) -> dict:
    return hourly(time=[stamp + 1800 for stamp in place["hourly"]["time"]])(place)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_unit("wind_speed_10m", "km/h"), "wind_speed_10m is given in 'km/h' instead of 'm/s'"),
        (_unit("temperature_2m", "°F"), "temperature_2m is given in '°F' instead of '°C'"),
        (_unit("time", "iso8601"), "time is given in 'iso8601' instead of 'unixtime'"),
        (hourly(temperature_2m=[1.0, 2.0]), f"temperature_2m has 2 values for {WEATHER_HISTORY_H + 55} times"),
        (_half_hours, "times that start no hour"),
        (hourly(time=None), "cannot be read"),
        (hourly(temperature_2m=["warm"]), "cannot be read"),
        (lambda _: {}, "cannot be read"),
        (lambda _: {"error": True, "reason": "out of order"}, "cannot be read"),
    ],
)
def test_an_answer_that_is_not_as_documented_is_refused(source, provider, caplog, change, complaint):
    provider.change = change
    assert is_unknown(read_hour(source, provider))
    assert complaint in caplog.text
    assert len(provider.queries) == 1


def test_a_place_too_few_is_refused_rather_than_shifted(source, provider, caplog):
    provider.plan = [
        lambda handler: respond(handler, 200, json.dumps([provider._place(1, provider.queries[0])]).encode())
    ]
    assert is_unknown(read_hour(source, provider))
    assert "1 places instead of 2" in caplog.text


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"null", b"[1e999]"])
def test_an_answer_that_is_no_json_is_refused(source, provider, caplog, body):
    provider.plan = [status(200, body)]
    assert is_unknown(read_hour(source, provider))
    assert "cannot be read" in caplog.text


def test_an_older_answer_has_to_do_during_an_outage_and_keeps_its_time_of_issue(source, provider):
    fetched_at = provider.now
    read_hour(source, provider)
    provider.plan = [status(503)] * 100
    for later in range(1, FORECAST_LASTS_H + 1):
        provider.now = fetched_at + timedelta(hours=later)
        weather = read_hour(source, provider)
        assert weather.issued_hour == NEWEST
        assert weather.known_at == fetched_at
        assert np.isnan(weather.observed[:, -later:]).all()
        assert weather.observed[0, -later - 1, 0] == truth("temperature_2m", BERLIN.latitude, NEWEST)
        assert weather.forecast[0, -1, 0] == truth("temperature_2m", BERLIN.latitude, NEWEST + later + 48)
    provider.now = fetched_at + timedelta(hours=FORECAST_LASTS_H + 1)
    assert is_unknown(read_hour(source, provider))
    provider.plan = []
    assert not is_unknown(read_hour(source, provider))


def test_an_outage_is_a_warning_and_no_error(source, provider, caplog):
    provider.plan = [status(400)]
    read_hour(source, provider)
    assert [record.levelno for record in caplog.records if "Open-Meteo" in record.message] == [logging.WARNING]
