"""What ``scores.json`` says: the model beside the baselines and the peer, by level and lead time."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from Predictor.forecasting.fallback import LADDER
from Predictor.forecasting.snapshot import NO_SITE, Flags, Floats
from Sensor_core.decision import WINDOWS_H
from Sensor_core.interval import HORIZON_H
from Training_scripts.backtesting.rolling import Rolled, whole_hours
from Training_scripts.backtesting.totals import sums
from Training_scripts.baselines import BASELINES
from Training_scripts.dataset import EnergyHistory
from Training_scripts.decision_scores import score_decisions
from Training_scripts.scoring import ALL_LEADS, SCORED_LEADS_H, Score, score_by_lead, score_series
from Training_scripts.validation import MODEL

PEER: Final = "mlforecast"
LEADS_H: Final = range(1, HORIZON_H + 1)
LEVELS: Final = ("meter", "site", "grid", "sum")
"""Of these, ``sum`` is the grid as the plain sum of the meters' medians."""


@dataclass(frozen=True)
class PeerForecasts:
    """What the peer forecast at the same origins; NaN where it could not.

    Attributes:
        meters: 10, 50 and 90 % quantiles, shape ``(O, 3, M, 48)``. [kWh]
        totals: The same of sites and the grid, forecast as series of their own, shape ``(O, 3, G, 48)``. [kWh]
        cpu_s: Processor time of the fits and of the forecasts. [s]
    """

    meters: Floats
    totals: Floats
    cpu_s: tuple[float, float]


@dataclass(frozen=True)
class Level:
    """Everybody's forecasts of one level beside what came.

    Attributes:
        truth: Shape ``(O, K, 48)``; NaN where a reading, or one of a total's, is missing. [kWh]
        forecasts: By name, shape ``(O, 3, K, 48)``, or ``(O, 1, K, 48)`` of a median alone. [kWh]
        labels: Name of each of the K meters or totals.
    """

    truth: Floats
    forecasts: Mapping[str, Floats]
    labels: Sequence[str]


def together(parts: Sequence[PeerForecasts]) -> PeerForecasts:
    """The peer's folds, one after the other."""
    return PeerForecasts(
        np.concatenate([part.meters for part in parts]),
        np.concatenate([part.totals for part in parts]),
        (sum(part.cpu_s[0] for part in parts), sum(part.cpu_s[1] for part in parts)),
    )


Scores = Mapping[str, Mapping[str, Mapping[str, Score]]]
"""By level, by model, baseline or peer, by lead time (1 to 48, ``all``)."""


