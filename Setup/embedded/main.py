"""Runs the whole pipeline on this machine: Kafka, PostgreSQL, Valkey and every service, as child processes.

It replays the data folder into the pipeline and shows how far it has come. Ctrl-C stops all of it in order, a
second one at once; the data stays in the state folder, and the next run goes on where this one stopped.
"""

import argparse
import signal
import sys
from pathlib import Path

from rich.console import Console

from Sensor_core.errors import DataFolderError, EnergyError, SettingsError
from Setup.embedded.run import run_pipeline
from Setup.embedded.run_folder import RunFolder
from Setup.embedded.view import LiveView, PlainView, View
from Setup.options import positive, seconds
from Setup.settings import load_settings

STOPPED_BY_SIGNAL = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the pipeline.

    Returns:
        0 after a clean end or stop, 1 after an error (its text on standard error), 2 for wrong settings, 130
        where a signal came before the pipeline was up.
    """
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run(options)
    except SettingsError as error:
        return _fail(error, 2)
    except EnergyError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        print("energy-run: stopped", file=sys.stderr)
        return STOPPED_BY_SIGNAL
    return 0


def _run(options: argparse.Namespace) -> None:
    settings = load_settings()
    if options.pace is not None:
        settings = settings.model_copy(update={"replay_seconds_per_hour": options.pace})
    data: Path = options.data or settings.data_dir
    if not data.is_dir():
        raise DataFolderError(f"{data} is not a folder; --data or DATA_DIR has to name a data folder")
    folder = RunFolder(options.state, data)
    if options.fresh:
        folder.wipe()
    folder.prepare(settings.model_dir)
    run_pipeline(settings, folder, hours=options.hours, view=_view(plain=options.plain))


def _view(*, plain: bool) -> View:
    console = Console()
    return PlainView(console) if plain or not console.is_terminal else LiveView(console)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="energy-run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder to replay (default: DATA_DIR)")
    parser.add_argument(
        "--hours",
        type=positive,
        metavar="N",
        help="end by itself after N hours of event time, all stored and forecast",
    )
    parser.add_argument("--pace", type=seconds, metavar="S", help="seconds per hour of event time, 0: at full speed")
    parser.add_argument("--fresh", action="store_true", help="remove what earlier runs left in the state folder first")
    parser.add_argument("--plain", action="store_true", help="print lines (the default without a terminal)")
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="where data and logs are kept (default: one in .energy a data folder)"
    )
    return parser.parse_args(arguments)


def _fail(error: EnergyError, code: int) -> int:
    print(f"energy-run: {error}", file=sys.stderr)
    return code
