"""What a forecast may know: every array that features are made of, as of one origin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from Sensor_core.building import Building, Site
from Sensor_core.interval import SECONDS_PER_HOUR, Interval

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

NO_SITE: Final = 2**31 - 1
"""Id of the place where buildings without metadata stand; they are in no total."""
NOWHERE: Final = Site(site_id=NO_SITE, time_zone="UTC", latitude=0, longitude=0, country="ZZ", stamps="utc")
"""That place, until their metadata comes."""

HISTORY_DAYS: Final = 35
"""How much of a meter's past features look at: five weeks."""

WEATHER_HISTORY_H: Final = 14 * 24
"""How much of a site's observed weather features look at: two weeks. [h]"""

PRIMARY_USES: Final = (
    "Other",
    "Education",
    "Entertainment/public assembly",
    "Food sales and service",
    "Healthcare",
    "Lodging/residential",
    "Manufacturing/industrial",
    "Office",
    "Parking",
    "Public services",
    "Religious worship",
    "Retail",
    "Services",
    "Technology/science",
    "Utility",
    "Warehouse/storage",
)
"""ASHRAE's uses of a building; one that is not listed counts as ``Other``."""

_USE_CODE: Final = {use: code for code, use in enumerate(PRIMARY_USES)}


def history_steps(interval: Interval) -> int:
    """Columns of ``Snapshot.readings_kwh`` that features look at."""
    return HISTORY_DAYS * interval.steps_per_day


@dataclass(frozen=True)
class Sites:
    """Places, one element each.

    Attributes:
        site_id: ASHRAE site ids.
        time_zone: IANA names.
        country: ISO 3166 codes, two letters.
    """

    site_id: tuple[int, ...]
    time_zone: tuple[str, ...]
    country: tuple[str, ...]

    @classmethod
    def of(cls, sites: Sequence[Site]) -> Self:
        """Take what forecasts need from the data folder's or the warehouse's sites."""
        return cls(
            tuple(site.site_id for site in sites),
            tuple(site.time_zone for site in sites),
            tuple(site.country for site in sites),
        )

    def __len__(self) -> int:
        return len(self.site_id)


@dataclass(frozen=True)
class Meters:
    """Meters and what is known of their buildings, one element each; NaN is unknown.

    Attributes:
        building_id: ASHRAE building ids.
        meter: Meter codes.
        site: Position of the meter's site in ``Sites``.
        floor_area_m2: Gross floor area. [m²]
        year_built: Year.
        floor_count: Floors.
        primary_use: Position in ``PRIMARY_USES``.
    """

    building_id: Ints
    meter: Ints
    site: Ints
    floor_area_m2: Floats32
    year_built: Floats32
    floor_count: Floats32
    primary_use: Ints

    @classmethod
    def of(cls, keys: Sequence[tuple[int, int]], buildings: Mapping[int, Building], sites: Sites) -> Self:
        """Look up the metadata of meters.

        Args:
            keys: Pairs of building id and meter code, in the order of the rows of ``readings_kwh``.
            buildings: Metadata by building id; it has to name every building of ``keys``.
            sites: It has to name every building's site.
        """
        rows = [buildings[building_id] for building_id, _ in keys]
        place = {site_id: index for index, site_id in enumerate(sites.site_id)}
        return cls(
            np.array([building_id for building_id, _ in keys], dtype=np.int64),
            np.array([meter for _, meter in keys], dtype=np.int64),
            np.array([place[row.site_id] for row in rows], dtype=np.int64),
            _numbers([row.floor_area_m2 for row in rows]),
            _numbers([row.year_built for row in rows]),
            _numbers([row.floor_count for row in rows]),
            np.array([_USE_CODE.get(row.primary_use, 0) for row in rows], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.building_id)


def _numbers(values: Sequence[float | None]) -> Floats32:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float32)


@dataclass(frozen=True)
class Snapshot:
    """All that a forecast issued at ``origin`` may know; what is not known is NaN.

    Attributes:
        origin: The newest closed step (see ``Sensor_core.interval``); forecasts are for the steps after it.
        interval: The metering interval.
        meters: M meters.
        sites: S sites.
        readings_kwh: Energy of the last steps, shape ``(M, W)``; the last column is ``origin``. [kWh]
        weather: Observed weather of the last hours, shape ``(S, any, 7)``, in the order of
            ``Sensor_core.weather.QUANTITY_NAMES``; the last one is the hour of ``origin``.
        weather_forecast: Weather of the next 48 hours as forecast at ``origin``, shape ``(S, 48, 7)``.
    """

    origin: int
    interval: Interval
    meters: Meters
    sites: Sites
    readings_kwh: Floats
    weather: Floats32
    weather_forecast: Floats32

    @property
    def origin_hour(self) -> int:
        """Whole hours since 1970 of the origin's start."""
        return self.origin * self.interval.seconds // SECONDS_PER_HOUR
