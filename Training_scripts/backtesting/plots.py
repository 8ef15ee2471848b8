"""The report's figures."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter

from Predictor.forecasting.snapshot import Floats
from Sensor_core.forecast import METER_LEVELS
from Sensor_core.interval import HORIZON_H
from Training_scripts.backtesting.evaluation import PEER
from Training_scripts.backtesting.week import Week
from Training_scripts.validation import MODEL

INK: Final = "#1b2733"
_COLOURS: Final = {MODEL: "#0b62a4", PEER: "#d9730d"}
_BASELINE_DASHES: Final[tuple[Any, ...]] = ("-", "--", ":", "-.")
_BASELINE_COLOUR: Final = "#8a97a3"
_LEVEL_COLOURS: Final = {"meter": "#0b62a4", "site": "#2a9d8f", "grid": "#8e44ad"}
_LEVEL_NAMES: Final = {"meter": "meters", "site": "sites", "grid": "grid"}
_LEAD_TICKS: Final = (1, 6, 12, 24, 36, 48)
_STYLE: Final[dict[Any, Any]] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": "#b8c2cc",
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6ebef",
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": "#51606d",
    "ytick.color": "#51606d",
    "svg.hashsalt": "energy-backtest",
}
_AIM: Final = (0.78, 0.82)


@contextmanager
def house_style() -> Iterator[None]:
    """Draw within this."""
    with mpl.rc_context(_STYLE):
        yield


def as_image(figure: Figure, description: str) -> str:
    """An ``img`` element that carries the figure as SVG."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    data = base64.b64encode(stream.getvalue().encode()).decode()
    return f'<img alt="{description}" src="data:image/svg+xml;base64,{data}">'


def error_by_lead(by_lead: Mapping[str, Mapping[str, Mapping[str, Sequence[float | None]]]]) -> Figure:
    """Median CVRMSE against lead time, a panel a level."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, (level, name) in zip(axes, _LEVEL_NAMES.items(), strict=True):
        baselines = iter(_BASELINE_DASHES)
        for who, curves in by_lead[level].items():
            dashes = "-" if who in _COLOURS else next(baselines)
            axis.plot(
                range(1, HORIZON_H + 1), _numbers(curves["cvrmse"]), dashes, label=who, zorder=3 if who == MODEL else 2,
                color=_COLOURS.get(who, _BASELINE_COLOUR), linewidth=2.4 if who == MODEL else 1.3,
            )  # fmt: skip
        _lead_axis(axis)
        axis.set(title=name.capitalize(), ylim=(0, _top(by_lead[level])))
        axis.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0].set_ylabel("median CVRMSE")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def _top(curves: Mapping[str, Mapping[str, Sequence[float | None]]]) -> float:
    """So high that the last hour's peak does not flatten the rest."""
    peaks = [np.nanmax(_numbers(curve["cvrmse"]), initial=0) for curve in curves.values()]
    return float(1.15 * sorted(peaks)[-2] or 1)


