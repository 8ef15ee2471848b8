"""Several days through the whole pipeline, as a user starts it, held against the files row by row.

A run replays some days and stays up. What the tables hold then is compared with what a parser of the tests' own finds
in the files, both ways.
"""

import gzip
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import psycopg2
import psycopg2.extensions
import pytest
from dotenv import dotenv_values
from kafka import KafkaConsumer, TopicPartition
from psycopg2.extras import execute_values

from tests.e2e.data_folder_rows import HOUR, replay_rows
from tests.running_pipeline import ROOT, SCRIPTS, RunningPipeline, prepare_workspace

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

REAL = ROOT.parent / "shared" / "data" / "ashrae25"
TO_BE_STORED = ("energy_consumption_postgre", "energy_consumption_predictions", "energy_anomalies")
PARTITIONS = 3


@dataclass(frozen=True)
class Scenario:
    """What is replayed."""

    name: str
    make_data: Callable[[Path], Path]
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def interval(self) -> timedelta:
        return timedelta(seconds=int(self.settings.get("METER_INTERVAL_S", "3600")))


def first_days(workspace: Path) -> Path:
    return cut(ROOT / "New_data", workspace, "2016-08-31", "2016-09-04")


def real(workspace: Path) -> Path:
    if not REAL.is_dir():
        pytest.skip(f"the real data folder {REAL} is absent")
    return cut(REAL, workspace, "2016-09-01", "2016-09-04")


def around_the_clock_change(workspace: Path) -> Path:
    """The clock of site 0 (stamps: local) goes back in the night to 6 November."""
    return cut(ROOT / "New_data", workspace, "2016-11-05", "2016-11-08")


def cut(source: Path, workspace: Path, begin: str, end: str) -> Path:
    """A copy of a data folder with some days of its replay, by its own stamps."""
    data = workspace / "data"
    shutil.copytree(source, data)
    (file,) = (data / "Sensors").iterdir()
    file.chmod(0o644)
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt") as stream:
        header, *lines = stream
    with opened(file, "wt") as stream:
        stream.writelines([header, *(line for line in lines if begin <= line.split(",")[2] < end)])
    return data


QUARTERS = 36 * 4 + 1


def quarter_hours(workspace: Path) -> Path:
    """Three meters on two sites for a day and a half, every 900 s; one unit differs, one reading is missing."""
    data = workspace / "quarters"
    (data / "Sensors").mkdir(parents=True)
    write(data / "sites.csv", "site_id,time_zone,latitude,longitude,country,stamps",
          "0,Europe/Berlin,52.5,13.4,DE,utc", "1,America/Chicago,41.9,-87.6,US,standard")  # fmt: skip
    write(data / "building_metadata.csv", "site_id,building_id,primary_use,square_feet,year_built,floor_count",
          "0,1,Office,10000,1990,3", "1,2,Education,20000,,")  # fmt: skip
    write(data / "meters.csv", "building_id,meter,unit,multiplier", "2,0,kBTU,10")
    begin = {1: datetime(2016, 9, 2, 6), 2: datetime(2016, 9, 2, 0)}  # noqa: DTZ001 - each site's own clock
    rows = [
        f"{building},{meter},{begin[building] + timedelta(minutes=15 * step)},{(building * 7 + meter + step) % 11 / 4}"
        for step in range(QUARTERS)
        for building, meter in ((1, 0), (1, 3), (2, 0))
        if (step, meter) != (50, 3)
    ]
    write(data / "Sensors" / "new_consumptions.csv", "building_id,meter,timestamp,meter_reading", *rows)
    return data


def write(file: Path, *lines: str) -> None:
    file.write_text("\n".join(lines) + "\n")


SCENARIOS = [
    Scenario("New_data", first_days),
    Scenario("clock_change", around_the_clock_change),
    Scenario("quarter_hours", quarter_hours, settings={"METER_INTERVAL_S": "900"}),
    pytest.param(Scenario("ashrae25", real), marks=pytest.mark.real_data),
]


