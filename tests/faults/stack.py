"""The whole pipeline for one run: a database, topics and a Redis of its own, and the services as child processes."""

import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, Self

import psutil
import psycopg2
import psycopg2.extensions
import redis
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from Setup.embedded.engines import Engines
from Setup.embedded.service import Child, Service
from Setup.embedded.services import SERVICES, SETUP, Supervisor
from Setup.kafka_initialization import topics_of
from Setup.settings import Settings

ROOT: Final = Path(__file__).parents[2]
TOPICS: Final = ("postgre", "redis", "predictions", "weather", "anomalies", "dead_letters")
PASSWORDS: Final = [name for name in Settings.model_fields if name.endswith("password")]
STEADY: Final = ("predictor", "redis_consumer", "postgre_consumer")
"""The services that run for ever."""
_ANSWER_WITHIN_S: Final = 60
_QUIET_WITHIN_S: Final = 120
_LOOK_EVERY_S: Final = 0.2
_NUMBERS: Final = itertools.count(1)
_AWAY: Final = (
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
    redis.ConnectionError,
    redis.TimeoutError,
    KafkaError,
)
Partition = tuple[str, int]


class Stack:
    """The pipeline on started engines; a context manager that stops the services and drops the database.

    Args:
        engines: Kafka, PostgreSQL and Valkey, running.
        password: Of every role of theirs.
        folder: For the data folder and the logs.
        services: What to run, by default the three that run for ever.
        changes: Of the settings.
    """

    def __init__(
        self,
        engines: Engines,
        password: str,
        folder: Path,
        services: list[Service] | None = None,
        **changes: object,
    ) -> None:
        self.engines, self.password, self.folder = engines, password, folder
        self.number = next(_NUMBERS)
        self.data = folder / "data"
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True)
        self.settings = self._settings().model_copy(update=changes)
        self.redis = redis.Redis(port=engines.endpoints.redis_port, password=password, socket_timeout=10)
        self._services = [service_of(name) for name in STEADY] if services is None else services
        self._said: list[str] = []
        self._supervisor = Supervisor(self.logs, self._environment(), self._said.append)
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look_after)
        self._kafka: KafkaConsumer | None = None

    def _settings(self) -> Settings:
        endpoints = self.engines.endpoints
        return Settings(
            _env_file=None,
            data_dir=self.data,
            model_dir=ROOT / "Predictor" / "model",
            kafka_bootstrap_servers=endpoints.kafka_bootstrap,
            postgres_host=endpoints.postgres_host,
            postgres_port=endpoints.postgres_port,
            postgres_db=f"faults_{self.number}",
            redis_host=endpoints.redis_host,
            redis_port=endpoints.redis_port,
            batch_max_age_s=0.5,
            **{f"topic_{name}": f"faults_{self.number}_{name}" for name in TOPICS},
            **dict.fromkeys(PASSWORDS, self.password),
        )

    def _environment(self) -> Mapping[str, str]:
        changed = {
            name.upper(): self.password if name in PASSWORDS else str(value)
            for name, value in self.settings
            if value is not None
        }
        return {**os.environ, **changed, "PYTHONPATH": str(ROOT)}

    def prepare(self) -> None:
        """Make the database and empty Redis; Setup comes with ``start``."""
        self.redis.flushall()
        self.run_as_admin(f"CREATE DATABASE {self.settings.postgres_db}")

    def start(self) -> None:
        """Run Setup to its end, then the services."""
        self._supervisor.__enter__()
        assert self._supervisor.run_to_end(SETUP, self._ended)
        self._supervisor.start(self._services)
        self._watch.start()

    def add(self, service: Service) -> None:
        self._supervisor.start([service])

    def _look_after(self) -> None:
        while not self._ended.wait(0.1):
            self._supervisor.check()

    def child(self, name: str) -> Child:
        return next(child for child in self._supervisor._children if child.service.name == name)

    def process(self, name: str, within_s: float = 60) -> psutil.Process:
        """The process of a service, once it runs."""
        deadline = time.monotonic() + within_s
        while True:
            status = self.child(name).status()
            if status.pid is not None and psutil.pid_exists(status.pid):
                return psutil.Process(status.pid)
            assert time.monotonic() < deadline, f"{name} is not started again: {self.said()}"
            time.sleep(0.1)

    def is_done(self, name: str) -> bool:
        return self._supervisor.is_done(name)

    def said(self) -> str:
        """What the supervisor reported, for when something goes wrong."""
        return "\n".join(self._said[-20:])

    def connect(self, database: str | None = None) -> psycopg2.extensions.connection:
        connection = psycopg2.connect(
            host=self.settings.postgres_host,
            port=self.settings.postgres_port,
            dbname=database or self.settings.postgres_db,
            user="postgres",
            password=self.password,
            options="-c timezone=UTC",
        )
        connection.autocommit = True
        return connection

    def run_as_admin(self, statement: str) -> None:
        connection = self.connect("postgres")
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    def ask(self, statement: str, arguments: object = None) -> list[tuple]:
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, arguments)
                return cursor.fetchall()
        finally:
            connection.close()

    def topic_partitions(self) -> list[Partition]:
        return [(topic.name, number) for topic in topics_of(self.settings) for number in range(topic.partitions)]

    def end_offsets(self) -> dict[Partition, int]:
        """Ends of every partition of this run's topics; asked until the broker answers."""
        deadline = time.monotonic() + _ANSWER_WITHIN_S
        while True:
            try:
                return self._end_offsets()
            except KafkaError:
                if time.monotonic() > deadline:
                    raise

    def _end_offsets(self) -> dict[Partition, int]:
        if self._kafka is None:
            self._kafka = KafkaConsumer(
                bootstrap_servers=self.settings.kafka_bootstrap_servers,
                bootstrap_timeout_ms=5000,
                reconnect_backoff_max_ms=1000,
                enable_auto_commit=False,
            )
        places = [TopicPartition(*partition) for partition in self.topic_partitions()]
        return {(p.topic, p.partition): end for p, end in self._kafka.end_offsets(places, timeout_ms=5000).items()}

    def stored_offsets(self) -> dict[Partition, int]:
        """How far both stores are, as they say."""
        state = self.redis.hgetall("energy:state")
        offsets = {
            (self.settings.topic_redis, number): int(state.get(b"offset:%d" % number, 0))
            for number in range(self.settings.kafka_partitions)
        }
        rows = self.ask('SELECT topic, "partition", next_offset FROM consumer_offsets')
        return offsets | {(topic, number): offset for topic, number, offset in rows}

    def has_stored(self, ends: Mapping[Partition, int]) -> bool:
        """Whether all of this is stored; False as well while an engine is away."""
        with suppress(*_AWAY):
            stored = self.stored_offsets()
            return all(stored.get(partition, 0) >= end for partition, end in ends.items())
        return False

    def forecast_until(self) -> datetime | None:
        """The newest hour whose forecasts are stored; None while there are none or Postgres is away."""
        with suppress(*_AWAY):
            ((newest,),) = self.ask("SELECT max(issued_at) FROM aggregate_forecasts")
            return newest
        return None

    def has_forecast(self, until: datetime) -> bool:
        """Whether the forecasts issued at this hour are stored."""
        newest = self.forecast_until()
        return newest is not None and newest >= until

    def is_quiet(self) -> bool:
        """Whether nothing waits anywhere: looked at in the order in which messages flow."""
        with suppress(*_AWAY):
            ends = self.end_offsets()
            redis_ends = {p: end for p, end in ends.items() if p[0] == self.settings.topic_redis}
            is_forecast = self.has_stored(redis_ends) and self.redis.xlen("energy:closed") == 0
            return is_forecast and self.has_stored(self.end_offsets())
        return False

    def stop_services(self) -> None:
        """Stop in order, as energy-run does; may be called again."""
        if not self._ended.is_set():
            self._ended.set()
            if self._watch.ident is not None:
                self._watch.join()
            self._supervisor.__exit__(None, None, None)

    def drop_database(self) -> None:
        self.run_as_admin(f"DROP DATABASE IF EXISTS {self.settings.postgres_db} WITH (FORCE)")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_services()
        for name in self.engines.fallen():  # a test that failed may have left one so
            self.engines.restart(name)
        if self._kafka is not None:
            self._kafka.close()
        self.redis.close()
        self.drop_database()


def service_of(name: str, number: int = 1) -> Service:
    """A service as energy-run starts it; further ones of a kind by number."""
    service = next(service for service in SERVICES if service.name == name)
    return service if number == 1 else Service(f"{name}_{number}", service.script, service.stop_turn)


def wait_until(is_reached: Callable[[], bool], stack: Stack, what: str, within_s: float = _QUIET_WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while not is_reached():
        assert time.monotonic() < deadline, f"{what} did not come within {within_s:.0f} s:\n{stack.said()}"
        time.sleep(_LOOK_EVERY_S)
