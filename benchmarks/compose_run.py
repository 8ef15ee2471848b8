"""Acceptance of docker-compose.yml: replays a folder in containers, with faults, and compares the tables with the CSV.

Four runs, each from empty volumes in a compose project of its own: one broker; three brokers; every service restarted
in turn while the replay goes on; everything taken down and up again while it goes on. A run passes if Postgres has
each reading of the files exactly once with an equal value, if the totals agree, if nothing became a dead letter or a
revision, and, where the predictor runs, if every meter has a forecast for every hour.

    python benchmarks/compose_run.py --data DIR [--without grafana] [--runs restarts ...]
"""

import argparse
import csv
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from acceptance import RunFailedError, check_tables, stored_until, utc, wait_for_forecasts, wait_until
from reference_readings import Reading, expected_readings
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
ONE_BROKER = ("-f", "docker-compose.yml")
THREE_BROKERS = (*ONE_BROKER, "-f", "docker-compose.ha.yml")
console = Console(stderr=True)


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


# --- Faults --------------------------------------------------------------------------------------------------------


def no_fault(_stack: Stack, _last: int) -> str:
    """Let the replay run through."""
    return ""


def restart_each(stack: Stack, last: int) -> str:
    """Restart every service in turn, each while the replay goes on."""
    lasting = [name for name in stack.services() if name != "setup"]
    for name in lasting:
        reached = stored_until(stack.query)
        require_going_on(reached, last)
        console.print(f"  restarting {name}, stored until {utc(reached)}")
        stack.compose("restart", name)
        await_progress(stack, reached, name)
    return f"{len(lasting)} services restarted"


def await_progress(stack: Stack, reached: int, after: str) -> None:
    """Wait until the warehouse has got further than it was."""
    wait_until(lambda: stored_until(stack.query) > reached, f"readings are stored again after {after}")


def down_and_up(stack: Stack, last: int) -> str:
    """Take everything down and up again while the replay goes on."""
    reached = stored_until(stack.query)
    require_going_on(reached, last)
    stack.down()
    stack.up()
    return f"down at {utc(reached)}"


def require_going_on(reached: int, last: int) -> None:
    """A fault after the end would show nothing."""
    if reached >= last:
        raise RunFailedError("the replay is over before all faults are: choose a slower --pace")


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


def perform(name: str, options: argparse.Namespace, expected: dict[Reading, float], first: int) -> list[str]:
    """Do one run; returns its row of the table."""
    run, last = RUNS[name], max(stamp for _, _, stamp in expected)
    stack = Stack(run.files, options.data, 0 if run.at_full_speed else options.pace, options.without)
    console.print(f"[bold]{name}[/]")
    began = time.monotonic()
    try:
        stack.up()
        started = time.monotonic()
        wait_until(lambda: stored_until(stack.query) > first + (last - first) // 10, "a tenth of the replay is stored")
        fault = run.fault(stack, last)
        wait_until(lambda: stored_until(stack.query) >= last, f"everything until {utc(last)} is stored", options.within)
        stored = time.monotonic()
        digest = check_tables(stack.query, expected)
        if "predictor" in stack.services():
            wait_for_forecasts(stack.query, first, last, options.within)
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
