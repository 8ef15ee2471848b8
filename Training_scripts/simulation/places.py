"""Where the simulated sites are, and how their files are stamped and counted.

Sites beyond the list take its places again, each with weather of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from Sensor_core.building import Site, Stamps
from Sensor_core.reading import CHILLED_WATER, ELECTRICITY, HOT_WATER


@dataclass(frozen=True)
class Place:
    """A place, its climate and its habits.

    Attributes:
        time_zone: IANA name.
        latitude: North is positive. [°]
        longitude: East is positive. [°]
        country: ISO 3166 code, for public holidays.
        stamps: How meter files of this place are stamped.
        continentality: 0 by an ocean, 1 deep inland: how far the seasons swing.
        dryness: How far the dew point usually lies below the air temperature. [K]
        units: Units of meter codes that do not count in kWh.
    """

    time_zone: str
    latitude: float
    longitude: float
    country: str
    stamps: Stamps
    continentality: float
    dryness: float
    units: Mapping[int, str] = field(default_factory=dict)

    def site(self, site_id: int) -> Site:
        """The row of ``sites.csv``."""
        return Site(
            site_id=site_id,
            time_zone=self.time_zone,
            latitude=self.latitude,
            longitude=self.longitude,
            country=self.country,
            stamps=self.stamps,
        )


PLACES: Final = (
    Place("America/New_York", 40.7, -74.0, "US", "local", 0.85, 6.5, {CHILLED_WATER: "ton-hour"}),
    Place("Europe/London", 51.5, -0.1, "GB", "utc", 0.05, 4.0),
    Place("America/Chicago", 41.9, -87.6, "US", "standard", 1.0, 6.0, {ELECTRICITY: "kBTU"}),
    Place("Australia/Sydney", -33.9, 151.2, "AU", "utc", 0.2, 7.0),
    Place("Europe/Berlin", 52.5, 13.4, "DE", "local", 0.45, 5.0, {HOT_WATER: "MWh"}),
    Place("America/Phoenix", 33.4, -112.1, "US", "standard", 0.6, 17.0),
    Place("Asia/Singapore", 1.4, 103.8, "SG", "local", 0.0, 4.0),
    Place("Europe/Helsinki", 60.2, 24.9, "FI", "local", 0.6, 4.0),
    Place("America/Los_Angeles", 37.8, -122.4, "US", "utc", 0.1, 5.5),
    Place("Europe/Madrid", 40.4, -3.7, "ES", "local", 0.5, 10.0, {HOT_WATER: "GJ"}),
    Place("America/Toronto", 43.7, -79.4, "CA", "local", 0.9, 5.5),
    Place("Asia/Tokyo", 35.7, 139.7, "JP", "standard", 0.5, 7.0),
    Place("Australia/Adelaide", -34.9, 138.6, "AU", "local", 0.35, 9.0),
    Place("Asia/Kolkata", 28.6, 77.2, "IN", "utc", 0.5, 10.0),
)


def place_of(site_id: int) -> Place:
    """The place that a site is in."""
    return PLACES[site_id % len(PLACES)]
