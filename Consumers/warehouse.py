"""The warehouse: stores batches in Postgres, each with its offsets in one transaction.

Two guards keep readings single: the compare-and-set of the partition's offset, and the upsert by natural key.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class in lower case
from psycopg2.extras import execute_values

from Consumers.batching import Batch, Span
from Consumers.decoding import Message, Partition, Record
from Consumers.statements import TARGETS, Target, statement
from Consumers.store import Position, Refuse
from Sensor_core.errors import FencedError, RetriableError
from Sensor_core.reading import LATEST, Reading
from Setup.postgres import Role, connect, curable_errors
from Setup.settings import Settings

logger = logging.getLogger(__name__)

_ONE_PIECE = 2**30

MeterId = tuple[int, int]
Month = tuple[int, int]
Rows = list[tuple[Message, Record]]


class Warehouse:
    """The consumers' store in Postgres; used by one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: Connection | None = None
        self._months: set[Month] = set()
        self._first_seen: dict[MeterId, datetime] = {}

    def positions(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        """Offsets and clocks as stored.

        Raises:
            RetriableError: Postgres does not answer.
        """
        with curable_errors(), self._transaction() as cursor:
            stored = _stored_positions(cursor)
        return {partition: stored.get(partition, Position(None, None)) for partition in partitions}

    def limit(self, waiting: Mapping[Partition, int]) -> int | None:  # noqa: ARG002 - others need it
        """The warehouse takes whatever comes."""
        return None

    def write(self, batch: Batch, refuse: Refuse) -> None:
        """Store a batch; see ``Consumers.store.Store``."""
        with curable_errors():
            by_type = _by_type(batch.records)
            self._ensure_partitions(by_type)
            first_seen = self._newly_seen(batch)
            with self._noting_dropped_months(), self._transaction() as cursor:
                if not self._move_offsets(cursor, batch):
                    return
                _note_gaps(cursor, batch)
                refused = _store_all(cursor, by_type)
                if refused:
                    refuse(refused)
                if first_seen:
                    rows = [(*meter, seen) for meter, seen in first_seen.items()]
                    execute_values(cursor, statement("store_meters"), rows, page_size=len(rows))
        self._first_seen |= first_seen

    def _transaction(self) -> "_Transaction":
        if self._connection is None:
            self._connection = connect(self._settings, Role.POSTGRES_CONSUMER)
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(statement("create_staging"))
        return _Transaction(self)

    def forget_connection(self) -> None:
        """Close a connection that failed, so that the next attempt opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def connection(self) -> Connection:
        """The open connection."""
        if self._connection is None:
            raise RetriableError("Postgres: the connection is closed")
        return self._connection

    def _move_offsets(self, cursor: Cursor, batch: Batch) -> bool:
        """Move every partition of the batch on, or find that this very batch is stored already.

        Returns:
            False where an earlier attempt was committed although its answer was lost.
        """
        for partition, span in sorted(batch.spans.items()):
            topic, number = partition
            arguments = {"topic": topic, "partition": number, "start": span.start, "end": span.end}
            arguments |= {"clock": batch.clocks.get(partition), "arrived_s": span.arrived_ms / 1000}
            cursor.execute(statement("first_offset" if span.start is None else "move_offset"), arguments)
            if cursor.rowcount == 0:
                if _is_stored(cursor, batch.spans):
                    return False
                raise FencedError(f"{topic}-{number} does not stand at {span.start} any more")
        return True

    def _ensure_partitions(self, by_type: dict[type, Rows]) -> None:
        moments = set()
        for kind, rows in by_type.items():
            if (target := TARGETS.get(kind)) and target.event_time:
                moments |= {target.event_time(record) for _, record in rows}
        months = {(when.year, when.month) for when in (moment.astimezone(UTC) for moment in moments)}
        for year, month in sorted(months - self._months):
            first = datetime(year, month, 1, tzinfo=UTC)
            with self._transaction() as cursor:
                cursor.execute("SELECT ensure_partitions(%s, %s)", (first, first))
            self._months.add((year, month))

    @contextmanager
    def _noting_dropped_months(self) -> Iterator[None]:
        """Make the months' partitions anew at the next attempt where one was dropped (FORECAST_RETENTION_DAYS)."""
        try:
            yield
        except psycopg2.errors.CheckViolation as error:
            if not _lacks_partition(error):
                raise
            self._months.clear()
            raise RetriableError(f"Postgres: {str(error).splitlines()[0]}") from error

    def _newly_seen(self, batch: Batch) -> dict[MeterId, datetime]:
        """Meters that this batch shows for the first time, or earlier than any batch of this process."""
        known = self._first_seen
        seen: dict[MeterId, datetime] = {}
        for _, record in batch.records:
            if type(record) is Reading:
                meter = (record.building_id, record.meter)
                if record.timestamp < known.get(meter, LATEST):
                    seen[meter] = min(record.timestamp, seen.get(meter, LATEST))
        return seen


class _Transaction:
    """A transaction that drops its connection when that is broken."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._cursor = warehouse.connection.cursor()

    def __enter__(self) -> Cursor:
        return self._cursor

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        connection = self._warehouse.connection
        try:
            connection.rollback() if kind else connection.commit()
        except psycopg2.Error:
            self._warehouse.forget_connection()
            if kind is None:
                raise
        if connection.closed:
            self._warehouse.forget_connection()


def _stored_positions(cursor: Cursor) -> dict[Partition, Position]:
    cursor.execute('SELECT topic, "partition", next_offset, clock FROM consumer_offsets')
    return {(topic, number): Position(offset, clock) for topic, number, offset, clock in cursor.fetchall()}


def _is_stored(cursor: Cursor, spans: dict[Partition, Span]) -> bool:
    stored = _stored_positions(cursor)
    return all(partition in stored and stored[partition].next_offset == span.end for partition, span in spans.items())


def _note_gaps(cursor: Cursor, batch: Batch) -> None:
    """Offsets that retention deleted before they were read."""
    for (topic, number), span in batch.spans.items():
        if span.has_gap:
            logger.error(
                "%s-%d: offsets %d to %d are gone", topic, number, span.start, span.first_read,
                extra={"event": "data_gap"},
            )  # fmt: skip
            cursor.execute(
                'INSERT INTO data_gaps (topic, "partition", from_offset, to_offset) VALUES (%s, %s, %s, %s)'
                " ON CONFLICT DO NOTHING",
                (topic, number, span.start, span.first_read),
            )


def _by_type(rows: Rows) -> dict[type, Rows]:
    by_type: dict[type, Rows] = {}
    for row in rows:
        by_type.setdefault(type(row[1]), []).append(row)
    return by_type


def _store_all(cursor: Cursor, by_type: dict[type, Rows]) -> list[tuple[Message, str]]:
    """Store the records of a batch, type by type; returns those that the database refuses for good."""
    refused = []
    for kind, target in TARGETS.items():
        if kind in by_type:
            refused += _store(cursor, target, by_type[kind])
    return refused


def _store(cursor: Cursor, target: Target, rows: Rows) -> list[tuple[Message, str]]:
    """Store records of one type; where the database refuses the data, halve to find the culprits."""
    cursor.execute("SAVEPOINT records")
    try:
        _copy_and_store(cursor, target, [record for _, record in rows])
    except (psycopg2.DataError, psycopg2.IntegrityError) as error:
        if _lacks_partition(error):
            raise  # no fault of the data
        cursor.execute("ROLLBACK TO SAVEPOINT records")
        if len(rows) == 1:
            return [(rows[0][0], str(error).strip().splitlines()[0])]
        half = len(rows) // 2
        refused = _store(cursor, target, rows[:half])
        cursor.execute(f"DELETE FROM {target.staging}; DELETE FROM contested_readings")
        return refused + _store(cursor, target, rows[half:])
    cursor.execute("RELEASE SAVEPOINT records")
    return []


def _lacks_partition(error: psycopg2.Error) -> bool:
    """Whether a row's month has no partition: Postgres says that a check is violated, and names none."""
    return isinstance(error, psycopg2.errors.CheckViolation) and error.diag.constraint_name is None


def _copy_and_store(cursor: Cursor, target: Target, records: Sequence[Record]) -> None:
    # In one piece: at each piece the worker would wait for the interpreter until the decoding thread yields it.
    cursor.copy_expert(
        f"COPY {target.staging} FROM stdin WITH (FORMAT {target.format})", target.rows(records), size=_ONE_PIECE
    )
    cursor.execute(statement(target.store))
    if target.staging == "staged_readings" and cursor.rowcount > 0:
        cursor.execute(statement("replace_readings"))
