"""The numbered migrations, and the scripts that psql would run, on the PostgreSQL that was asked for."""

import subprocess
from contextlib import closing

import psycopg2
import pytest

from Sensor_core.errors import RetriableError
from Setup.postgres import Role, connect, curable_errors, migrate, run_script
from tests.other_postgres import chosen_binaries

pytestmark = [pytest.mark.integration, pytest.mark.warehouse]

SCRIPT = r"""
-- COPY comments FROM stdin; is no block here, for the line does not begin with it
BEGIN;
CREATE TABLE words (number integer, word text);
COPY words (number, word) FROM stdin;
1	COPY words FROM stdin;
2	a\tb\\c
3	\N
\.
INSERT INTO words VALUES (4, 'after');
copy words from stdin;
5	last
\.
COMMIT;
"""


def rows(connection, statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_the_server_is_the_one_that_the_environment_asks_for(endpoints, postgres):
    program = (chosen_binaries() or endpoints.psql.parent) / "postgres"
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.split()[2].split(".")[0] == str(postgres.server_version // 10_000)


def test_each_migration_is_applied_once(postgres):
    applied = migrate(postgres)
    assert applied == sorted(applied)
    assert [version for (version,) in rows(postgres, "SELECT version FROM schema_migrations ORDER BY 1")] == applied
    assert migrate(postgres) == []


def test_queries_of_later_connections_are_not_compiled(settings, postgres):
    migrate(postgres)
    with closing(connect(settings, Role.ADMIN)) as later:
        assert rows(later, "SHOW jit") == [("off",)]


def test_a_failing_migration_leaves_nothing_and_is_tried_again(postgres, tmp_path):
    good, bad = tmp_path / "0001_good.sql", tmp_path / "0002_bad.sql"
    good.write_text(
        "BEGIN; CREATE TABLE schema_migrations (version text PRIMARY KEY);"
        "INSERT INTO schema_migrations VALUES ('0001_good'); COMMIT;"
    )
    bad.write_text(
        "BEGIN; CREATE TABLE half (); SELECT 1 / 0; INSERT INTO schema_migrations VALUES ('0002_bad'); COMMIT;"
    )
    with pytest.raises(psycopg2.errors.DivisionByZero):
        migrate(postgres, tmp_path)
    with postgres.cursor() as cursor:
        cursor.execute("ROLLBACK")  # energy-setup ends here, and its connection with it
    assert rows(postgres, "SELECT to_regclass('half'), (SELECT count(*) FROM schema_migrations)") == [(None, 1)]
    bad.write_text("BEGIN; CREATE TABLE half (); INSERT INTO schema_migrations VALUES ('0002_bad'); COMMIT;")
    assert migrate(postgres, tmp_path) == ["0002_bad"]


def test_a_script_with_copy_blocks_runs_as_by_psql(endpoints, engine_password, postgres, tmp_path):
    file = tmp_path / "words.sql"
    file.write_text(SCRIPT)
    postgres.autocommit = True
    run_script(postgres, file)
    stored = rows(postgres, "TABLE words")
    assert stored == [(1, "COPY words FROM stdin;"), (2, "a\tb\\c"), (3, None), (4, "after"), (5, "last")]
    with postgres.cursor() as cursor:
        cursor.execute("DROP TABLE words")
    command = [endpoints.psql, "-qX", "-v", "ON_ERROR_STOP=1", "-h", endpoints.postgres_host]
    command += ["-p", str(endpoints.postgres_port), "-U", "postgres", "-d", postgres.info.dbname, "-f", file]
    subprocess.run(command, env={"PGPASSWORD": engine_password}, check=True)
    assert rows(postgres, "TABLE words") == stored


def test_every_role_logs_in_with_its_own_password_and_sees_utc(settings):
    for role in Role:
        connection = connect(settings, role)
        assert rows(connection, "SHOW timezone") == [("UTC",)]
        connection.close()


def test_a_refused_login_is_an_error_without_the_password(settings):
    stranger = settings.model_copy(update={"grafana_postgres_password": type(settings.postgres_password)("hunter2")})
    with pytest.raises(RetriableError, match="password authentication failed") as caught:
        connect(stranger, Role.GRAFANA)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("failure", "is_curable"),
    [
        ("SELECT pg_terminate_backend(pg_backend_pid())", True),
        ("SELECT 1 / 0", False),
        ("SELECT * FROM nowhere", False),
    ],
)
def test_only_what_waiting_may_cure_becomes_retriable(postgres, failure, is_curable):
    with pytest.raises(RetriableError if is_curable else psycopg2.Error), curable_errors():
        rows(postgres, failure)
