"""What both layouts come down to: sites, buildings, meters, files of readings, and weather."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from Sensor_core.building import Building, Meter, Site, Stamps
from Sensor_core.errors import DataFolderError


@dataclass(frozen=True)
class ReadingFile:
    """A file of readings.

    Attributes:
        path: Where it is.
        meter: Meter code of a wide file, which has a column a building; None for a long one, which has a row a
            reading.
    """

    path: Path
    meter: int | None = None


@dataclass(frozen=True)
class WeatherFile:
    """A file of weather observations.

    Attributes:
        path: Where it is.
        columns: The file's name of each of ASHRAE's columns.
        stamps: How it is stamped.
    """

    path: Path
    columns: Mapping[str, str]
    stamps: Stamps


@dataclass(frozen=True)
class Source:
    """Files to import, and what they say of themselves.

    Attributes:
        layout: Name of the layout.
        sites: Sites by their name in the files; their ``stamps`` is that of the files' readings.
        buildings: Buildings by their name in the files.
        meters: Declared units and names.
        readings: Files of readings.
        weather: The file of weather, if there is one.
    """

    layout: str
    sites: Mapping[str, Site]
    buildings: Mapping[str, Building]
    meters: tuple[Meter, ...]
    readings: tuple[ReadingFile, ...]
    weather: WeatherFile | None
    site_of_building: Mapping[int, Site] = field(init=False)

    def __post_init__(self) -> None:
        by_id = {site.site_id: site for site in self.sites.values()}
        sites = {building.building_id: by_id[building.site_id] for building in self.buildings.values()}
        object.__setattr__(self, "site_of_building", sites)


def find(folder: Path, *names: str) -> Path | None:
    """The first of these files that exists, plain or gzipped."""
    candidates = (folder / (name + suffix) for name in names for suffix in ("", ".gz"))
    return next((file for file in candidates if file.is_file()), None)


def require(folder: Path, *names: str) -> Path:
    """The first of these files that exists, plain or gzipped.

    Raises:
        DataFolderError: None does.
    """
    file = find(folder, *names)
    if file is None:
        raise DataFolderError(f"{folder} has no {' or '.join(names)} (or .gz)")
    return file


def opened(file: Path) -> IO[str]:
    """Open a CSV, plain or gzipped, for reading."""
    if file.suffix == ".gz":
        return cast("IO[str]", gzip.open(file, "rt", encoding="utf-8-sig", errors="replace", newline=""))
    return file.open(encoding="utf-8-sig", errors="replace", newline="")
