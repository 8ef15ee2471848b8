"""Readings on their way: sorted into weeks on the disk, so that files of any size and order need little memory.

A week is small enough to be sorted whole; there repeated readings meet, and of contradicting ones the greater
stays, as it does in the warehouse.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from Sensor_core.interval import SECONDS_PER_HOUR
from Training_scripts.importing.csv_blocks import Ints
from Training_scripts.importing.findings import Case, Findings
from Training_scripts.importing.readings import RECORD, Records, name_of_value
from Training_scripts.importing.source import Source

WINDOW_S: Final = 7 * 24 * SECONDS_PER_HOUR
_METER_BITS: Final = 2
_BUILDING_BITS: Final = 31
REPEATED: Final = "repeated reading"
CONTRADICTED: Final = "contradicts another reading of the interval: the greater one stays"


class Spool:
    """Readings by week, in files of ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.rows: dict[int, int] = {}
        """How many readings there are of each week, counted from 1970."""

    def append(self, records: Records) -> None:
        """Take readings in any order."""
        weeks = records["time_s"] // WINDOW_S
        for week in np.unique(weeks).tolist():
            part = records[weeks == week]
            with self._file(week).open("ab") as stream:
                stream.write(part.tobytes())
            self.rows[week] = self.rows.get(week, 0) + len(part)

    def weeks(self) -> list[int]:
        """Weeks that have readings, in order."""
        return sorted(self.rows)

    def sorted_week(self, week: int) -> tuple[Records, Records, Records]:
        """The readings of one week by time, building and meter.

        Returns:
            One reading a meter and interval; those that say the same as another one; and those that contradict it.
        """
        records = np.fromfile(self._file(week), dtype=RECORD)
        keys = _keys(records, week)
        order = np.argsort(keys, kind="stable")
        taken = np.flatnonzero(np.diff(keys[order]) == 0)
        if not taken.size:
            return records[order], records[:0], records[:0]
        order = np.lexsort((-records["value"], keys))
        records, keys = records[order], keys[order]
        again = np.concatenate(([False], np.diff(keys) == 0))
        first = np.maximum.accumulate(np.where(again, 0, np.arange(len(records))))
        same = again & (records["value"] == records["value"][first])
        return records[~again], records[same], records[again & ~same]

    def _file(self, week: int) -> Path:
        return self._folder / f"week_{week}.bin"


def _keys(records: Records, week: int) -> Ints:
    """Time, building and meter as one number that sorts like them."""
    seconds = records["time_s"] - week * WINDOW_S
    key: Ints = (((seconds << _BUILDING_BITS) | records["building_id"]) << _METER_BITS) | records["meter"]
    return key


def single_readings(spool: Spool, week: int, source: Source, findings: Findings) -> Records:
    """One reading a meter and interval of a week; the others are told to ``findings``."""
    records, repeated, contradicted = spool.sorted_week(week)
    for reason, dropped in ((REPEATED, repeated), (CONTRADICTED, contradicted)):
        for number in np.unique(dropped["file"]).tolist():
            file = source.readings[number]
            findings.add(file.path.name, "dropped", reason, _cases(dropped[dropped["file"] == number], source, number))
    for number, kept in enumerate(np.bincount(records["file"]).tolist()):
        if kept:
            findings.count_rows(source.readings[number].path.name, kept=kept)
    return records


def _cases(records: Records, source: Source, number: int) -> Iterator[Case]:
    file = source.readings[number]
    rows: Sequence[tuple[int, int, float]] = list(
        zip(records["line"].tolist(), records["building_id"].tolist(), records["value"].tolist(), strict=True)
    )
    names = {building: name_of_value(file, source.buildings, building) for building in {row[1] for row in rows}}
    for line, building, value in rows:
        yield line, names[building], repr(value)
