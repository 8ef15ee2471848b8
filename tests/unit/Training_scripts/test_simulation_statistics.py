"""The realism table: its figures are right, and the document shows them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from Training_scripts.simulate import main as simulate
from Training_scripts.simulation.statistics import describe, main, read_loads

PROJECT = Path(__file__).resolve().parents[3]
DEMO = PROJECT / "New_data"
REAL = PROJECT.parent / "shared" / "data"


def write_folder(folder: Path, readings: pd.DataFrame, *, unit: str = "kWh", stamps: str = "standard") -> Path:
    (folder / "Sensors").mkdir(parents=True)
    readings.to_csv(folder / "Sensors" / "new_consumptions.csv.gz", index=False)
    (folder / "sites.csv").write_text(
        f"site_id,time_zone,latitude,longitude,country,stamps\n0,America/New_York,40.7,-74.0,US,{stamps}\n"
    )
    (folder / "building_metadata.csv").write_text("site_id,building_id,primary_use,square_feet\n0,1,Office,10000\n")
    (folder / "meters.csv").write_text(f"building_id,meter,unit\n1,0,{unit}\n")
    return folder


def weeks(values: np.ndarray) -> pd.DataFrame:
    """Readings of building 1 from Monday 2016-01-04 on."""
    hours = pd.date_range("2016-01-04", periods=len(values), freq="h")
    return pd.DataFrame({"building_id": 1, "meter": 0, "timestamp": hours, "meter_reading": values})


@pytest.fixture
def profile() -> np.ndarray:
    """Four weeks: 10 kWh an hour, 30 from 8 to 18 on workdays."""
    day = np.where((np.arange(24) >= 8) & (np.arange(24) < 18), 30.0, 10.0)
    return np.tile(np.concatenate([np.tile(day, 5), np.full(48, 10.0)]), 4)


def figures(folder: Path) -> dict[str, str]:
    """The one meter's figure of each row."""
    return {name: cell.split(" / ")[0] for name, cell in describe(folder).items()}


def test_figures_of_a_known_profile(tmp_path, profile):
    found = figures(write_folder(tmp_path, weeks(profile)))
    mean = (5 * (10 * 30 + 14 * 10) + 2 * 240) / 168
    assert found["mean load [kW]"] == f"{mean:.1f}"
    assert found["mean load per floor area [W/m²]"] == f"{1000 * mean / 929.0304:.1f}"
    assert found["day's peak over its base"] == "3.00"
    assert found["autocorrelation, 168 h"] == "1.00"
    assert found["noise around the weekly profile"] == "0.00"
    assert found["weekend over weekday"] == f"{10 / (440 / 24):.2f}"
    assert found["missing hours"] == found["zeros"] == "0.0%"
    steps = 10 * 20**2 / 167.75  # two a workday; the last hour of the fourth week has no next one
    assert float(found["CVRMSE, last hour at +1 h"]) == pytest.approx(np.sqrt(steps) / mean, abs=0.001)


def test_gaps_zeros_and_flat_hours_are_counted(tmp_path, profile):
    profile[100:110] = 0.0
    varied = profile * (1 + 0.001 * np.arange(len(profile)))
    varied[200:204] = varied[200]
    found = figures(write_folder(tmp_path, weeks(varied).drop(index=range(300, 320))))
    assert found["missing hours"] == f"{20 / 672:.1%}"
    assert found["zeros"] == f"{10 / 652:.1%}"
    assert found["flat hours"] == f"{3 / 650:.1%}"


def test_units_become_kwh_and_utc_becomes_the_sites_clock(tmp_path, profile):
    loads = read_loads(write_folder(tmp_path, weeks(profile), unit="MWh", stamps="utc"))
    monday_noon = loads.loc["2016-01-04 03:00"]
    assert monday_noon[1] == 30_000.0  # 08:00 UTC
    assert loads.index[0] == pd.Timestamp("2016-01-03 00:00")


def test_the_command_prints_one_column_a_folder(tmp_path, profile, capsys):
    for name in ("one", "two"):
        write_folder(tmp_path / name, weeks(profile))
    assert main([str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| 10 % / median / 90 % of meters | one | two |"
    assert {line.count("|") for line in lines} == {4}


def test_a_folder_without_readings_is_one_clear_line(tmp_path, capsys):
    write_folder(tmp_path, weeks(np.ones(24)))
    (tmp_path / "Sensors" / "new_consumptions.csv.gz").unlink()
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "is not a data folder" in capsys.readouterr().err.splitlines()[-1]


def test_the_document_shows_the_demonstration_datas_figures():
    document = (PROJECT / "docs" / "simulator.md").read_text()
    for name, cell in describe(DEMO).items():
        row = next(line for line in document.splitlines() if line.startswith(f"| {name} |"))
        assert row.split(" | ")[-1].rstrip(" |") == cell


def numbers(cell: str) -> list[float]:
    return [float(part.rstrip("%")) for part in cell.split(" / ")]


@pytest.mark.real_data
def test_simulated_meters_lie_among_real_ones(tmp_path):
    real = [REAL / name for name in ("ashrae25", "bdg1-dev", "cambridge-dev")]
    if not all(folder.is_dir() for folder in real):
        pytest.skip("the real data folders are absent")
    assert simulate(["--out", str(tmp_path), "--buildings", "120"]) == 0
    simulated, measured = describe(tmp_path), [describe(folder) for folder in real]
    shapes = [name for name, cell in simulated.items() if " / " in cell and name != "missing hours"]
    assert len(shapes) > 10
    for name in shapes:
        low, median, high = numbers(simulated[name])
        quantiles = np.array([numbers(one[name]) for one in measured])
        assert 0.8 * quantiles[:, 0].min() <= median <= quantiles[:, 2].max(), name
        spread = quantiles[:, 2] - quantiles[:, 0]
        assert 0.5 * spread.min() <= high - low <= 2 * spread.max(), name
    assert 0 < numbers(simulated["missing hours, mean"])[0] < 2
