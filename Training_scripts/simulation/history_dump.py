"""Writes a world's history as SQL that fills the warehouse: UTC, kWh, m².

One transaction of plain statements and ``COPY ... FROM stdin`` blocks, as psql reads them. The schema's own
functions make partitions before and totals after.
"""

import math
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from Sensor_core.building import Site
from Sensor_core.weather import QUANTITY_NAMES
from Training_scripts.simulation.data_folder import measured_hours, open_text, utc_texts
from Training_scripts.simulation.world import Track, World

_NULL: Final = "\\N"
_TIMESTAMP: Final = '"timestamp"'
_KWH_DECIMALS: Final = 3
SOURCE: Final = "replay"
"""What the table weather names as the source of its rows: the same as of those that the replay adds."""
VERSION: Final = "0090_history"
"""What the dump leaves in schema_migrations, so that it is loaded once."""


def write_dump(world: World, path: Path, track: Track) -> None:
    """Write sites, buildings, meters, and readings and weather before the split.

    Args:
        world: What to write.
        path: The SQL file; ``.gz`` compresses.
        track: Iterates over the meters and shows how far it is.
    """
    plan = world.plan
    with open_text(path) as file:
        file.write("BEGIN;\n")
        file.write(f"SELECT ensure_partitions('{_moment(plan.start)}', '{_moment(plan.split)}');\n")
        _write_metadata(world, file)
        _write_weather(world, file)
        _write_readings(world, file, track)
        file.write("SELECT rebuild_hourly_totals();\n")
        file.write(f"INSERT INTO schema_migrations (version) VALUES ('{VERSION}');\n")
        file.write("COMMIT;\n")


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}+00"


def _write_metadata(world: World, file: TextIO) -> None:
    _copy(file, "sites", tuple(Site.model_fields), (site.model_dump().values() for site in world.sites))
    columns = ("building_id", "site_id", "primary_use", "floor_area_m2", "year_built", "floor_count")
    buildings = ([getattr(building, column) for column in columns] for building in world.buildings)
    _copy(file, "buildings", columns, buildings)
    meters = ((meter.building_id, meter.meter, meter.unit) for meter in world.meters)
    _copy(file, "meters", ("building_id", "meter", "unit"), meters)


def _write_weather(world: World, file: TextIO) -> None:
    """Through a staging table: what every row would repeat need not be in the file."""
    quantities = ", ".join(QUANTITY_NAMES)
    file.write("CREATE TEMPORARY TABLE dumped_weather (LIKE weather) ON COMMIT DROP;\n")
    file.write("ALTER TABLE dumped_weather ALTER known_at DROP NOT NULL, ALTER source DROP NOT NULL;\n")
    rows = (
        (site_id, f"{stamp}+00", *cells)
        for site_id, weather in enumerate(world.weather)
        for stamp, cells in measured_hours(weather, world.plan.history_hours, _NULL)
    )
    _copy(file, "dumped_weather", ("site_id", _TIMESTAMP, *QUANTITY_NAMES), rows)
    file.write(
        f"INSERT INTO weather (site_id, {_TIMESTAMP}, known_at, source, {quantities})\n"
        f"SELECT site_id, {_TIMESTAMP}, {_TIMESTAMP} + interval '1 hour', '{SOURCE}', {quantities}\n"
        "FROM dumped_weather;\n"
    )


def _write_readings(world: World, file: TextIO, track: Track) -> None:
    """Meter by meter, which packs best; a reading is known when its interval is over."""
    columns = f"building_id, meter, {_TIMESTAMP}, meter_reading_kwh"
    file.write("CREATE TEMPORARY TABLE dumped_readings (LIKE readings) ON COMMIT DROP;\n")
    file.write("ALTER TABLE dumped_readings ALTER known_at DROP NOT NULL;\n")
    file.write(f"COPY dumped_readings ({columns}) FROM stdin;\n")
    stamps = utc_texts(world.plan.times_s[: world.plan.history_steps])
    file.writelines(
        _meter_lines(world, column, stamps) for column in track(range(len(world.meters)), "writing the dump")
    )
    file.write(
        "\\.\n"
        f"INSERT INTO readings ({columns}, known_at)\n"
        f"SELECT {columns}, {_TIMESTAMP} + interval '{world.plan.interval.seconds} seconds'\n"
        "FROM dumped_readings;\n"
    )


def _meter_lines(world: World, column: int, stamps: list[str]) -> str:
    meter = world.meters[column]
    kwh = np.round(world.shown(slice(len(stamps)), column) * meter.kwh_per_count, _KWH_DECIMALS)
    head = f"{meter.building_id}\t{meter.meter}\t"
    pairs = zip(stamps, kwh.tolist(), strict=True)
    return "".join([f"{head}{stamp}+00\t{value!r}\n" for stamp, value in pairs if not math.isnan(value)])


def _copy(file: TextIO, table: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    file.write(f"COPY {table} ({', '.join(columns)}) FROM stdin;\n")
    file.writelines("\t".join(_NULL if value is None else str(value) for value in row) + "\n" for row in rows)
    file.write("\\.\n")
