"""The replay source: observations when they became known, and the forecast that was possible then."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from Predictor.forecasting.snapshot import WEATHER_HISTORY_H, Sites
from Predictor.forecasting.weather_outlook import outlook
from Predictor.weather_sources.open_meteo import OpenMeteoWeather
from Predictor.weather_sources.replay import ReplayWeather
from Predictor.weather_sources.selection import weather_source
from Predictor.weather_sources.source import NoWeather
from Sensor_core.building import Site
from Sensor_core.errors import DataFolderError
from Sensor_core.interval import Interval
from Sensor_core.weather import QUANTITY_NAMES
from Setup.data_folder import DataFolder
from Setup.settings import Settings
from Training_scripts.dataset import weather_array

START = datetime(2016, 9, 1, tzinfo=UTC)
FIRST = int(START.timestamp()) // 3600
REAL_FOLDERS = [Path(__file__).resolve().parents[4] / "shared" / "data" / n for n in ("ashrae25", "bdg1-dev")]


def end_of(hour: int) -> datetime:
    return datetime.fromtimestamp((hour + 1) * 3600, tz=UTC)


def table(site_ids: list[int], hours: int) -> pd.DataFrame:
    """Weather in which every value is another one."""
    rows = [(site, START + timedelta(hours=hour)) for site in site_ids for hour in range(hours)]
    weather = pd.DataFrame(rows, columns=["site_id", "timestamp"])
    weather["timestamp"] = weather["timestamp"].astype("datetime64[ns, UTC]")
    for column, name in enumerate(QUANTITY_NAMES):
        weather[name] = np.arange(len(rows)) * 10.0 + column
    return weather


def value(site: int, hours: int, hour: int) -> float:
    """Air temperature in ``table`` of the site in this place."""
    return (site * hours + hour - FIRST) * 10.0


def site(site_id: int) -> Site:
    return Site(site_id=site_id, time_zone="UTC", latitude=1, longitude=2, country="DE")


def test_the_last_hours_end_with_the_hour_asked_for():
    last = FIRST + WEATHER_HISTORY_H + 28
    weather = ReplayWeather([3, 5], table([3, 5], 1000)).read(last, end_of(last))
    assert weather.observed.shape == (2, WEATHER_HISTORY_H, 7)
    assert weather.observed.dtype == np.float32
    for row in (0, 1):
        assert weather.observed[row, -1].tolist() == [value(row, 1000, last) + k for k in range(7)]
        assert weather.observed[row, 0, 0] == value(row, 1000, FIRST + 29)
    assert (weather.observed_by, weather.forecast_by) == ("replay", "replay:damped persistence")
    assert weather.issued_hour == last
    assert weather.known_at is None


def test_rows_follow_the_order_of_the_sites_that_are_asked_for():
    weather = ReplayWeather([5, 9, 3], table([3, 5, 8], 80)).read(FIRST + 79, end_of(FIRST + 79))
    assert weather.observed[0, -1, 0] == value(1, 80, FIRST + 79)
    assert np.isnan(weather.observed[1]).all()
    assert np.isnan(weather.forecast[1]).all()
    assert weather.observed[2, -1, 0] == value(0, 80, FIRST + 79)


def test_hours_before_and_after_the_file_are_unknown():
    source = ReplayWeather([3], table([3], 10))
    early = source.read(FIRST + 4, end_of(FIRST + 4)).observed
    assert np.isnan(early[0, :-5]).all()
    assert not np.isnan(early[0, -5:]).any()
    late = source.read(FIRST + 12, end_of(FIRST + 12)).observed
    assert np.isnan(late[0, -3:]).all()
    assert late[0, -4, 0] == value(0, 10, FIRST + 9)
    for far in (FIRST - 1, FIRST + 500):
        assert np.isnan(source.read(far, end_of(far)).observed).all()


def test_the_forecast_is_the_one_that_training_makes_of_the_same_hours():
    weather = ReplayWeather([3], table([3], 100)).read(FIRST + 90, end_of(FIRST + 90))
    np.testing.assert_array_equal(weather.forecast, outlook(weather.observed))


@pytest.mark.parametrize("minutes", [15, 30, 45])
def test_an_hour_that_is_not_over_is_unknown(minutes):
    """At 900 s the newest step lies in an hour whose observation comes at its end."""
    weather = ReplayWeather([3], table([3], 100))
    during = weather.read(FIRST + 90, end_of(FIRST + 89) + timedelta(minutes=minutes))
    assert np.isnan(during.observed[0, -1]).all()
    assert during.observed[0, -2, 0] == value(0, 100, FIRST + 89)
    np.testing.assert_array_equal(during.forecast, outlook(during.observed))
    assert weather.read(FIRST + 90, end_of(FIRST + 90)).observed[0, -1, 0] == value(0, 100, FIRST + 90)


def test_whatever_becomes_known_later_changes_no_bit():
    honest, poisoned = table([3, 5], 200), table([3, 5], 200)
    later = poisoned["timestamp"] > START + timedelta(hours=100)
    poisoned.loc[later, list(QUANTITY_NAMES)] = 1e6
    for known_at in (end_of(FIRST + 100), end_of(FIRST + 100) + timedelta(minutes=59)):
        a, b = (ReplayWeather([3, 5], t).read(FIRST + 100, known_at) for t in (honest, poisoned))
        assert a.observed.tobytes() == b.observed.tobytes()
        assert a.forecast.tobytes() == b.forecast.tobytes()


def test_a_folder_without_weather_is_unknown_throughout(tmp_path):
    source = ReplayWeather([3], DataFolder(tmp_path, Interval()).weather())
    assert np.isnan(source.read(FIRST, end_of(FIRST)).observed).all()


def settings(**values) -> Settings:
    return Settings(_env_file=None, **values)


def test_the_setting_chooses_the_source(tmp_path):
    (tmp_path / "weather.csv").write_text("site_id,timestamp,air_temperature\n3,2016-09-01 00:00:00,21.5\n")
    replay = weather_source(settings(weather_source="replay", data_dir=tmp_path), [site(3)])
    assert replay.read(FIRST, end_of(FIRST)).observed[0, -1, 0] == 21.5
    assert isinstance(weather_source(settings(weather_source="open-meteo"), [site(3)]), OpenMeteoWeather)
    none = weather_source(settings(weather_source="none"), [site(3), site(4)])
    assert isinstance(none, NoWeather)
    weather = none.read(FIRST, end_of(FIRST))
    assert weather.observed.shape == (2, WEATHER_HISTORY_H, 7)
    assert weather.forecast.shape == (2, 48, 7)
    assert np.isnan(weather.observed).all()
    assert np.isnan(weather.forecast).all()


def test_a_missing_data_folder_is_one_clear_line(tmp_path):
    with pytest.raises(DataFolderError, match="is not a folder; DATA_DIR"):
        weather_source(settings(weather_source="replay", data_dir=tmp_path / "absent"), [site(3)])


@pytest.mark.real_data
@pytest.mark.parametrize("folder", REAL_FOLDERS, ids=lambda path: path.name)
def test_real_weather_is_the_weather_that_training_sees(folder):
    if not folder.is_dir():
        pytest.skip(f"the real data folder {folder.name} is absent")
    data = DataFolder(folder, Interval())
    table = data.weather()
    sites = list(data.sites.values())
    source = ReplayWeather([s.site_id for s in sites], table)
    first = int(table["timestamp"].min().timestamp()) // 3600
    hours = int(table["timestamp"].max().timestamp()) // 3600 + 1 - first
    expected = weather_array(table, Sites.of(sites), first, hours)
    assert np.isfinite(expected).any()
    for hour in range(WEATHER_HISTORY_H - 1, hours, 97):
        observed = source.read(first + hour, end_of(first + hour)).observed
        np.testing.assert_array_equal(observed, expected[:, hour + 1 - WEATHER_HISTORY_H : hour + 1])
