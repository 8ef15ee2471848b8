"""Open-Meteo's source against a local server that answers as the provider documents, and fails as it may."""

import contextlib
import gzip
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from Predictor.weather_sources.download import Bounds, Downloader
from Predictor.weather_sources.open_meteo import CACHE_H, SITES_PER_REQUEST, OpenMeteoWeather
from Sensor_core.building import Site
from Sensor_core.weather import QUANTITY_NAMES

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
UNITS = {
    "temperature_2m": "°C",
    "dew_point_2m": "°C",
    "cloud_cover": "%",
    "precipitation": "mm",
    "pressure_msl": "hPa",
    "wind_direction_10m": "°",
    "wind_speed_10m": "km/h",
}
Change = Callable[[dict], object]


def hour_of(moment: datetime) -> int:
    return int(moment.timestamp()) // 3600


def truth(name: str, latitude: float, hour: int) -> float:
    """What the server says of one place and hour; another value for each of them."""
    wave = (hour * 7 + round(latitude * 10)) % 100
    scale = {"pressure_msl": 1000 + wave / 10, "cloud_cover": wave, "wind_direction_10m": 3.6 * wave}
    return round(scale.get(name, wave / 4), 1)


class Provider(ThreadingHTTPServer):
    """``/v1/forecast`` on a port of its own; ``plan`` says how the next requests fail."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1/forecast"
        self.now = NOON + timedelta(minutes=5)
        self.queries: list[dict[str, str]] = []
        self.plan: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.change: Change = lambda place: place

    def answer(self, query: dict[str, str]) -> tuple[int, object]:
        if not {"latitude", "longitude", "hourly"} <= query.keys():
            return 400, {"error": True, "reason": "Parameter 'latitude' and 'longitude' must have the same number"}
        places = [self.change(self._place(float(text), query)) for text in query["latitude"].split(",")]
        return 200, places[0] if len(places) == 1 else places

    def _place(self, latitude: float, query: dict[str, str]) -> dict:
        current = hour_of(self.now)  # the running hour is the first of forecast_hours
        hours = range(current - int(query["past_hours"]), current + int(query["forecast_hours"]))
        names = query["hourly"].split(",")
        units = UNITS | ({"wind_speed_10m": "m/s"} if query.get("wind_speed_unit") == "ms" else {})
        stamp = 3600 if query.get("timeformat") == "unixtime" else 1
        return {
            "latitude": latitude, "longitude": 0.0, "generationtime_ms": 0.2, "utc_offset_seconds": 0,
            "timezone": "GMT", "timezone_abbreviation": "GMT", "elevation": 38.0,
            "hourly_units": {"time": "unixtime" if stamp == 3600 else "iso8601"} | {n: units[n] for n in names},
            "hourly": {"time": [hour * stamp for hour in hours]}
            | {name: [truth(name, latitude, hour) for hour in hours] for name in names},
        }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.server.queries.append(query)
        if self.server.plan:
            self.server.plan.pop(0)(self)
        else:
            status, document = self.server.answer(query)
            body = json.dumps(document).encode()
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                respond(self, status, gzip.compress(body), {"Content-Encoding": "gzip"})
            else:
                respond(self, status, body)

    def log_message(self, *_: object) -> None:
        pass


def respond(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    with contextlib.suppress(OSError):  # the client may have had enough
        handler.wfile.write(body)


def status(code: int, body: bytes = b"") -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: respond(handler, code, body)


def silence(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.6)
    handler.close_connection = True


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte at a time, each well before the timeout."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.05)
    except OSError:
        handler.close_connection = True


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b'{"latitude"')
    handler.close_connection = True


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


BOUNDS = Bounds(connect_s=1, silence_s=0.3, total_s=2.5, attempts=3, size_bytes=300_000)


@pytest.fixture
def downloader() -> Downloader:
    return Downloader(BOUNDS, sleep=lambda _: None)


def site(site_id: int, latitude: float) -> Site:
    return Site(site_id=site_id, time_zone="UTC", latitude=latitude, longitude=13.4, country="DE")


BERLIN, MADRID = site(0, 52.5), site(7, 40.4)


@pytest.fixture
def source(provider: Provider, downloader: Downloader) -> OpenMeteoWeather:
    return OpenMeteoWeather([BERLIN, MADRID], provider.url, downloader, clock=lambda: provider.now)


def read_hour(source: OpenMeteoWeather, provider: Provider):
    """Read as the predictor does: the hour that is just over, known now."""
    return source.read(hour_of(provider.now) - 1, provider.now)


def is_unknown(weather) -> bool:
    return bool(np.isnan(weather.observed).all() and np.isnan(weather.forecast).all())


NEWEST = hour_of(NOON) - 1


def test_every_quantity_of_every_site_and_hour_stands_in_its_place(source, provider):
    weather = read_hour(source, provider)
    names = ["temperature_2m", "dew_point_2m", "cloud_cover", "precipitation", "pressure_msl"]
    names += ["wind_direction_10m", "wind_speed_10m"]
    for values, first in ((weather.observed, NEWEST - 71), (weather.forecast, NEWEST + 1)):
        expected = [
            [[truth(n, s.latitude, first + k) for n in names] for k in range(values.shape[1])] for s in (BERLIN, MADRID)
        ]
        expected = np.array(expected)
        expected[..., QUANTITY_NAMES.index("cloud_coverage_oktas")] *= 8 / 100
        assert values.shape[1:] == (72 if first < NEWEST else 48, 7)
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
    assert read_hour(source, provider).observed.shape == (0, 72, 7)
    assert provider.queries == []


def test_a_key_in_the_address_is_kept_and_never_logged(provider, downloader, caplog):
    source = OpenMeteoWeather([BERLIN], provider.url + "?apikey=secret", downloader, clock=lambda: provider.now)
    assert not is_unknown(read_hour(source, provider))
    assert provider.queries[0]["apikey"] == "secret"
    provider.now += timedelta(hours=1)
    provider.plan = [hang_up, silence, status(401, b'{"error":true,"reason":"wrong key"}')]
    read_hour(source, provider)
    assert "wrong key" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("failure", [status(429), status(500), status(503), silence, hang_up])
def test_what_waiting_may_cure_is_tried_again(source, provider, failure):
    provider.plan = [failure, failure]
    assert not is_unknown(read_hour(source, provider))
    assert len(provider.queries) == 3


def test_attempts_are_bounded(source, provider, caplog):
    provider.plan = [status(503)] * 10
    assert is_unknown(read_hour(source, provider))
    assert len(provider.queries) == BOUNDS.attempts
    assert "no weather of Open-Meteo: HTTP status 503" in caplog.text


def test_a_refusal_is_not_repeated_and_its_reason_is_logged(source, provider, caplog):
    provider.plan = [status(400, b'{"error":true,"reason":"Latitude must be in range"}')]
    assert is_unknown(read_hour(source, provider))
    assert len(provider.queries) == 1
    assert "Latitude must be in range" in caplog.text


def test_an_answer_that_only_drips_is_given_up_in_time(source, provider):
    provider.plan = [drip] * 10
    started = time.monotonic()
    assert is_unknown(read_hour(source, provider))
    assert BOUNDS.total_s < time.monotonic() - started < BOUNDS.total_s + 1


@pytest.mark.parametrize("packed", [True, False])
def test_an_oversized_answer_is_cut_off_even_when_it_is_packed(source, provider, caplog, packed):
    body = b" " * (BOUNDS.size_bytes + 1)
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


def _hourly(**columns) -> Change:
    return lambda place: place | {"hourly": place["hourly"] | columns}


def _half_hours(place: dict) -> dict:
    return _hourly(time=[stamp + 1800 for stamp in place["hourly"]["time"]])(place)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_unit("wind_speed_10m", "km/h"), "wind_speed_10m is given in 'km/h' instead of 'm/s'"),
        (_unit("temperature_2m", "°F"), "temperature_2m is given in '°F' instead of '°C'"),
        (_unit("time", "iso8601"), "time is given in 'iso8601' instead of 'unixtime'"),
        (_hourly(temperature_2m=[1.0, 2.0]), "temperature_2m has 2 values for 127 times"),
        (_half_hours, "times that start no hour"),
        (_hourly(time=None), "cannot be read"),
        (_hourly(temperature_2m=["warm"]), "cannot be read"),
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
    assert observed[0, 62, 0] == truth("temperature_2m", BERLIN.latitude, NEWEST - 9)


def test_values_that_cannot_be_true_are_gaps(source, provider):
    provider.change = _hourly(temperature_2m=[-9999.0, 1e300, 66.0] + [20.0] * 124)
    temperature = read_hour(source, provider).observed[0, :, 0]
    assert np.isnan(temperature[:3]).all()
    assert (temperature[3:] == 20.0).all()


def test_an_older_answer_has_to_do_during_an_outage_and_keeps_its_time_of_issue(source, provider):
    fetched_at = provider.now
    read_hour(source, provider)
    provider.plan = [status(503)] * 100
    for later in range(1, CACHE_H + 1):
        provider.now = fetched_at + timedelta(hours=later)
        weather = read_hour(source, provider)
        assert weather.issued_hour == NEWEST
        assert weather.known_at == fetched_at
        assert np.isnan(weather.observed[:, -later:]).all()
        assert weather.observed[0, -later - 1, 0] == truth("temperature_2m", BERLIN.latitude, NEWEST)
        assert weather.forecast[0, -1, 0] == truth("temperature_2m", BERLIN.latitude, NEWEST + later + 48)
    provider.now = fetched_at + timedelta(hours=CACHE_H + 1)
    assert is_unknown(read_hour(source, provider))
    provider.plan = []
    assert not is_unknown(read_hour(source, provider))


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


def test_an_outage_is_a_warning_and_no_error(source, provider, caplog):
    provider.plan = [status(400)]
    read_hour(source, provider)
    assert [record.levelno for record in caplog.records if "Open-Meteo" in record.message] == [logging.WARNING]
