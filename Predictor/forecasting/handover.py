"""Handing over from the newest reading to the model, by how far the reading usually moves until then.

At some times of day, most of all at night, a meter stays where it is, and what a model expects of it is mostly noise.
There the newest reading is the better forecast of the next hours, unless the model is sure of a large change.
"""

from typing import Final

import numpy as np

from Predictor.forecasting.past import Past, mean_of
from Predictor.forecasting.snapshot import Floats, Floats32
from Sensor_core.interval import Interval

LAST_LEAD_H: Final = 3
"""Later ones are the model's alone. [h]"""

_DAYS: Final = 21
_LEAST_DAYS: Final = 10
_NOISE: Final = 0.1
"""Usual error of a model where nothing moves, as a share of what the meter moves at other times of day."""
_SURE: Final = 0.02
"""Share of the square of the change that a model expects which counts as a usual move."""


def usual_moves(past: Past, interval: Interval) -> Floats32:
    """Root mean square of the moves of the last weeks over each of the next steps' distances.

    Returns:
        From this time of day on, and from any, shape ``(2, M, steps of LAST_LEAD_H)``; NaN where the reading at the
        origin cannot be believed, or too few days are known. [kWh]
    """
    day, steps = interval.steps_per_day, LAST_LEAD_H * interval.steps_per_hour
    recent = past.believed[:, -(_DAYS * day + steps) :]
    moves = np.full((2, len(recent), steps), np.nan, dtype=np.float32)
    for step in range(1, steps + 1):
        square = np.square(recent[:, step:] - recent[:, :-step])
        at_this_time = square[:, step - 1 - day :: -day]
        for index, values in enumerate((at_this_time, square)):
            moves[index, :, step - 1] = np.sqrt(mean_of(values, _LEAST_DAYS))
    moves[:, np.isnan(past.believed[:, -1])] = np.nan
    return moves


def shift_of(median: Floats, reading: Floats32, moves: Floats32) -> Floats:
    """How far to move a model's forecasts towards the newest reading.

    Args:
        median: Of R meters, shape ``(R, horizon)``. [kWh]
        reading: At the origin, shape ``(R,)``. [kWh]
        moves: See ``usual_moves``, shape ``(2, R, steps)``. [kWh]

    Returns:
        Shape ``(R, steps)``. [kWh]
    """
    change = reading[:, None] - median[:, : moves.shape[2]]
    usual, noise = np.square(moves[0]) + _SURE * np.square(change), np.square(_NOISE * moves[1])
    with np.errstate(invalid="ignore"):
        weight = noise / (usual + noise)
    return np.where(np.isfinite(weight), weight * change, 0.0)
