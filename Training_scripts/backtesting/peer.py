"""The peer that a user would take: mlforecast with one LightGBM for all series, fitted once, then updated.

Meters are one global model; sites and the grid are series of their own in a second one. Intervals are
mlforecast's conformal ones.
"""

import time
import warnings
from collections.abc import Sequence
from typing import Final

import lightgbm
import numpy as np
import pandas as pd
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean, SeasonalRollingMean
from mlforecast.target_transforms import LocalStandardScaler
from mlforecast.utils import PredictionIntervals

from Predictor.forecasting.snapshot import Flags, Floats, Ints
from Sensor_core.errors import BacktestError
from Sensor_core.interval import HORIZON_H
from Training_scripts.backtesting.evaluation import PeerForecasts
from Training_scripts.backtesting.totals import sums
from Training_scripts.dataset import EnergyHistory

_LONGEST_GAP_H: Final = 168
_MOST_WINDOWS: Final = 10
_LEAST_WINDOWS: Final = 2
_LEAST_HISTORY_H: Final = 24 * 14
_SATURDAY: Final = 5
_HOUR: Final = pd.Timedelta(hours=1)
_SERIES: Final = ["unique_id", "ds", "y"]
_COVER_PERCENT: Final = 80
_COLUMNS: Final = (f"m-lo-{_COVER_PERCENT}", "m", f"m-hi-{_COVER_PERCENT}")


def forecast_with_peer(
    history: EnergyHistory, until: int, origins: Sequence[int], totals: Sequence[tuple[int | None, int]]
) -> PeerForecasts:
    """Fit the peer and let it forecast at some origins.

    Args:
        history: Up to the last origin; of intervals shorter than an hour the first of each hour is taken.
        until: The first step that the fits must not see.
        origins: Steps of the origins, in order.
        totals: Site and meter code of the totals.

    Raises:
        BacktestError: There is too little before ``until``.
    """
    per_hour = history.interval.steps_per_hour
    hours = pd.date_range(
        history.interval.start_of(history.first).replace(tzinfo=None),
        periods=-(-len(history.readings_kwh.T) // per_hour),
        freq="h",
    )
    past = hours < pd.Timestamp(history.interval.start_of(until).replace(tzinfo=None))
    meters = _without_gaps(history.readings_kwh[:, ::per_hour], past)
    issued_at = [hours[(origin - history.first) // per_hour] for origin in origins]
    sites, codes = zip(*totals, strict=True)
    offsets_h = _standard_offsets_h(history, hours)
    of_meters, fit_s, forecast_s = _forecasts(meters, offsets_h[history.meters.site], hours, past, issued_at)
    of_grid = int(np.median(offsets_h[history.meters.site]))
    offsets = [of_grid if site is None else offsets_h[history.sites.site_id.index(site)] for site in sites]
    totals_kwh = sums(history, sites, codes, np.nan_to_num(meters))
    of_totals, *more_s = _forecasts(totals_kwh, np.array(offsets), hours, past, issued_at)
    return PeerForecasts(of_meters, of_totals, (fit_s + more_s[0], forecast_s + more_s[1]))


def _without_gaps(readings: Floats, past: Flags) -> Floats:
    """Repeat the newest value in gaps; a series begins after its last long gap that training saw."""
    table = pd.DataFrame(readings.T)
    for series in table:
        missing = table[series].isna()
        gap_h = missing.groupby((~missing).cumsum()).cumsum().to_numpy()
        long = np.flatnonzero((gap_h > _LONGEST_GAP_H) & past)
        if len(long):
            table.loc[: long[-1], series] = np.nan
    return np.asarray(table.ffill().to_numpy().T)


def _standard_offsets_h(history: EnergyHistory, hours: pd.DatetimeIndex) -> Ints:
    """Hours that each site's clock is ahead of UTC, without daylight saving: days look alike on it."""
    days = hours[::24].tz_localize("UTC")
    return np.array(
        [
            min(int((day.tz_convert(zone).tz_localize(None) - day.tz_localize(None)) // _HOUR) for day in days)
            for zone in history.sites.time_zone
        ],
        dtype=np.int64,
    )


def _forecasts(
    series: Floats, offset_h: Ints, hours: pd.DatetimeIndex, past: Flags, issued_at: Sequence[pd.Timestamp]
) -> tuple[Floats, float, float]:
    """Quantiles of shape ``(O, 3, K, 48)`` [kWh], and the seconds of the fit and of the forecasts."""
    result = np.full((len(issued_at), 3, len(series), HORIZON_H), np.nan)
    known_h = (~np.isnan(series[:, past])).sum(axis=1)
    rows = np.flatnonzero(known_h >= _LEAST_HISTORY_H)
    longest_h = _LEAST_HISTORY_H + _LEAST_WINDOWS * HORIZON_H
    if known_h.max() < longest_h:
        raise BacktestError(f"--peer needs a meter with {longest_h // 24} days of readings before --train-until")
    in_shortest = int(known_h[rows].min()) // HORIZON_H - 1
    windows = min(_MOST_WINDOWS, in_shortest, (int(known_h.max()) - _LEAST_HISTORY_H) // HORIZON_H)
    table = pd.DataFrame(series[rows].T, index=hours).rename_axis(index="hour", columns="unique_id")
    table = table.melt(value_name="y", ignore_index=False).dropna().reset_index()
    local = pd.Series(pd.to_timedelta(offset_h[rows], unit="h"))
    table["ds"] = table["hour"] + table["unique_id"].map(local)
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peer's own habits
        newest = hours[past][-1]
        model = _fitted(table.loc[table["hour"] <= newest, _SERIES], windows)
        fitted = time.process_time()
        for number, origin in enumerate(issued_at):
            new = table.loc[(table["hour"] > newest) & (table["hour"] <= origin), _SERIES]
            if len(new):
                model.update(new)
            newest = origin
            forecast = model.predict(HORIZON_H, level=[_COVER_PERCENT])
            values = forecast[list(_COLUMNS)].to_numpy().reshape(len(rows), HORIZON_H, 3)
            result[number][:, rows] = np.maximum(np.moveaxis(values, 2, 0), 0)
    return result, fitted - started, time.process_time() - fitted


def _fitted(table: pd.DataFrame, windows: int) -> MLForecast:
    booster = lightgbm.LGBMRegressor(
        n_estimators=300, learning_rate=0.05, num_leaves=31, min_child_samples=50, subsample=0.8, subsample_freq=1,
        colsample_bytree=0.8, verbosity=-1, n_jobs=1, random_state=0,
    )  # fmt: skip
    model = MLForecast(
        models={"m": booster},
        freq="h",
        lags=[*range(1, 25), *range(121, 169)],
        lag_transforms={
            1: [RollingMean(3), RollingMean(24), RollingMean(168)],
            24: [RollingMean(24), SeasonalRollingMean(24, 7)],
            168: [RollingMean(24)],
        },
        date_features=["hour", "dayofweek", _is_weekend],
        target_transforms=[LocalStandardScaler()],
        num_threads=1,
    )
    intervals = PredictionIntervals(n_windows=windows, h=HORIZON_H)
    model.fit(table, static_features=[], prediction_intervals=intervals)
    return model


def _is_weekend(days: pd.DatetimeIndex) -> Ints:
    return np.asarray(days.dayofweek >= _SATURDAY, dtype=np.int64)
