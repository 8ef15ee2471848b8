"""Forecasts every meter, site and the grid whenever an hour closes, and checks the newest readings for anomalies.

Hours are made up in order after a stop, each as of its own time: what became known later stays out of sight.
"""

import logging
import time
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from functools import partial

import numpy as np

from Predictor.building_directory import BuildingDirectory
from Predictor.closed_hours import ClosedHour, ClosedHours, filling_that_closed
from Predictor.forecasting.anomalies import find_anomalies
from Predictor.forecasting.forecaster import Forecaster
from Predictor.forecasting.model_store import current_version
from Predictor.forecasting.snapshot import Floats32, Snapshot
from Predictor.issuing import Hourly, Issuer, aggregate_forecasts, meter_forecasts
from Predictor.learned_copy import LearnedCopy
from Predictor.learned_state import LearnedState
from Predictor.rings import Rings
from Predictor.weather_measurements import WeatherMeasurements
from Predictor.weather_sources.selection import weather_source
from Sensor_core.errors import FencedError, ModelError, RetriableError
from Setup.background import in_background
from Setup.cache_filling import Filling, fill_cache, is_filled
from Setup.kafka_login import KafkaUser
from Setup.lifecycle import Backoff, Heartbeat, Stop, run_service, service_arguments
from Setup.metrics import FORECAST_HOUR, FORECAST_MADE, FORECAST_TIME, FORECASTS, HEALTH
from Setup.postgres import Role
from Setup.publisher import Publisher
from Setup.redis_client import Client, RedisUser, wait_for_redis
from Setup.settings import Settings

logger = logging.getLogger(__name__)

WAIT_MS = 200
LOG_EVERY_S = 10.0
LEAVE_AFTER_S = 2.0


