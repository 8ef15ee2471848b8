"""A backup restored into an empty database, or an empty stack, is the same and goes on; old schemas are brought up."""

import shutil
import threading

import psycopg2
import pytest
from psycopg2 import sql

from Consumers import postgre_consumer, redis_consumer
from Energy_consumption_sensor.feed import Feed
from Sensor_core.errors import EnergyError
from Sensor_core.reading import READING_SCHEMA
from Sensor_core.testing import make_reading
from Setup import backup
from Setup.initialise import prepare
from Setup.kafka_initialization import create_topics
from Setup.postgres import MIGRATIONS, Role, connect, migrate
from Setup.publisher import Publisher
from Setup.redis_client import CLOSED_KEY, RedisUser, make_client
from Setup.topic_identity import forget_earlier_topics
from tests.conftest import new_engines
from tests.integration.test_consumers import consume_until, publish_hour, query, stored_ticks

pytestmark = pytest.mark.integration


@pytest.fixture
def feed(settings):
    publisher = Publisher(settings, "test")
    yield Feed(publisher, settings.consumption_topics)
    publisher.close()


@pytest.fixture
def other(settings, postgres):
    """Settings of a second, empty database."""
    name = f"{settings.postgres_db}_restored"
    with postgres.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield settings.model_copy(update={"postgres_db": name})
    with postgres.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def empty_stack(settings, tmp_path):
    """Settings of a Kafka, a Postgres and a Redis that nobody has used yet."""
    with new_engines(tmp_path / "stack") as engines:
        found = engines.start(lambda _: None)
        ports = {"postgres_port": found.postgres_port, "redis_port": found.redis_port}
        yield settings.model_copy(
            update=ports | {"kafka_bootstrap_servers": found.kafka_bootstrap, "postgres_db": "energy"}
        )


