"""Sites, buildings and meters: from a data folder into Postgres, and as Redis holds them."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case
from psycopg2.extras import RealDictCursor, execute_values
from pydantic import AwareDatetime, BaseModel, ConfigDict

from Sensor_core.building import KWH_PER_UNIT, M2_PER_SQUARE_FOOT, Building, Meter, Site
from Setup.data_folder import DataFolder

logger = logging.getLogger(__name__)

SLOT: Final = np.dtype([("step", "<f8"), ("known_at", "<f8"), ("kwh", "<f8")])
"""One slot of a meter's ring in Redis; times in seconds since 1970, step 0 is an empty slot."""


class Metadata(BaseModel):
    """What Redis holds of sites and buildings.

    Attributes:
        sites: All sites.
        buildings: All buildings.
        retired: Building id and meter code of each retired meter, and from when on no readings are expected.
    """

    model_config = ConfigDict(frozen=True)

    sites: list[Site]
    buildings: list[Building]
    retired: list[tuple[int, int, AwareDatetime]] = []


def upload_metadata(connection: Connection, folder: DataFolder) -> None:
    """Bring sites, buildings and declared meters of a data folder into Postgres; newer metadata replaces older."""
    sites = [
        (s.site_id, s.time_zone, s.latitude, s.longitude, s.country, s.stamps, s.limit_kw)
        for s in folder.sites.values()
    ]
    buildings = [
        (b.building_id, b.site_id, b.primary_use, b.floor_area_m2, b.year_built, b.floor_count)
        for b in folder.buildings.values()
    ]
    meters = [(m.building_id, m.meter, m.external_id, m.unit, m.multiplier) for m in folder.meters.values()]
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT building_id, site_id FROM buildings")
        site_before: dict[int, int] = dict(cursor.fetchall())
        has_moved = any(site_before.get(b.building_id, b.site_id) != b.site_id for b in folder.buildings.values())
        _upsert(cursor, "sites", "site_id, time_zone, latitude, longitude, country, stamps, limit_kw", sites, 1)
        columns = "building_id, site_id, primary_use, floor_area_m2, year_built, floor_count"
        _upsert(cursor, "buildings", columns, buildings, 1)
        _warn_of_changed_units(cursor, folder.meters)
        _upsert(cursor, "meters", "building_id, meter, external_id, unit, multiplier", meters, 2)
        cursor.execute("SELECT EXISTS (SELECT FROM unknown_buildings JOIN buildings USING (building_id))")
        (became_known,) = cursor.fetchone() or (False,)
        if became_known or has_moved:  # their readings join the totals, or others
            cursor.execute("SELECT rebuild_hourly_totals()")


def _warn_of_changed_units(cursor: Any, declared: Mapping[tuple[int, int], Meter]) -> None:
    """Readings were converted as they came in: those that are stored have the unit that was declared then."""
    cursor.execute("SELECT building_id, meter, unit, multiplier FROM meters WHERE first_seen IS NOT NULL")
    changed = [
        f"meter {meter} of building {building_id} from {multiplier:g} {unit} to {new.multiplier:g} {new.unit}"
        for building_id, meter, unit, multiplier in cursor.fetchall()
        if (new := declared.get((building_id, meter))) and new.kwh_per_count != KWH_PER_UNIT[unit] * multiplier
    ]
    if changed:
        logger.warning(
            "meters.csv changes what %d meters count (%s ...): their stored readings keep the old unit; "
            "to convert them anew, start with an empty database (energy-run --fresh)", len(changed), changed[0],
            extra={"event": "units_changed", "meters": len(changed)},
        )  # fmt: skip


def _upsert(cursor: Any, table: str, columns: str, rows: Sequence[tuple[object, ...]], key_columns: int) -> None:
    if not rows:
        return
    names = columns.split(", ")
    key, rest = ", ".join(names[:key_columns]), names[key_columns:]
    changes = ", ".join(f"{name} = excluded.{name}" for name in rest)
    execute_values(
        cursor, f"INSERT INTO {table} ({columns}) VALUES %s ON CONFLICT ({key}) DO UPDATE SET {changes}", rows
    )


def read_metadata(connection: Connection) -> Metadata:
    """Sites, buildings and retired meters as Postgres has them, by id."""
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute("SELECT * FROM sites ORDER BY site_id")
        sites = [Site.model_validate(row) for row in cursor.fetchall()]
        cursor.execute(
            "SELECT *, floor_area_m2 / %s AS square_feet FROM buildings ORDER BY building_id", (M2_PER_SQUARE_FOOT,)
        )
        buildings = [Building.model_validate(row) for row in cursor.fetchall()]
        cursor.execute("SELECT building_id, meter, retired_at FROM meters WHERE retired_at IS NOT NULL ORDER BY 1, 2")
        retired = [(row["building_id"], row["meter"], row["retired_at"]) for row in cursor.fetchall()]
        return Metadata(sites=sites, buildings=buildings, retired=retired)
