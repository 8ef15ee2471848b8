"""What each role may do in Postgres: every cell of the first table in docs/security.md, tried on a real server."""

import re
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest
from psycopg2 import errors, sql

from Setup.postgres import Role, migrate

pytestmark = [pytest.mark.integration, pytest.mark.warehouse]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "security.md"
SERVICES = [role.value[0] for role in Role if role is not Role.ADMIN]
STRANGER = "stranger"
"""Anyone else who may connect: has no line in the table, and no right."""

RELATIONS = """
    SELECT relname, relkind = 'v', array_agg(attname::text ORDER BY attnum),
           array_agg(attname::text ORDER BY attname) FILTER (WHERE attnum <> ALL (coalesce(key, '{}')))
    FROM pg_class
    JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN LATERAL (SELECT conkey AS key FROM pg_constraint
                       WHERE conrelid = pg_class.oid AND contype IN ('p', 'u')) AS keys ON true
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
          AND relispartition = %s
    GROUP BY relname, relkind
"""
FUNCTIONS = """
    SELECT proname, format('SELECT public.%I(%s)', proname, string_agg('NULL::' || type::regtype, ', ' ORDER BY place))
    FROM pg_proc LEFT JOIN LATERAL unnest(proargtypes) WITH ORDINALITY AS argument (type, place) ON true
    WHERE pronamespace = 'public'::regnamespace GROUP BY pg_proc.oid, proname
"""
REFUSED_EVERYWHERE = {
    "create a table": "CREATE TABLE public.intruder ()",
    "create a view": "CREATE VIEW public.intruder AS SELECT 1",
    "create a function": "CREATE FUNCTION public.intruder() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "create a schema": "CREATE SCHEMA intruder",
    "create a database role": "CREATE ROLE intruder",
    "drop an extension": "DROP EXTENSION plpgsql",
    "create a large object": "SELECT lo_create(0)",
    "create a large object with content": "SELECT lo_from_bytea(0, 'x')",
    "become the owner": "SET ROLE energy_owner",
    "become another service": "SET ROLE energy_trainer",
    "change a password": "ALTER ROLE energy_owner PASSWORD 'x'",
    "change a table": "ALTER TABLE public.readings ADD COLUMN intruder integer",
    "drop a table": "DROP TABLE public.readings",
    "make an index": "CREATE INDEX ON public.readings (known_at)",
    "hang a trigger on a table": "CREATE TRIGGER t BEFORE UPDATE ON public.readings"
    " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "read a file of the server": "SELECT pg_read_file('PG_VERSION')",
    "run a program of the server": "COPY (SELECT 1) TO PROGRAM 'true'",
    "write a file of the server": "COPY (SELECT 1) TO '/tmp/intruder'",
    "see the passwords": "SELECT rolpassword FROM pg_authid",
}  # fmt: skip


class Relation(NamedTuple):
    name: str
    is_view: bool
    columns: list[str]
    no_keys: list[str]


def expected() -> tuple[list[str], dict[str, dict[str, str]]]:
    """Roles, and the cells by relation or ``function()`` and role."""
    head, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in DOCUMENT.read_text().split("\n## Redis")[0].splitlines()
        if line.startswith("|")
    ]
    return head[1:], {name: dict(zip(head[1:], cells, strict=True)) for name, *cells in lines}


@pytest.fixture
def database(postgres):
    """A cursor of the superuser on a migrated database with a month of partitions; all is rolled back."""
    migrate(postgres)
    postgres.autocommit = False
    with postgres.cursor() as cursor:
        cursor.execute("SELECT ensure_partitions('2016-09-01', '2016-09-01')")
        cursor.execute(f"CREATE ROLE {STRANGER}")
        yield cursor
    postgres.rollback()


def relations(cursor, *, partitions=False):
    cursor.execute(RELATIONS, (partitions,))
    return [Relation(*row[:3], row[3] or []) for row in cursor.fetchall()]


def functions(cursor):
    cursor.execute(FUNCTIONS)
    return dict(cursor.fetchall())


def may(cursor, statement, *, is_view=False):
    """Whether a statement runs; what it did is undone."""
    refusals = (errors.InsufficientPrivilege,)
    if is_view:  # ours cannot be changed, whoever tries
        refusals += (errors.ObjectNotInPrerequisiteState, errors.WrongObjectType, errors.FeatureNotSupported)
    cursor.execute("SAVEPOINT attempt")
    try:
        cursor.execute(statement)
    except refusals:
        return False
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT attempt")
    return True


