"""Scenarios keep the quantiles of every hour, and peaks, limits and reserves follow from whole courses."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Predictor.forecasting.decisions import Issued, decide
from Predictor.forecasting.hierarchy import Totals
from Predictor.forecasting.scenarios import LEAST_PATHS, LEVELS_Z, scenarios, templates
from Predictor.forecasting.testing import ORIGIN
from Sensor_core.forecast import AGGREGATE_LEVELS
from Sensor_core.interval import Interval

HOURLY = Interval()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def normal_quantiles(median, spread):
    return np.asarray(median)[None] + LEVELS_Z[:, None] * np.asarray(spread)[None]


def decisions_of(quantiles, courses, limits_kw=None, site_id=3, interval=HOURLY):
    totals = Totals((site_id,), (0,), (2,), quantiles[None])
    issued = Issued(ORIGIN * interval.steps_per_hour, NOW, "m")
    return {d.window_h: d for d in decide(totals, iter([courses]), interval, limits_kw or {}, issued)}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(60, 120))
def test_scenarios_have_the_quantiles_of_every_hour_and_are_never_negative(seed, count):
    random = np.random.default_rng(seed)
    quantiles = normal_quantiles(random.uniform(50, 100, 48), random.uniform(1, 10, 48))
    courses = scenarios(quantiles, random.normal(size=(count, 48)))
    assert (courses >= 0).all()
    for level, expected in zip(AGGREGATE_LEVELS[1:-1], quantiles[1:-1], strict=True):
        share = (courses <= expected + 1e-9).mean(axis=0)
        assert share == pytest.approx(np.full(48, level), abs=1.5 / count)


def test_hours_that_erred_together_come_together():
    shared = np.random.default_rng(0).normal(size=(100, 1))
    paths = np.concatenate([np.repeat(shared, 24, axis=1), np.repeat(-shared, 24, axis=1)], axis=1)
    courses = scenarios(normal_quantiles(np.full(48, 50.0), np.full(48, 5.0)), paths)
    assert np.corrcoef(courses[:, 0], courses[:, 23])[0, 1] == pytest.approx(1)
    assert np.corrcoef(courses[:, 0], courses[:, 24])[0, 1] < -0.99


@pytest.mark.parametrize(("own", "others"), [(0, 0), (10, 0), (10, 20), (10, 200), (80, 5)])
def test_there_are_always_enough_paths_without_gaps(own, others):
    random = np.random.default_rng(1)
    path = random.normal(size=(own, 48)).astype(np.float32)
    path[: own // 2, 3:9] = np.nan
    found = templates(path, random.normal(size=(others, 48)).astype(np.float32))
    assert len(found) >= LEAST_PATHS
    assert np.isfinite(found).all()


def test_a_sure_peak_is_named_with_certainty():
    median = np.full(48, 50.0)
    median[[17, 41]] = 80, 90
    quantiles = normal_quantiles(median, np.full(48, 1.0))
    found = decisions_of(quantiles, scenarios(quantiles, np.random.default_rng(0).normal(size=(200, 48))))
    for window_h, hour, height in ((24, 17, 80), (48, 41, 90)):
        decision = found[window_h]
        assert decision.peak_at == HOURLY.start_of(ORIGIN + 1 + hour)
        assert decision.peak_probability == 1
        assert decision.peak_q50_kw == pytest.approx(height, abs=0.1)
        assert decision.peak_q10_kw == pytest.approx(height - 1.28, abs=0.1)
        assert decision.limit_kw is None
        assert decision.limit_probability is None


def test_the_reserve_suffices_in_every_hour_of_nineteen_courses_in_twenty():
    quantiles = normal_quantiles(np.full(48, 50.0), np.full(48, 2.0))
    courses = scenarios(quantiles, np.random.default_rng(0).normal(size=(400, 48)))
    decision = decisions_of(quantiles, courses)[24]
    beyond = (courses[:, :24] - 50).max(axis=1)
    assert (beyond <= decision.reserve_kw + 1e-3).mean() >= 0.95
    assert (beyond <= decision.reserve_kw - 1e-3).mean() <= 0.95
    assert decision.reserve_kw > 2 * 1.645


def test_the_limit_is_passed_as_often_as_courses_pass_it_and_counts_for_electricity_of_its_site_only():
    quantiles = normal_quantiles(np.full(48, 50.0), np.full(48, 2.0))
    courses = scenarios(quantiles, np.random.default_rng(0).normal(size=(100, 48)))
    found = decisions_of(quantiles, courses, {3: 54.0})
    assert found[24].limit_kw == 54
    assert found[24].limit_probability == (courses[:, :24].max(axis=1) > 54).mean()
    assert 0 < found[24].limit_probability < found[48].limit_probability
    assert decisions_of(quantiles, courses, {4: 54.0})[24].limit_probability is None
    assert decisions_of(quantiles, courses, {3: 54.0}, site_id=None)[24].limit_probability is None


def test_quarter_hours_count_as_power():
    interval = Interval(900)
    quantiles = normal_quantiles(np.full(192, 10.0), np.full(192, 0.1))
    courses = scenarios(quantiles, np.random.default_rng(0).normal(size=(100, 192)))
    decision = decisions_of(quantiles, courses, interval=interval)[24]
    assert decision.peak_q50_kw == pytest.approx(41, abs=0.5)
    assert interval.is_on_grid(decision.peak_at)
