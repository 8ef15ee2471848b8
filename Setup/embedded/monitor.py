"""How far a run has come: asked of Kafka, Redis and Postgres once a second, at a low price.

Clocks and offsets say where the pipeline stands without touching the large tables. What has to be counted in
those is counted rarely: after a count that took t seconds the next one waits at least 30 t.
"""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final, LiteralString, Self

import psycopg2
from kafka import TopicPartition
from kafka.errors import KafkaError
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case

from Sensor_core.errors import RetriableError
from Setup.kafka_initialization import make_consumer, topics_of
from Setup.lifecycle import Stop
from Setup.postgres import Role, connect
from Setup.postgres import curable_errors as curable_postgres_errors
from Setup.redis_client import CLOSED_KEY, STATE_KEY, RedisUser, curable_errors, make_client
from Setup.settings import Settings

logger = logging.getLogger(__name__)

EVERY_S: Final = 1.0
COUNT_EVERY_S: Final = 3.0
COUNTING_SHARE: Final = 30
"""A count may take this part of the time."""
_STATEMENT_TIMEOUT_MS: Final = 10_000

_SKILL: Final[LiteralString] = """
    WITH newest AS (SELECT least(min(clock), (SELECT max(issued_at) FROM aggregate_forecasts)) AS clock
                    FROM consumer_offsets)
    SELECT 1 - avg(abs(truth.meter_reading_kwh - f.q50[1])) / nullif(avg(abs(truth.meter_reading_kwh
               - naive.meter_reading_kwh)), 0)
    FROM newest
    JOIN readings truth ON truth."timestamp" > newest.clock - interval '24 hours'
                       AND truth."timestamp" <= newest.clock
    JOIN LATERAL (SELECT q50 FROM forecasts f
                  WHERE f.building_id = truth.building_id AND f.meter = truth.meter
                    AND f.issued_at = truth."timestamp" - %(interval)s::interval) f ON true
    JOIN LATERAL (SELECT meter_reading_kwh FROM readings n
                  WHERE n.building_id = truth.building_id AND n.meter = truth.meter
                    AND n."timestamp" = truth."timestamp" - %(interval)s::interval) naive ON true
"""


@dataclass(frozen=True)
class Progress:
    """Where the pipeline stands.

    Attributes:
        asked_at: When the question was put, on the monotonic clock. [s]
        stored_until: Newest interval that is in Postgres completely (UTC).
        closed_until: Newest interval that the predictor was told of (UTC).
        forecast_until: Newest interval from whose end forecasts are in Postgres (UTC).
        waiting_messages: Readings and ticks that are published and not in Postgres yet.
        lag_messages: The same for all topics that go to Postgres.
        waiting_intervals: Closed intervals whose forecasts are not published yet.
    """

    asked_at: float
    stored_until: datetime | None
    closed_until: datetime | None
    forecast_until: datetime | None
    waiting_messages: int
    lag_messages: int
    waiting_intervals: int

    def is_complete(self) -> bool:
        """Whether all that was published is stored, forecast, and the forecasts stored as well."""
        reached = self.stored_until
        return (
            reached is not None
            and self.closed_until == reached
            and self.waiting_intervals == 0
            and self.lag_messages == 0
            and self.forecast_until is not None
            and self.forecast_until >= reached
        )


@dataclass(frozen=True)
class Counts:
    """What is stored.

    Attributes:
        readings: Rows of ``readings``.
        forecasts: Rows of ``forecasts``, one a meter and issue.
        dead_letters: Rows of ``dead_letters``.
        skill: 1 - error / error of repeating the newest reading, one interval ahead over the last 24 h forecast;
            None while there is nothing to compare.
    """

    readings: int
    forecasts: int
    dead_letters: int
    skill: float | None


