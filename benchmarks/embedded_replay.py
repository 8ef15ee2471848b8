"""Acceptance of energy-run: replays whole data folders at full speed without Docker, and compares tables with CSV.

Each folder is replayed into an empty state folder; then all of it is published once more, to topics of other names, and
what the tables hold must not change.

    python benchmarks/embedded_replay.py --data DIR [DIR ...]
"""

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from acceptance import Query, RunFailedError, check_tables, stored_until, wait_for_forecasts, wait_until
from reference_readings import expected_readings
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
ENERGY_RUN = Path(sys.executable).parent / "energy-run"
OTHER_TOPICS = {f"TOPIC_{name}": f"again_{name.lower()}" for name in ("POSTGRE", "REDIS")}


class Pipeline:
    """energy-run in a process of its own, stopped at the end of the block."""

    def __init__(self, data: Path, state: Path, settings: dict[str, str]) -> None:
        self._output = state / f"output-{len(settings)}.txt"
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [ENERGY_RUN, "--data", data, "--state", state / "state", "--pace", "0", "--plain"],
                cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=os.environ | settings,
            )  # fmt: skip

    def output(self) -> str:
        """What the run has printed so far."""
        return self._output.read_text()

    def query(self, sql: str) -> list[list[str]]:
        """Rows that the run's own psql line answers."""
        found = re.search(r"psql: (.+)", self.output())
        if self._process.poll() is not None:
            raise SystemExit(self.output())
        if found is None:
            raise RunFailedError("energy-run has not named its database yet")
        answer = subprocess.run(
            [found.group(1), "-qAt", "--csv", "-c", sql], capture_output=True, text=True, check=False
        )
        if answer.returncode:
            raise RunFailedError(answer.stderr)
        return list(csv.reader(answer.stdout.splitlines()))

    def __enter__(self) -> Self:
        """Let it run."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it in order."""
        self._process.terminate()
        self._process.wait(60)


def replay(data: Path, within_s: float) -> list[str]:
    """Replay one folder twice; returns its row of the table."""
    expected, first = expected_readings(data)
    last = max(stamp for _, _, stamp in expected)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        with Pipeline(data, Path(folder), {}) as run:
            wait_until(lambda: run.query("SELECT 1 FROM forecasts LIMIT 1") == [["1"]], "a first forecast", within_s)
            first_forecast = time.monotonic()
            wait_until(lambda: stored_until(run.query) >= last, "everything is stored", within_s)
            stored = time.monotonic()
            wait_for_forecasts(run.query, first, last, within_s)
            forecast = time.monotonic()
            digest = check_tables(run.query, expected)
            forecasts = run.query("SELECT count(*) FROM forecasts")[0][0]
        with Pipeline(data, Path(folder), OTHER_TOPICS) as run:
            wait_until(lambda: replayed_until(run.query) >= last, "everything is published again", within_s)
            if check_tables(run.query, expected) != digest:
                raise RunFailedError("publishing everything again changed the tables")
    times = [f"{moment - began:.0f}" for moment in (first_forecast, stored, forecast)]
    return [data.name, *times, str(len(expected)), forecasts, digest]


def replayed_until(query: Query) -> int:
    """The newest hour that the warehouse has whole of the topics of the second time."""
    return int(query(
        "SELECT coalesce(extract(epoch FROM min(clock))::bigint, 0) FROM consumer_offsets"
        f" WHERE topic = '{OTHER_TOPICS['TOPIC_POSTGRE']}'"
    )[0][0])  # fmt: skip


def main() -> int:
    """Replay the folders and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=[ROOT / "New_data"], metavar="DIR", help="data folders")
    parser.add_argument("--within", type=float, default=3600, metavar="S", help="how long a replay may take")
    options = parser.parse_args()
    table = Table("data", "first forecast [s]", "stored [s]", "forecast [s]", "readings", "forecasts", "digest")
    try:
        for data in options.data:
            table.add_row(*replay(data, options.within))
    except RunFailedError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    finally:
        Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
