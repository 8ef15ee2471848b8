"""A plan made real: sites with weather, buildings, and one column of readings per meter."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from Sensor_core.building import Building, Meter, Site
from Training_scripts.simulation.anomalies import Label, add_anomalies, missing
from Training_scripts.simulation.buildings import BuildingTraits, draw_building
from Training_scripts.simulation.load import simulate_energy_kwh
from Training_scripts.simulation.local_time import LocalTime, local_time
from Training_scripts.simulation.places import place_of
from Training_scripts.simulation.plan import Floats, Integers, Plan, Stream
from Training_scripts.simulation.weather import Weather, simulate_weather

T = TypeVar("T")


class Track(Protocol):
    """Shows how far it is while it iterates."""

    def __call__(self, sequence: Sequence[T], description: str) -> Iterable[T]:
        """Iterate over the same things."""


_COARSE: Final = (1.3, 3.2)
"""A meter's step lies this many powers of ten below its mean load."""


@dataclass(frozen=True)
class World:
    """Everything that the files are written from.

    Attributes:
        plan: What was asked for.
        sites: In order of site_id.
        weather: One per site.
        buildings: In order of building_id.
        meters: In order of building and code; units as in the files.
        decimals: Digits after the point that each meter shows.
        readings: In each meter's own unit, NaN where missing, shape (steps, meters).
        labels: The anomalies of each meter.
    """

    plan: Plan
    sites: list[Site]
    weather: list[Weather]
    buildings: list[Building]
    meters: list[Meter]
    decimals: Integers
    readings: npt.NDArray[np.float32]
    labels: list[list[Label]]

    @property
    def site_of_meter(self) -> Integers:
        """The site_id of each meter's building."""
        site_ids = {building.building_id: building.site_id for building in self.buildings}
        return np.array([site_ids[meter.building_id] for meter in self.meters], dtype=np.int64)

    def shown(self, steps: Integers | slice, columns: Integers | int) -> Floats:
        """What meters show at steps, rounded to their digits; indices as in numpy."""
        counts_per_unit = 10.0 ** self.decimals[columns]
        return np.asarray(np.rint(self.readings[steps, columns] * counts_per_unit) / counts_per_unit)


def simulate_world(plan: Plan, track: Track) -> World:
    """Simulate all that a plan asks for.

    Args:
        plan: What to simulate.
        track: Iterates over the buildings and shows how far it is.
    """
    sites = [place_of(site_id).site(site_id) for site_id in range(plan.sites)]
    weather = [
        simulate_weather(place_of(site_id), plan.hours_s, plan.random(Stream.WEATHER, site_id))
        for site_id in range(plan.sites)
    ]
    clocks = [local_time(site, plan.times_s) for site in sites]
    traits = [_draw(plan, building_id) for building_id in range(plan.buildings)]
    meters = [
        Meter(building_id=one.building.building_id, meter=meter, unit=_unit(one.building.site_id, meter))
        for one in traits
        for meter in one.meters
    ]
    world = World(
        plan,
        sites,
        weather,
        [one.building for one in traits],
        meters,
        decimals=np.zeros(len(meters), dtype=np.int64),
        readings=np.empty((len(plan.times_s), len(meters)), dtype=np.float32),
        labels=[],
    )
    for one in track(traits, "simulating buildings"):
        _meter_building(world, one, clocks[one.building.site_id])
    return world


def _draw(plan: Plan, building_id: int) -> BuildingTraits:
    return draw_building(building_id, building_id % plan.sites, plan.random(Stream.BUILDING, building_id))


def _unit(site_id: int, meter: int) -> str:
    return place_of(site_id).units.get(meter, "kWh")


def _meter_building(world: World, traits: BuildingTraits, clock: LocalTime) -> None:
    """Fill the next columns with a building's meters."""
    plan, weather = world.plan, world.weather[traits.building.site_id]
    air_temperature_c = np.interp(plan.times_s, weather.times_s, weather.air_temperature_c)
    for code in traits.meters:
        column = len(world.labels)
        random = plan.random(Stream.METER, traits.building.building_id, code)
        energy_kwh = simulate_energy_kwh(traits, code, clock, air_temperature_c, interval=plan.interval, random=random)
        counted = energy_kwh / world.meters[column].kwh_per_count
        world.decimals[column] = _decimals(float(counted.mean()), random)
        world.labels.append(add_anomalies(counted, plan, random))
        counted[missing(plan, random)] = np.nan
        world.readings[:, column] = counted


def _decimals(mean: float, random: np.random.Generator) -> int:
    """Digits after the point: a coarse meter repeats itself often, a fine one hardly ever."""
    finest = random.uniform(*_COARSE) - np.log10(max(mean, 0.001))
    return int(np.clip(round(finest), 0, 3))
