"""Data folders: units, time zones, clock changes, gzip, and errors that name file, line, column and value."""

import gzip
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from Sensor_core.errors import DataFolderError
from Sensor_core.interval import Interval
from Setup.data_folder import DataFolder

SITES = """site_id,time_zone,latitude,longitude,country,stamps
0,America/New_York,28.5,-81.4,US,standard
1,Europe/London,51.5,-0.1,GB,local
2,Europe/London,51.5,-0.1,GB,utc
"""
BUILDINGS = """site_id,building_id,primary_use,square_feet,year_built,floor_count
0,10,Office,64619,1969,
1,11,Education,1000,,2.0
2,12,Retail,,,
"""
INDIA = """site_id,time_zone,latitude,longitude,country,stamps
0,Asia/Kolkata,28.6,77.2,IN,standard
1,Australia/Adelaide,-34.9,138.6,AU,local
2,Asia/Kathmandu,27.7,85.3,NP,utc
"""


@pytest.fixture
def make_folder(tmp_path):
    def make(readings, warn=None, **files):
        (tmp_path / "Sensors").mkdir(exist_ok=True)
        names = {"sites": SITES, "building_metadata": BUILDINGS} | files
        for name, text in names.items():
            (tmp_path / f"{name}.csv").write_text(text)
        (tmp_path / "Sensors" / "new_consumptions.csv").write_text(readings)
        return DataFolder(tmp_path, Interval(), *([warn] if warn else []))

    return make


def replay(folder):
    return pd.concat(folder.readings("replay"), ignore_index=True)


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def test_each_site_stamps_in_its_own_way(make_folder):
    rows = replay(make_folder(
        "building_id,meter,timestamp,meter_reading\n"
        "10,0,2016-07-01 00:00:00,1\n11,0,2016-07-01 00:00:00,2\n12,0,2016-07-01 00:00:00,3\n"
        "10,0,2016-12-01 00:00:00,4\n11,0,2016-12-01 00:00:00,5\n"
    ))  # fmt: skip
    assert list(rows["timestamp"]) == [
        utc(2016, 7, 1, 5), utc(2016, 6, 30, 23), utc(2016, 7, 1), utc(2016, 12, 1, 5), utc(2016, 12, 1),
    ]  # fmt: skip


def test_the_first_of_a_doubled_hour_is_summer_time_for_each_meter(make_folder):
    rows = replay(make_folder(
        "building_id,meter,timestamp,meter_reading\n"
        "11,0,2016-10-30 00:00:00,1\n11,1,2016-10-30 01:00:00,9\n11,0,2016-10-30 01:00:00,2\n"
        "11,0,2016-10-30 01:00:00,3\n11,0,2016-10-30 02:00:00,4\n"
    ))  # fmt: skip
    own = rows[rows["meter"] == 0]
    assert list(own["timestamp"]) == [utc(2016, 10, 29, 23) + timedelta(hours=h) for h in range(4)]
    assert rows[rows["meter"] == 1]["timestamp"].iloc[0] == utc(2016, 10, 30, 0)


def test_a_stamp_in_the_missing_hour_of_spring_is_an_error(make_folder):
    folder = make_folder("building_id,timestamp,meter_reading\n11,2016-03-27 01:00:00,1\n")
    with pytest.raises(DataFolderError, match=r"line 2, column timestamp: '2016-03-27 01:00:00' does not exist"):
        replay(folder)


def test_that_nothing_was_read_in_the_missing_hour_is_no_error(make_folder):
    rows = replay(make_folder("building_id,timestamp,meter_reading\n11,2016-03-27 01:00:00,\n12,2016-03-27,1\n"))
    assert len(rows) == 1


