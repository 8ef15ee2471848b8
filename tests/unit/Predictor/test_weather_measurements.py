"""What the weather topic gets, and what forecasts get, hour by hour."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from Predictor.forecasting.snapshot import WEATHER_HISTORY_H
from Predictor.weather_measurements import WeatherMeasurements
from Predictor.weather_sources.source import NoWeather, SiteWeather
from Sensor_core.building import Site
from Sensor_core.errors import RetriableError
from Sensor_core.interval import Interval
from Sensor_core.weather import QUANTITY_NAMES, WeatherForecast, WeatherObservation, decode

START = datetime(2016, 9, 10, tzinfo=UTC)
NEWEST = int(START.timestamp()) // 3600
QUARTERS = Interval(900)


class Topic:
    """Takes messages as Kafka's publisher does; ``room`` says how many before it fails."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, WeatherObservation | WeatherForecast]] = []
        self.room = 10**9

    def send(self, topic: str, value: bytes | None, *, key: bytes | None, schema: bytes) -> None:
        if len(self.messages) >= self.room:
            raise RetriableError("Kafka: KafkaTimeoutError")
        self.messages.append((topic, key, decode(schema, value)))

    def take(self) -> list[WeatherObservation | WeatherForecast]:
        taken = [record for _, _, record in self.messages]
        self.messages.clear()
        return taken


class Station:
    """A source whose weather a test can change; a value is its hour modulo 40, plus a tenth per quantity."""

    def __init__(self, sites: int) -> None:
        self.sites = sites
        self.corrections: dict[tuple[int, int], float] = {}
        self.gaps: set[tuple[int, int]] = set()
        self.changes: dict[str, object] = {}

    def read(self, hour: int, _known_at: datetime) -> SiteWeather:
        observed = np.empty((self.sites, 72, 7), dtype=np.float32)
        observed[:] = (np.arange(hour - 71, hour + 1) % 40)[None, :, None] + np.arange(7) / 10
        for (site, when), value in self.corrections.items():
            if 0 <= when - hour + 71 < 72:
                observed[site, when - hour + 71, 0] = value
        for site, when in self.gaps:
            if 0 <= when - hour + 71 < 72:
                observed[site, when - hour + 71] = np.nan
        forecast = np.full((self.sites, 48, 7), 5.1, dtype=np.float32)
        return replace(SiteWeather(observed, forecast, "station", "oracle", hour), **self.changes)


def end_of(hour: int) -> datetime:
    return datetime.fromtimestamp((hour + 1) * 3600, tz=UTC)


def start_of(hour: int) -> datetime:
    return end_of(hour - 1)


def sites(count: int) -> list[Site]:
    return [Site(site_id=10 + k, time_zone="UTC", latitude=1, longitude=2, country="DE") for k in range(count)]


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
def station() -> Station:
    return Station(2)


@pytest.fixture
def measurements(station, topic) -> WeatherMeasurements:
    return WeatherMeasurements(station, sites(2), topic, "weather", Interval())


def observations(records) -> list[WeatherObservation]:
    return [record for record in records if isinstance(record, WeatherObservation)]


def forecasts(records) -> list[WeatherForecast]:
    return [record for record in records if isinstance(record, WeatherForecast)]


def test_the_first_hour_publishes_a_day_of_observations_and_each_sites_forecast(measurements, topic):
    measurements.take(NEWEST, end_of(NEWEST))
    assert {name for name, _, _ in topic.messages} == {"weather"}
    assert all(key == str(record.site_id).encode() for _, key, record in topic.messages)
    published = topic.take()
    assert sorted((o.site_id, o.timestamp) for o in observations(published)) == [
        (site, start_of(hour)) for site in (10, 11) for hour in range(NEWEST - 23, NEWEST + 1)
    ]
    assert [(f.site_id, f.issued_at, f.source) for f in forecasts(published)] == [
        (10, START, "oracle"),
        (11, START, "oracle"),
    ]


def test_every_following_hour_publishes_what_is_new_of_it(measurements, topic):
    measurements.take(NEWEST, end_of(NEWEST))
    topic.take()
    for hour in (NEWEST + 1, NEWEST + 2):
        measurements.take(hour, end_of(hour))
        published = topic.take()
        assert [(o.site_id, o.timestamp) for o in observations(published)] == [
            (10, start_of(hour)),
            (11, start_of(hour)),
        ]
        assert [f.issued_at for f in forecasts(published)] == [start_of(hour)] * 2


def test_hours_that_were_skipped_are_published_as_well(measurements, topic):
    measurements.take(NEWEST, end_of(NEWEST))
    topic.take()
    measurements.take(NEWEST + 5, end_of(NEWEST + 5))
    assert len(observations(topic.take())) == 2 * 5
    measurements.take(NEWEST + 500, end_of(NEWEST + 500))
    assert len(observations(topic.take())) == 2 * 24


def test_an_observation_carries_its_values_and_when_it_became_known(measurements, topic):
    measurements.take(NEWEST, end_of(NEWEST))
    observation = observations(topic.take())[23]
    expected = {name: NEWEST % 40 + k / 10 for k, name in enumerate(QUANTITY_NAMES)}
    assert {name: getattr(observation, name) for name in QUANTITY_NAMES} == pytest.approx(expected)
    assert (observation.timestamp, observation.known_at, observation.source) == (START, end_of(NEWEST), "station")


def test_live_observations_became_known_when_they_were_fetched(measurements, station, topic):
    fetched_at = end_of(NEWEST) + timedelta(minutes=5)
    station.changes = {"known_at": fetched_at}
    measurements.take(NEWEST, fetched_at)
    assert {o.known_at for o in observations(topic.take())} == {fetched_at}


