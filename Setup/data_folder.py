"""A data folder: metadata, weather and readings as files, brought to UTC and kWh.

Layout: ``Sensors/new_consumptions.csv`` (the replay), and beside it ``history.csv``, ``weather.csv``,
``building_metadata.csv``, ``sites.csv`` and ``meters.csv``. History, weather and meters may be absent, any
file may be gzipped (``.csv.gz``).
"""

import csv
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from Sensor_core.building import Building, Meter, Site
from Sensor_core.errors import DataFolderError
from Sensor_core.interval import Interval
from Sensor_core.reading import EARLIEST, LATEST, MAX_BUILDING_ID, MAX_KWH, METER_NAMES
from Sensor_core.weather import QUANTITIES
from Setup.csv_text import columns_of, open_text, reading_chunks, require_columns
from Setup.local_stamps import StampConverter, parse_times

REPLAY, HISTORY = "Sensors/new_consumptions.csv", "history.csv"
Row = TypeVar("Row", bound=BaseModel)


class DataFolder:
    """The files of one folder; nothing is read before it is asked for."""

    def __init__(self, path: Path, interval: Interval) -> None:
        if not path.is_dir():
            raise DataFolderError(f"{path} is not a folder; DATA_DIR or --data has to name a data folder")
        self.path = path
        self.interval = interval

    @cached_property
    def sites(self) -> dict[int, Site]:
        """Sites by id, from sites.csv."""
        return {site.site_id: site for site in self._rows("sites.csv", Site)}

    @cached_property
    def buildings(self) -> dict[int, Building]:
        """Buildings by id, from building_metadata.csv."""
        buildings = {building.building_id: building for building in self._rows("building_metadata.csv", Building)}
        for building in buildings.values():
            if building.site_id not in self.sites:
                raise DataFolderError(
                    f"{self.path / 'building_metadata.csv'}: building {building.building_id} stands on site "
                    f"{building.site_id}, which sites.csv does not have"
                )
        return buildings

    @cached_property
    def meters(self) -> dict[tuple[int, int], Meter]:
        """Declared meters by building and meter code, from meters.csv; the others count kWh."""
        if self.find("meters.csv") is None:
            return {}
        return {(meter.building_id, meter.meter): meter for meter in self._rows("meters.csv", Meter)}

    def find(self, name: str) -> Path | None:
        """The file of this name, plain or gzipped, if there is one."""
        plain = self.path / name
        zipped = plain.with_name(plain.name + ".gz")
        return plain if plain.exists() else zipped if zipped.exists() else None

    def require(self, name: str) -> Path:
        """The file of this name.

        Raises:
            DataFolderError: It does not exist.
        """
        file = self.find(name)
        if file is None:
            raise DataFolderError(f"{self.path / name} (or {name}.gz) does not exist")
        return file

    def readings(self, which: Literal["history", "replay"]) -> Iterator[pd.DataFrame]:
        """Readings in the order of the file, a chunk at a time; empty cells are left out.

        Yields:
            building_id, meter, timestamp (UTC), meter_reading_kwh, known_at (UTC, NaT where not given).

        Raises:
            DataFolderError: A column is missing, or a cell is nothing that a reading may have.
        """
        name = REPLAY if which == "replay" else HISTORY
        if which == "history" and self.find(name) is None:
            return
        file = self.require(name)
        converter = StampConverter(self.sites, {b.building_id: b.site_id for b in self.buildings.values()})
        factors = _Factors(self.meters)
        line = 2
        for chunk in reading_chunks(file, columns_of(file)):
            yield _convert(chunk, (file, line, self.interval), converter, factors)
            line += len(chunk)

    def weather(self) -> pd.DataFrame:
        """Observed weather, hourly; values that cannot be true (sentinels such as -9999) are missing.

        Returns:
            site_id, timestamp (UTC, the nearest hour), and the columns of ``QUANTITY_NAMES``; sorted, one row
            a site and hour. Empty where there is no weather.csv.
        """
        file = self.find("weather.csv")
        names = ["site_id", "timestamp", *(q.name for q in QUANTITIES)]
        if file is None:
            return pd.DataFrame(columns=names).astype({"timestamp": "datetime64[ns, UTC]"})
        table = _read_weather(file)
        for quantity in QUANTITIES:
            values = table[quantity.ashrae_column]
            table[quantity.name] = values.where(values.between(quantity.lowest, quantity.highest))
        table["timestamp"] = table["timestamp"].dt.round("h").astype("datetime64[ns, UTC]")
        table = table[names].sort_values(["site_id", "timestamp"], kind="stable")
        # Of several observations rounded to one hour the first that has a value counts, quantity by quantity.
        return table.groupby(["site_id", "timestamp"], as_index=False).first().astype({"site_id": "int64"})

    def _rows(self, name: str, model: type[Row]) -> Iterator[Row]:
        file = self.require(name)
        with open_text(file) as stream:
            reader = csv.DictReader(stream)
            required = {field for field, info in model.model_fields.items() if info.is_required()}
            require_columns(file, reader.fieldnames or [], required)
            for line, row in enumerate(reader, start=2):
                yield _parse_row(file, line, row, model)


