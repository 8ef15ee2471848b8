"""A week of day-ahead forecasts, put together from the origins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from Predictor.forecasting.snapshot import Floats
from Sensor_core.interval import HORIZON_H
from Training_scripts.backtesting.evaluation import Level
from Training_scripts.dataset import EnergyHistory
from Training_scripts.scoring import score_series
from Training_scripts.validation import MODEL

_DAY_AHEAD_H: Final = 24
_WEEK_H: Final = 168


@dataclass(frozen=True)
class Week:
    """Hours of one meter or total.

    Attributes:
        title: What it is.
        hours: UTC.
        truth: NaN where missing. [kWh]
        quantiles: 10, 50 and 90 %, shape ``(3, hours)``, of the newest forecast issued a day or more before. [kWh]
    """

    title: str
    hours: list[datetime]
    truth: Floats
    quantiles: Floats


def weeks(history: EnergyHistory, origins: Sequence[int], levels: Mapping[str, Level]) -> list[Week]:
    """The middle week of the best, the median and the worst meter, of the largest site, and of the grid."""
    meters = levels["meter"]
    error = score_series(meters.truth, meters.forecasts[MODEL]).cvrmse
    ranked = np.argsort(error)[: int((~np.isnan(error)).sum())]
    chosen = []
    if len(ranked):
        places = {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}
        chosen = [(meters, int(row), f"{name} meter: {meters.labels[row]}") for name, row in places.items()]
    for level in (levels["site"], levels["grid"]):
        largest = int(np.argmax(np.nan_to_num(level.forecasts[MODEL][:, 1]).sum(axis=(0, 2))))
        chosen.append((level, largest, level.labels[largest]))
    return [_week(history, origins, level, row, title) for level, row, title in chosen]


def _week(history: EnergyHistory, origins: Sequence[int], level: Level, row: int, title: str) -> Week:
    per_hour = history.interval.steps_per_hour
    issued_h = np.array(origins) // per_hour
    middle = (issued_h[0] + issued_h[-1]) // 2 + _DAY_AHEAD_H - _WEEK_H // 2
    first = max(issued_h[0] + _DAY_AHEAD_H, middle)
    hours = np.arange(first, min(first + _WEEK_H, issued_h[-1] + HORIZON_H + 1))
    number = np.searchsorted(issued_h, hours - _DAY_AHEAD_H, side="right") - 1
    lead = hours - issued_h[number]
    inside = (number >= 0) & (lead <= HORIZON_H)
    place = number[inside], lead[inside] - 1
    truth, quantiles = np.full(len(hours), np.nan), np.full((3, len(hours)), np.nan)
    truth[inside] = level.truth[place[0], row, place[1]]
    quantiles[:, inside] = level.forecasts[MODEL][place[0], :, row, place[1]].T
    start = history.interval.start_of(int(first) * per_hour).replace(tzinfo=None)
    return Week(title, [start + timedelta(hours=k) for k in range(len(hours))], truth, quantiles)
