"""What each service's user may do in Redis: its own work, every key family both ways, and no other command."""

import re
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from Consumers.history import History
from Consumers.testing import make_batch
from Predictor.building_directory import BuildingDirectory
from Predictor.closed_hours import ClosedHours
from Predictor.forecasting.forecaster import Forecaster
from Predictor.forecasting.testing import ORIGIN, make_snapshot
from Predictor.forecasting.total_model import TotalModel
from Predictor.issuing import Issuer
from Predictor.learned_copy import LearnedCopy
from Predictor.learned_state import LearnedState
from Predictor.rings import Rings
from Sensor_core.reading import Tick
from Sensor_core.testing import FIRST_HOUR, make_reading
from Setup import redis_client as redis_client_module
from Setup.cache_filling import fill_cache
from Setup.postgres import Role
from Setup.redis_client import LEARNED_KEY, SERVICE_USERS, RedisUser, make_client

pytestmark = pytest.mark.integration

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "security.md"
KEYS = {
    key.replace("*", "1:0"): (consumer, predictor)
    for key, consumer, predictor in re.findall(
        r"^\| `(energy:\S+)` \| ?(r?w?) \| ?(r?w?) \|$", DOCUMENT.read_text(), re.MULTILINE
    )
} | dict.fromkeys(["energy:lease:other", "energy:other", "other"], ("", ""))
"""Key of each family: what the redis consumer and the predictor may do with it, by the document's table."""

BOTH = "del eval evalsha expire get hexists hget hgetall hmget hset ping sadd script|load set smembers"
COMMANDS = {
    RedisUser.REDIS_CONSUMER: f"{BOTH} getrange setrange xadd xrange zadd zrangebyscore zremrangebyscore",
    RedisUser.PREDICTOR: f"{BOTH} hdel mget xdel xread",
}
REFUSAL = re.compile("NOPERM|ACL failure|command not allowed")
"""In the middle of an error: of EXEC, of a script, and of what the server's settings forbid everybody."""
AT_ONCE = Retry(NoBackoff(), 0)
FREE_TO_ALL = {"auth", "hello", "quit", "reset"}
"""What the protocol allows before a login."""


@pytest.fixture(params=SERVICE_USERS, ids=lambda user: user.value[0])
def user(request):
    return request.param


@pytest.fixture
def client_of(settings):
    clients = {user: make_client(settings, user) for user in RedisUser}
    yield clients.get
    for client in clients.values():
        client.close()


def cell(client, key):
    """What a user may do with a key, by commands and from within a script that does not declare it."""
    attempts = {"r": ("GET", key), "w": ("SET", key, "x")}
    found = "".join(right for right, command in attempts.items() if is_allowed(client, *command))
    script = "return redis.pcall(ARGV[1], ARGV[2], ARGV[3])"
    inside = "".join(
        right
        for right, command in attempts.items()
        if is_allowed(client, "EVAL", script if right == "w" else script.replace(", ARGV[3]", ""), 0, *command)
    )
    assert inside == found
    return found


def is_allowed(client, *command):
    try:
        client.execute_command(*command)
    except redis.exceptions.NoPermissionError:
        return False
    except redis.ResponseError as error:
        return REFUSAL.search(str(error)) is None
    return True


def test_the_document_names_every_key_family():
    families = {name: value for name, value in vars(redis_client_module).items() if name.endswith(("_KEY", "_PREFIX"))}
    assert len(families) == 9
    documented = {key.removesuffix("1:0") for key in KEYS}
    assert set(families.values()) | {"energy:lease:fill"} == {key for key in documented if "other" not in key}


def test_a_user_reaches_its_own_keys_only_each_in_the_ways_it_needs(client_of, redis_client):
    redis_client.mset(dict.fromkeys(KEYS, "x"))
    assert {key: tuple(cell(client_of(user), key) for user in SERVICE_USERS) for key in KEYS} == KEYS
    assert {cell(client_of(RedisUser.ADMIN), key) for key in KEYS} == {"rw"}


def named(commands):
    """Names and arities of commands, subcommands one by one."""
    for name, arity, *_, subcommands in ((c[0].decode(), *c[1:]) for c in commands):
        if subcommands:
            yield from named(subcommands)
        else:
            yield name, abs(arity)