def _parse_row(file: Path, line: int, row: dict[str, str], model: type[Row]) -> Row:
    given = {column: value for column, value in row.items() if column and value not in {"", None}}
    for column in ("floor_count", "year_built"):  # ASHRAE writes whole numbers as 2.0
        if column in given:
            given[column] = given[column].removesuffix(".0")
    try:
        return model.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        column = str(problem["loc"][0])
        text = problem["msg"].removeprefix("Value error, ")
        raise DataFolderError.at(file, line, column, row.get(column), text) from None


class _Factors:
    """Factors from file numbers to kWh, looked up for whole chunks."""

    def __init__(self, meters: dict[tuple[int, int], Meter]) -> None:
        self._series = pd.Series(
            {building * 4 + meter: declared.kwh_per_count for (building, meter), declared in meters.items()},
            dtype="float64",
        )

    def of(self, building_id: pd.Series, meter: pd.Series) -> np.ndarray:
        return (building_id * 4 + meter).map(self._series).fillna(1.0).to_numpy()


def _convert(
    chunk: pd.DataFrame, source: tuple[Path, int, Interval], converter: StampConverter, factors: _Factors
) -> pd.DataFrame:
    file, first_line, interval = source

    def check(column: str, is_valid: pd.Series | np.ndarray, problem: str) -> None:
        wrong = np.flatnonzero(~np.asarray(is_valid, dtype=bool))
        if wrong.size:
            row = int(wrong[0])
            raise DataFolderError.at(file, first_line + row, column, chunk[column].iloc[row], problem)

    check("building_id", chunk["building_id"].between(0, MAX_BUILDING_ID), "is no building id")
    check("meter", chunk["meter"].between(0, len(METER_NAMES) - 1), "is not a meter code, 0 to 3")
    timestamp, problem = converter.to_utc(chunk["building_id"], chunk["meter"], chunk["timestamp"])
    if problem is not None:
        row, text = problem
        raise DataFolderError.at(file, first_line + row, "timestamp", chunk["timestamp"].iloc[row], text)
    known_at = _known_at(chunk, file, first_line)
    kwh = chunk["meter_reading"].to_numpy() * factors.of(chunk["building_id"], chunk["meter"])
    is_missing = np.isnan(kwh)
    earliest, latest = pd.Timestamp(EARLIEST), pd.Timestamp(LATEST)
    check("timestamp", (timestamp >= earliest) & (timestamp < latest), "is not between 1990 and 2100")
    is_on_grid = timestamp == timestamp.floor(f"{interval.seconds}s")
    check("timestamp", is_on_grid, f"is not the start of an interval of {interval.seconds} s (METER_INTERVAL_S)")
    check("known_at", known_at.isna() | (known_at >= earliest) & (known_at < latest), "is not between 1990 and 2100")
    check("meter_reading", is_missing | (kwh >= 0) & (kwh <= MAX_KWH), f"is not between 0 and {MAX_KWH:.0e} kWh")
    readings = pd.DataFrame(
        {
            "building_id": chunk["building_id"],
            "meter": chunk["meter"],
            "timestamp": timestamp,
            "meter_reading_kwh": kwh,
            "known_at": known_at,
        }
    )
    known: pd.DataFrame = readings.loc[~is_missing]
    return known


def _known_at(chunk: pd.DataFrame, file: Path, first_line: int) -> pd.Series:
    given = chunk["known_at"]
    known_at = parse_times(given)
    broken = np.flatnonzero(known_at.isna().to_numpy() & (given.fillna("") != "").to_numpy())
    if broken.size:
        row = int(broken[0])
        raise DataFolderError.at(file, first_line + row, "known_at", given.iloc[row], "is not a time")
    return known_at


def _read_weather(file: Path) -> pd.DataFrame:
    columns = ["site_id", "timestamp", *(quantity.ashrae_column for quantity in QUANTITIES)]
    with open_text(file) as stream:
        table = pd.read_csv(stream, dtype="str")
    require_columns(file, list(table.columns), {"site_id", "timestamp", "air_temperature"})
    texts = table.reindex(columns=columns)
    numbers = {column: pd.to_numeric(texts[column], errors="coerce").astype("float64") for column in columns}
    site_id, timestamp = numbers["site_id"], parse_times(texts["timestamp"])
    checks = {column: (numbers[column].notna() | texts[column].isna(), "is not a number") for column in columns} | {
        "site_id": ((site_id >= 0) & (site_id % 1 == 0) | texts["site_id"].isna(), "is no site id"),
        "timestamp": (
            (timestamp >= pd.Timestamp(EARLIEST)) & (timestamp < pd.Timestamp(LATEST)) | texts["timestamp"].isna(),
            "is not a time between 1990 and 2100",
        ),
    }
    for column, (is_valid, problem) in checks.items():
        wrong = np.flatnonzero(~is_valid.to_numpy())
        if wrong.size:
            row = int(wrong[0])
            raise DataFolderError.at(file, row + 2, column, texts[column].iloc[row], problem)
    return pd.DataFrame(numbers | {"timestamp": timestamp})
