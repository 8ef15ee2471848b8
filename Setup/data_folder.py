"""A data folder: metadata, weather and readings as files, brought to UTC and kWh.

Layout: ``Sensors/new_consumptions.csv`` (the replay), and beside it ``history.csv``, ``weather.csv``,
``building_metadata.csv``, ``sites.csv`` and ``meters.csv``. History, weather and meters may be absent, any
file may be gzipped (``.csv.gz``).
"""

import csv
import logging
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from Sensor_core.building import Building, Meter, Site
from Sensor_core.errors import DataFolderError
from Sensor_core.interval import Interval
from Sensor_core.reading import EARLIEST, LATEST
from Sensor_core.weather import QUANTITIES
from Setup.csv_text import columns_of, open_text, reading_chunks, require_columns
from Setup.local_stamps import StampConverter, parse_times
from Setup.reading_rows import CheckedRows, Factors, LeftOut, to_readings

logger = logging.getLogger(__name__)

REPLAY, HISTORY = "Sensors/new_consumptions.csv", "history.csv"
_WHOLE = ("floor_count", "year_built")
_MAY_BE_UNKNOWN = ("square_feet", *_WHOLE)
Row = TypeVar("Row", bound=BaseModel)


class DataFolder:
    """The files of one folder; nothing is read before it is asked for.

    Args:
        path: The folder.
        interval: The metering interval.
        warn: Told what is left out and yet no error.
    """

    def __init__(self, path: Path, interval: Interval, warn: Callable[[str], None] = logger.warning) -> None:
        if not path.is_dir():
            raise DataFolderError(f"{path} is not a folder; DATA_DIR or --data has to name a data folder")
        self.path = path
        self.interval = interval
        self._warn = warn

    @cached_property
    def sites(self) -> dict[int, Site]:
        """Sites by id, from sites.csv."""
        return {site.site_id: site for site in self._rows("sites.csv", Site)}

    @cached_property
    def buildings(self) -> dict[int, Building]:
        """Buildings by id, from building_metadata.csv; sizes and years that cannot be true are unknown."""
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

    def readings(self, which: Literal["history", "replay"], *, lenient: bool = False) -> Iterator[pd.DataFrame]:
        """Readings in the order of the file, a chunk at a time; empty cells are left out.

        Args:
            which: Which of the two files.
            lenient: Leave out what is nothing that a reading may have, and warn of it at the end.

        Yields:
            building_id, meter, timestamp (UTC), meter_reading_kwh, known_at (UTC, NaT where not given).

        Raises:
            DataFolderError: A column is missing, or a cell is nothing that a reading may have.
        """
        name = REPLAY if which == "replay" else HISTORY
        if which == "history" and self.find(name) is None:
            return
        file = self.require(name)
        site_of = {building.building_id: building.site_id for building in self.buildings.values()}
        converter = StampConverter(self.sites, site_of, self.interval)
        factors, left_out = Factors(self.meters), LeftOut() if lenient else None
        line = 2
        for chunk in reading_chunks(file, columns_of(file)):
            yield to_readings(CheckedRows(file, line, chunk, left_out), self.interval, converter, factors)
            line += len(chunk)
        for text in left_out.texts() if left_out else ():
            self._warn(text)

    def weather(self) -> pd.DataFrame:
        """Observed weather, hourly; values that cannot be true (-9999, or an M for missing) are missing.

        Returns:
            site_id, timestamp (UTC, the nearest hour), and the columns of ``QUANTITY_NAMES``; sorted, one row
            a site and hour. Empty where there is no weather.csv.
        """
        file = self.find("weather.csv")
        names = ["site_id", "timestamp", *(q.name for q in QUANTITIES)]
        if file is None:
            return pd.DataFrame(columns=names).astype({"timestamp": "datetime64[ns, UTC]"})
        table = _read_weather(file, self._warn)
        for quantity in QUANTITIES:
            values = table[quantity.ashrae_column]
            table[quantity.name] = values.where(values.between(quantity.lowest, quantity.highest))
        # Half past belongs to the next hour, always: ``round`` would take every other one to the hour before.
        nearest = (table["timestamp"] + pd.Timedelta(minutes=30)).dt.floor("h")
        table["timestamp"] = nearest.astype("datetime64[ns, UTC]")
        table = table[names].sort_values(["site_id", "timestamp"], kind="stable")
        # Of several observations rounded to one hour the first that has a value counts, quantity by quantity.
        return table.groupby(["site_id", "timestamp"], as_index=False).first().astype({"site_id": "int64"})

    def _rows(self, name: str, model: type[Row]) -> Iterator[Row]:
        file = self.require(name)
        with open_text(file) as stream:
            reader = csv.DictReader(stream)
            required = {field for field, info in model.model_fields.items() if info.is_required()}
            require_columns(file, reader.fieldnames or [], required)
            left_out = LeftOut()
            for line, row in enumerate(reader, start=2):
                yield _parse_row(file, line, row, model, left_out)
            for text in left_out.texts():
                self._warn(text)


def _parse_row(file: Path, line: int, row: dict[str, str], model: type[Row], left_out: LeftOut) -> Row:
    given = {column: value for column, value in row.items() if column and value not in {"", None}}
    for column in _WHOLE:  # ASHRAE writes whole numbers as 2.0
        if column in given:
            given[column] = given[column].removesuffix(".0")
    while True:
        try:
            return model.model_validate(given)
        except ValidationError as error:
            problem = error.errors()[0]
            column = str(problem["loc"][0])
            text = problem["msg"].removeprefix("Value error, ")
            found = DataFolderError.at(file, line, column, row.get(column), text)
            if column not in _MAY_BE_UNKNOWN:
                raise found from None
            left_out.add((file, column, text), found)
            del given[column]


def _read_weather(file: Path, warn: Callable[[str], None]) -> pd.DataFrame:
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
    left_out = LeftOut()
    for column, (is_valid, problem) in checks.items():
        wrong = np.flatnonzero(~is_valid.to_numpy())
        if wrong.size:
            row = int(wrong[0])
            found = DataFolderError.at(file, row + 2, column, texts[column].iloc[row], problem)
            if column in {"site_id", "timestamp"}:
                raise found
            left_out.add((file, column, problem), found, wrong.size)
    for text in left_out.texts():
        warn(text)
    return pd.DataFrame(numbers | {"timestamp": timestamp})