class ModelKeeper:
    """The forecaster of the current model version; takes a new one over between two hours."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.model_dir
        self._interval = settings.interval
        self._threads = settings.predictor_threads
        self._loaded: str | None = None
        self._complaint = ""
        self.forecaster = Forecaster(None)

    def refresh(self) -> None:
        """Load the current version if it is new; keep the old one while it is broken."""
        try:
            version = current_version(self._folder)
            if version == self._loaded:
                return
            self.forecaster = Forecaster.load(self._folder / version, self._interval, num_threads=self._threads)
            self._loaded, self._complaint = version, ""
            logger.info("forecasting with %s", self.forecaster.name, extra={"event": "model_loaded"})
        except ModelError as error:
            if str(error) != self._complaint:
                logger.warning("keeping %s: %s", self.forecaster.name, error, extra={"event": "model_refused"})
            self._complaint = str(error)


class PredictionProcessing:
    """Turns closed hours into forecasts."""

    def __init__(self, settings: Settings, client: Client, publisher: Publisher) -> None:
        self._interval = settings.interval
        self._client = client
        self._rings = Rings(settings, client)
        self._directory = BuildingDirectory(client)
        self._issuer = Issuer(settings, publisher, client)
        self._settings = settings
        self._publisher = publisher
        self._weather: WeatherMeasurements | None = None
        self._model = ModelKeeper(settings)
        self._learned = LearnedState(client, LearnedCopy(settings), settings.interval)

    def process(self, hour: ClosedHour) -> int:
        """Forecast one hour and publish the results.

        Returns:
            Number of meters.

        Raises:
            RetriableError: A server does not answer; the hour is to be processed again.
            FencedError: Another predictor has processed it meanwhile.
        """
        self._model.refresh()
        filling = filling_that_closed(self._client, hour)
        snapshot = self.snapshot(hour)
        if filling_that_closed(self._client, hour) != filling:
            raise RetriableError("Redis was emptied while it was read")
        if not len(snapshot.meters):
            return 0
        forecaster = self._model.forecaster
        raw = forecaster.raw(snapshot)
        issue = self._learned.finisher(forecaster.total_model, hour.step).finish(snapshot, raw)
        issued_at, made_at = self._interval.start_of(hour.step), datetime.now(tz=UTC)
        expected = self._issuer.remembered(hour.step - 1, snapshot.meters)
        hourly = Hourly(
            meters=meter_forecasts(snapshot.meters, issue.meters, issued_at, made_at),
            totals=aggregate_forecasts(issue.totals, issue.meters.model, issued_at, made_at),
            decisions=issue.decisions(self._directory.limits_kw, made_at),
            anomalies=find_anomalies(snapshot, expected, made_at),
        )
        self._issuer.publish(hourly)
        self._learned.save()
        self._issuer.remember(hour.step, snapshot.meters, issue.meters)
        return len(snapshot.meters)

    def snapshot(self, hour: ClosedHour) -> Snapshot:
        """All that the forecasts of an hour may know; publishes what is new of its weather.

        Raises:
            RetriableError: A server does not answer.
        """
        directory = self._directory
        if directory.refresh() or self._weather is None:
            self._weather = self._measurements()
        retired = directory.retired(self._interval.end_of(hour.step))
        past = self._rings.read(hour.step, hour.known_at).without(retired)
        weather = self._weather.take(hour.step, hour.known_at)
        return Snapshot(
            origin=hour.step,
            interval=self._interval,
            meters=directory.meters_of(past.meters),
            sites=directory.sites,
            readings_kwh=past.readings_kwh,
            weather=_with_nowhere(weather.observed),
            weather_forecast=_with_nowhere(weather.forecast),
        )

    def _measurements(self) -> WeatherMeasurements:
        sites, topic = self._directory.known_sites, self._settings.topic_weather
        return WeatherMeasurements(weather_source(self._settings, sites), sites, self._publisher, topic, self._interval)


def _with_nowhere(weather: Floats32) -> Floats32:
    """Add the site that stands for no known site, without any weather."""
    return np.concatenate([weather, np.full_like(weather, np.nan, shape=(1, *weather.shape[1:]))])


class Progress:
    """Says now and then how far the forecasts have come."""

    def __init__(self) -> None:
        self._hours = 0
        self._said_at = 0.0

    def note(self, issued_at: datetime, meters: int, took_s: float) -> None:
        """Count one hour."""
        self._hours += 1
        FORECASTS.inc(meters)
        FORECAST_TIME.observe(took_s)
        FORECAST_HOUR.set(issued_at.timestamp())
        FORECAST_MADE.set_to_current_time()
        if time.monotonic() - self._said_at >= LOG_EVERY_S:
            self._said_at = time.monotonic()
            logger.info(
                "forecast as of %s: %d meters in %.3f s", issued_at, meters, took_s,
                extra={"event": "forecast_issued", "hours": self._hours, "meters": meters, "took_s": took_s},
            )  # fmt: skip


class CacheFilling:
    """Fills an empty cache in the background: Postgres may take its time, or hang."""

    def __init__(self, settings: Settings, client: Client, stop: Stop) -> None:
        self._fill = partial(fill_cache, settings, client, Role.PREDICTOR, stop=stop)
        self._client = client
        self._filling: Future[Filling] | None = None

    def go_on(self) -> None:
        """See how the filling in progress ended, or begin one where the cache is empty.

        Raises:
            RetriableError: A server does not answer, or another process is filling the cache.
        """
        if self._filling is None:
            if not is_filled(self._client):
                self._filling = in_background(self._fill)
        elif self._filling.done():
            filling, self._filling = self._filling, None
            filling.result()

    def leave(self) -> None:
        """Let a filling that is to stop give up its lock; one that hangs keeps others out until that expires."""
        if self._filling is not None:
            wait([self._filling], timeout=LEAVE_AFTER_S)


def run(settings: Settings, stop: Stop) -> None:
    """Forecast until told to stop."""
    client = wait_for_redis(settings, RedisUser.PREDICTOR, stop)
    heartbeat, backoff, progress = Heartbeat(), Backoff(), Progress()
    publisher = Publisher(settings, "predictor", stop, user=KafkaUser.PREDICTOR, beat=heartbeat.beat)
    hours = ClosedHours(client)
    processing = PredictionProcessing(settings, client, publisher)
    filling = CacheFilling(settings, client, stop)
    try:
        while not stop.is_set():
            heartbeat.beat()
            try:
                leads = hours.lead()
                HEALTH.ready(is_ready=True)
                if not leads:
                    stop.wait(1.0)
                    continue
                hour = hours.next(WAIT_MS)
                if hour is None:
                    filling.go_on()
                    continue
                started = time.monotonic()
                meters = processing.process(hour)
                hours.done(hour)
                progress.note(settings.interval.start_of(hour.step), meters, time.monotonic() - started)
                backoff.reset()
            except (RetriableError, FencedError) as error:
                HEALTH.ready(is_ready=False)
                pause_s = backoff.next_s()
                logger.warning("forecast again in %.1f s: %s", pause_s, error, extra={"event": "forecast_retried"})
                stop.wait(pause_s)
        hours.resign()
    finally:
        filling.leave()
        publisher.close()


def main(arguments: list[str] | None = None) -> int:
    """Run the service."""
    service_arguments(__doc__ or "", arguments)
    return run_service("predictor", run)
