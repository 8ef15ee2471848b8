"""Fits what a model knows about totals: their own linear weights, the trust in them, and how wide totals spread."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from Predictor.forecasting.calibration import LEAD_GROUPS, lead_group_of
from Predictor.forecasting.fallback import can_be_modelled
from Predictor.forecasting.features import build_features
from Predictor.forecasting.hierarchy import Hierarchy
from Predictor.forecasting.linear import LinearMember
from Predictor.forecasting.snapshot import Floats, Floats32, Ints, history_steps
from Predictor.forecasting.total_meters import as_meters, counted, totals_counted
from Predictor.forecasting.total_model import TotalModel, direct_forecast, spread_of
from Training_scripts.dataset import EnergyHistory
from Training_scripts.samples import WARM_UP_DAYS

MOST_ORIGINS: Final = 300
_RIDGE: Final = 3e-3
_BOUND: Final = 3.0
_HALF_LIFE_DAYS: Final = 90.0
_LEAST_ERROR: Final = 0.02
_USUAL_TRUST: Final = 0.2
_WEIGHT_OF_USUAL: Final = 0.75
"""Against what a few weeks of validation say: weights of combined forecasts are easily overfitted."""
_LEAST_VALUES: Final = 50
_WIDTHS: Final = (0.3, 5.0)

Advance = Callable[[float], None]


@dataclass(frozen=True)
class _Rows:
    inputs: Floats32
    target: Floats
    total: Ints
    age_days: Floats


def total_weights(
    history: EnergyHistory, until: int, line: LinearMember, rng: np.random.Generator
) -> list[list[float]]:
    """Fit what the linear weights of totals have beyond the meters', from what lies before step ``until``.

    Returns:
        By block of lead times; empty where there is nothing to learn from.
    """
    first = history.first + WARM_UP_DAYS * history.interval.steps_per_day
    origins = np.arange(first, until - 1)
    origins = np.sort(rng.choice(origins, min(MOST_ORIGINS, len(origins)), replace=False))
    parts = [_rows_of(history, int(origin), until) for origin in origins]
    inputs, target, total, age_days = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("inputs", "target", "total", "age_days")
    )
    if not len(target):
        return []
    left_over = target - line.predict(inputs)
    usual_error = np.bincount(total, np.abs(target)) / np.maximum(np.bincount(total), 1)
    weight = np.power(0.5, age_days / _HALF_LIFE_DAYS) / np.sqrt(np.maximum(usual_error, _LEAST_ERROR))[total]
    weights: list[list[float]] = LinearMember.fit(inputs, left_over, weight, ridge=_RIDGE).weights.tolist()
    return weights


def _rows_of(history: EnergyHistory, origin: int, until: int) -> _Rows:
    snapshot = history.snapshot(origin)
    part = Hierarchy.of(snapshot.meters, snapshot.sites).only(counted(snapshot.readings_kwh))
    features = build_features(as_meters(snapshot, part))
    target = (_came(history, origin, until, part) - features.anchor_kwh) / features.scale_kwh[:, None]
    usable = np.isfinite(target) & can_be_modelled(features)[:, None]
    total = np.nonzero(usable)[0]
    age_days = np.full(len(total), (until - origin) / history.interval.steps_per_day)
    return _Rows(features.inputs[usable.ravel()], np.clip(target[usable], -_BOUND, _BOUND), total, age_days)


def _came(history: EnergyHistory, origin: int, until: int, part: Hierarchy) -> Floats:
    """What the totals counted after ``origin`` and before ``until``, shape ``(T, horizon)``; NaN where unknown."""
    horizon = history.interval.horizon
    stop = min(origin + 1 + horizon, until)
    begin = max(history.first, stop - history_steps(history.interval))
    window = history.readings_kwh[:, begin - history.first : stop - history.first]
    came = totals_counted(window, part, history.interval.steps_per_day)[:, origin + 1 - begin :]
    return np.pad(came, ((0, 0), (0, horizon - came.shape[1])), constant_values=np.nan)


def total_model(
    history: EnergyHistory,
    origins: Sequence[int],
    quantiles: Floats32,
    line: LinearMember,
    model: TotalModel,
    *,
    advance: Advance,
) -> TotalModel:
    """Find the trust and the widths that fit trials best.

    Args:
        history: What came.
        origins: Origins of the trials, not seen in training.
        quantiles: Calibrated forecasts of the meters, shape ``(origins, 3, M, horizon)``. [kWh]
        line: The meters' linear member.
        model: Its weights.
        advance: Told the share of the work that is done.
    """
    hierarchy = Hierarchy.of(history.meters, history.sites)
    group = lead_group_of(history.interval.horizon, history.interval.steps_per_hour)
    of_sum, of_direct = [], []
    for done, (origin, (low, middle, high)) in enumerate(zip(origins, quantiles.astype(np.float64), strict=True)):
        snapshot = history.snapshot(origin)
        part = hierarchy.only(counted(snapshot.readings_kwh))
        spread = np.maximum(spread_of(hierarchy, (high - low) / 2), 1e-12)
        came = _came(history, origin, history.stop, part)
        of_sum.append((came - part.add(middle)) / spread)
        of_direct.append((came - direct_forecast(snapshot, line, model)) / spread)
        advance((done + 1) / len(origins))
    trust, width = [], []
    for grid in (False, True):
        rows = (hierarchy.is_grid == grid) & (hierarchy.count > 1)
        sums, directs = (np.stack(errors)[:, rows] for errors in (of_sum, of_direct))
        found = [
            _fitted(sums[:, :, group == index], directs[:, :, group == index]) for index in range(len(LEAD_GROUPS))
        ]
        trust.append(tuple(each[0] for each in found))
        width.append(tuple(each[1] for each in found))
    return msgspec.structs.replace(model, trust=(trust[0], trust[1]), width=(width[0], width[1]))


def _fitted(of_sum: Floats, of_direct: Floats) -> tuple[float, float]:
    """Trust, and half-width of the 80 % interval, from normalised errors."""
    gap = of_sum - of_direct
    known = np.isfinite(gap)
    trust = 0.0
    if known.sum() >= _LEAST_VALUES and (power := float(np.square(gap[known]).sum())) > 0:
        best = float(np.clip((of_sum[known] * gap[known]).sum() / power, 0, 1))
        trust = (1 - _WEIGHT_OF_USUAL) * best + _WEIGHT_OF_USUAL * _USUAL_TRUST
    error = np.where(known, of_sum - trust * np.where(known, gap, 0), of_sum)
    error = np.abs(error[np.isfinite(error)])
    if len(error) < _LEAST_VALUES:
        return trust, 1.0
    return trust, float(np.clip(np.quantile(error, 0.8), *_WIDTHS))
