"""What makes a data folder look like itself: one table, one column per folder.

``python -m Training_scripts.simulation.statistics DIR [DIR ...]`` puts real and simulated folders side by
side; each cell holds the 10 %, 50 % and 90 % quantile over the folder's meters. All figures are of local
wall-clock hours, as a building's users live by them.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from Sensor_core.building import KWH_PER_UNIT, M2_PER_SQUARE_FOOT
from Sensor_core.errors import EnergyError
from Sensor_core.reading import ELECTRICITY

Loads = npt.NDArray[np.float64]
"""One row an hour, one column a meter, NaN where a reading is missing. [kWh]"""

QUANTILES: Final = (0.1, 0.5, 0.9)
_HOURS_PER_WEEK: Final = 168
_SATURDAY: Final = 5


def read_loads(folder: Path, meter: int = ELECTRICITY) -> pd.DataFrame:
    """All hourly readings of one meter code.

    Args:
        folder: A data folder.
        meter: ASHRAE's meter code.

    Returns:
        Readings [kWh] by local wall-clock hour (rows) and building (columns); of a doubled hour, its first.
    """
    sites = pd.read_csv(folder / "sites.csv").set_index("site_id")
    buildings = pd.read_csv(folder / "building_metadata.csv").set_index("building_id")
    readings = _read_readings(folder, meter)
    readings["meter_reading"] *= _kwh_per_count(folder, readings, meter)
    site_of = readings["building_id"].map(buildings["site_id"])
    for site in sites[sites["stamps"] == "utc"].itertuples():
        rows = site_of == site.Index
        readings.loc[rows, "timestamp"] = _local(readings["timestamp"][rows], str(site.time_zone))
    unique = readings.drop_duplicates(["building_id", "timestamp"])
    table = unique.pivot_table(index="timestamp", columns="building_id", values="meter_reading")
    hours = pd.date_range(table.index.min().normalize(), table.index.max(), freq="h")
    return table.reindex(hours)


def _read_readings(folder: Path, meter: int) -> pd.DataFrame:
    files = [
        path
        for stem in (folder / "history", folder / "Sensors" / "new_consumptions")
        for path in (stem.with_suffix(".csv"), stem.with_suffix(".csv.gz"))
        if path.exists()
    ]
    if not files:
        raise EnergyError(f"{folder} is not a data folder: it has no Sensors/new_consumptions.csv")
    readings = pd.concat([pd.read_csv(path, parse_dates=["timestamp"]) for path in files], ignore_index=True)
    return readings[readings["meter"] == meter].reset_index(drop=True)


def _kwh_per_count(folder: Path, readings: pd.DataFrame, meter: int) -> "pd.Series[float]":
    path = folder / "meters.csv"
    if not path.exists():
        return pd.Series(1.0, index=readings.index)
    meters = pd.read_csv(path)
    units = meters[meters["meter"] == meter].set_index("building_id")["unit"].map(KWH_PER_UNIT)
    return readings["building_id"].map(units).fillna(1.0)


def _local(stamps: "pd.Series[pd.Timestamp]", time_zone: str) -> "pd.Series[pd.Timestamp]":
    return stamps.dt.tz_localize("UTC").dt.tz_convert(time_zone).dt.tz_localize(None)


def _mean_kw(loads: Loads) -> Loads:
    mean_kw: Loads = np.nanmean(loads, axis=0)
    return mean_kw


def _variation(loads: Loads) -> Loads:
    variation: Loads = np.nanstd(loads, axis=0) / _mean_kw(loads)
    return variation


def _peak_to_base(loads: Loads) -> Loads:
    """Median over days of the day's greatest hour over its smallest one, days that touch 0 left out."""
    days = loads[: len(loads) // 24 * 24].reshape(-1, 24, loads.shape[1])
    lowest = days.min(axis=1)
    ratio = np.where(lowest > 0, days.max(axis=1) / np.where(lowest > 0, lowest, 1.0), np.nan)
    peak_to_base: Loads = np.nanmedian(ratio, axis=0)
    return peak_to_base


def _lag_correlation(lag: int) -> Callable[[Loads], Loads]:
    def correlation(loads: Loads) -> Loads:
        deviation = loads - _mean_kw(loads)
        decay: Loads = np.nanmean(deviation[lag:] * deviation[:-lag], axis=0) / np.nanvar(loads, axis=0)
        return decay

    return correlation


def _cvrmse_of_repeating(lag: int) -> Callable[[Loads], Loads]:
    def cvrmse(loads: Loads) -> Loads:
        error: Loads = np.sqrt(np.nanmean((loads[lag:] - loads[:-lag]) ** 2, axis=0)) / _mean_kw(loads)
        return error

    return cvrmse


def _noise(loads: Loads) -> Loads:
    """Standard deviation around the median profile over the hours of the week, over the mean."""
    weeks = loads[: len(loads) // _HOURS_PER_WEEK * _HOURS_PER_WEEK].reshape(-1, _HOURS_PER_WEEK, loads.shape[1])
    residual = weeks - np.nanmedian(weeks, axis=0)
    noise: Loads = np.nanstd(residual, axis=(0, 1)) / _mean_kw(loads)
    return noise


def _share_of_gaps(loads: Loads) -> Loads:
    """Share of hours without a reading, between the meter's first reading and its last one."""
    there = ~np.isnan(loads)
    span = len(loads) - np.argmax(there, axis=0) - np.argmax(there[::-1], axis=0)
    share_of_gaps: Loads = 1 - there.sum(axis=0) / span
    return share_of_gaps


def _share_of_zeros(loads: Loads) -> Loads:
    share_of_zeros: Loads = (loads == 0).sum(axis=0) / (~np.isnan(loads)).sum(axis=0)
    return share_of_zeros


def _share_of_flat_hours(loads: Loads) -> Loads:
    """Share of hours that repeat the hour before, zeros left out."""
    both = ~np.isnan(loads[1:]) & ~np.isnan(loads[:-1])
    share_of_flat_hours: Loads = ((loads[1:] == loads[:-1]) & (loads[1:] != 0)).sum(axis=0) / both.sum(axis=0)
    return share_of_flat_hours


_STATISTICS: Final[dict[str, tuple[Callable[[Loads], Loads], str]]] = {
    "mean load [kW]": (_mean_kw, ".1f"),
    "coefficient of variation": (_variation, ".2f"),
    "day's peak over its base": (_peak_to_base, ".2f"),
    "autocorrelation, 1 h": (_lag_correlation(1), ".2f"),
    "autocorrelation, 24 h": (_lag_correlation(24), ".2f"),
    "autocorrelation, 168 h": (_lag_correlation(_HOURS_PER_WEEK), ".2f"),
    "noise around the weekly profile": (_noise, ".2f"),
    "CVRMSE, last hour at +1 h": (_cvrmse_of_repeating(1), ".3f"),
    "CVRMSE, yesterday at +24 h": (_cvrmse_of_repeating(24), ".3f"),
    "missing hours": (_share_of_gaps, ".1%"),
    "zeros": (_share_of_zeros, ".1%"),
    "flat hours": (_share_of_flat_hours, ".1%"),
}


_SHARES: Final = ("missing hours", "zeros", "flat hours")


def describe(folder: Path, meter: int = ELECTRICITY) -> dict[str, str]:
    """Each statistic's quantiles over the folder's meters, as text.

    Args:
        folder: A data folder.
        meter: ASHRAE's meter code.

    Raises:
        EnergyError: The folder holds no readings.
    """
    table = read_loads(folder, meter)
    loads = table.to_numpy(dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a slice of NaN has no median, and needs none
        columns = {name: (of(loads), spec) for name, (of, spec) in _STATISTICS.items()}
    columns["mean load per floor area [W/m²]"] = (1000 * _mean_kw(loads) / _area_m2(folder, table), ".1f")
    columns["weekend over weekday"] = (_weekend_ratio(table), ".2f")
    cells = {"meters": str(table.shape[1])} | {name: _cell(*column) for name, column in columns.items()}
    means = {f"{name}, mean": f"{columns[name][0].mean():.1%}" for name in _SHARES}
    return cells | means


def _area_m2(folder: Path, table: pd.DataFrame) -> Loads:
    buildings = pd.read_csv(folder / "building_metadata.csv").set_index("building_id")
    area = buildings.loc[table.columns, "square_feet"] * M2_PER_SQUARE_FOOT
    return area.to_numpy(dtype=np.float64)


def _weekend_ratio(table: pd.DataFrame) -> Loads:
    loads = table.to_numpy(dtype=np.float64)
    weekend = np.array([hour.weekday() >= _SATURDAY for hour in table.index])
    return _mean_kw(loads[weekend]) / _mean_kw(loads[~weekend])


def _cell(values: Loads, spec: str) -> str:
    finite = values[np.isfinite(values)]
    return " / ".join(format(float(value), spec) for value in np.quantile(finite, QUANTILES))


def markdown(columns: dict[str, dict[str, str]]) -> str:
    """A table with one row per statistic and one column per data folder.

    Args:
        columns: What ``describe`` returned, by the folder's name.
    """
    rows = [["10 % / median / 90 % of meters", *columns], ["---"] * (len(columns) + 1)]
    rows += [[name, *(cells[name] for cells in columns.values())] for name in next(iter(columns.values()))]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table for the data folders that the command line names."""
    parser = argparse.ArgumentParser(description="Compare data folders, meter by meter.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="data folders")
    parser.add_argument("--meter", type=int, default=ELECTRICITY, help="ASHRAE's meter code (default 0)")
    options = parser.parse_args(arguments)
    try:
        columns = {folder.resolve().name: describe(folder, options.meter) for folder in options.folders}
    except (EnergyError, OSError) as error:
        parser.error(str(error))
    sys.stdout.write(markdown(columns))
    return 0


if __name__ == "__main__":
    sys.exit(main())
