"""``energy-import``: what the simulator made, in the layouts of others, comes back as it was."""

import csv
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from Energy_consumption_sensor.replay import Replay
from Sensor_core.building import KWH_PER_UNIT
from Sensor_core.interval import Interval
from Sensor_core.weather import QUANTITIES, QUANTITY_NAMES
from Setup.data_folder import DataFolder
from Training_scripts import simulate
from Training_scripts.import_data import main
from Training_scripts.importing import csv_blocks

REAL = Path(__file__).resolve().parents[4] / "shared" / "data"
SPLIT = "2016-11-07"
WIDE = ("electricity", "chilledwater", "steam", "hotwater")
GENOME_WEATHER = {
    "air_temperature": "airTemperature",
    "cloud_coverage": "cloudCoverage",
    "dew_temperature": "dewTemperature",
    "precip_depth_1_hr": "precipDepth1HR",
    "sea_level_pressure": "seaLvlPressure",
    "wind_direction": "windDirection",
    "wind_speed": "windSpeed",
}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """New York, London, Chicago and Sydney while the clocks of the first three go back."""
    folder = tmp_path_factory.mktemp("simulated")
    days = ["--start", "2016-10-28", "--split", SPLIT, "--end", "2016-11-12"]
    assert simulate.main(["--out", str(folder), "--seed", "5", "--buildings", "9", *days]) == 0
    return DataFolder(folder, Interval())


def readings(folder: DataFolder, *which: str) -> pd.DataFrame:
    parts = [chunk for name in which or ("history", "replay") for chunk in folder.readings(name)]
    table = pd.concat(parts, ignore_index=True).drop(columns="known_at")
    table["timestamp"] = table["timestamp"].astype("datetime64[ns, UTC]")
    return table.sort_values(["building_id", "meter", "timestamp"], ignore_index=True)


def same_readings(left: pd.DataFrame, right: pd.DataFrame) -> bool:
    keys = ["building_id", "meter", "timestamp"]
    return left[keys].equals(right[keys]) and np.allclose(
        left["meter_reading_kwh"], right["meter_reading_kwh"], rtol=1e-12, atol=0
    )


def standard_time(times: pd.Series, zone: str) -> pd.Series:
    offsets = [datetime(2016, month, 1, tzinfo=ZoneInfo(zone)).utcoffset() for month in (1, 7)]
    return (times.dt.tz_localize(None) + min(offsets)).dt.strftime("%Y-%m-%d %H:%M:%S")


def wall_time(times: pd.Series, zone: str) -> pd.Series:
    return times.dt.tz_convert(zone).dt.strftime("%Y-%m-%d %H:%M:%S")


def stamped(table: pd.DataFrame, folder: DataFolder, stamps) -> pd.DataFrame:
    """The table with ``stamp`` in each site's own time, in the order of time."""
    table = table.sort_values("timestamp", kind="stable")
    for site_id, rows in table.groupby("site_id"):
        table.loc[rows.index, "stamp"] = stamps(rows["timestamp"], folder.sites[site_id].time_zone)
    return table


def with_site(table: pd.DataFrame, folder: DataFolder) -> pd.DataFrame:
    return table.assign(site_id=[folder.buildings[number].site_id for number in table["building_id"]])


def write_sites(file: Path, folder: DataFolder, *, unit_of_site_2: str = "kWh", name="{}".format) -> None:
    with file.open("w", newline="") as stream:
        out = csv.writer(stream)
        columns = ("site_id", "time_zone", "latitude", "longitude", "country", "electricity_unit")
        out.writerow(columns)
        for site in folder.sites.values():
            unit = unit_of_site_2 if site.site_id == 2 else ""
            out.writerow((name(site.site_id), site.time_zone, site.latitude, site.longitude, site.country, unit))


