"""The forecast hour without the servers: how long features, scoring, totals and the rest take, and a training.

    python benchmarks/forecast_hour.py [--meters 1449] [--hours 6] [--threads 2] [--train]

Simulates six weeks of meters on 16 sites and forecasts the last hours in order, as the predictor does. Prints the
median of each part in seconds of the clock and of the processor (of all threads), and the least of the latter: on a
busy machine that comes closest to an idle one.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from Predictor.forecasting import finishing, forecaster
from Predictor.forecasting.snapshot import Meters
from Sensor_core.interval import Interval
from Training_scripts.dataset import EnergyHistory
from Training_scripts.sources import history_of_folder
from Training_scripts.train import train, validation_begin

MODEL = Path(__file__).parents[1] / "Predictor" / "model"
SIMULATE = Path(sys.executable).parent / "energy-simulate"
SPAN = ("--sites", "16", "--start", "2016-07-20", "--split", "2016-09-01", "--end", "2016-09-02")
PARTS = {
    "features": (forecaster, "build_features"),
    "scoring": (forecaster, "raw_quantiles"),
    "totals as meters": (forecaster, "direct_forecast"),
    "second pass": (finishing.Finisher, "finish"),
    "of it, reconciliation": (finishing, "reconcile"),
}
WHOLE = "whole hour"
Times = dict[str, list[tuple[float, float]]]
"""Seconds of the clock and of the processor, by part."""


def timed(name: str, function: Callable[..., Any], times: Times) -> Callable[..., Any]:
    """The same function, whose every call is noted."""

    def call(*args: object, **kwargs: object) -> object:
        begun = time.perf_counter(), time.process_time()
        result = function(*args, **kwargs)
        times[name].append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
        return result

    return call


def simulated(folder: Path, meters: int) -> EnergyHistory:
    """So many meters; a building has one at least."""
    subprocess.run([SIMULATE, "--out", folder, "--buildings", str(meters), *SPAN], check=True)
    history = history_of_folder(folder, Interval())
    chosen = Meters(*(getattr(history.meters, field.name)[:meters] for field in fields(Meters)))
    return replace(history, meters=chosen, readings_kwh=history.readings_kwh[:meters])


def time_hours(history: EnergyHistory, hours: int, threads: int) -> Times:
    """Forecast the last hours, the first of them unnoticed."""
    times: Times = defaultdict(list)
    for name, (owner, function) in PARTS.items():
        setattr(owner, function, timed(name, getattr(owner, function), times))
    model = forecaster.Forecaster.load(MODEL, num_threads=threads)
    finisher = finishing.Finisher(model.total_model)

    def whole(origin: int) -> Any:
        snapshot = history.snapshot(origin)
        issue = finisher.finish(snapshot, model.raw(snapshot))
        return list(issue.decisions({}, datetime.now(UTC)))

    for origin in range(history.stop - hours - 1, history.stop):
        timed(WHOLE, whole, times)(origin)
    return {name: noted[1:] for name, noted in times.items()}


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meters", type=int, default=1449, metavar="N", help="how many to simulate (%(default)s)")
    parser.add_argument("--hours", type=int, default=6, metavar="N", help="how many hours to time (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of LightGBM (%(default)s)")
    parser.add_argument("--train", action="store_true", help="time a training on the same meters as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        history = simulated(Path(folder), options.meters)
    times = time_hours(history, options.hours, options.threads)
    if options.train:

        def training() -> Any:
            begin = validation_begin(history, None)
            return train(history, begin, num_threads=options.threads, seed=0, stages=lambda _name: lambda _share: None)

        timed("training", training, times)()
    title = f"{len(history.meters)} meters, {options.threads} threads, load {os.getloadavg()[0]:.1f}"
    table = Table("", "clock [s]", "processor [s]", "least", title=title)
    for name, noted in times.items():
        clock, processor = zip(*noted, strict=True)
        shown = statistics.median(clock), statistics.median(processor), min(processor)
        table.add_row(name, *(f"{seconds:.2f}" for seconds in shown))
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
