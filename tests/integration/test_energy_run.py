"""energy-run: from an empty folder to stored forecasts, through deaths and stops, with the real engines.

One run's state is carried from test to test, as a user would: each test says what it needs to have come before.
"""

import csv
import math
import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from dotenv import dotenv_values

from Setup.embedded.services import SERVICES
from tests.running_pipeline import ENERGY_RUN, ROOT, RunningPipeline, prepare_workspace

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

FIRST = datetime(2016, 9, 2, tzinfo=UTC)
METERS = [(10, 0), (10, 1), (11, 0)]
HOURS = 72
"""Hours in the data folder; the first test replays some of them, the second one the rest."""
FIRST_HOURS = 30


def reading_kwh(building_id: int, meter: int, hour: int) -> float:
    return round(building_id + meter + 5 * math.sin(hour * math.tau / 24), 3)


def write_csv(file: Path, *rows) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


@pytest.fixture(scope="module", autouse=True)
def command_lines() -> Iterator[set[str]]:
    """What the process list showed of all processes while the tests of this module ran, many times a second."""
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))

    watching = threading.Thread(target=look)
    watching.start()
    yield seen
    ended.set()
    watching.join()


@pytest.fixture(scope="module")
def passwords() -> dict[str, str]:
    """Passwords that nothing else on this machine looks like."""
    return {name: secrets.token_hex(16) for name in dotenv_values(ROOT / ".env") if name.endswith("_PASSWORD")}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, passwords) -> Path:
    """A folder with settings and a small data folder, outside of the project."""
    folder = tmp_path_factory.mktemp("workspace")
    prepare_workspace(folder)
    (folder / ".env.local").write_text("".join(f"{name}={password}\n" for name, password in passwords.items()))
    write_csv(
        folder / "data" / "sites.csv",
        ("site_id", "time_zone", "latitude", "longitude", "country", "stamps"),
        (0, "Europe/Berlin", 52.5, 13.4, "DE", "utc"),
    )
    write_csv(
        folder / "data" / "building_metadata.csv",
        ("site_id", "building_id", "primary_use", "square_feet", "year_built", "floor_count"),
        (0, 10, "Office", 10_000, 1990, 3),
        (0, 11, "Education", 20_000, 2000, 2),
    )
    write_csv(
        folder / "data" / "Sensors" / "new_consumptions.csv",
        ("building_id", "meter", "timestamp", "meter_reading"),
        *(
            (
                building_id,
                meter,
                f"{FIRST + timedelta(hours=hour):%Y-%m-%d %H:%M:%S}",
                reading_kwh(building_id, meter, hour),
            )
            for hour in range(HOURS)
            for building_id, meter in METERS
        ),
    )
    return folder


def run_to_end(workspace: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ENERGY_RUN, *options], cwd=workspace, capture_output=True, text=True, check=False)


def test_a_run_ends_by_itself_when_its_hours_are_stored_and_forecast(workspace):
    with RunningPipeline(workspace, "--hours", str(FIRST_HOURS), "--pace", "0") as run:
        assert run.wait_for_end() == 0, run.output()
        output = run.output()
    assert "done: stored and forecast until 2016-09-03 05:00 UTC" in output
    readings = FIRST_HOURS * len(METERS)
    assert f"{readings} readings stored, {readings} forecasts, 0 dead letters" in output
    assert "the first forecasts of this run are in Postgres" in output
    assert "stopped; the data is kept in" in output


def test_a_sensor_that_dies_goes_no_further_than_the_hours_asked_for(workspace):
    with RunningPipeline(workspace, "--hours", "6", "--pace", "2") as run:
        run.wait_for(r"stored until 2016-09-03 0[6-9]")
        run.service("energy-sensor").kill()
        run.wait_for("sensor_publisher was ended by signal 9 and is started again")
        assert run.wait_for_end() == 0, run.output()
        assert "done: stored and forecast until 2016-09-03 11:00 UTC" in run.output()


