"""From what is known at an origin to quantiles of every meter, 1 to 48 hours ahead."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from Predictor.forecasting.calibration import LEAD_GROUPS, lead_group_of, widen
from Predictor.forecasting.fallback import (
    FULL,
    LADDER,
    NO_WEATHER,
    can_be_modelled,
    has_weather,
    without_model,
)
from Predictor.forecasting.features import FEATURE_NAMES, FeatureMatrix, build_features
from Predictor.forecasting.handover import shift_of
from Predictor.forecasting.linear import LinearMember
from Predictor.forecasting.model_store import MEMBERS, Boosters, Model, load
from Predictor.forecasting.snapshot import Floats, Floats32, Ints, Snapshot
from Predictor.forecasting.total_model import TotalModel, direct_forecast
from Sensor_core.forecast import Quality
from Sensor_core.interval import Interval

NO_MODEL: Final = "fallback"
"""Name of the model where there is none."""

LINE_SHARE: Final = (0.0, 0.15, 0.25, 0.25)
"""Weight of the linear member in the centre by lead group: trees know no level that they have not seen."""

_ROWS_WORTH_A_THREAD: Final = 4096


@dataclass(frozen=True)
class MeterQuantiles:
    """Forecasts of M meters: never negative, never crossing, always finite.

    Attributes:
        q10: Shape ``(M, horizon)``; likewise ``q50`` and ``q90``. [kWh]
        q50: Median.
        q90: Upper end of the 80 % interval.
        quality: Which step of the ladder made each meter's forecast.
        model: Name of the model version.
    """

    q10: Floats32
    q50: Floats32
    q90: Floats32
    quality: tuple[Quality, ...]
    model: str

    def stacked(self) -> Floats32:
        """The three quantiles as one array of shape ``(3, M, horizon)``."""
        return np.stack([self.q10, self.q50, self.q90])


@dataclass(frozen=True)
class RawForecast:
    """The expensive part of a forecast, before anything is known of how others fared.

    Attributes:
        meters: Forecasts of M meters, with what training found of how wide intervals have to be.
        direct_totals_kwh: Totals as meters of their own, shape ``(T, horizon)``, in the order of ``Hierarchy``; NaN
            where there is none. [kWh]
    """

    meters: MeterQuantiles
    direct_totals_kwh: Floats


class Forecaster:
    """Makes forecasts with a model, or down the ladder without one."""

    def __init__(self, model: Model | None = None, *, num_threads: int = 1) -> None:
        self._model = model
        self._num_threads = num_threads

    @classmethod
    def load(cls, path: Path, interval: Interval | None = None, *, num_threads: int = 1) -> Self:
        """Load the current version of a folder of models, or one version's folder; see ``model_store.load``."""
        return cls(load(path, interval), num_threads=num_threads)

    @property
    def name(self) -> str:
        """Name of the model version, ``fallback`` without one."""
        return self._model.name if self._model else NO_MODEL

    def forecast(self, snapshot: Snapshot) -> MeterQuantiles:
        """Forecast every meter of the snapshot; what cannot be modelled comes from the ladder."""
        features = build_features(snapshot)
        quantiles, step = without_model(snapshot, features)
        if self._model is not None:
            rows = np.flatnonzero(can_be_modelled(features))
            group = lead_group_of(snapshot.interval.horizon, snapshot.interval.steps_per_hour)
            modelled = raw_quantiles(
                self._model.linear, self._model.boosters, features, rows, group, num_threads=self._num_threads
            )
            modelled = widen(modelled, self._model.card.calibration, group)
            quantiles[:, rows] = np.where(np.isnan(modelled), quantiles[:, rows], modelled)
            step[rows] = np.where(has_weather(snapshot)[rows], FULL, NO_WEATHER)
        q10, q50, q90 = _in_order(quantiles)
        return MeterQuantiles(q10, q50, q90, tuple(LADDER[index] for index in step), self.name)

    @property
    def total_model(self) -> TotalModel:
        """What the model knows about totals."""
        return self._model.card.totals if self._model else TotalModel()

    def raw(self, snapshot: Snapshot) -> RawForecast:
        """Forecast meters, and totals as meters of their own: all that ``finishing.Finisher`` needs."""
        line = self._model.linear if self._model else None
        return RawForecast(self.forecast(snapshot), direct_forecast(snapshot, line, self.total_model))


def raw_quantiles(
    linear: LinearMember,
    boosters: Boosters,
    features: FeatureMatrix,
    rows: Ints,
    lead_group: Ints,
    *,
    num_threads: int,
) -> Floats32:
    """Score a model before calibration.

    Args:
        linear: The linear member.
        boosters: The trees.
        features: Model inputs of M meters.
        rows: The meters to score.
        lead_group: Index into ``LEAD_GROUPS`` of each lead time, shape ``(horizon,)``.
        num_threads: Threads of LightGBM.

    Returns:
        10, 50 and 90 % quantiles, shape ``(3, len(rows), horizon)``; NaN where a meter has no anchor. [kWh]
    """
    horizon = features.anchor_kwh.shape[1]
    values = features.inputs.reshape(-1, horizon, len(FEATURE_NAMES))[rows]
    scaled = np.empty((3, len(rows), horizon))
    for group in range(len(LEAD_GROUPS) if len(rows) else 0):
        leads = np.flatnonzero(lead_group == group)
        inputs = np.ascontiguousarray(values[:, leads[0] : leads[-1] + 1]).reshape(-1, len(FEATURE_NAMES))
        line = linear.predict(inputs)
        trees = {member: _score(boosters, group, member, inputs, num_threads) for member in MEMBERS}
        centre = line / 2 + (trees["mean"] + trees["median"] + trees["plain_mean"] + trees["plain_median"]) / 4
        centre += LINE_SHARE[group] * (line - centre)
        course = np.stack([line + trees["low"], centre, line + trees["high"]])
        scaled[:, :, leads] = course.reshape(3, len(rows), len(leads))
    energy = features.anchor_kwh[rows] + features.scale_kwh[rows, None] * scaled
    moves = features.moves_kwh[:, rows]
    energy[:, :, : moves.shape[2]] += shift_of(energy[1], features.reading_kwh[rows], moves)
    middle = energy[1]
    return np.stack([np.minimum(energy[0], middle), middle, np.maximum(energy[2], middle)]).astype(np.float32)


def _score(boosters: Boosters, group: int, member: str, inputs: Floats32, num_threads: int) -> Floats:
    booster = boosters[group, member]
    if len(inputs) < _ROWS_WORTH_A_THREAD:
        num_threads = 1
    return np.asarray(booster.predict(inputs, raw_score=True, num_threads=num_threads, validate_features=False))


def _in_order(quantiles: Floats32) -> Floats32:
    low, middle, high = np.maximum(quantiles, 0)
    return np.stack([np.minimum(low, middle), middle, np.maximum(high, middle)])
