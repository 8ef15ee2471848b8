"""``energy-import`` on dirty files: what is dropped, what is repaired, and that each case is told."""

import csv
import gzip
import json

import numpy as np
import pandas as pd
import pytest

from Predictor.forecasting.forecaster import Forecaster
from Sensor_core.interval import Interval
from Setup.data_folder import DataFolder
from tests.quick_training import train_quickly
from Training_scripts import simulate, train
from Training_scripts.import_data import main
from Training_scripts.sources import history_of_folder

KAGGLE_METADATA = """site_id,building_id,primary_use,square_feet,year_built,floor_count
1,10,Office,64619,1969.0,
1,11,Education,-5,2.0,2.0
12,12,Retail,,,
1,10,Office,1,,
"""
KAGGLE_WEATHER = """site_id,timestamp,air_temperature,cloud_coverage,dew_temperature,precip_depth_1_hr
1,2016-07-01 00:00:00,20.5,,12.0,-1.0
"""
TRAIN = """building_id,meter,timestamp,meter_reading
10,0,2016-07-01 00:00:00,1.5
10,0,2016-07-01 01:00:00,
10,0,2016-07-01 02:00:00,NaN
10,0,2016-07-01 03:00:00,inf
10,0,2016-07-01 04:00:00,-0.5
10,0,2016-07-01 05:00:00,2e9
10,0,2016-07-01 06:00:00,abc
10,x,2016-07-01 07:00:00,1
10.5,0,2016-07-01 07:00:00,1
10,4,2016-07-01 08:00:00,1
99,0,2016-07-01 09:00:00,1
10,0,yesterday,1
10,0,2016-07-01 10:15:00,1
10,0,2016-07-01 10:00:00.5,1
10,0,9999-01-01 00:00:00,1
10,0,2016-07-01 11:00:00

10,0,2016-07-01 12:00:00,7
10,0,2016-07-01 13:00:00,5.0
10,0,2016-07-01 12:00:00,9
10,0,2016-07-01 13:00:00,5
"10","0","2016-07-01 14:00:00","5"
11,1,2016-07-01T15:00:00+02:00,6
10,0,2016-07-01 16:00:00,4"""
GENOME_METADATA = """building_id,site_id,primaryspaceusage,sqm,yearbuilt,numberoffloors,timezone,lat,lng
Panther_office_Ada,Panther,Office,100,1990,2,US/Eastern,,
Mouse_lab_Bob,Mouse,Technology/science,,,,Europe/London,,
"""


