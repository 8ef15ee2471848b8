"""What a building's meters count: people by local time, weather through a thermal lag, drift and noise."""

from typing import Final

import numpy as np

from Sensor_core.interval import Interval
from Sensor_core.reading import CHILLED_WATER, ELECTRICITY
from Training_scripts.simulation.buildings import BuildingTraits
from Training_scripts.simulation.local_time import SUNDAY, LocalTime
from Training_scripts.simulation.plan import Floats
from Training_scripts.simulation.signals import low_pass, red_noise

_SATURDAY: Final = 5
_VALVE_ROUGHNESS: Final = 4.0
"""How much more a plant's valves hunt from hour to hour than electricity does."""

_COOLING_W_PER_M2_K: Final = 2.2
_HEATING_W_PER_M2_K: Final = 1.3
"""Heat through walls and ventilation, moved by a district plant, per floor area and kelvin."""


def simulate_energy_kwh(
    traits: BuildingTraits,
    meter: int,
    clock: LocalTime,
    air_temperature_c: Floats,
    *,
    interval: Interval,
    random: np.random.Generator,
) -> Floats:
    """Simulate one meter without its failures.

    Args:
        traits: The building.
        meter: ASHRAE's meter code.
        clock: Local time of every interval.
        air_temperature_c: Outdoor temperature of every interval. [°C]
        interval: The metering interval.
        random: The meter's own random stream.

    Returns:
        Energy in every interval, never negative. [kWh]
    """
    occupancy = occupancy_of(traits, clock) * _daily_turnout(traits, clock, random)
    felt_c = low_pass(air_temperature_c, traits.lag_h * interval.steps_per_hour)
    if meter == ELECTRICITY:
        power_kw = _electric_kw(traits, occupancy, felt_c)
    elif meter == CHILLED_WATER:
        power_kw = _chilled_kw(traits, occupancy, felt_c)
    else:
        power_kw = _hot_water_kw(traits, occupancy, felt_c)
    roughness = 1.0 if meter == ELECTRICITY else _VALVE_ROUGHNESS
    deviation = _deviation(traits, roughness, len(power_kw), interval, random)
    return power_kw * deviation / interval.steps_per_hour


def occupancy_of(traits: BuildingTraits, clock: LocalTime) -> Floats:
    """Share of the people who are there: 0 is an empty building, 1 a full workday."""
    arrived = _sigmoid((clock.hour - traits.opens) / traits.ramp_h)
    still_there = _sigmoid((traits.closes - clock.hour) / traits.ramp_h)
    evening = traits.use.evening * np.exp(-0.5 * ((clock.hour - 20.0) / 1.6) ** 2)
    attendance = np.ones(len(clock.hour))
    attendance[clock.weekday == _SATURDAY] = min(traits.use.saturday * traits.weekend, 1.2)
    attendance[clock.weekday == SUNDAY] = min(traits.use.sunday * traits.weekend, 1.2)
    attendance[clock.school_break] *= traits.in_break
    return (arrived * still_there + evening) * attendance


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(4 * x, -50, 50))), dtype=np.float64)


def _daily_turnout(traits: BuildingTraits, clock: LocalTime, random: np.random.Generator) -> Floats:
    """No two days bring the same number of people."""
    days = int(clock.day[-1]) + 1
    turnout = np.exp(1.2 * traits.noise[1] * red_noise(random, days, 1.5))
    return np.asarray(turnout[clock.day], dtype=np.float64)


def _electric_kw(traits: BuildingTraits, occupancy: Floats, felt_c: Floats) -> Floats:
    people = traits.base + (1 - traits.base) * occupancy
    running = 0.35 + 0.65 * np.minimum(occupancy, 1)
    cooling = traits.cooling_per_k * np.maximum(felt_c - traits.balance_c, 0) * running
    heating = traits.heating_per_k * np.maximum(traits.balance_c - 2 - felt_c, 0) * running
    return traits.mean_kw * (people / np.mean(people) + cooling + heating)


def _chilled_kw(traits: BuildingTraits, occupancy: Floats, felt_c: Floats) -> Floats:
    """Nothing below the balance temperature: the valve is shut."""
    need_k = np.maximum(felt_c - traits.balance_c + 2 + 2.5 * occupancy, 0)
    running = traits.base + (1 - traits.base) * np.minimum(occupancy, 1)
    return _conductance_kw_per_k(traits, _COOLING_W_PER_M2_K) * need_k * running


def _hot_water_kw(traits: BuildingTraits, occupancy: Floats, felt_c: Floats) -> Floats:
    """Heating below the balance temperature, and hot taps all year."""
    need_k = np.maximum(traits.balance_c - 1 - felt_c, 0)
    running = 0.45 + 0.55 * np.minimum(occupancy, 1)
    taps_k = traits.taps * (0.8 * occupancy + 0.15)
    return _conductance_kw_per_k(traits, _HEATING_W_PER_M2_K) * (need_k * running + taps_k)


def _conductance_kw_per_k(traits: BuildingTraits, usual_w_per_m2_k: float) -> float:
    return usual_w_per_m2_k * traits.draught * (traits.building.floor_area_m2 or 0.0) / 1000


def _deviation(
    traits: BuildingTraits, roughness: float, steps: int, interval: Interval, random: np.random.Generator
) -> Floats:
    """Factor around 1: what people and machines do from hour to hour, day to day, and over the seasons."""
    hour = interval.steps_per_hour
    fast, daily, slow = traits.noise
    spread = (
        fast * roughness * (0.6 * random.standard_normal(steps) + red_noise(random, steps, 3 * hour))
        + daily * red_noise(random, steps, 30 * hour)
        + slow * red_noise(random, steps, 60 * 24 * hour)
    )
    return np.asarray(np.exp(spread - spread.var() / 2), dtype=np.float64)