class Monitor:
    """Watches a run from a thread of its own; a context manager that ends it.

    Attributes:
        progress: The newest answer; None before the first one.
        counts: The newest counts; None before the first ones.
        problem: Why the newest attempt brought no answer, or an empty text.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = Stop()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="monitor")
        self._running: Future[None] | None = None
        self._count_at = 0.0
        self._postgres: Connection | None = None
        self._kafka: Any = None
        self._redis = make_client(settings, RedisUser.ADMIN)
        self.progress: Progress | None = None
        self.counts: Counts | None = None
        self.problem = ""

    def __enter__(self) -> Self:
        self._running = self._thread.submit(self._run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.shutdown(wait=True)

    def check(self) -> None:
        """Raise what ended the watching, if something did."""
        if self._running is not None and self._running.done():
            self._running.result()

    def count(self) -> Counts:
        """Count now, however long it takes.

        Raises:
            RetriableError: Postgres does not answer.
        """
        with curable_postgres_errors():
            connection = connect(self._settings, Role.GRAFANA)
            try:
                return _count(connection, self._settings, timeout_ms=0)
            finally:
                connection.close()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._look()
                self._stop.wait(EVERY_S)
        finally:
            self._forget_connections()
            self._redis.close()

    def _look(self) -> None:
        try:
            with curable_errors(), curable_postgres_errors():
                self.progress = self._ask()
                self._count_if_due()
            self.problem = ""
        except (RetriableError, KafkaError) as error:
            self.problem = str(error) or type(error).__name__
            self._forget_connections()

    def _ask(self) -> Progress:
        # From the end of the stream to its beginning: what one answer counts cannot have come after the next.
        asked_at = time.monotonic()
        step = self._redis.hget(STATE_KEY, "closed")
        waiting_intervals = self._redis.xlen(CLOSED_KEY)
        ends = self._end_offsets()
        stored, clocks, forecast_until = self._stored()
        topic = self._settings.topic_postgre
        lags = {partition: max(0, end - stored.get(partition, 0)) for partition, end in ends.items()}
        return Progress(
            asked_at=asked_at,
            stored_until=min(clocks) if len(clocks) == sum(name == topic for name, _ in ends) else None,
            closed_until=None if step is None else self._settings.interval.start_of(int(step)),
            forecast_until=forecast_until,
            waiting_messages=sum(lag for (name, _), lag in lags.items() if name == topic),
            lag_messages=sum(lags.values()),
            waiting_intervals=waiting_intervals,
        )

    def _stored(self) -> tuple[dict[tuple[str, int], int], list[datetime], datetime | None]:
        """Stored offsets, the clocks of the partitions that have one, and the newest issue."""
        with self._connection(), self._connection().cursor() as cursor:
            cursor.execute('SELECT topic, "partition", next_offset, clock FROM consumer_offsets')
            rows = cursor.fetchall()
            cursor.execute("SELECT max(issued_at) FROM aggregate_forecasts")
            (newest,) = cursor.fetchone() or (None,)
        clocks = [clock for topic, _, _, clock in rows if clock is not None and topic == self._settings.topic_postgre]
        return {(topic, number): offset for topic, number, offset, _ in rows}, clocks, newest

    def _end_offsets(self) -> dict[tuple[str, int], int]:
        """Ends of every partition that goes to Postgres."""
        if self._kafka is None:
            self._kafka = make_consumer(self._settings, None)
        partitions = [
            TopicPartition(topic.name, number)
            for topic in topics_of(self._settings)
            if topic.name != self._settings.topic_redis
            for number in self._kafka.partitions_for_topic(topic.name) or ()
        ]
        return {(topic, number): end for (topic, number), end in self._kafka.end_offsets(partitions).items()}

    def _count_if_due(self) -> None:
        if time.monotonic() < self._count_at:
            return
        began = time.monotonic()
        try:
            self.counts = _count(self._connection(), self._settings, timeout_ms=_STATEMENT_TIMEOUT_MS)
        except psycopg2.errors.QueryCanceled:
            logger.debug("counting took too long", extra={"event": "count_canceled"})
        took_s = time.monotonic() - began
        self._count_at = time.monotonic() + max(COUNT_EVERY_S, COUNTING_SHARE * took_s)

    def _connection(self) -> Connection:
        if self._postgres is None:
            self._postgres = connect(self._settings, Role.GRAFANA)
        return self._postgres

    def _forget_connections(self) -> None:
        if self._postgres is not None:
            self._postgres.close()
        if self._kafka is not None:
            self._kafka.close()
        self._postgres = self._kafka = None


def _count(connection: Connection, settings: Settings, *, timeout_ms: int) -> Counts:
    with connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = %s", (timeout_ms,))

        def value(statement: LiteralString) -> Any:
            cursor.execute(statement, {"interval": f"{settings.interval.seconds} seconds"})
            (answer,) = cursor.fetchone() or (None,)
            return answer

        return Counts(
            readings=value("SELECT count(*) FROM readings"),
            forecasts=value("SELECT count(*) FROM forecasts"),
            dead_letters=value("SELECT count(*) FROM dead_letters"),
            skill=value(_SKILL),
        )
