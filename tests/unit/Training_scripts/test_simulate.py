"""The simulator: the same bytes from the same seed, in files as the design has them."""

import csv
import gzip
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from Sensor_core.interval import Interval
from Setup.data_folder import DataFolder
from Training_scripts.simulate import main
from Training_scripts.simulation.plan import Plan
from Training_scripts.simulation.world import World, simulate_world

PROJECT = Path(__file__).resolve().parents[3]
DEMO = PROJECT / "New_data"
DUMP = PROJECT / "config" / "postgres-init" / "dump" / "history.sql.gz"
NEW_YORK, LONDON, CHICAGO, SYDNEY = range(4)


def plan(**changes) -> Plan:
    """Thirty days around the day that New York's clocks go back, 2016-11-06."""
    usual = Plan(
        seed=7,
        sites=4,
        buildings=12,
        start=datetime(2016, 10, 20, tzinfo=UTC),
        split=datetime(2016, 11, 4, tzinfo=UTC),
        end=datetime(2016, 11, 19, tzinfo=UTC),
        interval=Interval(),
    )
    return replace(usual, **changes)


YEAR = plan(start=datetime(2016, 1, 1, tzinfo=UTC), end=datetime(2017, 1, 1, tzinfo=UTC))


def silently(sequence: Sequence, description: str) -> Iterable:
    return sequence


def simulate(folder: Path, *options: str) -> Path:
    small = ["--buildings", "12", "--start", "2016-10-20", "--split", "2016-11-04", "--end", "2016-11-19"]
    assert main(["--out", str(folder), "--seed", "7", *small, *options]) == 0
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def world() -> World:
    return simulate_world(plan(), silently)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return simulate(tmp_path_factory.mktemp("simulated"))


# --- determinism -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--gzip",), ("--dump", "dump/history.sql.gz")])
def test_the_same_options_give_the_same_bytes(tmp_path, monkeypatch, options):
    runs = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        runs.append(contents(simulate(Path(), *options)))
    assert runs[0] == runs[1]
    assert len(runs[0]) == 7


def test_another_seed_gives_other_readings(world):
    other = simulate_world(plan(seed=8), silently)
    assert not np.array_equal(other.weather[0].true, world.weather[0].true)
    assert other.buildings != world.buildings


def test_more_buildings_leave_the_others_as_they_are(world):
    larger = simulate_world(plan(buildings=30), silently)
    meters = len(world.meters)
    assert larger.meters[:meters] == world.meters
    np.testing.assert_array_equal(larger.readings[:, :meters], world.readings)


def test_the_demonstration_data_is_what_the_seed_gives(tmp_path):
    assert main(["--out", str(tmp_path / "data"), "--dump", str(tmp_path / "history.sql.gz")]) == 0
    assert contents(DEMO) == contents(tmp_path / "data")
    # Libraries may pack alike text differently.
    assert gzip.decompress(DUMP.read_bytes()) == gzip.decompress((tmp_path / "history.sql.gz").read_bytes())


def test_the_demonstration_data_is_small():
    assert DUMP.stat().st_size < 4e6
    assert sum(len(content) for content in contents(DEMO).values()) + DUMP.stat().st_size < 12e6


# --- files -----------------------------------------------------------------------------------------------


def test_files_have_the_ashrae_columns(folder):
    header = {name: content.split(b"\n")[0].decode() for name, content in contents(folder).items()}
    readings = "building_id,meter,timestamp,meter_reading"
    weather = "air_temperature,cloud_coverage,dew_temperature,precip_depth_1_hr,sea_level_pressure"
    assert header == {
        "history.csv": readings,
        "Sensors/new_consumptions.csv": readings,
        "weather.csv": f"site_id,timestamp,{weather},wind_direction,wind_speed",
        "building_metadata.csv": "site_id,building_id,primary_use,square_feet,year_built,floor_count",
        "sites.csv": "site_id,time_zone,latitude,longitude,country,stamps,limit_kw",
        "meters.csv": "building_id,meter,unit",
        "anomaly_labels.csv": "building_id,meter,kind,start,end",
    }


@pytest.mark.parametrize("name", ["history.csv", "Sensors/new_consumptions.csv"])
def test_readings_are_ordered_by_stamp_building_and_meter(folder, name):
    keys = [(row["timestamp"], int(row["building_id"]), int(row["meter"])) for row in rows_of(folder / name)]
    assert keys == sorted(keys)


def test_the_publishers_reader_gets_back_every_reading_in_utc_and_kwh(folder, world):
    data = DataFolder(folder, Interval())
    for which, first, last in (("history", 0, 15 * 24), ("replay", 15 * 24, 30 * 24)):
        read = pd.concat(data.readings(which))
        table = read.pivot_table(index="timestamp", columns=["building_id", "meter"], values="meter_reading_kwh")
        kwh_per_count = [meter.kwh_per_count for meter in world.meters]
        expected = world.shown(slice(first, last), slice(None)) * kwh_per_count
        hours = pd.date_range("2016-10-20", periods=30 * 24, freq="h", tz="UTC")[first:last]
        np.testing.assert_allclose(table.reindex(hours).to_numpy(), expected)
        assert not read.duplicated(["building_id", "meter", "timestamp"]).any()


def test_local_stamps_repeat_the_hour_when_clocks_go_back_and_others_do_not(folder, world):
    stamps = Counter(
        (int(row["building_id"]) % 4, row["building_id"], row["meter"], row["timestamp"])
        for row in rows_of(folder / "Sensors" / "new_consumptions.csv")
    )
    doubled = {key for key, count in stamps.items() if count == 2}
    assert {(site, stamp) for site, _, _, stamp in doubled} == {(NEW_YORK, "2016-11-06 01:00:00")}
    assert max(stamps.values()) == 2
    assert [site.stamps for site in world.sites] == ["local", "utc", "standard", "utc"]


