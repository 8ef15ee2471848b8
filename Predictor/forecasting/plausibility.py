"""Which readings can be believed: meters stick, drop out as zeros and jump.

The same rules apply to the past that features look at and to what a model is trained on.
"""

from typing import Final

import numpy as np

from Predictor.forecasting.snapshot import HISTORY_DAYS, Flags, Floats, Floats32, Ints

STUCK_H: Final = 20
"""A reading that has not changed for so long counts as missing, unless the meter is off. [h]"""

OFF_SO_OFTEN: Final = 3
"""So many runs of zeros of that length within five weeks are no failures: the meter is off, as at weekends."""

SPIKE_FACTOR: Final = 3.0
"""A reading so many times the meter's 99 % quantile is a spike."""

_RARE_ZEROS: Final = 0.05
_NEVER_NEAR_ZERO: Final = 0.25
_LEAST_HOURS: Final = 168


def stuck(readings: Floats, whole_run: Ints, steps_per_hour: int) -> Flags:
    """Readings that belong to a flat line, also of zeros, but for zeros of a meter that is often off.

    Args:
        readings: Shape ``(M, T)``; NaN where missing.
        whole_run: Length of the run that each reading is in.
        steps_per_hour: Steps of an hour.

    Returns:
        Shape ``(M, T)``.
    """
    flat: Flags = whole_run >= STUCK_H * steps_per_hour
    zero = readings == 0
    rows = np.flatnonzero((flat & zero).any(axis=1))
    flat[rows] &= ~(zero[rows] & _often_off(readings[rows], flat[rows] & zero[rows], steps_per_hour))
    return flat


def _often_off(readings: Floats, long_zero: Flags, steps_per_hour: int) -> Flags:
    """Where zeros are what a meter counts: runs of them come again, or shorter ones are no rare thing."""
    reach = HISTORY_DAYS * 24 * steps_per_hour
    begins = long_zero.copy()
    begins[:, 1:] &= ~long_zero[:, :-1]
    so_far = np.pad(np.cumsum(begins, axis=1, dtype=np.int32), ((0, 0), (1, 0)))
    step = np.arange(readings.shape[1])
    until, since = np.minimum(step + reach, len(step)), np.maximum(step + 1 - reach, 0)
    again = so_far[:, until] - so_far[:, since] >= OFF_SO_OFTEN
    short = ((readings == 0) & ~long_zero).sum(axis=1)
    return np.asarray(again | (short > _RARE_ZEROS * (readings > 0).sum(axis=1))[:, None])


def implausible(readings: Floats | Floats32, steps_per_hour: int) -> tuple[Flags, Flags]:
    """Spikes, and zeros of a meter that otherwise stays well above zero.

    Zeros count as drop-outs where they are rare and nothing near zero is seen besides; a meter that is
    switched off at night shows many, one that idles shows what lies between.

    Args:
        readings: Shape ``(M, T)``, without flat lines; NaN where missing.
        steps_per_hour: Steps of an hour.

    Returns:
        Spikes and drop-outs, each of shape ``(M, T)``.
    """
    ordered = np.sort(np.where(readings > 0, readings, np.nan), axis=1)  # NaN last
    positive = (~np.isnan(ordered)).sum(axis=1)
    low, middle, high = (_quantile(ordered, positive, share) for share in (0.05, 0.5, 0.99))
    known = (positive >= _LEAST_HOURS * steps_per_hour)[:, None]
    zero = readings == 0
    rare = zero.sum(axis=1) <= _RARE_ZEROS * positive
    dropped = zero & known & (rare & (low > _NEVER_NEAR_ZERO * middle))[:, None]
    with np.errstate(invalid="ignore"):
        spikes = known & (readings > SPIKE_FACTOR * high[:, None])
    return spikes, dropped


def _quantile(ordered: Floats | Floats32, count: Ints, share: float) -> Floats | Floats32:
    index = np.minimum((count * share).astype(np.int64), np.maximum(count - 1, 0))
    return ordered[np.arange(len(ordered)), index]
