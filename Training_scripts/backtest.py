"""``energy-backtest``: forecasts at past origins of a data folder, scored against what came.

At every origin the forecaster that the predictor runs is shown what was known then, and nothing else. Needs
no servers. Writes ``forecasts.parquet``, ``scores.json``, ``report.html`` and the models that it trained.
"""

import argparse
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from Predictor.forecasting.forecaster import NO_MODEL
from Predictor.forecasting.model_store import load, save
from Predictor.forecasting.total_model import TotalModel
from Sensor_core.errors import BacktestError, EnergyError, ModelError
from Sensor_core.interval import Interval
from Setup.data_folder import DataFolder
from Setup.options import positive
from Setup.settings import load_settings
from Training_scripts.backtesting.evaluation import PeerForecasts, compare, together
from Training_scripts.backtesting.plan import Fold, Request, origins_of, plan
from Training_scripts.backtesting.rolling import Rolled, finish, joined, submit, workers
from Training_scripts.backtesting.run import Run, UsedModel
from Training_scripts.backtesting.totals import total_keys
from Training_scripts.dataset import EnergyHistory
from Training_scripts.options import utc_time
from Training_scripts.sources import history_of_folder
from Training_scripts.train import Stages, train, validation_begin

_STAGES_OF_TRAINING: Final = 4
_INTERRUPTED: Final = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the backtest, print its table, write its files.

    Returns:
        0; 1 after an error, told in one line on standard error; 130 after Ctrl-C.
    """
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run(arguments)
    except KeyboardInterrupt:
        print("energy-backtest: stopped", file=sys.stderr)
        return _INTERRUPTED
    except BrokenExecutor:
        print("energy-backtest: a worker process was killed, perhaps for lack of memory: try --jobs 1", file=sys.stderr)
        return 1
    except (EnergyError, OSError) as error:
        print(f"energy-backtest: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="energy-backtest",
        description="Forecast at past origins of a data folder as if they were now, and score the forecasts.",
        epilog="Times are UTC. An origin is the newest hour that a forecast may know; lead times are 1 to 48 h.",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="data folder")
    parser.add_argument("--train-until", type=utc_time, metavar="T", help="training uses nothing at or after T")
    parser.add_argument("--from", type=utc_time, metavar="T", required=True, dest="first", help="first origin")
    parser.add_argument("--to", type=utc_time, metavar="T", required=True, dest="last", help="last origin, inclusive")
    parser.add_argument("--every", type=positive, metavar="H", required=True, help="hours from origin to origin")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="folder for the results")
    parser.add_argument("--refit-every", type=positive, metavar="DAYS", help="fit anew to what lies before")
    parser.add_argument("--model", type=Path, metavar="FILE", help="a stored model, or its card, instead of training")
    parser.add_argument("--peer", action="store_true", help="try mlforecast at the same origins")
    parser.add_argument(
        "--jobs", type=positive, metavar="N", default=os.cpu_count() or 1, help="processes (%(default)s)"
    )
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="seed of the training sample (%(default)s)")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    _check(arguments)
    from Training_scripts.backtesting.results import write_results  # noqa: PLC0415 - needs what an extra brings

    request = Request(
        train_until=None if arguments.model else arguments.train_until,
        first=arguments.first,
        last=arguments.last,
        every_h=arguments.every,
        refit_every_days=arguments.refit_every,
    )
    settings, notes = load_settings(), list[str]()

    def note(text: str) -> None:
        notes.append(text)
        print(f"energy-backtest: {text}", file=sys.stderr)

    history = history_of_folder(arguments.data, settings.interval, note)
    folds = plan(history, request)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with _progress(Console(stderr=True)) as progress, workers(arguments.jobs) as pool:
        source = _Models(arguments, settings.model_dir, note)
        models, rolled, peer = _forecasts(history, folds, source, arguments, pool, progress=progress)
    levels = compare(history, origins_of(folds), rolled, peer)
    run = Run(history, folds, models, rolled, peer, levels, time.monotonic() - started, notes)
    write_results(arguments.out, run, vars(arguments))


def _check(arguments: argparse.Namespace) -> None:
    if arguments.model and arguments.refit_every:
        raise BacktestError("--model and --refit-every exclude each other: a stored model is not fitted again")
    if not arguments.model and arguments.train_until is None:
        raise BacktestError("--train-until is missing: give it, or a stored model by --model")
    needed = {"matplotlib": "backtest", "pyarrow": "backtest", **({"mlforecast": "peer"} if arguments.peer else {})}
    for module, extra in needed.items():
        if importlib.util.find_spec(module) is None:
            raise BacktestError(f"{module} is not installed: pip install 'energy-forecast-pipeline[{extra}]'")


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description:16}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    return Progress(*columns, console=console, disable=not console.is_terminal)


class _Models:
    """Where models come from: a stored one, training, or, where there is too little to train on, the one in use."""

    def __init__(self, arguments: argparse.Namespace, in_use: Path, note: Callable[[str], None]) -> None:
        self._arguments = arguments
        self._in_use = in_use
        self._note = note

    def fitted_to(self, past: EnergyHistory, stages: Callable[[], Stages]) -> UsedModel:
        """The model that forecasts what comes after a past."""
        if self._arguments.model:
            return _stored(self._arguments.model, past.interval)
        try:
            return _trained(past, self._arguments.out / "models", self._arguments.seed, stages())
        except ModelError as error:
            model = self._instead(past.interval)
            self._note(f"no model is trained, {model.name} forecasts instead: {error}")
            return model

    def _instead(self, interval: Interval) -> UsedModel:
        try:
            return _stored(self._in_use, interval)
        except ModelError:
            return UsedModel(NO_MODEL, None, None, None)


def _forecasts(
    history: EnergyHistory,
    folds: Sequence[Fold],
    source: _Models,
    arguments: argparse.Namespace,
    pool: Executor,
    *,
    progress: Progress,
) -> tuple[list[UsedModel], Rolled, PeerForecasts | None]:
    """Fit a model for each fold while the workers forecast with those that are ready."""
    rivals = _peer_tasks(history, folds, pool) if arguments.peer else []
    bar = progress.add_task("forecasting", total=len(origins_of(folds)) + len(rivals))
    for rival in rivals:
        rival.add_done_callback(_advancing(progress, bar, 1))
    models, parts = [], []
    for number, fold in enumerate(folds, start=1):
        title = f"training {number}/{len(folds)}" if len(folds) > 1 else "training"
        model = source.fitted_to(history.until(fold.until), partial(_stages, progress, title))
        models.append(model)
        for part, size in submit(pool, arguments.jobs, model.path, history, fold.origins):
            part.add_done_callback(_advancing(progress, bar, size))
            parts.append(part)
    knowledge = [(_totals(model), fold.origins) for model, fold in zip(models, folds, strict=True)]
    sites = DataFolder(arguments.data, history.interval).sites.values()
    limits_kw = {site.site_id: site.limit_kw for site in sites if site.limit_kw is not None}
    rolled = finish(history, knowledge, joined([part.result() for part in parts]), limits_kw)
    return models, rolled, together([rival.result() for rival in rivals]) if rivals else None


def _advancing(progress: Progress, bar: TaskID, steps: int) -> Callable[[Future[Any]], None]:
    return lambda _: progress.advance(bar, steps)


def _totals(model: UsedModel) -> TotalModel:
    return load(model.path).card.totals if model.path else TotalModel()


def _stored(path: Path, interval: Interval) -> UsedModel:
    folder = path.parent if path.is_file() else path
    model = load(folder, interval)
    return UsedModel(model.name, folder, model.card.trained_until, None)


def _trained(past: EnergyHistory, root: Path, seed: int, stages: Stages) -> UsedModel:
    started = time.process_time()
    model, _ = train(past, validation_begin(past, None), num_threads=1, seed=seed, stages=stages)
    name = save(root, model.card, model.boosters)
    return UsedModel(name, root / name, model.card.trained_until, time.process_time() - started)


def _stages(progress: Progress, title: str) -> Stages:
    bar, stage = progress.add_task(title, total=_STAGES_OF_TRAINING), count()

    def begin(_name: str) -> Callable[[float], None]:
        finished = next(stage)
        return lambda share: progress.update(bar, completed=finished + share)

    return begin


def _peer_tasks(history: EnergyHistory, folds: Sequence[Fold], pool: Executor) -> list[Future[PeerForecasts]]:
    from Training_scripts.backtesting.peer import forecast_with_peer  # noqa: PLC0415 - mlforecast is optional

    totals = total_keys(history)
    return [
        pool.submit(forecast_with_peer, history.until(fold.origins[-1] + 1), fold.until, fold.origins, totals)
        for fold in folds
    ]


if __name__ == "__main__":
    sys.exit(main())
