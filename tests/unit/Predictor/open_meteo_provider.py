"""Open-Meteo's place taken by a local server that answers as the provider documents, and fails as it may."""

import contextlib
import gzip
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np

from Predictor.weather_sources.download import Bounds, Downloader
from Predictor.weather_sources.open_meteo import OpenMeteoWeather
from Sensor_core.building import Site

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


def hourly(**columns) -> Change:
    return lambda place: place | {"hourly": place["hourly"] | columns}


def status(code: int, body: bytes = b"") -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: respond(handler, code, body)


def silence(handler: BaseHTTPRequestHandler) -> None:
    """No answer until the client has had enough."""
    handler.connection.recv(1)
    handler.close_connection = True


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte at a time, each well before the timeout, until the client has had enough."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    try:
        for _ in range(100_000):
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


PATIENT = Bounds(connect_s=30, silence_s=30, total_s=120, attempts=3, size_bytes=300_000)
"""On a busy machine the server's own thread may answer late: that must not count as a failure."""
HURRIED = Bounds(connect_s=30, silence_s=2, total_s=120, attempts=3, size_bytes=300_000)
"""For a server that says nothing until the client has had enough."""


def site(site_id: int, latitude: float) -> Site:
    return Site(site_id=site_id, time_zone="UTC", latitude=latitude, longitude=13.4, country="DE")


BERLIN, MADRID = site(0, 52.5), site(7, 40.4)
NEWEST = hour_of(NOON) - 1


def source_of(provider: Provider, bounds: Bounds) -> OpenMeteoWeather:
    """Berlin and Madrid, asked for without a pause between attempts."""
    downloader = Downloader(bounds, sleep=lambda _: None)
    return OpenMeteoWeather([BERLIN, MADRID], provider.url, downloader, clock=lambda: provider.now)


def read_hour(source: OpenMeteoWeather, provider: Provider):
    """Read as the predictor does: the hour that is just over, known now."""
    return source.read(hour_of(provider.now) - 1, provider.now)


def is_unknown(weather) -> bool:
    return bool(np.isnan(weather.observed).all() and np.isnan(weather.forecast).all())
