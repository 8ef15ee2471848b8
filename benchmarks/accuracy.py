"""Accuracy on real data folders: our forecasts, the baselines and mlforecast at the same origins.

    python benchmarks/accuracy.py DATA OUT [--only NAME ...] [--no-peer] [--jobs N]

DATA holds the data folders named in RUNS; each is tried by ``energy-backtest``, whose files go to OUT/NAME.
``buildings-bench`` is the transfer-learning protocol of BuildingsBench (Emami et al. 2023) for commercial buildings:
the first 180 days of a building train, the next 180 test, 24 hours ahead once a day; a backtest for each day on which
buildings begin. The tables print median CVRMSE, and pinball loss and coverage over 1 to 48 h.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

RUNS = {
    "ashrae25": ("ashrae25", "2016-11-15", "2016-11-15", "2016-12-29T18:00", 6),
    "bdg1-dev": ("bdg1-dev", "2015-06-01", "2015-06-01", "2015-11-28", 12),
    "cambridge-dev": ("cambridge-dev", "2020-01-01", "2020-01-01", "2020-12-28", 24),
}
BUILDINGS_BENCH = "buildings-bench"
DAYS = timedelta(days=180)
LEADS = ("1", "3", "6", "12", "24", "48", "all")


def backtest(data: Path, times: tuple[object, ...], out: Path, options: list[str]) -> dict:
    """Run the command; returns what scores.json holds."""
    names = ("--train-until", "--from", "--to", "--every")
    chosen = [text for name, value in zip(names, times, strict=True) for text in (name, str(value))]
    command = [sys.executable, "-m", "Training_scripts.backtest", "--data", str(data), "--out", str(out)]
    subprocess.run([*command, *chosen, *options], check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / "scores.json").read_text())


def show(name: str, scores: dict) -> None:
    """Print a table a level."""
    for level, by_who in scores["levels"].items():
        print(f"\n{name}, {level}\n{'':22}" + "".join(f"{lead:>8}" for lead in (*LEADS, "rmsle", "pinball", "cover")))
        for who, by_lead in by_who.items():
            overall = by_lead["all"]
            numbers = [
                *(by_lead[lead]["cvrmse"] for lead in LEADS),
                *(overall[m] for m in ("rmsle", "pinball", "coverage")),
            ]
            print(f"{who:22}" + "".join(f"{'-' if n is None else f'{n:.4f}':>8}" for n in numbers))
    timing = {name: round(value, 3) for name, value in scores["timing"].items() if value is not None}
    print(f"{name}: {timing}", flush=True)


def buildings_bench(data: Path, out: Path, options: list[str]) -> None:
    """Run a backtest for each day on which buildings begin, and print the median over all of them."""
    from Sensor_core.interval import Interval
    from Training_scripts.sources import history_of_folder

    history = history_of_folder(data, Interval())
    known = ~np.isnan(history.readings_kwh)
    first_day = (history.first + known.argmax(axis=1)) // 24
    errors: dict[str, list[float]] = {}
    for day in np.unique(first_day):
        group = out / f"{BUILDINGS_BENCH}-{day}"
        part = only_buildings(data, group / "data", history.meters.building_id[first_day == day])
        begin = Interval().start_of(int(day) * 24) + timedelta(days=1)
        split = begin + DAYS
        last = min(split + DAYS, Interval().start_of(history.stop)) - timedelta(days=2)
        backtest(part, (f"{split:%Y-%m-%d}", f"{split:%Y-%m-%d}", f"{last:%Y-%m-%d}", 24), group, options)
        for who, values in day_ahead(json.loads((group / "scores.json").read_text())).items():
            errors.setdefault(who, []).extend(values)
    print(f"\n{BUILDINGS_BENCH}, CVRMSE of 1 to 24 h by building: median, mean, buildings")
    for who, values in errors.items():
        print(f"{who:22}{np.median(values):8.4f}{np.mean(values):8.4f}{len(values):6}")


def day_ahead(scores: dict) -> dict[str, list[float]]:
    """Each building's CVRMSE over the first 24 hours, by model, baseline or peer."""
    found: dict[str, list[float]] = {}
    for building in scores["buildings"]:
        for who, value in building["cvrmse_day_ahead"].items():
            if value is not None:
                found.setdefault(who, []).append(value)
    return found


def only_buildings(data: Path, folder: Path, building_ids: np.ndarray) -> Path:
    """A data folder with the readings of some buildings."""
    shutil.copytree(data, folder, dirs_exist_ok=True)
    for name in ("Sensors/new_consumptions.csv.gz", "history.csv.gz"):
        if (folder / name).exists():
            table = pd.read_csv(folder / name, dtype={"timestamp": "str"})
            table[table["building_id"].isin(building_ids)].to_csv(folder / name, index=False)
    return folder


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*RUNS, BUILDINGS_BENCH], default=[*RUNS, BUILDINGS_BENCH])
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--jobs", default=str(os.cpu_count()))
    arguments = parser.parse_args()
    options = ["--jobs", arguments.jobs, *([] if arguments.no_peer else ["--peer"])]
    for name in arguments.only:
        if name == BUILDINGS_BENCH:
            buildings_bench(arguments.data / "bdg1-dev", arguments.out, options)
        else:
            folder, *times = RUNS[name]
            show(name, backtest(arguments.data / folder, tuple(times), arguments.out / name, options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
