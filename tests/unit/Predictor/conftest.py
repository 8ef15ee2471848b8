"""A small model, trained for real on a few meters."""

import numpy as np
import pytest

from Predictor.forecasting.testing import ORIGIN, make_meters, make_weather, working_week
from Sensor_core.interval import Interval
from Training_scripts import fitting, samples
from Training_scripts.dataset import EnergyHistory


@pytest.fixture(scope="session")
def history():
    """Fifty days of eight meters up to a week after ``ORIGIN``; levels wander, so that there is something to learn."""
    meters, sites = make_meters(8)
    first, hours = ORIGIN - 43 * 24, 50 * 24
    random = np.random.default_rng(5)
    load = working_week(meters, sites, Interval(), first, hours)
    wandering = np.exp(np.cumsum(random.normal(0, 0.02, load.shape), axis=1) * 0.3 + random.normal(0, 0.03, load.shape))
    return EnergyHistory(Interval(), sites, meters, first, load * wandering, make_weather(sites, hours))


@pytest.fixture(scope="session")
def model(history):
    """Fitted to what lies before ``ORIGIN``, with few trees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "TREES", 12)
        patch.setattr(samples, "MAX_ROWS", 6_000)
        return fitting.fit(history, ORIGIN, seed=0, num_threads=1, advance=lambda _share: None)
