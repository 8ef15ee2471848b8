"""Training rows: what was known at many origins, beside what came."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from Predictor.forecasting.calibration import lead_group_of
from Predictor.forecasting.fallback import can_be_modelled
from Predictor.forecasting.features import build_features
from Predictor.forecasting.snapshot import Flags, Floats, Floats32, Ints
from Training_scripts.dataset import EnergyHistory
from Training_scripts.quality import Masked, Trusted, trusted

MAX_ROWS: Final = 400_000
SHARE_OF_ROWS: Final = ((1, 0.11), (3, 0.14), (12, 0.25), (24, 0.25), (48, 0.25))
"""Last hour of a span of lead times and its share of the rows: the shortest have fewer hours to draw from."""

_ROWS_PER_ORIGIN: Final = (270, 1300)
"""At least and at most: many meters at few origins have too few days in common to tell days apart."""
WARM_UP_DAYS: Final = 9
"""Days before the first origin: a week, so that lags exist."""

_SHARE_WITHOUT_WEATHER: Final = 0.05
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
        masked: Readings that were no truth to learn from.
    """

    inputs: Floats32
    target: Floats
    weight: Floats
    group: Ints
    masked: Masked


@dataclass(frozen=True)
class _Rows:
    inputs: Floats32
    target: Floats
    group: Ints
    meter: Ints
    origin: Ints


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
    known = history.readings_kwh.copy()
    known[:, until - history.first :] = np.nan
    truths = trusted(replace(history, readings_kwh=known))
    reporting = (~np.isnan(truths.history.readings_kwh)).sum(axis=0)
    origins = _origins(history, reporting, until, rng)
    shares = _shares(history, int(reporting[origins - history.first].sum()))
    parts = []
    for done, origin in enumerate(origins):
        parts.append(_rows_of(history, truths, int(origin), shares, rng))
        advance((done + 1) / len(origins))
    inputs, target, group, meter, origin_of = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("inputs", "target", "group", "meter", "origin")
    )
    age_days = (until - origin_of) / history.interval.steps_per_day
    return Sample(inputs, target, _weights(target, meter, age_days), group, truths.masked)


def _origins(history: EnergyHistory, reporting: Ints, until: int, rng: np.random.Generator) -> Ints:
    """Draw origins, those at which more meters report the more often: meters come and go."""
    first = history.first + WARM_UP_DAYS * history.interval.steps_per_day
    meters = reporting[first - history.first : until - 1 - history.first]
    if not meters.any():  # any origins will do: there is nothing to learn at any
        meters = np.ones_like(meters)
    usual = np.square(meters).sum() / max(meters.sum(), 1)
    most, least = (MAX_ROWS // rows for rows in _ROWS_PER_ORIGIN)
    wanted = min(max(round(2 * SHARE_OF_ROWS[0][1] * MAX_ROWS / max(usual, 1)), least), most, np.count_nonzero(meters))
    return np.sort(rng.choice(np.arange(first, until - 1), wanted, replace=False, p=meters / meters.sum()))


def _shares(history: EnergyHistory, meter_origins: int) -> Floats:
    """Share of the meters that report to draw at each lead time, shape ``(horizon,)``."""
    lead_h = -(-np.arange(1, history.interval.horizon + 1) // history.interval.steps_per_hour)
    last, share = zip(*SHARE_OF_ROWS, strict=True)
    span = np.searchsorted(last, lead_h)
    rows = MAX_ROWS * np.array(share) / np.bincount(span)
    return np.asarray(np.minimum(1.0, rows[span] / max(meter_origins, 1)))


def _rows_of(
    history: EnergyHistory,
    truths: Trusted,
    origin: int,
    shares: Floats,
    rng: np.random.Generator,
) -> _Rows:
    snapshot = history.snapshot(origin)
    if rng.random() < _SHARE_WITHOUT_WEATHER:
        nothing = np.float32(np.nan)
        snapshot = replace(
            snapshot,
            weather=snapshot.weather * nothing,
            weather_forecast=snapshot.weather_forecast * nothing,
        )
    features = build_features(snapshot)
    target = (truths.truth(origin) - features.anchor_kwh) / features.scale_kwh[:, None]
    usable = np.isfinite(target) & can_be_modelled(features)[:, None]
    chosen: Flags = usable & (rng.random(target.shape) < shares)
    meter, lead = np.nonzero(chosen)
    return _Rows(
        inputs=features.inputs[chosen.ravel()],
        target=np.clip(target[chosen], -_BOUND, _BOUND),
        group=lead_group_of(history.interval.horizon, history.interval.steps_per_hour)[lead],
        meter=meter,
        origin=np.full(len(meter), origin),
    )


def _weights(target: Floats, meter: Ints, age_days: Floats) -> Floats:
    if not len(target):
        return np.array([])
    rows = np.bincount(meter)
    usual_error = np.bincount(meter, np.abs(target)) / np.maximum(rows, 1)
    of_meter = 1 / np.sqrt(np.maximum(usual_error, _LEAST_ERROR))[meter]
    return np.asarray(np.power(0.5, age_days / _HALF_LIFE_DAYS) * of_meter / of_meter.mean())
