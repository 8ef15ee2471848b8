"""Where the past comes from: a data folder, or the warehouse."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Final, LiteralString

import numpy as np
import pandas as pd
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case

from Predictor.forecasting.snapshot import Ints, Sites
from Predictor.forecasting.weather_outlook import OUTLOOK
from Sensor_core.interval import HORIZON_H, SECONDS_PER_HOUR, Interval
from Sensor_core.weather import QUANTITY_NAMES
from Setup.buildings_info import read_metadata
from Setup.data_folder import DataFolder
from Training_scripts.dataset import EnergyHistory, energy_history, epoch_seconds
from Training_scripts.weather_versions import IssuedWeather, LateWeather

logger = logging.getLogger(__name__)

_CHUNK_ROWS: Final = 200_000
_READINGS: Final = """
SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM readings WHERE "timestamp" > %(after)s
"""
_FIRST_OF_NEWEST: Final = """
SELECT max("timestamp") - %(step)s * (%(most)s / greatest(count(*), 1)) FROM latest_readings
"""
_WEATHER: Final = """
SELECT site_id, "timestamp", known_at, air_temperature_c, dew_temperature_c, cloud_coverage_oktas, precipitation_mm,
       sea_level_pressure_hpa, wind_direction_deg, wind_speed_m_s
FROM (TABLE weather_revisions UNION ALL TABLE weather) versions WHERE "timestamp" > %(after)s
ORDER BY known_at
"""
_FORECAST_ROWS: Final = 5_000
_WEATHER_FORECASTS: Final = """
SELECT site_id, issued_at AS "timestamp", air_temperature_c, dew_temperature_c, cloud_coverage_oktas,
       precipitation_mm, sea_level_pressure_hpa, wind_direction_deg, wind_speed_m_s
FROM weather_forecasts WHERE issued_at > %(after)s AND source <> %(outlook)s ORDER BY issued_at
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
    span: dict[str, object] = {"after": _first_of_newest(connection, interval, most)}
    weather = pd.concat(_chunks(connection, _WEATHER, span, ("site_id", "timestamp", "known_at", *QUANTITY_NAMES)))
    columns = ("building_id", "meter", "timestamp", "meter_reading_kwh", "known_at")
    history = energy_history(
        interval, metadata.sites, buildings, _chunks(connection, _READINGS, span, columns), weather
    )
    # Those of the outlook are left out: it is made anew from what was observed.
    others = {**span, "outlook": OUTLOOK}
    forecasts = _chunks(
        connection, _WEATHER_FORECASTS, others, ("site_id", "timestamp", *QUANTITY_NAMES), _FORECAST_ROWS
    )
    return replace(
        history,
        late_weather=_late_weather(weather, history.sites),
        issued_weather=_issued_weather(forecasts, history.sites),
    )


def _late_weather(versions: pd.DataFrame, sites: Sites) -> LateWeather:
    site, hour, rows = _of_known_sites(versions, sites)
    values = rows[list(QUANTITY_NAMES)].to_numpy(dtype=np.float32)
    return LateWeather.among(LateWeather(site, hour, epoch_seconds(rows["known_at"]), values))


def _issued_weather(chunks: Iterable[pd.DataFrame], sites: Sites) -> IssuedWeather:
    parts = [_forecasts(chunk, sites) for chunk in chunks]
    joined = (np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(IssuedWeather))
    return IssuedWeather(*joined)


def _forecasts(rows: pd.DataFrame, sites: Sites) -> IssuedWeather:
    site, hour, rows = _of_known_sites(rows, sites)
    courses = [np.array(rows[name].to_list(), dtype=np.float32) for name in QUANTITY_NAMES]
    return IssuedWeather(site, hour, np.stack(courses, axis=-1).reshape(len(rows), HORIZON_H, len(QUANTITY_NAMES)))


def _of_known_sites(rows: pd.DataFrame, sites: Sites) -> tuple[Ints, Ints, pd.DataFrame]:
    """Position of the site, and hour since 1970, of the rows whose site is known."""
    place = {site_id: index for index, site_id in enumerate(sites.site_id)}
    rows = rows[rows["site_id"].isin(list(place))]
    site = np.asarray(rows["site_id"].map(place), dtype=np.int64)
    return site, epoch_seconds(rows["timestamp"]) // SECONDS_PER_HOUR, rows


def _first_of_newest(connection: Connection, interval: Interval, most: int | None) -> datetime:
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_OF_NEWEST, {"step": timedelta(seconds=interval.seconds), "most": most})
        (first,) = cursor.fetchone() or (None,)
    return datetime.min.replace(tzinfo=UTC) if first is None else first


def _chunks(
    connection: Connection,
    query: LiteralString,
    span: Mapping[str, object],
    names: tuple[str, ...],
    most: int | None = None,
) -> Iterator[pd.DataFrame]:
    """Rows of a large table, a frame at a time, at least an empty one."""
    size = most or _CHUNK_ROWS
    with connection.cursor(name="training") as cursor:
        cursor.itersize = size
        cursor.execute(query, span)
        while True:
            rows = cursor.fetchmany(size)
            yield _frame(rows, names)
            if len(rows) < size:
                return


def _frame(rows: list[tuple[Any, ...]], names: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(names))
    for name in ("timestamp", "known_at"):
        if name in names:
            frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame
