"""Where an import goes: a data folder, the warehouse, or both at once."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pandas as pd

from Setup.postgres import Role, wait_for_postgres
from Setup.settings import Settings
from Training_scripts.importing.folder_writing import ReadingFiles, write_tables, write_weather
from Training_scripts.importing.readings import Records
from Training_scripts.importing.source import Source
from Training_scripts.importing.warehouse_loading import WarehouseLoad, renew_cache, warehouse_load

_WORKERS: Final = 2


class Outputs:
    """Takes readings week by week.

    Args:
        folder: Data folder to write, or None.
        settings: Of the warehouse to load, or None.
        replay_from: What is replayed rather than loaded; None: everything is both.
        scratch: Folder for what nobody keeps.
    """

    def __init__(
        self, folder: Path | None, settings: Settings | None, replay_from: datetime | None, scratch: Path
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._replay_from = replay_from
        self._scratch = scratch
        self._stack = ExitStack()
        self._pool = ThreadPoolExecutor(_WORKERS)
        self._packed: deque[Future[tuple[bytes, bytes]]] = deque()
        self._files: ReadingFiles | None = None
        self._load: WarehouseLoad | None = None
        self._readings = self._replayed = 0
        self._cache = ""

    def __enter__(self) -> Self:
        if self._settings is not None:  # say so now, not after minutes of reading
            wait_for_postgres(self._settings, Role.ADMIN).close()
        self._stack.enter_context(self._pool)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._append(waiting=0)
        finally:
            self._stack.close()
        if kind is None and self._settings is not None:
            self._cache = renew_cache(self._settings)

    def begin(self, source: Source, weather: pd.DataFrame) -> None:
        """Write and load what there is beside the readings.

        Raises:
            UnreachableError: Postgres does not answer in time.
        """
        write_tables(source, self._folder or self._scratch)
        if self._folder is not None:
            write_weather(weather, self._folder)
            self._files = ReadingFiles(self._folder, self._split_s)
            self._stack.callback(self._files.close)
        if self._settings is not None:
            loading = warehouse_load(self._settings, source, self._folder or self._scratch)
            self._load = self._stack.enter_context(loading)
            past = weather if self._replay_from is None else weather[weather["timestamp"] < _naive(self._replay_from)]
            self._load.add_weather(past)

    def add(self, records: Records) -> None:
        """Take one week; weeks come in the order of time."""
        history = records if self._split_s is None else records[records["time_s"] < self._split_s]
        self._readings += len(records)
        self._replayed += len(records) - (0 if self._split_s is None else len(history))
        if self._files is not None:
            self._packed.append(self._pool.submit(self._files.packed, records))
            self._append(waiting=2 * _WORKERS)
        if self._load is not None:
            self._load.add(history)

    def summary(self) -> Iterator[str]:
        """What was written where, a line each."""
        if self._folder is not None:
            before = self._readings - self._replayed
            yield f"{self._folder}: {self._replayed:,} readings to replay, {before:,} in history.csv.gz"
        if self._load is not None:
            yield f"Postgres: {self._load.rows:,} readings loaded"
            yield f"Redis: {self._cache}"

    @property
    def facts(self) -> dict[str, object]:
        """What was written where, for the report."""
        facts: dict[str, object] = {"readings": self._readings}
        if self._folder is not None:
            facts |= {"out": str(self._folder), "replayed": self._replayed}
        if self._load is not None:
            facts["loaded"] = self._load.rows
        return facts

    @property
    def _split_s(self) -> float | None:
        return None if self._replay_from is None else self._replay_from.timestamp()

    def _append(self, *, waiting: int) -> None:
        while self._files is not None and len(self._packed) > waiting:
            self._files.append(self._packed.popleft().result())


def _naive(time: datetime) -> pd.Timestamp:
    return pd.Timestamp(time).tz_convert("UTC").tz_localize(None)
