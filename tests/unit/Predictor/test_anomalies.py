"""What is flagged, once, and with which score."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from Predictor.forecasting.anomalies import Expected, find_anomalies
from Predictor.forecasting.testing import make_snapshot
from Sensor_core.interval import Interval

NOW = datetime(2016, 10, 9, 1, 2, tzinfo=UTC)


def expected_of(snapshot, width=0.2):
    middle = snapshot.readings_kwh[:, -1].astype(np.float32)
    return Expected(middle * (1 - width / 2), middle, middle * (1 + width / 2))


def with_reading(snapshot, meter, columns, kwh):
    readings = snapshot.readings_kwh.copy()
    readings[meter, columns] = kwh
    return replace(snapshot, readings_kwh=readings)


def test_readings_near_their_forecast_are_no_anomalies():
    snapshot = make_snapshot()
    assert find_anomalies(snapshot, expected_of(snapshot), NOW) == []


@pytest.mark.parametrize("factor", [0.3, 1.7])
def test_a_reading_far_from_its_forecast_on_either_side_is_one(factor):
    snapshot = make_snapshot()
    expected = expected_of(snapshot)
    usual = snapshot.readings_kwh[5, -1]
    (anomaly,) = find_anomalies(with_reading(snapshot, 5, -1, usual * factor), expected, NOW)
    assert (anomaly.building_id, anomaly.meter, anomaly.kind) == (5, 0, "outside_interval")
    assert anomaly.timestamp == snapshot.interval.start_of(snapshot.origin)
    assert anomaly.detected_at == NOW
    assert anomaly.expected == pytest.approx(usual)
    assert anomaly.score == pytest.approx(0.7 / 0.2, rel=1e-4)


def test_a_forecast_without_width_does_not_flag_every_small_change():
    snapshot = make_snapshot()
    expected = expected_of(snapshot, width=0.0)
    assert find_anomalies(with_reading(snapshot, 0, -1, snapshot.readings_kwh[0, -1] * 1.09), expected, NOW) == []


def test_a_missing_reading_is_no_anomaly():
    snapshot = make_snapshot()
    assert find_anomalies(with_reading(snapshot, 0, -1, np.nan), expected_of(snapshot), NOW) == []


def test_a_meter_that_was_off_and_starts_has_a_finite_score():
    snapshot = make_snapshot()
    zero = np.zeros(8, dtype=np.float32)
    found = find_anomalies(snapshot, Expected(zero, zero, zero), NOW)
    assert len(found) == 8
    assert all(np.isfinite(anomaly.score) for anomaly in found)


@pytest.mark.parametrize("interval", [Interval(), Interval(900)], ids=["hourly", "quarter-hourly"])
def test_a_flat_line_is_reported_once_when_it_is_24_hours_long(interval):
    snapshot, day = make_snapshot(interval=interval), interval.steps_per_day
    kinds = []
    for length in (day - 1, day, day + 1):
        flat = with_reading(snapshot, 2, slice(-length, None), 6.0)
        kinds.append([(found.kind, found.building_id, found.score) for found in find_anomalies(flat, None, NOW)])
    assert kinds == [[], [("flat_line", 2, 24.0)], []]


def test_a_flat_line_of_zeros_or_one_that_is_usual_for_the_meter_is_not_reported():
    snapshot = with_reading(make_snapshot(), 1, slice(-24, None), 0.0)
    usual = with_reading(snapshot, 2, slice(-300, -250), 6.0)
    assert find_anomalies(with_reading(usual, 2, slice(-24, None), 6.0), None, NOW) == []
