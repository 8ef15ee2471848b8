"""Fits a model: the linear member, the boosters on what it leaves over, then the factors of its intervals."""

import importlib.metadata
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Final

import lightgbm
import msgspec
import numpy as np

from Predictor.forecasting.calibration import LEAD_GROUPS, Calibration, calibrate, lead_group_of
from Predictor.forecasting.features import FEATURE_NAMES
from Predictor.forecasting.linear import LinearMember
from Predictor.forecasting.model_store import MEMBERS, PLAIN, Boosters, Card, Model
from Predictor.forecasting.snapshot import Floats, Floats32
from Sensor_core.errors import ModelError
from Training_scripts.dataset import EnergyHistory
from Training_scripts.quality import Masked
from Training_scripts.samples import Sample, draw_sample

_OBJECTIVES: Final[dict[str, dict[str, object]]] = {
    "mean": {"objective": "regression"},
    "median": {"objective": "quantile", "alpha": 0.5},
    "low": {"objective": "quantile", "alpha": 0.1},
    "high": {"objective": "quantile", "alpha": 0.9},
    "plain_mean": {"objective": "regression"},
    "plain_median": {"objective": "quantile", "alpha": 0.5},
}
TREES: Final = 100
_PARAMETERS: Final[dict[str, object]] = {
    "learning_rate": 0.09,
    "num_leaves": 31,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 127,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
_SHARE_OF_SAMPLING: Final = 0.3
_LEAST_ROWS: Final = 10
"""Rows of a lead group; of a single one bagging leaves nothing, which LightGBM does not survive."""
_LIBRARIES: Final = ("lightgbm", "numpy", "holidays")


@dataclass(frozen=True)
class Trials:
    """Forecasts made at past origins, and what came.

    Attributes:
        quantiles: 10, 50 and 90 %, shape ``(origins, 3, M, horizon)``. [kWh]
        truth: Shape ``(origins, M, horizon)``; NaN where there is none. [kWh]
    """

    quantiles: Floats32
    truth: Floats


def fit(history: EnergyHistory, until: int, *, seed: int, num_threads: int, advance: Callable[[float], None]) -> Model:
    """Fit a model to what lies before step ``until``; its intervals are not calibrated yet.

    Args:
        history: What to learn from.
        until: The first step that must not be seen.
        seed: Seed of the draw of rows.
        num_threads: Threads of LightGBM; with more than one the trees may differ from run to run.
        advance: Told the share of the work that is done.

    Raises:
        ModelError: At some lead times there is too little to learn from.
    """
    rng = np.random.default_rng(seed)
    sample = draw_sample(history, until, rng, lambda share: advance(share * _SHARE_OF_SAMPLING))
    if np.bincount(sample.group, minlength=len(LEAD_GROUPS)).min() < _LEAST_ROWS:
        raise ModelError(
            f"too little to learn from: {len(sample.target)} rows for training of "
            f"{np.isfinite(history.readings_kwh).sum()} readings; not believed: {sample.masked}"
        )
    linear, boosters = fit_members(
        sample, num_threads, lambda share: advance(_SHARE_OF_SAMPLING + (1 - _SHARE_OF_SAMPLING) * share)
    )
    return Model("unsaved", _card(history, until, linear, sample.masked), linear, boosters)


def fit_members(
    sample: Sample, num_threads: int, advance: Callable[[float], None] = lambda _: None
) -> tuple[LinearMember, Boosters]:
    """Fit the linear member and the boosters to rows that were drawn."""
    linear = LinearMember.fit(sample.inputs, sample.target, sample.weight)
    left_over = sample.target - linear.predict(sample.inputs)
    boosters = {}
    for group in range(len(LEAD_GROUPS)):
        for member in MEMBERS:
            target = sample.target if member in PLAIN else left_over
            boosters[group, member] = _booster(sample, target, group, member, num_threads)
            advance(len(boosters) / (len(LEAD_GROUPS) * len(MEMBERS)))
    return linear, boosters


def _booster(sample: Sample, target: Floats, group: int, member: str, num_threads: int) -> lightgbm.Booster:
    rows = sample.group == group
    data = lightgbm.Dataset(
        sample.inputs[rows],
        target[rows],
        weight=sample.weight[rows],
        feature_name=list(FEATURE_NAMES),
        params={"verbosity": -1},
    )
    seed = 1 + MEMBERS.index(member)
    parameters = {**_PARAMETERS, **_OBJECTIVES[member], "seed": seed, "num_threads": num_threads}
    return lightgbm.train(parameters, data, TREES)


def _card(history: EnergyHistory, until: int, linear: LinearMember, masked: Masked) -> Card:
    return Card(
        created_at=datetime.now(UTC),
        trained_from=history.interval.start_of(history.first),
        trained_until=history.interval.start_of(until),
        interval_s=history.interval.seconds,
        meters=len(history.meters),
        features=FEATURE_NAMES,
        lead_groups=LEAD_GROUPS,
        linear=linear.weights.tolist(),
        calibration=Calibration(),
        scores={},
        libraries={name: importlib.metadata.version(name) for name in _LIBRARIES},
        files={},
        masked=asdict(masked),
    )


def calibrated(model: Model, trials: Trials, history: EnergyHistory) -> Model:
    """Give a model the factors that its trials show."""
    group = lead_group_of(history.interval.horizon, history.interval.steps_per_hour)
    known = ~np.isnan(trials.truth)
    q10, q50, q90 = (trials.quantiles[:, index].astype(np.float64) for index in range(3))
    calibration = calibrate(
        trials.truth[known],
        q10[known],
        q50[known],
        q90[known],
        np.broadcast_to(group, trials.truth.shape)[known],
    )
    return replace(model, card=msgspec.structs.replace(model.card, calibration=calibration))