def test_hours_of_a_clock_that_is_half_an_hour_off_move_up_to_the_next_hour_of_utc(make_folder):
    rows = replay(make_folder(
        "building_id,timestamp,meter_reading\n"
        "10,2016-07-01 10:00:00,1\n11,2016-07-01 10:00:00,2\n11,2016-12-01 10:00:00,3\n"
        "12,2016-07-01 04:15:00,4\n10,2016-07-01T10:00:00+05:30,5\n10,2016-07-01T05:00:00Z,6\n",
        sites=INDIA,
    ))  # fmt: skip
    assert list(rows["timestamp"]) == [
        utc(2016, 7, 1, 5), utc(2016, 7, 1, 1), utc(2016, 12, 1),
        utc(2016, 7, 1, 5), utc(2016, 7, 1, 5), utc(2016, 7, 1, 5),
    ]  # fmt: skip


def test_a_stamp_on_nobodys_grid_is_an_error_there_too(make_folder):
    with pytest.raises(DataFolderError, match=r"'2016-07-01 10:17:00' is not the start of an interval of 3600 s"):
        replay(make_folder("building_id,timestamp,meter_reading\n10,2016-07-01 10:17:00,1\n", sites=INDIA))


def test_stamps_closer_than_the_interval_say_which_setting_fits(make_folder):
    stamps = pd.date_range("2016-07-01", periods=8, freq="15min").astype("str")
    folder = make_folder("building_id,timestamp,meter_reading\n" + "".join(f"12,{stamp},1\n" for stamp in stamps))
    for lenient in (False, True):
        with pytest.raises(DataFolderError, match=r"stamps are 900 s apart, set METER_INTERVAL_S=900"):
            list(folder.readings("replay", lenient=lenient))


def test_a_lenient_reader_leaves_out_what_cannot_be_true_and_counts_it(make_folder):
    told = []
    hours = "".join(f"12,0,2016-07-{day:02} 00:00:00,7,\n" for day in range(1, 31))
    folder = make_folder(
        "building_id,meter,timestamp,meter_reading,known_at\n"
        "12,0,2016-08-01 00:00:00,-9999,\n12,0,2016-08-01 01:00:00,-0.2,\n12,0,2016-08-01 02:00:00,1e12,\n"
        "11,0,2016-03-27 01:00:00,5,\n12,0,2016-08-01 03:17:00,5,\n12,7,2016-08-01 03:00:00,5,\n"
        "12,0,1970-01-01 00:00:00,5,\n12,0,soon,5,\n12,0,2016-08-01 04:00:00,5,later\n" + hours,
        warn=told.append,
    )
    rows = pd.concat(folder.readings("replay", lenient=True))
    assert list(rows["meter_reading_kwh"]) == [7.0] * 30
    assert len(told) == 7
    assert any("line 2, column meter_reading: -9999.0 is not between" in text and "3 in all" in text for text in told)


def test_the_replay_refuses_a_sentinel_and_says_what_helps(make_folder):
    folder = make_folder("building_id,timestamp,meter_reading\n12,2016-07-01 00:00:00,-9999\n")
    with pytest.raises(DataFolderError, match=r"line 2, column meter_reading: -9999.0 is not between .*energy-import"):
        replay(folder)


def test_a_size_or_a_year_that_cannot_be_true_is_unknown(make_folder):
    told = []
    folder = make_folder(
        "", warn=told.append,
        building_metadata="site_id,building_id,primary_use,square_feet,year_built,floor_count\n"
        "0,10,Office,0,19690,2.5\n1,11,Education,-5,1990.0,NaN\n2,12,Retail,7,,3\n",
    )  # fmt: skip
    known = [(b.square_feet, b.year_built, b.floor_count) for b in folder.buildings.values()]
    assert known == [(None, None, None), (None, 1990, None), (7, None, 3)]
    assert len(told) == 3
    assert "line 2, column square_feet: '0' Input should be greater than 0: left out, as 2 in all" in told[0]


def test_a_stamp_with_a_zone_is_taken_at_its_word(make_folder):
    rows = replay(
        make_folder("building_id,timestamp,meter_reading\n10,2016-07-01T00:00:00Z,1\n11,2016-07-01T02:00:00+02:00,1\n")
    )
    assert set(rows["timestamp"]) == {utc(2016, 7, 1)}


