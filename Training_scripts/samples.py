"""Training rows: what was known at many origins, beside what came."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from Predictor.forecasting.calibration import lead_group_of
from Predictor.forecasting.fallback import can_be_modelled
from Predictor.forecasting.features import build_features
from Predictor.forecasting.local_grid import STUCK_H, run_lengths
from Predictor.forecasting.snapshot import Flags, Floats, Floats32, Ints
from Training_scripts.dataset import EnergyHistory

MAX_ROWS: Final = 400_000
WARM_UP_DAYS: Final = 9
"""Days before the first origin: a week, so that lags exist."""

_SHARE_OF_ORIGIN: Final = 0.25
_SHARE_WITHOUT_WEATHER: Final = 0.1
_BOUND: Final = 3.0
_HALF_LIFE_DAYS: Final = 90.0
_LEAST_ERROR: Final = 0.02


@dataclass(frozen=True)
class Sample:
    """Rows to train on.

    Attributes:
        inputs: Model inputs, shape ``(rows, len(FEATURE_NAMES))``.
        target: Deviation from the anchor in units of scale, bounded.
        weight: Newer rows count more, and rows of meters that are hard to forecast less.
        group: Lead group of each row.
    """

    inputs: Floats32
    target: Floats
    weight: Floats
    group: Ints


@dataclass(frozen=True)
class _Rows:
    inputs: Floats32
    target: Floats
    group: Ints
    meter: Ints
    origin: Ints


def moving(history: EnergyHistory) -> EnergyHistory:
    """Take out readings that have not changed for so long that the meter must be stuck."""
    run, _ = run_lengths(history.readings_kwh)
    stuck = run >= STUCK_H * history.interval.steps_per_hour
    return replace(history, readings_kwh=np.where(stuck, np.nan, history.readings_kwh))


def draw_sample(
    history: EnergyHistory, until: int, rng: np.random.Generator, advance: Callable[[float], None]
) -> Sample:
    """Draw rows from random origins whose targets all lie before step ``until``.

    Args:
        history: What to learn from.
        until: The first step that must not be seen.
        rng: Source of the draw.
        advance: Told the share of the work that is done.
    """
    truths = moving(history)
    origins = _origins(history, until, rng)
    parts = []
    for done, origin in enumerate(origins):
        parts.append(_rows_of(history, truths, int(origin), until, rng))
        advance((done + 1) / len(origins))
    inputs, target, group, meter, origin_of = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("inputs", "target", "group", "meter", "origin")
    )
    age_days = (until - origin_of) / history.interval.steps_per_day
    return Sample(inputs, target, _weights(target, meter, age_days), group)


def _origins(history: EnergyHistory, until: int, rng: np.random.Generator) -> Ints:
    first = history.first + WARM_UP_DAYS * history.interval.steps_per_day
    origins = np.arange(first, until - 1)
    rows = len(history.meters) * history.interval.horizon * _SHARE_OF_ORIGIN
    count = min(len(origins), max(1, round(MAX_ROWS / rows)))
    return np.sort(rng.choice(origins, count, replace=False))


def _rows_of(history: EnergyHistory, truths: EnergyHistory, origin: int, until: int, rng: np.random.Generator) -> _Rows:
    snapshot = history.snapshot(origin)
    if rng.random() < _SHARE_WITHOUT_WEATHER:
        nothing = np.float32(np.nan)
        snapshot = replace(
            snapshot,
            weather=snapshot.weather * nothing,
            weather_forecast=snapshot.weather_forecast * nothing,
        )
    features = build_features(snapshot)
    truth = truths.truth(origin)
    truth[:, max(0, until - origin - 1) :] = np.nan
    target = (truth - features.anchor_kwh) / features.scale_kwh[:, None]
    usable = np.isfinite(target) & can_be_modelled(features)[:, None]
    chosen: Flags = usable & (rng.random(target.shape) < _SHARE_OF_ORIGIN)
    meter, lead = np.nonzero(chosen)
    return _Rows(
        inputs=features.inputs[chosen.ravel()],
        target=np.clip(target[chosen], -_BOUND, _BOUND),
        group=lead_group_of(history.interval.horizon, history.interval.steps_per_hour)[lead],
        meter=meter,
        origin=np.full(len(meter), origin),
    )


def _weights(target: Floats, meter: Ints, age_days: Floats) -> Floats:
    rows = np.bincount(meter)
    usual_error = np.bincount(meter, np.abs(target)) / np.maximum(rows, 1)
    of_meter = 1 / np.sqrt(np.maximum(usual_error, _LEAST_ERROR))[meter]
    return np.asarray(np.power(0.5, age_days / _HALF_LIFE_DAYS) * of_meter / of_meter.mean())
