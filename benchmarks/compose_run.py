"""Acceptance of docker-compose.yml: replays a folder in containers, with faults, and compares the tables with the CSV.

Four runs, each from empty volumes in a compose project of its own: one broker; three brokers; every service restarted
in turn while the replay goes on; everything taken down and up again while it goes on. A run passes if Postgres has
each reading of the files exactly once with an equal value, if the totals agree, if nothing became a dead letter or a
revision, and, where the predictor runs, if every meter has a forecast for every hour.

    python benchmarks/compose_run.py --data DIR [--without grafana] [--runs restarts ...]
"""

import argparse
import csv
import hashlib
import io
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from reference_readings import Reading, expected_readings
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
ONE_BROKER = ("-f", "docker-compose.yml")
THREE_BROKERS = (*ONE_BROKER, "-f", "docker-compose.ha.yml")
STORED_WITHIN_S = 300
console = Console(stderr=True)


class RunFailedError(Exception):
    """A run did not end in the tables that the files ask for."""


# --- The containers ------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def compose_command() -> list[str]:
    """How compose is called on this machine."""
    return ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]


@dataclass
class Stack:
    """One compose project, whose volumes are gone afterwards."""

    files: tuple[str, ...]
    data: Path
    pace_s: float
    without: list[str]
    command: list[str] = field(default_factory=compose_command)

    def __post_init__(self) -> None:
        """Keep clear of whatever else runs on this machine."""
        self._environment = os.environ | {
            "COMPOSE_PROJECT_NAME": f"energy-acceptance-{os.getpid()}",
            "DATA_DIR": str(self.data.resolve()),
            "REPLAY_SECONDS_PER_HOUR": str(self.pace_s),
            "POSTGRES_PORT": str(free_port()),
            "GRAFANA_PORT": str(free_port()),
        }

    def compose(self, *arguments: str) -> str:
        """Run one compose command and return what it prints."""
        done = subprocess.run(
            [*self.command, *self.files, *arguments],
            cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise RunFailedError(f"docker-compose {' '.join(arguments)} ended with {done.returncode}:\n{tail}")
        return done.stdout

    def services(self) -> list[str]:
        """Services of this run."""
        return [name for name in self.compose("config", "--services").split() if name not in self.without]

    def up(self) -> None:
        """Build and start everything; returns when all that is waited for is healthy."""
        self.compose("up", "--build", "-d", *self.services())

    def down(self, *options: str) -> None:
        """Stop and remove the containers, and with ``--volumes`` their data."""
        self.compose("down", "--remove-orphans", *options)

    def query(self, sql: str) -> list[list[str]]:
        """Rows that psql in the database's container answers."""
        text = self.compose(
            "exec", "-T", "postgres", "sh", "-c", 'psql -qAt --csv -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "$0"', sql
        )
        return list(csv.reader(io.StringIO(text)))

    def stored_until(self) -> int:
        """The newest hour that the warehouse has whole (seconds since 1970), 0 before the first."""
        rows = self.query("SELECT coalesce(extract(epoch FROM stored_until)::bigint, 0) FROM pipeline_status")
        return int(rows[0][0])


# --- Faults --------------------------------------------------------------------------------------------------------


def no_fault(_stack: Stack, _last: int) -> str:
    """Let the replay run through."""
    return ""


def restart_each(stack: Stack, last: int) -> str:
    """Restart every service in turn, each while the replay goes on."""
    lasting = [name for name in stack.services() if name != "setup"]
    for name in lasting:
        reached = stack.stored_until()
        require_going_on(reached, last)
        console.print(f"  restarting {name}, stored until {utc(reached)}")
        stack.compose("restart", name)
        await_progress(stack, reached, name)
    return f"{len(lasting)} services restarted"


def await_progress(stack: Stack, reached: int, after: str) -> None:
    """Wait until the warehouse has got further than it was."""
    wait_until(lambda: stack.stored_until() > reached, f"readings are stored again after {after}")


def down_and_up(stack: Stack, last: int) -> str:
    """Take everything down and up again while the replay goes on."""
    reached = stack.stored_until()
    require_going_on(reached, last)
    stack.down()
    stack.up()
    return f"down at {utc(reached)}"


def require_going_on(reached: int, last: int) -> None:
    """A fault after the end would show nothing."""
    if reached >= last:
        raise RunFailedError("the replay is over before all faults are: choose a slower --pace")


def utc(seconds: int) -> str:
    """For people."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M}"


def wait_until(holds: Callable[[], bool], what: str, within_s: float = STORED_WITHIN_S) -> None:
    """Ask once a second until it holds; a database that is away for the moment is asked again."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if holds():
                return
        except RunFailedError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise RunFailedError(f"not within {within_s:g} s: {what}")
        time.sleep(1)


# --- The runs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One acceptance run."""

    files: tuple[str, ...]
    fault: Callable[[Stack, int], str]
    at_full_speed: bool


RUNS = {
    "one-broker": Run(ONE_BROKER, no_fault, at_full_speed=True),
    "three-brokers": Run(THREE_BROKERS, no_fault, at_full_speed=True),
    "restarts": Run(ONE_BROKER, restart_each, at_full_speed=False),
    "down-and-up": Run(ONE_BROKER, down_and_up, at_full_speed=False),
}


def check_tables(stack: Stack, expected: dict[Reading, float]) -> str:
    """Compare the warehouse with the files; returns a digest of readings and totals, the same for every run."""
    rows = stack.query(
        'SELECT building_id, meter, extract(epoch FROM "timestamp")::bigint, meter_reading_kwh FROM readings'
    )
    stored = {(int(b), int(m), int(t)): float(kwh) for b, m, t, kwh in rows}
    if len(stored) != len(rows):
        raise RunFailedError(f"{len(rows) - len(stored)} readings are stored more than once")
    missing, surplus = expected.keys() - stored.keys(), stored.keys() - expected.keys()
    if missing or surplus:
        some = min(missing or surplus)
        raise RunFailedError(f"{len(missing)} readings are missing, {len(surplus)} are surplus; for one {some}")
    unequal = [key for key, kwh in expected.items() if not math.isclose(kwh, stored[key], rel_tol=1e-12)]
    if unequal:
        key = unequal[0]
        raise RunFailedError(f"{len(unequal)} values differ, {key}: {expected[key]} in the file, {stored[key]} stored")
    for what, sql in MUST_BE_EMPTY.items():
        (count,) = stack.query(sql)[0]
        if count != "0":
            raise RunFailedError(f"{count} {what}")
    totals = stack.query('SELECT * FROM site_totals ORDER BY site_id, meter, "timestamp"')
    return hashlib.sha256(repr([sorted(stored.items()), totals]).encode()).hexdigest()[:12]


MUST_BE_EMPTY = {
    "dead letters": "SELECT count(*) FROM dead_letters",
    "revisions, of which the files have none": "SELECT count(*) FROM reading_revisions",
    "hours whose site total is not the sum of its readings": """
        SELECT count(*) FROM site_totals t FULL JOIN (
            SELECT site_id, meter, "timestamp", sum(meter_reading_kwh::numeric) AS kwh, count(*) AS reported
            FROM readings JOIN buildings USING (building_id) GROUP BY 1, 2, 3) r USING (site_id, meter, "timestamp")
        WHERE t.energy_kwh IS NULL OR r.kwh IS NULL
           OR abs(t.energy_kwh - r.kwh) > 1e-6 OR t.meters_reported <> r.reported""",
}
MISSING_FORECASTS = """
    SELECT count(*) FROM meters m
    CROSS JOIN LATERAL generate_series(greatest(m.first_seen, to_timestamp({first})), to_timestamp({last}),
                                       interval '1 hour') AS issue (at)
    LEFT JOIN forecasts f ON f.building_id = m.building_id AND f.meter = m.meter AND f.issued_at = issue.at
    WHERE f.issued_at IS NULL"""


def perform(name: str, options: argparse.Namespace, expected: dict[Reading, float], first: int) -> list[str]:
    """Do one run; returns its row of the table."""
    run, last = RUNS[name], max(stamp for _, _, stamp in expected)
    stack = Stack(run.files, options.data, 0 if run.at_full_speed else options.pace, options.without)
    console.print(f"[bold]{name}[/]")
    began = time.monotonic()
    try:
        stack.up()
        started = time.monotonic()
        wait_until(lambda: stack.stored_until() > first + (last - first) // 10, "a tenth of the replay is stored")
        fault = run.fault(stack, last)
        wait_until(lambda: stack.stored_until() >= last, f"everything until {utc(last)} is stored", options.within)
        stored = time.monotonic()
        digest = check_tables(stack, expected)
        if "predictor" in stack.services():
            sql = MISSING_FORECASTS.format(first=first, last=last)
            wait_until(lambda: stack.query(sql) == [["0"]], "every meter has a forecast every hour", options.within)
        forecast = time.monotonic()
    except RunFailedError:
        console.print(stack.compose("logs", "--tail", "20"), markup=False)
        raise
    finally:
        stack.down("--volumes")
    times = [f"{started - began:.0f}", f"{stored - started:.0f}", f"{forecast - started:.0f}"]
    return [name, *times, str(len(expected)), digest, fault]


def main() -> int:
    """Do the runs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "New_data", metavar="DIR", help="data folder to replay")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS), help="which runs (default: all)")
    parser.add_argument("--without", nargs="+", default=[], metavar="SERVICE", help="services to leave out")
    parser.add_argument("--pace", type=float, default=0.1, metavar="S", help="seconds an hour, in runs with faults")
    parser.add_argument("--within", type=float, default=900, metavar="S", help="how long a replay may take")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # also of a shell's background job: the containers go with the run
        signal.signal(number, signal.default_int_handler)
    expected, first = expected_readings(options.data)
    table = Table("run", "up [s]", "stored [s]", "forecast [s]", "readings", "digest", "faults")
    try:
        for name in options.runs:
            table.add_row(*perform(name, options, expected, first))
    except RunFailedError as error:
        console.print(f"failed: {error}", markup=False)
        return 1
    finally:
        Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
