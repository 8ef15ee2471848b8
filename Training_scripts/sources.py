"""Where the past comes from: a data folder, or the warehouse."""

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Final, LiteralString

import pandas as pd
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case

from Sensor_core.interval import Interval
from Sensor_core.weather import QUANTITY_NAMES
from Setup.buildings_info import read_metadata
from Setup.data_folder import DataFolder
from Training_scripts.dataset import EnergyHistory, energy_history

logger = logging.getLogger(__name__)

_CHUNK_ROWS: Final = 200_000
_READINGS: Final = """
SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM readings WHERE "timestamp" > %(after)s
"""
_FIRST_OF_NEWEST: Final = """
SELECT max("timestamp") - %(step)s * (%(most)s / greatest(count(*), 1)) FROM latest_readings
"""
_WEATHER: Final = """
SELECT site_id, "timestamp", air_temperature_c, dew_temperature_c, cloud_coverage_oktas, precipitation_mm,
       sea_level_pressure_hpa, wind_direction_deg, wind_speed_m_s
FROM weather WHERE "timestamp" > %(after)s
"""


def history_of_folder(path: Path, interval: Interval, warn: Callable[[str], None] = logger.warning) -> EnergyHistory:
    """Read a data folder: its history, then its replay.

    Args:
        path: The folder.
        interval: The metering interval.
        warn: Told of readings that cannot be true, such as -9999, and what else is left out.

    Raises:
        DataFolderError: A file is missing or wrong.
    """
    folder = DataFolder(path, interval, warn)
    readings = chain(folder.readings("history", lenient=True), folder.readings("replay", lenient=True))
    sites = [folder.sites[site_id] for site_id in sorted(folder.sites)]
    return energy_history(interval, sites, folder.buildings, readings, folder.weather(), warn=warn)


def history_of_warehouse(connection: Connection, interval: Interval, most: int | None = None) -> EnergyHistory:
    """Read what Postgres holds.

    Args:
        connection: As the trainer.
        interval: The metering interval.
        most: Only the newest intervals, so that there are about so many readings at most; None: all.

    Raises:
        DataFolderError: It holds no readings.
    """
    metadata = read_metadata(connection)
    buildings = {building.building_id: building for building in metadata.buildings}
    span = {"after": _first_of_newest(connection, interval, most)}
    weather = pd.concat(_chunks(connection, _WEATHER, span, ("site_id", "timestamp", *QUANTITY_NAMES)))
    names = ("building_id", "meter", "timestamp", "meter_reading_kwh", "known_at")
    return energy_history(interval, metadata.sites, buildings, _chunks(connection, _READINGS, span, names), weather)


def _first_of_newest(connection: Connection, interval: Interval, most: int | None) -> datetime:
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_OF_NEWEST, {"step": timedelta(seconds=interval.seconds), "most": most})
        (first,) = cursor.fetchone() or (None,)
    return datetime.min.replace(tzinfo=UTC) if first is None else first


def _chunks(
    connection: Connection, query: LiteralString, span: Mapping[str, datetime], names: tuple[str, ...]
) -> Iterator[pd.DataFrame]:
    """Rows of a large table, a frame at a time, at least an empty one."""
    with connection.cursor(name="training") as cursor:
        cursor.itersize = _CHUNK_ROWS
        cursor.execute(query, span)
        while True:
            rows = cursor.fetchmany(_CHUNK_ROWS)
            yield _frame(rows, names)
            if len(rows) < _CHUNK_ROWS:
                return


def _frame(rows: list[tuple[Any, ...]], names: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(names))
    for name in ("timestamp", "known_at"):
        if name in names:
            frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame
