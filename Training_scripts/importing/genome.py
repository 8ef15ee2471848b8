"""The Building Data Genome 2 (doi 10.1038/s41597-020-00712-x): a file a kind of meter, a column a building.

Its meters are stamped without daylight saving (24 hours every day), its weather by the wall clock (issue 23 of
buds-lab/building-data-genome-project-2); all energy is in kWh.
"""

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from Sensor_core.building import Building, Meter, Site
from Sensor_core.errors import DataFolderError
from Training_scripts.importing.ashrae_sites import ASHRAE_SITES, SourceSite, read_sites
from Training_scripts.importing.csv_blocks import header_of
from Training_scripts.importing.findings import Findings
from Training_scripts.importing.metadata import Row, building_of, metadata_rows
from Training_scripts.importing.source import ReadingFile, Source, WeatherFile, find, require

METADATA: Final = ("metadata.csv", "metadata/metadata.csv", "data/metadata/metadata.csv")
_WEATHER: Final = ("weather.csv", "weather/weather.csv", "data/weather/weather.csv")
_METERS: Final = ("electricity", "chilledwater", "steam", "hotwater")
_NOT_ENERGY_CODES: Final = ("gas", "irrigation", "solar", "water")
_COLUMNS: Final = {
    "building_id": "number",
    "site_id": "site_number",
    "primary_use": "primaryspaceusage",
    "square_feet": "sqft",
    "year_built": "yearbuilt",
    "floor_count": "numberoffloors",
}
_WEATHER_COLUMNS: Final = {
    "site_id": "site_id",
    "timestamp": "timestamp",
    "air_temperature": "airTemperature",
    "dew_temperature": "dewTemperature",
    "cloud_coverage": "cloudCoverage",
    "precip_depth_1_hr": "precipDepth1HR",
    "sea_level_pressure": "seaLvlPressure",
    "wind_direction": "windDirection",
    "wind_speed": "windSpeed",
}
_SQUARE_FEET_PER_M2: Final = 10.763910416709722


def open_genome(folder: Path, sites_file: Path | None, findings: Findings) -> Source:
    """Look at the folder.

    Args:
        folder: Has metadata.csv, at least one of electricity.csv, chilledwater.csv, steam.csv and hotwater.csv (or
            ``..._cleaned.csv``), and optionally weather.csv; flat, or in the folders of the project's repository.
        sites_file: Replaces what metadata.csv says of the sites.
        findings: Told what is wrong with the metadata, and which files have no meter code.

    Raises:
        DataFolderError: A file or a column is missing, or a site is in no table.
    """
    file = require(folder, *METADATA)
    rows = list(metadata_rows(file, "building_id", "site_id"))
    site_numbers = _numbers(rows, "site_id", "site_id_kaggle")
    building_numbers = _numbers(rows, "building_id", "building_id_kaggle")
    given = read_sites(sites_file, site_numbers) if sites_file else {}
    sites = {name: given.get(name) or _site(file, rows, name, site_numbers[name]) for name in site_numbers}
    buildings = _buildings(file, rows, site_numbers, building_numbers, findings)
    readings = tuple(ReadingFile(path, code) for code, path in _meter_files(folder))
    _note_other_meters(folder, findings)
    weather = find(folder, *_WEATHER)
    return Source(
        layout="genome",
        sites={name: known.site for name, known in sites.items()},
        buildings=buildings,
        meters=tuple(_meters(readings, buildings, {site.site.site_id: site for site in sites.values()})),
        readings=readings,
        weather=None if weather is None else WeatherFile(weather, _WEATHER_COLUMNS, "local"),
    )


def _numbers(rows: list[Row], name: str, number: str) -> dict[str, int]:
    """Numbers of names: those of the competition, where the file gives them, and the next free ones."""
    given = {cells[name]: cells.get(number, "").strip().removesuffix(".0") for _, cells in rows}
    numbers = {key: int(text) for key, text in given.items() if text.isdigit()}
    free = iter(range(max(numbers.values(), default=-1) + 1, len(given) + max(numbers.values(), default=0) + 1))
    return {key: numbers[key] if key in numbers else next(free) for key in given}


