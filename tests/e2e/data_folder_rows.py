"""A data folder as the documentation describes it, read by a parser that shares nothing with the product's."""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

# Of one unit: International Table BTU; a ton of refrigeration is 12,000 of them an hour.
KWH = {"kWh": 1.0, "MWh": 1000.0, "kBTU": 0.29307107017222, "ton-hour": 3.51685284206667}
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Row:
    """A reading, in UTC and kWh."""

    site_id: int
    building_id: int
    meter: int
    timestamp: datetime
    kwh: float


def table(folder: Path, name: str) -> Iterator[dict[str, str]]:
    """The rows of a file, plain or gzipped."""
    zipped = folder / f"{name}.gz"
    with gzip.open(zipped, "rt") if zipped.exists() else (folder / name).open() as stream:
        yield from csv.DictReader(stream)


def replay_rows(folder: Path) -> list[Row]:
    """Every reading of the replay."""
    site_of = {int(row["building_id"]): int(row["site_id"]) for row in table(folder, "building_metadata.csv")}
    clock_of = {int(row["site_id"]): (ZoneInfo(row["time_zone"]), row["stamps"]) for row in table(folder, "sites.csv")}
    declared = any(folder.glob("meters.csv*"))
    factor_of = {
        (int(row["building_id"]), int(row["meter"])): KWH[row["unit"]] * float(row.get("multiplier") or 1)
        for row in (table(folder, "meters.csv") if declared else ())
    }
    seen: set[tuple[int, int, str]] = set()
    rows = []
    for row in table(folder, "Sensors/new_consumptions.csv"):
        meter = int(row["building_id"]), int(row.get("meter") or 0)
        if row["meter_reading"]:
            stamp = (*meter, row["timestamp"])
            zone, stamps = clock_of[site_of[meter[0]]]
            timestamp = to_utc(row["timestamp"], zone, stamps, is_second=stamp in seen)
            seen.add(stamp)
            kwh = float(row["meter_reading"]) * factor_of.get(meter, 1.0)
            rows.append(Row(site_of[meter[0]], *meter, timestamp, kwh))
    return rows


def to_utc(text: str, zone: ZoneInfo, stamps: str, *, is_second: bool) -> datetime:
    """One stamp of a site's clock; the first of a doubled hour is summer time."""
    stamp = datetime.fromisoformat(text)
    if stamps == "utc":
        return stamp.replace(tzinfo=UTC)
    local = stamp.replace(tzinfo=zone, fold=int(is_second))
    summer = local.dst() if stamps == "standard" else timedelta()
    return (local.replace(tzinfo=UTC) - local.utcoffset() + summer).astimezone(UTC)
