"""Probabilities are scored by what came, and only where everything that came is known."""

from dataclasses import astuple

import numpy as np
import pytest

from Predictor.forecasting.testing import ORIGIN
from Sensor_core.decision import Decision
from Sensor_core.interval import Interval
from Training_scripts.decision_scores import brier_score, reliability, score_decisions

HOURLY = Interval()
COURSE = np.concatenate([np.full(20, 5.0), [9.0], np.full(27, 4.0)])


def make_decision(**changes):
    issued_at = HOURLY.start_of(ORIGIN)
    fields = {
        "site_id": 3, "meter": 0, "issued_at": issued_at, "made_at": issued_at, "model": "m", "window_h": 24,
        "peak_at": HOURLY.start_of(ORIGIN + 21), "peak_probability": 0.8, "peak_q10_kw": 8.0, "peak_q50_kw": 9.5,
        "peak_q90_kw": 10.0, "limit_kw": 8.5, "limit_probability": 0.4, "reserve_kw": 3.0,
    }  # fmt: skip
    return Decision(**(fields | changes))


def test_a_decision_that_came_true():
    score = score_decisions([make_decision()], {(3, 0, ORIGIN): (COURSE, COURSE - 2)}, HOURLY)
    assert score.decisions == 1
    assert score.peak_hour_brier == pytest.approx(0.04)
    assert score.limit_brier == pytest.approx(0.36)
    assert (score.peak_coverage, score.reserve_sufficed) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"peak_at": HOURLY.start_of(ORIGIN + 20)}, "peak_hour_brier", 0.64),
        ({"limit_kw": 9.0}, "limit_brier", 0.16),
        ({"peak_q90_kw": 8.9}, "peak_coverage", 0),
        ({"reserve_kw": 1.9}, "reserve_sufficed", 0),
    ],
)
def test_a_decision_that_did_not(changes, name, value):
    score = score_decisions([make_decision(**changes)], {(3, 0, ORIGIN): (COURSE, COURSE - 2)}, HOURLY)
    assert getattr(score, name) == pytest.approx(value)


def test_a_window_with_a_gap_counts_for_shorter_windows_only():
    truth = COURSE.copy()
    truth[30] = np.nan
    both = [make_decision(), make_decision(window_h=48)]
    assert score_decisions(both, {(3, 0, ORIGIN): (truth, COURSE)}, HOURLY).decisions == 1
    nothing = score_decisions(both, {}, HOURLY)
    assert nothing.decisions == 0
    assert np.isnan(nothing.peak_hour_brier)


def test_without_a_limit_none_is_scored():
    free = make_decision(limit_kw=None, limit_probability=None)
    score = score_decisions([free], {(3, 0, ORIGIN): (COURSE, COURSE)}, HOURLY)
    assert score.limit == ()
    assert np.isnan(score.limit_brier)


def test_honest_probabilities_lie_on_the_diagonal_and_score_best():
    random = np.random.default_rng(0)
    said = random.random(20_000)
    came = random.random(20_000) < said
    for tenth in reliability(said, came):
        assert tenth.came == pytest.approx(tenth.said, abs=0.03)
        assert tenth.cases > 1500
    assert brier_score(said, came) < brier_score(np.clip(2 * said - 0.5, 0, 1), came)
    assert astuple(reliability(np.array([1.0]), np.array([True]))[0]) == (1.0, 1.0, 1)
