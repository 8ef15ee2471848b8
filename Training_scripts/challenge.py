"""Challenger against champion: both forecast the newest weeks from the same origins, and the difference counts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from Predictor.forecasting.forecaster import Forecaster
from Predictor.forecasting.model_store import Model
from Predictor.forecasting.snapshot import Floats
from Sensor_core.forecast import METER_LEVELS
from Training_scripts.dataset import EnergyHistory
from Training_scripts.validation import validation_origins

_LEAST_DAYS: Final = 2
"""Fewer days than this say nothing of how much chance there is in the difference."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How two models did on the same origins, all lead times together.

    Attributes:
        origins: How many origins.
        days: How many days they are spread over.
        challenger: Name of the challenger.
        champion: Name of the champion.
        challenger_pinball: Mean pinball loss over the mean load, mean over meters.
        champion_pinball: The same of the champion.
        challenger_cvrmse: Root mean square error over the mean load, median over meters.
        champion_cvrmse: The same of the champion.
        standard_error: Of the difference of the pinball losses, from its scatter over days.
    """

    origins: int
    days: int
    challenger: str
    champion: str
    challenger_pinball: float
    champion_pinball: float
    challenger_cvrmse: float
    champion_cvrmse: float
    standard_error: float

    @property
    def is_won(self) -> bool:
        """Whether the challenger's pinball loss is lower by more than chance, and its CVRMSE not higher."""
        gain = self.champion_pinball - self.challenger_pinball
        return (
            self.days >= _LEAST_DAYS and gain > self.standard_error and self.challenger_cvrmse <= self.champion_cvrmse
        )

    @property
    def summary(self) -> str:
        """The comparison in one line."""
        return (
            f"{'won' if self.is_won else 'lost'} against {self.champion} on {self.days} days: pinball "
            f"{self.challenger_pinball:.4f} against {self.champion_pinball:.4f} (± {self.standard_error:.4f}), "
            f"CVRMSE {self.challenger_cvrmse:.4f} against {self.champion_cvrmse:.4f}"
        )


@dataclass(frozen=True)
class _Losses:
    """Sums over lead times by origin and meter, shape ``(origins, M)``."""

    pinball: Floats
    squared: Floats


def compare(
    history: EnergyHistory, challenger: Model, champion: Model, first: int, advance: Callable[[float], None]
) -> Comparison:
    """Let both forecast what follows, from origins that both may know.

    Args:
        history: What came.
        challenger: Fitted to what lies before step ``first``.
        champion: The model in use.
        first: The first step that is forecast.
        advance: Told the share of the work that is done.
    """
    origins = validation_origins(history, first - 1)
    truth = np.stack([_sums(np.nan_to_num(history.truth(origin))) for origin in origins])
    count = np.stack([_sums(~np.isnan(history.truth(origin))) for origin in origins])
    ours = _losses(history, challenger, origins, lambda share: advance(share / 2))
    theirs = _losses(history, champion, origins, lambda share: advance((1 + share) / 2))
    load = truth.sum(axis=0) / np.maximum(count.sum(axis=0), 1)
    used = load > 0
    day = (np.array(origins) - origins[0]) // history.interval.steps_per_day
    difference = _by_day(ours.pinball - theirs.pinball, count, load, used, day)
    our_pinball, our_cvrmse = _overall(ours, count, load, used)
    their_pinball, their_cvrmse = _overall(theirs, count, load, used)
    return Comparison(
        origins=len(origins),
        days=len(difference),
        challenger=challenger.name,
        champion=champion.name,
        challenger_pinball=our_pinball,
        champion_pinball=their_pinball,
        challenger_cvrmse=our_cvrmse,
        champion_cvrmse=their_cvrmse,
        standard_error=float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else np.inf,
    )


def _sums(values: np.ndarray) -> Floats:
    return np.asarray(values.sum(axis=1, dtype=np.float64))


def _losses(history: EnergyHistory, model: Model, origins: list[int], advance: Callable[[float], None]) -> _Losses:
    """One origin after the other, so that memory holds one set of forecasts."""
    forecaster, pinball, squared = Forecaster(model), [], []
    for done, origin in enumerate(origins):
        errors = history.truth(origin) - forecaster.forecast(history.snapshot(origin)).stacked()
        losses = [np.maximum(level * e, (level - 1) * e) for level, e in zip(METER_LEVELS, errors, strict=True)]
        pinball.append(np.nansum(np.mean(losses, axis=0), axis=1))
        squared.append(np.nansum(np.square(errors[1]), axis=1))
        advance((done + 1) / len(origins))
    return _Losses(np.stack(pinball), np.stack(squared))


def _overall(losses: _Losses, count: Floats, load: Floats, used: np.ndarray) -> tuple[float, float]:
    rows = count.sum(axis=0)[used]
    pinball = losses.pinball.sum(axis=0)[used] / rows / load[used]
    cvrmse = np.sqrt(losses.squared.sum(axis=0)[used] / rows) / load[used]
    return float(np.mean(pinball)), float(np.median(cvrmse))


def _by_day(pinball: Floats, count: Floats, load: Floats, used: np.ndarray, day: np.ndarray) -> Floats:
    """Mean over meters of a day's mean loss over the mean load, one element a day with truth."""
    values = []
    for number in np.unique(day):
        rows = count[day == number].sum(axis=0)
        known = used & (rows > 0)
        if known.any():
            values.append(np.mean(pinball[day == number].sum(axis=0)[known] / rows[known] / load[known]))
    return np.array(values)
