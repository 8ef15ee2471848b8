"""What the scenarios of a total mean for who has to act: its next peak, its limit, the reserve to hold."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from Predictor.forecasting.hierarchy import Totals
from Predictor.forecasting.snapshot import Floats
from Sensor_core.decision import WINDOWS_H, Decision
from Sensor_core.forecast import AGGREGATE_LEVELS
from Sensor_core.interval import Interval
from Sensor_core.reading import ELECTRICITY

RESERVE_LEVEL: Final = 0.95
_MIDDLE: Final = AGGREGATE_LEVELS.index(0.5)
_DECIMALS: Final = 4


@dataclass(frozen=True)
class Issued:
    """Origin, time of making and model of an issue."""

    step: int
    made_at: datetime
    model: str


def decide(
    totals: Totals, courses: Iterator[Floats], interval: Interval, limits_kw: Mapping[int, float], issued: Issued
) -> Iterator[Decision]:
    """Look at the next 24 and 48 hours of each total that has a meter.

    Args:
        totals: Forecasts of totals.
        courses: Scenarios of each total, shape ``(N, horizon)``. [kWh]
        interval: The metering interval.
        limits_kw: By site id; a limit is one on electricity. [kW]
        issued: What the decisions carry.
    """
    rows = zip(totals.site_id, totals.meter, totals.meters, totals.quantiles[:, _MIDDLE], courses, strict=True)
    for site_id, meter, meters, median, course in rows:
        if not meters:
            continue
        limit_kw = limits_kw.get(site_id) if site_id is not None and meter == ELECTRICITY else None
        for window_h in WINDOWS_H:
            steps = window_h * interval.steps_per_hour
            power_kw, median_kw = (values[..., :steps] * interval.steps_per_hour for values in (course, median))
            height_kw = power_kw.max(axis=1)
            low, middle, high = np.quantile(height_kw, (0.1, 0.5, 0.9))
            step, probability = _likeliest_peak(power_kw)
            beyond = (power_kw - median_kw).max(axis=1)
            yield Decision(
                site_id=site_id,
                meter=meter,
                issued_at=interval.start_of(issued.step),
                made_at=issued.made_at,
                model=issued.model,
                window_h=window_h,
                peak_at=interval.start_of(issued.step + 1 + step),
                peak_probability=probability,
                peak_q10_kw=_rounded(low),
                peak_q50_kw=_rounded(middle),
                peak_q90_kw=_rounded(high),
                limit_kw=limit_kw,
                limit_probability=None if limit_kw is None else float((height_kw > limit_kw).mean()),
                reserve_kw=_rounded(max(0.0, np.quantile(beyond, RESERVE_LEVEL))),
            )


def _likeliest_peak(power_kw: Floats) -> tuple[int, float]:
    """The step in which most scenarios peak, the first of equals, and their share."""
    votes = np.bincount(power_kw.argmax(axis=1), minlength=power_kw.shape[1])
    return int(votes.argmax()), float(votes.max() / len(power_kw))


def _rounded(value: float) -> float:
    return round(float(value), _DECIMALS)
