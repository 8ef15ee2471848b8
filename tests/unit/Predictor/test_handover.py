"""The newest reading hands over to the model by how far a meter usually moves at that time of day."""

from dataclasses import replace

import numpy as np
import pytest

from Predictor.forecasting.features import build_features
from Predictor.forecasting.handover import LAST_LEAD_H, shift_of
from Predictor.forecasting.testing import ORIGIN, make_snapshot
from Sensor_core.interval import Interval

NIGHT_KWH, DAY_KWH = 10.0, 50.0
INTERVALS = [Interval(), Interval(900)]


def still_at_night(interval, origin_hour, level=NIGHT_KWH):
    """Meters on for ten hours of each day from 06:00 UTC, with some noise; at ``level`` in the origin's step."""
    origin = (ORIGIN + origin_hour) * interval.steps_per_hour
    snapshot = make_snapshot(meters=2, origin=origin, interval=interval)
    readings = snapshot.readings_kwh
    hour = (origin - np.arange(readings.shape[1])[::-1]) // interval.steps_per_hour % 24
    is_on = (hour >= 6) & (hour < 16)
    noise = np.random.default_rng(0).normal(1, 0.05, readings.shape)
    course = np.where(is_on, DAY_KWH * noise, NIGHT_KWH + np.zeros_like(readings))
    course[:, -1] = level
    return build_features(replace(snapshot, readings_kwh=course))


@pytest.mark.parametrize("interval", INTERVALS)
def test_where_a_meter_never_moves_its_reading_stays(interval):
    features = still_at_night(interval, origin_hour=1, level=NIGHT_KWH + 1)
    median = np.full(features.anchor_kwh.shape, NIGHT_KWH)
    moved = median[:, : LAST_LEAD_H * interval.steps_per_hour] + shift_of(
        median, features.reading_kwh, features.moves_kwh
    )
    np.testing.assert_allclose(moved, NIGHT_KWH + 1, atol=0.1)


@pytest.mark.parametrize("interval", INTERVALS)
def test_where_it_moves_every_day_the_model_stands(interval):
    features = still_at_night(interval, origin_hour=5)
    median = np.full(features.anchor_kwh.shape, DAY_KWH)
    shift = shift_of(median, features.reading_kwh, features.moves_kwh)
    assert shift.shape == (2, LAST_LEAD_H * interval.steps_per_hour)
    after_the_rise = shift[:, interval.steps_per_hour :]
    np.testing.assert_allclose(after_the_rise, 0, atol=0.02 * DAY_KWH)


def test_a_model_that_is_sure_of_a_large_change_is_believed_more_than_of_a_small_one():
    features = still_at_night(Interval(), origin_hour=1)
    small, large = (
        shift_of(np.full(features.anchor_kwh.shape, NIGHT_KWH + by), features.reading_kwh, features.moves_kwh) / -by
        for by in (0.5, 40.0)
    )
    assert (small > 0.9).all()
    assert (large < 0.3).all()


@pytest.mark.parametrize("missing", [slice(-1, None), slice(0, -24 * 9)], ids=["the newest reading", "most days"])
def test_where_too_little_is_known_the_model_stands(missing):
    snapshot = make_snapshot(meters=2)
    readings = snapshot.readings_kwh.copy()
    readings[:, missing] = np.nan
    features = build_features(replace(snapshot, readings_kwh=readings))
    median = np.full(features.anchor_kwh.shape, 1.0)
    assert (shift_of(median, features.reading_kwh, features.moves_kwh) == 0).all()
