"""A small model, trained for real on a few meters; and a server in Open-Meteo's place."""

import threading

import numpy as np
import pytest

from Predictor.forecasting.testing import ORIGIN, make_meters, make_weather, working_week
from Predictor.weather_sources.download import Downloader
from Sensor_core.interval import Interval
from tests.quick_training import train_quickly
from tests.unit.Predictor.open_meteo_provider import PATIENT, Provider, source_of
from Training_scripts import fitting
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
        train_quickly(patch, trees=12, rows=6_000)
        return fitting.fit(history, ORIGIN, seed=0, num_threads=1, advance=lambda _share: None)


@pytest.fixture
def provider():
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def downloader():
    return Downloader(PATIENT, sleep=lambda _: None)


@pytest.fixture
def source(provider):
    return source_of(provider, PATIENT)
