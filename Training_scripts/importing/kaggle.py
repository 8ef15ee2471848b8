"""The files of ASHRAE's Great Energy Predictor III: a row a reading, buildings and sites by number."""

from pathlib import Path
from typing import Final

from Sensor_core.building import Building, Meter
from Sensor_core.errors import DataFolderError
from Sensor_core.reading import ELECTRICITY
from Sensor_core.weather import QUANTITIES
from Training_scripts.importing.ashrae_sites import SourceSite, competition_sites, read_sites
from Training_scripts.importing.findings import Findings
from Training_scripts.importing.metadata import building_of, metadata_rows
from Training_scripts.importing.source import ReadingFile, Source, WeatherFile, find, require

READINGS: Final = "train.csv"
_METADATA, _WEATHER = "building_metadata.csv", "weather_train.csv"
_COLUMNS: Final = {name: name for name in Building.model_fields}
_NUMBERS: Final = ("site_id", "building_id")


def open_kaggle(folder: Path, sites_file: Path | None, findings: Findings) -> Source:
    """Look at the folder.

    Args:
        folder: Has train.csv, building_metadata.csv and optionally weather_train.csv.
        sites_file: Replaces the table of the competition's sites.
        findings: Told what is wrong with the metadata.

    Raises:
        DataFolderError: A file or a column is missing, or a site is in no table.
    """
    sites = read_sites(sites_file) if sites_file else competition_sites()
    weather = find(folder, _WEATHER)
    buildings = _buildings(require(folder, _METADATA), sites, findings)
    in_use = {str(building.site_id) for building in buildings.values()}
    return Source(
        layout="kaggle",
        sites={name: sites[name].site for name in sorted(in_use, key=int)},
        buildings=buildings,
        meters=tuple(_units(buildings, sites)),
        readings=(ReadingFile(require(folder, READINGS)),),
        weather=None if weather is None else WeatherFile(weather, _weather_columns(), "utc"),
    )


def _buildings(file: Path, sites: dict[str, SourceSite], findings: Findings) -> dict[str, Building]:
    buildings: dict[str, Building] = {}
    for line, cells in metadata_rows(file, *_NUMBERS):
        building = building_of(file, line, cells, _COLUMNS, findings)
        name = str(building.building_id)
        if str(building.site_id) not in sites:
            text = "is a site that the table of sites does not have; give one with --sites FILE"
            raise DataFolderError.at(file, line, "site_id", building.site_id, text)
        if name in buildings:
            findings.add(file.name, "dropped", "building stands there twice", [(line, "building_id", name)])
        buildings.setdefault(name, building)
    return buildings


def _units(buildings: dict[str, Building], sites: dict[str, SourceSite]) -> list[Meter]:
    units = [(building.building_id, sites[str(building.site_id)].electricity_unit) for building in buildings.values()]
    return [Meter(building_id=number, meter=ELECTRICITY, unit=unit) for number, unit in units if unit != "kWh"]


def _weather_columns() -> dict[str, str]:
    return {column: column for column in ("site_id", "timestamp", *(q.ashrae_column for q in QUANTITIES))}
