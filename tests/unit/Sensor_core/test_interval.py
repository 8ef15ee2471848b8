"""The metering interval's arithmetic."""

from datetime import UTC, datetime, timedelta

import pytest

from Sensor_core.interval import Interval

NOON = datetime(2016, 9, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [3600, 1800, 900, 60])
def test_a_step_starts_where_the_one_before_ends(seconds):
    interval = Interval(seconds)
    step = interval.step_of(NOON)
    assert interval.start_of(step) == NOON
    assert interval.end_of(step - 1) == NOON
    assert interval.step_of(NOON - timedelta(seconds=1)) == step - 1


def test_the_horizon_is_48_hours_whatever_the_interval():
    for seconds in (3600, 900):
        interval = Interval(seconds)
        assert interval.horizon * interval.seconds == 48 * 3600
        assert interval.steps_per_day * interval.seconds == 24 * 3600


@pytest.mark.parametrize("seconds", [0, -900, 7, 7200])
def test_an_interval_has_to_divide_the_hour(seconds):
    with pytest.raises(ValueError, match="does not divide the hour"):
        Interval(seconds)


def test_times_between_the_steps_are_off_the_grid():
    assert Interval().is_on_grid(NOON)
    assert not Interval().is_on_grid(NOON + timedelta(minutes=15))
    assert Interval(900).is_on_grid(NOON + timedelta(minutes=15))
    assert not Interval().is_on_grid(NOON + timedelta(microseconds=1))
