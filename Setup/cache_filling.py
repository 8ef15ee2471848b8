"""Fills Redis from Postgres: metadata, the history rings, and where the stream goes on.

One process at a time does it, under a lock that it has to hold to the end: whatever is flushed meanwhile takes the
lock with it, and the filling starts anew. Until it is complete the state has no ``filled`` field, and neither the
redis consumer writes nor the predictor forecasts.
"""

import io
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class in lower case

from Sensor_core.errors import RetriableError
from Setup.buildings_info import SLOT, read_metadata
from Setup.kafka_login import KafkaUser
from Setup.lifecycle import Stop
from Setup.postgres import Role, connect
from Setup.postgres import curable_errors as curable_postgres_errors
from Setup.redis_client import (
    CLOSED_KEY,
    METADATA_KEY,
    METERS_KEY,
    RING_PREFIX,
    STATE_KEY,
    WAITING_KEY,
    Client,
    curable_errors,
)
from Setup.settings import Settings
from Setup.topic_position import MARGIN_S, Offsets, resume_offsets

logger = logging.getLogger(__name__)

Resume = Callable[[dict[int, int], int | None], Offsets]
"""Where the topic is to be read on, from what Postgres has stored and the last step that needs no forecast."""

FILLED: Final = "filled"
"""Field of the state: the name of the filling, which changes with each."""
_LOCK: Final = "energy:lease:fill"
LOCK_S: Final = 60
"""How long the filling of a process that was killed keeps others out. [s]"""
_METERS_AT_ONCE: Final = 100

_BINARY_HEAD_BYTES, _BINARY_END_BYTES = 19, 2
_COPIED: Final = np.dtype(
    [("fields", ">i2"), ("s0", ">i4"), ("place", ">i4"), ("s1", ">i4"), ("step", ">f8"), ("s2", ">i4"),
     ("known_at", ">f8"), ("s3", ">i4"), ("kwh", ">f8")]
)  # fmt: skip
"""A row of COPY's binary format: each field behind its size."""
# LATERAL with LIMIT: one index scan a meter, whatever the planner believes.
_NEWEST_READINGS: Final = """
COPY (SELECT m.place::integer - 1, r.step, r.known_at, r.meter_reading_kwh
      FROM unnest(%(buildings)s::integer[], %(meters)s::smallint[]) WITH ORDINALITY AS m (building_id, meter, place)
      CROSS JOIN LATERAL (
          SELECT (extract(epoch FROM r."timestamp") / %(seconds)s)::double precision AS step,
                 extract(epoch FROM r.known_at)::double precision AS known_at, r.meter_reading_kwh
          FROM readings r WHERE r.building_id = m.building_id AND r.meter = m.meter
          ORDER BY r."timestamp" DESC LIMIT %(slots)s) r)
TO stdout (FORMAT binary)"""
_STORE_RINGS: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('EXPIRE', KEYS[1], ARGV[2])
for place = 4, #ARGV, 2 do
    redis.call('SET', ARGV[3] .. ARGV[place], ARGV[place + 1])
    redis.call('SADD', KEYS[2], ARGV[place])
end
return 1
"""
_FINISH: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], unpack(ARGV, 2))
return 1
"""
_GIVE_UP: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


@dataclass(frozen=True)
class Filling:
    """What a filling brought: numbers of meters and readings, and how long it took [s]."""

    meters: int
    readings: int
    took_s: float


def is_filled(client: Client) -> bool:
    """Whether the cache was filled since Redis last was empty."""
    with curable_errors():
        return bool(client.hexists(STATE_KEY, FILLED))


def renew_metadata(settings: Settings, client: Client) -> None:
    """Bring the metadata of a filled cache to what Postgres knows now; whoever fills one that is not does so too.

    Raises:
        RetriableError: A server does not answer.
    """
    with curable_errors(), curable_postgres_errors(), closing(connect(settings, Role.REDIS_CONSUMER)) as connection:
        client.set(METADATA_KEY, read_metadata(connection).model_dump_json())


def fill_cache(
    settings: Settings,
    client: Client,
    role: Role = Role.REDIS_CONSUMER,
    margin_s: float = MARGIN_S,
    *,
    stop: Stop | None = None,
) -> Filling:
    """Bring Redis to what Postgres knows, whatever it held, and set where the redis consumer goes on in its topic.

    Hours after the newest one with forecasts will close again as their ticks come; that one too, for its forecasts may
    not be complete. What is forecast twice is kept once.

    Raises:
        RetriableError: A server does not answer, or another process is filling the cache, or it was flushed meanwhile,
            or this one is to stop.
    """
    started = time.monotonic()
    name = uuid.uuid4().hex
    resume = partial(resume_offsets, settings, margin_s=margin_s, user=KafkaUser[role.name])
    with curable_errors():
        if not client.set(_LOCK, name, nx=True, ex=LOCK_S):
            raise RetriableError("another process is filling the cache")
        try:
            with curable_postgres_errors(), closing(connect(settings, role)) as connection:
                connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
                meters, readings = _fill(settings, client, connection, name, resume, stop=stop or Stop())
        finally:
            client.eval(_GIVE_UP, 1, _LOCK, name)
    filling = Filling(meters, readings, time.monotonic() - started)
    logger.info(
        "cache filled: %d meters, %d readings in %.1f s", meters, readings, filling.took_s,
        extra={"event": "cache_filled", "meters": meters, "readings": readings, "took_s": filling.took_s},
    )  # fmt: skip
    return filling


