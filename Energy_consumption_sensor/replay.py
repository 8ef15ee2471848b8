"""CSV to updates: all readings that become known in one interval, in UTC order, without holding the file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from Sensor_core.errors import DataFolderError
from Setup.data_folder import REPLAY, DataFolder

MAX_DISORDER_H = 168
"""How far the rows of a file may be out of order in time. [h]"""
_SECOND_NS = 10**9


@dataclass(frozen=True)
class Plan:
    """What a first pass over the file found.

    Attributes:
        rows: Readings in the file.
        first: Step of the first update.
        last: Step of the last update.
        disorder: How many steps a row may come after one that belongs to a later update.
    """

    rows: int
    first: int
    last: int
    disorder: int


@dataclass(frozen=True)
class Update:
    """All readings that become known while one step lasts; arrays of one length, times in seconds since 1970."""

    step: int
    building_id: np.ndarray
    meter: np.ndarray
    timestamp_s: np.ndarray
    kwh: np.ndarray
    known_at_s: np.ndarray


class Replay:
    """The readings of a data folder as a sequence of updates."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._interval = folder.interval

    def validate(self, progress: Callable[[int], None] = lambda _rows: None) -> Plan:
        """Read the whole file once.

        Args:
            progress: Told the number of rows read so far.

        Raises:
            DataFolderError: A column is missing, a cell cannot be parsed, the file is empty or far out of order.
        """
        rows, first, last, disorder = 0, None, None, 0
        for chunk in self._folder.readings("replay"):
            steps = self._release_steps(chunk)
            if not steps.size:
                continue
            reached = np.maximum.accumulate(steps if last is None else np.maximum(steps, last))
            disorder = max(disorder, int((reached - steps).max()))
            first = int(steps.min()) if first is None else min(first, int(steps.min()))
            last = int(reached[-1])
            rows += len(chunk)
            progress(rows)
        file = self._folder.require(REPLAY)
        if first is None or last is None:
            raise DataFolderError(f"{file} has no readings")
        if disorder > MAX_DISORDER_H * self._interval.steps_per_hour:
            raise DataFolderError(
                f"{file} is out of order by {disorder // self._interval.steps_per_hour} h; sort it by timestamp, "
                "and rows with a later known_at by that"
            )
        return Plan(rows, first, last, disorder)

    def updates(self, plan: Plan, start: int) -> Iterator[Update]:
        """Every update from ``start`` to the plan's last, empty ones included.

        Sites stamp in their own time, so their rows are merged through a buffer as deep as the file's disorder.
        """
        waiting, reached, next_step = pd.DataFrame(), plan.first, start
        for chunk in self._folder.readings("replay"):
            chunk["release"] = self._release_steps(chunk)
            reached = max(reached, int(chunk["release"].max()) if len(chunk) else reached)
            chunk = chunk[chunk["release"] >= start]  # noqa: PLW2901 - the rest was published before
            waiting = pd.concat([waiting, chunk]) if len(waiting) else chunk
            complete = reached - plan.disorder
            if complete > next_step:
                ready = waiting["release"] < complete
                yield from self._split(waiting[ready], next_step, complete)
                waiting, next_step = waiting[~ready], complete
        yield from self._split(waiting, next_step, plan.last + 1)

    def _split(self, rows: pd.DataFrame, first: int, end: int) -> Iterator[Update]:
        rows = rows.sort_values(["release", "building_id", "meter"], kind="stable")
        release = rows["release"].to_numpy()
        columns = [
            rows["building_id"].to_numpy(),
            rows["meter"].to_numpy(),
            _seconds(rows["timestamp"]),
            rows["meter_reading_kwh"].to_numpy(),
            _seconds(rows["known_at"]),
        ]
        bounds = np.searchsorted(release, np.arange(first, end + 1))
        for step in range(first, end):
            span = slice(bounds[step - first], bounds[step - first + 1])
            building_id, meter, timestamp_s, kwh, known_at_s = (column[span] for column in columns)
            closing_s = self._interval.end_of(step).timestamp()
            known_at_s = np.where(np.isnan(known_at_s), closing_s, known_at_s)
            yield Update(step, building_id, meter, timestamp_s, kwh, known_at_s)

    def _release_steps(self, chunk: pd.DataFrame) -> np.ndarray:
        """The update that each row belongs to: its own interval's, or the one in which it became known."""
        own = np.floor_divide(_seconds(chunk["timestamp"]), self._interval.seconds)
        known = np.ceil(_seconds(chunk["known_at"]) / self._interval.seconds) - 1
        release: np.ndarray = np.fmax(own, known).astype("int64")
        return release


def _seconds(times: pd.Series) -> np.ndarray:
    """Seconds since 1970; NaN where there is no time."""
    nanoseconds = times.dt.tz_localize(None).to_numpy("datetime64[ns]")
    seconds: np.ndarray = np.where(np.isnat(nanoseconds), np.nan, nanoseconds.astype("int64") / _SECOND_NS)
    return seconds
