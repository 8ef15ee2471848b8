"""Files of readings as text: opened, checked, and read a chunk at a time by pandas, which alone is too lenient."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np
import pandas as pd

from Sensor_core.errors import DataFolderError

CHUNK_ROWS = 200_000
_NO_TABLE = (pd.errors.ParserError, pd.errors.EmptyDataError)
_READING_TYPES = {"building_id": "int64", "meter": "int64", "meter_reading": "float64"}
_NO_WHOLE_NUMBERS = {
    column: ["True", "TRUE", "true", "False", "FALSE", "false"]
    for column, kind in _READING_TYPES.items()
    if kind == "int64"
}


def _open(file: Path) -> IO[str]:
    if file.suffix == ".gz":
        return cast("IO[str]", gzip.open(file, "rt", newline="", encoding="utf-8-sig"))
    return file.open(newline="", encoding="utf-8-sig")


@contextmanager
def open_text(file: Path) -> Iterator[IO[str]]:
    """The file's text, and one error for what is none."""
    try:
        with _open(file) as stream:
            yield stream
    except (UnicodeDecodeError, csv.Error, *_NO_TABLE, EOFError, OSError, zlib.error) as error:
        raise DataFolderError(f"{file} is not CSV in UTF-8: {error}") from None


def columns_of(file: Path) -> list[str]:
    """The columns of a file of readings.

    Raises:
        DataFolderError: It lacks one, or they do not fit its lines.
    """
    with open_text(file) as stream:
        reader = csv.reader(stream)
        columns = next(reader, [])
        first = next((row for row in reader if "".join(row).strip()), [])
    require_columns(file, columns, {"building_id", "timestamp", "meter_reading"})
    if len(set(columns)) < len(columns) or len(first) > len(columns):  # pandas would rename them, or shift them
        raise DataFolderError(f"{file}, line 1: columns are named twice, or are fewer than those of the next line")
    return list(columns)


def require_columns(file: Path, columns: Sequence[str], required: set[str]) -> None:
    """Raise DataFolderError if a column is missing."""
    missing = sorted(required - set(columns))
    if missing:
        raise DataFolderError(
            f"{file}, line 1: column {missing[0]} is missing (there are: {', '.join(columns) or 'none'})"
        )


def reading_chunks(file: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    """Readings as the file has them; a meter that is not given is 0.

    Raises:
        DataFolderError: A cell is not of its column's type.
    """
    wanted = [c for c in ("building_id", "meter", "timestamp", "meter_reading", "known_at") if c in columns]
    types = {column: _READING_TYPES.get(column, "str") for column in columns}
    try:
        # Every column, though few are wanted: with ``usecols`` pandas lets lines pass that have too many.
        with pd.read_csv(
            file, dtype=types, chunksize=CHUNK_ROWS, encoding="utf-8-sig", na_values=_NO_WHOLE_NUMBERS
        ) as reader:
            while (chunk := _next(reader)) is not None:
                if chunk["meter_reading"].isin((0.0, 1.0)).all():  # of true and false pandas makes 1 and 0
                    _check_cells(file)
                chunk = chunk[wanted].copy()
                chunk["meter"] = chunk.get("meter", 0)
                chunk["known_at"] = chunk.get("known_at", "")
                yield chunk.reset_index(drop=True)
    except (ValueError, ArithmeticError, EOFError, OSError, zlib.error) as error:
        raise _diagnose(file, error) from None


def _next(reader: Iterator[pd.DataFrame]) -> pd.DataFrame | None:
    with np.errstate(invalid="raise"):  # a number that is none in its column's type
        return next(reader, None)


def _diagnose(file: Path, error: Exception) -> DataFolderError:
    """Find what the fast parser choked on."""
    try:
        _check_cells(file)
    except DataFolderError as found:
        return found
    return DataFolderError(f"{file}: {error}")


def _check_cells(file: Path) -> None:
    """Find the first cell that is no number and should be one."""
    with open_text(file) as stream:
        for line, row in enumerate(csv.DictReader(stream), start=2):
            for column, kind in _READING_TYPES.items():
                value = row.get(column) or ""
                if column not in row or (kind == "float64" and value == ""):
                    continue
                if not _parses(value, kind):
                    what = "a number" if kind == "float64" else "a whole number"
                    raise DataFolderError.at(file, line, column, value, f"is not {what}")


def _parses(value: str, kind: str) -> bool:
    try:
        int(value) if kind == "int64" else float(value)
    except ValueError:
        return False
    return True