def test_the_next_run_goes_on_survives_deaths_and_stops_in_order(workspace):
    with RunningPipeline(workspace, "--pace", "0.2") as run:
        run.wait_for(r"replaying data; Ctrl-C stops; stored until 2016-09-0\d")
        for process in [run.service(service.script) for service in SERVICES]:
            process.kill()
        for service in SERVICES:
            run.wait_for(f"{service.name} was ended by signal 9 and is started again")
        run.wait_for("data is replayed; the pipeline stays up until Ctrl-C")
        total = str(HOURS * len(METERS))
        run.ask_until("SELECT count(*) FROM forecasts", total)
        assert (
            run.ask("SELECT count(*), count(DISTINCT (building_id, meter, timestamp)) FROM readings")
            == f"{total}|{total}"
        )
        stored = run.ask("SELECT sum(meter_reading_kwh::numeric) FROM readings")
        expected = sum(reading_kwh(*meter, hour) for meter in METERS for hour in range(HOURS))
        assert float(stored) == pytest.approx(expected, abs=1e-6)
        assert run.ask("SELECT count(*) FROM dead_letters") == "0"

        children = psutil.Process(run.process.pid).children(recursive=True)
        assert len(children) >= len(SERVICES) + 3
        began = time.monotonic()
        run.process.send_signal(signal.SIGINT)
        assert run.wait_for_end() == 0
        assert time.monotonic() - began < 15
        assert not [child for child in children if child.is_running()]


@pytest.fixture(scope="module")
def staying(workspace) -> Iterator[RunningPipeline]:
    """A run that has replayed everything and stays up; the last of its tests kills it."""
    with RunningPipeline(workspace, "--pace", "0") as run:
        run.wait_for("the pipeline stays up until Ctrl-C")
        yield run


def test_a_second_run_on_the_same_state_is_refused_and_disturbs_nothing(staying, workspace):
    second = run_to_end(workspace, "--data", "data", "--state", "state", "--fresh")
    assert second.returncode == 1
    assert f"is in use by process {staying.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert staying.ask("SELECT count(*) FROM readings") == str(HOURS * len(METERS))


def test_a_dead_engine_is_started_again(staying):
    valkey = next(c for c in psutil.Process(staying.process.pid).children() if c.name() == "valkey-server")
    valkey.kill()
    staying.wait_for(r"(?s)redis has ended and is started again.*the pipeline stays up until Ctrl-C")


def test_nothing_outlives_a_killed_run(staying):
    children = psutil.Process(staying.process.pid).children(recursive=True)
    staying.process.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


def test_a_wrong_data_folder_ends_the_run_with_the_place_of_the_fault(workspace):
    broken = workspace / "broken"
    shutil.copytree(workspace / "data", broken)
    file = broken / "Sensors" / "new_consumptions.csv"
    lines = file.read_text().splitlines()
    lines[4] = lines[4].rsplit(",", 1)[0] + ",plenty"
    file.write_text("\n".join(lines))
    run = run_to_end(workspace, "--data", "broken", "--state", "broken_state")
    assert run.returncode == 1
    assert "sensor_publisher cannot go on" in run.stderr
    assert re.search(r"new_consumptions\.csv, line 5, column meter_reading: 'plenty' is not a number", run.stderr)
    assert "Traceback" not in run.stderr


def test_no_password_was_ever_in_the_process_list_a_log_or_the_output(workspace, passwords, command_lines):
    assert any("energy-postgres-consumer" in line for line in command_lines)
    assert any("valkey-server" in line for line in command_lines)
    written = [file for file in workspace.rglob("*") if file.suffix == ".log" or file.name == "output.txt"]
    assert len(written) >= len(SERVICES) + 4
    said = "\n".join([*command_lines, *(file.read_text(errors="replace") for file in written)])
    assert [name for name, password in passwords.items() if password in said] == []
