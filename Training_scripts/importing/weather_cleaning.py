"""Weather observations as they are, brought to one row a site and hour; each repair is told.

Holes stay holes, short ones too: a value put between two observations would be known before the second was made,
and the forecasts take missing weather as missing.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import pandas as pd

from Sensor_core.building import Site
from Sensor_core.interval import SECONDS_PER_HOUR, Interval
from Sensor_core.weather import QUANTITIES
from Training_scripts.importing.clock import Clock, Times
from Training_scripts.importing.csv_blocks import (
    Advance,
    Block,
    Bools,
    Floats,
    Ints,
    Kind,
    header_of,
    read_blocks,
    require_columns,
)
from Training_scripts.importing.findings import Action, Findings
from Training_scripts.importing.readings import SECOND_OF_DOUBLED
from Training_scripts.importing.source import Source, WeatherFile

_SENTINELS: Final = (-9999.0, -999.0, 9999.0)
_ASHRAE_COLUMNS: Final = tuple(quantity.ashrae_column for quantity in QUANTITIES)


def clean_weather(source: Source, findings: Findings, advance: Advance) -> pd.DataFrame:
    """Read the weather file.

    Returns:
        site_id, timestamp (UTC, without zone), ASHRAE's columns; sorted, one row a site and hour. Empty where
        there is no file.

    Raises:
        DataFolderError: A column is missing, or the file cannot be read.
    """
    file = source.weather
    if file is None:
        return pd.DataFrame(columns=["site_id", "timestamp", *_ASHRAE_COLUMNS])
    cleaning = _Cleaning(source.sites, file, findings)
    parts = [cleaning.checked(block) for block in read_blocks(file.path, cleaning.kinds, advance)]
    table = cleaning.hourly(pd.concat(parts, ignore_index=True)) if parts else cleaning.nothing
    cleaning.note_holes(table)
    return table.assign(timestamp=pd.to_datetime(table["hour_s"], unit="s"))[["site_id", "timestamp", *_ASHRAE_COLUMNS]]


class _Cleaning:
    """Cleans one file."""

    def __init__(self, sites: Mapping[str, Site], file: WeatherFile, findings: Findings) -> None:
        names = header_of(file.path)
        needed = [file.columns[column] for column in ("site_id", "timestamp", "air_temperature")]
        require_columns(file.path, names, *needed)
        self._file = file
        self._findings = findings
        self._sites = sites
        # The weather's stamps are not those of the readings.
        clocks = [site.model_copy(update={"stamps": file.stamps}) for site in sites.values()]
        # Observations are of a moment, not of an interval: ``hourly`` brings them to the hour.
        self._clock = Clock({site.site_id: site for site in clocks}, Interval(1))
        self._columns = {ours: theirs for ours, theirs in file.columns.items() if theirs in names}
        self.kinds: dict[str, Kind] = dict.fromkeys(self._columns.values(), "number")
        self.kinds |= dict.fromkeys(needed[:2], "text")

    def checked(self, block: Block) -> pd.DataFrame:
        """Rows of known sites and times; values that cannot be true are missing."""
        self._count(read=len(block.lines) + len(block.ragged))
        self._tell("dropped", "line with too few or too many cells", ((line, "", text) for line, text in block.ragged))
        names = block.columns[self._columns["site_id"]]
        numbers = [self._sites[name].site_id if name in self._sites else -1 for name in names.texts]
        site_id = np.array(numbers, dtype=np.int64)[names.cells]
        stamps = block.columns[self._columns["timestamp"]]
        times = self._clock.to_utc(stamps.cells, stamps.texts, site_id, site_id)
        left = np.ones(len(site_id), dtype=bool)
        for reason, column, refused in _refusals(times, site_id):
            hit = np.flatnonzero(left & refused)
            left[hit] = False
            self._tell("dropped", reason, self._cases(block, column, hit))
        second = np.flatnonzero(left & times.second)
        self._tell("repaired", SECOND_OF_DOUBLED, self._cases(block, "timestamp", second))
        table = pd.DataFrame({"line": block.lines, "site_id": site_id, "time_s": times.seconds})
        table["stamp"] = np.array(stamps.texts, dtype=object)[stamps.cells]
        for quantity in QUANTITIES:
            table[quantity.ashrae_column] = self._believed(block, quantity.ashrae_column, left)
        kept: pd.DataFrame = table[left]
        return kept

    @property
    def nothing(self) -> pd.DataFrame:
        """What ``hourly`` makes of no rows."""
        return pd.DataFrame(columns=["site_id", "hour_s", *_ASHRAE_COLUMNS], dtype=np.float64)

    def hourly(self, table: pd.DataFrame) -> pd.DataFrame:
        """One row a site and hour: of several observations the nearest that has a value, quantity by quantity."""
        hour = (table["time_s"] + SECONDS_PER_HOUR // 2) // SECONDS_PER_HOUR * SECONDS_PER_HOUR
        table = table.assign(hour_s=hour, distance_s=(table["time_s"] - hour).abs())
        off = table[table["distance_s"] > 0]
        self._tell("repaired", "stamp off the hour: taken to the nearest hour", self._stamp_cases(off))
        table = table.sort_values(["site_id", "hour_s", "distance_s", "line"], kind="stable")
        repeated = table.duplicated(["site_id", "time_s"])
        self._tell("dropped", "observation repeated: the first value of each quantity stays",
                   self._stamp_cases(table[repeated]))  # fmt: skip
        merged = table.duplicated(["site_id", "hour_s"]) & ~repeated
        self._tell("repaired", "second observation of an hour: used where the nearer one has no value",
                   self._stamp_cases(table[merged]))  # fmt: skip
        hours = table.groupby(["site_id", "hour_s"], as_index=False)[list(_ASHRAE_COLUMNS)].first()
        self._count(kept=len(hours))
        return hours

    def note_holes(self, table: pd.DataFrame) -> None:
        """Tell of hours without an observation between a site's first and last one, and of sites without any."""
        for name, site in self._sites.items():
            hours = table.loc[table["site_id"] == site.site_id, "hour_s"].to_numpy() // SECONDS_PER_HOUR
            if not len(hours):
                self._tell("noted", "site without weather", [(0, "site_id", name)])
                continue
            missing = np.diff(hours) - 1
            begins = np.flatnonzero(missing > 0)
            reason = "hole in the hours: left missing, because filling it would need weather that came later"
            stamps = np.datetime_as_string((hours[begins] + 1).astype("datetime64[h]"), unit="m")
            texts = [f"{hole} h from {at} UTC" for hole, at in zip(missing[begins].tolist(), stamps, strict=True)]
            self._tell("noted", reason, ((0, f"site {name}", text) for text in texts))

    def _believed(self, block: Block, column: str, left: Bools) -> pd.Series:
        """A quantity's values; sentinels and what cannot be true are missing."""
        if column not in self._columns:
            return pd.Series(np.nan, index=range(len(block.lines)))
        found = block.columns[self._columns[column]]
        if found.bad is not None:
            bad = [(row, text) for row, text in zip(found.bad.rows.tolist(), found.bad.texts, strict=True) if left[row]]
            cases = ((int(block.lines[row]), self._columns[column], text) for row, text in bad)
            self._tell("repaired", f"{found.bad.reason}: taken as missing", cases)
        values = found.cells.astype(np.float64)
        quantity = next(q for q in QUANTITIES if q.ashrae_column == column)
        sentinel = np.isin(values, _SENTINELS)
        # NaN compares false both ways: missing is not a repair.
        outside = ((values < quantity.lowest) | (values > quantity.highest)) & ~sentinel
        span = f"outside of {quantity.lowest:g} to {quantity.highest:g}: taken as missing"
        for reason, hit in (("sentinel for missing: taken as missing", sentinel), (span, outside)):
            self._tell("repaired", reason, self._value_cases(block, column, values, np.flatnonzero(hit & left)))
        return pd.Series(np.where(sentinel | outside, np.nan, values))

    def _tell(
        self, action: Action, reason: str, cases: "Iterator[tuple[int, str, str]] | list[tuple[int, str, str]]"
    ) -> None:
        self._findings.add(self._file.path.name, action, reason, cases)

    def _count(self, **counts: int) -> None:
        self._findings.count_rows(self._file.path.name, **counts)

    def _cases(self, block: Block, column: str, hit: Ints) -> Iterator[tuple[int, str, str]]:
        found = block.columns[self._columns[column]]
        for row in hit.tolist():
            yield int(block.lines[row]), self._columns[column], found.texts[found.cells[row]]

    def _value_cases(self, block: Block, column: str, values: Floats, hit: Ints) -> Iterator[tuple[int, str, str]]:
        for row in hit.tolist():
            yield int(block.lines[row]), self._columns[column], repr(float(values[row]))

    def _stamp_cases(self, rows: pd.DataFrame) -> Iterator[tuple[int, str, str]]:
        for line, stamp in zip(rows["line"].tolist(), rows["stamp"].tolist(), strict=True):
            yield line, self._columns["timestamp"], stamp


def _refusals(times: Times, site_id: Ints) -> Iterator[tuple[str, str, Bools]]:
    yield "site that no building stands on", "site_id", site_id < 0
    yield "is not a time such as 2016-09-02 00:00:00", "timestamp", times.wrong
    yield "time before 1990 or after 2099", "timestamp", times.out_of_range
    yield "hour that the site's clock skips in spring", "timestamp", times.unreal
