"""Forecasts at past origins, each made from a snapshot that ends there.

The first pass, which looks at one snapshot at a time, is done by as many processes as asked for; the second, which
learns from what has come since, goes through the origins in order.
"""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from Predictor.forecasting.fallback import LADDER
from Predictor.forecasting.finishing import Finisher, Issue
from Predictor.forecasting.forecaster import Forecaster, RawForecast
from Predictor.forecasting.snapshot import Floats, Floats32, Snapshot, history_steps
from Predictor.forecasting.total_model import TotalModel
from Sensor_core.decision import Decision
from Sensor_core.forecast import AGGREGATE_LEVELS, METER_LEVELS
from Sensor_core.interval import HORIZON_H, Interval
from Training_scripts.baselines import BASELINES
from Training_scripts.dataset import EnergyHistory

_MOST_ORIGINS_A_TASK: Final = 16
_TASKS_A_JOB: Final = 4
_LEVELS: Final = [AGGREGATE_LEVELS.index(level) for level in METER_LEVELS]
_MIDDLE: Final = AGGREGATE_LEVELS.index(0.5)
_RUNG: Final = {quality: rung for rung, quality in enumerate(LADDER)}


@dataclass(frozen=True)
class FirstPass:
    """What O origins gave before anything was learned from one for the next.

    Attributes:
        raw: An element an origin.
        baselines: Medians by the baseline's name, shape ``(O, M, 48)``; NaN where its past does not reach. [kWh]
        cpu_s: Processor time of the forecasts, without the baselines. [s]
    """

    raw: Sequence[RawForecast]
    baselines: Mapping[str, Floats32]
    cpu_s: float


@dataclass(frozen=True)
class Rolled:
    """Forecasts at O origins for 1 to 48 whole hours ahead, of M meters and G totals.

    Attributes:
        meters: 10, 50 and 90 % quantiles, shape ``(O, 3, M, 48)``. [kWh]
        quality: Position in ``LADDER``, shape ``(O, M)``.
        totals: Quantiles of sites and the grid, shape ``(O, 3, G, 48)``. [kWh]
        total_site: Site of each total, None for the grid.
        total_meter: Meter code of each total.
        total_medians: Of every step ahead, shape ``(O, G, horizon)``. [kWh]
        decisions: Of all totals at all origins.
        baselines: Medians by the baseline's name, shape ``(O, M, 48)``; NaN where its past does not reach. [kWh]
        cpu_s: Processor time of the forecasts, without the baselines. [s]
    """

    meters: Floats32
    quality: NDArray[np.int8]
    totals: Floats
    total_site: tuple[int | None, ...]
    total_meter: tuple[int, ...]
    total_medians: Floats
    decisions: Sequence[Decision]
    baselines: Mapping[str, Floats32]
    cpu_s: float


class InProcess(Executor):
    """Does each task when it is handed in; what one job is for, and tests."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a task; an error is raised here and now."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def workers(jobs: int) -> Iterator[Executor]:
    """Processes that end with the block, at once if it is left by an error or Ctrl-C."""
    if jobs == 1:
        yield InProcess()
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_die_quietly)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    pool.shutdown()


def _die_quietly() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def submit(
    pool: Executor,
    jobs: int,
    model: Path | None,
    history: EnergyHistory,
    origins: Sequence[int],
) -> list[tuple[Future[FirstPass], int]]:
    """Hand out the first pass of origins; a task is given nothing that lies after its last one.

    Returns:
        In the order of the origins, what each task will bring, and for how many origins.
    """
    size = min(_MOST_ORIGINS_A_TASK, -(-len(origins) // (jobs * _TASKS_A_JOB)))
    chunks = [origins[begin : begin + size] for begin in range(0, len(origins), size)]
    return [(pool.submit(forecast_at, model, _window(history, chunk), chunk), len(chunk)) for chunk in chunks]


def _window(history: EnergyHistory, origins: Sequence[int]) -> EnergyHistory:
    return history.until(origins[-1] + 1).since(origins[0] + 1 - history_steps(history.interval))


def forecast_at(model: Path | None, history: EnergyHistory, origins: Sequence[int]) -> FirstPass:
    """The first pass of a stored model, or of the ladder without one, at some origins."""
    forecaster = _forecaster(model)
    return joined([_forecast_one(forecaster, history.snapshot(origin)) for origin in origins])


@lru_cache(maxsize=2)
def _forecaster(model: Path | None) -> Forecaster:
    return Forecaster() if model is None else Forecaster.load(model)


def _forecast_one(forecaster: Forecaster, snapshot: Snapshot) -> FirstPass:
    started = time.process_time()
    raw = forecaster.raw(snapshot)
    cpu_s = time.process_time() - started
    hours = whole_hours(snapshot.interval)
    courses = {name: baseline(snapshot)[None, :, hours].astype(np.float32) for name, baseline in BASELINES.items()}
    return FirstPass([raw], courses, cpu_s)


def joined(parts: Sequence[FirstPass]) -> FirstPass:
    """One after the other."""
    return FirstPass(
        raw=[raw for part in parts for raw in part.raw],
        baselines={name: np.concatenate([part.baselines[name] for part in parts]) for name in BASELINES},
        cpu_s=sum(part.cpu_s for part in parts),
    )


def finish(
    history: EnergyHistory,
    folds: Iterable[tuple[TotalModel, Sequence[int]]],
    first: FirstPass,
    limits_kw: Mapping[int, float],
) -> Rolled:
    """The second pass.

    Args:
        history: What was forecast.
        folds: What each model knows of totals, and its origins, in order.
        first: The first pass at all of these origins.
        limits_kw: Limits of sites that have one, by site id. [kW]
    """
    started = time.process_time()
    finisher, raw = Finisher(TotalModel()), iter(first.raw)
    issues = []
    for finisher.model, origins in folds:
        issues += [finisher.finish(history.snapshot(origin), next(raw)) for origin in origins]
    made_at = datetime.now(UTC)
    decisions = [decision for issue in issues for decision in issue.decisions(limits_kw, made_at)]
    return _rolled(issues, decisions, whole_hours(history.interval), first, first.cpu_s + time.process_time() - started)


def _rolled(
    issues: Sequence[Issue], decisions: Sequence[Decision], hours: slice, first: FirstPass, cpu_s: float
) -> Rolled:
    totals = np.stack([np.moveaxis(issue.totals.quantiles[:, _LEVELS], 1, 0) for issue in issues])
    return Rolled(
        meters=np.stack([issue.meters.stacked() for issue in issues])[..., hours],
        quality=np.array([[_RUNG[quality] for quality in issue.meters.quality] for issue in issues], dtype=np.int8),
        totals=totals[..., hours],
        total_site=issues[0].totals.site_id,
        total_meter=issues[0].totals.meter,
        total_medians=np.stack([issue.totals.quantiles[:, _MIDDLE] for issue in issues]),
        decisions=decisions,
        baselines=first.baselines,
        cpu_s=cpu_s,
    )


def whole_hours(interval: Interval) -> slice:
    """The steps ahead that lie a whole number of hours after the origin: 48 of them."""
    return slice(interval.steps_per_hour - 1, HORIZON_H * interval.steps_per_hour, interval.steps_per_hour)
