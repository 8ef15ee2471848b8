"""Rows of a file of readings, checked cell by cell, in UTC and kWh."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from Sensor_core.building import Meter
from Sensor_core.errors import DataFolderError
from Sensor_core.interval import SECONDS_PER_HOUR, Interval
from Sensor_core.reading import EARLIEST, LATEST, MAX_BUILDING_ID, MAX_KWH, METER_NAMES
from Setup.local_stamps import StampConverter, parse_times

_STRAY_SHARE = 0.1
"""If more of the rows lie off the grid, the grid is the wrong one."""


class LeftOut:
    """Cells that cannot be true, by what is wrong with them: the first one of each kind, and how many there are."""

    def __init__(self) -> None:
        self._first: dict[tuple[Path, str, str], str] = {}
        self._count = Counter[tuple[Path, str, str]]()

    def add(self, kind: tuple[Path, str, str], first: DataFolderError, count: int = 1) -> None:
        """Count cells of a kind: file, column and problem."""
        self._first.setdefault(kind, str(first))
        self._count[kind] += count

    def texts(self) -> list[str]:
        """A sentence for each kind."""
        return [f"{first}: left out, as {self._count[kind]} in all" for kind, first in self._first.items()]


class Factors:
    """Factors from file numbers to kWh, looked up for whole chunks."""

    def __init__(self, meters: dict[tuple[int, int], Meter]) -> None:
        self._series = pd.Series(
            {building * 4 + meter: declared.kwh_per_count for (building, meter), declared in meters.items()},
            dtype="float64",
        )

    def of(self, building_id: pd.Series, meter: pd.Series) -> np.ndarray:
        """The factor of each row; 1 for a meter that is not declared."""
        return (building_id * 4 + meter).map(self._series).fillna(1.0).to_numpy()


class CheckedRows:
    """Rows of a file of readings, checked column by column: a wrong cell raises, or its row is left out."""

    def __init__(self, file: Path, first_line: int, chunk: pd.DataFrame, left_out: LeftOut | None) -> None:
        self.chunk = chunk
        self.sound = np.ones(len(chunk), dtype=bool)
        self._file = file
        self._first_line = first_line
        self._left_out = left_out

    def check(
        self, column: str, is_valid: pd.Series | np.ndarray, problem: str, *, most: float = 1.0, cure: str = ""
    ) -> None:
        """Check a column of those rows that are sound so far.

        Args:
            column: The column's name.
            is_valid: What is right of it, a flag a row.
            problem: What is wrong with the others.
            most: Share of rows that may be left out at most.
            cure: What helps, for the error.

        Raises:
            DataFolderError: A cell is wrong and nothing may be left out, or too many are.
        """
        wrong = np.flatnonzero(self.sound & ~np.asarray(is_valid, dtype=bool))
        if not wrong.size:
            return
        row = int(wrong[0])
        (value,) = self.chunk[column].iloc[row : row + 1].tolist()
        place = self._file, self._first_line + row, column, value
        if self._left_out is None or wrong.size > most * len(self.chunk):
            raise DataFolderError.at(*place, problem + cure)
        self.sound[wrong] = False
        self._left_out.add((self._file, column, problem), DataFolderError.at(*place, problem), wrong.size)


def to_readings(rows: CheckedRows, interval: Interval, converter: StampConverter, factors: Factors) -> pd.DataFrame:
    """Readings in UTC and kWh: see ``DataFolder.readings``."""
    chunk, check = rows.chunk, rows.check
    check("building_id", chunk["building_id"].between(0, MAX_BUILDING_ID), "is no building id")
    check("meter", chunk["meter"].between(0, len(METER_NAMES) - 1), "is not a meter code, 0 to 3")
    kwh = chunk["meter_reading"].to_numpy() * factors.of(chunk["building_id"], chunk["meter"])
    is_missing = np.isnan(kwh)
    timestamp, problems = converter.to_utc(chunk["building_id"], chunk["meter"], chunk["timestamp"])
    for number, (wrong, problem) in enumerate(problems):
        # That nothing was read in an hour that is none is no mistake.
        check("timestamp", ~wrong | is_missing if number else ~wrong, problem)
    known_at = parse_times(chunk["known_at"])
    check("known_at", known_at.notna() | (chunk["known_at"].fillna("") == ""), "is not a time")
    earliest, latest = pd.Timestamp(EARLIEST), pd.Timestamp(LATEST)
    check("timestamp", (timestamp >= earliest) & (timestamp < latest), "is not between 1990 and 2100")
    is_on_grid = timestamp == timestamp.floor(f"{interval.seconds}s")
    setting = "" if is_on_grid.all() else _right_interval(timestamp, interval)
    off_grid = f"is not the start of an interval of {interval.seconds} s"
    check("timestamp", is_on_grid, off_grid, most=_STRAY_SHARE, cure=setting)
    check("known_at", known_at.isna() | (known_at >= earliest) & (known_at < latest), "is not between 1990 and 2100")
    check(
        "meter_reading",
        is_missing | (kwh >= 0) & (kwh <= MAX_KWH),
        f"is not between 0 and {MAX_KWH:.0e} kWh",
        cure="; an empty cell is a hole, and energy-import leaves such rows of other people's files out",
    )
    readings = pd.DataFrame(
        {
            "building_id": chunk["building_id"],
            "meter": chunk["meter"],
            "timestamp": timestamp,
            "meter_reading_kwh": kwh,
            "known_at": known_at,
        }
    )
    known: pd.DataFrame = readings.loc[rows.sound & ~is_missing]
    return known


def _right_interval(timestamp: pd.DatetimeIndex, interval: Interval) -> str:
    """Name the setting, and what it has to be if the stamps are closer to each other."""
    apart_ns = np.diff(np.unique(timestamp.to_numpy("datetime64[ns]").astype("int64")))
    apart_s = int(np.median(apart_ns)) // 10**9 if apart_ns.size else 0
    if 0 < apart_s < interval.seconds and SECONDS_PER_HOUR % apart_s == 0:
        return f" (METER_INTERVAL_S): the stamps are {apart_s} s apart, set METER_INTERVAL_S={apart_s}"
    return " (METER_INTERVAL_S)"
