"""The import into Postgres, by the rules that hold for the stream: greater (known_at, value) wins, totals follow.

Weeks of which the warehouse has nothing yet are copied straight into their partitions; others go through the
consumers' own statements. Each week is one transaction, and loading it again changes nothing.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class in lower case
from psycopg2.extras import execute_values

from Consumers.statements import statement
from Sensor_core.interval import Interval
from Sensor_core.reading import METER_NAMES
from Sensor_core.weather import QUANTITIES, QUANTITY_NAMES
from Setup.buildings_info import upload_metadata
from Setup.data_folder import DataFolder
from Setup.postgres import Role, curable_errors, migrate, wait_for_postgres
from Setup.settings import Settings
from Training_scripts.importing.readings import Factors, Records
from Training_scripts.importing.source import Source

WEATHER_SOURCE: Final = "import"
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


@contextmanager
def warehouse_load(settings: Settings, source: Source, tables: Path) -> Iterator["WarehouseLoad"]:
    """Connect, and bring schema and metadata up to date.

    Args:
        settings: Say where Postgres is.
        source: Gives the units.
        tables: A data folder that has the metadata.

    Raises:
        UnreachableError: Postgres does not answer in time.
    """
    connection = wait_for_postgres(settings, Role.ADMIN)
    try:
        with curable_errors():
            migrate(connection)
            connection.autocommit = False
            upload_metadata(connection, DataFolder(tables, settings.interval))
            yield WarehouseLoad(connection, source, settings.interval)
    finally:
        connection.close()


class WarehouseLoad:
    """Loads readings week by week, and weather, over one connection."""

    def __init__(self, connection: Connection, source: Source, interval: Interval) -> None:
        self._connection = connection
        self._interval = interval
        self._factors = Factors(source.meters)
        self._seen: set[int] = set()
        self.rows = 0
        """Readings loaded so far."""

    def add(self, records: Records) -> None:
        """Load the readings of one week, which hold one a meter and interval."""
        if not len(records):
            return
        try:
            self._store(records, straight=True)
        except psycopg2.errors.UniqueViolation:  # a consumer was faster
            self._store(records, straight=False)
        self.rows += len(records)

    def add_weather(self, weather: pd.DataFrame) -> None:
        """Load observations with the columns that ``clean_weather`` makes."""
        if weather.empty:
            return
        rows = weather.rename(columns={quantity.ashrae_column: quantity.name for quantity in QUANTITIES})
        rows["known_at"] = rows["timestamp"] + pd.Timedelta(hours=1)
        rows["source"] = WEATHER_SOURCE
        rows = rows[["site_id", "timestamp", "known_at", "source", *QUANTITY_NAMES]]
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute("SELECT ensure_partitions(%s, %s)", (weather["timestamp"].min(), weather["timestamp"].max()))
            cursor.execute(statement("create_staging"))
            text = io.StringIO(rows.to_csv(index=False, header=False))
            cursor.copy_expert("COPY staged_weather FROM stdin (FORMAT csv)", text)
            cursor.execute(statement("store_weather"))

    def _store(self, records: Records, *, straight: bool) -> None:
        span = tuple(_utc(records["time_s"][place]) for place in (0, -1))
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")  # the next load of the same file would repair it
            cursor.execute("SELECT ensure_partitions(%s, %s)", span)
            cursor.execute(_HAS_READINGS, span)
            (contested,) = cursor.fetchone() or (True,)
            if straight and not contested:
                self._copy(cursor, "readings", records)
                cursor.execute(_TOTAL_READINGS, span)
            else:
                cursor.execute(statement("create_staging"))
                self._copy(cursor, "staged_readings", records)
                cursor.execute(statement("store_readings"))
                cursor.execute(statement("replace_readings"))
            self._note_meters(cursor, records)

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

    def _note_meters(self, cursor: Cursor, records: Records) -> None:
        """Weeks come in the order of time: the first that has a meter has its first reading."""
        keys = records["building_id"].astype(np.int64) * len(METER_NAMES) + records["meter"]
        meters, places = np.unique(keys, return_index=True)
        new = [
            (key, place) for key, place in zip(meters.tolist(), places.tolist(), strict=True) if key not in self._seen
        ]
        rows = [(*divmod(key, len(METER_NAMES)), _utc(records["time_s"][place])) for key, place in new]
        if rows:
            execute_values(cursor, statement("store_meters"), rows, page_size=len(rows))
        self._seen |= {key for key, _ in new}


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), tz=UTC)
