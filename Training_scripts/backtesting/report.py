"""``report.html``: one page that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np

from Predictor.forecasting.snapshot import Floats
from Training_scripts.backtesting import plots
from Training_scripts.backtesting.evaluation import PEER, Level
from Training_scripts.backtesting.report_tables import accuracy, buildings, decisions, definitions, tiles
from Training_scripts.backtesting.week import weeks
from Training_scripts.baselines import BASELINES
from Training_scripts.dataset import EnergyHistory
from Training_scripts.validation import MODEL

_CSS: Final = Path(__file__).with_name("report.css")


def report(
    history: EnergyHistory, origins: Sequence[int], levels: Mapping[str, Level], document: Mapping[str, Any]
) -> str:
    """Make the page.

    Args:
        history: What was forecast.
        origins: Steps of the origins.
        levels: Forecasts and truths.
        document: What ``scores.json`` holds.
    """
    with plots.house_style():
        sections = [
            _section("Accuracy", _ACCURACY, accuracy(document)),
            _section(
                "Error by lead time",
                "The farther ahead, the harder; a good forecast stays below all grey lines from the first hour on.",
                plots.as_image(plots.error_by_lead(document["by_lead"]), "Median CVRMSE by lead time"),
            ),
            _section(
                "A week of forecasts against truth",
                "Each hour as forecast a day before, by the newest forecast issued at least 24 h earlier; UTC.",
                plots.as_image(plots.week(weeks(history, origins, levels)), "A week of forecasts and truths"),
            ),
            _section(
                "Calibration",
                "An 80 % interval has to hold 80 % of what comes, at every lead time; a tenth lies on either side.",
                plots.as_image(plots.calibration(document["by_lead"], document["share_below"]), "Calibration"),
            ),
            _section("Peaks, limits, reserves", _DECISIONS, decisions(document["decisions"])),
            _section("By building", _BUILDINGS, _by_building(levels["meter"].labels, document["buildings"])),
            _section("What was run", "", definitions(document)),
        ]
    name = escape(Path(document["settings"]["data"]).name)
    warnings = "".join(f'<div class="warning">{escape(text)}</div>' for text in document["warnings"])
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Backtest of {name}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_CSS.read_text(encoding="utf-8")}</style></head>'
        f"<body><main><h1>Backtest of {name}</h1><p>{_summary(document['data'])}</p>{warnings}"
        f"{tiles(document)}{''.join(sections)}</main></body></html>\n"
    )


_ACCURACY: Final = (
    "CVRMSE: root mean square error over the mean load, median over meters, sites or meter codes. RMSLE of kWh. "
    "Pinball: mean loss of the 10, 50 and 90 % quantiles over the mean load; a forecast without quantiles counts "
    "as a point. Skill: how much lower the CVRMSE is than the best baseline's. Totals count where all meters reported."
)
_DECISIONS: Final = (
    "Of windows in which every interval is complete. Brier: mean squared error of the probability that the peak lies "
    "in the hour that was named, or that the load passes the site's limit. What was said to be likely has to come as "
    "often."
)
_BUILDINGS: Final = "Each dot is a meter, all lead times together; in the shaded half the model is better."


def _summary(data: Mapping[str, Any]) -> str:
    first, last = (data[name][:16].replace("T", " ") for name in ("first_origin", "last_origin"))
    return (
        f"{data['meters']:,} meters of {data['buildings']:,} buildings at {data['sites']} sites, forecast 1 to 48 "
        f"hours ahead at {data['origins']:,} origins from {first} to {last} UTC; at each, nothing later was known."
    )


def _section(title: str, text: str, content: str) -> str:
    paragraph = f"<p>{text}</p>" if text else ""
    return f"<section><h2>{title}</h2>{paragraph}{content}</section>"


def _by_building(labels: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    def errors(who: str) -> Floats:
        return np.array([np.nan if (value := row["cvrmse"].get(who)) is None else value for row in rows], np.float64)

    best = np.fmin.reduce([errors(name) for name in BASELINES])
    rivals = {"the best baseline": best}
    if PEER in rows[0]["cvrmse"]:
        rivals[PEER] = errors(PEER)
    figure = plots.by_building(labels, errors(MODEL), rivals)
    return plots.as_image(figure, "CVRMSE of each meter") + buildings(labels, rows, rivals)
