"""One hour of many meters: how long from its first published reading until its last forecast is stored.

Simulates buildings, replays a day of them through energy-run, and then publishes further hours itself, one by one:
each meter reads what it read a day before.

    python benchmarks/hour_latency.py [--buildings 1449] [--hours 8]
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from acceptance import wait_until
from embedded_replay import Pipeline
from rich.console import Console
from rich.table import Table

from Energy_consumption_sensor.feed import Feed
from Sensor_core.reading import Reading
from Setup.publisher import Publisher
from Setup.settings import Settings

SIMULATE = Path(sys.executable).parent / "energy-simulate"
SPAN = ("--start", "2016-07-20", "--split", "2016-09-01", "--end", "2016-09-02")
HOUR = timedelta(hours=1)


def readings_of(run: Pipeline, hour: datetime) -> list[tuple[int, int, float]]:
    """What the meters read in an hour."""
    sql = f"SELECT building_id, meter, meter_reading_kwh FROM readings WHERE \"timestamp\" = '{hour:%F %T}+00'"
    return [(int(building), int(meter), float(kwh)) for building, meter, kwh in run.query(sql)]


def time_hour(run: Pipeline, feed: Feed, hour: datetime) -> tuple[float, float, float]:
    """Publish one hour and wait for its forecasts; returns when it was published, forecast and stored [s]."""
    day_before = readings_of(run, hour - 24 * HOUR)
    (meters,) = run.query("SELECT count(*) FROM meters")[0]
    began = time.time()
    for building, meter, kwh in day_before:
        feed.publish(Reading(building, meter, hour, kwh, hour + HOUR))
    feed.tick(hour, hour + HOUR)
    feed.flush()
    published = time.time()
    sql = f"SELECT count(*), extract(epoch FROM min(made_at)) FROM forecasts WHERE issued_at = '{hour:%F %T}+00'"
    while (found := run.query(sql)[0])[0] != meters:
        time.sleep(0.02)
    return published - began, float(found[1]) - began, time.time() - began


def measure(folder: Path, buildings: int, hours: int) -> tuple[str, list[tuple[float, float, float]]]:
    """Returns the number of meters and the times of each hour."""
    subprocess.run([SIMULATE, "--out", folder / "data", "--buildings", str(buildings), *SPAN], check=True)
    with Pipeline(folder / "data", folder, {}) as run:
        last = datetime(2016, 9, 1, 23, tzinfo=UTC)
        sql = f"SELECT count(*) FROM aggregate_forecasts WHERE issued_at >= '{last:%F %T}+00'"
        wait_until(lambda: run.query(sql) != [["0"]], "the replay is forecast", 1800)
        newest = datetime.fromisoformat(run.query("SELECT forecast_until FROM pipeline_status")[0][0])
        time.sleep(5)
        bootstrap = re.search(r"Kafka: (\d\S+)", run.output())
        publisher = Publisher(Settings(_env_file=None, kafka_bootstrap_servers=bootstrap and bootstrap[1]), "benchmark")
        feed = Feed(publisher, Settings(_env_file=None).consumption_topics)
        timed = [time_hour(run, feed, newest + number * HOUR) for number in range(1, hours + 1)]
        publisher.close()
        return run.query("SELECT count(*) FROM meters")[0][0], timed


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--buildings", type=int, default=1449, metavar="N", help="how many to simulate (%(default)s)")
    parser.add_argument("--hours", type=int, default=8, metavar="N", help="how many hours to time (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        meters, timed = measure(Path(folder), options.buildings, options.hours)
    title = f"{meters} meters, {len(timed)} hours"
    table = Table("from the first reading until", "median [s]", "longest [s]", title=title)
    for name, seconds in zip(("published", "forecast", "stored"), zip(*timed, strict=True), strict=True):
        table.add_row(name, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}")
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
