"""Writes a world as a data folder: CSV files in ASHRAE's columns, row by row, the same bytes every time."""

import csv
import gzip
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import numpy as np
from pydantic import BaseModel

from Sensor_core.building import Site
from Sensor_core.weather import QUANTITIES
from Training_scripts.simulation.anomalies import Label
from Training_scripts.simulation.local_time import file_clock_s
from Training_scripts.simulation.plan import Integers, Plan
from Training_scripts.simulation.weather import Weather
from Training_scripts.simulation.world import Track, World

_READING_COLUMNS: Final = "building_id,meter,timestamp,meter_reading\n"
_BUILDING_COLUMNS: Final = (
    "site_id",
    "building_id",
    "primary_use",
    "square_feet",
    "year_built",
    "floor_count",
)
_WEATHER_COLUMNS: Final = (
    "air_temperature",
    "cloud_coverage",
    "dew_temperature",
    "precip_depth_1_hr",
    "sea_level_pressure",
    "wind_direction",
    "wind_speed",
)
_ABSENT: Final = -1
_GZIP_LEVEL: Final = 6


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a file to write; ``.gz`` compresses, without the time of day in its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as raw:
        if path.suffix != ".gz":
            with io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
                yield text
            return
        with (
            gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
        ):
            yield text


def write_tables(world: World, folder: Path) -> None:
    """Write sites, buildings, units and the labels of the anomalies."""
    _write_models(folder / "sites.csv", tuple(Site.model_fields), world.sites)
    _write_models(folder / "building_metadata.csv", _BUILDING_COLUMNS, world.buildings)
    converted = [meter for meter in world.meters if meter.unit != "kWh"]
    _write_models(folder / "meters.csv", ("building_id", "meter", "unit"), converted)
    labels = (
        (meter.building_id, meter.meter, label.kind, *_span(world.plan, label))
        for meter, labels in zip(world.meters, world.labels, strict=True)
        for label in labels
    )
    _write_rows(folder / "anomaly_labels.csv", ("building_id", "meter", "kind", "start", "end"), labels)


def write_weather(sites: Sequence[Weather], path: Path) -> None:
    """Write the measured weather in ASHRAE's columns, site by site, stamps in UTC."""
    ours = [quantity.ashrae_column for quantity in QUANTITIES]
    places = [ours.index(column) for column in _WEATHER_COLUMNS]
    with open_text(path) as file:
        file.write(",".join(["site_id", "timestamp", *_WEATHER_COLUMNS]) + "\n")
        for site_id, weather in enumerate(sites):
            for stamp, cells in measured_hours(weather, len(weather.times_s)):
                file.write(f"{site_id},{stamp},{','.join(cells[place] for place in places)}\n")


def measured_hours(weather: Weather, hours: int, blank: str = "") -> Iterator[tuple[str, list[str]]]:
    """Stamp (UTC) and cells of the first hours that the station measured anything in."""
    for stamp, row in zip(utc_texts(weather.times_s[:hours]), weather.measured[:hours].tolist(), strict=True):
        cells = [blank if math.isnan(value) else repr(value) for value in row]
        if any(cell != blank for cell in cells):
            yield stamp, cells


def utc_texts(times_s: Integers) -> list[str]:
    """Stamps as ASHRAE writes them: ``2016-01-01 00:00:00``."""
    texts = np.datetime_as_string(times_s.astype("datetime64[s]"), unit="s").tolist()
    return [text.replace("T", " ") for text in texts]


def write_readings(world: World, path: Path, first: int, last: int, track: Track) -> None:
    """Write the readings of some steps, ordered by stamp, building and meter.

    Args:
        world: Gives readings and clocks.
        path: ``history.csv`` or the replay; ``.gz`` compresses.
        first: First step.
        last: Past the last step.
        track: Iterates over the stamps and shows how far it is.
    """
    stamps, step_at = _steps_by_stamp(world, first, last)
    twice = step_at.shape[-1]
    columns = np.repeat(np.arange(len(world.meters)), twice)
    heads = np.array([f"{one.building_id},{one.meter}," for one in world.meters], dtype=object)[columns]
    site_of_meter = world.site_of_meter
    with open_text(path) as file:
        file.write(_READING_COLUMNS)
        for row in track(range(len(stamps)), f"writing {path.name}"):
            steps = step_at[row][site_of_meter].ravel()
            shown = world.shown(steps, columns)
            there = (steps != _ABSENT) & ~np.isnan(shown)
            there[1::2] &= there[::2]  # alone, the second of a doubled hour would be taken for the first
            lines = zip(heads[there].tolist(), shown[there].tolist(), strict=True)
            file.write("".join([f"{head}{stamps[row]},{value!r}\n" for head, value in lines]))


def _steps_by_stamp(world: World, first: int, last: int) -> tuple[list[str], Integers]:
    """Which step each site's files mean by a stamp.

    Returns:
        The stamps in order, and the steps that they mean, shape (stamps, sites, 2): a doubled hour means two,
        summer time first, and a skipped one none (-1).
    """
    times_s = world.plan.times_s[first:last]
    clocks_s = [file_clock_s(site, times_s) for site in world.sites]
    stamps_s = np.unique(np.concatenate(clocks_s))
    step_at = np.full((len(stamps_s), len(clocks_s), 2), _ABSENT, dtype=np.int64)
    for site_id, clock_s in enumerate(clocks_s):
        order = np.argsort(clock_s, kind="stable")
        row = np.searchsorted(stamps_s, clock_s[order])
        occurrence = np.arange(len(row)) - np.searchsorted(row, row)
        step_at[row, site_id, occurrence] = first + order
    return utc_texts(stamps_s), step_at


def _span(plan: Plan, label: Label) -> list[str]:
    interval_s = plan.interval.seconds
    return utc_texts(plan.times_s[0] + np.array([label.start, label.end], dtype=np.int64) * interval_s)


def _write_models(path: Path, columns: Sequence[str], models: Iterable[BaseModel]) -> None:
    _write_rows(path, columns, ([_plain(getattr(model, column)) for column in columns] for model in models))


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _write_rows(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    with open_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
