"""Redis: the client, its errors, and the names of its keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, TypeAlias

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from Sensor_core.errors import RetriableError
from Setup.lifecycle import Stop, wait_for
from Setup.passwords import password_for
from Setup.settings import Settings

Client: TypeAlias = Any
"""A redis.Redis that answers in bytes; the library's own hints say bytes or str or None everywhere."""

PREFIX = "energy"
METADATA_KEY = f"{PREFIX}:metadata"
"""Sites and buildings as one JSON document."""
METERS_KEY = f"{PREFIX}:meters"
"""Set of the meters that have a ring, as ``building:meter``."""
CLOSED_KEY = f"{PREFIX}:closed"
"""Stream of closed hours for the predictor, one entry an hour under the ID ``<hour>-<shard>``."""
STATE_KEY = f"{PREFIX}:state"
"""Hash: offset, clock and what waits next of each partition, the newest closed hour, and that the cache is filled."""
WAITING_KEY = f"{PREFIX}:waiting_ticks"
"""Sorted set of ticks that not every partition has delivered yet."""
RING_PREFIX = f"{PREFIX}:ring:"
"""Followed by ``building:meter``: the key of one meter's ring."""
FORECAST_KEY = f"{PREFIX}:last_issue"
"""The newest issue's one-step forecasts, to judge the next reading by."""
LEARNED_KEY = f"{PREFIX}:learned"
"""Hash: what the predictor has learned from its errors, in parts, see ``Predictor.learned_state``."""
LEASE_KEY = f"{PREFIX}:lease:predictor"


class RedisUser(Enum):
    """Who connects: the Redis user, see config/redis/users.acl, and the setting that has its password."""

    ADMIN = ("default", "redis_password")
    REDIS_CONSUMER = ("energy_redis_consumer", "redis_consumer_redis_password")
    PREDICTOR = ("energy_predictor", "predictor_redis_password")


SERVICE_USERS = (RedisUser.REDIS_CONSUMER, RedisUser.PREDICTOR)


def make_client(settings: Settings, user: RedisUser) -> Client:
    """Make a client that does not retry by itself: the callers' loops do.

    Raises:
        SettingsError: The password is one that everybody knows, and the server is not on this machine.
    """
    name, password_field = user.value
    return redis.Redis(
        host=settings.redis_host,
        port=settings.redis_port,
        username=name,
        password=password_for(settings, password_field, settings.redis_host),
        socket_timeout=4,  # twice that, and a service still stops in time
        socket_connect_timeout=5,
        retry=Retry(NoBackoff(), 0),
        driver_info=None,  # CLIENT SETINFO is of Redis 7.2, and a right that no service needs
    )


@contextmanager
def curable_errors() -> Iterator[None]:
    """Turn what waiting may cure into RetriableError; let the rest pass."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, redis.exceptions.OutOfMemoryError) as error:
        raise RetriableError(f"Redis: {error}") from error


def wait_for_redis(settings: Settings, user: RedisUser, stop: Stop | None = None) -> Client:
    """Make a client and wait until the server answers.

    Raises:
        UnreachableError: No answer within START_DEADLINE_S.
    """
    client = make_client(settings, user)

    def attempt() -> Client:
        with curable_errors():
            client.ping()
        return client

    where = f"{settings.redis_host}:{settings.redis_port}"
    return wait_for("Redis", where, attempt, deadline_s=settings.start_deadline_s, stop=stop)
