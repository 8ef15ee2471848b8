"""A folder in the layout of others whose weather is as dirty as real files are, and what it was before."""

from pathlib import Path

import numpy as np
import pandas as pd

from Sensor_core.interval import Interval
from Sensor_core.weather import QUANTITIES
from Setup.data_folder import DataFolder
from tests.unit.Training_scripts.test_import_round_trip import GENOME_WEATHER, stamped, wall_time, write_genome
from Training_scripts import simulate

REPLAY_FROM = "2016-04-01"
SENTINEL_HOUR, HOLE = 5, range(15, 23)
"""Hours of every second day (UTC) without a temperature, and without any observation."""
OFF_THE_HOUR = [1, 3]
"""Sites that stamp seven minutes before the hour; the others have the holes."""


def make_dirty_folder(folder: Path) -> tuple[Path, DataFolder]:
    """Five weeks of New York, London, Chicago and Sydney: three clocks go forward, the last one back.

    Returns:
        The files to import, and the data folder that they were made of.
    """
    days = ["--start", "2016-02-26", "--split", REPLAY_FROM, "--end", "2016-04-06"]
    assert simulate.main(["--out", str(folder / "simulated"), "--seed", "7", "--buildings", "8", *days]) == 0
    original = DataFolder(folder / "simulated", Interval())
    write_genome(original, folder / "files")
    _write_weather(original, folder / "files" / "weather.csv")
    return folder / "files", original


def clean(original: DataFolder) -> pd.DataFrame:
    """The weather that the dirty file still tells: holes are gone, sentinels are missing."""
    weather = original.weather()
    sentinel, hole = _defects(weather)
    weather.loc[sentinel, "air_temperature_c"] = np.nan
    return weather[~hole].reset_index(drop=True)


def _defects(weather: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    hour, even_day = weather["timestamp"].dt.hour, weather["timestamp"].dt.day % 2 == 0
    return (hour == SENTINEL_HOUR) & even_day, hour.isin(HOLE) & even_day & ~weather["site_id"].isin(OFF_THE_HOUR)


def _write_weather(original: DataFolder, file: Path) -> None:
    weather = original.weather()
    sentinel, hole = _defects(weather)
    weather.loc[sentinel, "air_temperature_c"] = -9999
    minutes = np.where(weather["site_id"].isin(OFF_THE_HOUR), 7, 0)
    weather["timestamp"] -= pd.to_timedelta(minutes, unit="min")
    columns = {quantity.name: GENOME_WEATHER[quantity.ashrae_column] for quantity in QUANTITIES}
    table = stamped(weather[~hole], original, wall_time).drop(columns="timestamp").rename(columns=columns)
    table = table.rename(columns={"stamp": "timestamp"}).assign(site_id="S" + table["site_id"].astype("str"))
    table.to_csv(file, index=False)
