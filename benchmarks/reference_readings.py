"""What a data folder says its readings are: a parser of its own, which shares no code with the pipeline's."""

import csv
import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

KWH_PER_COUNT = {"kWh": 1.0, "MWh": 1000.0, "kBTU": 1055.05585262 / 3600}
Reading = tuple[int, int, int]
"""Building, meter code, start of the interval in seconds since 1970."""


def rows_of(folder: Path, name: str) -> Iterator[dict[str, str]]:
    """Rows of a CSV file, plain or gzipped; none where there is no such file."""
    plain, zipped = folder / name, folder / f"{name}.gz"
    if plain.exists():
        with plain.open(newline="") as stream:
            yield from csv.DictReader(stream)
    elif zipped.exists():
        with gzip.open(zipped, "rt", newline="") as stream:
            yield from csv.DictReader(stream)


def expected_readings(folder: Path) -> tuple[dict[Reading, float], int]:
    """Readings that Postgres has to have [kWh], and the first hour of the replay (seconds since 1970)."""
    sites = {row["site_id"]: row for row in rows_of(folder, "sites.csv")}
    site_of = {row["building_id"]: sites[row["site_id"]] for row in rows_of(folder, "building_metadata.csv")}
    factors = {
        (int(row["building_id"]), int(row["meter"])): KWH_PER_COUNT[row["unit"]] * float(row.get("multiplier") or 1)
        for row in rows_of(folder, "meters.csv")
    }
    readings: dict[Reading, float] = {}
    first = 0
    for name in ("history.csv", "Sensors/new_consumptions.csv"):
        in_file: dict[Reading, float] = {}
        seen: set[tuple[int, int, str]] = set()
        for row in rows_of(folder, name):
            building, meter = int(row["building_id"]), int(row.get("meter") or 0)
            local = (building, meter, row["timestamp"])
            stamp = to_utc_s(row["timestamp"], site_of[row["building_id"]], again=local in seen)
            seen.add(local)
            if row["meter_reading"]:
                in_file[building, meter, stamp] = float(row["meter_reading"]) * factors.get((building, meter), 1.0)
        readings |= in_file
        first = min(stamp for _, _, stamp in in_file) if in_file else first
    return readings, first


def to_utc_s(text: str, site: dict[str, str], *, again: bool) -> int:
    """Seconds since 1970 of a stamp as its site writes it; the second of a doubled hour is winter time."""
    stamp = datetime.fromisoformat(text)
    stamps = site.get("stamps") or "utc"
    if stamp.tzinfo is not None or stamps == "utc":
        return int(stamp.replace(tzinfo=stamp.tzinfo or UTC).timestamp())
    zone = ZoneInfo(site["time_zone"])
    if stamps == "local":
        return int(stamp.replace(tzinfo=zone, fold=int(again)).timestamp())
    offset = min(stamp.replace(month=month, day=1, tzinfo=zone).utcoffset() or UTC.utcoffset(None) for month in (1, 7))
    return int((stamp - offset).replace(tzinfo=UTC).timestamp())
