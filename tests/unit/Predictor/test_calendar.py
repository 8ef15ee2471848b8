"""Local steps over clock changes, weekends and holidays by country."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from Predictor.forecasting.calendar import FIRST_REST_DAY, SECOND_REST_DAY, WORKDAY, local_days, local_steps

SPRING, AUTUMN = datetime(2015, 3, 29, tzinfo=UTC), datetime(2015, 10, 25, tzinfo=UTC)


def hours_from(start, count, zone="Europe/London"):
    first = int(start.timestamp()) // 3600
    return local_steps(zone, 3600, first, first + count)


def kinds(country, first, count, zone="UTC"):
    return local_days(country, zone, (first - date(1970, 1, 1)).days, count).kind.tolist()


def test_the_hour_that_spring_leaves_out_has_no_local_step():
    hours = hours_from(SPRING, 4) - hours_from(SPRING, 1)
    assert hours.tolist() == [0, 2, 3, 4]


def test_both_hours_that_autumn_doubles_share_one_local_step():
    hours = hours_from(AUTUMN, 4) - hours_from(AUTUMN, 1)
    assert hours.tolist() == [0, 0, 1, 2]


def test_local_steps_are_the_same_however_they_are_cut():
    whole = local_steps("America/New_York", 900, 1_640_000, 1_660_000)
    parts = [local_steps("America/New_York", 900, start, start + 5_000) for start in range(1_640_000, 1_660_000, 5_000)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_a_zone_off_the_full_hour_counts_whole_hours_of_its_own_clock():
    midnight_utc = datetime(2016, 5, 1, tzinfo=UTC)
    assert hours_from(midnight_utc, 1, "Asia/Kathmandu")[0] % 24 == 5  # 05:45


@pytest.mark.parametrize(
    ("country", "first", "expected"),
    [
        ("US", date(2016, 11, 23), [WORKDAY, SECOND_REST_DAY, SECOND_REST_DAY, FIRST_REST_DAY, SECOND_REST_DAY]),
        ("GB", date(2015, 8, 29), [FIRST_REST_DAY, SECOND_REST_DAY, SECOND_REST_DAY, WORKDAY]),
        ("SA", date(2016, 5, 5), [WORKDAY, FIRST_REST_DAY, SECOND_REST_DAY, WORKDAY]),
        ("ZZ", date(2016, 12, 23), [WORKDAY, FIRST_REST_DAY, SECOND_REST_DAY, WORKDAY]),
        ("US", date(2016, 11, 10), [WORKDAY, WORKDAY, FIRST_REST_DAY]),
        ("GB", date(2014, 12, 23), [WORKDAY, *[SECOND_REST_DAY] * 8]),
        ("SG", date(2016, 12, 26), [SECOND_REST_DAY, WORKDAY, WORKDAY]),
        ("AE", date(2016, 5, 5), [WORKDAY, FIRST_REST_DAY, SECOND_REST_DAY, WORKDAY]),
        ("AE", date(2022, 5, 6), [WORKDAY, FIRST_REST_DAY, SECOND_REST_DAY, WORKDAY]),
        ("JP", date(2016, 8, 11), [SECOND_REST_DAY, WORKDAY, FIRST_REST_DAY]),
        ("CN", date(2019, 10, 11), [WORKDAY, WORKDAY, SECOND_REST_DAY]),
        ("CH", date(2016, 3, 25), [SECOND_REST_DAY, FIRST_REST_DAY, SECOND_REST_DAY, SECOND_REST_DAY, WORKDAY]),
        ("ZA", date(2016, 12, 28), [SECOND_REST_DAY, SECOND_REST_DAY]),
    ],
    ids=[
        "Thanksgiving and the Friday after",
        "England's bank holiday",
        "Friday and Saturday",
        "unknown country",
        "Veterans Day, worked through",
        "Christmas Eve to New Year's Eve",
        "no days between the years",
        "the Emirates' old weekend",
        "and the new one",
        "no day between in Japan",
        "a Saturday worked in China",
        "Easter in Switzerland",
        "between the years in South Africa",
    ],
)
def test_days_of_rest_are_the_countrys(country, first, expected):
    assert kinds(country, first, len(expected)) == expected


def test_holidays_are_found_on_both_sides_of_new_year():
    days = local_days("SG", "Asia/Singapore", (date(2016, 12, 25) - date(1970, 1, 1)).days, 9)
    assert days.holiday.tolist() == [True, True, *[False] * 5, True, True]


def test_holidays_are_those_of_the_time_zones_part_of_the_country():
    western_australia_day = date(2016, 6, 6)
    assert kinds("AU", western_australia_day, 1, "Australia/Perth") == [SECOND_REST_DAY]
    assert kinds("AU", western_australia_day, 1, "Australia/Sydney") == [WORKDAY]
    assert kinds("AU", date(2016, 6, 13), 1, "Australia/Sydney") == [SECOND_REST_DAY]  # the King's birthday