def write_kaggle(folder, **files):
    folder.mkdir(exist_ok=True)
    texts = {"train": TRAIN, "building_metadata": KAGGLE_METADATA, "weather_train": KAGGLE_WEATHER} | files
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def write_genome(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, text in ({"metadata": GENOME_METADATA} | files).items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def imported(source, out, *options):
    assert main([str(source), "--out", str(out), *options]) == 0
    return DataFolder(out, Interval()), json.loads((out / "report.json").read_text())


def counts(report, file):
    return {found["reason"]: found["count"] for found in report["findings"] if found["file"] == file}


def cases(out):
    with gzip.open(out / "report_cases.csv.gz", "rt", newline="") as stream:
        return list(csv.DictReader(stream))


def values(folder):
    table = pd.concat(folder.readings("replay"))
    keys = zip(table["building_id"], table["meter"], table["timestamp"], strict=True)
    return {
        (building, meter, f"{at:%m-%d %H}"): kwh
        for (building, meter, at), kwh in zip(keys, table["meter_reading_kwh"], strict=True)
    }


def test_each_unusable_row_is_dropped_for_the_reason_that_it_has(tmp_path):
    folder, report = imported(write_kaggle(tmp_path / "k"), tmp_path / "out")
    assert counts(report, "train.csv") == {
        "empty cell: no reading": 1,
        "NaN or infinite reading": 2,
        "negative reading": 1,
        "reading above 1,000,000,000 kWh": 1,
        "is not a number": 1,
        "is not a whole number": 2,
        "meter code that is not 0 to 3": 1,
        "building that the metadata does not have": 1,
        "is not a time such as 2016-09-02 00:00:00": 1,
        "off the grid of 3600 s (METER_INTERVAL_S)": 2,
        "time before 1990 or after 2099": 1,
        "line with too few or too many cells": 1,
        "repeated reading": 1,
        "contradicts another reading of the interval: the greater one stays": 1,
    }
    assert values(folder) == {
        (10, 0, "07-01 00"): 1.5,
        (10, 0, "07-01 12"): 9,
        (10, 0, "07-01 13"): 5,
        (10, 0, "07-01 14"): 5,
        (10, 0, "07-01 16"): 4,
        (11, 1, "07-01 13"): 6,
    }


def test_rows_read_are_rows_kept_and_rows_dropped(tmp_path):
    _, report = imported(write_kaggle(tmp_path / "k"), tmp_path / "out")
    dropped = sum(counts(report, "train.csv").values())
    rows = report["rows"]["train.csv"]
    assert rows == {"read": 23, "kept": 6}
    assert rows["read"] == rows["kept"] + dropped


def test_every_case_is_on_file_with_line_column_and_value(tmp_path):
    source = write_kaggle(tmp_path / "k")
    imported(source, tmp_path / "out")
    lines = (source / "train.csv").read_text().split("\n")
    found = [case for case in cases(tmp_path / "out") if case["file"] == "train.csv"]
    assert len(found) == 17
    for case in found:
        line = lines[int(case["line"]) - 1]
        column = case["column"]
        cell = dict(zip(lines[0].split(","), line.split(","), strict=False)).get(column, line)
        same = case["value"] == cell or float(case["value"]) == float(cell) or case["value"] == cell.lower()
        assert same, case
    by_line = {int(case["line"]): (case["column"], case["value"]) for case in found}
    assert by_line[8] == ("meter_reading", "abc")
    assert by_line[9] == ("meter", "x")
    assert by_line[12] == ("building_id", "99")
    assert by_line[13] == ("timestamp", "yesterday")
    assert by_line[17] == ("", "10,0,2016-07-01 11:00:00")
    assert by_line[19] == ("meter_reading", "7.0")
    assert 22 in by_line, "of two equal rows the first stays"
    assert 20 not in by_line


def test_metadata_that_cannot_be_true_is_left_open_and_told(tmp_path):
    folder, report = imported(write_kaggle(tmp_path / "k"), tmp_path / "out")
    assert counts(report, "building_metadata.csv") == {"not possible, left open": 2, "building stands there twice": 1}
    building = folder.buildings[11]
    assert (building.square_feet, building.year_built, building.floor_count) == (None, None, 2)
    assert folder.buildings[10].square_feet == 64619


def test_a_clean_import_finds_nothing(tmp_path):
    train_file = "building_id,meter,timestamp,meter_reading\n10,0,2016-07-01 00:00:00,1.5\n"
    metadata = "site_id,building_id,primary_use,square_feet,year_built,floor_count\n1,10,Office,64619,1969,\n"
    source = write_kaggle(tmp_path / "k", train=train_file, building_metadata=metadata)
    _, report = imported(source, tmp_path / "out")
    assert report["findings"] == []
    assert cases(tmp_path / "out") == []


def test_the_first_site_counts_electricity_in_kbtu_and_stamps_in_standard_time(tmp_path):
    train_file = (
        "building_id,meter,timestamp,meter_reading\n10,0,2016-07-01 00:00:00,100\n10,1,2016-07-01 00:00:00,100\n"
    )
    metadata = KAGGLE_METADATA.replace("1,10,Office,64619", "0,10,Office,64619")
    source = write_kaggle(tmp_path / "k", train=train_file, building_metadata=metadata)
    folder, _ = imported(source, tmp_path / "out")
    assert values(folder) == {(10, 0, "07-01 05"): pytest.approx(29.3071), (10, 1, "07-01 05"): 100}


def test_wide_files_tell_their_columns_and_leave_empty_cells_uncounted_among_the_dropped(tmp_path):
    source = write_genome(
        tmp_path / "g",
        electricity="timestamp,Panther_office_Ada,Mouse_lab_Bob,Nobody\n"
        "2016-07-01 00:00:00,1,,5\n2016-07-01 01:00:00,-1,x,5\nsoon,1,2,5\n2016-07-01 02:00:00,3,4,5\n",
        gas="timestamp,Panther_office_Ada\n2016-07-01 00:00:00,1\n",
    )
    folder, report = imported(source, tmp_path / "out")
    assert counts(report, "electricity.csv") == {
        "building that the metadata does not have: the whole column": 1,
        "is not a number": 1,
        "is not a time such as 2016-09-02 00:00:00": 2,
        "negative reading": 1,
    }
    assert counts(report, "gas.csv") == {"kind of meter that has no code here: the whole file": 1}
    assert report["rows"]["electricity.csv"] == {"read": 8, "empty_cells": 1, "kept": 3}
    negative = next(case for case in cases(tmp_path / "out") if case["reason"] == "negative reading")
    assert (negative["line"], negative["column"], negative["value"]) == ("3", "Panther_office_Ada", "-1.0")
    assert values(folder) == {(0, 0, "07-01 05"): 1, (0, 0, "07-01 07"): 3, (1, 0, "07-01 02"): 4}


def test_both_hours_of_a_clock_change_are_kept_and_the_skipped_one_is_told(tmp_path):
    sites = tmp_path / "sites.csv"
    sites.write_text(
        "site_id,time_zone,latitude,longitude,country,stamps\n1,Europe/London,51.5,-0.1,GB,local\n"
        "12,Europe/Dublin,53.3,-6.3,IE,standard\n"
    )
    train_file = (
        "building_id,meter,timestamp,meter_reading\n"
        "10,0,2016-03-27 00:00:00,1\n10,0,2016-03-27 01:00:00,2\n10,0,2016-03-27 02:00:00,3\n"
        "10,0,2016-10-30 00:00:00,4\n10,0,2016-10-30 01:00:00,5\n10,0,2016-10-30 01:00:00,6\n"
        "10,0,2016-10-30 02:00:00,7\n"
    )
    source = write_kaggle(tmp_path / "k", train=train_file)
    folder, report = imported(source, tmp_path / "out", "--sites", str(sites))
    assert counts(report, "train.csv") == {
        "hour that the site's clock skips in spring": 1,
        "second reading of the hour that the clock repeats in autumn: taken as winter time": 1,
    }
    assert values(folder) == {
        (10, 0, "03-27 00"): 1, (10, 0, "03-27 01"): 3,
        (10, 0, "10-29 23"): 4, (10, 0, "10-30 00"): 5, (10, 0, "10-30 01"): 6, (10, 0, "10-30 02"): 7,
    }  # fmt: skip


WEATHER_HEAD = "site_id,timestamp,airTemperature,dewTemperature,windSpeed\n"


def weather_of(tmp_path, text):
    electricity = "timestamp,Panther_office_Ada,Mouse_lab_Bob\n2016-07-01 00:00:00,1,2\n"
    source = write_genome(tmp_path / "g", electricity=electricity, weather=WEATHER_HEAD + text)
    folder, report = imported(source, tmp_path / "out")
    table = folder.weather().set_index(["site_id", "timestamp"])
    return {(site, f"{at:%m-%d %H}"): row for (site, at), row in table.iterrows()}, counts(report, "weather.csv")


def test_sentinels_and_impossible_values_become_missing(tmp_path):
    hours, found = weather_of(
        tmp_path,
        "Mouse,2016-07-01 01:00:00,-9999,10,3\nMouse,2016-07-01 02:00:00,20,77,x\nPanther,2016-07-01 00:00:00,,,\n",
    )
    assert found == {
        "sentinel for missing: taken as missing": 1,
        "outside of -90 to 50: taken as missing": 1,
        "is not a number: taken as missing": 1,
    }
    first, second = hours[1, "07-01 00"], hours[1, "07-01 01"]
    assert np.isnan(first["air_temperature_c"])
    assert first["dew_temperature_c"] == 10
    assert second["air_temperature_c"] == 20
    assert np.isnan(second["dew_temperature_c"])
    assert np.isnan(second["wind_speed_m_s"])


def test_observations_off_the_hour_go_to_the_nearest_and_the_nearest_one_counts(tmp_path):
    hours, found = weather_of(
        tmp_path,
        "Panther,2016-07-01 00:00:00,1,1,1\n"
        "Mouse,2016-07-01 02:10:00,21,11,4\nMouse,2016-07-01 01:53:00,20,,3\nMouse,2016-07-01 01:53:00,30,12,5\n",
    )
    assert found == {
        "stamp off the hour: taken to the nearest hour": 3,
        "observation repeated: the first value of each quantity stays": 1,
        "second observation of an hour: used where the nearer one has no value": 1,
    }
    row = hours[1, "07-01 01"]
    assert (row["air_temperature_c"], row["dew_temperature_c"], row["wind_speed_m_s"]) == (20, 12, 3)


def test_holes_stay_missing_and_are_told_with_their_length(tmp_path):
    hours, found = weather_of(
        tmp_path,
        "Mouse,2016-07-01 01:00:00,20,10,3\nMouse,2016-07-01 10:00:00,21,10,3\nElsewhere,2016-07-01 01:00:00,1,1,1\n",
    )
    hole = "hole in the hours: left missing, because filling it would need weather that came later"
    assert found == {"site that no building stands on": 1, "site without weather": 1, hole: 1}
    assert set(hours) == {(1, "07-01 00"), (1, "07-01 09")}
    told = next(case for case in cases(tmp_path / "out") if case["reason"] == hole)
    assert (told["column"], told["value"]) == ("site Mouse", "8 h from 2016-07-01T01:00 UTC")


def test_weather_by_the_wall_clock_has_both_hours_of_autumn(tmp_path):
    rows = "".join(
        f"Panther,2016-11-06 {hour}:00:00,{value},0,0\n" for hour, value in (("00", 1), ("01", 2), ("01", 3), ("02", 4))
    )
    hours, found = weather_of(tmp_path, rows + "Mouse,2016-03-27 01:30:00,5,0,0\nMouse,2016-03-27 03:00:00,6,0,0\n")
    temperatures = {at: row["air_temperature_c"] for (site, at), row in hours.items() if site == 0}
    assert temperatures == {"11-06 04": 1, "11-06 05": 2, "11-06 06": 3, "11-06 07": 4}
    assert found["second reading of the hour that the clock repeats in autumn: taken as winter time"] == 1
    assert found["hour that the site's clock skips in spring"] == 1


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    """A simulated month whose weather has every defect that real files have."""
    folder = tmp_path_factory.mktemp("dirty")
    days = ["--start", "2016-10-10", "--split", "2016-11-08", "--end", "2016-11-14"]
    assert simulate.main(["--out", str(folder / "s"), "--sites", "2", "--buildings", "6", "--seed", "3", *days]) == 0
    original = DataFolder(folder / "s", Interval())
    source = folder / "k"
    source.mkdir()
    table = pd.concat([*original.readings("history"), *original.readings("replay")])
    table["timestamp"] = table["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S")
    names = {"meter_reading_kwh": "meter_reading"}
    table.rename(columns=names)[["building_id", "meter", "timestamp", "meter_reading"]].to_csv(
        source / "train.csv", index=False
    )
    (source / "building_metadata.csv").write_text((folder / "s" / "building_metadata.csv").read_text())
    weather = pd.read_csv(folder / "s" / "weather.csv")
    at = pd.to_datetime(weather["timestamp"])
    even = at.dt.day % 2 == 0
    weather.loc[(at.dt.hour == 5) & even, "air_temperature"] = -9999
    weather["timestamp"] = (at - pd.to_timedelta(np.where(weather["site_id"] == 1, 7, 0), unit="min")).astype("str")
    weather = weather[~((weather["site_id"] == 0) & at.dt.hour.between(15, 22) & even)]
    weather.to_csv(source / "weather_train.csv", index=False)
    (source / "places.csv").write_text(
        "site_id,time_zone,latitude,longitude,country,stamps\n0,America/New_York,40.7,-74,US,utc\n"
        "1,Europe/London,51.5,-0.1,GB,utc\n"
    )
    return source, original, at


def test_a_folder_with_dirty_weather_is_imported_trained_on_and_forecast(dirty, tmp_path, monkeypatch):
    train_quickly(monkeypatch)
    source, original, at = dirty
    out = tmp_path / "out"
    options = ["--sites", str(source / "places.csv"), "--replay-from", "2016-11-08"]
    folder, report = imported(source, out, *options)
    found = counts(report, "weather_train.csv")
    even_days = at[at.dt.day % 2 == 0].dt.date.nunique()
    assert found["sentinel for missing: taken as missing"] == 2 * even_days
    assert found["stamp off the hour: taken to the nearest hour"] == (original.weather()["site_id"] == 1).sum()
    holes = [case["value"] for case in cases(out) if case["reason"].startswith("hole")]
    table = folder.weather().groupby("site_id")["timestamp"].agg(["min", "max", "count"])
    expected = (table["max"] - table["min"]).dt.total_seconds() / 3600 + 1 - table["count"]
    assert sum(int(hole.split(" h")[0]) for hole in holes) == expected.sum()
    assert sum(hole.startswith("8 h") for hole in holes) > even_days / 2
    assert len(folder.weather()) < len(original.weather())
    assert train.main(["--data", str(out), "--out", str(tmp_path / "models"), "--threads", "1"]) == 0
    history = history_of_folder(out, Interval())
    forecast = Forecaster.load(tmp_path / "models").forecast(history.snapshot(history.stop - 1))
    assert np.isfinite(forecast.stacked()).all()
    assert "full" in forecast.quality


@pytest.mark.parametrize(
    ("files", "options", "complaint"),
    [
        ({"train": "building_id,timestamp,meter_reading\n"}, [], "train.csv, line 1: column meter is missing"),
        ({"building_metadata": "building_id,primary_use\n1,Office\n"}, [], "column site_id is missing"),
        ({"building_metadata": "site_id,building_id\n17,10\n"}, [], "line 2, column site_id: 17 is a site that"),
        ({"building_metadata": "site_id,building_id\n1,x\n"}, [], "line 2, column building_id: 'x'"),
        ({"weather_train": "site_id,air_temperature\n"}, [], "weather_train.csv, line 1: column timestamp is missing"),
        ({"train": "building_id,meter,timestamp,meter_reading\n"}, [], "no reading is left"),
        ({"train": "building_id,meter,timestamp,meter_reading,meter\n"}, [], "column 'meter' stands there twice"),
        ({}, ["--sites", "nowhere.csv"], "nowhere.csv does not exist"),
    ],
)
def test_what_is_wrong_with_the_files_is_said_in_one_line(tmp_path, capsys, files, options, complaint):
    source = write_kaggle(tmp_path / "k", **files)
    assert main([str(source), "--out", str(tmp_path / "out"), *options]) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert error.startswith("energy-import: ")


def test_a_weather_file_without_observations_leaves_every_site_without_weather(tmp_path):
    source = write_kaggle(tmp_path / "k", weather_train="site_id,timestamp,air_temperature\n")
    folder, report = imported(source, tmp_path / "out")
    assert counts(report, "weather_train.csv") == {"site without weather": 2}
    assert folder.weather().empty


def test_wide_files_of_unknown_buildings_only_are_an_error(tmp_path, capsys):
    source = write_genome(tmp_path / "g", steam="timestamp,Nobody\n2016-07-01 00:00:00,1\n")
    assert main([str(source), "--out", str(tmp_path / "out")]) == 1
    assert "steam.csv: no reading is left" in capsys.readouterr().err


def test_postgres_that_does_not_answer_is_said_before_the_files_are_read(tmp_path, capsys, monkeypatch):
    for name, value in (("POSTGRES_PORT", "1"), ("START_DEADLINE_S", "0.5")):
        monkeypatch.setenv(name, value)
    source = write_kaggle(tmp_path / "k")
    assert main([str(source), "--to", "postgres", "--report", str(tmp_path / "report")]) == 1
    assert "Postgres cannot be reached at localhost:1" in capsys.readouterr().err
    assert json.loads((tmp_path / "report" / "report.json").read_text())["rows"] == {}


def test_a_missing_file_is_named(tmp_path, capsys):
    source = write_kaggle(tmp_path / "k")
    (source / "building_metadata.csv").unlink()
    assert main([str(source), "--out", str(tmp_path / "out")]) == 1
    assert "has no building_metadata.csv (or .gz)" in capsys.readouterr().err
    (source / "train.csv").unlink()
    assert main([str(source), "--out", str(tmp_path / "out")]) == 1
    assert "has neither train.csv" in capsys.readouterr().err
    assert main([str(write_genome(tmp_path / "g")), "--out", str(tmp_path / "out")]) == 1
    assert "has none of electricity.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("1,Nowhere/Land,51,0,GB,,", "line 2, column time_zone: 'Nowhere/Land' is not an IANA time zone"),
        ("1,Europe/London,51,0,GB,summer,", "line 2, column stamps: 'summer'"),
        ("1,Europe/London,51,0,GB,,litres", "line 2, column electricity_unit: 'litres' is not one of kWh"),
    ],
)
def test_what_is_wrong_with_the_table_of_sites_is_said_in_one_line(tmp_path, capsys, row, complaint):
    sites = tmp_path / "sites.csv"
    sites.write_text(f"site_id,time_zone,latitude,longitude,country,stamps,electricity_unit\n{row}\n")
    source = write_kaggle(tmp_path / "k")
    assert main([str(source), "--out", str(tmp_path / "out"), "--sites", str(sites)]) == 1
    assert complaint in capsys.readouterr().err


def test_a_cut_off_file_is_an_error_not_a_shorter_import(tmp_path, capsys):
    source = write_kaggle(tmp_path / "k")
    whole = gzip.compress((TRAIN * 50).encode())
    (source / "train.csv").unlink()
    (source / "train.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert main([str(source), "--out", str(tmp_path / "out")]) == 1
    assert "train.csv.gz cannot be read to its end" in capsys.readouterr().err


def test_without_a_place_to_go_nothing_is_done(tmp_path, capsys):
    assert main([str(write_kaggle(tmp_path / "k"))]) == 2
    assert "give --out DIR, or --to postgres" in capsys.readouterr().err


def test_the_report_is_a_table_on_standard_output(tmp_path, capsys):
    imported(write_kaggle(tmp_path / "k"), tmp_path / "out")
    output = capsys.readouterr().out
    assert all(text in output for text in ("negative reading", "train.csv: 23 read, 6 kept", "report.json"))
