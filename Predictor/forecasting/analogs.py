"""Days that began like this one: what followed them is a forecast of its own.

A profile averages days of one kind. In a school holiday or a shutdown the days that matter are those that
went like the last 24 hours, of which there may be one or two; this finds them (an analog forecast, Lorenz
1969, on the meter's own past).
"""

from typing import Final

import numpy as np

from Predictor.forecasting.local_grid import LocalGrid
from Predictor.forecasting.snapshot import Floats32, Ints

ANALOG_DAYS: Final = 28
"""How many past days are compared."""

_OTHER_KIND: Final = 0.02
"""Weight of a day whose kind is not the target's."""
ANALOGS: Final = {"analog_days": (12.0, 3.0), "analog_hours": (4.0, 4.0)}
"""By name: in how many hours the comparison's weights fall to 1/e, for the newest count most; and how much
less a day counts that is less alike. [h, 1]"""
_LEAST_DISTANCE: Final = 1e-3


def analog_courses(
    on_wall_clock: Floats32, reading: Floats32, scale: Floats32, grid: LocalGrid, site: Ints
) -> dict[str, Floats32]:
    """What followed like days, by name of ``ANALOGS``, shape ``(M, horizon)`` each; NaN where unknown.

    Args:
        on_wall_clock: Readings by local day and time of day, shape ``(M, days * slots)``. [kWh]
        reading: The newest reading, shape ``(M, 1)``. [kWh]
        scale: The meters' scale. [kWh]
        grid: Where each site's steps lie.
        site: Each meter's row in the grid.

    Returns:
        Means of those days, and under ``moved_`` the reading moved as they moved: where no past day is like
        this one, their level says nothing. [kWh]
    """
    shifts = np.arange(1, ANALOG_DAYS + 1) * grid.slots
    places = grid.target[:, None, :] - shifts[:, None]
    allowed = places <= grid.now[:, None, None]
    target_kind = np.take_along_axis(grid.kind, grid.target // grid.slots, axis=1)[:, None]
    kinds = np.take_along_axis(grid.kind, (places // grid.slots).reshape(len(places), -1), axis=1)
    calendar = np.where(kinds.reshape(places.shape) == target_kind, 1.0, _OTHER_KIND) * allowed
    flat = np.minimum(places, grid.now[:, None, None]).reshape(len(places), -1)[site]
    values = np.take_along_axis(on_wall_clock, flat, axis=1).reshape(len(site), *places.shape[1:])
    begin = np.take_along_axis(on_wall_clock, (grid.now[:, None] - shifts)[site], axis=1)
    likely = calendar.astype(np.float32)[site]
    apart = _differences(on_wall_clock, scale, grid, site)
    courses = {}
    for name, (recent_h, sharpness) in ANALOGS.items():
        weights = _likeness(apart, recent_h * grid.slots / 24, sharpness)[:, :, None] * likely
        courses[name] = _weighted_mean(values, weights)
        courses[f"moved_{name}"] = reading + _weighted_mean(values - begin[:, :, None], weights)
    return courses


def _weighted_mean(values: Floats32, weights: Floats32) -> Floats32:
    """Mean over days of arrays of shape ``(M, days, horizon)``, without gaps; NaN where nothing is known."""
    known = ~np.isnan(values)
    total = np.where(known, weights, np.float32(0)).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean: Floats32 = np.where(known, weights * values, np.float32(0)).sum(axis=1) / total
    return mean


def _differences(on_wall_clock: Floats32, scale: Floats32, grid: LocalGrid, site: Ints) -> Floats32:
    """Squares between the last 24 hours and those of each past day, newest first, ``(M, ANALOG_DAYS, slots)``."""
    back = grid.now[:, None] - np.arange((ANALOG_DAYS + 1) * grid.slots)
    courses = np.take_along_axis(on_wall_clock, back[site], axis=1) / scale[:, None]
    courses = courses.reshape(len(site), ANALOG_DAYS + 1, grid.slots)
    return np.square(courses[:, 1:] - courses[:, :1])


def _likeness(apart: Floats32, recent_steps: float, sharpness: float) -> Floats32:
    """How alike each past day is, above 0 and at most 1, shape ``(M, ANALOG_DAYS)``."""
    recent = np.exp(-np.arange(apart.shape[2]) / recent_steps).astype(np.float32)
    known = ~np.isnan(apart)
    weight = known @ recent
    distance = np.where(known, apart, np.float32(0)) @ recent / np.maximum(weight, np.float32(1e-6))
    distance = np.where(weight > recent.sum() / 2, distance, np.float32(np.inf))
    third = np.sort(distance, axis=1)[:, 2:3]
    relative = distance / np.maximum(np.where(np.isfinite(third), third, 1), np.float32(_LEAST_DISTANCE))
    return np.asarray(np.exp(-relative * sharpness / 2) + 1e-6, dtype=np.float32)
