"""The sites of ASHRAE's Great Energy Predictor III, whose files do not say where they are.

Offsets from UTC are those that competitors found by aligning the weather (UTC) with the meters (local standard
time), and that the organisers' Building Data Genome 2 (doi 10.1038/s41597-020-00712-x) confirms as time zones; it
names the sites after animals. Places are those of the nearest town: exact enough for sun and live weather.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from Sensor_core.building import KWH_PER_UNIT, Site
from Sensor_core.errors import DataFolderError
from Training_scripts.importing.source import opened

REQUIRED: Final = ("site_id", "time_zone", "latitude", "longitude", "country")
_TABLE: Final = """
0  Panther  America/New_York     28.6  -81.2 US
1  Robin    Europe/London        51.5   -0.1 GB
2  Fox      America/Phoenix      33.4 -111.9 US
3  Rat      America/New_York     38.9  -77.0 US
4  Bear     America/Los_Angeles  37.9 -122.3 US
5  Lamb     Europe/London        51.5   -3.2 GB
6  Eagle    America/New_York     40.7  -74.0 US
7  Moose    America/Toronto      45.4  -75.7 CA
8  Gator    America/New_York     28.5  -81.4 US
9  Bull     America/Chicago      30.3  -97.7 US
10 Bobcat   America/Denver       40.8 -111.9 US
11 Crow     America/Toronto      45.4  -75.7 CA
12 Wolf     Europe/Dublin        53.3   -6.3 IE
13 Hog      America/Chicago      45.0  -93.3 US
14 Peacock  America/New_York     40.3  -74.7 US
15 Cockatoo America/New_York     42.4  -76.5 US
"""


@dataclass(frozen=True)
class SourceSite:
    """A site as the files to import know it.

    Attributes:
        site: The site; ``stamps`` is that of the files.
        electricity_unit: Unit of its electricity meters in the files.
    """

    site: Site
    electricity_unit: str = "kWh"


def _built_in() -> dict[str, Site]:
    sites = {}
    for row in _TABLE.split("\n")[1:-1]:
        number, name, zone, latitude, longitude, country = row.split()
        sites[name] = Site(
            site_id=int(number),
            time_zone=zone,
            latitude=float(latitude),
            longitude=float(longitude),
            country=country,
            stamps="standard",
        )
    return sites


ASHRAE_SITES: Final = _built_in()
"""The sixteen sites by their names in the Building Data Genome 2; ``site_id`` is the competition's."""


def competition_sites() -> dict[str, SourceSite]:
    """The sites by the competition's numbers; site 0's electricity was published in kBTU."""
    return {
        str(site.site_id): SourceSite(site, "kBTU" if site.site_id == 0 else "kWh") for site in ASHRAE_SITES.values()
    }


def read_sites(file: Path, numbers: dict[str, int] | None = None) -> dict[str, SourceSite]:
    """Read a table of sites: the columns of sites.csv, and optionally ``electricity_unit``.

    Args:
        file: The table; ``site_id`` is the site's name in the files to import.
        numbers: Site ids by such names; without it the names are the numbers.

    Raises:
        DataFolderError: A column is missing or a cell is wrong.
    """
    sites = {}
    with opened(file) as stream:
        reader = csv.DictReader(stream)
        for column in REQUIRED:
            if column not in (reader.fieldnames or ()):
                raise DataFolderError(f"{file}, line 1: column {column} is missing ({', '.join(REQUIRED)} are needed)")
        for line, row in enumerate(reader, start=2):
            name = row["site_id"]
            given = {key: value for key, value in row.items() if key and value}
            unit = given.pop("electricity_unit", "kWh")
            if unit not in KWH_PER_UNIT:
                raise DataFolderError.at(
                    file, line, "electricity_unit", unit, f"is not one of {', '.join(KWH_PER_UNIT)}"
                )
            number = name if numbers is None else numbers.get(name)
            if number is not None:  # a table may know more sites than the files
                sites[name] = SourceSite(_site(file, line, row, given | {"site_id": number}), unit)
    return sites


def _site(file: Path, line: int, row: dict[str, str], given: dict[str, object]) -> Site:
    try:
        return Site.model_validate({"stamps": "standard"} | given)
    except ValidationError as error:
        problem = error.errors()[0]
        column = str(problem["loc"][0])
        text = problem["msg"].removeprefix("Value error, ")
        raise DataFolderError.at(file, line, column, row.get(column), text) from None
