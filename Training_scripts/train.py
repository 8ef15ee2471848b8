"""``energy-train``: a model from a data folder or from the warehouse.

The newest part of the past validates: a model fitted to the rest is tried on it beside the baselines,
and what its intervals missed there calibrates them. The model that is kept is then fitted anew to
everything.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from Predictor.forecasting.forecaster import Forecaster
from Predictor.forecasting.model_store import Model, save
from Predictor.forecasting.total_model import TotalModel
from Sensor_core.errors import EnergyError, ModelError
from Setup.postgres import Role, wait_for_postgres
from Setup.settings import Settings, load_settings
from Training_scripts.dataset import EnergyHistory
from Training_scripts.fitting import calibrated, fit
from Training_scripts.options import utc_time
from Training_scripts.registry import tell_registry
from Training_scripts.samples import WARM_UP_DAYS
from Training_scripts.sources import history_of_folder, history_of_warehouse
from Training_scripts.total_fitting import total_model, total_weights
from Training_scripts.validation import (
    Scores,
    for_card,
    score_table,
    score_with_baselines,
    try_out,
    validation_origins,
)

VALIDATION_SHARE: Final = 0.2
_LEAST_TRAINING_DAYS: Final = 7
_PLAIN_WIDTH: Final = 120

Stages = Callable[[str], Callable[[float], None]]
"""Begins a stage by its name and returns what to tell the share done."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train, print the scores, write the dump.

    Returns:
        0, or 1 after an error, told in one line on standard error.
    """
    arguments = _parser().parse_args(argv)
    try:
        settings = load_settings()
        history = _history(arguments.data, settings)
        first_validated = validation_begin(history, arguments.validate_from)
        console = Console(stderr=True)
        with _progress(console) as stages:
            model, scores = train(
                history, first_validated, num_threads=arguments.threads, seed=arguments.seed, stages=stages
            )
        root = arguments.out or settings.model_dir
        version = save(root, model.card, model.boosters)
        note = tell_registry(settings, root, f"energy-train on {arguments.data or 'the warehouse'}")
    except (EnergyError, OSError) as error:
        print(f"energy-train: {error}", file=sys.stderr)
        return 1
    begin = history.interval.start_of(first_validated)
    output = Console(soft_wrap=True, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    output.print(score_table(scores, f"validated from {begin:%Y-%m-%d %H:%M} UTC, before the refit"))
    output.print(f"{version} written to {root}: {len(history.meters)} meters, fitted to all of the data")
    if note:
        print(f"energy-train: {note}", file=sys.stderr)
    return 0


def train(
    history: EnergyHistory, first_validated: int, *, num_threads: int, seed: int, stages: Stages
) -> tuple[Model, Scores]:
    """Fit, validate, calibrate, and fit again to everything.

    Args:
        history: What to learn from.
        first_validated: The first step that only validates.
        num_threads: Threads of LightGBM.
        seed: Seed of the draw of rows.
        stages: Where progress goes.

    Returns:
        The model, its card complete but for the files, and the scores of the validation.
    """
    trial = fit(history, first_validated, seed=seed, num_threads=num_threads, advance=stages("fitting"))
    origins = validation_origins(history, first_validated - 1)
    trials = try_out(history, Forecaster(trial, num_threads=num_threads), origins, stages("validating"))
    trial = calibrated(trial, trials, history)
    trials = try_out(history, Forecaster(trial, num_threads=num_threads), origins, stages("scoring"))
    scores = score_with_baselines(history, origins, trials)
    totals = _totals(history, first_validated, trial, seed)
    totals = total_model(history, origins, trials.quantiles, trial.linear, totals, advance=stages("totals"))
    final = fit(history, history.stop, seed=seed, num_threads=num_threads, advance=stages("refitting"))
    card = msgspec.structs.replace(
        final.card,
        calibration=trial.card.calibration,
        totals=msgspec.structs.replace(totals, weights=_totals(history, history.stop, final, seed).weights),
        scores=for_card(scores),
        readings=int(np.isfinite(history.readings_kwh).sum()),
        seed=seed,
    )
    return replace(final, card=card), scores


def _totals(history: EnergyHistory, until: int, model: Model, seed: int) -> TotalModel:
    return TotalModel(weights=total_weights(history, until, model.linear, np.random.default_rng(seed)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="energy-train",
        description="Train the forecaster and write its dump.",
        epilog="Without --data it reads Postgres, as set in .env.",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder to learn from")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of model versions (MODEL_DIR)")
    parser.add_argument(
        "--validate-from",
        type=utc_time,
        metavar="T",
        help="first hour that validates, UTC (the last fifth of the data)",
    )
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="more than one only pays on idle cores (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the sample (%(default)s)")
    return parser


def _history(data: Path | None, settings: Settings) -> EnergyHistory:
    if data is not None:
        return history_of_folder(data, settings.interval, lambda text: print(f"energy-train: {text}", file=sys.stderr))
    connection = wait_for_postgres(settings, Role.TRAINER)
    try:
        return history_of_warehouse(connection, settings.interval, settings.training_max_readings)
    finally:
        connection.close()


def validation_begin(history: EnergyHistory, asked: datetime | None) -> int:
    """The step that validation begins with.

    Raises:
        ModelError: Too little would be left to train on, or to validate with.
    """
    interval = history.interval
    steps = history.stop - history.first
    first = history.stop - round(steps * VALIDATION_SHARE) if asked is None else interval.step_of(asked)
    needed = (WARM_UP_DAYS + _LEAST_TRAINING_DAYS) * interval.steps_per_day
    if first - history.first < needed or first > history.stop - interval.steps_per_day:
        span = f"{interval.start_of(history.first):%Y-%m-%d %H:%M} to {interval.start_of(history.stop):%Y-%m-%d %H:%M}"
        raise ModelError(
            f"validation cannot begin at {interval.start_of(first):%Y-%m-%d %H:%M}: the data reach from {span} UTC, "
            f"and training needs {WARM_UP_DAYS + _LEAST_TRAINING_DAYS} days before it, validation one day after"
        )
    return first


@contextmanager
def _progress(console: Console) -> Iterator[Stages]:
    """A bar a stage on a terminal, nothing elsewhere."""
    columns = (TextColumn("{task.description:12}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def begin(stage: str) -> Callable[[float], None]:
            task = progress.add_task(stage, total=1.0)
            return lambda share: progress.update(task, completed=share)

        yield begin


if __name__ == "__main__":
    sys.exit(main())
