"""What came before the stream: a data folder's history, or the demonstration's dump, into Postgres."""

import hashlib
import io
import logging
from datetime import timedelta
from typing import Any, Final

import pandas as pd
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case

from Sensor_core.weather import QUANTITY_NAMES
from Setup.data_folder import HISTORY, DataFolder
from Setup.postgres import MIGRATIONS, is_applied, run_script

logger = logging.getLogger(__name__)

DUMP = MIGRATIONS / "dump" / "history.sql.gz"
DUMP_VERSION = "0090_history"
"""The dump writes this into schema_migrations itself, here as at the Postgres image's first start."""

# As the consumer's replace_readings.sql, but for the totals, which are made anew.
_STORE_READINGS: Final = """
WITH ranked AS (
    SELECT *, row_number() OVER (PARTITION BY building_id, meter, "timestamp"
                                 ORDER BY known_at DESC, meter_reading_kwh DESC) AS place
    FROM (SELECT * FROM staged_history
          UNION
          SELECT r.* FROM readings r JOIN staged_history USING (building_id, meter, "timestamp")) versions
), kept AS (
    INSERT INTO reading_revisions (building_id, meter, "timestamp", known_at, meter_reading_kwh)
    SELECT building_id, meter, "timestamp", known_at, meter_reading_kwh FROM ranked WHERE place > 1
    ON CONFLICT DO NOTHING
    RETURNING 1
), stored AS (
    INSERT INTO readings AS r (building_id, meter, "timestamp", meter_reading_kwh, known_at)
    SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM ranked WHERE place = 1
    ON CONFLICT (building_id, meter, "timestamp") DO UPDATE
    SET meter_reading_kwh = excluded.meter_reading_kwh, known_at = excluded.known_at
    WHERE (r.known_at, r.meter_reading_kwh) < (excluded.known_at, excluded.meter_reading_kwh)
    RETURNING building_id, meter, "timestamp"
), late AS (
    INSERT INTO rescoring (building_id, meter, day)
    SELECT DISTINCT building_id, meter, date_trunc('day', "timestamp") + later * interval '1 day'
    FROM stored CROSS JOIN generate_series(0, 2) AS later
    WHERE "timestamp" <= (SELECT closed_until FROM scoring_state)
)
SELECT (SELECT count(*) FROM stored), (SELECT count(*) FROM kept)
"""


def load_demonstration(connection: Connection) -> None:
    """Load the shipped dump, once."""
    if not is_applied(connection, DUMP_VERSION):
        run_script(connection, DUMP)
        logger.info("loaded the demonstration's history", extra={"event": "history_loaded"})


def load_history(connection: Connection, folder: DataFolder) -> bool:
    """Bring ``history.csv``, and the weather of its time, into Postgres; once for each version of the file.

    The stream's rule holds: of all versions of a reading the greatest (known_at, value) stays, the others are kept.

    Returns:
        Whether there was something to load.
    """
    file = folder.find(HISTORY)
    if file is None:
        return False
    with file.open("rb") as stream:
        version = f"history {hashlib.file_digest(stream, 'sha256').hexdigest()[:16]}"
    if is_applied(connection, version):
        return False
    stored = older = 0
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE staged_history (LIKE readings) ON COMMIT DROP")
        cursor.execute("CREATE TEMPORARY TABLE staged_weather (LIKE weather) ON COMMIT DROP")
        last = _stage_readings(cursor, folder)
        if last is not None:
            _stage_weather(cursor, folder, last)
            stored, older = _store(cursor)
        cursor.execute("INSERT INTO schema_migrations (version) VALUES (%s)", (version,))
    logger.info(
        "loaded the history until %s: %d readings are new or corrected; %d older versions (lesser known_at, or value) "
        "are revisions", last, stored, older,
        extra={"event": "history_loaded", "readings": stored, "revisions": older},
    )  # fmt: skip
    return True


def _stage_readings(cursor: Any, folder: DataFolder) -> pd.Timestamp | None:
    """Copy all readings; returns the newest one's stamp."""
    last: pd.Timestamp | None = None
    interval = timedelta(seconds=folder.interval.seconds)
    for chunk in folder.readings("history"):
        chunk["known_at"] = chunk["known_at"].fillna(chunk["timestamp"] + interval)
        _copy(cursor, "staged_history", chunk)
        newest = chunk["timestamp"].max()
        last = newest if last is None else max(last, newest)
    return last


def _stage_weather(cursor: Any, folder: DataFolder, last: pd.Timestamp) -> None:
    weather = folder.weather()
    weather = weather[weather["timestamp"] <= last]
    known_at = weather["timestamp"] + timedelta(hours=1)
    _copy(cursor, "staged_weather", weather.assign(known_at=known_at, source="replay")[
        ["site_id", "timestamp", "known_at", "source", *QUANTITY_NAMES]
    ])  # fmt: skip


def _copy(cursor: Any, table: str, rows: pd.DataFrame) -> None:
    columns = ", ".join(f'"{column}"' for column in rows.columns)
    text = io.StringIO(rows.to_csv(index=False, header=False))
    cursor.copy_expert(f"COPY {table} ({columns}) FROM stdin (FORMAT csv)", text)


def _store(cursor: Any) -> tuple[int, int]:
    """Store what is staged; returns how many readings are new or corrected, and how many versions became revisions."""
    cursor.execute(
        'SELECT ensure_partitions(min("timestamp"), max("timestamp"))'
        ' FROM (SELECT "timestamp" FROM staged_history UNION ALL SELECT "timestamp" FROM staged_weather) staged'
    )
    cursor.execute(_STORE_READINGS)
    stored, older = cursor.fetchone()
    cursor.execute("INSERT INTO weather SELECT * FROM staged_weather ON CONFLICT DO NOTHING")
    cursor.execute("SELECT rebuild_hourly_totals()")
    return stored, older
