"""Totals agree with their meters, never mix codes, and their spread follows the correlation."""

import numpy as np
import pytest

from Predictor.forecasting.calibration import LEAD_GROUPS, lead_group_of
from Predictor.forecasting.forecaster import Forecaster
from Predictor.forecasting.hierarchy import Correlation, correlation_of, totals
from Predictor.forecasting.testing import make_meters, make_snapshot
from Sensor_core.forecast import AGGREGATE_LEVELS

GROUP = lead_group_of(48, 1)
MEDIAN, Q10, Q90 = (AGGREGATE_LEVELS.index(level) for level in (0.5, 0.1, 0.9))


def correlation(value):
    same = (value,) * len(LEAD_GROUPS)
    return Correlation(site=same, grid=same)


def some_quantiles(count, seed=0):
    middle = np.random.default_rng(seed).uniform(5, 50, (count, 48))
    return np.stack([middle - 1, middle, middle + 2])


def test_the_middle_of_each_total_is_the_sum_of_its_meters_middles():
    meters, sites = make_meters(21)
    quantiles = some_quantiles(21)
    result = totals(meters, sites, quantiles, correlation(0.3), GROUP)
    for site_id, code, count, total in zip(result.site_id, result.meter, result.meters, result.quantiles, strict=True):
        at_site = True if site_id is None else np.array(sites.site_id)[meters.site] == site_id
        members = (meters.meter == code) & at_site
        assert count == members.sum()
        np.testing.assert_allclose(total[MEDIAN], quantiles[1, members].sum(axis=0), rtol=1e-12)


def test_heat_and_electricity_are_never_added():
    meters, sites = make_meters(21)
    result = totals(meters, sites, some_quantiles(21), correlation(0.3), GROUP)
    assert list(zip(result.site_id, result.meter, strict=True)) == [(3, 0), (7, 0), (7, 3), (None, 0), (None, 3)]
    assert sum(result.meters[-2:]) == 21


def test_sites_add_up_to_the_grid():
    meters, sites = make_meters(21)
    result = totals(meters, sites, some_quantiles(21), correlation(0.3), GROUP)
    np.testing.assert_allclose(result.quantiles[[0, 1], MEDIAN].sum(axis=0), result.quantiles[3, MEDIAN])


@pytest.mark.parametrize(
    ("value", "upper_half"), [(1.0, 2 * 16), (0.0, 2 * 4), (0.5, np.sqrt(0.5 * 32**2 + 0.5 * 8**2))]
)
def test_the_spread_lies_between_independent_meters_and_meters_that_err_together(value, upper_half):
    meters, sites = make_meters(64)
    result = totals(meters, sites, some_quantiles(64), correlation(value), GROUP)
    heat = result.meter.index(3)
    assert result.meters[heat] == 16
    assert result.quantiles[heat, Q90] - result.quantiles[heat, MEDIAN] == pytest.approx(np.full(48, upper_half))
    assert result.quantiles[heat, MEDIAN] - result.quantiles[heat, Q10] == pytest.approx(np.full(48, upper_half / 2))


def test_nine_levels_never_cross_and_never_fall_below_zero():
    meters, sites = make_meters(12)
    middle = np.random.default_rng(0).uniform(0, 1, (12, 48))
    quantiles = np.stack([np.zeros_like(middle), middle, 5 * middle])
    result = totals(meters, sites, quantiles, correlation(0.9), GROUP).quantiles
    assert result.shape[1:] == (9, 48)
    assert (np.diff(result, axis=1) >= 0).all()
    assert (result >= 0).all()


def test_flat_and_zero_meters_leave_a_total_finite():
    meters, sites = make_meters(4)
    zeros = np.zeros((3, 4, 48))
    assert (totals(meters, sites, zeros, correlation(0.2), GROUP).quantiles == 0).all()


def test_a_forecasters_totals_agree_with_its_meters(model):
    snapshot = make_snapshot(meters=9)
    forecaster = Forecaster(model)
    forecast = forecaster.forecast(snapshot)
    result = forecaster.totals(snapshot, forecast)
    grid = result.quantiles[result.site_id.index(None), MEDIAN]
    np.testing.assert_allclose(grid, forecast.q50[snapshot.meters.meter == 0].sum(axis=0, dtype=np.float64))


@pytest.mark.parametrize("true_correlation", [0.0, 0.3, 0.8])
def test_the_correlation_of_errors_is_found(true_correlation):
    random = np.random.default_rng(3)
    meters, cases = 12, 20_000
    shared = random.normal(0, np.sqrt(true_correlation), (1, cases))
    errors = shared + random.normal(0, np.sqrt(1 - true_correlation), (meters, cases))
    errors[random.random(errors.shape) < 0.1] = np.nan
    widths = np.full(errors.shape, 1.2815515655446004)
    found = correlation_of(errors, widths, np.zeros(meters, dtype=np.int64))
    assert found == pytest.approx(true_correlation, abs=0.03)


def test_meters_alone_in_their_total_have_no_correlation():
    errors = np.random.default_rng(0).normal(size=(3, 100))
    assert correlation_of(errors, np.ones_like(errors), np.arange(3)) == 0
