"""Readings of both layouts, checked row by row: what remains can be stored."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from Sensor_core.building import Building, Meter
from Sensor_core.interval import Interval
from Sensor_core.reading import METER_NAMES
from Training_scripts.importing.clock import Clock, Times
from Training_scripts.importing.csv_blocks import (
    Advance,
    Block,
    Bools,
    Column,
    Floats,
    Ints,
    Kind,
    header_of,
    read_blocks,
    require_columns,
)
from Training_scripts.importing.findings import Action, Case, Findings
from Training_scripts.importing.source import ReadingFile, Source

RECORD: Final = np.dtype(
    [("time_s", "<i8"), ("building_id", "<i4"), ("meter", "i1"), ("file", "u1"), ("line", "<u4"), ("value", "<f8")]
)
"""A reading that passed: start of the interval in UTC, the file's own number, and where it stood."""
Records = npt.NDArray[np.void]

LARGEST_KWH: Final = 1e9
"""More than this in one interval is a mistake of a counter; the stream refuses it, too."""
_LONG: Final[Mapping[str, Kind]] = {
    "building_id": "whole",
    "meter": "whole",
    "timestamp": "text",
    "meter_reading": "number",
}
SECOND_OF_DOUBLED: Final = "second reading of the hour that the clock repeats in autumn: taken as winter time"
MOVED_UP: Final = "interval of a clock that is off UTC's by a part of one: moved up to UTC's next"
EMPTY: Final = "empty cell: no reading"


@dataclass(frozen=True)
class _Rows:
    """Readings as they stand in a file: one element a reading.

    ``value_columns`` names the column of each building's values in a wide file.
    """

    line: Ints
    building_id: Ints
    meter: Ints
    stamp: Ints
    stamps: Column
    value: Floats
    empty: Bools
    value_columns: Mapping[int, str] | None = None

    def only(self, sound: Bools) -> "_Rows":
        """These readings alone."""
        if sound.all():
            return self
        names = ("line", "building_id", "meter", "stamp", "value", "empty")
        return replace(self, **{name: getattr(self, name)[sound] for name in names})


