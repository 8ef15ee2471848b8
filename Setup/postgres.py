"""Postgres: connections by role, error classes, migrations, and the passwords of the roles."""

import gzip
import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case
from psycopg2.extensions import encrypt_password

from Sensor_core.errors import RetriableError, SettingsError
from Setup.lifecycle import Stop, wait_for
from Setup.passwords import password_for
from Setup.settings import Settings
from Setup.tls import ca_file

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).resolve().parent.parent / "config" / "postgres-init"
_COPY_BLOCK = re.compile(r"^COPY .* FROM stdin;\n", re.MULTILINE | re.IGNORECASE)
_CURABLE = re.compile("08|53|57P0[123]|40001|40P01|55P03|25006|25P03")
"""SQLSTATE classes that waiting may cure: connection, resources, shutdown, conflicts, locks, read-only."""
_TLS_FAILURE = re.compile("certificate|does not support SSL")


class Role(Enum):
    """Who connects: the database role and the setting that has its password."""

    ADMIN = ("", "postgres_password")
    POSTGRES_CONSUMER = ("energy_postgres_consumer", "postgres_consumer_password")
    REDIS_CONSUMER = ("energy_redis_consumer", "redis_consumer_postgres_password")
    PREDICTOR = ("energy_predictor", "predictor_postgres_password")
    TRAINER = ("energy_trainer", "trainer_postgres_password")
    GRAFANA = ("grafana_reader", "grafana_postgres_password")


def is_curable(error: psycopg2.Error) -> bool:
    """Whether trying again may succeed; everything else is the data's or the program's fault."""
    if error.pgcode is None:
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return _CURABLE.match(error.pgcode) is not None


def connect(settings: Settings, role: Role) -> Connection:
    """Open one connection.

    Raises:
        RetriableError: The server does not answer, or refuses (its text holds no password).
        SettingsError: The password is one that everybody knows, and the server is not on this machine; or TLS is asked
            for, and the server has none, or a certificate that is not to be believed.
    """
    name, password_field = role.value
    try:
        connection: Connection = psycopg2.connect(
            host=settings.postgres_host,
            port=settings.postgres_port,
            dbname=settings.postgres_db,
            user=name or settings.postgres_user,
            password=password_for(settings, password_field, settings.postgres_host),
            application_name=role.name.lower(),
            client_encoding="UTF8",
            connect_timeout=5,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,  # for what was sent and is never acknowledged, where no keepalive goes out
            options="-c timezone=UTC -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s",
            **tls_parameters(settings),
        )
    except psycopg2.OperationalError as error:
        reason = _cause(error)
        if settings.tls and _TLS_FAILURE.search(reason):
            raise SettingsError(f"{reason} (TLS=true, TLS_CA_FILE={settings.tls_ca_file})") from None
        raise RetriableError(reason) from None
    return connection


def _cause(error: psycopg2.OperationalError) -> str:
    """Why the last address that was tried failed; the lines that libpq indents below it are its advice."""
    return [line for line in str(error).splitlines() if line.strip() and not line[0].isspace()][-1]


def tls_parameters(settings: Settings) -> dict[str, Any]:
    """The connection parameters of libpq that TLS asks for.

    Raises:
        SettingsError: The authority's certificate is missing.
    """
    return {"sslmode": "verify-full", "sslrootcert": str(ca_file(settings))} if settings.tls else {}


def address(settings: Settings) -> str:
    """Where Postgres is, for the text of an error."""
    return f"{settings.postgres_host}:{settings.postgres_port}/{settings.postgres_db}"


def wait_for_postgres(settings: Settings, role: Role, stop: Stop | None = None) -> Connection:
    """Connect, trying until the deadline.

    Raises:
        UnreachableError: No connection within START_DEADLINE_S.
    """
    return wait_for(
        "Postgres",
        address(settings),
        lambda: connect(settings, role),
        deadline_s=settings.start_deadline_s,
        stop=stop,
    )


@contextmanager
def curable_errors() -> Iterator[None]:
    """Turn what waiting may cure into RetriableError; let the rest pass."""
    try:
        yield
    except psycopg2.Error as error:
        if is_curable(error):
            raise RetriableError(f"Postgres: {str(error).strip().splitlines()[0]}") from error
        raise


def migrate(connection: Connection, folder: Path = MIGRATIONS) -> list[str]:
    """Apply the numbered files that this database has not seen.

    Each file is one transaction that writes its own name into ``schema_migrations``, so that the Postgres
    image's first start, which runs the same files with psql, leaves the same record. Later connections to the database
    compile no queries (jit), which is no part of a backup and set each time.

    Returns:
        Names of the files applied now, in order.
    """
    connection.autocommit = True
    applied = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('migrations'))")
        cursor.execute("SELECT to_regclass('schema_migrations') IS NOT NULL")
        (exists,) = cursor.fetchone() or (False,)
        seen: set[str] = set()
        if exists:
            cursor.execute("SELECT version FROM schema_migrations")
            seen = {version for (version,) in cursor.fetchall()}
        for file in sorted(folder.glob("[0-9]*.sql")):
            if file.stem not in seen:
                run_script(connection, file)
                applied.append(file.stem)
                logger.info("migrated: %s", file.stem, extra={"event": "migrated", "version": file.stem})
        # Compiling takes 8 s a call where a day's scores of 25 meters take half a second: long queries, few rows.
        database = sql.Identifier(connection.info.dbname)
        cursor.execute(sql.SQL("ALTER DATABASE {} SET jit = off").format(database))
        cursor.execute("SELECT pg_advisory_unlock(hashtext('migrations'))")
    return applied


def is_applied(connection: Connection, version: str) -> bool:
    """Whether a migration, or a load that notes itself as one, was applied to this database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM schema_migrations WHERE version = %s)", (version,))
        (applied,) = cursor.fetchone() or (False,)
    return bool(applied)


def run_script(connection: Connection, file: Path) -> None:
    """Run a SQL file (.sql or .sql.gz) as psql would, ``COPY ... FROM stdin`` blocks included."""
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8") as stream:
        script = stream.read()
    position = 0
    with connection.cursor() as cursor:
        for block in _COPY_BLOCK.finditer(script):
            if block.start() < position:
                continue
            _run_statements(cursor, script[position : block.start()])
            end = script.index("\n\\.\n", block.end() - 1) + 1
            cursor.copy_expert(block.group(), io.StringIO(script[block.end() : end]))
            position = end + len("\\.\n")
        _run_statements(cursor, script[position:])


def _run_statements(cursor: "psycopg2.extensions.cursor", statements: str) -> None:
    if statements.strip():
        cursor.execute(statements)


def set_passwords(connection: Connection, settings: Settings) -> None:
    """Let each service's role log in with its password from the settings.

    The server gets what SCRAM verifies a password by: no log of its statements can show one.

    Raises:
        SettingsError: A password is one that everybody knows, and the server is not on this machine.
    """
    with connection.cursor() as cursor:
        for role in Role:
            name, password_field = role.value
            if name:
                password = password_for(settings, password_field, settings.postgres_host)
                verifier = encrypt_password(password, name, scope=connection, algorithm="scram-sha-256")
                cursor.execute(
                    sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier))
                )
    connection.commit()