def test_declared_units_become_kwh_and_a_missing_meter_column_means_electricity(make_folder):
    rows = replay(make_folder(
        "building_id,timestamp,meter_reading\n10,2016-07-01 00:00:00,100\n12,2016-07-01 00:00:00,100\n",
        meters="building_id,meter,unit,multiplier\n10,0,kBTU,2\n",
    ))  # fmt: skip
    assert list(rows["meter_reading_kwh"]) == pytest.approx([58.614214, 100])
    assert list(rows["meter"]) == [0, 0]


def test_empty_cells_are_holes_and_known_at_is_kept(make_folder):
    rows = replay(make_folder(
        "building_id,meter,timestamp,meter_reading,known_at\n"
        "12,0,2016-07-01 00:00:00,,\n12,0,2016-07-01 01:00:00,5,2016-07-03 09:30:00\n12,0,2016-07-01 02:00:00,6,\n"
    ))  # fmt: skip
    assert list(rows["meter_reading_kwh"]) == [5, 6]
    assert rows["known_at"].iloc[0] == utc(2016, 7, 3, 9, 30)
    assert pd.isna(rows["known_at"].iloc[1])


def test_files_may_be_gzipped_and_unknown_buildings_stamp_in_utc(make_folder, tmp_path):
    folder = make_folder("")
    plain = tmp_path / "Sensors" / "new_consumptions.csv"
    plain.unlink()
    with gzip.open(f"{plain}.gz", "wt") as file:
        file.write("building_id,meter,timestamp,meter_reading\n99,0,2016-07-01 00:00:00,1\n")
    assert list(replay(folder)["timestamp"]) == [utc(2016, 7, 1)]


@pytest.mark.parametrize(
    ("readings", "complaint"),
    [
        ("building_id,timestamp\n1,2016-07-01 00:00:00\n", "line 1: column meter_reading is missing"),
        ("", "line 1: column building_id is missing"),
        ("building_id,timestamp,meter_reading\n12,2016-07-01 00:00:00,1\n12,2016-07-01 01:00:00,abc\n",
         "line 3, column meter_reading: 'abc' is not a number"),
        ("building_id,timestamp,meter_reading\nx,2016-07-01 00:00:00,1\n",
         "line 2, column building_id: 'x' is not a whole number"),
        ("building_id,timestamp,meter_reading\n12,7/1/2016,1\n", "line 2, column timestamp: '7/1/2016' is not a time"),
        ("building_id,timestamp,meter_reading\n12,,1\n", "line 2, column timestamp"),
        ("building_id,timestamp,meter_reading,known_at\n12,2016-07-01 00:00:00,1,soon\n",
         "line 2, column known_at: 'soon' is not a time"),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_named(make_folder, readings, complaint):
    with pytest.raises(DataFolderError, match=complaint):
        replay(make_folder(readings))


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"sites": "site_id,time_zone,latitude,longitude,country\n0,Mars/Base,1,1,US\n"},
         "sites.csv, line 2, column time_zone: 'Mars/Base' is not an IANA time zone"),
        ({"sites": SITES, "building_metadata": "site_id,building_id\n7,1\n"}, "building 1 stands on site 7"),
        ({"meters": "building_id,meter,unit\n10,0,BTU/h\n"}, "meters.csv, line 2, column unit: 'BTU/h' is not one of"),
    ],
)  # fmt: skip
def test_wrong_metadata_is_named(make_folder, files, complaint):
    with pytest.raises(DataFolderError, match=complaint):
        replay(make_folder("building_id,timestamp,meter_reading\n10,2016-07-01 00:00:00,1\n", **files))