def compare(
    history: EnergyHistory, origins: Sequence[int], rolled: Rolled, peer: PeerForecasts | None
) -> dict[str, Level]:
    """Lay forecasts and truths side by side, level by level."""
    hours = whole_hours(history.interval)
    truth = np.stack([history.truth(origin)[:, hours] for origin in origins])
    keys = rolled.total_site, rolled.total_meter
    meters = {MODEL: rolled.meters.astype(np.float64)}
    meters |= {name: course[:, None].astype(np.float64) for name, course in rolled.baselines.items()}
    totals = {name: sums(history, *keys, course) for name, course in meters.items()} | {MODEL: rolled.totals}
    added_up = {name: sums(history, *keys, course[:, course.shape[1] // 2, None]) for name, course in meters.items()}
    if peer is not None:
        meters[PEER], totals[PEER] = peer.meters, peer.totals
        added_up[PEER] = sums(history, *keys, peer.meters[:, 1:2])
    truths = sums(history, *keys, truth)
    grid = np.array([site is None for site in rolled.total_site])
    labels = [_label(site, meter) for site, meter in zip(*keys, strict=True)]
    return {
        "meter": Level(truth, meters, meter_labels(history)),
        "site": _part(Level(truths, totals, labels), ~grid),
        "grid": _part(Level(truths, totals, labels), grid),
        "sum": _part(Level(truths, added_up, labels), grid),
    }


def _part(level: Level, kept: Flags) -> Level:
    return Level(
        level.truth[:, kept],
        {name: course[:, :, kept] for name, course in level.forecasts.items()},
        [label for label, is_kept in zip(level.labels, kept.tolist(), strict=True) if is_kept],
    )


def meter_labels(history: EnergyHistory) -> list[str]:
    """Names of the meters: the building, and the code unless it is electricity."""
    pairs = zip(history.meters.building_id.tolist(), history.meters.meter.tolist(), strict=True)
    return [f"building {building}{_code(meter)}" for building, meter in pairs]


def _label(site: int | None, meter: int) -> str:
    return ("grid" if site is None else f"site {site}") + _code(meter)


def _code(meter: int) -> str:
    return f", meter {meter}" if meter else ""


def score(levels: Mapping[str, Level]) -> Scores:
    """Score everybody at every level and lead time."""
    return {
        name: {who: score_by_lead(level.truth, course, 1, LEADS_H) for who, course in level.forecasts.items()}
        for name, level in levels.items()
    }


def scores_document(scores: Scores, levels: Mapping[str, Level]) -> dict[str, Any]:
    """The scores as JSON takes them: null where there is nothing to say."""
    leads = [*(str(lead) for lead in SCORED_LEADS_H), ALL_LEADS]
    return {
        "levels": {
            level: {who: {lead: _numbers(by_who, who, lead) for lead in leads} for who in by_who}
            for level, by_who in scores.items()
        },
        "by_lead": {
            level: {
                who: {metric: [_plain(getattr(by_lead[str(k)], metric)) for k in LEADS_H] for metric in _CURVES}
                for who, by_lead in by_who.items()
            }
            for level, by_who in scores.items()
        },
        "share_below": {
            level: {who: _share_below(levels[level], who) for who in (MODEL, PEER) if who in levels[level].forecasts}
            for level in LEVELS[:3]
        },
    }


_CURVES: Final = ("cvrmse", "pinball", "coverage")
_DAY_AHEAD_H: Final = 24


def _numbers(by_who: Mapping[str, Mapping[str, Score]], who: str, lead: str) -> dict[str, float | None]:
    own = by_who[who][lead]
    best = min((by_who[name][lead].cvrmse for name in BASELINES), default=np.nan)
    skills = {"skill": best, "skill_last_hour": by_who["last hour"][lead].cvrmse}
    if PEER in by_who:
        skills["skill_peer"] = by_who[PEER][lead].cvrmse
    return {
        **{metric: value if metric == "rows" else _plain(value) for metric, value in asdict(own).items()},
        **{name: _plain(1 - own.cvrmse / rival) if rival else None for name, rival in skills.items()},
    }


def _share_below(level: Level, who: str) -> dict[str, list[float | None]]:
    """Share of truths at or below each quantile, by lead time."""
    known = ~np.isnan(level.truth)
    shares = {}
    for index, name in enumerate(("q10", "q50", "q90")):
        below = (level.truth <= level.forecasts[who][:, index]) & known
        with np.errstate(invalid="ignore"):
            shares[name] = [_plain(share) for share in below.sum(axis=(0, 1)) / known.sum(axis=(0, 1))]
    return shares


def buildings_document(history: EnergyHistory, level: Level, rolled: Rolled) -> list[dict[str, Any]]:
    """One element a meter: how well it was forecast, by everybody, over all lead times and over the first 24 h."""
    series = {who: score_series(level.truth, course) for who, course in level.forecasts.items()}
    day = slice(0, _DAY_AHEAD_H)
    day_ahead = {who: score_series(level.truth[..., day], course[..., day]) for who, course in level.forecasts.items()}
    own, meters = series[MODEL], history.meters
    site_ids = [None if site == NO_SITE else site for site in history.sites.site_id]
    return [
        {
            "site_id": site_ids[int(meters.site[row])],
            "building_id": int(meters.building_id[row]),
            "meter": int(meters.meter[row]),
            "rows": int(own.rows[row]),
            "cvrmse": {who: _plain(scores.cvrmse[row]) for who, scores in series.items()},
            "cvrmse_day_ahead": {who: _plain(scores.cvrmse[row]) for who, scores in day_ahead.items()},
            "pinball": _plain(own.pinball[row]),
            "coverage": _plain(own.coverage[row]),
            "quality": {LADDER[rung]: int((rolled.quality[:, row] == rung).sum()) for rung in range(len(LADDER))},
        }
        for row in range(len(meters))
    ]


def decisions_document(history: EnergyHistory, origins: Sequence[int], rolled: Rolled) -> dict[str, Any]:
    """How true peaks, limits and reserves were, by level and hours ahead; null where there is nothing to say."""
    keys = rolled.total_site, rolled.total_meter
    truths = sums(history, *keys, np.stack([history.truth(origin) for origin in origins]))
    courses = {
        (site, meter, origin): (truths[row, total], rolled.total_medians[row, total])
        for row, origin in enumerate(origins)
        for total, (site, meter) in enumerate(zip(*keys, strict=True))
    }

    def scores(window_h: int, *, of_grid: bool) -> dict[str, Any]:
        chosen = [d for d in rolled.decisions if d.window_h == window_h and (d.site_id is None) == of_grid]
        fields = asdict(score_decisions(chosen, courses, history.interval))
        return {name: _plain(value) if isinstance(value, float) else value for name, value in fields.items()}

    return {
        level: {str(window_h): scores(window_h, of_grid=level == "grid") for window_h in WINDOWS_H}
        for level in LEVELS[1:3]
    }


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
