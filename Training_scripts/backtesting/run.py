"""What a backtest found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from Training_scripts.backtesting.evaluation import Level, PeerForecasts
from Training_scripts.backtesting.plan import Fold
from Training_scripts.backtesting.rolling import Rolled
from Training_scripts.dataset import EnergyHistory


@dataclass(frozen=True)
class UsedModel:
    """A model that forecast a fold.

    Attributes:
        name: Its version.
        path: Folder of the version; None where there is no model, and the ladder forecasts.
        trained_until: It was trained on what lies before, UTC; None without a model.
        training_cpu_s: Processor time of its training; None for a stored one. [s]
    """

    name: str
    path: Path | None
    trained_until: datetime | None
    training_cpu_s: float | None


@dataclass(frozen=True)
class Run:
    """All that a backtest found; a model for each fold.

    ``notes`` are of what was left out of the data, and of models that could not be trained.
    """

    history: EnergyHistory
    folds: Sequence[Fold]
    models: Sequence[UsedModel]
    rolled: Rolled
    peer: PeerForecasts | None
    levels: Mapping[str, Level]
    elapsed_s: float
    notes: Sequence[str]
