"""The second pass: from a model's raw forecasts to what is issued.

The first pass, ``Forecaster.raw``, is expensive and looks at one snapshot only: many origins may be forecast at once,
in any order. The second pass is cheap and remembers. It has to see the origins in order, since it learns from each
truth as it arrives how wide intervals have to be, how far totals run from their forecasts, and how errors of one hour
go on in the next.

    raw = {origin: forecaster.raw(history.snapshot(origin)) for origin in origins}      # in parallel
    finisher = Finisher(forecaster.total_model)
    for origin in sorted(origins):
        issue = finisher.finish(history.snapshot(origin), raw[origin])                  # milliseconds
        issue.meters, issue.totals, issue.decisions(limits_kw, made_at)

The predictor runs the same two passes, one hour at a time, and keeps ``finisher.state()`` in Redis, with a copy in
Postgres. Without either, a new finisher starts from what the model's dump says. Origins may have any distance. Only
readings in the snapshot are looked at, each once, when it is first seen: late ones count when they come, missing ones
never.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np

from Predictor.forecasting.calibration import lead_group_of
from Predictor.forecasting.decisions import Issued, decide
from Predictor.forecasting.forecaster import MeterQuantiles, RawForecast
from Predictor.forecasting.hierarchy import Hierarchy, Totals
from Predictor.forecasting.online_calibration import OnlineCalibration
from Predictor.forecasting.packing import pack, unpack
from Predictor.forecasting.reconciliation import reconcile
from Predictor.forecasting.scenarios import scenarios, templates
from Predictor.forecasting.snapshot import Floats, Floats32, Snapshot
from Predictor.forecasting.total_memory import TotalMemory
from Predictor.forecasting.total_meters import counted
from Predictor.forecasting.total_model import TotalModel, spread_of
from Sensor_core.decision import Decision
from Sensor_core.interval import Interval

DRIFT_SHARE: Final = 0.25
"""Of what totals have lately run from their forecasts, this share is expected to go on."""


@dataclass(frozen=True)
class Issue:
    """What is issued at one origin.

    Attributes:
        meters: Calibrated and reconciled.
        totals: Their medians are the sums of the meters' medians.
        courses: Scenarios of each total, shape ``(N, horizon)`` each. [kWh]
        step: The origin.
        interval: The metering interval.
    """

    meters: MeterQuantiles
    totals: Totals
    courses: tuple[Floats, ...]
    step: int
    interval: Interval

    def decisions(self, limits_kw: Mapping[int, float], made_at: datetime) -> Iterator[Decision]:
        """Peaks, limits by site id [kW], and reserves."""
        issued = Issued(self.step, made_at, self.meters.model)
        return decide(self.totals, iter(self.courses), self.interval, limits_kw, issued)


class Finisher:
    """Turns raw forecasts into issues, origin by origin, and learns on the way."""

    def __init__(self, model: TotalModel) -> None:
        self.model = model
        self._calibration = OnlineCalibration()
        self._memory = TotalMemory()

    @property
    def origin(self) -> int | None:
        """The newest origin that was finished."""
        return self._calibration.origin

    def finish(self, snapshot: Snapshot, raw: RawForecast) -> Issue:
        """Learn from what the snapshot shows for the first time, then calibrate and reconcile.

        The same origin may come again, with the same result.

        Raises:
            ValueError: The origin lies before the newest one.
        """
        if self.origin is not None and snapshot.origin < self.origin:
            raise ValueError(f"origin {snapshot.origin} comes after {self.origin}: a second pass goes in order")
        interval = snapshot.interval
        # A meter that was not heard of for five weeks, or never, may be gone: it is in no total.
        heard_of = np.asarray(~np.isnan(snapshot.readings_kwh).all(axis=1))
        hierarchy = Hierarchy.of(snapshot.meters, snapshot.sites).only(heard_of)
        known = counted(snapshot.readings_kwh)
        part = hierarchy.only(known)
        self._calibration.observe(snapshot)
        self._memory.observe(snapshot, hierarchy, part, self.model.levels_of(hierarchy))
        meters = self._meters(raw, hierarchy, part, interval)
        half_width = (raw.meters.q90 - raw.meters.q10).astype(np.float64) / 2
        spread = spread_of(hierarchy, half_width)
        medians = meters.q50.astype(np.float64)
        totals = self._totals(hierarchy, hierarchy.add(medians), spread, interval)
        self._calibration.remember(raw.meters.stacked(), meters.q50, interval)
        uncorrected = part.add(medians) - DRIFT_SHARE * self._memory.drift(interval) * spread
        self._memory.remember(snapshot.origin, np.stack([uncorrected, part.add(medians), spread]), part.count, interval)
        return Issue(meters, totals, self._courses(totals), snapshot.origin, interval)

    def _meters(self, raw: RawForecast, hierarchy: Hierarchy, part: Hierarchy, interval: Interval) -> MeterQuantiles:
        """Widen the meters' intervals, then move the meters with their totals."""
        wide = _widen(raw.meters, self._calibration.factors(interval))
        half_width = (wide[2] - wide[0]).astype(np.float64) / 2
        middle = wide[1].astype(np.float64)
        group = lead_group_of(interval.horizon, interval.steps_per_hour)
        to_direct = np.nan_to_num(raw.direct_totals_kwh - part.add(middle))
        spread = spread_of(hierarchy, (raw.meters.q90 - raw.meters.q10).astype(np.float64) / 2)
        drift = DRIFT_SHARE * self._memory.drift(interval) * spread
        move = self.model.trust_of(hierarchy, group) * to_direct + drift
        median = reconcile(hierarchy, middle, half_width, move)
        return _shifted(raw.meters, wide, median.astype(np.float32))

    def _totals(self, hierarchy: Hierarchy, median: Floats, spread: Floats, interval: Interval) -> Totals:
        group = lead_group_of(interval.horizon, interval.steps_per_hour)
        levels = self._memory.levels[:, :, group]
        quantiles = np.maximum(median[:, None] + spread[:, None] * levels, 0.0)
        return Totals(hierarchy.site_id, tuple(hierarchy.meter.tolist()), tuple(hierarchy.count.tolist()), quantiles)

    def _courses(self, totals: Totals) -> tuple[Floats, ...]:
        return tuple(
            scenarios(quantiles, templates(*self._memory.paths(total)))
            for total, quantiles in enumerate(totals.quantiles)
        )

    def state(self) -> dict[str, bytes]:
        """What has been learned, in parts of which few change from one origin to the next."""
        parts = {**self._calibration.arrays(), **self._memory.arrays()}
        return {name: pack(part) for name, part in parts.items()}

    def restore(self, state: Mapping[str, bytes]) -> None:
        """Take over what ``state`` gave.

        Raises:
            ValueError: It is not a state.
        """
        parts = {name: unpack(document) for name, document in state.items()}
        self._calibration.restore(parts)
        self._memory.restore(parts)


def _widen(meters: MeterQuantiles, factors: Floats32) -> Floats32:
    low, middle, high = meters.stacked()
    return np.stack([middle - (middle - low) * factors[0], middle, middle + (high - middle) * factors[1]])


def _shifted(meters: MeterQuantiles, wide: Floats32, median: Floats32) -> MeterQuantiles:
    """Intervals go along with their medians, and stay above zero."""
    low, high = (np.maximum(edge + (median - wide[1]), 0) for edge in (wide[0], wide[2]))
    return replace(meters, q10=np.minimum(low, median), q50=median, q90=np.maximum(high, median))
