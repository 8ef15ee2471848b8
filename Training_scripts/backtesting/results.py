"""Writes what a backtest found: ``forecasts.parquet``, ``scores.json`` and ``report.html``."""

import importlib.metadata
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from Predictor.forecasting.fallback import LADDER
from Training_scripts.backtesting.evaluation import PEER, buildings_document, decisions_document, score, scores_document
from Training_scripts.backtesting.plan import origins_of
from Training_scripts.backtesting.report import report
from Training_scripts.backtesting.run import Run, UsedModel
from Training_scripts.backtesting.table import write_forecasts
from Training_scripts.backtesting.totals import total_keys
from Training_scripts.validation import score_table

_LIBRARIES: Final = ("energy-forecast-pipeline", "lightgbm", "numpy", "pandas", "pyarrow", "holidays")
_PLAIN_WIDTH: Final = 120


def write_results(out: Path, run: Run, settings: Mapping[str, Any]) -> None:
    """Write the files and print the table of the meters."""
    names = [model.name for model, fold in zip(run.models, run.folds, strict=True) for _ in fold.origins]
    write_forecasts(out / "forecasts.parquet", run.history, origins_of(run.folds), names, run.rolled)
    scores, flattered = score(run.levels), _flattered(run)
    document = {
        "settings": {name: _readable(value) for name, value in settings.items()},
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(run.peer is not None),
        "data": _data(run),
        "models": [_model(model) for model in run.models],
        "warnings": [*run.notes, *flattered],
        "timing": _timing(run),
        **scores_document(scores, run.levels),
        "decisions": decisions_document(run.history, origins_of(run.folds), run.rolled),
        "buildings": buildings_document(run.history, run.levels["meter"], run.rolled),
    }
    (out / "scores.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (out / "report.html").write_text(report(run.history, origins_of(run.folds), run.levels, document), encoding="utf-8")
    for warning in flattered:
        print(f"energy-backtest: {warning}", file=sys.stderr)
    output = Console(soft_wrap=True, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    output.print(score_table(scores["meter"], f"{document['data']['origins']} origins, {out / 'report.html'}"))


def _readable(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value


def _versions(with_peer: bool) -> dict[str, str]:  # noqa: FBT001 - says what its one argument is
    libraries = (*_LIBRARIES, PEER) if with_peer else _LIBRARIES
    return {"python": sys.version.split()[0], **{name: importlib.metadata.version(name) for name in libraries}}


def _data(run: Run) -> dict[str, Any]:
    history, origins = run.history, origins_of(run.folds)
    start_of = history.interval.start_of
    totals = {level: float((~np.isnan(run.levels[level].truth)).mean()) for level in ("site", "grid")}
    return {
        "meters": len(history.meters),
        "buildings": len(set(history.meters.building_id.tolist())),
        "sites": len({site for site, _ in total_keys(history) if site is not None}),
        "first": start_of(history.first).isoformat(),
        "last": start_of(history.stop - 1).isoformat(),
        "origins": len(origins),
        "first_origin": start_of(origins[0]).isoformat(),
        "last_origin": start_of(origins[-1]).isoformat(),
        "complete_totals": totals,
        "quality": {rung: float((run.rolled.quality == code).mean()) for code, rung in enumerate(LADDER)},
    }


def _model(model: UsedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "trained_until": model.trained_until.isoformat() if model.trained_until else None,
        "training_cpu_s": model.training_cpu_s,
    }


def _flattered(run: Run) -> list[str]:
    """A stored model may have seen what it is tried on."""
    start_of = run.history.interval.start_of
    return [
        f"{model.name} was trained on data until {model.trained_until:%Y-%m-%d %H:%M} UTC, and the first origin is "
        f"{start_of(fold.origins[0]):%Y-%m-%d %H:%M}: if they were these data, its scores flatter it"
        for model, fold in zip(run.models, run.folds, strict=True)
        if model.trained_until is not None and model.trained_until > start_of(fold.origins[0] + 1)
    ]


def _timing(run: Run) -> dict[str, float | None]:
    origins = len(origins_of(run.folds))
    trainings = [model.training_cpu_s for model in run.models if model.training_cpu_s is not None]
    return {
        "elapsed_s": run.elapsed_s,
        "training_cpu_s": sum(trainings) if trainings else None,
        "cpu_s_per_origin": run.rolled.cpu_s / origins,
        "peer_training_cpu_s": run.peer.cpu_s[0] if run.peer else None,
        "peer_cpu_s_per_origin": run.peer.cpu_s[1] / origins if run.peer else None,
    }
