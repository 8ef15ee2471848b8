"""The linear member: ridge on deviations from the anchor, one set of weights a block of lead times.

Trees average what they have seen; a line also follows a meter whose level moves away from its past. The
boosters are trained on what the line leaves over.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from Predictor.forecasting.features import ERROR_FEATURES, FEATURE_NAMES, LEVEL_FEATURES
from Predictor.forecasting.snapshot import Floats, Floats32, Ints

LINEAR_FEATURES: Final = (
    *LEVEL_FEATURES,
    *ERROR_FEATURES,
    "site_error_3",
    "site_error_24",
    "weather_response",
    "weather_response_change",
)
KIND_CHANGES: Final = ("error_0", "error_3", "error_24", "reading_0")
"""Deviations that mean something else when the target's kind of day is not the origin's."""

LAST_HOUR_OF_BLOCK: Final = (1, 2, 3, 6, 9, 12, 18, 24, 30, 36, 42, 48)
_BOUND: Final = 3.0
_RIDGE: Final = 1e-3
_HUBER_ROUNDS: Final = 4
_HUBER_WIDTH: Final = 1.5
_ROWS_AT_ONCE: Final = 32_768
"""Bounds the memory of a prediction."""


@dataclass(frozen=True)
class LinearMember:
    """Weights by block of lead times, shape ``(len(LAST_HOUR_OF_BLOCK), inputs)``."""

    weights: Floats

    @classmethod
    def fit(cls, values: Floats32, target: Floats, row_weight: Floats, *, ridge: float = _RIDGE) -> Self:
        """Fit by ridge with Huber's loss (iteratively reweighted).

        Args:
            values: Model inputs, shape ``(rows, len(FEATURE_NAMES))``.
            target: Deviation from the anchor in units of scale, shape ``(rows,)``.
            row_weight: Weight of each row.
            ridge: How strongly weights are held at zero.
        """
        block = _block(values)
        weights = np.zeros((len(LAST_HOUR_OF_BLOCK), _inputs(values[:0]).shape[1]))
        for index in range(len(weights)):
            rows = block == index
            if rows.any():
                weights[index] = _robust_ridge(_inputs(values[rows]), target[rows], row_weight[rows], ridge)
        return cls(weights)

    def predict(self, values: Floats32) -> Floats:
        """Expected deviation from the anchor in units of scale, shape ``(rows,)``."""
        expected = np.empty(len(values))
        for start in range(0, len(values), _ROWS_AT_ONCE):
            part = values[start : start + _ROWS_AT_ONCE]
            np.einsum(
                "rf,rf->r", _inputs(part), self.weights[_block(part)], out=expected[start : start + _ROWS_AT_ONCE]
            )
        return expected


def _column(name: str) -> int:
    return FEATURE_NAMES.index(name)


def _block(values: Floats32) -> Ints:
    return np.searchsorted(LAST_HOUR_OF_BLOCK, values[:, _column("lead_h")])


def _inputs(values: Floats32) -> Floats:
    deviations = np.clip(values[:, [_column(name) for name in LINEAR_FEATURES]], -_BOUND, _BOUND)
    known = np.where(np.isfinite(deviations), deviations, np.float32(0)).astype(np.float64)
    kind = values[:, _column("kind")]
    changes = (kind != values[:, _column("origin_kind")])[:, None]
    selected = known[:, [LINEAR_FEATURES.index(name) for name in KIND_CHANGES]]
    ones = np.ones((len(values), 1))
    holiday = values[:, [_column("holiday")]]
    return np.hstack([known, changes * selected, ones, holiday, kind[:, None] > 0])


def _robust_ridge(inputs: Floats, target: Floats, row_weight: Floats, ridge: float) -> Floats:
    penalty = ridge * np.eye(inputs.shape[1])
    weight = row_weight
    for _ in range(_HUBER_ROUNDS):
        scaled = inputs * (weight / weight.sum())[:, None]
        solution = np.linalg.solve(scaled.T @ inputs + penalty, scaled.T @ target)
        residual = np.abs(target - inputs @ solution)
        bound = _HUBER_WIDTH * np.median(residual) + 1e-6
        weight = row_weight * np.minimum(1.0, bound / np.maximum(residual, 1e-9))
    return np.asarray(solution)