def calibration(
    by_lead: Mapping[str, Mapping[str, Mapping[str, Sequence[float | None]]]],
    share_below: Mapping[str, Mapping[str, Mapping[str, Sequence[float | None]]]],
) -> Figure:
    """Coverage of the 80 % interval by lead time; share of truths below each quantile."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.9, 1))
    left.axhspan(*_AIM, color="#dff0e4", zorder=0, label="78 to 82 %")
    right.plot([0, 1], [0, 1], color="#b8c2cc", linewidth=1)
    for level, colour in _LEVEL_COLOURS.items():
        for who, dashes in ((MODEL, "-"), (PEER, ":")):
            if who not in share_below[level]:
                continue
            label = _LEVEL_NAMES[level] + ("" if who == MODEL else f", {who}")
            cover = _numbers(by_lead[level][who]["coverage"])
            left.plot(range(1, HORIZON_H + 1), cover, dashes, color=colour, label=label)
            right.plot(
                METER_LEVELS,
                _overall(share_below[level][who]),
                dashes,
                color=colour,
                marker="o" if who == MODEL else "x",
            )
    _lead_axis(left)
    left.set(title="Share of truths inside the 80 % interval", ylim=(min(0.5, left.get_ylim()[0]), 1))
    right.set(title="Share of truths below each quantile", xlabel="promised", ylabel="came", xlim=(0, 1), ylim=(0, 1))
    right.set_xticks(METER_LEVELS)
    right.set_yticks(METER_LEVELS)
    for axis in (left.yaxis, right.xaxis, right.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=7)
    return figure


def _overall(by_quantile: Mapping[str, Sequence[float | None]]) -> list[float]:
    """Mean over lead times."""
    known = [[value for value in values if value is not None] for values in by_quantile.values()]
    return [float(np.mean(values)) if values else np.nan for values in known]


def by_building(labels: Sequence[str], own: Floats, rivals: Mapping[str, Floats]) -> Figure:
    """Each meter's CVRMSE against the best baseline's, and the peer's: below the diagonal is better."""
    figure = Figure(figsize=(5.5 * len(rivals), 4.4), layout="constrained")
    axes = figure.subplots(1, len(rivals), squeeze=False)[0]
    for axis, (name, errors) in zip(axes, rivals.items(), strict=True):
        known = (own > 0) & (errors > 0)
        own_known, their = own[known], errors[known]
        both = [*own_known, *their] or [0.1, 1.0]
        span = [0.8 * min(both), 1.25 * max(both)]
        axis.fill_between(span, span, span[0], color="#eef6fb", zorder=0)
        axis.plot(span, span, color="#b8c2cc", linewidth=1)
        axis.scatter(their, own_known, s=26, color=_COLOURS[MODEL], alpha=0.75, edgecolor="white", linewidth=0.5)
        axis.set(xscale="log", yscale="log", xlim=span, ylim=span, xlabel=f"CVRMSE of {name}", ylabel="CVRMSE of model")
        wins = int((own_known < their).sum())
        axis.set_title(f"Better than {name} for {wins} of {len(their)} meters")
        _name_extremes(axis, np.array(labels)[known].tolist(), own_known, their)
        for direction in (axis.xaxis, axis.yaxis):
            direction.set_major_formatter(PercentFormatter(1))
            direction.set_minor_formatter(NullFormatter())
    return figure


def _name_extremes(axis: Axes, labels: Sequence[str], own: Floats, their: Floats) -> None:
    """Name the meters with the largest errors, and those where the rival wins most."""
    order = np.argsort(-own)[:3].tolist() + np.argsort(their / own)[:3].tolist()
    for row in dict.fromkeys(order):
        axis.annotate(
            labels[row].removeprefix("building "), (their[row], own[row]), xytext=(4, 4),
            textcoords="offset points", fontsize=7.5, color="#51606d",
        )  # fmt: skip


def week(weeks: Sequence[Week]) -> Figure:
    """Truth, median and 80 % interval of day-ahead forecasts, a panel a meter or total."""
    figure = Figure(figsize=(11, 1.75 * len(weeks) + 0.4), layout="constrained")
    axes = figure.subplots(len(weeks), 1, sharex=True, squeeze=False)[:, 0]
    for axis, one in zip(axes, weeks, strict=True):
        low, middle, high = one.quantiles
        axis.fill_between(one.hours, low, high, color=_COLOURS[MODEL], alpha=0.18, linewidth=0, label="80 % interval")
        axis.plot(one.hours, middle, color=_COLOURS[MODEL], linewidth=1.6, label="forecast, median")
        axis.plot(one.hours, one.truth, color=INK, linewidth=1.1, label="truth")
        axis.set_title(one.title)
        axis.set_ylabel("kWh")
        axis.set_ylim(bottom=0)
        axis.margins(x=0)
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _lead_axis(axis: Axes) -> None:
    axis.set_xlim(1, HORIZON_H)
    axis.set_xticks(_LEAD_TICKS)
    axis.set_xlabel("lead time [h]")


def _numbers(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
