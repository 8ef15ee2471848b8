"""Meter intervals that learn from each truth as it arrives.

Two factors multiply either half of the 80 % interval: one that all meters share and one of each meter's own, by lead
group. Their logarithms follow the misses: up while more than a tenth of the truths lies outside, down while fewer do
(quantile tracking: Gibbs and Candes 2021; Angelopoulos, Candes and Tibshirani 2023). Steps are counted in hours of
time, not in forecasts, so that origins may have any distance. The own factor leaks back to the shared one. A truth is
held against the factors of now: misses that are known only days later do not wind the factor up.
"""

from typing import Final

import numpy as np

from Predictor.forecasting.calibration import LEAD_GROUPS, lead_group_of
from Predictor.forecasting.packing import Arrays, places_of
from Predictor.forecasting.seen import Seen, width_of
from Predictor.forecasting.snapshot import Floats, Floats32, Ints, Meters, Snapshot
from Sensor_core.interval import Interval

LEADS_H: Final = (1, 3, 6, 12, 18, 24, 36, 48)
"""Lead times that are held against the truth; issued forecasts are kept for these. [h]"""

_MISSED: Final = 0.1
_SHARED_RATE: Final = 0.05
_OWN_RATE: Final = 0.02
_OWN_LEAK: Final = 0.004
_BOUND: Final = 1.5
_LONGEST_STEP_H: Final = 24.0
_ISSUE: Final = "issue:"


class OnlineCalibration:
    """Factors on the halves of meters' intervals, and the issued forecasts that still wait for their truth."""

    def __init__(self) -> None:
        groups = len(LEAD_GROUPS)
        self._keys: Ints = np.zeros((0, 2), dtype=np.int64)
        self._shared: Floats = np.zeros((2, groups))
        self._own: Floats = np.zeros((2, groups, 0))
        self._seen = Seen()
        self._issued: dict[int, Floats32] = {}

    @property
    def origin(self) -> int | None:
        """The newest origin that was observed."""
        return self._seen.origin

    def observe(self, snapshot: Snapshot) -> None:
        """Learn from the readings of a snapshot that were not seen before."""
        interval, origin = snapshot.interval, snapshot.origin
        self._follow(snapshot.meters, interval)
        new, elapsed = self._seen.take(snapshot.readings_kwh, origin)
        if elapsed:
            missed, count = self._missed(new, origin, interval)
            self._learn(missed, count, min(elapsed / interval.steps_per_hour, _LONGEST_STEP_H))
        self._issued = {step: issue for step, issue in self._issued.items() if step > origin - width_of(interval)}

    def factors(self, interval: Interval) -> Floats32:
        """Factors on the lower and the upper half, shape ``(2, M, horizon)``, meters as last observed."""
        group = lead_group_of(interval.horizon, interval.steps_per_hour)
        factor = np.exp(self._shared[:, :, None] + self._own)
        return np.moveaxis(factor, 1, 2)[:, :, group].astype(np.float32)

    def remember(self, quantiles: Floats32, median: Floats32, interval: Interval) -> None:
        """Keep what is issued at the newest origin until its truth comes.

        Args:
            quantiles: Before the factors, shape ``(3, M, horizon)``. [kWh]
            median: As issued, shape ``(M, horizon)``. [kWh]
            interval: The metering interval.
        """
        if self.origin is not None:
            at = np.array(LEADS_H) * interval.steps_per_hour - 1
            low, middle, high = quantiles[:, :, at]
            self._issued[self.origin] = np.stack([median[:, at], middle - low, high - middle])

    def _follow(self, meters: Meters, interval: Interval) -> None:
        """Put everything in the order of these meters; new ones start with the shared factors."""
        keys = np.stack([meters.building_id, meters.meter], axis=1)
        if np.array_equal(keys, self._keys) and self._seen.fits(interval):
            return
        place = places_of(self._keys, keys)
        new = place < 0
        self._own = (
            np.where(new, 0.0, self._own[:, :, place])
            if len(self._keys)
            else np.zeros((*self._shared.shape, len(keys)))
        )
        self._seen.follow(place, interval)
        nothing = np.float32(np.nan)
        self._issued = {step: np.where(new[:, None], nothing, issue[:, place]) for step, issue in self._issued.items()}
        self._keys = keys

    def _missed(self, readings: Floats, origin: int, interval: Interval) -> tuple[Floats, Floats]:
        """Count truths below and above their intervals, shapes ``(2, groups, M)`` and ``(groups, M)``."""
        group = lead_group_of(interval.horizon, interval.steps_per_hour)
        missed = np.zeros((2, len(LEAD_GROUPS), len(readings)))
        count = np.zeros((len(LEAD_GROUPS), len(readings)))
        factor = np.exp(self._shared[:, :, None] + self._own)
        for column in np.flatnonzero(~np.isnan(readings).all(axis=0)).tolist():
            step = origin - readings.shape[1] + 1 + column
            for index, lead in enumerate(np.array(LEADS_H) * interval.steps_per_hour):
                issue = self._issued.get(step - int(lead))
                if issue is None:
                    continue
                of = group[lead - 1]
                median, low, high = issue[:, :, index]
                beyond = readings[:, column] - median
                usable = ~np.isnan(beyond) & (low + high > 0)
                count[of] += usable
                missed[0, of] += usable & (-beyond > low * factor[0, of])
                missed[1, of] += usable & (beyond > high * factor[1, of])
        return missed, count

    def _learn(self, missed: Floats, count: Floats, elapsed_h: float) -> None:
        of_all = missed.sum(axis=2) / np.maximum(count.sum(axis=1), 1) - _MISSED
        of_each = missed / np.maximum(count, 1) - _MISSED
        self._shared += _SHARED_RATE * elapsed_h * np.where(count.sum(axis=1) > 0, of_all, 0.0)
        self._own += elapsed_h * (_OWN_RATE * np.where(count > 0, of_each, 0.0) - _OWN_LEAK * self._own)
        np.clip(self._shared, -_BOUND, _BOUND, out=self._shared)
        np.clip(self._own, -_BOUND, _BOUND, out=self._own)

    def arrays(self) -> dict[str, Arrays]:
        """The state by part: the factors, and each issue that waits."""
        if self.origin is None:
            return {}
        factors: Arrays = {"keys": self._keys, "shared": self._shared, "own": self._own, **self._seen.arrays()}
        parts = {"factors": factors}
        for step, issue in self._issued.items():
            parts[f"{_ISSUE}{step}"] = {"issue": issue}
        return parts

    def restore(self, parts: dict[str, Arrays]) -> None:
        """Take over a state that ``arrays`` gave."""
        if "factors" not in parts:
            return
        factors = parts["factors"]
        self._keys, self._seen = factors["keys"], Seen.of(factors)
        self._shared, self._own = factors["shared"].copy(), factors["own"].copy()
        issues = {name.removeprefix(_ISSUE): part for name, part in parts.items() if name.startswith(_ISSUE)}
        self._issued = {int(step): part["issue"] for step, part in issues.items()}
