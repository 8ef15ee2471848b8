"""Forecasts at past origins, each made from a snapshot that ends there, by as many processes as asked for."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from Predictor.forecasting.fallback import LADDER
from Predictor.forecasting.forecaster import Forecaster
from Predictor.forecasting.snapshot import Floats, Floats32, Snapshot, history_steps
from Sensor_core.forecast import AGGREGATE_LEVELS, METER_LEVELS
from Sensor_core.interval import HORIZON_H, Interval
from Training_scripts.baselines import BASELINES
from Training_scripts.dataset import EnergyHistory

_MOST_ORIGINS_A_TASK: Final = 16
_TASKS_A_JOB: Final = 4
_LEVELS: Final = [AGGREGATE_LEVELS.index(level) for level in METER_LEVELS]
_RUNG: Final = {quality: rung for rung, quality in enumerate(LADDER)}


@dataclass(frozen=True)
class Rolled:
    """Forecasts at O origins for 1 to 48 whole hours ahead, of M meters and G totals.

    Attributes:
        meters: 10, 50 and 90 % quantiles, shape ``(O, 3, M, 48)``. [kWh]
        quality: Position in ``LADDER``, shape ``(O, M)``.
        totals: Quantiles of sites and the grid, shape ``(O, 3, G, 48)``. [kWh]
        total_site: Site of each total, None for the grid.
        total_meter: Meter code of each total.
        baselines: Medians by the baseline's name, shape ``(O, M, 48)``; NaN where its past does not reach. [kWh]
        cpu_s: Processor time of the forecasts, without the baselines. [s]
    """

    meters: Floats32
    quality: NDArray[np.int8]
    totals: Floats
    total_site: tuple[int | None, ...]
    total_meter: tuple[int, ...]
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
    model: Path,
    history: EnergyHistory,
    origins: Sequence[int],
) -> list[tuple[Future[Rolled], int]]:
    """Hand out the forecasts of origins; a task is given nothing that lies after its last one.

    Returns:
        In the order of the origins, what each task will bring, and for how many origins.
    """
    size = min(_MOST_ORIGINS_A_TASK, -(-len(origins) // (jobs * _TASKS_A_JOB)))
    chunks = [origins[begin : begin + size] for begin in range(0, len(origins), size)]
    return [(pool.submit(forecast_at, model, _window(history, chunk), chunk), len(chunk)) for chunk in chunks]


def _window(history: EnergyHistory, origins: Sequence[int]) -> EnergyHistory:
    return history.until(origins[-1] + 1).since(origins[0] + 1 - history_steps(history.interval))


def forecast_at(model: Path, history: EnergyHistory, origins: Sequence[int]) -> Rolled:
    """Forecast with a stored model at some origins."""
    forecaster = _forecaster(model)
    return joined([_forecast_one(forecaster, history.snapshot(origin)) for origin in origins])


@lru_cache(maxsize=2)
def _forecaster(model: Path) -> Forecaster:
    return Forecaster.load(model)


def _forecast_one(forecaster: Forecaster, snapshot: Snapshot) -> Rolled:
    started = time.process_time()
    forecast = forecaster.forecast(snapshot)
    totals = forecaster.totals(snapshot, forecast)
    cpu_s = time.process_time() - started
    hours = whole_hours(snapshot.interval)
    return Rolled(
        meters=forecast.stacked()[None, ..., hours],
        quality=np.array([[_RUNG[quality] for quality in forecast.quality]], dtype=np.int8),
        totals=np.moveaxis(totals.quantiles[:, _LEVELS], 1, 0)[None, ..., hours],
        total_site=totals.site_id,
        total_meter=totals.meter,
        baselines={name: baseline(snapshot)[None, :, hours].astype(np.float32) for name, baseline in BASELINES.items()},
        cpu_s=cpu_s,
    )


def joined(parts: Sequence[Rolled]) -> Rolled:
    """One after the other."""
    return Rolled(
        meters=np.concatenate([part.meters for part in parts]),
        quality=np.concatenate([part.quality for part in parts]),
        totals=np.concatenate([part.totals for part in parts]),
        total_site=parts[0].total_site,
        total_meter=parts[0].total_meter,
        baselines={name: np.concatenate([part.baselines[name] for part in parts]) for name in BASELINES},
        cpu_s=sum(part.cpu_s for part in parts),
    )


def whole_hours(interval: Interval) -> slice:
    """The steps ahead that lie a whole number of hours after the origin: 48 of them."""
    return slice(interval.steps_per_hour - 1, HORIZON_H * interval.steps_per_hour, interval.steps_per_hour)