class Replayed:
    """A pipeline that has replayed its hours and stays up, with the files' rows beside its tables."""

    def __init__(self, scenario: Scenario, data: Path, run: RunningPipeline, workspace: Path) -> None:
        self.scenario = scenario
        self.data = data
        self._run = run
        self._workspace = workspace
        self.rows = replay_rows(data)
        self.first = min(row.timestamp for row in self.rows)
        self.last = max(row.timestamp for row in self.rows)
        self.kafka = run.wait_for(r"Kafka: (\d\S+)").group(1)
        self.postgres = self._connect()

    def _connect(self) -> psycopg2.extensions.connection:
        host, port, database = self._run.wait_for(r"Postgres: (.+):(\d+), database (\w+)").groups()
        password = dotenv_values(self._workspace / ".env")["POSTGRES_PASSWORD"]
        connection = psycopg2.connect(host=host, port=port, dbname=database, user="postgres", password=password)
        connection.autocommit = True
        return connection

    def ask(self, statement: str) -> list[tuple]:
        with self.postgres.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def execute(self, statement: str) -> None:
        with self.postgres.cursor() as cursor:
            cursor.execute(statement)

    def load_files(self) -> None:
        """The files' rows as the temporary table ``file_rows``, beside ``replayed``: the readings of their time."""
        self.execute(
            "CREATE TEMPORARY TABLE file_rows (site_id integer, building_id integer, meter smallint,"
            ' "timestamp" timestamptz, meter_reading_kwh double precision)'
        )
        with self.postgres.cursor() as cursor:
            values = [(r.site_id, r.building_id, r.meter, r.timestamp, r.kwh) for r in self.rows]
            execute_values(cursor, "INSERT INTO file_rows VALUES %s", values, page_size=5000)
        self.execute(f"CREATE TEMPORARY VIEW replayed AS SELECT * FROM readings WHERE \"timestamp\" >= '{self.first}'")

    def end_offsets(self) -> dict[tuple[str, int], int]:
        consumer = KafkaConsumer(bootstrap_servers=self.kafka)
        try:
            partitions = [TopicPartition(t, n) for t in TO_BE_STORED for n in consumer.partitions_for_topic(t)]
            return {(topic, number): end for (topic, number), end in consumer.end_offsets(partitions).items()}
        finally:
            consumer.close()

    def wait_until_stored(self, within_s: float = 90) -> None:
        """Wait until forecasts have reached the last hour, and all that the topics hold is in Postgres."""
        deadline = time.monotonic() + within_s
        while not self._is_stored():
            status = self.ask("SELECT * FROM pipeline_status")
            assert time.monotonic() < deadline, f"{status}, not {self.last}\n{self._run.output()}"
            time.sleep(0.5)

    def _is_stored(self) -> bool:
        if self.ask("SELECT stored_until, forecast_until FROM pipeline_status") != [(self.last, self.last)]:
            return False
        stored = {(t, n): o for t, n, o in self.ask('SELECT topic, "partition", next_offset FROM consumer_offsets')}
        return all(stored.get(partition, 0) == end for partition, end in self.end_offsets().items())

    def publish_again(self) -> None:
        """Replay the same hours by another publisher, into the same topics."""
        settings = {"KAFKA_BOOTSTRAP_SERVERS": self.kafka, **self.scenario.settings}
        command = [SCRIPTS / "energy-sensor", "--from-start", "--pace", "0", "--data", self.data]
        subprocess.run(command, cwd=self._workspace, env={**os.environ, **settings}, check=True, capture_output=True)


@pytest.fixture(scope="module", params=SCENARIOS, ids=lambda scenario: scenario.name)
def replayed(request, tmp_path_factory) -> Iterator[Replayed]:
    scenario = request.param
    workspace = tmp_path_factory.mktemp(scenario.name)
    prepare_workspace(workspace)
    data = scenario.make_data(workspace)
    with RunningPipeline(workspace, "--pace", "0", data=data, settings=scenario.settings) as run:
        replayed = Replayed(scenario, data, run, workspace)
        replayed.wait_until_stored()
        replayed.load_files()
        yield replayed
        replayed.postgres.close()


