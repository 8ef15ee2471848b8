"""Reading CSV in blocks, and the spool: whatever bytes come, every line is accounted for."""

import math

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Sensor_core.building import Building, Site
from Sensor_core.interval import Interval
from Training_scripts.importing.clock import Clock
from Training_scripts.importing.csv_blocks import read_blocks
from Training_scripts.importing.findings import Findings
from Training_scripts.importing.readings import RECORD, ReadingChecks
from Training_scripts.importing.source import ReadingFile, Source
from Training_scripts.importing.spool import Spool

SITE = Site(site_id=1, time_zone="Europe/London", latitude=51.5, longitude=-0.1, country="GB", stamps="local")
BUILDING = Building(building_id=7, site_id=1)
HEADER = b"building_id,meter,timestamp,meter_reading\n"
KINDS = {"building_id": "whole", "meter": "whole", "timestamp": "text", "meter_reading": "number"}

CELLS = st.sampled_from(
    ["7", "0", "-1", "3", "2016-10-30 01:00:00", "2016-03-27 01:30:00", "", "NaN", "inf", "-inf", "1e400", "1e9", "1_0",
     "9" * 30, "0x1f", '"', "é", " 7 ", "9999-12-31", "2016-13-01 00:00:00", "2016-07-01T00:00:00+05:30", "\x00"]
)  # fmt: skip
LINES = st.lists(st.lists(CELLS, min_size=0, max_size=5).map(",".join), max_size=12).map("\n".join)


def import_all(folder, content):
    file = folder / "train.csv"
    file.write_bytes(HEADER + content)
    source = Source("kaggle", {"1": SITE}, {"7": BUILDING}, (), (ReadingFile(file),), None)
    with Findings(folder) as findings:
        parts = list(ReadingChecks(source, 0, Interval(), findings).records(lambda _: None))
    records = np.concatenate(parts) if parts else np.empty(0, RECORD)
    return records, findings


def check_accounts(records, findings):
    dropped = sum(found.count for found in findings.sorted() if found.action == "dropped")
    assert findings.rows.get("train.csv", {}).get("read", 0) == len(records) + dropped
    assert all(math.isfinite(value) and 0 <= value <= 1e9 for value in records["value"].tolist())
    assert set(records["building_id"].tolist()) <= {7}
    assert set(records["meter"].tolist()) <= {0, 1, 2, 3}
    assert not (records["time_s"] % 3600).any()


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(content=LINES)
def test_every_line_of_wrong_cells_is_kept_or_told(tmp_path, content):
    check_accounts(*import_all(tmp_path, content.encode()))


@FUZZ
@given(content=st.binary(max_size=200))
def test_every_line_of_arbitrary_bytes_is_kept_or_told(tmp_path, content):
    check_accounts(*import_all(tmp_path, content))


def test_lines_are_numbered_as_an_editor_does_whatever_lies_between(tmp_path):
    file = tmp_path / "f.csv"
    file.write_bytes(HEADER + b"7,0,a,1\n\n7,0\n7,0,b,x\r\n7,0,c,3,4\n7,0,d,")
    whole, rest = read_blocks(file, KINDS)
    stamps = whole.columns["timestamp"]
    assert (whole.lines.tolist(), rest.lines.tolist()) == ([2, 5], [7])
    assert [stamps.texts[code] for code in stamps.cells] == ["a", "b"]
    assert [line for line, _ in whole.ragged] == [4, 6]
    assert whole.columns["meter_reading"].bad.rows.tolist() == [1]
    assert rest.columns["meter_reading"].where_empty.tolist() == [True]


def test_of_a_weeks_readings_the_greatest_stays_and_equal_ones_are_repeated(tmp_path):
    rows = [(3600, 7, 0, 0, 2, 5.0), (0, 8, 1, 0, 3, 1.0), (3600, 7, 0, 0, 4, 6.0), (3600, 7, 0, 1, 5, 6.0)]
    spool = Spool(tmp_path)
    spool.append(np.array(rows, dtype=RECORD))
    kept, repeated, contradicted = spool.sorted_week(0)
    assert kept["line"].tolist() == [3, 4]
    assert repeated["line"].tolist() == [5]
    assert contradicted["line"].tolist() == [2]


def test_weeks_are_cut_by_time_before_1970_too(tmp_path):
    week = 7 * 24 * 3600
    times = pd.Series([-1, 0, week - 1, week, -week])
    records = np.zeros(5, dtype=RECORD)
    records["time_s"] = times
    spool = Spool(tmp_path)
    spool.append(records)
    assert spool.rows == {-1: 2, 0: 2, 1: 1}
    assert spool.weeks() == [-1, 0, 1]


def test_hours_of_indias_clock_move_up_to_the_next_hour_of_utc():
    india = Site(site_id=1, time_zone="Asia/Kolkata", latitude=29, longitude=77, country="IN", stamps="standard")
    texts = ["2016-07-01 10:00:00", "2016-07-01 10:17:00", "2016-07-01 05:00:00Z", "2016-07-01 10:00:00+05:30"]
    times = Clock({1: india}, Interval()).to_utc(np.arange(4), texts, np.ones(4, int), np.ones(4, int))
    assert [pd.Timestamp(s, unit="s").strftime("%H:%M") for s in times.seconds] == ["05:00", "04:47", "05:00", "05:00"]
    assert times.moved.tolist() == [True, False, False, True]
