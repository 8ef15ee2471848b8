"""What a backtest is asked for, checked against the data: origins, and what each model may be trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from Sensor_core.errors import BacktestError
from Sensor_core.interval import SECONDS_PER_HOUR
from Training_scripts.dataset import EnergyHistory


@dataclass(frozen=True, kw_only=True)
class Request:
    """The times of a backtest, all UTC.

    Attributes:
        train_until: Training uses nothing at or after it; None where a stored model is tried.
        first: First origin.
        last: Last origin, inclusive.
        every_h: Hours from one origin to the next.
        refit_every_days: Days after which a model is fitted anew; None fits once.
    """

    train_until: datetime | None
    first: datetime
    last: datetime
    every_h: int
    refit_every_days: int | None = None


@dataclass(frozen=True)
class Fold:
    """Origins that share a model.

    Attributes:
        until: The first step that training must not see; no origin lies before the step in front of it.
        origins: Steps of the origins, in order.
    """

    until: int
    origins: tuple[int, ...]


def plan(history: EnergyHistory, request: Request) -> list[Fold]:
    """Lay out the origins, a fold for each fit.

    Raises:
        BacktestError: The times are empty, off the hour, outside of the data, or would let a model see what
            it is to forecast.
    """
    _check_times(history, request)
    interval = history.interval
    first, last = interval.step_of(request.first), interval.step_of(request.last)
    origins = range(first, last + 1, request.every_h * interval.steps_per_hour)
    trained_until = first + 1 if request.train_until is None else interval.step_of(request.train_until)
    if request.refit_every_days is None:
        return [Fold(trained_until, tuple(origins))]
    days = request.refit_every_days * interval.steps_per_day
    rounds = groupby(origins, lambda origin: (origin - first) // days)
    folds = [tuple(members) for _, members in rounds]
    return [Fold(fold[0] if number else trained_until, fold) for number, fold in enumerate(folds)]


def origins_of(folds: Sequence[Fold]) -> list[int]:
    """All origins, in order."""
    return [origin for fold in folds for origin in fold.origins]


def _check_times(history: EnergyHistory, request: Request) -> None:
    first_known, last_known = (history.interval.start_of(step) for step in (history.first, history.stop - 1))
    span = f"the data reach from {_text(first_known)} to {_text(last_known)} UTC"
    times = {"--train-until": request.train_until, "--from": request.first, "--to": request.last}
    for option, time in times.items():
        if time is None:
            continue
        if time.timestamp() % SECONDS_PER_HOUR:
            raise BacktestError(f"{option} {_text(time)} is not a whole hour")
        if not first_known <= time <= last_known:
            raise BacktestError(f"{option} {_text(time)} lies outside of the data: {span}")
    if request.last < request.first:
        raise BacktestError(f"--to {_text(request.last)} lies before --from {_text(request.first)}: there is no origin")
    if request.train_until is not None and request.train_until > history.interval.end_of(
        history.interval.step_of(request.first)
    ):
        raise BacktestError(
            f"--from {_text(request.first)} lies before --train-until {_text(request.train_until)}: "
            "the model would have been trained on what it is to forecast"
        )


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"
