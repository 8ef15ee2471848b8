"""The replay: updates in UTC order, whole, whatever the order of the file."""

from datetime import UTC, datetime

import numpy as np
import pytest

from Energy_consumption_sensor.replay import Replay
from Sensor_core.errors import DataFolderError
from Sensor_core.interval import Interval
from Setup import csv_text
from Setup.data_folder import DataFolder

SITES = """site_id,time_zone,latitude,longitude,country,stamps
0,America/Los_Angeles,34,-118,US,standard
1,Europe/Berlin,52,13,DE,local
"""
BUILDINGS = "site_id,building_id\n0,10\n1,11\n"
HOURLY = Interval()


@pytest.fixture
def make_replay(tmp_path):
    def make(rows, header="building_id,timestamp,meter_reading"):
        (tmp_path / "Sensors").mkdir()
        (tmp_path / "sites.csv").write_text(SITES)
        (tmp_path / "building_metadata.csv").write_text(BUILDINGS)
        (tmp_path / "Sensors" / "new_consumptions.csv").write_text("\n".join([header, *rows]) + "\n")
        return Replay(DataFolder(tmp_path, HOURLY))

    return make


def local_days(hours):
    """Two sites' readings as a file has them: sorted by local time, nine hours apart in UTC."""
    stamps = [f"2016-06-{1 + hour // 24:02d} {hour % 24:02d}:00:00" for hour in range(hours)]
    return [f"{building},{stamp},{hour}" for hour, stamp in enumerate(stamps) for building in (10, 11)]


def collect(replay, start=None):
    plan = replay.validate()
    return plan, list(replay.updates(plan, plan.first if start is None else start))


@pytest.mark.parametrize("chunk_rows", [1, 7, 1000])
def test_sites_are_merged_in_utc_order_and_every_hour_has_its_update(make_replay, monkeypatch, chunk_rows):
    monkeypatch.setattr(csv_text, "CHUNK_ROWS", chunk_rows)
    plan, updates = collect(make_replay(local_days(60)))
    assert plan.disorder == 10
    assert [update.step for update in updates] == list(range(plan.first, plan.last + 1))
    assert sum(len(update.kwh) for update in updates) == plan.rows == 120
    for update in updates:
        assert (update.timestamp_s == update.step * 3600).all()
        assert (update.known_at_s == (update.step + 1) * 3600).all()
        assert list(update.building_id) == sorted(update.building_id)
    both = [update for update in updates if len(update.kwh) == 2]
    assert {int(later - earlier) for earlier, later in (update.kwh for update in both)} == {10}


def test_resuming_gives_the_same_updates_from_there(make_replay, tmp_path):
    plan, updates = collect(make_replay(local_days(40)))
    resumed = list(Replay(DataFolder(tmp_path, HOURLY)).updates(plan, plan.first + 13))
    assert [u.step for u in resumed] == [u.step for u in updates[13:]]
    for again, before in zip(resumed, updates[13:], strict=True):
        np.testing.assert_array_equal(again.kwh, before.kwh)


def test_a_late_reading_comes_in_the_update_in_which_it_became_known(make_replay):
    replay = make_replay(
        ["10,2016-06-01T00:00:00Z,1,", "10,2016-06-01T00:00:00Z,7,2016-06-01 05:00:00", "10,2016-06-01T06:00:00Z,2,"],
        "building_id,timestamp,meter_reading,known_at",
    )
    plan, updates = collect(replay)
    by_step = {update.step - plan.first: list(update.kwh) for update in updates}
    assert by_step == {0: [1], 1: [], 2: [], 3: [], 4: [7], 5: [], 6: [2]}
    assert updates[4].known_at_s[0] == datetime(2016, 6, 1, 5, tzinfo=UTC).timestamp()


def test_a_file_far_out_of_order_is_an_error_that_says_what_to_do(make_replay):
    rows = ["10,2016-06-20T00:00:00Z,1", "10,2016-06-01T00:00:00Z,1"]
    with pytest.raises(DataFolderError, match="out of order by 456 h; sort it by timestamp"):
        make_replay(rows).validate()


def test_an_empty_file_is_an_error(make_replay):
    with pytest.raises(DataFolderError, match="has no readings"):
        make_replay([]).validate()
