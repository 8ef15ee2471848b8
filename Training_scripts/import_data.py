"""``energy-import``: ASHRAE's competition files, or the Building Data Genome 2, as a data folder or into Postgres.

Every row is checked. What cannot be used is dropped and what can be mended is mended; a table at the end and
report.json say what and why, and report_cases.csv.gz has every single case with file, line, column and value.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg2
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from Sensor_core.errors import DataFolderError, EnergyError
from Sensor_core.interval import Interval
from Setup.settings import Settings, load_settings
from Training_scripts.importing import genome, kaggle
from Training_scripts.importing.findings import CASES, REPORT, Findings
from Training_scripts.importing.outputs import Outputs
from Training_scripts.importing.readings import ReadingChecks
from Training_scripts.importing.source import Source, find
from Training_scripts.importing.spool import Spool, single_readings
from Training_scripts.importing.weather_cleaning import clean_weather
from Training_scripts.options import utc_time

_PLAIN_WIDTH: Final = 160

Stage = Callable[[str, int], Callable[[int], None]]
"""Begins a stage by its name and its amount of work, and returns what to tell the work done."""


def main(argv: Sequence[str] | None = None) -> int:
    """Import as the command line asks.

    Returns:
        0, or 1 after an error, told in one line on standard error.
    """
    arguments = _parser().parse_args(argv)
    if arguments.out is None and arguments.to is None:
        print("energy-import: give --out DIR, or --to postgres, or both", file=sys.stderr)
        return 2
    try:
        settings = load_settings()
        with Findings(arguments.report or arguments.out or Path()) as findings:
            _run(arguments, settings, findings)
    except (EnergyError, OSError, psycopg2.Error) as error:
        print(f"energy-import: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        return 1
    return 0


def open_source(folder: Path, sites_file: Path | None, findings: Findings) -> Source:
    """Recognise the layout of a folder by its files.

    Raises:
        DataFolderError: It is neither, or a file or a column is missing.
    """
    if not folder.is_dir():
        raise DataFolderError(f"{folder} is not a folder")
    if sites_file is not None and not sites_file.is_file():
        raise DataFolderError(f"{sites_file} does not exist")
    if find(folder, kaggle.READINGS):
        return kaggle.open_kaggle(folder, sites_file, findings)
    if find(folder, *genome.METADATA):
        return genome.open_genome(folder, sites_file, findings)
    raise DataFolderError(
        f"{folder} has neither {kaggle.READINGS} (ASHRAE's competition) nor metadata.csv (Building Data Genome 2), "
        "plain or gzipped"
    )


def import_source(
    source: Source, outputs: Outputs, *, scratch: Path, interval: Interval, findings: Findings, stage: Stage
) -> None:
    """Read everything, check it, and hand it on week by week.

    Raises:
        DataFolderError: A file cannot be read, or no reading is left.
    """
    spool = Spool(scratch)
    for number, file in enumerate(source.readings):
        advance = stage(f"reading {file.path.name}", file.path.stat().st_size)
        for records in ReadingChecks(source, number, interval, findings).records(advance):
            spool.append(records)
    if not spool.rows:
        names = ", ".join(str(file.path) for file in source.readings)
        raise DataFolderError(f"{names}: no reading is left; see {findings.folder / REPORT}")
    size = source.weather.path.stat().st_size if source.weather else 0
    outputs.begin(source, clean_weather(source, findings, stage("reading weather", size)))
    written = stage("writing", sum(spool.rows.values()))
    for week in spool.weeks():
        outputs.add(single_readings(spool, week, source, findings))
        written(spool.rows[week])


def _run(arguments: argparse.Namespace, settings: Settings, findings: Findings) -> None:
    console = Console(stderr=True)
    began = datetime.now(UTC)
    facts: dict[str, object] = {"source": str(arguments.folder), "began_at": began.isoformat(timespec="seconds")}
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.out, prefix=".import_")))
            source = open_source(arguments.folder, arguments.sites, findings)
            stage = stack.enter_context(_progress(console))
            outputs = stack.enter_context(
                Outputs(arguments.out, settings if arguments.to else None, arguments.replay_from, scratch)
            )
            import_source(source, outputs, scratch=scratch, interval=settings.interval, findings=findings, stage=stage)
        facts |= {
            "layout": source.layout,
            "sites": {name: site.site_id for name, site in source.sites.items()},
            "buildings": len(source.buildings),
            **outputs.facts,
            "took_s": round((datetime.now(UTC) - began).total_seconds(), 1),
        }
    finally:
        findings.write(facts)
    _tell(outputs, findings)


def _tell(outputs: Outputs, findings: Findings) -> None:
    output = Console(soft_wrap=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False)
    if findings.sorted():
        output.print(findings.table())
    for name, counts in findings.rows.items():
        output.print(f"{name}: " + ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in counts.items()))
    for line in outputs.summary():
        output.print(line, soft_wrap=True)
    output.print(f"{findings.folder / REPORT} has the report, {findings.folder / CASES} every case", soft_wrap=True)


@contextmanager
def _progress(console: Console) -> Iterator[Stage]:
    """A bar a stage on a terminal, nothing elsewhere."""
    columns = (
        TextColumn("{task.description:28}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def begin(name: str, amount: int) -> Callable[[int], None]:
            task = progress.add_task(name, total=amount)
            return lambda done: progress.update(task, advance=done)

        yield begin


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="energy-import",
        description="Import ASHRAE's competition files (train.csv, building_metadata.csv, weather_train.csv) or the "
        "Building Data Genome 2 (metadata.csv, electricity.csv, chilledwater.csv, steam.csv, hotwater.csv, "
        "weather.csv), plain or gzipped.",
        epilog="FILE of --sites has the columns site_id, time_zone, latitude, longitude, country, and optionally "
        "stamps (standard if absent: local time without daylight saving; or local, utc), limit_kw and "
        "electricity_unit (kWh if absent). Without it the competition's 16 sites are known, with site 0's "
        "electricity in kBTU, and the Genome's metadata says where its sites are.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="folder of the files")
    add("--out", type=Path, metavar="DIR", help="data folder to write")
    add("--to", choices=["postgres"], help="load readings and weather into the warehouse that .env names")
    add("--replay-from", type=utc_time, metavar="T",
        help="UTC: readings from T on are the data folder's replay, and are not loaded into Postgres; those before "
        "it are history.csv.gz (without: all is replayed, or loaded)")  # fmt: skip
    add("--sites", type=Path, metavar="FILE", help="table of the sites, instead of the built-in one")
    add("--report", type=Path, metavar="DIR", help="folder for the report (--out, or the current folder)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
