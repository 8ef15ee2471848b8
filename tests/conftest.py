"""What integration tests share: one run of the real engines, and an empty place in each of them."""

import dataclasses
import gc
import itertools
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import psycopg2.extensions
import pytest
import redis
from kafka import KafkaAdminClient
from psycopg2 import sql

from Setup.embedded.engines import PREFERRED_PORTS, Endpoints, Engines
from Setup.redis_client import SERVICE_USERS
from tests.other_postgres import chosen_binaries, running_server

ENGINE_PASSWORD = """te'st "\\ secret"""
_DATABASE_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def engine_password() -> str:
    """The password of ``postgres`` and of Redis' ``default``; has every character that quoting may break."""
    return ENGINE_PASSWORD


def new_engines(folder: Path) -> Engines:
    """Engines that nobody has used yet, on ports of their own, to be started."""
    return Engines(
        folder,
        postgres_password=ENGINE_PASSWORD,
        database="energy",
        redis_password=ENGINE_PASSWORD,
        redis_users=dict.fromkeys(SERVICE_USERS, ENGINE_PASSWORD),
        preferred_ports=dict.fromkeys(PREFERRED_PORTS, 0),
    )


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """Kafka, PostgreSQL and Valkey, started once on ports of their own. A test that kills one restarts it."""
    with new_engines(tmp_path_factory.mktemp("engines")) as running:
        running.start(lambda _: None)
        yield running


@pytest.fixture(scope="session")
def endpoints(engines: Engines) -> Iterator[Endpoints]:
    """Where to reach the engines; PostgreSQL is that of ENERGY_TEST_POSTGRES_BIN where this is set."""
    binaries = chosen_binaries()
    if binaries is None:
        yield engines.endpoints
        return
    with running_server(binaries, ENGINE_PASSWORD) as port:
        yield dataclasses.replace(engines.endpoints, postgres_port=port, psql=binaries / "psql")


@pytest.fixture
def postgres(endpoints: Endpoints) -> Iterator[psycopg2.extensions.connection]:
    """A connection of the superuser to a new, empty database, dropped after the test."""
    name = f"test_{next(_DATABASE_NUMBERS)}"
    server = _connect(endpoints, "postgres")
    server.autocommit = True
    with server.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    connection = _connect(endpoints, name)
    yield connection
    connection.close()
    with server.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    server.close()


@pytest.fixture
def redis_client(endpoints: Endpoints) -> Iterator[redis.Redis]:
    """A client of Redis, emptied before the test."""
    client = redis.Redis(host=endpoints.redis_host, port=endpoints.redis_port, password=ENGINE_PASSWORD)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def kafka_admin(endpoints: Endpoints) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(bootstrap_servers=endpoints.kafka_bootstrap)
    yield admin
    admin.close()


@pytest.fixture
def leaking_clients() -> Iterator[None]:
    """For tests that stop the broker: closes the sockets that Kafka's client leaks meanwhile.

    What it lets go itself is collected here, where such a test lets it pass, and not in whatever test comes later.
    """
    yield
    gc.collect()
    for thing in gc.get_objects():
        if type(thing) is socket.socket and _is_stranded(thing):
            thing.close()


def _is_stranded(candidate: socket.socket) -> bool:
    """Whether the socket is open, and neither listens nor is connected."""
    if candidate.fileno() == -1 or candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    try:
        candidate.getpeername()
    except OSError:
        return True
    return False


def _connect(endpoints: Endpoints, database: str) -> psycopg2.extensions.connection:
    return psycopg2.connect(
        host=endpoints.postgres_host,
        port=endpoints.postgres_port,
        user="postgres",
        password=ENGINE_PASSWORD,
        dbname=database,
    )
