"""``energy-simulate``: a data folder of simulated sites, buildings, meters and weather.

Deterministic: the same options give the same bytes. docs/simulator.md compares it with real data.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track

from Sensor_core.interval import SECONDS_PER_HOUR, Interval
from Training_scripts.simulation.data_folder import write_readings, write_tables, write_weather
from Training_scripts.simulation.history_dump import write_dump
from Training_scripts.simulation.plan import Plan
from Training_scripts.simulation.world import Track, World, simulate_world


def write_world(world: World, folder: Path, dump: Path | None, suffix: str, progress: Track) -> None:
    """Write a data folder.

    Args:
        world: What to write.
        folder: Where to; files of the same name are replaced.
        dump: SQL file that takes the history instead of ``history.csv``.
        suffix: ``.csv`` or ``.csv.gz`` for the large files.
        progress: Iterates and shows how far it is.
    """
    split, end = world.plan.history_steps, len(world.plan.times_s)
    write_tables(world, folder)
    write_weather(world.weather, _alone(folder / "weather", suffix))
    history = _alone(folder / "history", suffix)
    if dump:
        write_dump(world, dump, progress)
    else:
        write_readings(world, history, 0, split, progress)
    write_readings(world, _alone(folder / "Sensors" / "new_consumptions", suffix), split, end, progress)


def _alone(stem: Path, suffix: str) -> Path:
    """The file's path, after files of an earlier run that a reader might take instead are gone."""
    for other in (".csv", ".csv.gz"):
        stem.with_suffix(other).unlink(missing_ok=True)
    return stem.with_suffix(suffix)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="energy-simulate",
        description="Simulate buildings and write them as a data folder in the ASHRAE data set's columns.",
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="data folder to write")
    add("--seed", type=_count, default=2016, metavar="N", help="the only source of chance (%(default)s)")
    add("--sites", type=_count, default=4, metavar="N", help="number of sites (%(default)s)")
    add("--buildings", type=_count, default=40, metavar="N", help="dealt to the sites in turn (%(default)s)")
    add("--start", type=_day, default="2016-01-01", metavar="DAY", help="first day, UTC (%(default)s)")
    add("--split", type=_day, default="2016-09-01", metavar="DAY", help="the replay's first day (%(default)s)")
    add("--end", type=_day, default="2017-01-01", metavar="DAY", help="the day after the last (%(default)s)")
    add("--interval", type=_interval, default="3600", metavar="SECONDS", help="of the meters (%(default)s)")
    add("--gzip", action="store_true", help="compress weather and readings")
    add("--dump", type=Path, metavar="FILE", help="write the history as SQL instead of history.csv")
    return parser


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number such as 40")
    return int(text)


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2016-09-01") from None


def _interval(text: str) -> Interval:
    try:
        return Interval(int(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} does not divide the hour's {SECONDS_PER_HOUR} seconds; try 900"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate as the command line asks."""
    parser = _parser()
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    progress = partial(track, console=console, disable=not console.is_terminal)
    try:
        plan = Plan(
            seed=options.seed,
            sites=options.sites,
            buildings=options.buildings,
            start=options.start,
            split=options.split,
            end=options.end,
            interval=options.interval,
        )
        world = simulate_world(plan, progress)
        write_world(world, options.out, options.dump, ".csv.gz" if options.gzip else ".csv", progress)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    console.print(
        f"{options.out}: {len(world.meters)} meters of {plan.buildings} buildings on {plan.sites} sites, "
        f"{plan.start:%Y-%m-%d} to {plan.end:%Y-%m-%d}, replay from {plan.split:%Y-%m-%d}",
        highlight=False,
        soft_wrap=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
