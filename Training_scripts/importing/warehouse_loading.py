"""The import into Postgres, by the rules that hold for the stream: greater (known_at, value) wins, totals follow.

Weeks of which the warehouse has nothing yet are copied straight into their partitions; others go through the
consumers' own statements. Each week is one transaction, and loading it again changes nothing.
"""

import io
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import numpy as np
import pandas as pd
import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class in lower case
from psycopg2.extras import execute_values

from Consumers.statements import statement
from Sensor_core.errors import EnergyError
from Sensor_core.interval import SECONDS_PER_HOUR, Interval
from Sensor_core.reading import METER_NAMES
from Sensor_core.weather import QUANTITIES, QUANTITY_NAMES
from Setup.buildings_info import upload_metadata
from Setup.cache_filling import fill_cache, is_filled
from Setup.data_folder import DataFolder
from Setup.postgres import Role, curable_errors, migrate, wait_for_postgres
from Setup.redis_client import RedisUser, make_client
from Setup.settings import Settings
from Training_scripts.importing.readings import Factors, Records
from Training_scripts.importing.source import Source

Span = tuple[datetime, datetime]
NewMeter = tuple[int, int, datetime]
"""Building, meter code, start of the first interval."""

WEATHER_SOURCE: Final = "import"
_CONNECTIONS: Final = 2
_EPOCH_2000_S: Final = 946_684_800
_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END: Final = b"\xff\xff"
_COPY_ROW: Final = np.dtype(
    [
        ("columns", ">i2"),
        ("building_bytes", ">i4"), ("building_id", ">i4"),
        ("meter_bytes", ">i4"), ("meter", ">i2"),
        ("timestamp_bytes", ">i4"), ("timestamp_us", ">i8"),
        ("kwh_bytes", ">i4"), ("kwh", ">f8"),
        ("known_at_bytes", ">i4"), ("known_at_us", ">i8"),
    ]
)  # fmt: skip
"""One reading in COPY's binary format."""
_COLUMNS: Final = 'building_id, meter, "timestamp", meter_reading_kwh, known_at'
_HAS_READINGS: Final = 'SELECT EXISTS (SELECT FROM readings WHERE "timestamp" BETWEEN %s AND %s)'
_TOTAL_READINGS: Final = """
INSERT INTO site_totals (site_id, meter, "timestamp", energy_kwh, meters_reported)
SELECT b.site_id, r.meter, r."timestamp", sum(r.meter_reading_kwh::numeric), count(*)
FROM readings r JOIN buildings b USING (building_id)
WHERE r."timestamp" BETWEEN %s AND %s
GROUP BY b.site_id, r.meter, r."timestamp"
"""
# As the consumer's store_readings.sql: an outage that is made up for meets the forecasts that were issued through it.
_SCORE_AGAIN: Final = """
INSERT INTO rescoring (building_id, meter, day)
SELECT DISTINCT building_id, meter, date_trunc('day', "timestamp") + later * interval '1 day'
FROM scoring_state JOIN readings ON "timestamp" BETWEEN %s AND least(%s, closed_until)
CROSS JOIN generate_series(0, 2) AS later
WHERE closed_until IS NOT NULL
"""


@contextmanager
def warehouse_load(settings: Settings, source: Source, tables: Path) -> Iterator["WarehouseLoad"]:
    """Connect, and bring schema and metadata up to date; at the end, wait until all is stored.

    Args:
        settings: Say where Postgres is.
        source: Gives the units.
        tables: A data folder that has the metadata.

    Raises:
        UnreachableError: Postgres does not answer in time.
    """
    with ExitStack() as stack, curable_errors():
        connections = [wait_for_postgres(settings, Role.ADMIN) for _ in range(_CONNECTIONS)]
        for connection in connections:
            stack.callback(connection.close)
        migrate(connections[0])
        connections[0].autocommit = False
        upload_metadata(connections[0], DataFolder(tables, settings.interval))
        load = WarehouseLoad(connections, source, settings.interval)
        with load.pool:
            yield load
            load.wait(0)


def renew_cache(settings: Settings) -> str:
    """Let a running predictor know what was loaded; says in one line what came of it."""
    try:
        with closing(make_client(settings, RedisUser.ADMIN)) as client:
            if not is_filled(client):
                return "not filled yet"
            filling = fill_cache(settings, client)
    except EnergyError as error:
        return f"as before ({error}); energy-cache rebuild lets a running predictor know"
    return f"filled anew with {filling.readings:,} readings of {filling.meters:,} meters"