def _site(file: Path, rows: list[Row], name: str, number: int) -> SourceSite:
    """A site by its buildings' rows; what they leave open, as the competition's table has it."""
    line, cells = next(row for row in rows if row[1]["site_id"] == name)
    known = ASHRAE_SITES.get(name)
    zone = known.time_zone if known else cells.get("timezone", "")
    facts = {
        "site_id": number,
        "time_zone": zone,
        "latitude": _first(rows, name, "lat") or (known and known.latitude),
        "longitude": _first(rows, name, "lng") or (known and known.longitude),
        "country": known.country if known else _country(zone),
        "stamps": "standard",
    }
    if facts["latitude"] is None or facts["longitude"] is None:  # not needed for forecasts, only for live weather
        facts |= _place_of_zone(zone)
    try:
        return SourceSite(Site.model_validate(facts))
    except ValidationError as error:
        column = {"time_zone": "timezone", "latitude": "lat", "longitude": "lng"}.get(
            str(error.errors()[0]["loc"][0]), "timezone"
        )
        text = f"does not say where site {name} is; give a table with --sites FILE"
        raise DataFolderError.at(file, line, column, cells.get(column), text) from None


def _first(rows: list[Row], site: str, column: str) -> str | None:
    return next((cells[column] for _, cells in rows if cells["site_id"] == site and cells.get(column)), None)


def _zones() -> Mapping[str, tuple[str, str]]:
    """Country and place (ISO 6709) of each IANA zone; old names such as US/Eastern included."""
    folder = resources.files("tzdata") / "zoneinfo"
    lines = (folder / "zone.tab").read_text(encoding="utf-8").splitlines()
    zones = {zone: (country, place) for country, place, zone in (_cells(line) for line in lines if line[0] != "#")}
    for line in (folder / "tzdata.zi").read_text(encoding="utf-8").splitlines():
        if line.startswith("L "):
            _, zone, alias = line.split()
            if zone in zones:
                zones.setdefault(alias, zones[zone])
    return zones


def _cells(line: str) -> tuple[str, str, str]:
    country, place, zone = line.split("\t")[:3]
    return country, place, zone


def _country(zone: str) -> str:
    return _zones().get(zone, ("", ""))[0]


def _place_of_zone(zone: str) -> dict[str, float | None]:
    """Latitude and longitude of the zone's own town."""
    place = _zones().get(zone, ("", ""))[1]
    cut = max(place.rfind("+"), place.rfind("-"))
    if cut <= 0:
        return {"latitude": None, "longitude": None}
    return {"latitude": _degrees(place[:cut], 2), "longitude": _degrees(place[cut:], 3)}


def _degrees(text: str, digits: int) -> float:
    sign = -1.0 if text[0] == "-" else 1.0
    return sign * (int(text[1 : 1 + digits]) + int(text[1 + digits : 3 + digits]) / 60)


def _buildings(
    file: Path, rows: list[Row], sites: dict[str, int], numbers: dict[str, int], findings: Findings
) -> dict[str, Building]:
    buildings: dict[str, Building] = {}
    for line, cells in rows:
        name = cells["building_id"]
        if name in buildings:
            findings.add(file.name, "dropped", "building stands there twice", [(line, "building_id", name)])
            continue
        area = cells.get("sqft") or _square_feet(cells.get("sqm", ""))
        known = {**cells, "number": str(numbers[name]), "site_number": str(sites[cells["site_id"]]), "sqft": area}
        buildings[name] = building_of(file, line, known, _COLUMNS, findings)
    return buildings


def _square_feet(area_m2: str) -> str:
    try:
        return str(float(area_m2) * _SQUARE_FEET_PER_M2)
    except ValueError:
        return area_m2


def _candidates(kind: str) -> tuple[str, ...]:
    folders = ("", "meters/raw/", "meters/cleaned/", "data/meters/raw/", "data/meters/cleaned/")
    return tuple(f"{folder}{kind}{suffix}.csv" for folder in folders for suffix in ("", "_cleaned"))


def _meter_files(folder: Path) -> list[tuple[int, Path]]:
    files = [(code, find(folder, *_candidates(kind))) for code, kind in enumerate(_METERS)]
    found = [(code, file) for code, file in files if file is not None]
    if not found:
        raise DataFolderError(f"{folder} has none of {', '.join(f'{kind}.csv' for kind in _METERS)} (or .gz)")
    return found


def _note_other_meters(folder: Path, findings: Findings) -> None:
    for kind in _NOT_ENERGY_CODES:
        file = find(folder, *_candidates(kind))
        if file is not None:
            findings.add(file.name, "dropped", "kind of meter that has no code here: the whole file", [(1, "", kind)])


def _meters(
    files: Iterable[ReadingFile], buildings: Mapping[str, Building], sites: Mapping[int, SourceSite]
) -> Iterable[Meter]:
    for file in files:
        for name in header_of(file.path):
            if name in buildings and file.meter is not None:
                building = buildings[name]
                unit = sites[building.site_id].electricity_unit if file.meter == 0 else "kWh"
                yield Meter(building_id=building.building_id, meter=file.meter, unit=unit, external_id=name)
