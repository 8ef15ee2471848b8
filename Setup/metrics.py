"""Prometheus metrics and readiness of a service, over HTTP where METRICS_PORT is set.

``/metrics`` has the figures, ``/live`` says whether the service's loop has turned lately, ``/ready`` whether it does
its work: both answer 200 or 503. What is counted is counted per batch or per hour, never per message.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

from Sensor_core.errors import SettingsError

ALIVE_WITHIN_S: Final = 30.0
"""How long a loop may not turn before its service counts as dead. [s]"""

RECORDS = Counter("energy_records", "Records stored, by type", ["type"])
BATCHES = Counter("energy_batches", "Batches stored")
WRITE_TIME = Histogram("energy_write_seconds", "Time that storing a batch took, retries included")
RETRIES = Counter("energy_retries", "Attempts that are made again after a wait")
DEAD_LETTERS = Counter("energy_dead_letters", "Messages that could never be stored", ["topic"])
LAG = Gauge("energy_lag_messages", "Messages that wait in Kafka for this consumer", ["topic", "partition"])
WATERMARK = Gauge("energy_watermark_timestamp_seconds", "Newest hour that is complete here, seconds since 1970")
PUBLISHED = Counter("energy_published_readings", "Readings published")
FORECASTS = Counter("energy_forecasts", "Forecasts of meters issued")
FORECAST_TIME = Histogram("energy_forecast_seconds", "Time that the forecasts of an hour took")
FORECAST_HOUR = Gauge("energy_forecast_timestamp_seconds", "Newest hour with forecasts, seconds since 1970")
FORECAST_MADE = Gauge("energy_forecast_made_timestamp_seconds", "When the newest forecasts were made: their age")


class Health:
    """When the loop turned last, and whether it can do its work; set by the loop, read by the server."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turned_at = float("-inf")
        self._is_ready = True

    def turn(self) -> None:
        """The loop turns."""
        self._turned_at = self._clock()

    def ready(self, *, is_ready: bool) -> None:
        """Say whether the service does its work now: connected, positioned, not waiting for another one."""
        self._is_ready = is_ready

    def is_live(self) -> bool:
        """Whether the loop has turned lately."""
        return self._clock() - self._turned_at < ALIVE_WITHIN_S

    def is_ready(self) -> bool:
        """Whether the service lives and does its work."""
        return self._is_ready and self.is_live()


HEALTH: Final = Health()
"""Of this process."""


@contextmanager
def served(host: str, port: int | None, health: Health = HEALTH) -> Iterator[int | None]:
    """Answer until the block ends; does nothing without a port. Gives the port in use.

    Raises:
        SettingsError: The port is taken.
    """
    if port is None:
        yield None
        return
    try:
        http = ThreadingHTTPServer((host, port), _handler(health))
    except OSError as error:
        raise SettingsError(f"METRICS_PORT: {host}:{port} cannot be listened on: {error.strerror}") from None
    with http as server:
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    answers: dict[str, Callable[[], tuple[int, str, bytes]]] = {
        "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest()),
        "/live": lambda: _says(is_so=health.is_live()),
        "/ready": lambda: _says(is_so=health.is_ready()),
    }

    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            status, kind, body = answers.get(self.path, lambda: (404, "text/plain", b"no such page\n"))()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are no events."""

    return Handler


def _says(*, is_so: bool) -> tuple[int, str, bytes]:
    return (200, "text/plain", b"yes\n") if is_so else (503, "text/plain", b"no\n")