class WarehouseLoad:
    """Loads weather, and readings week by week, two weeks at a time."""

    def __init__(self, connections: Sequence[Connection], source: Source, interval: Interval) -> None:
        self._connections: SimpleQueue[Connection] = SimpleQueue()
        for connection in connections:
            self._connections.put(connection)
        self._interval = interval
        self._factors = Factors(source.meters)
        self._seen: set[int] = set()
        self._stored: deque[Future[None]] = deque()
        self.pool = ThreadPoolExecutor(len(connections))
        self.rows = 0
        """Readings taken so far."""

    def add(self, records: Records) -> None:
        """Take the readings of one week, one a meter and interval; weeks come in the order of time."""
        if not len(records):
            return
        span = (_utc(records["time_s"][0]), _utc(records["time_s"][-1]))
        with self._transaction() as cursor:  # alone: the lock that it takes would make weeks wait for each other
            cursor.execute("SELECT ensure_partitions(%s, %s)", span)
        self._stored.append(self.pool.submit(self._store, records, span, self._new_meters(records)))
        self.wait(_CONNECTIONS)
        self.rows += len(records)

    def wait(self, weeks: int) -> None:
        """Wait until no more than so many weeks are under way; raises what storing one raised."""
        while len(self._stored) > weeks:
            self._stored.popleft().result()

    def add_weather(self, weather: pd.DataFrame) -> None:
        """Load observations with the columns that ``clean_weather`` makes."""
        if weather.empty:
            return
        rows = weather.rename(columns={quantity.ashrae_column: quantity.name for quantity in QUANTITIES})
        rows["known_at"] = rows["timestamp"] + pd.Timedelta(hours=1)
        rows["source"] = WEATHER_SOURCE
        rows = rows[["site_id", "timestamp", "known_at", "source", *QUANTITY_NAMES]]
        with self._transaction() as cursor:
            cursor.execute("SELECT ensure_partitions(%s, %s)", (weather["timestamp"].min(), weather["timestamp"].max()))
            cursor.execute(statement("create_staging"))
            text = io.StringIO(rows.to_csv(index=False, header=False))
            cursor.copy_expert("COPY staged_weather FROM stdin (FORMAT csv)", text)
            cursor.execute(statement("store_weather"))

    @contextmanager
    def _transaction(self) -> Iterator[Cursor]:
        connection = self._connections.get()
        try:
            with connection, connection.cursor() as cursor:
                yield cursor
        finally:
            self._connections.put(connection)

    def _store(self, records: Records, span: Span, new_meters: Sequence[NewMeter]) -> None:
        with suppress(psycopg2.errors.UniqueViolation), self._transaction() as cursor:  # a consumer may be faster
            cursor.execute(_HAS_READINGS, span)
            if cursor.fetchone() == (False,):
                self._copy(cursor, "readings", _by_day_and_meter(records))
                cursor.execute(_TOTAL_READINGS, span)
                cursor.execute(_SCORE_AGAIN, span)
                _note_meters(cursor, new_meters)
                return
        with self._transaction() as cursor:
            cursor.execute(statement("create_staging"))
            self._copy(cursor, "staged_readings", records)
            cursor.execute(statement("store_readings"))
            cursor.execute(statement("replace_readings"))
            _note_meters(cursor, new_meters)

    def _copy(self, cursor: Cursor, table: str, records: Records) -> None:
        rows = io.BytesIO(_COPY_HEAD + self._copy_rows(records).tobytes() + _COPY_END)
        cursor.copy_expert(f"COPY {table} ({_COLUMNS}) FROM stdin (FORMAT binary)", rows)

    def _copy_rows(self, records: Records) -> Records:
        rows = np.zeros(len(records), dtype=_COPY_ROW)
        rows["columns"] = 5
        for name, size in (("building", 4), ("meter", 2), ("timestamp", 8), ("kwh", 8), ("known_at", 8)):
            rows[f"{name}_bytes"] = size
        rows["building_id"], rows["meter"] = records["building_id"], records["meter"]
        rows["timestamp_us"] = (records["time_s"] - _EPOCH_2000_S) * 1_000_000
        rows["known_at_us"] = rows["timestamp_us"] + self._interval.seconds * 1_000_000
        rows["kwh"] = records["value"] * self._factors.of(records["building_id"], records["meter"])
        return rows

    def _new_meters(self, records: Records) -> list[NewMeter]:
        """Meters that no earlier week had, with their first reading."""
        keys = records["building_id"].astype(np.int64) * len(METER_NAMES) + records["meter"]
        meters, places = np.unique(keys, return_index=True)
        seen = zip(meters.tolist(), places.tolist(), strict=True)
        new = {key: _utc(records["time_s"][place]) for key, place in seen if key not in self._seen}
        self._seen |= new.keys()
        return [(*divmod(key, len(METER_NAMES)), first) for key, first in new.items()]


def _by_day_and_meter(records: Records) -> Records:
    """The order that suits the indexes: days together for the one on time, within them meter by meter.

    The primary key takes it at half the cost of the order of time (measured: 34 s of processor instead of 65 for
    20 million rows).
    """
    day = records["time_s"] // (24 * SECONDS_PER_HOUR)
    return records[np.lexsort((records["time_s"], records["meter"], records["building_id"], day))]


def _note_meters(cursor: Cursor, meters: Sequence[NewMeter]) -> None:
    if meters:
        execute_values(cursor, statement("store_meters"), meters, page_size=len(meters))


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), tz=UTC)
