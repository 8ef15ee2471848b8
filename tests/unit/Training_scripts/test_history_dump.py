"""The dump says in SQL what history.csv would say."""

import re
from pathlib import Path

import pandas as pd
import pytest

from Sensor_core.interval import Interval
from Setup.data_folder import DataFolder
from Training_scripts.simulate import main


def simulate(folder: Path, *options: str) -> Path:
    small = ["--buildings", "12", "--start", "2016-10-20", "--split", "2016-11-04", "--end", "2016-11-05"]
    assert main(["--out", str(folder), *small, *options]) == 0
    return folder


def test_the_dump_holds_what_history_csv_would(tmp_path):
    simulate(tmp_path / "with_csv")
    dump = simulate(tmp_path / "with_dump", "--dump", str(tmp_path / "history.sql"))
    assert not (dump / "history.csv").exists()
    script = (tmp_path / "history.sql").read_text()
    block = re.search(r"COPY dumped_readings \(.*\) FROM stdin;\n(.*?)\\\.\n", script, re.DOTALL)
    dumped = {
        (int(building), int(meter), stamp): float(kwh)
        for building, meter, stamp, kwh in (line.split("\t") for line in block[1].splitlines())
    }
    history = pd.concat(DataFolder(tmp_path / "with_csv", Interval()).readings("history"))
    expected = {
        (row.building_id, row.meter, f"{row.timestamp:%Y-%m-%d %H:%M:%S}+00"): row.meter_reading_kwh
        for row in history.itertuples()
    }
    assert dumped.keys() == expected.keys()
    assert dumped == pytest.approx(expected, abs=0.00051)


def test_the_dumps_weather_ends_at_the_split(tmp_path):
    simulate(tmp_path, "--dump", str(tmp_path / "history.sql"))
    block = re.search(r"COPY dumped_weather .*?\n(.*?)\\\.\n", (tmp_path / "history.sql").read_text(), re.DOTALL)
    stamps = [line.split("\t")[1] for line in block[1].splitlines()]
    assert min(stamps) == "2016-10-20 00:00:00+00"
    assert "2016-11-03 23:00:00+00" in stamps
    assert max(stamps) < "2016-11-04"