def _fill(
    settings: Settings, client: Client, connection: Connection, name: str, resume: Resume, *, stop: Stop
) -> tuple[int, int]:
    with connection.cursor() as cursor:
        state = _state(settings, cursor, resume) | {FILLED: name}
        _empty(client)
        client.set(METADATA_KEY, read_metadata(connection).model_dump_json())
        count, readings = _fill_rings(settings, client, cursor, name, stop)
    fields = [part for field in state.items() for part in field]
    _require(client.eval(_FINISH, 2, _LOCK, STATE_KEY, name, *fields))
    return count, readings


def _fill_rings(settings: Settings, client: Client, cursor: Cursor, name: str, stop: Stop) -> tuple[int, int]:
    store = client.register_script(_STORE_RINGS)
    cursor.execute("SELECT building_id, meter FROM meters ORDER BY building_id, meter")
    meters = cursor.fetchall()
    count = readings = 0
    for start in range(0, len(meters), _METERS_AT_ONCE):
        if stop.is_set():
            raise RetriableError("the filling is given up: the process is to stop")
        rings = list(_rings(cursor, meters[start : start + _METERS_AT_ONCE], settings))
        arguments = [part for meter, ring in rings for part in (meter, ring.tobytes())]
        _require(store(keys=[_LOCK, METERS_KEY], args=[name, LOCK_S, RING_PREFIX, *arguments]))
        count += len(rings)
        readings += sum(int(np.count_nonzero(ring["step"])) for _, ring in rings)
    return count, readings


def _require(is_ours: object) -> None:
    if not is_ours:
        raise RetriableError("Redis was emptied, or the filling took too long")


def _empty(client: Client) -> None:
    """Forget everything that is derived; the state first, so that nobody goes on with the rest."""
    client.delete(STATE_KEY)
    rings = [RING_PREFIX.encode() + meter for meter in client.smembers(METERS_KEY)]
    client.delete(METERS_KEY, WAITING_KEY, CLOSED_KEY, *rings)


def _rings(cursor: Cursor, meters: list[tuple[int, int]], settings: Settings) -> Iterator[tuple[str, np.ndarray]]:
    """Rings of those of the meters that have readings, by ``building:meter``."""
    buildings, codes = map(list, zip(*meters, strict=True))
    slots = settings.ring_steps
    arguments = {"buildings": buildings, "meters": codes, "seconds": settings.interval.seconds, "slots": slots}
    copy = io.BytesIO()
    cursor.copy_expert(cursor.mogrify(_NEWEST_READINGS, arguments).decode(), copy)
    content = copy.getbuffer()[_BINARY_HEAD_BYTES:-_BINARY_END_BYTES]
    rows = np.frombuffer(content, dtype=_COPIED)
    rows = rows[np.argsort(rows["step"], kind="stable")]  # of two readings of one slot the newer stays
    rings = np.zeros((len(meters), slots), dtype=SLOT)
    where = rows["place"], rows["step"].astype(np.int64) % slots
    for field in SLOT.names or ():
        rings[field][where] = rows[field]
    for place in np.unique(rows["place"]).tolist():
        yield f"{buildings[place]}:{codes[place]}", rings[place]


def _state(settings: Settings, cursor: Cursor, resume: Resume) -> dict[str, str]:
    """The last hour that needs no forecast, and the offsets to read on from."""
    # Totals have an index on it, and are issued whenever a meter is heard of.
    cursor.execute(
        "SELECT coalesce((SELECT max(issued_at) FROM aggregate_forecasts), (SELECT max(issued_at) FROM forecasts))"
    )
    (newest,) = cursor.fetchone() or (None,)
    closed = None if newest is None else settings.interval.step_of(newest) - 1
    cursor.execute('SELECT "partition", next_offset FROM consumer_offsets WHERE topic = %s', (settings.topic_postgre,))
    offsets = resume(dict(cursor.fetchall()), closed)
    state = {f"offset:{number}": str(offset) for number, offset in offsets.items()}
    return state if closed is None else state | {"closed": str(closed)}