def difference(replayed: Replayed, one: str, other: str) -> tuple[list[tuple], list[tuple]]:
    """Rows of one query that the other lacks, and the other way round; a few of each."""
    return (
        replayed.ask(f"({one}) EXCEPT ALL ({other}) LIMIT 5"),
        replayed.ask(f"({other}) EXCEPT ALL ({one}) LIMIT 5"),
    )


NONE = ([], [])


def test_every_reading_of_the_files_is_stored_once_and_nothing_else(replayed):
    assert len(replayed.rows) > 100
    known_at = f"\"timestamp\" + interval '{replayed.scenario.interval}'"
    stored = 'SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM replayed'
    written = f'SELECT building_id, meter, "timestamp", meter_reading_kwh, {known_at} FROM file_rows'
    assert difference(replayed, stored, written) == NONE


def test_totals_are_the_sums_of_the_files_readings(replayed):
    since = f"WHERE \"timestamp\" >= '{replayed.first}'"
    totals = f'SELECT site_id, meter, "timestamp", energy_kwh, meters_reported FROM site_totals {since}'
    sums = (
        'SELECT site_id, meter, "timestamp", sum(meter_reading_kwh::numeric), count(*)'
        ' FROM file_rows GROUP BY site_id, meter, "timestamp"'
    )
    assert difference(replayed, totals, sums) == NONE
    grid = f'SELECT meter, "timestamp", round(energy_kwh::numeric, 6), meters_reported FROM hourly_grid_totals {since}'
    sums = (
        'SELECT meter, "timestamp", round(sum(meter_reading_kwh::numeric), 6), count(*)'
        ' FROM file_rows GROUP BY meter, "timestamp"'
    )
    assert difference(replayed, grid, sums) == NONE


def test_every_meter_has_a_forecast_for_every_hour_of_the_replay(replayed):
    """From a meter's first reading on; those with history have it from the first hour."""
    expected = f"""
        SELECT building_id, meter, generate_series(greatest(min("timestamp"), '{replayed.first}'),
                                                   '{replayed.last}', '{replayed.scenario.interval}')
        FROM readings GROUP BY building_id, meter"""
    assert difference(replayed, "SELECT building_id, meter, issued_at FROM forecasts", expected) == NONE
    horizon = 48 * HOUR // replayed.scenario.interval
    misshapen = f"""
        SELECT building_id, meter, issued_at FROM forecasts
        WHERE (cardinality(q10), cardinality(q50), cardinality(q90)) IS DISTINCT FROM ({horizon}, {horizon}, {horizon})
           OR EXISTS (SELECT FROM unnest(q10, q50, q90) AS f (low, middle, high)
                      WHERE (low <= middle AND middle <= high AND high < 'infinity') IS NOT TRUE)"""
    assert replayed.ask(misshapen) == []


def test_sites_and_the_grid_have_a_forecast_for_every_hour_of_the_replay(replayed):
    expected = """
        SELECT DISTINCT site_id, f.meter, issued_at FROM forecasts f JOIN buildings USING (building_id)
        UNION ALL SELECT DISTINCT NULL::integer, meter, issued_at FROM forecasts"""
    assert difference(replayed, "SELECT site_id, meter, issued_at FROM aggregate_forecasts", expected) == NONE


def test_nothing_was_refused_unknown_or_lost(replayed):
    for table in ("dead_letters", "unknown_buildings", "data_gaps", "reading_revisions"):
        assert replayed.ask(f"SELECT * FROM {table}") == [], table


def test_the_same_replay_again_changes_nothing(replayed):
    tables = ("readings", "reading_revisions", "site_totals", "forecasts", "dead_letters")
    for table in tables:
        replayed.execute(f"CREATE TEMPORARY TABLE {table}_before AS TABLE {table}")
    topic = TO_BE_STORED[0]
    ends = replayed.end_offsets()
    replayed.publish_again()
    replayed.wait_until_stored()
    arrived = sum(end - ends[name, n] for (name, n), end in replayed.end_offsets().items() if name == topic)
    assert arrived > len(replayed.rows), "the readings did come a second time"
    for table in tables:
        assert difference(replayed, f"TABLE {table}", f"TABLE {table}_before") == NONE, table
