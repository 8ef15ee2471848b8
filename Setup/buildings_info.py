"""Sites, buildings, meters and their history: from a data folder into Postgres, and from Postgres into Redis."""

import io
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import pandas as pd
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case
from psycopg2.extras import RealDictCursor, execute_values
from pydantic import BaseModel, ConfigDict

from Sensor_core.building import M2_PER_SQUARE_FOOT, Building, Site
from Sensor_core.errors import RetriableError
from Setup.data_folder import DataFolder
from Setup.postgres import Role, connect
from Setup.postgres import curable_errors as curable_postgres_errors
from Setup.redis_client import METADATA_KEY, METERS_KEY, RING_PREFIX, STATE_KEY, Client, curable_errors
from Setup.settings import Settings

logger = logging.getLogger(__name__)

SLOT: Final = np.dtype([("step", "<f8"), ("known_at", "<f8"), ("kwh", "<f8")])
"""One slot of a meter's ring in Redis; times in seconds since 1970, step 0 is an empty slot."""
_FILLED: Final = "filled"
_FILL_LOCK: Final = "energy:lease:fill"


class Metadata(BaseModel):
    """What Redis holds of sites and buildings."""

    model_config = ConfigDict(frozen=True)

    sites: list[Site]
    buildings: list[Building]


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
        _upsert(cursor, "sites", "site_id, time_zone, latitude, longitude, country, stamps, limit_kw", sites, 1)
        columns = "building_id, site_id, primary_use, floor_area_m2, year_built, floor_count"
        _upsert(cursor, "buildings", columns, buildings, 1)
        _upsert(cursor, "meters", "building_id, meter, external_id, unit, multiplier", meters, 2)
        cursor.execute("SELECT EXISTS (SELECT FROM unknown_buildings JOIN buildings USING (building_id))")
        (became_known,) = cursor.fetchone() or (False,)
        if became_known:  # their readings join the totals
            cursor.execute("SELECT rebuild_hourly_totals()")


def _upsert(cursor: Any, table: str, columns: str, rows: Sequence[tuple[object, ...]], key_columns: int) -> None:
    if not rows:
        return
    names = columns.split(", ")
    key, rest = ", ".join(names[:key_columns]), names[key_columns:]
    changes = ", ".join(f"{name} = excluded.{name}" for name in rest)
    execute_values(
        cursor, f"INSERT INTO {table} ({columns}) VALUES %s ON CONFLICT ({key}) DO UPDATE SET {changes}", rows
    )


def is_filled(client: Client) -> bool:
    """Whether the cache was filled since Redis last was empty."""
    with curable_errors():
        return bool(client.hexists(STATE_KEY, _FILLED))


def fill_cache(settings: Settings, client: Client) -> None:
    """Fill an empty Redis from Postgres: metadata, rings, and the newest hour that has forecasts.

    Raises:
        RetriableError: A server does not answer, or another process is filling the cache.
    """
    with curable_errors():
        if not client.set(_FILL_LOCK, "", nx=True, ex=120):
            raise RetriableError("another process is filling the cache")
    try:
        with curable_errors(), curable_postgres_errors():
            connection = connect(settings, Role.REDIS_CONSUMER)
            try:
                _fill(settings, client, connection)
            finally:
                connection.close()
    finally:
        with curable_errors():
            client.delete(_FILL_LOCK)


def _fill(settings: Settings, client: Client, connection: Connection) -> None:
    client.set(METADATA_KEY, read_metadata(connection).model_dump_json())
    rings = _read_rings(settings, connection)
    pipeline = client.pipeline(transaction=False)
    for meter, ring in rings.items():
        pipeline.set(RING_PREFIX + meter, ring.tobytes())
        pipeline.sadd(METERS_KEY, meter)
    pipeline.execute()
    newest = _newest_issue(connection)
    if newest is not None:
        client.hset(STATE_KEY, "closed", str(settings.interval.step_of(newest)))
    client.hset(STATE_KEY, _FILLED, "1")
    logger.info("cache filled: %d meters", len(rings), extra={"event": "cache_filled", "meters": len(rings)})


def read_metadata(connection: Connection) -> Metadata:
    """Sites and buildings as Postgres has them, by id."""
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute("SELECT * FROM sites ORDER BY site_id")
        sites = [Site.model_validate(row) for row in cursor.fetchall()]
        cursor.execute(
            "SELECT *, floor_area_m2 / %s AS square_feet FROM buildings ORDER BY building_id", (M2_PER_SQUARE_FOOT,)
        )
        return Metadata(sites=sites, buildings=[Building.model_validate(row) for row in cursor.fetchall()])


def _newest_issue(connection: Connection) -> datetime | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(issued_at) FROM forecasts")
        row = cursor.fetchone()
    newest: datetime | None = row[0] if row else None
    return newest


def _read_rings(settings: Settings, connection: Connection) -> dict[str, np.ndarray]:
    """Rings of all meters, by ``building:meter``, each of ``ring_steps`` slots."""
    slots, seconds = settings.ring_steps, settings.interval.seconds
    csv = io.BytesIO()
    with connection.cursor() as cursor:
        cursor.execute('SELECT max("timestamp") FROM latest_readings')
        (newest,) = cursor.fetchone() or (None,)
        if newest is None:
            return {}
        query = cursor.mogrify(
            'COPY (SELECT building_id, meter, extract(epoch FROM "timestamp")::bigint / %s,'
            ' extract(epoch FROM known_at), meter_reading_kwh FROM readings WHERE "timestamp" > %s)'
            " TO stdout (FORMAT csv)",
            (seconds, settings.interval.start_of(settings.interval.step_of(newest) - slots)),
        )
        cursor.copy_expert(query.decode(), csv)
    csv.seek(0)
    table = pd.read_csv(csv, names=["building_id", "meter", "step", "known_at", "kwh"])
    rings = {}
    for (building_id, meter), rows in table.groupby(["building_id", "meter"]):
        ring = np.zeros(slots, dtype=SLOT)
        place = rows["step"].to_numpy() % slots
        for name in SLOT.names or ():
            ring[name][place] = rows[name].to_numpy()
        rings[f"{building_id}:{meter}"] = ring
    return rings
