"""The import as a data folder: readings in UTC, in the units of their files, which meters.csv names."""

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv
from pydantic import BaseModel

from Sensor_core.building import Building, Meter
from Setup.data_folder import HISTORY, REPLAY
from Training_scripts.importing.readings import Records
from Training_scripts.importing.source import Source

_READINGS_HEADER: Final = b"building_id,meter,timestamp,meter_reading\n"
_BUILDING_COLUMNS: Final = ("site_id", "building_id", "primary_use", "square_feet", "year_built", "floor_count")
_SITE_COLUMNS: Final = ("site_id", "time_zone", "latitude", "longitude", "country", "stamps", "limit_kw")
_GZIP_LEVEL: Final = 4


def write_tables(source: Source, folder: Path) -> None:
    """Write sites, buildings and meters; the readings' stamps will be UTC."""
    folder.mkdir(parents=True, exist_ok=True)
    sites = [site.model_copy(update={"stamps": "utc"}) for site in source.sites.values()]
    _write_models(folder / "sites.csv", _SITE_COLUMNS, sites)
    _write_models(folder / "building_metadata.csv", _BUILDING_COLUMNS, _by_id(source.buildings.values()))
    _write_models(folder / "meters.csv", tuple(Meter.model_fields), source.meters)


def write_weather(weather: pd.DataFrame, folder: Path) -> None:
    """Write observations in ASHRAE's columns."""
    _remove(folder, "weather.csv")
    if len(weather):
        weather.to_csv(
            folder / "weather.csv.gz",
            index=False,
            date_format="%Y-%m-%d %H:%M:%S",
            compression={"method": "gzip", "mtime": 0, "compresslevel": _GZIP_LEVEL},
        )


class ReadingFiles:
    """``history.csv.gz`` and the replay of a data folder, split at a time.

    Args:
        folder: The data folder.
        replay_from_s: Readings before this are history, seconds since 1970; None: all are replayed.
    """

    def __init__(self, folder: Path, replay_from_s: float | None) -> None:
        self._split_s = replay_from_s
        (folder / REPLAY).parent.mkdir(parents=True, exist_ok=True)
        for name in (HISTORY, REPLAY):
            _remove(folder, name)
        names = [REPLAY] if replay_from_s is None else [REPLAY, HISTORY]
        self._streams: list[IO[bytes]] = [(folder / f"{name}.gz").open("wb") for name in names]
        for stream in self._streams:
            stream.write(_zipped(_READINGS_HEADER))

    def packed(self, records: Records) -> tuple[bytes, bytes]:
        """Replay and history of one week as gzip members, which may stand one behind the other in a file."""
        if self._split_s is None:
            return _zipped(_lines(records)), b""
        replayed = records["time_s"] >= self._split_s
        return _zipped(_lines(records[replayed])), _zipped(_lines(records[~replayed]))

    def append(self, packed: Sequence[bytes]) -> None:
        """Write what ``packed`` made; in the order of time."""
        for stream, part in zip(self._streams, packed, strict=False):
            stream.write(part)

    def close(self) -> None:
        """Finish the files."""
        for stream in self._streams:
            stream.close()


def _lines(records: Records) -> bytes:
    table = pa.table(
        {
            "building_id": np.ascontiguousarray(records["building_id"]),
            "meter": np.ascontiguousarray(records["meter"]),
            "timestamp": records["time_s"].astype("datetime64[s]"),
            "meter_reading": np.ascontiguousarray(records["value"]),
        }
    )
    text = io.BytesIO()
    arrow_csv.write_csv(table, text, arrow_csv.WriteOptions(include_header=False))
    return text.getvalue()


def _zipped(text: bytes) -> bytes:
    return gzip.compress(text, _GZIP_LEVEL, mtime=0) if text else b""


def _remove(folder: Path, name: str) -> None:
    """Files of an earlier import, which a reader might take instead."""
    for suffix in ("", ".gz"):
        (folder / f"{name}{suffix}").unlink(missing_ok=True)


def _by_id(buildings: Iterable[Building]) -> list[Building]:
    return sorted(buildings, key=lambda building: building.building_id)


def _write_models(file: Path, columns: Sequence[str], models: Iterable[BaseModel]) -> None:
    _remove(file.parent, file.name)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([getattr(model, column) for column in columns] for model in models)