def tried(cursor, relation):
    """The cell of a relation for the role that is set, found by trying. Rights are checked where no row is met, too."""
    table = sql.Identifier("public", relation.name)

    def attempt(text, **names):
        return may(cursor, sql.SQL(text).format(t=table, **names), is_view=relation.is_view)

    def columns(text):
        return [column for column in sorted(relation.columns) if attempt(text, c=sql.Identifier(column))]

    readable, changeable = columns("SELECT {c} FROM {t} LIMIT 0"), columns("UPDATE {t} SET {c} = NULL WHERE false")
    assert attempt("SELECT * FROM {t} LIMIT 0") == (len(readable) == len(relation.columns))
    cell = [_right("S", readable, relation.columns)]
    cell += ["I" * attempt("INSERT INTO {t} SELECT (NULL::{t}).* WHERE false")]
    cell += ["U*" if changeable and changeable == relation.no_keys else _right("U", changeable, relation.columns)]
    cell += ["D" * attempt("DELETE FROM {t} WHERE false"), "T" * attempt("TRUNCATE {t}")]
    cell += ["L" * attempt("LOCK TABLE {t} IN ACCESS EXCLUSIVE MODE")]
    return " ".join(right for right in cell if right)


def _right(letter, columns, all_columns):
    if len(columns) == len(all_columns):
        return letter
    return f"{letter}({' '.join(columns)})" if columns else ""


def executes(cursor, name, call):
    """Whether the role that is set gets into a function; what happens in there is another matter."""
    cursor.execute("SAVEPOINT attempt")
    try:
        cursor.execute(call)
    except errors.InsufficientPrivilege as error:
        return not re.search(rf"permission denied for (function {name}|schema public)", str(error))
    except psycopg2.Error:
        return True
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT attempt")
    return True


@pytest.mark.parametrize("role", [*SERVICES, STRANGER])
def test_a_role_may_do_what_its_column_says_and_no_more(database, role):
    _, cells = expected()
    objects, calls = relations(database), functions(database)
    database.execute(f"SET LOCAL ROLE {role}")
    found = {relation.name: tried(database, relation) for relation in objects}
    found |= {f"{name}()": "X" * executes(database, name, call) for name, call in calls.items()}
    assert found == {name: cells[name].get(role, "") for name in found}


def test_every_table_view_and_function_has_a_line_and_every_role_a_column(database):
    roles, cells = expected()
    found = [relation.name for relation in relations(database)] + [f"{name}()" for name in functions(database)]
    assert sorted(found) == sorted(cells)
    assert roles == SERVICES


@pytest.mark.parametrize("role", [*SERVICES, STRANGER])
def test_nobody_reaches_a_partition_past_its_table(database, role):
    children = relations(database, partitions=True)
    assert {"readings_2016_09", "forecasts_2016_09", "scores_2016_09"} <= {child.name for child in children}
    database.execute(f"SET LOCAL ROLE {role}")
    assert {child.name: tried(database, child) for child in children} == {child.name: "" for child in children}


@pytest.mark.parametrize("role", [*SERVICES, STRANGER])
def test_nobody_creates_changes_or_becomes_what_is_not_its_own(database, role):
    database.execute(f"SET LOCAL SESSION AUTHORIZATION {role}")  # as if it had logged in: SET ROLE looks at that
    others = {deed: statement for deed, statement in REFUSED_EVERYWHERE.items() if statement != f"SET ROLE {role}"}
    assert [deed for deed, statement in others.items() if may(database, statement)] == []
    assert may(database, "CREATE TEMPORARY TABLE own ()") == (role == Role.POSTGRES_CONSUMER.value[0])


def test_roles_have_no_power_over_the_server_own_nothing_and_pass_nothing_on(database):
    database.execute(
        """
        SELECT rolname FROM pg_roles
        WHERE rolname IN %(names)s AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
                                        OR EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid))
        UNION
        SELECT grantee::regrole::text FROM pg_class CROSS JOIN aclexplode(relacl)
        WHERE relnamespace = 'public'::regnamespace AND is_grantable AND grantee <> relowner
        """,
        {"names": (*SERVICES, "energy_owner")},
    )
    assert database.fetchall() == []
    database.execute(
        "SELECT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " UNION SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    )
    assert database.fetchall() == [("energy_owner",)]
