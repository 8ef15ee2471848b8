"""The dump of history fills the warehouse's schema, and holds what the simulator made."""

import pytest

from Setup.history_loading import load_demonstration
from Setup.postgres import migrate

pytestmark = [pytest.mark.integration, pytest.mark.warehouse]


@pytest.fixture
def warehouse(postgres):
    migrate(postgres)
    load_demonstration(postgres)
    return postgres


def one(connection, query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()


def test_the_dump_fills_an_empty_warehouse(warehouse):
    assert one(warehouse, "SELECT count(*) FROM sites") == (4,)
    assert one(warehouse, "SELECT count(*) FROM buildings") == (40,)
    meters, readings = one(warehouse, "SELECT count(DISTINCT (building_id, meter)), count(*) FROM readings")
    assert (meters,) == one(warehouse, "SELECT count(*) FROM meters WHERE first_seen IS NOT NULL")
    assert readings > 0.95 * 40 * 244 * 24
    assert one(warehouse, "SELECT bool_and(known_at = \"timestamp\" + interval '1 hour') FROM readings") == (True,)


def test_the_dump_ends_where_the_replay_begins(warehouse):
    span = "SELECT min(\"timestamp\") = '2016-01-01Z', max(\"timestamp\") = '2016-08-31 23:00Z' FROM "
    for table in ("readings", "weather"):
        assert one(warehouse, span + table) == (True, True)


def test_totals_are_the_sum_of_their_meters(warehouse):
    total = one(warehouse, "SELECT sum(energy_kwh) FROM site_totals WHERE meter = 0")
    assert total == one(warehouse, "SELECT sum(meter_reading_kwh::numeric) FROM readings WHERE meter = 0")
    assert total > (0,)


def test_the_dump_is_loaded_once(warehouse):
    load_demonstration(warehouse)
    assert one(warehouse, "SELECT count(*) FROM schema_migrations WHERE version = '0090_history'") == (1,)
