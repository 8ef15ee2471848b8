"""The peer: mlforecast at the same origins, from what was known at each."""

from dataclasses import replace

import numpy as np
import pytest

from Predictor.forecasting.testing import ORIGIN, make_meters, make_weather, working_week
from Sensor_core.errors import BacktestError
from Sensor_core.interval import Interval
from Training_scripts.backtesting.peer import forecast_with_peer
from Training_scripts.backtesting.totals import sums, total_keys
from Training_scripts.dataset import EnergyHistory

DAYS = 30
UNTIL = ORIGIN - 5 * 24
ORIGINS = (UNTIL - 1, UNTIL + 12)


@pytest.fixture(scope="module")
def history():
    meters, sites = make_meters(4)
    first, hours = ORIGIN - DAYS * 24, DAYS * 24
    load = working_week(meters, sites, Interval(), first, hours)
    random = np.random.default_rng(0).normal(1, 0.02, load.shape)
    values = load * random
    values[1, 100:110] = np.nan
    values[3, : hours - 200] = np.nan
    return EnergyHistory(Interval(), sites, meters, first, values, make_weather(sites, hours))


@pytest.fixture(scope="module")
def peer(history):
    return forecast_with_peer(history.until(ORIGINS[-1] + 1), UNTIL, ORIGINS, total_keys(history))


def test_the_peer_is_a_serious_one(history, peer):
    truth = np.stack([history.truth(origin) for origin in ORIGINS])
    error = np.abs(peer.meters[:, 1] - truth)[:, :3].mean(axis=(0, 2)) / truth[:, :3].mean(axis=(0, 2))
    assert (error < 0.15).all()
    assert (peer.meters[:, :, :3] >= 0).all()
    assert (peer.meters[:, 0, :3] <= peer.meters[:, 2, :3]).all()


def test_a_meter_of_which_the_peer_knows_too_little_is_left_out(peer):
    assert np.isnan(peer.meters[:, :, 3]).all()


def test_the_peer_forecasts_totals_as_series_of_their_own(history, peer):
    keys = total_keys(history)
    assert keys[-2:] == [(None, 0), (None, 3)]
    truth = np.stack([sums(history, *zip(*keys, strict=True), history.truth(origin)) for origin in ORIGINS])
    grid = keys.index((None, 0))
    assert np.abs(peer.totals[:, 1, grid] / truth[:, grid] - 1).mean() < 0.15


def test_the_peer_sees_nothing_after_an_origin(history, peer):
    values = history.readings_kwh.copy()
    values[:, ORIGINS[0] + 1 - history.first :] = 1e6
    poisoned = replace(history, readings_kwh=values)
    other = forecast_with_peer(poisoned.until(ORIGINS[-1] + 1), UNTIL, ORIGINS, total_keys(history))
    assert np.array_equal(other.meters[0], peer.meters[0], equal_nan=True)
    assert not np.array_equal(other.meters[1], peer.meters[1], equal_nan=True)


def test_too_short_a_past_is_an_error_in_words(history):
    until = history.first + 10 * 24
    with pytest.raises(BacktestError, match="--peer needs a meter with 18 days"):
        forecast_with_peer(history.until(until), until, (until - 1,), total_keys(history))
