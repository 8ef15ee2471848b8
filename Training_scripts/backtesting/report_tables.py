"""The report's tables and figures in words."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

import numpy as np

from Predictor.forecasting.snapshot import Floats, Ints
from Training_scripts.backtesting.evaluation import PEER
from Training_scripts.scoring import ALL_LEADS, SCORED_LEADS_H
from Training_scripts.validation import MODEL

_LEADS: Final = (*(str(lead) for lead in SCORED_LEADS_H), ALL_LEADS)
_CAPTIONS: Final = {
    "meter": "Meters",
    "site": "Sites",
    "grid": "Grid",
    "sum": "Grid, as the plain sum of the meters' medians",
}
_METRICS: Final = {"cvrmse": "CVRMSE, median", "cvrmse_mean": "CVRMSE, mean", "rmsle": "RMSLE", "pinball": "pinball"}
_SHOWN_BUILDINGS: Final = 8
_AIM: Final = (0.78, 0.82)

By = Mapping[str, Mapping[str, Mapping[str, float | None]]]
"""By model, baseline or peer, by lead time, by metric."""


def tiles(document: Mapping[str, Any]) -> str:
    """The figures to see first."""
    meter, grid = document["levels"]["meter"], document["levels"]["grid"]
    own, overall = meter[MODEL]["24"], meter[MODEL][ALL_LEADS]
    cover = overall["coverage"]
    shown = [
        ("", _percent(own["cvrmse"]), "error a day ahead, median meter (CVRMSE)"),
        (_sign(overall["skill"]), _percent(overall["skill"], "+"), "skill over the best baseline, 1-48 h"),
    ]
    if PEER in meter:
        shown.append((_sign(overall["skill_peer"]), _percent(overall["skill_peer"], "+"), f"skill over {PEER}, 1-48 h"))
    aimed = cover is not None and _AIM[0] <= cover <= _AIM[1]
    shown += [
        ("good" if aimed else "bad", _percent(cover), "of truths inside the 80 % interval"),
        ("", _percent(grid[MODEL]["24"]["cvrmse"]), "error of the grid a day ahead"),
        ("", _seconds(document["timing"]["cpu_s_per_origin"]), "processor time a forecast of all meters"),
    ]
    return '<div class="tiles">' + "".join(_tile(*tile) for tile in shown) + "</div>"


def _tile(kind: str, number: str, text: str) -> str:
    return f'<div class="tile {kind}"><b>{number}</b><span>{escape(text)}</span></div>'


def _sign(skill: float | None) -> str:
    return "" if skill is None else "good" if skill > 0 else "bad"


def accuracy(document: Mapping[str, Any]) -> str:
    """A table a level, and the other metrics behind a fold."""
    parts = [_level_table(level, by) for level, by in document["levels"].items()]
    for metric in ("cvrmse_mean", "rmsle", "pinball"):
        tables = [
            _table(f"{_CAPTIONS[level]}: {_METRICS[metric]}", by, metric)
            for level, by in document["levels"].items()
            if level != "sum" or metric != "pinball"
        ]
        parts.append(f"<details><summary>{_METRICS[metric]} by lead time</summary>{''.join(tables)}</details>")
    return "".join(parts)


def _level_table(level: str, by: By) -> str:
    extra = {} if level == "sum" else {"RMSLE": "rmsle", "pinball": "pinball", "80 % covers": "coverage"}
    return _table(f"{_CAPTIONS[level]}: {_METRICS['cvrmse']}", by, "cvrmse", extra)


def _table(caption: str, by: By, metric: str, extra: Mapping[str, str] | None = None) -> str:
    extra = extra or {}
    cells = [(lead, metric) for lead in _LEADS] + [(ALL_LEADS, name) for name in extra.values()]
    heads = [*(f"+{lead} h" for lead in _LEADS[:-1]), "1-48 h", *extra]
    rows = [_row(who, cells, by) for who in by]
    if metric == "cvrmse":
        rows.insert(1, _skill_row(by, len(extra)))
    head = "".join(f"<th>{escape(text)}</th>" for text in ("", *heads))
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(who: str, cells: Sequence[tuple[str, str]], by: By) -> str:
    values = "".join(_cell(by, who, lead, metric) for lead, metric in cells)
    return f'<tr class="{"own" if who == MODEL else ""}"><td>{escape(who + _share_of_rows(by, who))}</td>{values}</tr>'


def _share_of_rows(by: By, who: str) -> str:
    """Say so where one has forecasts for fewer truths than the model: its scores are of other rows."""
    own, all_rows = by[who][ALL_LEADS]["rows"] or 0, by[MODEL][ALL_LEADS]["rows"] or 0
    return f" ({own / all_rows:.1%} of rows)" if own < all_rows else ""


def _cell(by: By, who: str, lead: str, metric: str) -> str:
    value = by[who][lead][metric]
    if metric == "coverage":
        return f"<td>{_percent(value)}</td>"
    known = [number for other in by if (number := by[other][lead][metric]) is not None]
    kind = "best" if value is not None and value == min(known) else ""
    return f'<td class="{kind}">{_percent(value) if metric.startswith("cvrmse") else _number(value)}</td>'


def _skill_row(by: By, empty: int) -> str:
    skills = [by[MODEL][lead]["skill"] for lead in _LEADS]
    cells = "".join(
        f'<td class="{"lost" if skill is not None and skill < 0 else ""}">{_percent(skill, "+")}</td>'
        for skill in skills
    )
    return f'<tr class="skill"><td>skill over the best baseline</td>{cells}{"<td></td>" * empty}</tr>'


def buildings(labels: Sequence[str], rows: Sequence[Mapping[str, Any]], rivals: Mapping[str, Floats]) -> str:
    """The meters that are forecast best, and worst."""
    own = np.array([np.nan if row["cvrmse"][MODEL] is None else row["cvrmse"][MODEL] for row in rows])
    order: Ints = np.argsort(own)[: int((~np.isnan(own)).sum())]
    tables = [
        _building_table(title, chosen, labels, rows, rivals)
        for title, chosen in (("Best", order[:_SHOWN_BUILDINGS]), ("Worst", order[::-1][:_SHOWN_BUILDINGS]))
    ]
    return f'<div class="columns">{"".join(tables)}</div>'


def _building_table(
    title: str,
    chosen: Ints,
    labels: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    rivals: Mapping[str, Floats],
) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in ("meter", "site", "CVRMSE", *rivals, "80 % covers"))
    lines = []
    for index in chosen.tolist():
        row = rows[index]
        numbers = [row["cvrmse"][MODEL], *(errors[index] for errors in rivals.values()), row["coverage"]]
        cells = "".join(f"<td>{_percent(value)}</td>" for value in numbers)
        site = "" if row["site_id"] is None else row["site_id"]
        lines.append(f"<tr><td>{escape(labels[index])}</td><td>{site}</td>{cells}</tr>")
    return (
        f'<div class="wide"><table><caption>{title}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def decisions(document: Mapping[str, Any]) -> str:
    """Scores of decisions, and how often what was said to be so likely came."""
    heads = ("", "windows", "peak hour, Brier", "peak inside 80 % interval", "limit, Brier", "reserve sufficed (95 %)")
    cases = [
        (f"{_CAPTIONS[level]}, next {window_h} h", scores)
        for level, by_window in document.items()
        for window_h, scores in by_window.items()
    ]
    rows = [
        (name, f"{scores['decisions']:,}", _number(scores["peak_hour_brier"]), _percent(scores["peak_coverage"]),
         _number(scores["limit_brier"]), _percent(scores["reserve_sufficed"]))
        for name, scores in cases
    ]  # fmt: skip
    likely = [
        (f"{name}: {event}", _percent(tenth["said"]), _percent(tenth["came"]), f"{tenth['cases']:,}")
        for name, scores in cases
        for event, tenths in (("peak hour", scores["peak_hour"]), ("limit passed", scores["limit"]))
        for tenth in tenths
    ]
    reliability = _plain_table(("", "said", "came", "cases"), likely)
    return f"{_plain_table(heads, rows)}<details><summary>Reliability by tenths</summary>{reliability}</details>"


def _plain_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def definitions(document: Mapping[str, Any]) -> str:
    """Settings, data, models, timing and versions."""
    timing, data = document["timing"], document["data"]
    models = [
        f"{model['name']}, trained on data before {model['trained_until'][:16]}"
        if model["trained_until"]
        else model["name"]
        for model in document["models"]
    ]
    quality = ", ".join(f"{name} {_percent(share)}" for name, share in data["quality"].items() if share)
    complete = ", ".join(f"{level}s {_percent(share)}" for level, share in data["complete_totals"].items())
    items = {
        "settings": ", ".join(f"{name} {value}" for name, value in document["settings"].items() if value is not None),
        "data": f"{data['first'][:16]} to {data['last'][:16]} UTC",
        "model": "; ".join(models),
        "quality of forecasts": quality,
        "complete totals": complete,
        "training": _processor_time(timing["training_cpu_s"], timing["peer_training_cpu_s"]),
        "a forecast": _processor_time(timing["cpu_s_per_origin"], timing["peer_cpu_s_per_origin"]),
        "altogether": f"{_seconds(timing['elapsed_s'])}, ended {document['made_at']}",
        "versions": ", ".join(f"{name} {version}" for name, version in document["versions"].items()),
    }
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in items.items()) + "</dl>"


def _percent(value: float | None, sign: str = "") -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:{sign}.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _processor_time(own: float | None, peer: float | None) -> str:
    return f"{_seconds(own)} of processor time" + (f", {PEER} {_seconds(peer)}" if peer else "")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s" if value < 10 else f"{value:,.0f} s"  # noqa: PLR2004
