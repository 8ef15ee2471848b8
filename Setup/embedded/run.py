"""One run of the whole pipeline on one machine: engines, Setup, services, and when it is over."""

import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from Sensor_core.errors import SettingsError
from Setup.embedded.engines import Endpoints, Engines
from Setup.embedded.monitor import Monitor, Progress
from Setup.embedded.postgres_engine import SUPERUSER
from Setup.embedded.run_folder import RunFolder
from Setup.embedded.service import Service
from Setup.embedded.services import SENSOR, SERVICES, SETUP, Supervisor, with_hours
from Setup.embedded.state_folder import write_private
from Setup.embedded.view import Addresses, Facts, View
from Setup.lifecycle import Stop, stop_on_signals
from Setup.passwords import warning
from Setup.postgres import Role
from Setup.redis_client import SERVICE_USERS, RedisUser
from Setup.settings import Settings

TURN_S: Final = 0.25
_PASSWORDS: Final = ("postgres_password", "grafana_postgres_password", *(user.value[1] for user in RedisUser))
Change = str | int | float | Path


def run_pipeline(settings: Settings, folder: RunFolder, *, hours: int | None, view: View) -> None:
    """Run the pipeline until it is stopped or, where ``hours`` says so, until it has done its work.

    Args:
        settings: As the user wants them; hosts and ports give way to those of the engines.
        folder: The run's state, prepared.
        hours: End after so many hours of event time, all of it stored and forecast.
        view: Shows the run.

    Raises:
        EnergyError: An engine cannot start, Setup failed, or a service cannot go on.
    """
    began = time.monotonic()
    if known := warning(settings):
        view.event(known)
    with _make_engines(settings, folder) as engines:
        endpoints = engines.start(view.event)
        changes = _changes(settings, endpoints, folder)
        with stop_on_signals() as stop:
            run = Run(settings.model_copy(update=changes), folder, engines, view=view, began=began)
            folder.sensor_end.unlink(missing_ok=True)
            services = with_hours(SERVICES, hours, folder.sensor_end)
            run.follow(environment_of(changes), services, stop, ends=hours is not None)
            view.event("stopping the engines")
    view.event(f"stopped; the data is kept in {folder.path}")


class Run:
    """The services on top of started engines."""

    def __init__(self, settings: Settings, folder: RunFolder, engines: Engines, *, view: View, began: float) -> None:
        self._settings = settings
        self._folder = folder
        self._engines = engines
        self._view = view
        self._began = began
        self._addresses = _addresses(settings, engines.endpoints, folder)
        self._history_readings = 0
        self._replayed_at: float | None = None
        self._first_progress: Progress | None = None
        self._forecast_seen = False

    def follow(self, environment: Mapping[str, str], services: list[Service], stop: Stop, *, ends: bool) -> None:
        """Set up, run the services, watch them, and stop them.

        Args:
            environment: Of the services.
            services: What to run side by side.
            stop: Ends the run.
            ends: Whether the run is over once all that the sensor published is stored and forecast.

        Raises:
            EnergyError: Setup failed, or a service cannot go on.
        """
        with Supervisor(self._folder.logs, environment, self._view.event) as supervisor:
            self._view.event("Setup: migrations, metadata, history, topics, cache")
            if supervisor.run_to_end(_setup(self._folder), stop):
                with Monitor(self._settings) as monitor:
                    self._note_history(monitor)
                    supervisor.start(services)
                    self._watch(supervisor, monitor, stop, ends=ends)
            self._view.event("stopping: sensor, predictor and trainer, consumers")

    def _note_history(self, monitor: Monitor) -> None:
        """Tell the readings that Setup loaded from those that the stream will bring."""
        known = self._folder.history_readings
        if known is None:
            known = self._folder.history_readings = monitor.count().readings
        self._history_readings = known

    def _watch(self, supervisor: Supervisor, monitor: Monitor, stop: Stop, *, ends: bool) -> None:
        with self._view:
            while not stop.wait(TURN_S):
                supervisor.check()
                monitor.check()
                self._revive_engines()
                self._note_milestones(supervisor, monitor)
                self._view.show(self._facts(supervisor, monitor, ends=ends))
                if ends and self._is_over(monitor):
                    self._view.event(self._summary(monitor))
                    return

    def _revive_engines(self) -> None:
        for name in self._engines.fallen():
            self._view.event(f"{name} has ended and is started again. {self._engines.last_lines(name)}")
            self._engines.restart(name)

    def _note_milestones(self, supervisor: Supervisor, monitor: Monitor) -> None:
        if self._replayed_at is None and supervisor.is_done(SENSOR.name):
            self._replayed_at = time.monotonic()
        if monitor.progress is None or self._forecast_seen:
            return
        newest = monitor.progress.forecast_until
        if self._first_progress is None:
            self._first_progress = monitor.progress
        elif newest != self._first_progress.forecast_until:
            self._forecast_seen = True
            took_s = time.monotonic() - self._began
            self._view.event(f"the first forecasts of this run are in Postgres, {took_s:.1f} s after its start")

    def _is_over(self, monitor: Monitor) -> bool:
        """Whether all that the sensor published is stored and forecast; looks at answers from after its end only."""
        progress = monitor.progress
        return (
            self._replayed_at is not None
            and progress is not None
            and progress.asked_at > self._replayed_at
            and progress.is_complete()
        )

    def _facts(self, supervisor: Supervisor, monitor: Monitor, *, ends: bool) -> Facts:
        headline = f"replaying {self._folder.data.name}; Ctrl-C stops"
        if self._replayed_at is not None:
            then = "the last hours are being stored and forecast" if ends else "the pipeline stays up until Ctrl-C"
            headline = f"{self._folder.data.name} is replayed; {then}"
        return Facts(
            headline,
            self._addresses,
            tuple(supervisor.statuses()),
            monitor.progress,
            monitor.counts,
            self._history_readings,
            monitor.problem,
        )

    def _summary(self, monitor: Monitor) -> str:
        counts, progress = monitor.count(), monitor.progress
        reached = progress.stored_until if progress else None
        skill = "" if counts.skill is None else f"; skill {counts.skill:+.1%} one step ahead over the newest reading"
        return (
            f"done: stored and forecast until {reached:%Y-%m-%d %H:%M} UTC in {time.monotonic() - self._began:.1f} s; "
            f"{counts.readings - self._history_readings:,} readings stored, {counts.forecasts:,} forecasts, "
            f"{counts.dead_letters:,} dead letters{skill}"
        )