def write_kaggle(folder: DataFolder, target: Path, *, unit_of_site_2: str = "kWh", suffix: str = "") -> None:
    target.mkdir(exist_ok=True)
    table = stamped(with_site(readings(folder), folder), folder, standard_time)
    kbtu = (table["site_id"] == 2) & (table["meter"] == 0)
    table["meter_reading"] = table["meter_reading_kwh"] / np.where(kbtu, KWH_PER_UNIT[unit_of_site_2], 1)
    names = {"stamp": "timestamp", "meter_reading": "meter_reading"}
    long = table[["building_id", "meter", "stamp", "meter_reading"]].rename(columns=names)
    long.to_csv(target / f"train.csv{suffix}", index=False)
    (target / "building_metadata.csv").write_text((folder.path / "building_metadata.csv").read_text())
    ashrae = {quantity.name: quantity.ashrae_column for quantity in QUANTITIES}
    weather = folder.weather().rename(columns=ashrae)
    weather.to_csv(target / f"weather_train.csv{suffix}", index=False, date_format="%Y-%m-%d %H:%M:%S")
    write_sites(target / "places.csv", folder, unit_of_site_2=unit_of_site_2)


def genome_name(folder: DataFolder, building_id: int) -> str:
    building = folder.buildings[building_id]
    return f"S{building.site_id}_{building.primary_use.split('/')[0].lower()}_B{building_id}"


def write_genome(folder: DataFolder, target: Path) -> None:
    (target / "metadata").mkdir(parents=True)
    table = stamped(with_site(readings(folder), folder), folder, standard_time)
    table["name"] = [genome_name(folder, number) for number in table["building_id"]]
    for code, kind in enumerate(WIDE):
        rows = table[table["meter"] == code]
        if len(rows):
            wide = rows.pivot_table(index="stamp", columns="name", values="meter_reading_kwh")
            wide.rename_axis(index="timestamp").to_csv(target / f"{kind}.csv")
    metadata = [
        {
            "building_id": genome_name(folder, number), "site_id": f"S{building.site_id}",
            "building_id_kaggle": f"{number}.0", "site_id_kaggle": f"{building.site_id}.0",
            "primaryspaceusage": building.primary_use, "sqft": building.square_feet,
            "yearbuilt": building.year_built, "numberoffloors": building.floor_count,
            "timezone": folder.sites[building.site_id].time_zone, "lat": "", "lng": "",
        }
        for number, building in folder.buildings.items()
    ]  # fmt: skip
    pd.DataFrame(metadata).to_csv(target / "metadata" / "metadata.csv", index=False)
    ashrae = {quantity.name: quantity.ashrae_column for quantity in QUANTITIES}
    weather = stamped(folder.weather(), folder, wall_time).drop(columns="timestamp")
    weather = weather.rename(columns=ashrae).rename(columns=GENOME_WEATHER).rename(columns={"stamp": "timestamp"})
    weather.assign(site_id="S" + weather["site_id"].astype("str")).to_csv(target / "weather.csv", index=False)


def assert_same_weather(left: DataFolder, right: DataFolder) -> None:
    first, second = (folder.weather() for folder in (left, right))
    assert first[["site_id", "timestamp"]].equals(second[["site_id", "timestamp"]])
    names = list(QUANTITY_NAMES)
    assert np.array_equal(first[names].to_numpy(float), second[names].to_numpy(float), equal_nan=True)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_competitions_layout_comes_back_as_it_was(simulated, tmp_path, suffix):
    source, out = tmp_path / "kaggle", tmp_path / "out"
    write_kaggle(simulated, source, unit_of_site_2="kBTU", suffix=suffix)
    options = ["--sites", str(source / "places.csv"), "--replay-from", SPLIT]
    assert main([str(source), "--out", str(out), *options]) == 0
    imported = DataFolder(out, Interval())
    assert same_readings(readings(imported), readings(simulated))
    assert same_readings(readings(imported, "replay"), readings(simulated, "replay"))
    assert imported.buildings == simulated.buildings
    assert {meter.unit for meter in imported.meters.values()} == {"kBTU"}
    assert_same_weather(imported, simulated)