def test_every_command_that_a_user_does_not_need_is_refused(client_of, redis_client, user):
    commands = dict(named(all_commands(redis_client)))
    allowed = set(COMMANDS[user].split())
    assert allowed <= commands.keys()
    assert len(commands) > 300
    wrong = [
        name
        for name, arity in commands.items()
        if name not in allowed | FREE_TO_ALL and is_allowed(client_of(user), *arguments(name, arity))
    ]
    assert wrong == []


def all_commands(client):
    """COMMAND's answer as it is: redis-py leaves subcommands out."""
    connection = client.connection_pool.get_connection()
    connection.send_command("COMMAND")
    answer = connection.read_response()
    client.connection_pool.release(connection)
    return answer


def arguments(name, arity):
    words = name.split("|")
    return [*words, *["energy:state"] * (arity - len(words))]


def test_nobody_gets_in_without_a_password_or_with_another_ones(settings):
    stranger = redis.Redis(port=settings.redis_port, retry=AT_ONCE)
    with pytest.raises(redis.AuthenticationError):
        stranger.ping()
    for user in RedisUser:
        liar = redis.Redis(port=settings.redis_port, username=user.value[0], password="guess", retry=AT_ONCE)
        with pytest.raises(redis.AuthenticationError):
            liar.ping()


def test_the_redis_consumer_does_its_work_as_its_user(settings, postgres, client_of, redis_client):
    redis_client.acl_log_reset()
    store, partitions = History(settings, client_of(RedisUser.REDIS_CONSUMER), 1), [(settings.topic_redis, 0)]
    store.positions(partitions)  # fills the empty cache first
    write_hour(store, partitions[0], hour=0)
    assert store.limit({}) > settings.interval.step_of(FIRST_HOUR)
    fill_cache(settings, client_of(RedisUser.REDIS_CONSUMER))
    assert redis_client.acl_log() == []


def write_hour(store, partition, hour):
    start = store.positions([partition])[partition].next_offset
    reading = make_reading(hour=hour)
    tick = Tick(reading.timestamp, reading.known_at)
    store.write(make_batch([reading, tick], partition=partition, start=start), lambda _: None)


def test_the_predictor_does_its_work_as_its_user(settings, postgres, client_of, redis_client):
    redis_client.acl_log_reset()
    client = client_of(RedisUser.PREDICTOR)
    fill_cache(settings, client, Role.PREDICTOR)
    hours = ClosedHours(client)
    learned_state = partial(LearnedState, client, LearnedCopy(settings), settings.interval)
    learned = learned_state()
    assert hours.lead()
    write_hour(History(settings, client_of(RedisUser.REDIS_CONSUMER), 1), (settings.topic_redis, 0), hour=0)
    hour = hours.next(1)
    assert BuildingDirectory(client).refresh()
    assert Rings(settings, client).read(hour.step, hour.known_at).meters == [(1, 0)]
    snapshot = make_snapshot(origin=ORIGIN)
    issue = learned.finisher(TotalModel(), ORIGIN).finish(snapshot, Forecaster().raw(snapshot))
    learned.save()
    redis_client.hset(LEARNED_KEY, "old", "x")
    heir, later = learned_state(), make_snapshot(origin=ORIGIN + 1, seed=1)
    heir.finisher(TotalModel(), ORIGIN + 1).finish(later, Forecaster().raw(later))
    heir.save()
    assert not redis_client.hexists(LEARNED_KEY, "old")
    issuer = Issuer(settings, None, client)
    issuer.remember(hour.step, snapshot.meters, issue.meters)
    assert np.isfinite(issuer.remembered(hour.step, snapshot.meters).q50).any()
    hours.done(hour)
    hours.resign()
    assert redis_client.acl_log() == []


def test_services_log_in_again_after_redis_was_killed(engines, client_of, user):
    assert client_of(user).ping()
    engines.kill("redis")
    engines.restart("redis")
    with suppress(redis.ConnectionError):  # what it was connected to is gone
        client_of(user).ping()
    assert client_of(user).ping()
