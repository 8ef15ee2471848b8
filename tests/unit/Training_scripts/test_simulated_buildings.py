"""Simulated weather, buildings, loads and anomalies behave as those that they stand for."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from Sensor_core.building import KWH_PER_UNIT
from Sensor_core.interval import Interval
from Sensor_core.weather import QUANTITIES
from Training_scripts.simulation.anomalies import KINDS, add_anomalies
from Training_scripts.simulation.buildings import USES, draw_building
from Training_scripts.simulation.load import occupancy_of, simulate_energy_kwh
from Training_scripts.simulation.local_time import SUNDAY, local_time
from Training_scripts.simulation.places import PLACES, place_of
from Training_scripts.simulation.plan import Plan, Stream
from Training_scripts.simulation.weather import simulate_weather

NEW_YORK, LONDON, SYDNEY = 0, 1, 3
YEAR = Plan(
    seed=7,
    sites=4,
    buildings=12,
    start=datetime(2016, 1, 1, tzinfo=UTC),
    split=datetime(2016, 9, 1, tzinfo=UTC),
    end=datetime(2017, 1, 1, tzinfo=UTC),
    interval=Interval(),
)


# --- weather ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=range(len(PLACES)), ids=lambda site_id: PLACES[site_id].time_zone)
def place_and_weather(request):
    place = place_of(request.param)
    return place, simulate_weather(place, YEAR.hours_s, YEAR.random(Stream.WEATHER, request.param))


def test_weather_is_within_what_the_pipeline_believes(place_and_weather):
    _, weather = place_and_weather
    for column, quantity in enumerate(QUANTITIES):
        assert weather.true[:, column].min() >= quantity.lowest
        assert weather.true[:, column].max() <= quantity.highest


def test_the_dew_point_is_never_above_the_air_temperature(place_and_weather):
    _, weather = place_and_weather
    assert (weather.true[:, 1] <= weather.true[:, 0]).all()


def test_summers_are_warm_on_both_hemispheres_and_afternoons_everywhere(place_and_weather):
    place, weather = place_and_weather
    month = (YEAR.hours_s.astype("datetime64[s]").astype("datetime64[M]").astype(int)) % 12
    july, january = (weather.air_temperature_c[month == number].mean() for number in (6, 0))
    if abs(place.latitude) > 20:
        assert (july > january + 5) if place.latitude > 0 else (january > july + 5)
    solar_hour = (YEAR.hours_s / 3600 + place.longitude / 15) % 24
    afternoon = weather.air_temperature_c[(solar_hour > 14) & (solar_hour < 16)].mean()
    assert afternoon > weather.air_temperature_c[(solar_hour > 2) & (solar_hour < 4)].mean() + 3


def test_stations_have_gaps_but_mostly_measure_temperature(place_and_weather):
    _, weather = place_and_weather
    blank = np.isnan(weather.measured)
    assert 0 < blank[:, 0].mean() < 0.02
    assert blank.all(axis=1).any()
    np.testing.assert_array_equal(weather.measured[~blank], weather.true[~blank])


# --- buildings and loads ---------------------------------------------------------------------------------


def a_building(primary_use: str, *, code: int = 0):
    """The first building of this use that has a meter of this code."""
    drawn = (draw_building(number, LONDON, YEAR.random(Stream.BUILDING, number)) for number in range(10_000))
    return next(one for one in drawn if one.use.primary_use == primary_use and code in one.meters)


def quiet_energy(traits, code, air_temperature_c, site_id=LONDON):
    clock = local_time(place_of(site_id).site(site_id), YEAR.times_s)
    quiet = replace(traits, noise=(0.0, 0.0, 0.0))
    random = np.random.default_rng(1)
    return quiet_kwh(quiet, code, clock, np.broadcast_to(air_temperature_c, YEAR.times_s.shape), random), clock


def quiet_kwh(traits, code, clock, air_temperature_c, random):
    return simulate_energy_kwh(traits, code, clock, air_temperature_c, interval=Interval(), random=random)


def test_offices_follow_the_local_clock_on_both_sides_of_a_clock_change():
    energy_kwh, clock = quiet_energy(a_building("Office"), 0, 15.0, NEW_YORK)
    weekdays = clock.weekday < 5
    by_hour = {}
    for name, days in (("winter", clock.day < 60), ("summer", (clock.day > 120) & (clock.day < 170))):
        by_hour[name] = [energy_kwh[weekdays & days & (clock.hour == hour)].mean() for hour in range(24)]
    np.testing.assert_allclose(by_hour["winter"], by_hour["summer"], rtol=0.05)
    assert 8 <= int(np.argmax(by_hour["winter"])) <= 18


def test_public_holidays_count_as_sundays():
    clock = local_time(place_of(NEW_YORK).site(NEW_YORK), YEAR.times_s)
    thanksgiving = YEAR.times_s == int(datetime(2016, 11, 24, 17, tzinfo=UTC).timestamp())
    assert clock.weekday[thanksgiving] == [SUNDAY]
    london = local_time(place_of(LONDON).site(LONDON), YEAR.times_s)
    assert london.weekday[thanksgiving] == [3]


def test_schools_are_emptier_in_their_breaks_which_differ_by_hemisphere():
    school = replace(a_building("Education"), in_break=0.4)
    for site_id, away, at_school in ((LONDON, 8, 10), (SYDNEY, 1, 3)):
        clock = local_time(place_of(site_id).site(site_id), YEAR.times_s)
        month = YEAR.times_s.astype("datetime64[s]").astype("datetime64[M]").astype(int) % 12 + 1
        noon = (clock.weekday < 5) & (clock.hour == 12)
        attendance = [occupancy_of(school, clock)[noon & (month == number)].mean() for number in (away, at_school)]
        assert attendance[0] < 0.7 * attendance[1]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.primary_use)
def test_people_come_when_their_use_opens(use):
    clock = local_time(place_of(LONDON).site(LONDON), YEAR.times_s)
    workdays = (clock.weekday < 5) & ~clock.school_break
    attendance = occupancy_of(a_building(use.primary_use), clock)
    midday, night = (attendance[workdays & (clock.hour == hour)].mean() for hour in (14, 3))
    assert midday > 0.8
    assert night < 0.25


def test_cooling_and_heating_follow_the_weather():
    cooled, heated = a_building("Office", code=1), a_building("Office", code=3)
    for traits, code, sign in ((cooled, 1, 1), (heated, 3, -1)):
        mild, extreme = (quiet_energy(traits, code, 15.0 + sign * away)[0].mean() for away in (0, 15))
        assert extreme > 2 * mild


def test_walls_delay_what_the_weather_does():
    traits = replace(a_building("Office", code=1), lag_h=24.0)
    outdoor_c = np.where(np.arange(len(YEAR.times_s)) < 4000, 0.0, 30.0)
    energy_kwh, _ = quiet_energy(traits, 1, outdoor_c)
    assert energy_kwh[3900] == pytest.approx(0, abs=0.01)
    assert energy_kwh[4000 + 3] < 0.5 * energy_kwh[4000 + 7 * 24 + 3]


def test_buildings_differ_in_noise_size_and_meters():
    drawn = [draw_building(number, 0, YEAR.random(Stream.BUILDING, number)) for number in range(800)]
    for values in ([one.noise[0] for one in drawn], [one.mean_kw for one in drawn]):
        assert np.quantile(values, 0.9) > 5 * np.quantile(values, 0.1)
    for code in (1, 3):
        assert 0.2 < np.mean([code in one.meters for one in drawn]) < 0.3
    assert {one.use.primary_use for one in drawn} == {use.primary_use for use in USES}


# --- anomalies -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoilt():
    """Two hundred meter years before and after: (before, after, labels)."""
    cases = []
    for number in range(200):
        random = np.random.default_rng(number)
        before = 50 + 10 * random.uniform(size=len(YEAR.times_s))
        after = before.copy()
        cases.append((before, after, add_anomalies(after, YEAR, random)))
    return cases


def test_labels_name_exactly_what_was_spoilt(spoilt):
    for before, after, labels in spoilt:
        inside = np.zeros(len(before), dtype=bool)
        for label in labels:
            assert not inside[label.start : label.end].any()
            inside[label.start : label.end] = True
        np.testing.assert_array_equal(before[~inside], after[~inside])


def test_each_kind_does_what_its_name_says(spoilt):
    seen = Counter()
    for before, after, labels in spoilt:
        for label in labels:
            was, became = before[label.start : label.end], after[label.start : label.end]
            ratio = became / was
            seen[label.kind] += 1
            assert {
                "flatline": lambda now=became, was=was: (now == was[0]).all(),
                "zero run": lambda now=became: (now == 0).all(),
                "spike": lambda ratio=ratio: ratio.min() > 3,
                "level shift": lambda ratio=ratio: np.ptp(ratio) < 1e-9 and abs(np.log(ratio[0])) > 0.3,
                "unit change": lambda ratio=ratio: np.isclose(
                    ratio[0], [1 / KWH_PER_UNIT["kBTU"], KWH_PER_UNIT["kBTU"], 0.001]
                ).any(),
            }[label.kind]()
    assert set(seen) == set(KINDS)
