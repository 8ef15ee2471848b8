"""Readings that neither the forecast nor the meter's own past explains."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from Predictor.forecasting.local_grid import run_lengths
from Predictor.forecasting.snapshot import Flags, Floats, Floats32, Snapshot
from Sensor_core.anomaly import Anomaly, Kind

OUTSIDE_WIDTHS: Final = 2.0
"""An anomaly lies farther from the median than so many widths of the 80 % interval (5 sigma if normal)."""
FLAT_LINE_H: Final = 24
_LEAST_WIDTH: Final = 0.05


@dataclass(frozen=True)
class Expected:
    """What the issue before forecast for the origin (lead time 1) [kWh], each of shape ``(M,)``."""

    q10: Floats32
    q50: Floats32
    q90: Floats32


def distances(reading_kwh: Floats, expected: Expected) -> Floats:
    """Distance from the median in widths of the 80 % interval, which counts as 5 % of the median at least."""
    width = np.maximum(expected.q90 - expected.q10, _LEAST_WIDTH * expected.q50)
    off = np.abs(reading_kwh - expected.q50)
    return np.asarray(off / np.maximum(width, np.finfo(np.float32).tiny))


def starts_flat_line(snapshot: Snapshot) -> Flags:
    """Meters that have just been unchanged above zero for 24 h, for the first time in their past."""
    limit = FLAT_LINE_H * snapshot.interval.steps_per_hour
    readings = snapshot.readings_kwh
    _, run = run_lengths(readings)
    earlier = run[:, :-limit].max(axis=1, initial=0)
    return np.asarray((run[:, -1] == limit) & (readings[:, -1] > 0) & (earlier < limit))


def find_anomalies(snapshot: Snapshot, expected: Expected | None, detected_at: datetime) -> list[Anomaly]:
    """Check the readings at the origin.

    Args:
        snapshot: What is known at the origin.
        expected: The forecast of the issue before, in the order of ``snapshot.meters``; None without one.
        detected_at: When they are checked, UTC.
    """
    reading = snapshot.readings_kwh[:, -1]
    nothing = np.full(len(reading), np.nan)
    distance = nothing if expected is None else distances(reading, expected)
    medians = nothing if expected is None else expected.q50
    found: list[Anomaly] = []

    def report(kind: Kind, meter: int, score: float) -> None:
        found.append(
            Anomaly(
                building_id=int(snapshot.meters.building_id[meter]),
                meter=int(snapshot.meters.meter[meter]),
                timestamp=snapshot.interval.start_of(snapshot.origin),
                detected_at=detected_at,
                kind=kind,
                meter_reading=float(reading[meter]),
                expected=None if np.isnan(medians[meter]) else float(medians[meter]),
                score=score,
            )
        )

    for meter in np.flatnonzero(distance > OUTSIDE_WIDTHS):
        report("outside_interval", int(meter), float(min(distance[meter], 1e9)))
    for meter in np.flatnonzero(starts_flat_line(snapshot)):
        report("flat_line", int(meter), float(FLAT_LINE_H))
    return found