def environment_of(changes: Mapping[str, Change]) -> dict[str, str]:
    """The environment of the services: this process's own, with some settings changed."""
    return {**os.environ, **{name.upper(): str(value) for name, value in changes.items()}}


def _make_engines(settings: Settings, folder: RunFolder) -> Engines:
    for name in _PASSWORDS:
        if not getattr(settings, name).get_secret_value():
            raise SettingsError(f"{name.upper()} is empty: set it in .env, or start in the folder that has one")
    return Engines(
        folder.path,
        postgres_password=settings.postgres_password.get_secret_value(),
        database=settings.postgres_db,
        redis_password=settings.redis_password.get_secret_value(),
        redis_users={user: getattr(settings, user.value[1]).get_secret_value() for user in SERVICE_USERS},
    )


def _changes(settings: Settings, endpoints: Endpoints, folder: RunFolder) -> dict[str, Change]:
    """Settings that this run decides, whatever the user's say."""
    metrics = {} if settings.metrics_port is None else {"metrics_port": settings.metrics_port}
    return {
        **metrics,
        "data_dir": folder.data,
        "model_dir": folder.model,
        "replay_seconds_per_hour": settings.replay_seconds_per_hour,
        "kafka_bootstrap_servers": endpoints.kafka_bootstrap,
        "kafka_authentication": "none",  # its engines listen on this machine only, and know neither
        "tls": False,
        "kafka_replication_factor": 1,
        "kafka_min_insync_replicas": 1,
        "postgres_host": endpoints.postgres_host,
        "postgres_port": endpoints.postgres_port,
        "postgres_user": SUPERUSER,
        "redis_host": endpoints.redis_host,
        "redis_port": endpoints.redis_port,
    }


def _setup(folder: RunFolder) -> Service:
    return SETUP.with_arguments("--demonstration") if folder.is_demonstration else SETUP


def _addresses(settings: Settings, endpoints: Endpoints, folder: RunFolder) -> Addresses:
    return Addresses(
        kafka=endpoints.kafka_bootstrap,
        postgres=f"{endpoints.postgres_host}:{endpoints.postgres_port}, database {settings.postgres_db}",
        redis=f"{endpoints.redis_host}:{endpoints.redis_port}",
        psql=shlex.quote(_shown(_write_psql(settings, endpoints, folder.path))),
        logs=_shown(folder.logs),
    )


def _write_psql(settings: Settings, endpoints: Endpoints, state: Path) -> Path:
    """Write a command that opens the database on the read-only role, so that nobody has to type its password."""
    role, password_field = Role.GRAFANA.value
    password = getattr(settings, password_field).get_secret_value()
    options = (
        "-h",
        endpoints.postgres_host,
        "-p",
        str(endpoints.postgres_port),
        "-U",
        role,
        "-d",
        settings.postgres_db,
    )
    file = state / "psql"
    write_private(
        file,
        f'#!/bin/sh\nPGPASSWORD={shlex.quote(password)} exec {shlex.join([str(endpoints.psql), *options])} "$@"\n',
    )
    file.chmod(0o700)
    return file


def _shown(path: Path) -> str:
    """A path as a user types it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