def test_a_changed_observation_is_published_again_and_an_unchanged_one_is_not(measurements, station, topic):
    measurements.take(NEWEST, end_of(NEWEST))
    topic.take()
    station.corrections = {(1, NEWEST - 3): -7.25, (1, NEWEST - 40): -9.0}
    for hour, expected in ((NEWEST + 1, 3), (NEWEST + 2, 2)):
        measurements.take(hour, end_of(hour))
        published = observations(topic.take())
        assert len(published) == expected
        corrected = [(o.site_id, o.timestamp, o.air_temperature_c) for o in published if o.timestamp < start_of(hour)]
        assert corrected == ([(11, start_of(NEWEST - 3), -7.25)] if hour == NEWEST + 1 else [])


def test_nothing_is_published_of_an_hour_without_a_measurement_until_it_comes(measurements, station, topic):
    station.gaps = {(0, NEWEST)}
    measurements.take(NEWEST, end_of(NEWEST))
    assert len(observations(topic.take())) == 47
    station.gaps = set()
    measurements.take(NEWEST + 1, end_of(NEWEST + 1))
    published = [(o.site_id, o.timestamp) for o in observations(topic.take())]
    assert published == [(10, START), (10, start_of(NEWEST + 1)), (11, start_of(NEWEST + 1))]


def test_a_measurement_that_goes_missing_later_takes_nothing_back(measurements, station, topic):
    measurements.take(NEWEST, end_of(NEWEST))
    topic.take()
    station.gaps = {(0, NEWEST)}
    measurements.take(NEWEST + 1, end_of(NEWEST + 1))
    station.gaps = set()
    measurements.take(NEWEST + 2, end_of(NEWEST + 2))
    assert len(observations(topic.take())) == 4


def test_what_is_unknown_is_null_on_the_wire(measurements, station, topic):
    partial = station.read(NEWEST, end_of(NEWEST))
    partial.observed[:, :, 3] = np.nan
    partial.forecast[:, 40:, 0] = np.nan
    station.changes = {"observed": partial.observed, "forecast": partial.forecast}
    measurements.take(NEWEST, end_of(NEWEST))
    published = topic.take()
    assert all(o.precipitation_mm is None and o.air_temperature_c is not None for o in observations(published))
    for forecast in forecasts(published):
        assert forecast.air_temperature_c == [5.1] * 40 + [None] * 8
        assert forecast.wind_speed_m_s == [5.1] * 48


def test_a_forecast_of_an_earlier_hour_is_not_issued_again(measurements, station, topic):
    station.changes = {"issued_hour": NEWEST - 2}
    weather = measurements.take(NEWEST, end_of(NEWEST))
    assert forecasts(topic.take()) == []
    assert not np.isnan(weather.forecast).any()


def test_a_forecast_that_came_late_counts_for_the_hour_that_waited_for_it(measurements, station, topic):
    """With a grace period longer than an hour the provider already knows of a newer one."""
    station.changes = {"issued_hour": NEWEST + 1}
    measurements.take(NEWEST, end_of(NEWEST))
    assert [f.issued_at for f in forecasts(topic.take())] == [START] * 2


def test_a_source_that_knows_nothing_publishes_nothing(topic):
    weather = WeatherMeasurements(NoWeather(2), sites(2), topic, "weather", Interval()).take(NEWEST, end_of(NEWEST))
    assert topic.messages == []
    assert weather.observed.shape == (2, WEATHER_HISTORY_H, 7)


def test_forecasts_get_the_72_hours_of_the_source(measurements, station):
    weather = measurements.take(NEWEST, end_of(NEWEST))
    np.testing.assert_array_equal(weather.observed, station.read(NEWEST, end_of(NEWEST)).observed)


def test_quarter_hours_publish_once_an_hour_when_it_is_over(station, topic):
    measurements = WeatherMeasurements(station, sites(2), topic, "weather", QUARTERS)
    for quarter in range(4):
        step = NEWEST * 4 + quarter
        measurements.take(step, QUARTERS.end_of(step))
        assert bool(topic.messages) == (quarter == 3)
    published = topic.take()
    assert {f.issued_at for f in forecasts(published)} == {START}
    assert max(o.timestamp for o in observations(published)) == START


@pytest.mark.parametrize("room", [0, 5])
def test_an_hour_that_was_not_taken_in_full_is_published_in_full_the_next_time(measurements, topic, room):
    topic.room = room
    with pytest.raises(RetriableError):
        measurements.take(NEWEST, end_of(NEWEST))
    topic.room = 10**9
    topic.take()
    measurements.take(NEWEST, end_of(NEWEST))
    first = topic.take()
    assert len(observations(first)) == 48
    measurements.take(NEWEST, end_of(NEWEST))
    assert topic.take() == first


@pytest.mark.parametrize(("count", "budget_ms"), [(4, 2), (16, 15)])
def test_an_hour_of_a_replay_costs_milliseconds(count, budget_ms):
    class Sink:
        def send(self, topic: str, value: bytes | None, *, key: bytes | None, schema: bytes) -> None:
            pass

    station = Station(count)
    measurements = WeatherMeasurements(station, sites(count), Sink(), "weather", Interval())
    took_ms = []
    for hour in range(NEWEST, NEWEST + 100):
        started = time.perf_counter()
        measurements.take(hour, end_of(hour))
        took_ms.append(1000 * (time.perf_counter() - started))
    assert min(took_ms) < budget_ms
