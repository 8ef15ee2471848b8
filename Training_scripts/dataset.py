"""The past as arrays: what models are trained on and tried against."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
import pandas as pd

from Predictor.forecasting.snapshot import (
    NO_SITE,
    NOWHERE,
    WEATHER_HISTORY_H,
    Flags,
    Floats,
    Floats32,
    Ints,
    Meters,
    Sites,
    Snapshot,
    history_steps,
)
from Predictor.forecasting.weather_outlook import outlook
from Sensor_core.building import Building, Site
from Sensor_core.errors import DataFolderError
from Sensor_core.interval import SECONDS_PER_HOUR, Interval
from Sensor_core.weather import QUANTITY_NAMES
from Training_scripts.weather_versions import NO_ISSUED_WEATHER, NO_LATE_WEATHER, IssuedWeather, LateWeather

logger = logging.getLogger(__name__)

GRACE_S: Final = 300
"""A reading that becomes known within so long after its interval is there in time, as live (LIVE_GRACE_S). [s]"""

_STRAY_GAP_DAYS: Final = 366
_STRAY_SHARE: Final = 0.01
"""So few readings, so far from all others, are of a clock that was wrong; every meter would get a column for each hour
between."""

_NO_READINGS: Final = pd.DataFrame(
    {"building_id": [], "meter": [], "timestamp": [], "meter_reading_kwh": [], "known_at": []}
).astype({"timestamp": "datetime64[ns, UTC]", "known_at": "datetime64[ns, UTC]"})


@dataclass(frozen=True)
class LateVersions:
    """Every version of the readings of which one came late, in the order of becoming known.

    Attributes:
        row: Row of the meter.
        step: Step of the reading.
        known_s: When the version became known, in seconds since 1970.
        kwh: What it says. [kWh]
    """

    row: Ints
    step: Ints
    known_s: Ints
    kwh: Floats

    def where(self, kept: Flags) -> Self:
        """Keep some of them."""
        return replace(self, row=self.row[kept], step=self.step[kept], known_s=self.known_s[kept], kwh=self.kwh[kept])


def _no_late_versions() -> LateVersions:
    nothing = np.array([], dtype=np.int64)
    return LateVersions(nothing, nothing, nothing, np.array([], dtype=np.float64))


@dataclass(frozen=True)
class EnergyHistory:
    """Readings and weather of a span of time.

    Attributes:
        interval: The metering interval.
        sites: S sites.
        meters: M meters.
        first: Step of the first column of ``readings_kwh``; it starts an hour.
        readings_kwh: Shape ``(M, T)``; NaN where missing. [kWh]
        weather: Observed weather by hour, shape ``(S, hours of T, 7)``; NaN where missing.
        late: What was known when of readings that came late or were corrected; ``readings_kwh`` has the last word.
        late_weather: The same of observed weather.
        issued_weather: Forecasts that a provider issued; where there is none, they are made from what was observed.
    """

    interval: Interval
    sites: Sites
    meters: Meters
    first: int
    readings_kwh: Floats
    weather: Floats32
    late: LateVersions = field(default_factory=_no_late_versions)
    late_weather: LateWeather = NO_LATE_WEATHER
    issued_weather: IssuedWeather = NO_ISSUED_WEATHER

    @property
    def stop(self) -> int:
        """The step after the last one."""
        return self.first + len(self.readings_kwh.T)

    def snapshot(self, origin: int) -> Snapshot:
        """Show what was known at ``origin``, and nothing later."""
        begin = max(0, origin - self.first + 1 - history_steps(self.interval))
        observed = self._observed_before(origin + 1)[:, -WEATHER_HISTORY_H:]
        hour, known = origin // self.interval.steps_per_hour, self._newest_hour_over(origin + 1)
        return Snapshot(
            origin=origin,
            interval=self.interval,
            meters=self.meters,
            sites=self.sites,
            readings_kwh=self._known_before(origin + 1)[:, begin:],
            weather=observed,
            weather_forecast=self.issued_weather.instead_of(outlook(observed), hour, known),
        )

    def until(self, step: int) -> Self:
        """All that was known when ``step`` began: nothing of it, and nothing later."""
        return replace(
            self,
            readings_kwh=self._known_before(step),
            weather=self._observed_before(step),
            late=self.late.where((self.late.step < step) & self._known_when_began(step)),
            late_weather=self.late_weather.where(self.late_weather.known_at(step * self.interval.seconds)),
            issued_weather=self.issued_weather.until(self._newest_hour_over(step)),
        )

    def since(self, step: int) -> Self:
        """Leave out what lies before the hour of ``step``."""
        per_hour = self.interval.steps_per_hour
        hours = max(0, (step - self.first) // per_hour)
        return replace(
            self,
            first=self.first + hours * per_hour,
            readings_kwh=self.readings_kwh[:, hours * per_hour :],
            weather=self.weather[:, hours:],
            late=self.late.where(self.late.step >= self.first + hours * per_hour),
        )

    def _known_before(self, step: int) -> Floats:
        """Readings before ``step`` as they were known when it began."""
        readings = self.readings_kwh[:, : step - self.first]
        late = self.late.where(self.late.step < step)
        if not len(late.step):
            return readings
        readings = readings.copy()
        readings[late.row, late.step - self.first] = np.nan
        known = self.late.where((self.late.step < step) & self._known_when_began(step))
        readings[known.row, known.step - self.first] = known.kwh
        return readings

    def _observed_before(self, step: int) -> Floats32:
        """Weather of the hours that begin before ``step``; one that is not over by then is not known yet."""
        over, more = divmod(step - self.first, self.interval.steps_per_hour)
        first_hour = self.first // self.interval.steps_per_hour
        weather = self.weather[:, : over + (more > 0)]
        weather = self.late_weather.as_known(weather, first_hour, step * self.interval.seconds)
        if more:
            weather = weather.copy()
            weather[:, over:] = np.nan
        return weather

    def _newest_hour_over(self, step: int) -> int:
        """The newest hour that is over when ``step`` begins, in hours since 1970."""
        return step // self.interval.steps_per_hour - 1

    def _known_when_began(self, step: int) -> Flags:
        return self.late.known_s <= step * self.interval.seconds + GRACE_S

    def truth(self, origin: int) -> Floats:
        """Readings after ``origin`` [kWh], shape ``(M, horizon)``; NaN where there is none."""
        begin = origin - self.first + 1
        known = self.readings_kwh[:, begin : begin + self.interval.horizon]
        missing = self.interval.horizon - known.shape[1]
        return np.pad(known, ((0, 0), (0, missing)), constant_values=np.nan)


def energy_history(
    interval: Interval,
    sites: Sequence[Site],
    buildings: Mapping[int, Building],
    readings: Iterable[pd.DataFrame],
    weather: pd.DataFrame,
    *,
    warn: Callable[[str], None] = logger.warning,
) -> EnergyHistory:
    """Arrange readings and weather on the interval's grid.

    Args:
        interval: The metering interval.
        sites: The sites of all buildings.
        buildings: Metadata by building id; other buildings stand ``NOWHERE``, as in the predictor.
        readings: Chunks with the columns building_id, meter, timestamp (UTC), meter_reading_kwh; of two
            readings for one interval the one with the greater known_at counts.
        weather: Columns site_id, timestamp (UTC) and ``QUANTITY_NAMES``.
        warn: Told of buildings without metadata, and of readings that are left out.

    Raises:
        DataFolderError: There is no reading of a building that the metadata names.
    """
    parts = [_compact(chunk, interval) for chunk in readings]
    table = _without_strays(pd.concat([_compact(_NO_READINGS, interval), *parts], ignore_index=True), interval, warn)
    if not table["building_id"].isin(list(buildings)).any():
        raise DataFolderError("there are no readings of buildings that the metadata names")
    unknown = sorted(set(table["building_id"].unique().tolist()) - set(buildings))
    if unknown:
        warn(f"{len(unknown)} buildings without metadata, such as {unknown[0]}: forecast, but in no total")
        buildings = {**buildings, **{key: Building(building_id=key, site_id=NO_SITE) for key in unknown}}
        sites = [*sites, NOWHERE]
    places = Sites.of(sites)
    table = table.sort_values(["known_at", "kwh"], kind="stable")
    keys = sorted(set(zip(table["building_id"], table["meter"], strict=True)))
    row = {key: index for index, key in enumerate(keys)}
    first = int(table["step"].min()) // interval.steps_per_hour * interval.steps_per_hour
    values = np.full((len(keys), int(table["step"].max()) + 1 - first), np.nan)
    rows = np.array([row[key] for key in zip(table["building_id"], table["meter"], strict=True)])
    values[rows, table["step"].to_numpy() - first] = table["kwh"].to_numpy()
    hours = -(-values.shape[1] // interval.steps_per_hour)
    first_hour = first // interval.steps_per_hour
    meters = Meters.of([(int(building), int(meter)) for building, meter in keys], buildings, places)
    observed = weather_array(weather, places, first_hour, hours)
    return EnergyHistory(interval, places, meters, first, values, observed, _late_versions(table, rows, interval))


def _late_versions(table: pd.DataFrame, rows: Ints, interval: Interval) -> LateVersions:
    step, known_s = table["step"].to_numpy(dtype=np.int64), table["known_at"].to_numpy(dtype=np.int64)
    cell = rows * (step.max() + 1) + step
    late = np.isin(cell, cell[known_s > (step + 1) * interval.seconds + GRACE_S])
    return LateVersions(rows, step, known_s, table["kwh"].to_numpy(dtype=np.float64)).where(late)


def _without_strays(table: pd.DataFrame, interval: Interval, warn: Callable[[str], None]) -> pd.DataFrame:
    step = table["step"].to_numpy()
    steps = np.unique(step)
    begins = steps[1:][np.diff(steps) > _STRAY_GAP_DAYS * interval.steps_per_day]
    part = np.searchsorted(begins, step, side="right")
    stray = (np.bincount(part) < _STRAY_SHARE * len(table))[part]
    if stray.any():
        at = interval.start_of(int(step[stray].min()))
        warn(f"{stray.sum()} readings more than a year away from all others, the first at {at:%Y-%m-%d}: left out")
    kept: pd.DataFrame = table[~stray]
    return kept


def _compact(chunk: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Keep what the stream would store: on the grid, not negative."""
    start_s = epoch_seconds(chunk["timestamp"])
    table = pd.DataFrame(
        {
            "building_id": chunk["building_id"].astype("int32"),
            "meter": chunk["meter"].astype("int8"),
            "step": start_s // interval.seconds,
            "kwh": chunk["meter_reading_kwh"].astype("float64"),
            "known_at": epoch_seconds(chunk["known_at"]),
        }
    )
    kept: pd.DataFrame = table[(start_s % interval.seconds == 0) & (table["kwh"] >= 0)]
    return kept


def epoch_seconds(timestamps: pd.Series) -> Ints:
    """Seconds since 1970 of UTC timestamps; a missing one is before all others."""
    naive = timestamps.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    return np.asarray(naive.astype("datetime64[s]").astype(np.int64))


def weather_array(weather: pd.DataFrame, sites: Sites, first_hour: int, hours: int) -> Floats32:
    """Weather by site and hour, shape ``(S, hours, 7)``; NaN where there is none."""
    array = np.full((len(sites), hours, len(QUANTITY_NAMES)), np.nan, dtype=np.float32)
    place = {site_id: index for index, site_id in enumerate(sites.site_id)}
    hour = epoch_seconds(weather["timestamp"]) // SECONDS_PER_HOUR - first_hour
    site = weather["site_id"].map(place).to_numpy(dtype=np.float64, na_value=np.nan)
    fits = (hour >= 0) & (hour < hours) & ~np.isnan(site)
    quantities = weather.loc[fits, list(QUANTITY_NAMES)].to_numpy(dtype=np.float32)
    array[site[fits].astype(np.int64), hour[fits]] = quantities
    return array