def test_weather_is_hourly_and_sentinels_are_missing(make_folder):
    folder = make_folder("", weather=(
        "site_id,timestamp,air_temperature,dew_temperature\n"
        "1,2016-07-01 00:53:00,-9999,10\n1,2016-07-01 01:07:00,15.5,11\n1,2016-07-01 02:00:00,,\n"
    ))  # fmt: skip
    weather = folder.weather()
    assert list(weather["timestamp"]) == [utc(2016, 7, 1, 1), utc(2016, 7, 1, 2)]
    assert weather["air_temperature_c"].iloc[0] == 15.5
    assert weather["dew_temperature_c"].iloc[0] == 10
    assert weather["air_temperature_c"].isna().iloc[1]


@pytest.mark.parametrize(
    ("weather", "complaint"),
    [
        (b"", "weather.csv is not CSV in UTF-8"),
        (b"site_id,timestamp,air_temperature\n1,2016-07-01 00:00:00,\xff\n", "weather.csv is not CSV in UTF-8"),
        (b"site_id,timestamp,air_temperature\n1,2016-07-01 00:00:00,1,2\n1,2016-07-01,1,2,3\n", "is not CSV in UTF-8"),
        (b"site_id,timestamp\n1,2016-07-01 00:00:00\n", "line 1: column air_temperature is missing"),
        (b"site_id,timestamp,air_temperature\n1.5,2016-07-01 00:00:00,1\n", "site_id: '1.5' is no site id"),
        (b"site_id,timestamp,air_temperature\n1,2160-07-01 00:00:00,1\n", "timestamp: '2160-.*' is not a time between"),
    ],
)  # fmt: skip
def test_wrong_weather_is_named(make_folder, tmp_path, weather, complaint):
    folder = make_folder("")
    (tmp_path / "weather.csv").write_bytes(weather)
    with pytest.raises(DataFolderError, match=complaint):
        folder.weather()


def test_a_number_with_too_many_digits_is_missing_weather(make_folder):
    folder = make_folder("", weather=f"site_id,timestamp,air_temperature\n1,2016-07-01 00:00:00,{'9' * 400}\n")
    assert folder.weather()["air_temperature_c"].isna().all()


def test_weather_at_half_past_keeps_every_hour(make_folder):
    lines = "".join(f"1,2016-07-01 {hour:02}:30:00,{hour}\n" for hour in range(6))
    weather = make_folder("", weather="site_id,timestamp,air_temperature\n" + lines).weather()
    assert list(weather["timestamp"]) == [utc(2016, 7, 1, hour) for hour in range(1, 7)]
    assert list(weather["air_temperature_c"]) == [0, 1, 2, 3, 4, 5]


def test_a_text_where_weather_has_a_number_is_missing_and_told(make_folder):
    told = []
    lines = "1,2016-07-01 00:00:00,5,VRB\n1,2016-07-01 01:00:00,M,90\n1,2016-07-01 02:00:00,M,90\n"
    folder = make_folder("", told.append, weather="site_id,timestamp,air_temperature,wind_direction\n" + lines)
    weather = folder.weather()
    assert weather["air_temperature_c"].isna().tolist() == [False, True, True]
    assert weather["wind_direction_deg"].isna().tolist() == [True, False, False]
    assert [text.partition("weather.csv, ")[2] for text in told] == [
        "line 3, column air_temperature: 'M' is not a number: left out, as 2 in all",
        "line 2, column wind_direction: 'VRB' is not a number: left out, as 1 in all",
    ]


@pytest.mark.parametrize(
    "content", [b"", b"site_id,timestamp,air_temperature\n1,2016-07-01,1,2\n", b"\xff\xfe\x00,\x00", b"\x1f\x8bno"]
)
@pytest.mark.parametrize("name", ["weather.csv", "weather.csv.gz"])
def test_weather_that_cannot_be_read_is_named(make_folder, tmp_path, name, content):
    folder = make_folder("")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataFolderError, match=r"weather\.csv"):
        folder.weather()


def test_a_folder_that_is_none_is_an_error(tmp_path):
    with pytest.raises(DataFolderError, match="is not a folder"):
        DataFolder(tmp_path / "nowhere", Interval())
