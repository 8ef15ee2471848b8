"""Intervals that were too narrow cover 80 % after calibration, on hours that it has not seen."""

import numpy as np
import pytest

from Predictor.forecasting.calibration import LEAD_GROUPS, Calibration, calibrate, lead_group_of, widen


def trial(seed, spread):
    """Truths of 40 meters around a median of 100, and an interval of plus and minus one."""
    truth = 100 + np.random.default_rng(seed).normal(0, 1, (40, 48)) * spread
    middle = np.full(truth.shape, 100.0)
    return truth, np.stack([middle - 1, middle, middle + 1])


@pytest.mark.parametrize("spread", [0.5, 1.0, 4.0])
def test_calibrated_intervals_cover_80_percent_in_every_lead_group(spread):
    group = lead_group_of(48, 1)
    by_lead = spread * (1 + group)
    truth, quantiles = trial(0, by_lead)
    calibration = calibrate(truth.ravel(), *(q.ravel() for q in quantiles), np.tile(group, 40))
    fresh, quantiles = trial(1, by_lead)
    low, _, high = widen(quantiles.astype(np.float32), calibration, group)
    for index in range(len(LEAD_GROUPS)):
        inside = ((fresh >= low) & (fresh <= high))[:, group == index]
        assert inside.mean() == pytest.approx(0.8, abs=0.07)


def test_either_side_is_widened_by_what_it_missed():
    random = np.random.default_rng(2)
    truth = np.where(random.random(5000) < 0.5, -random.exponential(1, 5000), random.exponential(4, 5000))
    group = np.zeros(5000, dtype=np.int64)
    calibration = calibrate(truth, np.full(5000, -1.0), np.zeros(5000), np.ones(5000), group)
    assert calibration.high[0] == pytest.approx(4 * calibration.low[0], rel=0.15)


def test_too_few_cases_change_nothing():
    nothing = np.zeros(0)
    assert calibrate(nothing, nothing, nothing, nothing, nothing.astype(np.int64)) == Calibration()


def test_quarter_hours_belong_to_the_group_of_their_hour():
    group = lead_group_of(192, 4)
    assert np.flatnonzero(np.diff(group)).tolist() == [11, 47, 95]
    assert group[0] == 0
    assert group[-1] == len(LEAD_GROUPS) - 1
