"""Rows of a building metadata file; what cannot be true of a building is left open and told."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from Sensor_core.building import Building
from Sensor_core.errors import DataFolderError
from Training_scripts.importing.csv_blocks import header_of, require_columns
from Training_scripts.importing.findings import Findings
from Training_scripts.importing.source import opened

_WHOLE: Final = ("year_built", "floor_count")
_OPTIONAL: Final = ("primary_use", "square_feet", *_WHOLE)
Row = tuple[int, Mapping[str, str]]


def metadata_rows(file: Path, *needed: str) -> Iterator[Row]:
    """Line number and cells of each row.

    Raises:
        DataFolderError: A column is missing.
    """
    require_columns(file, header_of(file), *needed)
    with opened(file) as stream:
        for line, row in enumerate(csv.DictReader(stream), start=2):
            yield line, {column: value or "" for column, value in row.items() if isinstance(column, str)}


def building_of(
    file: Path, line: int, cells: Mapping[str, str], columns: Mapping[str, str], findings: Findings
) -> Building:
    """Make a building of a row.

    Args:
        file: Where the row stands, for errors.
        line: Its line.
        cells: building_id and site_id, and whatever else ``columns`` names.
        columns: The file's name of each of our columns.
        findings: Told of cells that are left out because they cannot be true.

    Raises:
        DataFolderError: The building or its site has no number.
    """
    given = {ours: cells[theirs].strip() for ours, theirs in columns.items() if cells.get(theirs, "").strip()}
    for column in _WHOLE:  # both data sets write whole numbers as 2.0
        if column in given:
            given[column] = given[column].removesuffix(".0")
    while True:
        try:
            return Building.model_validate(given)
        except ValidationError as error:
            problem = error.errors()[0]
            column, text = str(problem["loc"][0]), problem["msg"]
            theirs = columns.get(column, column)
            if column not in _OPTIONAL:
                raise DataFolderError.at(file, line, theirs, cells.get(theirs), text) from None
            case = (line, theirs, given.pop(column))
            findings.add(file.name, "repaired", "not possible, left open", [case])
