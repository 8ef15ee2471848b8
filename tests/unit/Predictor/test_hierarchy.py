"""Totals hold the right meters, agree with them, and never mix codes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Predictor.forecasting.hierarchy import Hierarchy
from Predictor.forecasting.reconciliation import reconcile
from Predictor.forecasting.snapshot import NO_SITE
from Predictor.forecasting.testing import make_meters, make_snapshot
from Predictor.forecasting.total_meters import as_meters, counted, totals_counted


def some_forecasts(meters, seed, horizon=3):
    """Medians, half-widths and moves of totals; some meters flat, some zero, of some totals nothing known."""
    random = np.random.default_rng(seed)
    hierarchy = Hierarchy.of(*make_meters(meters))
    median = random.gamma(1, 20, (meters, horizon)) * (random.random((meters, 1)) > 0.2)
    half = median * random.uniform(0, 0.5, median.shape)
    move = hierarchy.add(median) * random.normal(0, 0.3, (len(hierarchy), horizon))
    move[random.random(move.shape) < 0.2] = np.nan
    return hierarchy, median, half, move


def test_heat_and_electricity_are_never_added():
    hierarchy = Hierarchy.of(*make_meters(21))
    assert list(zip(hierarchy.site_id, hierarchy.meter.tolist(), strict=True)) == [
        (3, 0), (7, 0), (7, 3), (None, 0), (None, 3),
    ]  # fmt: skip
    assert hierarchy.count[hierarchy.is_grid].sum() == 21
    assert (hierarchy.members[0] | hierarchy.members[1] == hierarchy.members[3]).all()


def test_a_meter_of_no_known_site_is_in_no_total():
    meters, sites = make_meters(8)
    hierarchy = Hierarchy.of(meters, replace(sites, site_id=(3, NO_SITE)))
    assert hierarchy.site_id == (3, None)
    assert not hierarchy.members[:, meters.site == 1].any()


@settings(max_examples=40, deadline=None)
@given(meters=st.integers(1, 30), seed=st.integers(0, 10_000))
def test_reconciled_meters_are_finite_and_never_negative_and_sure_ones_stay(meters, seed):
    hierarchy, median, half, move = some_forecasts(meters, seed)
    result = reconcile(hierarchy, median, half, move)
    assert np.isfinite(result).all()
    assert (result >= 0).all()
    assert result[half == 0] == pytest.approx(median[half == 0])


def test_where_nothing_is_known_or_nothing_moves_meters_stay_as_they_are():
    hierarchy, median, half, move = some_forecasts(20, 1)
    assert reconcile(hierarchy, median, half, np.full(move.shape, np.nan)) == pytest.approx(median)
    assert reconcile(hierarchy, median, half, np.zeros(move.shape)) == pytest.approx(median)


def test_a_total_by_itself_moves_as_it_should_and_unsure_meters_go_furthest():
    meters, sites = make_meters(4)
    alone = Hierarchy.of(replace(meters, meter=np.zeros(4, dtype=np.int64), site=np.zeros(4, dtype=np.int64)), sites)
    median, half = np.full((4, 1), 10.0), np.array([[1.0], [2.0], [3.0], [0.0]])
    moved = reconcile(alone, median, half, np.array([[7.0], [np.nan]]))
    assert moved.sum() == pytest.approx(47, rel=1e-4)
    shift = (moved - median)[:, 0]
    assert shift[1] == pytest.approx(2 * shift[0])
    assert shift[3] == 0


def test_the_constraint_form_is_minimum_trace_reconciliation():
    hierarchy, median, half, move = some_forecasts(9, 4, horizon=1)
    move = np.nan_to_num(move) / 20
    median, half = median + 1, np.maximum(half, 0.5)
    variance = (half * median)[:, 0]
    summing = np.concatenate([hierarchy.members.astype(float), np.eye(9)])
    inverse = np.diag(1 / np.concatenate([hierarchy.members @ variance, variance]))
    base = np.concatenate([hierarchy.members @ median + 2 * move, median])
    expected = np.linalg.solve(summing.T @ inverse @ summing, summing.T @ inverse @ base)
    assert reconcile(hierarchy, median, half, move) == pytest.approx(np.maximum(expected, 0), rel=1e-6, abs=1e-6)


def test_readings_of_totals_bridge_what_one_meter_misses_but_not_what_most_miss():
    snapshot = make_snapshot(meters=4, noise=0.0)
    hierarchy = Hierarchy.of(snapshot.meters, snapshot.sites)
    truth = totals_counted(snapshot.readings_kwh, hierarchy, 24)
    holes = snapshot.readings_kwh.copy()
    smallest = int(np.nanmean(holes, axis=1).argmin())
    holes[smallest, -5] = np.nan
    holes[:, -9] = np.nan
    filled = totals_counted(holes, hierarchy, 24)
    grid = hierarchy.site_id.index(None)
    assert np.isnan(filled[:, -9]).all()
    assert filled[grid, -5] == pytest.approx(truth[grid, -5], rel=0.05) or np.isnan(filled[grid, -5])
    others = np.delete(np.arange(truth.shape[1]), [-5 % truth.shape[1], -9 % truth.shape[1]])
    assert filled[:, others] == pytest.approx(truth[:, others])


def test_meters_with_a_short_past_are_left_out_of_the_series():
    snapshot = make_snapshot(meters=4)
    readings = snapshot.readings_kwh.copy()
    readings[1, :-100] = np.nan
    readings[2] = np.nan
    assert counted(readings).tolist() == [True, False, False, True]
    assert not counted(np.full((2, 5), np.nan)).any()


def test_totals_look_like_meters_with_the_grid_on_a_site_of_its_own():
    snapshot = make_snapshot(meters=12)
    hierarchy = Hierarchy.of(snapshot.meters, snapshot.sites)
    seen = as_meters(snapshot, hierarchy)
    assert len(seen.meters) == len(hierarchy)
    assert len(seen.sites) == 3
    assert seen.sites.time_zone[2] in snapshot.sites.time_zone
    assert (seen.meters.site[hierarchy.is_grid] == 2).all()
    assert seen.weather[2] == pytest.approx(snapshot.weather[0])
    assert seen.readings_kwh[0] == pytest.approx(snapshot.readings_kwh[hierarchy.members[0]].sum(axis=0))
