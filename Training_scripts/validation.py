"""Tries a model and the baselines on the newest part of the past."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Final

import numpy as np
from rich.table import Table

from Predictor.forecasting.forecaster import Forecaster
from Predictor.forecasting.snapshot import Floats
from Training_scripts.baselines import BASELINES
from Training_scripts.dataset import EnergyHistory
from Training_scripts.fitting import Trials
from Training_scripts.scoring import ALL_LEADS, SCORED_LEADS_H, Score, score_by_lead

MODEL: Final = "model"
_MOST_ORIGINS: Final = 120
_ORIGINS_EVERY_H: Final = 6

Scores = Mapping[str, Mapping[str, Score]]
"""By model or baseline, then by lead time."""


def validation_origins(history: EnergyHistory, first: int) -> list[int]:
    """Origins from step ``first`` on, every six hours or less often, that have a truth to compare with."""
    steps = np.arange(first, history.stop - 1, _ORIGINS_EVERY_H * history.interval.steps_per_hour)
    every = -(-len(steps) // _MOST_ORIGINS)
    return [int(step) for step in steps[:: max(1, every)]]


def try_out(
    history: EnergyHistory, forecaster: Forecaster, origins: Sequence[int], advance: Callable[[float], None]
) -> Trials:
    """Forecast at past origins as if they were now."""
    quantiles, truth = [], []
    for done, origin in enumerate(origins):
        quantiles.append(forecaster.forecast(history.snapshot(origin)).stacked())
        truth.append(history.truth(origin))
        advance((done + 1) / len(origins))
    return Trials(np.stack(quantiles), np.stack(truth))


def score_with_baselines(history: EnergyHistory, origins: Sequence[int], trials: Trials) -> Scores:
    """Score the trials, and the baselines at the same origins."""
    per_hour = history.interval.steps_per_hour
    quantiles = trials.quantiles.astype(np.float64)
    scores = {MODEL: score_by_lead(trials.truth, quantiles, per_hour)}
    for name, baseline in BASELINES.items():
        courses: Iterable[Floats] = (baseline(history.snapshot(origin)) for origin in origins)
        scores[name] = score_by_lead(trials.truth, np.stack([[course] for course in courses]), per_hour)
    return scores


def for_card(scores: Scores) -> dict[str, dict[str, dict[str, float | None]]]:
    """The scores as plain numbers; None where there is none."""
    return {
        name: {
            lead: {metric: value if np.isfinite(value) else None for metric, value in asdict(score).items()}
            for lead, score in by_lead.items()
        }
        for name, by_lead in scores.items()
    }


def score_table(scores: Scores, title: str) -> Table:
    """Median CVRMSE by lead time, then pinball loss and coverage over all of them."""
    leads = [*(str(lead) for lead in SCORED_LEADS_H), ALL_LEADS]
    table = Table(title=title, caption="median CVRMSE of meters by lead time; pinball loss over mean load")
    table.add_column("forecast")
    for lead in leads:
        table.add_column("1-48 h" if lead == ALL_LEADS else f"+{lead} h", justify="right")
    table.add_column("pinball", justify="right")
    table.add_column("80 % covers", justify="right")
    for name, by_lead in scores.items():
        overall = by_lead[ALL_LEADS]
        numbers = [*(by_lead[lead].cvrmse for lead in leads), overall.pinball, overall.coverage]
        table.add_row(name, *(f"{number:.3f}" if np.isfinite(number) else "-" for number in numbers))
    return table
