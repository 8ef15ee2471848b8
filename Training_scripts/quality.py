"""What a model must not learn from: flat lines, spikes, drop-outs and the weeks after a change of unit.

Sentinels such as -9999 never come here: the reader of data folders leaves them out, and the stream refuses them.
"""

from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from Predictor.forecasting.local_grid import run_lengths
from Predictor.forecasting.plausibility import implausible, stuck
from Predictor.forecasting.snapshot import Flags, Floats
from Training_scripts.dataset import EnergyHistory

UNIT_FACTORS: Final = (3.412, 3.6, 10.0, 100.0, 277.8, 293.1, 1000.0, 3412.0)
"""kWh against kBTU, MJ, GJ and MMBTU, a shifted point, Wh and MWh, MWh and kBTU."""

_TOLERANCE: Final = 1.15
_DAYS_COMPARED: Final = 7
_MASKED_DAYS: Final = 14
"""For so long after a change of unit the profile holds days of both units."""
_ALIKE: Final = 1.15


@dataclass(frozen=True)
class Masked:
    """Readings taken out of the training target, by reason; a reading may count more than once."""

    flat: int
    spikes: int
    dropped: int
    unit_changes: int

    def __str__(self) -> str:
        """Name what there was, ``nothing`` if there was nothing."""
        found = {field.name.replace("_", " "): getattr(self, field.name) for field in fields(self)}
        return ", ".join(f"{count} {name}" for name, count in found.items() if count) or "nothing"


@dataclass(frozen=True)
class Trusted:
    """The past without readings that are no truth to learn from.

    Attributes:
        history: For origins at which the meter reads as usual.
        outages: For origins within a drop-out: that it lasts is a truth, that it begins is none.
        masked: What is missing in ``history``.
    """

    history: EnergyHistory
    outages: EnergyHistory
    masked: Masked

    def truth(self, origin: int) -> Floats:
        """Readings after ``origin`` to learn from [kWh], shape ``(M, horizon)``; NaN where there is none."""
        column = origin - self.history.first
        inside = np.isnan(self.history.readings_kwh[:, column]) & ~np.isnan(self.outages.readings_kwh[:, column])
        return np.where(inside[:, None], self.outages.truth(origin), self.history.truth(origin))


def trusted(history: EnergyHistory) -> Trusted:
    """Take out readings that are no truth to learn from."""
    per_hour = history.interval.steps_per_hour
    readings = history.readings_kwh
    whole_run, _ = run_lengths(readings)
    flat = stuck(readings, whole_run, per_hour) & ~np.isnan(readings)
    spikes, dropped = implausible(np.where(flat, np.nan, readings), per_hour)
    changed = after_unit_change(readings, history.interval.steps_per_day) & ~np.isnan(readings)
    outages = np.where(flat | spikes | changed, np.nan, readings)
    counts = Masked(*(int(mask.sum()) for mask in (flat, spikes, dropped, changed)))
    kept = replace(history, readings_kwh=np.where(dropped, np.nan, outages))
    return Trusted(kept, replace(history, readings_kwh=outages), counts)


def after_unit_change(readings: Floats, steps_per_day: int) -> Flags:
    """Two weeks from each day on which a meter begins to count in another unit, shape ``(M, T)``.

    From one week to the next, the day's mean, lowest and highest reading all change by one factor between
    units. A school that shuts keeps its base load.
    """
    days = readings.shape[1] // steps_per_day
    flags = np.zeros(readings.shape, dtype=np.bool_)
    if days < 2 * _DAYS_COMPARED + 1:
        return flags
    by_day = readings[:, : days * steps_per_day].reshape(len(readings), days, steps_per_day)
    known = ~np.isnan(by_day)
    mean = np.where(known, by_day, 0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    lowest = np.where(known, by_day, np.inf).min(axis=2)
    highest = np.where(known, by_day, -np.inf).max(axis=2)
    day = np.where(known.any(axis=2), np.stack([mean, lowest, highest]), np.nan)
    weeks = np.median(np.lib.stride_tricks.sliding_window_view(day, _DAYS_COMPARED, axis=2), axis=3)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.log(weeks[:, :, _DAYS_COMPARED + 1 :] / weeks[:, :, : -_DAYS_COMPARED - 1])
        alike = np.ptp(factors, axis=0) < np.log(_ALIKE)
        distance = np.abs(np.abs(factors[0])[..., None] - np.log(UNIT_FACTORS)).min(axis=-1)
    for meter, first in zip(*np.nonzero(alike & (distance < np.log(_TOLERANCE))), strict=True):
        begin = (int(first) + _DAYS_COMPARED) * steps_per_day
        flags[meter, begin : begin + _MASKED_DAYS * steps_per_day] = True
    return flags