def test_local_stamps_skip_the_hour_when_clocks_go_forward(tmp_path):
    simulate(tmp_path, "--start", "2016-03-10", "--split", "2016-03-11", "--end", "2016-03-16")
    replay = rows_of(tmp_path / "Sensors" / "new_consumptions.csv")
    hours = [{row["timestamp"] for row in replay if int(row["building_id"]) % 4 == site} for site in range(4)]
    skipped = "2016-03-13 02:00:00"
    assert [skipped in stamps for stamps in hours] == [False, True, True, True]


def test_the_replay_starts_at_the_split_on_every_sites_clock(folder):
    first = {}
    for row in rows_of(folder / "Sensors" / "new_consumptions.csv"):
        first.setdefault(int(row["building_id"]) % 4, row["timestamp"])
    midnight = datetime(2016, 11, 4, tzinfo=UTC)
    in_new_york = midnight.astimezone(ZoneInfo("America/New_York"))
    assert first[NEW_YORK] == f"{in_new_york:%Y-%m-%d %H:%M:%S}" == "2016-11-03 20:00:00"
    assert first[LONDON] == first[SYDNEY] == "2016-11-04 00:00:00"
    assert first[CHICAGO] == "2016-11-03 18:00:00"


def test_a_sites_own_unit_is_declared(folder, world):
    declared = {(int(row["building_id"]), int(row["meter"])): row["unit"] for row in rows_of(folder / "meters.csv")}
    in_chicago = {(building, 0) for building in range(CHICAGO, 12, 4)}
    assert {key for key, unit in declared.items() if unit == "kBTU"} == in_chicago
    assert declared == {(m.building_id, m.meter): m.unit for m in world.meters if m.unit != "kWh"}


def test_compressed_files_replace_plain_ones_and_hold_the_same(folder, tmp_path):
    simulate(tmp_path)
    simulate(tmp_path, "--gzip")
    assert not (tmp_path / "weather.csv").exists()
    for name in ("weather.csv", "history.csv", "Sensors/new_consumptions.csv"):
        packed = (tmp_path / f"{name}.gz").read_bytes()
        assert gzip.decompress(packed) == (folder / name).read_bytes()


def test_quarter_hours_hold_a_quarter_of_the_energy(world):
    quarterly = simulate_world(plan(interval=Interval(900)), silently)
    assert quarterly.readings.shape == (4 * 30 * 24, len(world.meters))
    electric = [meter.meter == 0 for meter in world.meters]
    quarter, hour = (np.nanmedian(one.readings[:, electric], axis=0) for one in (quarterly, world))
    assert 0.2 < np.median(quarter / hour) < 0.3


def test_quarter_hours_are_stamped_as_such(tmp_path):
    simulate(tmp_path, "--interval", "900", "--end", "2016-11-08")
    minutes = {row["timestamp"][14:] for row in rows_of(tmp_path / "Sensors" / "new_consumptions.csv")}
    assert minutes == {"00:00", "15:00", "30:00", "45:00"}
    assert sum(len(chunk) for chunk in DataFolder(tmp_path, Interval(900)).readings("replay")) > 4 * 3 * 24 * 12


def test_weather_stamps_are_hours_of_utc(folder):
    stamps = {row["timestamp"] for row in rows_of(folder / "weather.csv") if row["site_id"] == "3"}
    first = datetime(2016, 10, 20, tzinfo=UTC)
    hours = {f"{first + timedelta(hours=hour):%Y-%m-%d %H:%M:%S}" for hour in range(30 * 24)}
    assert stamps <= hours
    assert len(stamps) > 0.9 * len(hours)


def test_labels_in_the_file_point_at_the_readings_utc_hours(tmp_path):
    long = ["--start", "2016-01-01", "--split", "2016-01-02", "--end", "2017-01-01"]
    simulate(tmp_path, *long)
    readings = pd.concat(DataFolder(tmp_path, Interval()).readings("replay"))
    readings = readings.set_index(["building_id", "meter", "timestamp"])["meter_reading_kwh"].sort_index()
    zero_runs = [row for row in rows_of(tmp_path / "anomaly_labels.csv") if row["kind"] == "zero run"]
    checked = 0
    for row in zero_runs:
        start, end = (pd.Timestamp(row[column], tz="UTC") for column in ("start", "end"))
        meter = readings.loc[int(row["building_id"]), int(row["meter"])]
        inside = meter[(meter.index >= start) & (meter.index < end)]
        assert (inside == 0).all()
        checked += len(inside)
    assert checked > 100


# --- the command -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--split", "2017-02-01"), "--split 2017-02-01 does not lie between"),
        (("--buildings", "3"), "3 buildings do not fill 4 sites"),
        (("--start", "1.1.2016"), "'1.1.2016' is not a day such as 2016-09-01"),
        (("--interval", "700"), "'700' does not divide the hour's 3600 seconds"),
        (("--seed", "-1"), "'-1' is not a whole number"),
    ],
)
def test_wrong_options_are_one_clear_line(tmp_path, capsys, options, problem):
    with pytest.raises(SystemExit) as stopped:
        main(["--out", str(tmp_path), *options])
    assert stopped.value.code == 2
    assert problem in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "taken"), "--end", "2016-09-02"])
    assert "taken" in capsys.readouterr().err.splitlines()[-1]


def test_the_command_says_what_it_wrote(tmp_path, capsys):
    simulate(tmp_path)
    assert "of 12 buildings on 4 sites, 2016-10-20 to 2016-11-19, replay from 2016-11-04" in capsys.readouterr().err