def content(settings):
    """Every table's rows as text, and every table's and function's rights."""
    connection = connect(settings, Role.ADMIN)
    tables = [name for (name,) in query(
        connection, "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    )]  # fmt: skip
    found = {name: query(connection, f'SELECT t::text FROM "{name}" t ORDER BY 1') for name in tables}
    found["rights"] = query(
        connection,
        "SELECT relname, relowner::regrole::text, relacl::text FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace UNION ALL"
        " SELECT proname, proowner::regrole::text, proacl::text FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace ORDER BY 1, 2",
    )
    connection.close()
    return found


def test_a_restored_database_is_the_same_and_goes_on(settings, postgres, feed, other, tmp_path):
    publish_hour(feed, 0, [make_reading(building_id=b, kwh=b / 3) for b in range(50)])
    publish_hour(feed, 1, [make_reading(building_id=3, kwh=7.5, known_after_h=3)])
    consume_until(postgre_consumer.run, settings, stored_ticks(postgres, settings, 1))
    file = tmp_path / "energy.backup"
    backup.backup(settings, file)
    assert file.stat().st_mode & 0o077 == 0
    backup.restore(other, file)
    before = content(settings)
    assert len(before["readings"]) == 50
    assert len(before["reading_revisions"]) == 1
    assert content(other) == before
    publish_hour(feed, 2, [make_reading(hour=2)])
    restored = connect(other, Role.ADMIN)
    restored.autocommit = True
    consume_until(postgre_consumer.run, other, stored_ticks(restored, other, 2))
    assert query(restored, "SELECT count(*) FROM readings") == [(51,)]
    assert migrate(restored) == []
    restored.close()


def publish(settings, hours, text):
    """Put what can never be stored and so many hours on the topics; returns the readings."""
    publisher = Publisher(settings, "test")
    publisher.send(settings.topic_postgre, text, key=b"1:0", schema=READING_SCHEMA)
    readings = [[make_reading(building_id=b, hour=hour) for b in range(9)] for hour in range(hours)]
    for hour, update in enumerate(readings):
        publish_hour(Feed(publisher, settings.consumption_topics), hour, update)
    publisher.close()
    return [reading for update in readings for reading in update]


def test_an_empty_stack_goes_on_from_a_backup_and_reads_its_own_topics_from_their_beginning(
    settings, postgres, redis_client, empty_stack, tmp_path
):
    def letters(connection):
        return query(connection, 'SELECT "partition" < 0, "offset", payload::text FROM dead_letters ORDER BY 1')

    forget_earlier_topics(settings, redis_client, ())  # as Setup does
    publish(settings, 2, b"old")
    consume_until(postgre_consumer.run, settings, lambda: letters(postgres) == [(False, 0, "\\x6f6c64")])
    consume_until(postgre_consumer.run, settings, stored_ticks(postgres, settings, 1))
    file = tmp_path / "energy.backup"
    backup.backup(settings, file)

    backup.restore(empty_stack, file)
    prepare(empty_stack, threading.Event(), demonstration=False)
    expected = publish(empty_stack, 5, b"new")
    restored, cache = connect(empty_stack, Role.ADMIN), make_client(empty_stack, RedisUser.ADMIN)
    restored.autocommit = True
    consume_until(postgre_consumer.run, empty_stack, lambda: len(letters(restored)) == 2)
    consume_until(postgre_consumer.run, empty_stack, stored_ticks(restored, empty_stack, 4))
    consume_until(redis_consumer.run, empty_stack, lambda: cache.xlen(CLOSED_KEY) == 5)
    stored = query(restored, 'SELECT building_id, "timestamp", meter_reading_kwh FROM readings')
    assert sorted(stored) == sorted((r.building_id, r.timestamp, r.meter_reading) for r in expected)
    assert letters(restored) == [(False, 0, "\\x6e6577"), (True, 0, "\\x6f6c64")]
    assert query(restored, "SELECT count(*) FROM data_gaps") == [(0,)]
    restored.close()
    cache.close()


def test_a_consumer_that_runs_while_its_topic_is_made_anew_reads_it_from_its_beginning(
    settings, postgres, redis_client, feed
):
    topics = [settings.topic_postgre]
    publish_hour(feed, 0, [make_reading()])
    forgotten = []

    def done():
        if not forgotten and stored_ticks(postgres, settings, 0)():
            with postgres.cursor() as cursor:
                cursor.execute("DELETE FROM readings")
            forgotten.append(forget_earlier_topics(settings, redis_client, topics))
            publish_hour(feed, 1, [make_reading(hour=1)])
        return query(postgres, "SELECT count(*) FROM readings") == [(2,)]

    consume_until(postgre_consumer.run, settings, done)
    assert forgotten == [topics]
    assert forget_earlier_topics(settings, redis_client, ()) == []


def test_topics_that_the_settings_no_longer_name_hold_nothing_up_and_are_read_anew_if_they_come_back(
    settings, postgres, redis_client
):
    create_topics(other := settings.model_copy(update={"topic_postgre": f"{settings.topic_postgre}_other"}))
    offset = "INSERT INTO consumer_offsets (topic, \"partition\", next_offset, clock) VALUES (%s, 0, 1, '2016-09-01Z')"

    def forget(chosen):
        with postgres.cursor() as cursor:
            cursor.execute(offset, (chosen.topic_postgre,))
        forget_earlier_topics(chosen, redis_client, ())
        return [topic for (topic,) in query(postgres, "SELECT topic FROM consumer_offsets")]

    assert forget(settings) == [settings.topic_postgre]
    assert forget(other) == []
    assert forget(other) == [other.topic_postgre]
    assert forget(settings) == []


def test_nothing_is_restored_over_what_there_is(settings, tmp_path):
    file = tmp_path / "energy.backup"
    backup.backup(settings, file)
    with pytest.raises(EnergyError, match=f"database {settings.postgres_db} is not empty"):
        backup.restore(settings, file)


def test_a_failed_backup_leaves_the_old_one_and_names_the_cause_without_the_password(settings, tmp_path):
    file = tmp_path / "energy.backup"
    file.write_bytes(b"old")
    nowhere = settings.model_copy(update={"postgres_db": "nowhere"})
    with pytest.raises(EnergyError, match=r'pg_dump: .*database "nowhere" does not exist'):
        backup.backup(nowhere, file)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_broken_backup_is_refused_and_leaves_the_database_empty(other, tmp_path):
    file = tmp_path / "broken"
    with pytest.raises(EnergyError, match="broken does not exist"):
        backup.restore(other, file)
    file.write_bytes(b"no backup")
    with pytest.raises(EnergyError, match="pg_restore: "):
        backup.restore(other, file)
    assert content(other) == {"rights": []}


def test_the_commands_say_what_they_did(settings, other, tmp_path, monkeypatch, capsys):
    file = tmp_path / "energy.backup"
    monkeypatch.setattr(backup, "load_settings", lambda: settings)
    assert backup.backup_main([str(file)]) == 0
    assert backup.restore_main([str(file)]) == 1
    monkeypatch.setattr(backup, "load_settings", lambda: other)
    assert backup.restore_main([str(file)]) == 0
    printed = capsys.readouterr()
    assert f"restored from {file}" in printed.out
    assert "is not empty" in printed.err


def test_later_migrations_apply_to_the_first_schema_with_data_in_it(postgres, tmp_path):
    first, all_of_them = tmp_path / "first", sorted(file for file in MIGRATIONS.glob("[0-9]*.sql"))
    first.mkdir()
    for file in all_of_them[:4]:
        shutil.copy(file, first)
    postgres.autocommit = True
    assert migrate(postgres, first)[-1] == "0004_grants"
    month = "'2016-09-01 00:00+00'"
    with postgres.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT ensure_partitions({month}, {month});
            INSERT INTO sites VALUES (1, 'UTC', 0, 0, 'GB'); INSERT INTO buildings VALUES (1, 1);
            INSERT INTO meters (building_id, meter) VALUES (1, 0);
            INSERT INTO readings VALUES (1, 0, {month}, 5, {month});
            INSERT INTO reading_revisions VALUES (1, 0, {month}, {month}, 4);
            INSERT INTO site_totals VALUES (1, 0, {month}, 5, 1);
            INSERT INTO forecasts VALUES (1, 0, {month}, {month}, 'm', 'full', '{{1}}', '{{2}}', '{{3}}');
            INSERT INTO dead_letters VALUES ('t', 0, 7, 'c', 'why', NULL, '\\xff', {month});
            INSERT INTO consumer_offsets VALUES ('t', 0, 8, {month}, {month});
            """
        )
    tables = ("readings", "reading_revisions", "site_totals", "consumer_offsets")
    before = {table: query(postgres, f"TABLE {table}") for table in tables}
    assert migrate(postgres) == [file.stem for file in all_of_them[4:]]
    before["consumer_offsets"] = [(*row, None) for row in before["consumer_offsets"]]  # 0016: when it had arrived
    assert {table: query(postgres, f"TABLE {table}") for table in tables} == before
    assert query(postgres, "SELECT payload::text, headers, replayed_at FROM dead_letters") == [("\\xff", [], None)]
    assert query(postgres, "SELECT q50_kwh FROM forecast_values") == [(2.0,)]
    with pytest.raises(psycopg2.errors.UniqueViolation), postgres.cursor() as cursor:
        cursor.execute(f"INSERT INTO readings VALUES (1, 0, {month}, 5, {month})")
