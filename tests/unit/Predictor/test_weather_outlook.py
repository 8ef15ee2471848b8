"""The outlook fades from what is unusual now to the usual day, and stays within what was seen."""

import numpy as np

from Predictor.forecasting.weather_outlook import outlook
from Sensor_core.weather import QUANTITY_NAMES

TEMPERATURE = QUANTITY_NAMES.index("air_temperature_c")
DIRECTION = QUANTITY_NAMES.index("wind_direction_deg")
USUAL = 12 + 6 * np.sin(2 * np.pi * np.arange(24) / 24)


def two_weeks(last_day: float = 0.0) -> np.ndarray:
    observed = np.full((2, 14 * 24, 7), 4.0, dtype=np.float32)
    observed[:, :, TEMPERATURE] = np.tile(USUAL, 14)
    observed[:, -24:, TEMPERATURE] += last_day
    return observed


def test_a_usual_day_is_followed_by_usual_days():
    assert np.allclose(outlook(two_weeks())[0, :, TEMPERATURE], np.tile(USUAL, 2), atol=1e-5)


def test_a_warm_day_fades():
    anomaly = outlook(two_weeks(last_day=5.0))[0, :, TEMPERATURE] - np.tile(USUAL, 2)
    assert 3.5 < anomaly[0] < 5.1
    assert anomaly[0] > anomaly[23] > anomaly[47] > 1.0


def test_the_outlook_stays_within_what_was_seen():
    observed = np.random.default_rng(0).normal(5, 8, (3, 14 * 24, 7)).clip(0).astype(np.float32)
    forecast = outlook(observed)
    assert (forecast >= observed.min(axis=1, keepdims=True)).all()
    assert (forecast <= observed.max(axis=1, keepdims=True)).all()


def test_gaps_are_bridged_and_what_was_never_seen_stays_unknown():
    observed = two_weeks()
    observed[0, -30:] = np.nan
    observed[1, :, TEMPERATURE] = np.nan
    forecast = outlook(observed)
    assert np.allclose(forecast[0, :, TEMPERATURE], np.tile(USUAL, 2), atol=1e-5)
    assert np.isnan(forecast[1, :, TEMPERATURE]).all()
    assert outlook(observed[:, :0]).shape == (2, 48, 7)


def test_wind_directions_are_repeated_not_averaged():
    observed = two_weeks()
    observed[:, :, DIRECTION] = np.where(np.arange(14 * 24) % 2, 350.0, 10.0)
    assert set(outlook(observed)[0, :, DIRECTION].tolist()) == {350.0, 10.0}