def test_a_meters_file_in_the_genomes_layout_comes_back_as_it_was(simulated, tmp_path):
    source, out = tmp_path / "genome", tmp_path / "out"
    write_genome(simulated, source)
    assert main([str(source), "--out", str(out), "--replay-from", SPLIT]) == 0
    imported = DataFolder(out, Interval())
    assert same_readings(readings(imported), readings(simulated))
    assert imported.buildings == simulated.buildings
    assert [site.country for site in imported.sites.values()] == [site.country for site in simulated.sites.values()]
    assert all(meter.external_id == genome_name(simulated, meter.building_id) for meter in imported.meters.values())
    assert_same_weather(imported, simulated)


def test_rows_in_any_order_are_replayed_in_the_order_of_time(simulated, tmp_path):
    source, out = tmp_path / "kaggle", tmp_path / "out"
    write_kaggle(simulated, source)
    shuffled = pd.read_csv(source / "train.csv", dtype="str").sample(frac=1, random_state=3)
    shuffled.to_csv(source / "train.csv", index=False)
    assert main([str(source), "--out", str(out), "--sites", str(source / "places.csv")]) == 0
    imported = DataFolder(out, Interval())
    assert same_readings(readings(imported), readings(simulated))
    plan = Replay(imported).validate()
    assert plan.disorder == 0
    assert plan.rows == len(shuffled)


def test_block_borders_leave_no_trace(simulated, tmp_path, monkeypatch):
    source = tmp_path / "kaggle"
    write_kaggle(simulated, source)
    for name, size in (("whole", 1 << 24), ("pieces", 1000)):
        monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", size)
        assert main([str(source), "--out", str(tmp_path / name), "--sites", str(source / "places.csv")]) == 0
    files = [tmp_path / name / "Sensors" / "new_consumptions.csv.gz" for name in ("whole", "pieces")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_same_files_give_the_same_bytes(simulated, tmp_path):
    write_genome(simulated, tmp_path / "genome")
    for name in ("one", "two"):
        assert main([str(tmp_path / "genome"), "--out", str(tmp_path / name)]) == 0
    for name in ("Sensors/new_consumptions.csv.gz", "weather.csv.gz", "sites.csv", "meters.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.real_data
def test_real_readings_of_the_competition_come_back_with_the_built_in_sites(tmp_path):
    if not (REAL / "ashrae25").is_dir():
        pytest.skip("no real data beside the project")
    original = DataFolder(REAL / "ashrae25", Interval())
    source, out = tmp_path / "kaggle", tmp_path / "out"
    source.mkdir()
    table = pd.read_csv(original.require("Sensors/new_consumptions.csv"), dtype="str")
    table.assign(meter="0")[["building_id", "meter", "timestamp", "meter_reading"]].to_csv(
        source / "train.csv", index=False
    )
    (source / "building_metadata.csv").write_text((original.path / "building_metadata.csv").read_text())
    pd.read_csv(original.require("weather.csv"), dtype="str").to_csv(source / "weather_train.csv.gz", index=False)
    assert main([str(source), "--out", str(out)]) == 0
    imported = DataFolder(out, Interval())
    assert same_readings(readings(imported), readings(original))
    assert_same_weather(imported, original)


@pytest.mark.real_data
def test_real_readings_of_cambridge_come_back_through_the_competitions_layout(tmp_path):
    if not (REAL / "cambridge-dev").is_dir():
        pytest.skip("no real data beside the project")
    original = DataFolder(REAL / "cambridge-dev", Interval())
    source, out = tmp_path / "kaggle", tmp_path / "out"
    write_kaggle(original, source)
    options = ["--sites", str(source / "places.csv"), "--replay-from", "2020-01-01"]
    assert main([str(source), "--out", str(out), *options]) == 0
    imported = DataFolder(out, Interval())
    negative = readings(original)["meter_reading_kwh"] < 0
    assert same_readings(readings(imported), readings(original)[~negative].reset_index(drop=True))
    assert readings(imported, "history")["timestamp"].max() < pd.Timestamp("2020-01-01", tz="UTC")
    assert_same_weather(imported, original)