class ReadingChecks:
    """Checks the readings of one file and tells ``findings`` of all that it drops."""

    def __init__(self, source: Source, number: int, interval: Interval, findings: Findings) -> None:
        self._file: ReadingFile = source.readings[number]
        self._name = self._file.path.name
        self._number = number
        self._interval = interval
        self._findings = findings
        self._buildings = source.buildings
        self._clock = Clock({site.site_id: site for site in source.sites.values()}, interval)
        known = sorted(source.site_of_building)
        self._known = np.array(known, dtype=np.int64)
        self._site_id = np.array([source.site_of_building[building].site_id for building in known], dtype=np.int64)
        self._factor = Factors(source.meters)

    def records(self, advance: Advance) -> Iterator[Records]:
        """Read the file.

        Yields:
            Arrays of ``RECORD``, in the order of the file.

        Raises:
            DataFolderError: A column is missing, or the file cannot be read.
        """
        parts = self._long(advance) if self._file.meter is None else self._wide(self._file.meter, advance)
        for rows in parts:
            yield self._checked(rows)

    def _long(self, advance: Advance) -> Iterator[_Rows]:
        require_columns(self._file.path, header_of(self._file.path), *_LONG)
        for block in read_blocks(self._file.path, _LONG, advance):
            self._findings.count_rows(self._name, read=len(block.lines) + len(block.ragged))
            self._refuse_lines(block)
            building, meter, stamp, value = (block.columns[name] for name in _LONG)
            rows = _Rows(block.lines, building.cells, meter.cells, stamp.cells, stamp, value.cells, value.where_empty)
            yield rows.only(self._refuse_cells(block))

    def _wide(self, meter: int, advance: Advance) -> Iterator[_Rows]:
        names = header_of(self._file.path)
        require_columns(self._file.path, names, "timestamp")
        known = self._known_columns(names)
        if not known:
            return
        ids = np.array([self._buildings[name].building_id for name in known], dtype=np.int64)
        kinds: dict[str, Kind] = {"timestamp": "text", **dict.fromkeys(known, "number")}
        for block in read_blocks(self._file.path, kinds, advance):
            stamp, cells, count = block.columns["timestamp"], [block.columns[name] for name in known], len(block.lines)
            self._findings.count_rows(self._name, read=count * len(ids))
            self._refuse_lines(block)
            self._refuse_cells(block)
            rows = _Rows(
                np.repeat(block.lines, len(ids)),
                np.tile(ids, count),
                np.full(count * len(ids), meter),
                np.repeat(stamp.cells, len(ids)),
                stamp,
                np.stack([cell.cells for cell in cells], axis=1).ravel(),
                np.stack([cell.where_empty for cell in cells], axis=1).ravel(),
                dict(zip(ids.tolist(), known, strict=True)),
            )
            yield rows.only(~np.stack([cell.where_bad for cell in cells], axis=1).ravel())

    def _known_columns(self, names: list[str]) -> list[str]:
        unknown = [name for name in names if name != "timestamp" and name not in self._buildings]
        reason = "building that the metadata does not have: the whole column"
        self._findings.add(self._name, "dropped", reason, ((1, name, "") for name in unknown))
        return [name for name in names if name in self._buildings]

    def _refuse_lines(self, block: Block) -> None:
        ragged = ((line, "", text) for line, text in block.ragged)
        self._findings.add(self._name, "dropped", "line with too few or too many cells", ragged)

    def _refuse_cells(self, block: Block) -> Bools:
        """Report the first cell of each line that cannot be parsed; returns the lines that have none."""
        sound = np.ones(len(block.lines), dtype=bool)
        for name, column in block.columns.items():
            if column.bad is not None:
                bad = zip(column.bad.rows.tolist(), column.bad.texts, strict=True)
                cases = [
                    (int(block.lines[row]), name, text)
                    for row, text in bad
                    if self._file.meter is not None or sound[row]
                ]
                self._findings.add(self._name, "dropped", column.bad.reason, cases)
                sound[column.bad.rows] = False
        return sound

    def _checked(self, rows: _Rows) -> Records:
        place = np.minimum(np.searchsorted(self._known, rows.building_id), max(len(self._known) - 1, 0))
        known = self._known[place] == rows.building_id
        site_id = np.where(known, self._site_id[place], -1)
        series = rows.building_id * len(METER_NAMES) + rows.meter
        times = self._clock.to_utc(rows.stamp, rows.stamps.texts, site_id, np.where(rows.empty, -1 - series, series))
        kwh = rows.value * self._factor.of(rows.building_id, rows.meter)
        left = np.ones(len(rows.line), dtype=bool)
        for reason, column, refused in self._refusals(rows, times, known, kwh):
            hit = np.flatnonzero(left & refused)
            if hit.size:
                left[hit] = False
                self._tell(rows, "dropped", reason, column, hit)
        self._tell(rows, "repaired", SECOND_OF_DOUBLED, "timestamp", np.flatnonzero(left & times.second))
        self._tell(rows, "repaired", MOVED_UP, "timestamp", np.flatnonzero(left & times.moved))
        return self._as_records(rows, times, left)

    def _refusals(self, rows: _Rows, times: Times, known: Bools, kwh: Floats) -> Iterator[tuple[str, str, Bools]]:
        """Each reason, the column that shows it, and the readings that it concerns; the first reason counts."""
        yield EMPTY, "", rows.empty
        yield "building that the metadata does not have", "building_id", ~known
        yield "meter code that is not 0 to 3", "meter", (rows.meter < 0) | (rows.meter >= len(METER_NAMES))
        yield "is not a time such as 2016-09-02 00:00:00", "timestamp", times.wrong
        yield "time before 1990 or after 2099", "timestamp", times.out_of_range
        yield "hour that the site's clock skips in spring", "timestamp", times.unreal
        off_grid = times.seconds % self._interval.seconds != 0
        yield f"off the grid of {self._interval.seconds} s (METER_INTERVAL_S)", "timestamp", off_grid
        yield "NaN or infinite reading", "", ~np.isfinite(rows.value)
        yield "negative reading", "", rows.value < 0
        yield f"reading above {LARGEST_KWH:,.0f} kWh", "", kwh > LARGEST_KWH

    def _tell(self, rows: _Rows, action: Action, reason: str, column: str, hit: Ints) -> None:
        if reason == EMPTY and rows.value_columns is not None:
            # In a wide file most of them were never meant to be there: counted, not listed.
            self._findings.count_rows(self._name, empty_cells=len(hit))
            return
        self._findings.add(self._name, action, reason, self._cases(rows, column, hit))

    def _cases(self, rows: _Rows, column: str, hit: Ints) -> Iterator[Case]:
        for row in hit.tolist():
            name = column or (rows.value_columns or {}).get(int(rows.building_id[row]), "meter_reading")
            value = rows.stamps.texts[rows.stamp[row]] if column == "timestamp" else ""
            if column in {"building_id", "meter"}:
                value = str(getattr(rows, column)[row])
            yield int(rows.line[row]), name, value or ("" if rows.empty[row] else repr(float(rows.value[row])))

    def _as_records(self, rows: _Rows, times: Times, left: Bools) -> Records:
        records = np.empty(int(left.sum()), dtype=RECORD)
        records["time_s"] = times.seconds[left]
        records["building_id"] = rows.building_id[left]
        records["meter"] = rows.meter[left]
        records["file"] = self._number
        records["line"] = rows.line[left]
        records["value"] = rows.value[left]
        return records


class Factors:
    """Factors from the files' numbers to kWh."""

    def __init__(self, meters: tuple[Meter, ...]) -> None:
        converted = sorted((m.building_id * len(METER_NAMES) + m.meter, m.kwh_per_count) for m in meters)
        self._keys = np.array([-1, *(key for key, _ in converted)], dtype=np.int64)
        self._factors = np.array([1.0, *(factor for _, factor in converted)])

    def of(self, building_id: Ints, meter: Ints) -> Floats:
        """The factor of each row; 1 for a meter that is not declared."""
        keys = building_id.astype(np.int64) * len(METER_NAMES) + meter
        place = np.searchsorted(self._keys, keys, side="right") - 1
        place = np.maximum(place, 0)
        return np.where(self._keys[place] == keys, self._factors[place], 1.0)


def name_of_value(file: ReadingFile, buildings: Mapping[str, Building], building_id: int) -> str:
    """The column of a file that has a building's values."""
    if file.meter is None:
        return "meter_reading"
    return next(name for name, building in buildings.items() if building.building_id == building_id)
