"""What each group of features is worth: members fitted without it, on validation windows inside real data folders.

    python benchmarks/ablation.py DATA [--only FOLDER ...] [--jobs N]

A group's columns become constant in training and in the window. The table has the change of the geometric mean over
meters of the CVRMSE, and of the pinball loss; the forecasts are not calibrated. No window reaches a test window.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from Predictor.forecasting.calibration import lead_group_of
from Predictor.forecasting.fallback import can_be_modelled
from Predictor.forecasting.features import CALENDAR_FEATURES, FEATURE_NAMES, STATIC_FEATURES, build_features
from Predictor.forecasting.forecaster import raw_quantiles
from Predictor.forecasting.weather_features import WEATHER_FEATURES
from Sensor_core.interval import Interval
from Training_scripts.fitting import fit_members
from Training_scripts.samples import draw_sample
from Training_scripts.scoring import score_series
from Training_scripts.sources import history_of_folder

WINDOWS = {
    "ashrae25": ("2016-10-25", "2016-11-12", 5),
    "bdg1-dev": ("2015-03-01", "2015-05-28", 37),
    "cambridge-dev": ("2019-08-01", "2019-12-28", 49),
}
"""Training ends, origins end, hours from origin to origin."""


def beginning(*names: str) -> tuple[str, ...]:
    """The features whose names begin so."""
    return tuple(name for name in FEATURE_NAMES if name.startswith(names))


GROUPS = {
    "nothing": (),
    "days that went like the last one": beginning("analog_", "moved_analog"),
    "newest reading moved on": beginning("moved_day", "moved_week", "moved_profile"),
    "lags of days and weeks": beginning("day_lag_1", "day_lag_2", "day_lag_3", "day_lag_7", "week_lag", "like_day_lag"),
    "newest readings and means": beginning("reading_", "mean_"),
    "errors of the profile": beginning("error_", "expected_step", "profile_spread"),
    "drifts by time of day": beginning("day_error", "day_drift", "like_day_drift", "week_drift"),
    "the site's other meters": beginning("site_"),
    "calendar": tuple(name for name in CALENDAR_FEATURES if name != "lead_h"),
    "weather": WEATHER_FEATURES,
    "building metadata": STATIC_FEATURES,
}
LEADS = {"1": slice(0, 1), "3": slice(2, 3), "6": slice(5, 6), "24": slice(23, 24), "1-48": slice(0, 48)}


def scores(data: Path, folder: str, group: str) -> list[float]:
    """Geometric mean over meters of the CVRMSE by ``LEADS``, then of the pinball loss over the meter's mean."""
    until, stop, every = WINDOWS[folder]
    history = history_of_folder(data / folder, Interval())
    first, last = (int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) // 3600 for day in (until, stop))
    columns = [FEATURE_NAMES.index(name) for name in GROUPS[group]]
    sample = draw_sample(history, first, np.random.default_rng(0), lambda _: None)
    linear, boosters = fit_members(replace(sample, inputs=without(sample.inputs, columns)), num_threads=1)
    score = partial(raw_quantiles, linear, boosters, lead_group=lead_group_of(48, 1), num_threads=1)
    quantiles, truth = [], []
    for origin in range(first, last, every):
        features = build_features(history.snapshot(origin))
        rows = np.flatnonzero(can_be_modelled(features))
        forecast = np.full((3, *features.anchor_kwh.shape), np.nan)
        forecast[:, rows] = np.maximum(
            score(features=replace(features, inputs=without(features.inputs, columns)), rows=rows), 0
        )
        quantiles.append(forecast)
        truth.append(history.truth(origin))
    return summary(np.stack(quantiles), np.stack(truth))


def without(inputs: np.ndarray, columns: list[int]) -> np.ndarray:
    """Model inputs of which some say nothing."""
    inputs = inputs.copy()
    inputs[:, columns] = 0.0
    return inputs


def summary(quantiles: np.ndarray, truth: np.ndarray) -> list[float]:
    """Scores of forecasts of shape ``(origins, 3, meters, 48)``, relative to each meter's mean."""
    by_lead = [score_series(truth[..., leads], quantiles[..., leads]) for leads in LEADS.values()]
    errors = [*(series.cvrmse for series in by_lead), by_lead[-1].pinball]
    return [float(np.exp(np.log(values[values > 0]).mean())) for values in errors]


def show(folder: str, by_group: Iterable[tuple[str, list[float]]]) -> None:
    """Print a folder's table."""
    print(f"\n{folder}: without{'':30}" + "".join(f"{'+' + name + ' h':>10}" for name in LEADS) + f"{'pinball':>10}")
    base: list[float] = []
    for group, values in by_group:
        base = base or values
        cells = [
            f"{value:.4f}" if values is base else f"{100 * (value / was - 1):+.1f} %"
            for value, was in zip(values, base, strict=True)
        ]
        print(f"{group:40}" + "".join(f"{cell:>10}" for cell in cells), flush=True)


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", choices=WINDOWS, default=list(WINDOWS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for folder in arguments.only:
            show(folder, zip(GROUPS, pool.map(partial(scores, arguments.data, folder), GROUPS), strict=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
