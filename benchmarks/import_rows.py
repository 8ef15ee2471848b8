"""``energy-import`` on a file like ASHRAE's train.csv: 2,380 meters, 20 million rows.

    python benchmarks/import_rows.py [--rows 20000000] [--folder DIR]

Makes the file, then imports it into a data folder and, apart from that, into an embedded PostgreSQL on its
default settings. Shown are wall-clock time and, because the machine may have other work, processor time: of the
command, and of PostgreSQL beside it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv as arrow_csv

BUILDINGS, METERS, SITES = 1449, 2380, 16
FIRST_HOUR = np.datetime64("2016-01-01T00:00:00")
PASSWORD = "benchmark"  # noqa: S105 - of a server that this run makes and removes
NO_HEADER = arrow_csv.WriteOptions(include_header=False)
WEATHER = (
    "air_temperature,cloud_coverage,dew_temperature,precip_depth_1_hr,sea_level_pressure,wind_direction,wind_speed"
)


def make_files(folder: Path, rows: int) -> int:
    """Write the three files of the competition; returns the number of readings."""
    random = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    metadata = [f"{b * SITES // BUILDINGS},{b},Education,{1000 + b},1990.0,\n" for b in range(BUILDINGS)]
    header = "site_id,building_id,primary_use,square_feet,year_built,floor_count\n"
    (folder / "building_metadata.csv").write_text(header + "".join(metadata))
    meters = np.arange(METERS)
    building_id, meter = meters % BUILDINGS, meters // BUILDINGS
    hours = -(-rows // METERS)
    with (folder / "train.csv").open("wb") as stream:
        stream.write(b"building_id,meter,timestamp,meter_reading\n")
        for hour in range(hours):
            stamp = np.full(METERS, FIRST_HOUR + np.timedelta64(hour, "h"), dtype="datetime64[s]")
            kwh = np.round(random.gamma(2, 100, METERS), 4)
            arrow_csv.write_csv(pa.table([building_id, meter, stamp, kwh], names=list("bmtv")), stream, NO_HEADER)
    stamps = [str(FIRST_HOUR + np.timedelta64(hour, "h")).replace("T", " ") for hour in range(hours)]
    lines = [f"{site},{stamp},12.5,4.0,5.0,0.0,1013.1,180.0,3.1\n" for site in range(SITES) for stamp in stamps]
    (folder / "weather_train.csv").write_text(f"site_id,timestamp,{WEATHER}\n" + "".join(lines))
    return hours * METERS


def run(arguments: list[str], environment: dict[str, str] | None = None) -> tuple[float, float, float]:
    """Run the command; returns seconds by the wall, seconds of processor, and its largest memory in MB."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "Training_scripts.import_data", *arguments]
    child = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"energy-import failed with status {status}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


class Postgres:
    """An embedded PostgreSQL in a folder of its own, and its processor time."""

    def __init__(self, state: Path) -> None:
        from Setup.embedded.postgres_engine import PostgresEngine
        from Setup.embedded.state_folder import any_free_port

        (state / "logs").mkdir(parents=True)
        self.port = any_free_port()
        self.engine = PostgresEngine(state, self.port, password=PASSWORD, database="energy")
        self.engine.start(lambda _line: None)

    def processor_s(self) -> float:
        """Seconds of all its processes, those included that have ended."""
        server = next(c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == self.port and c.pid)
        process = psutil.Process(server)
        times = [p.cpu_times() for p in (process, *process.children(recursive=True))]
        return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def main() -> None:
    """Make the file, import it twice, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="has room for 3 GB")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="import_rows_", dir=options.folder))
    folder.chmod(0o755)
    try:
        rows = make_files(folder / "kaggle", options.rows)
        print(f"{rows:,} rows, {(folder / 'kaggle' / 'train.csv').stat().st_size / 1e6:,.0f} MB", flush=True)
        print(f"{'to':12} {'wall s':>8} {'processor s':>12} {'server s':>9} {'peak MB':>8} {'load':>5}")
        measured = run([str(folder / "kaggle"), "--out", str(folder / "out")])
        print(row("data folder", measured, 0.0), flush=True)
        shutil.rmtree(folder / "out")
        postgres = Postgres(folder / "state")
        try:
            settings = {"POSTGRES_PORT": str(postgres.port), "POSTGRES_PASSWORD": PASSWORD}
            before = postgres.processor_s()
            measured = run([str(folder / "kaggle"), "--to", "postgres", "--report", str(folder)], settings)
            print(row("postgres", measured, postgres.processor_s() - before))
        finally:
            postgres.engine.stop()
    finally:
        shutil.rmtree(folder)


def row(name: str, measured: tuple[float, float, float], server_s: float) -> str:
    """One line of the table."""
    wall_s, processor_s, peak_mb = measured
    return f"{name:12} {wall_s:8.1f} {processor_s:12.1f} {server_s:9.1f} {peak_mb:8.0f} {os.getloadavg()[0]:5.1f}"


if __name__ == "__main__":
    main()
