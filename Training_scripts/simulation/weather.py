"""Hourly weather of a site: seasons and days by latitude, synoptic noise, and a station's gaps.

A chain of plausible causes rather than a climate model: pressure and cloud are red noise, cloud damps the
day's swing, lowers the dew point's distance and brings rain. What was measured has holes; buildings feel
the weather without them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from Sensor_core.interval import SECONDS_PER_HOUR
from Training_scripts.simulation.places import Place
from Training_scripts.simulation.plan import Booleans, Floats, Integers
from Training_scripts.simulation.signals import red_noise

TRACE_MM: Final = -1.0
"""ASHRAE's code for rain too little to measure."""

_SECONDS_PER_YEAR: Final = 365.25 * 24 * SECONDS_PER_HOUR
_WARMEST: Final = 200 / 365.25
"""The year's warmest time in the northern hemisphere, late in July, as a share of the year."""

_ALWAYS: Final = np.array([0.0005, 0.0005, 0.0, 0.0, 0.01, 0.01, 0.002])
_SOMETIMES: Final = np.array([0.0, 0.0, 0.5, 0.5, 0.05, 0.05, 0.01])
"""Shares of blank cells by column: at least, and as much again as a station's luck has it."""


@dataclass(frozen=True)
class Weather:
    """A site's weather, one row an hour.

    Attributes:
        times_s: Starts of the hours. [s since 1970-01-01T00:00Z]
        true: All quantities in the order of ``Sensor_core.weather.QUANTITIES``, shape (hours, 7).
        measured: The same with the station's gaps as NaN; a row of NaN has no line in the file.
    """

    times_s: Integers
    true: Floats
    measured: Floats

    @property
    def air_temperature_c(self) -> Floats:
        """Outdoor air temperature without gaps [°C]."""
        return self.true[:, 0]


def simulate_weather(place: Place, times_s: Integers, random: np.random.Generator) -> Weather:
    """Simulate one site's weather.

    Args:
        place: Gives latitude, longitude and climate.
        times_s: Starts of the hours. [s since 1970-01-01T00:00Z]
        random: The site's own random stream.
    """
    hours = len(times_s)
    cloud = np.clip(0.5 + 0.45 * red_noise(random, hours, 18), 0, 1)
    air_c = _air_temperature_c(place, times_s, cloud, random)
    dew_c = air_c - _dew_depression_c(place, times_s, cloud, random)
    pressure_hpa = 1015 + (2 + 7 * abs(place.latitude) / 50) * red_noise(random, hours, 70) - 4 * (cloud - 0.5)
    direction_deg, speed_m_s = _wind(hours, random)
    columns = [
        np.round(air_c, 1),
        np.round(dew_c, 1),
        np.rint(cloud * 8),
        _precipitation_mm(cloud, random),
        np.round(pressure_hpa, 1),
        direction_deg,
        speed_m_s,
    ]
    true = np.column_stack(columns)
    return Weather(times_s, true, np.where(_blank(hours, random), np.nan, true))


def _air_temperature_c(place: Place, times_s: Integers, cloud: Floats, random: np.random.Generator) -> Floats:
    """Yearly mean and swing by latitude and continentality, the day's swing under the clouds, and fronts."""
    distance = abs(place.latitude)
    mean_c = 26.5 - 0.0055 * distance**2 - 6 * place.continentality * distance / 45
    season_c = distance * (0.12 + 0.2 * place.continentality)
    warmest = _WARMEST + (0.5 if place.latitude < 0 else 0)
    season = np.cos(2 * np.pi * (times_s / _SECONDS_PER_YEAR - warmest))
    swing_c = (2.2 + 0.22 * place.dryness + 1.2 * place.continentality) * (1.25 - 0.8 * cloud)
    front_c = (1 + distance / 20 + place.continentality) * red_noise(random, len(times_s), 55)
    drift_c = (0.3 + distance / 50) * red_noise(random, len(times_s), 500)
    jitter_c = 0.4 * red_noise(random, len(times_s), 2)
    return mean_c + season_c * season + swing_c * _daily(place, times_s) + front_c + drift_c + jitter_c


def _daily(place: Place, times_s: Integers) -> Floats:
    """The day's course between -1 and 1, highest at three in the afternoon by the sun."""
    solar_hour = times_s / SECONDS_PER_HOUR + place.longitude / 15
    return np.cos(2 * np.pi * (solar_hour - 15) / 24)


def _dew_depression_c(place: Place, times_s: Integers, cloud: Floats, random: np.random.Generator) -> Floats:
    """Dew point below air temperature [K]: never negative, most on clear afternoons."""
    noise = np.exp(0.45 * red_noise(random, len(times_s), 30) - 0.1)
    return place.dryness * noise * (1 + 0.55 * _daily(place, times_s)) * (1.5 - cloud)


def _precipitation_mm(cloud: Floats, random: np.random.Generator) -> Floats:
    """Showers under a closed sky: mm in the hour, or the code for a trace."""
    raining = (cloud > 0.85) & (red_noise(random, len(cloud), 3) > 0.9)  # noqa: PLR2004
    amount_mm = np.round(random.gamma(0.6, 2.0, len(cloud)), 1)
    return np.where(raining, np.where(amount_mm < 0.2, TRACE_MM, amount_mm), 0.0)  # noqa: PLR2004


def _wind(hours: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Direction it comes from [°], 0 in a calm, and speed [m/s]."""
    speed_m_s = np.round(random.uniform(2.5, 5.0) * np.exp(0.5 * red_noise(random, hours, 12) - 0.12), 1)
    turned = random.uniform(0, 360) + 70 * red_noise(random, hours, 40)
    direction_deg = np.rint(turned / 10) % 36 * 10
    northerly = np.where(direction_deg == 0, 360.0, direction_deg)
    return np.where(speed_m_s < 1.0, 0.0, northerly), speed_m_s


def _blank(hours: int, random: np.random.Generator) -> Booleans:
    """Which cells the station did not deliver: single ones, and some hours or a day altogether."""
    shares = _ALWAYS + _SOMETIMES * random.uniform(size=len(_ALWAYS))
    blank = random.uniform(size=(hours, len(shares))) < shares
    for start in random.integers(0, hours, random.poisson(6 * hours / 8766)):
        blank[start : start + 1 + int(random.exponential(6))] = True
    return blank
